"""The text of a PDF. Pure, but for the library behind pypdfium2, which must not be used by two threads at once."""

import ctypes
import math
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from itertools import groupby
from operator import itemgetter
from typing import Any

import pypdfium2
from pypdfium2 import raw

from lightragctl.core.errors import LightragctlError
from lightragctl.ingest.extraction import Extracted, subscript, superscript

_TURN = threading.Lock()

_SMALLER = 0.85
"""A script's size, of that of the character before it, at most."""
_SHIFTED = 0.12
"""How far its line stands above or below, of the size of the character before it, at least."""
_SHIFTED_AT_MOST = 0.9

_LAST_CODE = 0x10FFFF
_PASSWORD_FIELD = 1 << 13
_NAMED_PAGES = 20


def pdf_to_text(data: bytes) -> Extracted:
    """The text of a PDF's pages and of its form fields, an empty line between two pages.

    Raises:
        LightragctlError: it is not a readable PDF, or is protected by a password.
    """
    with _TURN:
        try:
            document = pypdfium2.PdfDocument(data)
        except pypdfium2.PdfiumError as error:
            told = "is protected by a password" if "password" in str(error).lower() else "is not a readable PDF"
            raise LightragctlError(told) from error
        with closing(document):
            return _extract(document)


def _extract(document: pypdfium2.PdfDocument) -> Extracted:
    document.init_forms()
    texts, blank, notes = list[str](), list[int](), 0
    for number in range(len(document)):
        try:
            page = document[number]
        except pypdfium2.PdfiumError as error:
            raise LightragctlError(f"has an unreadable page: page {number + 1}") from error
        with closing(page):
            text = _page_text(page)
            fields = list(_fields(document, page))
            notes += _notes(page)
            if not text.strip() and next(page.get_objects(max_depth=1), None) is not None:
                blank.append(number + 1)
            texts.append("\n".join([text, *fields]))
    left_out = [*_pages_without_text(blank), *(["annotations"] if notes else [])]
    if document.count_attachments():
        left_out.append("attached files")
    return Extracted("\n\n".join(texts), tuple(left_out))


def _pages_without_text(numbers: list[int]) -> Iterator[str]:
    """Pages that show something but hold no characters: scans, most often."""
    if numbers:
        named = ", ".join(map(str, numbers[:_NAMED_PAGES]))
        more = f" and {len(numbers) - _NAMED_PAGES} more" if len(numbers) > _NAMED_PAGES else ""
        yield f"pages that are images without text ({named}{more})"


def _page_text(page: pypdfium2.PdfPage) -> str:
    with closing(page.get_textpage()) as text:
        chars = [_Char(text, index) for index in range(text.count_chars())]
        scripts = list(_scripts(chars))
        # The library's own text is better where lines end in hyphens and where a page shows only a part of itself.
        return _written(chars, scripts) if any(scripts) else str(text.get_text_bounded())


class _Char:
    """A character with the size and the height of its line, in points; those that the library adds have size 0."""

    __slots__ = ("height", "size", "text")

    def __init__(self, page: pypdfium2.PdfTextPage, index: int) -> None:
        code = raw.FPDFText_GetUnicode(page, index)
        self.text = chr(code) if code <= _LAST_CODE else "\ufffd"
        x, y, matrix = ctypes.c_double(), ctypes.c_double(), raw.FS_MATRIX()
        raw.FPDFText_GetCharOrigin(page, index, x, y)
        raw.FPDFText_GetMatrix(page, index, matrix)
        generated = raw.FPDFText_IsGenerated(page, index) == 1
        self.size = 0.0 if generated else raw.FPDFText_GetFontSize(page, index) * math.hypot(matrix.c, matrix.d)
        self.height = y.value


def _scripts(chars: list[_Char]) -> Iterator[str]:
    """For each character `^`, `_` or nothing: smaller than what stands before it, and on another line."""
    base: _Char | None = None
    for char in chars:
        sign = ""
        if base and char.size and not char.text.isspace():
            shift = (char.height - base.height) / base.size
            if char.size <= base.size * _SMALLER and _SHIFTED <= abs(shift) <= _SHIFTED_AT_MOST:
                sign = "^" if shift > 0 else "_"
        if not sign and char.size:
            base = None if char.text.isspace() else char
        elif char.text in "\r\n":
            base = None
        yield sign


def _written(chars: list[_Char], scripts: list[str]) -> str:
    text = ""
    for sign, run in groupby(zip(chars, scripts, strict=True), key=itemgetter(1)):
        piece = "".join(char.text for char, _ in run)
        text += superscript(piece) if sign == "^" else subscript(piece) if sign else piece
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _fields(document: pypdfium2.PdfDocument, page: pypdfium2.PdfPage) -> Iterator[str]:
    """What stands in the form fields of a page, with their names."""
    form = document.formenv
    if form is None:
        return
    for annotation in _annotations(page):
        if raw.FPDFAnnot_GetSubtype(annotation) != raw.FPDF_ANNOT_WIDGET:
            continue
        if raw.FPDFAnnot_GetFormFieldFlags(form, annotation) & _PASSWORD_FIELD:
            continue
        name = _string(partial(raw.FPDFAnnot_GetFormFieldName, form, annotation))
        value = _string(partial(raw.FPDFAnnot_GetFormFieldValue, form, annotation))
        if value.strip():
            yield f"{name}: {value}"


def _notes(page: pypdfium2.PdfPage) -> int:
    """How many notes with a text are on a page."""
    contents = (
        _string(partial(raw.FPDFAnnot_GetStringValue, one, b"Contents"))
        for one in _annotations(page)
        if raw.FPDFAnnot_GetSubtype(one) not in (raw.FPDF_ANNOT_WIDGET, raw.FPDF_ANNOT_LINK, raw.FPDF_ANNOT_POPUP)
    )
    return sum(bool(text.strip()) for text in contents)


def _annotations(page: pypdfium2.PdfPage) -> Iterator[Any]:
    for index in range(raw.FPDFPage_GetAnnotCount(page)):
        annotation = raw.FPDFPage_GetAnnot(page, index)
        if annotation:
            try:
                yield annotation
            finally:
                raw.FPDFPage_CloseAnnot(annotation)


def _string(read: Callable[[Any, int], int]) -> str:
    """A text that the library writes into a buffer whose size, in bytes, it says when it is given none."""
    size = read(None, 0)
    buffer = (ctypes.c_ushort * (size // 2 + 1))()
    read(buffer, size)
    return bytes(buffer)[: max(size - 2, 0)].decode("utf-16-le", "replace")
