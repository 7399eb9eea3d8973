"""From what a user names to the text of documents: paths, folders, globs, standard input. Reads files; no network."""

import codecs
import glob
import hashlib
import io
import os
import re
import threading
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO
from xml.parsers.expat import ExpatError

import mammoth
import pypdfium2
from bs4 import BeautifulSoup
from bs4.element import CData, PreformattedString
from bs4.exceptions import ParserRejectedMarkup
from markdownify import markdownify

from lightragctl.core.errors import LightragctlError
from lightragctl.core.texts import clean_text

HTML_SUFFIXES = frozenset({".html", ".htm"})
SUFFIXES = frozenset({".md", ".markdown", ".txt", ".rst", ".pdf", ".docx"}) | HTML_SUFFIXES
STDIN_ARGUMENT = "-"
STDIN_SOURCE = "stdin"
MAX_FILE_BYTES = 64 * 1024 * 1024  # four are read at a time; the service takes 32 MiB of text, and HTML shrinks

MAX_UNPACKED_BYTES = 4 * MAX_FILE_BYTES
"""Of a .docx, which is a zip archive: more is an accident or an attack."""
_PDF_TURN = threading.Lock()  # the library behind pypdfium2 must not be used by two threads at once
_DROPPED_TAGS = ("script", "style", "nav", "head", "template", "noscript", "svg")
_META_CHARSET = re.compile(rb"<(?:meta|\?xml)[^>]{0,200}?(?:charset|encoding)\s*=\s*[\"']?\s*([A-Za-z0-9_.:-]+)", re.I)
_META_WITHIN_BYTES = 4096  # browsers look at 1024; generators put comments first
_WIDER = {"gb2312": "gb18030", "gbk": "gb18030", "iso8859-1": "cp1252", "ascii": "cp1252"}  # as browsers read them
_COMMON_HAN = frozenset(
    "的一是不了在人有我他这中大来上国和个到说们为子你地出会也时要就可以对生能而得于着下自之年过发后作里用道行所然家"
    "种事成方多经么去法学如都同现当没动面起看定天分还进好小部其些主样理心本前开但因只从想实日者意无力它与长把机民"
)
"""Most frequent characters of written Chinese: 0.42 of the Chinese characters in the Debian FAQ, 0.29 in traditional
text; at most 0.05 in Japanese, Korean or Russian bytes of older encodings read as GB18030."""
_LEAST_COMMON_HAN = 0.10


@dataclass(frozen=True)
class DocumentFile:
    """A file to load. `source` is its absolute path, or "stdin"."""

    source: str
    size_bytes: int


@dataclass(frozen=True)
class Found:
    """What the paths lead to: each file once, in order. `skipped` counts files in folders that are of no known kind."""

    files: tuple[DocumentFile, ...]
    skipped: int
    failed: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Document:
    """A document as it is sent. `sha256` is over the UTF-8 text."""

    source: str
    text: str
    sha256: str


@dataclass
class _Search:
    files: dict[str, DocumentFile] = field(default_factory=dict)
    seen: set[str] = field(default_factory=set)
    failed: list[tuple[str, str]] = field(default_factory=list)
    skipped: int = 0


def find_documents(paths: Sequence[str], cwd: Path) -> Found:
    """The documents that `paths` name: files, folders with all below them, globs, `-` for standard input.

    Hidden files and folders are left out unless named. Each real file and folder is taken once, under the first name
    that leads to it, so a link to a folder above ends nowhere. What cannot be taken is in `failed` with its reason.
    """
    search = _Search()
    for path in paths:
        if path == STDIN_ARGUMENT:
            search.files[STDIN_SOURCE] = DocumentFile(STDIN_SOURCE, 0)
            continue
        full = os.path.normpath(cwd / path)
        if os.path.lexists(full):
            _take(full, search, named=True)
        elif glob.has_magic(path):
            _take_matches(path, cwd, search)
        else:
            search.failed.append((_shown(full), "does not exist"))
    return Found(tuple(search.files.values()), search.skipped, tuple(search.failed))


