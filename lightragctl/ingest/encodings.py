"""From the bytes of a text file to its characters: byte-order marks, declared, named and detected encodings. Pure."""

import codecs
import re

import chardet

from lightragctl.core.errors import LightragctlError, UsageError

ENCODING_HINT = "set its encoding with --encoding, such as gb18030, big5, cp932, cp949 or cp1252; or save it as UTF-8"

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16: its mark begins with that of UTF-16
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
    (b"\x84\x31\x95\x33", "gb18030"),
    *((b"+/v" + last, "utf-7") for last in (b"8", b"9", b"+", b"/")),
)
_UNMARKED_WIDE = ("utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be")
_SHIFTS = (b"\x1b$", b"\x1b(")
"""Escape sequences of ISO-2022, whose text is ASCII to the eye of a decoder."""

_META_CHARSET = re.compile(rb"<(?:meta|\?xml)[^>]{0,200}?(?:charset|encoding)\s*=\s*[\"']?\s*([A-Za-z0-9_.:-]+)", re.I)
_META_WITHIN_BYTES = 4096  # browsers look at 1024; generators put comments first
_WIDER = {
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "big5": "big5hkscs",
    "shift_jis": "cp932",
    "euc_kr": "cp949",
    "iso8859-1": "cp1252",
    "iso8859-9": "cp1254",
    "ascii": "cp1252",
    "tis-620": "cp874",
}
"""The encodings that browsers read under these names: each holds all characters of the one that is named."""

_NO_FILES = frozenset({"idna", "punycode", "undefined", "unicode-escape", "raw-unicode-escape"})
"""Python's notations and names of hosts: no file is in them."""

_SURE = 0.2
"""Least confidence of chardet that counts: with prose in 21 languages and encodings, 40 to 4,400 bytes each, and 187
single Chinese lines in GB18030, it was right wherever it gave as much; below, it was wrong in several short texts."""
_CONTRADICTS = 0.35
"""Confidence that outweighs a page's claim of Latin-1, which generators make unasked. Latin text gets 0.3 at most."""
_DETECT_BYTES = 200_000

_COMMON_HAN = frozenset(
    "的一是不了在人有我他这中大来上国和个到说们为子你地出会也时要就可以对生能而得于着下自之年过发后作里用道行所然家"
    "种事成方多经么去法学如都同现当没动面起看定天分还进好小部其些主样理心本前开但因只从想实日者意无力它与长把机民"
)
"""Most frequent characters of written Chinese: 0.42 of the Chinese characters in the Debian FAQ, 0.29 in traditional
text; at most 0.05 in Japanese, Korean or Russian bytes of older encodings read as GB18030."""
_LEAST_COMMON_HAN = 0.10


class EncodingError(LightragctlError):
    """The bytes are not text in any reliably detected encoding."""

    code = "encoding"

    def __init__(self, message: str, hint: str = ENCODING_HINT) -> None:
        super().__init__(message, hint)


def named_encoding(name: str) -> str:
    """The encoding that a user names.

    Raises:
        UsageError: there is no text encoding of this name.
    """
    if not (encoding := _known(name)):
        raise UsageError(f"{name!r} is not a text encoding", "use utf-8, gb18030, big5 or cp1252, for example")
    return encoding


def decode(data: bytes, named: str = "") -> str:
    """The characters of a text file.

    A byte-order mark is obeyed first, then the encoding that the user has `named`; then the bytes are read as UTF-8,
    or as what a detector is sure of.

    Raises:
        EncodingError: none of these fits.
    """
    return _marked(data) or (_strictly(data, named) if named else _unmarked(data))


def decode_page(data: bytes, named: str = "") -> str:
    """As `decode`, for a page that may declare its encoding; UTF-8 by chance does not happen, so it goes first."""
    if (text := _marked(data)) or named:
        return text or _strictly(data, named)
    declared = _declared(data)
    if not declared or b"\0" in data:
        return _unmarked(data)
    order = (declared, "utf-8") if data.isascii() else ("utf-8", declared)
    for encoding in order:
        decoded = _attempt(data, encoding)
        if decoded is not None and not (encoding == "cp1252" and _detected(data, _CONTRADICTS)):
            return decoded
    return _unmarked(data)


