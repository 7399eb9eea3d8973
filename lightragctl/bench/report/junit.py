"""Documents as JUnit XML for CI systems: a test case per threshold. Pure."""

from collections.abc import Mapping
from xml.etree import ElementTree

from lightragctl.bench.report.documents import Document, kind_of


def xml(documents: Mapping[str, Document]) -> bytes:
    """The XML; a suite per document."""
    root = ElementTree.Element("testsuites")
    for name, document in documents.items():
        cases = list(kind_of(document).cases(document))
        counts = {
            "tests": len(cases),
            "failures": sum(bool(case.failure) for case in cases),
            "skipped": sum(bool(case.skipped) for case in cases),
        }
        numbers = {what: str(count) for what, count in counts.items()}
        suite = ElementTree.SubElement(root, "testsuite", {"name": name, **numbers})
        for case in cases:
            told = ElementTree.SubElement(suite, "testcase", classname="lightragctl.bench", name=case.name)
            if case.failure:
                ElementTree.SubElement(told, "failure", message=case.failure)
            elif case.skipped:
                ElementTree.SubElement(told, "skipped", message=case.skipped)
    ElementTree.indent(root)
    return bytes(ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)) + b"\n"