def read_document(file: DocumentFile, stdin: BinaryIO) -> Document:
    """The text of a document: NFC, `\\n` between lines, no control characters; HTML and Word as Markdown.

    Raises:
        LightragctlError: it cannot be read, is not text, or has none; the message is the reason, without the name.
    """
    try:
        data = stdin.read(MAX_FILE_BYTES + 1) if file.source == STDIN_SOURCE else _read(file.source)
    except OSError as error:
        raise LightragctlError(f"cannot be read: {error.strerror or error}") from error
    if len(data) > MAX_FILE_BYTES:
        raise LightragctlError(f"is larger than {MAX_FILE_BYTES >> 20} MiB", "split it")
    match _suffix(file.source):
        case suffix if suffix in HTML_SUFFIXES:
            text = html_to_markdown(_decode(data, _declared_encoding(data)))
        case ".pdf":
            text = pdf_to_text(data)
        case ".docx":
            text = docx_to_markdown(data)
        case _:
            text = _decode(data)
    text = clean_text(text)
    if not text.strip():
        raise LightragctlError("has no text")
    return Document(file.source, text, hashlib.sha256(text.encode()).hexdigest())


def html_to_markdown(html: str) -> str:
    """The page's text as Markdown: no scripts, styles, navigation; images are their description.

    Raises:
        LightragctlError: it cannot be parsed.
    """
    try:
        # The tag in front keeps BeautifulSoup from guessing (and warning) that XHTML is XML, or short text a file name.
        soup = BeautifulSoup(f"<html>{html}", "html.parser")
        _drop_noise(soup)
        return str(markdownify(str(soup), heading_style="ATX", escape_asterisks=False, escape_underscores=False))
    except ParserRejectedMarkup as error:
        raise LightragctlError("is not HTML that can be read") from error
    except RecursionError as error:
        raise LightragctlError("is HTML nested too deeply to be read") from error


def pdf_to_text(data: bytes) -> str:
    """The text of a PDF's pages, an empty line between two. Pictures of text hold none.

    Raises:
        LightragctlError: it is no PDF that can be read, or asks for a password.
    """
    with _PDF_TURN:
        try:
            document = pypdfium2.PdfDocument(data)
        except pypdfium2.PdfiumError as error:
            told = "asks for a password" if "password" in str(error).lower() else "is not a PDF that can be read"
            raise LightragctlError(told) from error
        try:
            return "\n\n".join(_page_text(document, number) for number in range(len(document)))
        finally:
            document.close()


def _page_text(document: pypdfium2.PdfDocument, number: int) -> str:
    page = document[number]
    text = page.get_textpage()
    try:
        return str(text.get_text_bounded())
    finally:
        text.close()
        page.close()


