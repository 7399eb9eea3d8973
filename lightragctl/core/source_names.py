"""Sources of documents as upstream LightRAG takes them: it keeps only the last part of a path. Pure.

Two files of one name in two folders would be one document there, so a path is written as a name: `%2Fdocs%2Fa.md`.
"""

import re
from urllib.parse import quote, unquote

SEPARATOR = "<SEP>"
"""Stands between the sources of an entity that several documents name."""

_TAKEN = re.compile(r"[%/\\\[\]<>\x00-\x1f\x7f-\x9f]|^\s|\s$")
"""What upstream cuts off, reads as a hint for its parsers, refuses, or we need ourselves."""


def upstream_source(source: str) -> str:
    """The source as a name that upstream keeps whole."""
    return _TAKEN.sub(lambda found: quote(found.group(), safe=""), source)


def plain_source(name: str) -> str:
    """The source that `upstream_source` made the name of; a name that others chose stays."""
    return SEPARATOR.join(unquote(part) if part.startswith("%2F") else part for part in name.split(SEPARATOR))
