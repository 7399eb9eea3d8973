"""The interface of saved documents: reading, evaluation and report. Pure."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeAlias, TypeVar

from lightragctl.bench.report.charts import Chart
from lightragctl.core.result import ErrorInfo

Plain: TypeAlias = Mapping[str, Any]
"""A document as `-o json` shows it; terminal and page use the same values."""

VALID = "the result is valid"


@dataclass(frozen=True)
class JunitCase:
    """A condition of a document as a JUnit test case.

    Attributes:
        failure: why it is not met; empty when it is.
        skipped: why it is inconclusive; empty otherwise.
    """

    name: str
    failure: str = ""
    skipped: str = ""


@dataclass(frozen=True)
class Headline:
    """The verdict at the top: whether it passed, a title, details, and reasons."""

    good: bool
    title: str
    more: str = ""
    reasons: Sequence[str] = ()


@dataclass(frozen=True)
class Table:
    """A table; headings may be empty; `words`: columns that are not numeric."""

    title: str
    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    words: Collection[int] = (0,)


@dataclass(frozen=True)
class Section:
    """One document on the page; ids of its charts begin with its own; `measurements`: single measurements."""

    id: str
    name: str
    headline: str
    said: Headline
    thresholds: Mapping[str, bool] = field(default_factory=dict)
    tables: Sequence[Table] = ()
    charts: Sequence[Chart] = ()
    measurements: Sequence[Table] = ()
    notes: Sequence[str] = ()


DocumentT = TypeVar("DocumentT")


@dataclass(frozen=True)
class DocumentKind(Generic[DocumentT]):
    """One kind of document.

    Attributes:
        name: one word for it, of which `s` makes several.
        command: that makes it.
        schema: of its files.
        read: the document of a file's text; a ValueError says what is wrong with it.
        plain: the document of a file, as plain data.
        errors: all that its command ended with, what decides its status first; none: all is well.
        cases: what it had to keep to.
        section: of this id and this name on the page.
    """

    name: str
    command: str
    type: type[DocumentT]
    schema: str
    read: Callable[[bytes], DocumentT]
    plain: Callable[[DocumentT], dict[str, Any]]
    errors: Callable[[DocumentT], Sequence[ErrorInfo]]
    cases: Callable[[DocumentT], Iterable[JunitCase]]
    section: Callable[[str, str, DocumentT], Section]

    @property
    def plural(self) -> str:
        """The plural of `name`."""
        return f"{self.name}s"


def ended(at: str) -> str:
    """The time of a document as a suffix of a headline; empty when unknown."""
    return f", ended {at.replace('T', ' ').removesuffix('Z')} UTC" if at else ""