def docx_to_markdown(data: bytes, most_bytes: int = MAX_UNPACKED_BYTES) -> str:
    """The text of a Word document as Markdown: headings, lists, tables.

    Raises:
        LightragctlError: it is no such document, or one that unpacks to more than `most_bytes`.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as parts:
            unpacked_bytes = sum(part.file_size for part in parts.infolist())
        if unpacked_bytes > most_bytes:
            raise LightragctlError(f"unpacks to {unpacked_bytes:,} bytes, more than {most_bytes:,}", "split it")
        html = mammoth.convert_to_html(io.BytesIO(data), convert_image=mammoth.images.img_element(lambda image: {}))
    except (zipfile.BadZipFile, KeyError, OSError, ExpatError) as error:
        raise LightragctlError("is not a Word document (.docx) that can be read") from error
    return html_to_markdown(html.value)


def _drop_noise(soup: BeautifulSoup) -> None:
    for tag in soup(_DROPPED_TAGS):
        tag.decompose()
    for text in soup.find_all(string=lambda text: isinstance(text, PreformattedString)):
        if not isinstance(text, CData):
            text.extract()  # comments, the doctype, processing instructions
    for image in soup("img"):
        image.replace_with(str(image.get("alt") or ""))
    for link in soup("a"):
        link.attrs.pop("title", None)
        if not str(link.get("href", "")).startswith(("http://", "https://", "mailto:")):
            link.unwrap()  # an address inside the site leads nowhere from here


def _take(path: str, search: _Search, *, named: bool) -> None:
    """Add a file or a folder. What a user has named must be good; what is found in a folder is skipped otherwise."""
    real = os.path.realpath(path)
    if real in search.seen:
        return
    if os.path.isdir(real):
        search.seen.add(real)
        for entry in _entries(path, search):
            _take(entry, search, named=False)
        return
    reason = _refusal(path, real)
    if not reason:
        search.seen.add(real)
        search.files[path] = DocumentFile(path, _size_bytes(real))
    elif named:
        search.failed.append((_shown(path), reason))
    else:
        search.skipped += 1


def _take_matches(pattern: str, cwd: Path, search: _Search) -> None:
    matches = sorted(glob.glob(pattern, root_dir=cwd, recursive=True))
    if not matches:
        search.failed.append((_shown(pattern), "matches nothing"))
    for match in matches:
        _take(os.path.normpath(cwd / match), search, named=False)


def _entries(folder: str, search: _Search) -> Iterator[str]:
    try:
        names = sorted(os.listdir(folder))
    except OSError as error:
        search.failed.append((_shown(folder), f"cannot be read: {error.strerror or error}"))
        return
    yield from (os.path.join(folder, name) for name in names if not name.startswith("."))


def _refusal(path: str, real: str) -> str:
    """Why a file cannot be a document; empty when it can."""
    if not os.path.exists(real):
        return "is a link to nothing"
    if not os.path.isfile(real):
        return "is not a file"
    if _suffix(path) not in SUFFIXES:
        return f"is of no supported kind ({', '.join(sorted(suffix[1:] for suffix in SUFFIXES))})"
    return "" if _shown(path) == path else "has a name that is not UTF-8"


def _size_bytes(path: str) -> int:
    try:
        return os.path.getsize(path)
    except OSError:
        return 0  # it went away meanwhile: reading it will say so


def _suffix(source: str) -> str:
    return os.path.splitext(source)[1].lower()


def _shown(path: str) -> str:
    """The path as it can be printed and sent, whatever bytes are in its name."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read(MAX_FILE_BYTES + 1)


def _declared_encoding(data: bytes) -> str:
    declared = _META_CHARSET.search(data[:_META_WITHIN_BYTES])
    if not declared:
        return ""
    try:
        name = codecs.lookup(declared[1].decode("ascii")).name
    except LookupError:
        return ""
    # A page that could be read up to here is not UTF-16, whatever it says.
    return "" if name.startswith(("utf-16", "utf-32")) else _WIDER.get(name, name)


def _decode(data: bytes, declared: str = "") -> str:
    """Text from bytes. UTF-8 before what the page declares: bytes that are UTF-8 by chance do not happen."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return _decoded(data, "utf-16")
    if b"\0" in data:
        raise LightragctlError("is not text: it holds NUL bytes")
    for encoding in ([declared] if declared and data.isascii() else []) + ["utf-8-sig"]:
        try:
            return data.decode(encoding)
        except (UnicodeError, LookupError):
            continue
    if declared:
        return _decoded(data, declared)
    text = _decoded(data, "gb18030")
    if not _reads_as_chinese(text):
        raise LightragctlError("is neither UTF-8 nor Chinese text in GB18030", "save it as UTF-8")
    return text


def _decoded(data: bytes, encoding: str) -> str:
    try:
        return data.decode(encoding)
    except (UnicodeError, LookupError) as error:
        raise LightragctlError(f"is neither UTF-8 nor {encoding} text", "save it as UTF-8") from error


def _reads_as_chinese(text: str) -> bool:
    """False for what only happens to decode: most bytes of other encodings are some character of GB18030."""
    han = [char for char in text if "\u4e00" <= char <= "\u9fff"]
    return bool(han) and sum(char in _COMMON_HAN for char in han) / len(han) >= _LEAST_COMMON_HAN
