"""Building blocks of views: tables and excerpts."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from rich.console import RenderableType
from rich.table import Table

Data = Mapping[str, Any]
View = Callable[[Data], Iterator[RenderableType]]

_EXCERPT_CHARS = 300


def table(headings: Sequence[str], rows: Sequence[Sequence[RenderableType]]) -> Table:
    """A table without borders."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for heading in headings:
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(*row)
    return table


def excerpt(text: str, most: int = _EXCERPT_CHARS) -> str:
    """The text on one line, truncated."""
    flat = " ".join(text.split())
    return flat if len(flat) <= most else flat[: most - 1] + "…"
