"""Source names of documents for upstream LightRAG, which keeps only the last part of a path. Pure.

Two files of one name in two folders would be one document there, so a path is written as a name: `%2Fdocs%2Fa.md`.
"""

import re
from urllib.parse import quote, unquote

SEPARATOR = "<SEP>"
"""Separates the sources of an entity that several documents mention."""

_TAKEN = re.compile(r"[%/\\\[\]<>\x00-\x1f\x7f-\x9f]|^\s|\s$")
"""Characters that upstream cuts off, interprets or rejects, or that we reserve."""


def upstream_source(source: str) -> str:
    """The source encoded as a name that upstream keeps unchanged."""
    return _TAKEN.sub(lambda found: quote(found.group(), safe=""), source)


def plain_source(name: str) -> str:
    """The source that `upstream_source` encoded; other names are unchanged."""
    return SEPARATOR.join(unquote(part) if part.startswith("%2F") else part for part in name.split(SEPARATOR))
