"""Normalization of text before it is stored. Pure."""

import re
import unicodedata

_REMOVED = {
    ord(char): None
    for char in map(chr, [*range(0x20), *range(0x7F, 0xA0), 0xAD, 0x200B, 0xFEFF])  # soft hyphen, zero-width space, BOM
    if char not in "\n\t"
}


def clean_text(text: str) -> str:
    """The text in NFC, with `\\n` for every line and page break, without control characters."""
    text = re.sub(r"\r\n?|[\v\f\x85\u2028\u2029]", "\n", text).translate(_REMOVED)
    text = re.sub("[\ud800-\udfff]", "\ufffd", text)  # halves of characters, which UTF-8 cannot hold
    return unicodedata.normalize("NFC", text)


def has_text(text: str) -> bool:
    """Whether the text has a visible character."""
    return any(
        unicodedata.category(char)[0] not in "Z" and unicodedata.category(char) not in ("Cc", "Cf") for char in text
    )
