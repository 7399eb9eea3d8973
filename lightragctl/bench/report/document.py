"""What every kind of saved document brings, so that it can be read, judged and shown. Pure."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeAlias, TypeVar

from lightragctl.bench.report.charts import Chart
from lightragctl.core.result import ErrorInfo

Plain: TypeAlias = Mapping[str, Any]
"""A document as `-o json` shows it. What a terminal and a page both say is read from this."""

BELIEVABLE = "the figures are to be believed"


@dataclass(frozen=True)
class JunitCase:
    """Something that a document had to keep to, for CI systems.

    Attributes:
        failure: why it did not; empty when it did.
        skipped: why nobody can tell; empty when somebody can.
    """

    name: str
    failure: str = ""
    skipped: str = ""


@dataclass(frozen=True)
class Headline:
    """What stands at the top: whether all is well, that in bold, more of it, and a list of reasons."""

    good: bool
    title: str
    more: str = ""
    reasons: Sequence[str] = ()


@dataclass(frozen=True)
class Table:
    """Texts in rows below their headings, of which there may be none; `words` are the columns that hold no numbers."""

    title: str
    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    words: Collection[int] = (0,)


@dataclass(frozen=True)
class Section:
    """One document on the page; ids of its charts begin with its own; `measurements`: what was measured in turn."""

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
        read: the document of a file's text; a ValueError tells what is wrong with it.
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
        """Several of it."""
        return f"{self.name}s"


def ended(at: str) -> str:
    """When a document was made, behind a headline; nothing where it does not tell."""
    return f", ended {at.replace('T', ' ').removesuffix('Z')} UTC" if at else ""
