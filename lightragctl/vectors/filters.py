"""Quoting of strings in filters, and validation of filters from clients before they reach a vector store. Pure.

A store parses filters itself and reports most errors. Some crash it: Milvus 2.3.5 dies with SIGFPE at a division by
zero, Milvus Lite at integers of more than 64 bits, both at a nesting that exhausts the stack.
"""

import math
import re
from collections.abc import Iterator
from typing import NamedTuple

from lightragctl.vectors.model import InvalidFilterError

MAX_DEPTH = 32
"""Nesting of brackets and negations; a hand-written expression has a few levels."""

_INT_MAX = 2**63 - 1
_TOKEN = re.compile(
    r"""(?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')"""
    r"|(?P<hex>0[xX][0-9a-fA-F]+)"
    r"|(?P<float>(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))(?:[eE][+-]?[0-9]+)?)"
    r"|(?P<int>[0-9]+)"
    r"|(?P<word>\$?[^\W\d]\w*)"
    r"|(?P<sign>\*\*|<<|>>|&&|\|\||[=!<>]=|\S)",
    re.DOTALL,
)
_OPEN, _CLOSE = frozenset("([{"), frozenset(")]}")
_NEGATIONS = frozenset(("not", "!", "-", "+", "~"))
_REFUSED = {"**": "powers", "<<": "shifts", ">>": "shifts"}
_HINT = 'example: file_path == "notes/a.md" and chunk_order_index < 10'


class _Token(NamedTuple):
    kind: str
    text: str


def quoted(text: str) -> str:
    """A string for a filter; Milvus takes any character in it but these raw."""
    for raw, escaped in (("\\", "\\\\"), ('"', '\\"'), ("\n", "\\n"), ("\r", "\\r")):
        text = text.replace(raw, escaped)
    return f'"{text}"'


def check_filter(text: str) -> None:
    """Reject filters that a store would accept and fail on.

    Raises:
        InvalidFilterError: a number out of range, a division by something else than a positive number, an operator
            that stores do not know, or brackets too deep.
    """
    if "\0" in text:
        raise InvalidFilterError("it contains a NUL character", _HINT)
    before = _Token("", "")
    for token in _tokens(text):
        _check_number(token)
        if token.text in _REFUSED:
            raise InvalidFilterError(f"{_REFUSED[token.text]} ({token.text}) are not supported", _HINT)
        if before.text in ("/", "%") and not _is_positive(token):
            raise InvalidFilterError(f"{before.text} requires a number above 0, not {token.text[:20]}", _HINT)
        before = token
    _check_depth(text)


def _tokens(text: str) -> Iterator[_Token]:
    for found in _TOKEN.finditer(text):
        yield _Token(found.lastgroup or "", found.group())


def _number(token: _Token) -> float | None:
    match token.kind:
        case "int":
            return int(token.text)
        case "hex":
            return int(token.text, 16)
        case "float":
            return float(token.text)
    return None


def _check_number(token: _Token) -> None:
    if token.kind == "word" and token.text.lower() in ("nan", "inf", "infinity"):
        raise InvalidFilterError(f"{token.text} cannot be compared", _HINT)
    value = _number(token)
    if value is None:
        return
    if token.kind == "float" and not math.isfinite(value):
        raise InvalidFilterError(f"the number {token.text[:30]} is out of range", _HINT)
    if token.kind != "float" and value > _INT_MAX:
        message = f"the number {token.text[:30]} is out of range: integers go from {-_INT_MAX} to {_INT_MAX}"
        raise InvalidFilterError(message, _HINT)


def _is_positive(token: _Token) -> bool:
    value = _number(token)
    return value is not None and value > 0


def _check_depth(text: str) -> None:
    depth = negations = 0
    for token in _tokens(text):
        depth += (token.text in _OPEN) - (token.text in _CLOSE)
        negations = negations + 1 if token.text in _NEGATIONS else 0
        if depth + negations > MAX_DEPTH:
            raise InvalidFilterError(f"it is nested more than {MAX_DEPTH} deep", _HINT)
