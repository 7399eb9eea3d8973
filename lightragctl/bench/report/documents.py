"""The kinds of documents that `bench` saves. Pure."""

from typing import Any, TypeAlias

from lightragctl.bench.annotated_run import AnnotatedRun
from lightragctl.bench.compare import CompareReport
from lightragctl.bench.report.comparisons import COMPARISON
from lightragctl.bench.report.document import DocumentKind
from lightragctl.bench.report.runs import RUN
from lightragctl.bench.report.saturations import SATURATION
from lightragctl.bench.saturate import Saturation

Document: TypeAlias = AnnotatedRun | Saturation | CompareReport
"""The report of a `bench` command; it can be saved, read and shown."""

KINDS: tuple[DocumentKind[Any], ...] = (RUN, SATURATION, COMPARISON)


def kind_of(document: Document) -> DocumentKind[Any]:
    """The kind of a document."""
    return next(kind for kind in KINDS if kind.type is type(document))
