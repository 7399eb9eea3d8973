"""Encoding and decoding of saved documents. Pure.

The schema in a file identifies its kind; unknown keys are ignored.
"""

from typing import Any

import msgspec

from lightragctl.bench.report.document import DocumentKind
from lightragctl.bench.report.documents import KINDS, Document, kind_of
from lightragctl.core.errors import UsageError

_HINT = f"use a file that {', '.join(f'`{kind.command}`' for kind in KINDS)} wrote with --save FILE"


class _Head(msgspec.Struct):
    schema: str = ""


def encoded(document: Document) -> bytes:
    """The text of a file."""
    return msgspec.json.format(msgspec.json.encode(kind_of(document).plain(document)))


def decoded(text: bytes, name: str) -> Document:
    """The document in a file of this name.

    Raises:
        UsageError: it holds none, one of another version than this reads, or one that is not whole.
    """
    kind = _kind(text, name)
    try:
        document: Document = kind.read(text)
    except ValueError as error:
        raise UsageError(f"{name} is not a valid {kind.name}: {error}", _HINT) from error
    return document


def _kind(text: bytes, name: str) -> DocumentKind[Any]:
    try:
        schema = msgspec.json.decode(text, type=_Head).schema
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{name} was not saved by `bench`: {error}", _HINT) from error
    family, _, version = schema.rpartition("/")
    kind = next((one for one in KINDS if one.schema.rpartition("/")[0] == family), None)
    if kind is None or not version.isdecimal():
        known = ", ".join(one.schema for one in KINDS)
        raise UsageError(f"{name} was not saved by `bench`: its schema is {schema!r}, none of {known}", _HINT)
    if schema == kind.schema:
        return kind
    raise UsageError(
        f"{name} was written by another version of lightragctl: its schema is {schema}, this one reads {kind.schema}",
        "read it with the version that wrote it",
    )
