"""Runs as JUnit's XML, which CI systems show: a test case for each threshold, and one for whether to believe. Pure."""

from collections.abc import Iterator, Mapping
from xml.etree import ElementTree

from lightragctl.bench.measured import Measured
from lightragctl.bench.result import LoadReport

BELIEVABLE = "the figures are to be believed"


def xml(runs: Mapping[str, Measured]) -> bytes:
    """The whole file; a suite for each run by its name."""
    root = ElementTree.Element("testsuites")
    for name, run in runs.items():
        cases = dict(_cases(run))
        failures = sum(1 for failure in cases.values() if failure)
        suite = ElementTree.SubElement(root, "testsuite", name=name, tests=str(len(cases)), failures=str(failures))
        for case, failure in cases.items():
            told = ElementTree.SubElement(suite, "testcase", classname="lightragctl.bench", name=case)
            if failure:
                ElementTree.SubElement(told, "failure", message=failure)
    ElementTree.indent(root)
    return bytes(ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)) + b"\n"


def _cases(run: Measured) -> Iterator[tuple[str, str]]:
    """Each case, and why it failed; empty when it did not."""
    yield BELIEVABLE, "; ".join(run.report.verdict.reasons)
    for threshold, kept in run.beside.thresholds.items():
        yield threshold, "" if kept else _seen(run.report)


def _seen(report: LoadReport) -> str:
    times = report.latency
    rows = {"p50": times.p50_ms, "p99": times.p99_ms, "max": times.max_ms}
    seen = ", ".join(f"{name} {value:g} ms" for name, value in rows.items())
    return f"not kept: {seen}, {report.good_per_s:.1f} good answers a second"
