"""The content of the HTML page, from saved documents. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from lightragctl.bench.annotated_run import AnnotatedRun
from lightragctl.bench.report import runs
from lightragctl.bench.report.charts import LineChart
from lightragctl.bench.report.document import Section, Table
from lightragctl.bench.report.documents import Document, kind_of


@dataclass(frozen=True)
class ReportPage:
    """The page; `figures` and `together`: a table and a chart of several runs, or None."""

    title: str
    figures: Table | None
    together: LineChart | None
    sections: Sequence[Section]


def page(documents: Mapping[str, Document]) -> ReportPage:
    """The page of documents by name."""
    sections = [_section(number, name, one) for number, (name, one) in enumerate(documents.items(), 1)]
    measured = {name: one for name, one in documents.items() if isinstance(one, AnnotatedRun)}
    title = f"Load test: {', '.join(documents)}"
    if len(measured) < 2:
        return ReportPage(title, None, None, sections)
    others = [replace(one, tables=()) if one.name in measured else one for one in sections]
    return ReportPage(title, runs.side_by_side(measured), runs.together(measured), others)


def _section(number: int, name: str, document: Document) -> Section:
    kind = kind_of(document)
    return kind.section(f"{kind.name}{number}", name, document)