def _marked(data: bytes) -> str:
    """What a byte-order mark says it is; empty without one."""
    marked = [(mark, encoding) for mark, encoding in _MARKS if data.startswith(mark)]
    for _, encoding in marked:
        text = _attempt(data, encoding)
        if text is not None:
            return text
    if marked and not data.isascii():
        raise EncodingError(f"has the byte-order mark of {marked[0][1]} but is not valid {marked[0][1]}")
    return ""


def _unmarked(data: bytes) -> str:
    if b"\0" in data:
        return _wide(data)
    shifted = data.isascii() and any(shift in data for shift in _SHIFTS)
    text = None if shifted else _attempt(data, "utf-8")
    if text is None:
        text = _detected(data, _SURE) or _chinese(data) or (_attempt(data, "utf-8") if shifted else None)
    if text is None:
        raise EncodingError("is not UTF-8, and its encoding cannot be detected reliably")
    return text


def _wide(data: bytes) -> str:
    """UTF-16 or UTF-32 without a mark: where ASCII characters leave their NUL bytes all in the right places."""
    for encoding in _UNMARKED_WIDE:
        text = _attempt(data, encoding)
        if text and "\0" not in text and sum(map(str.isascii, text)) * 4 > len(text):
            return text
    raise EncodingError("is not text: it contains NUL bytes", "if it is text, set its encoding: --encoding utf-16-le")


def _strictly(data: bytes, encoding: str) -> str:
    text = _attempt(data, encoding)
    if text is None:
        raise EncodingError(f"is not valid {encoding}")
    return text


def _attempt(data: bytes, encoding: str) -> str | None:
    try:
        return data.decode(encoding)
    except (UnicodeError, LookupError):
        return None


def _detected(data: bytes, least: float) -> str | None:
    """The text as chardet reads it where it is sure enough; it is shown the lines that hold more than ASCII."""
    unclaimed = _META_CHARSET.sub(b"", data)  # or the detector would believe the page
    telling = b"\n".join(line for line in unclaimed.split(b"\n") if not line.isascii()) or unclaimed
    begin = next((at for at, byte in enumerate(telling[:_DETECT_BYTES]) if byte > 0x7F), 0)
    found = chardet.detect(telling[max(0, begin - _DETECT_BYTES // 2) :], max_bytes=_DETECT_BYTES)
    encoding = _known(found["encoding"] or "")
    if not encoding or found["confidence"] < least:
        return None
    text = _attempt(data, encoding)
    return None if text is None or _has_controls(text) else text


def _has_controls(text: str) -> bool:
    """Control characters of the upper half: no text has them, whatever the bytes mean."""
    return any("\x80" <= char <= "\x9f" and char != "\x85" for char in text)


def _chinese(data: bytes) -> str | None:
    """GB18030 where the characters are those that Chinese text is made of; most other bytes decode to rare ones."""
    text = _attempt(data, "gb18030")
    han = [char for char in text or "" if "\u4e00" <= char <= "\u9fff"]
    return text if han and sum(char in _COMMON_HAN for char in han) / len(han) >= _LEAST_COMMON_HAN else None


def _declared(data: bytes) -> str:
    declared = _META_CHARSET.search(data[:_META_WITHIN_BYTES])
    encoding = _known(declared[1].decode("ascii")) if declared else ""
    # A page whose declaration could be read as ASCII is not UTF-16, whatever it says.
    return "" if encoding.startswith(("utf-16", "utf-32")) else encoding


def _known(name: str) -> str:
    """Python's name of a text encoding, the wider one where browsers take that; empty when there is none."""
    try:
        found = codecs.lookup(name).name
        b"text".decode(found)
    except UnicodeDecodeError:
        pass
    except (LookupError, ValueError):
        return ""
    return "" if found in _NO_FILES else _WIDER.get(found, found)
