"""Escaping of untrusted text for terminals: control and invisible characters become escapes. Pure."""

import re
from collections.abc import Mapping
from typing import Any

ACTING = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # control characters, those of C1 too, but for tab and newline
    "\xad\u034f\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"  # invisible; bidi overrides
    "\ud800-\udfff\ufffe\uffff\U000e0000-\U000e007f]"  # bytes that are no text, noncharacters, tags
    "|(?<![^\x00-\x7f])[\u200c\u200d]|[\u200c\u200d](?![^\x00-\x7f])"  # joiners, where no script needs them
)
"""Control characters, invisible characters, and what YAML parsers reject or read as a line break."""


def visible(text: str) -> str:
    r"""The text with `\x1b`, `\u202e` and the like in place of such characters; tabs and newlines stay.

    A byte of an argument or file name that is not UTF-8 becomes `\xff`.
    """
    return ACTING.sub(_escape, text)


def _escape(found: re.Match[str]) -> str:
    code = ord(found[0])
    if 0xDC80 <= code <= 0xDCFF:  # as Python reads a byte that does not fit the encoding
        code -= 0xDC00
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def visible_data(value: Any) -> Any:
    """A payload with escaped strings and keys."""
    if isinstance(value, str):
        return visible(value)
    if isinstance(value, Mapping):
        return {visible_data(key): visible_data(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [visible_data(inner) for inner in value]
    return value
