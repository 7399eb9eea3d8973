"""Finds documents (paths, folders, globs, pipes) and extracts their text. Reads files; no network."""

import errno
import glob
import hashlib
import os
import re
import stat
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO, Literal

from lightragctl.core.errors import LightragctlError, UsageError
from lightragctl.core.hint import Command, Hint
from lightragctl.core.texts import clean_text, has_text
from lightragctl.ingest.docx_text import docx_to_markdown
from lightragctl.ingest.encodings import decode, decode_page
from lightragctl.ingest.extraction import Extracted
from lightragctl.ingest.html_text import html_to_markdown
from lightragctl.ingest.pdf_text import pdf_to_text

HTML_SUFFIXES = frozenset({".html", ".htm", ".xhtml"})
SUFFIXES = frozenset({".md", ".markdown", ".txt", ".rst", ".pdf", ".docx"}) | HTML_SUFFIXES
STDIN_ARGUMENT = "-"
STREAM_SOURCE = "stdin"
MAX_FILE_BYTES = 64 * 1024 * 1024  # four are read at a time; the service takes 32 MiB of text, and HTML shrinks
MAX_SOURCE_CHARS = 4096  # what lightrag-api takes

MAX_UNPACKED_BYTES = 4 * MAX_FILE_BYTES
"""Maximum uncompressed size of a .docx (a zip archive): a protection against zip bombs."""

_FOREIGN = (
    (
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
        "is an encrypted or legacy Office file (.doc)",
        "save it as .docx, without a password",
    ),
    (b"{\\rtf", "is rich text (RTF)", "save it as .docx"),
)
"""Unsupported formats by their first bytes, regardless of the name: reason and hint."""
_ZIP = b"PK\x03\x04"
_PAGE = re.compile(
    rb"(?:\xef\xbb\xbf)?\s*(?:<\?xml[^>]*>\s*|<!--.*?-->\s*)*<(?:!doctype\s+html|html|head|body|title|meta)\b",
    re.I | re.S,
)
_FRAGMENT = re.compile(
    rb"\s*<(?:div|p|h[1-6]|table|ul|ol|dl|section|article|main|span|a|b|pre|details)\b.*>\s*", re.I | re.S
)
"""An HTML fragment begins and ends with a tag; Markdown that begins with one rarely ends with one."""
_SNIFFED_BYTES = 4096
_DESCRIPTORS = ("/dev/stdin", "/dev/fd/", "/proc/self/fd/")
_URL = re.compile(r"([a-z][a-z0-9+.-]*)://", re.I)

Kind = Literal["text", "page", "pdf", "docx"]


@dataclass(frozen=True)
class DocumentFile:
    """A file to load. `source`: its absolute path; `data`: the content of a pipe, None for a file."""

    source: str
    size_bytes: int
    data: bytes | None = None


@dataclass(frozen=True)
class FoundFiles:
    """The files of the given paths, each once, in order. `streams`: paths of pipes, "-" for standard input.

    `skipped`: number of files of unsupported types in folders, by suffix.
    """

    files: tuple[DocumentFile, ...]
    skipped: tuple[tuple[str, int], ...]
    failed: tuple[tuple[str, str], ...]
    streams: tuple[str, ...] = ()


@dataclass(frozen=True)
class Document:
    """A document to send. `sha256` is over the UTF-8 text; `left_out`: content that is not in the text."""

    source: str
    text: str
    sha256: str
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True)
class ReadOptions:
    """How pipes are read.

    Args:
        stdin: where standard input comes from; None when it is closed.
        source: the name of the one document that comes from a pipe; None for one made of its content.
    """

    stdin: BinaryIO | None
    source: str | None = None


@dataclass
class _FileSearch:
    files: dict[str, DocumentFile] = field(default_factory=dict)
    streams: list[str] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)
    failed: list[tuple[str, str]] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)


def find_documents(paths: Sequence[str], cwd: Path) -> FoundFiles:
    """The documents of `paths`: files, folders (recursively), globs, pipes, `-` for standard input.

    Hidden files and folders are ignored unless named. Each real file and folder is used once, under its first name, so
    symbolic links cannot loop. Paths that cannot be used are in `failed` with a reason.
    """
    search = _FileSearch()
    for path in paths:
        if path == STDIN_ARGUMENT:
            search.streams.append(path)
            continue
        full = os.path.normpath(cwd / path)
        missing = _missing(full)
        if not missing:
            _take(full, search, named=True)
        elif url := _URL.match(path):
            search.failed.append((_shown(path), _url_reason(path, url[1].lower())))
        elif glob.has_magic(path):
            _take_matches(path, cwd, search)
        else:
            search.failed.append((_shown(full), missing))
    streams = tuple(dict.fromkeys(search.streams))
    return FoundFiles(
        tuple(search.files.values()), tuple(sorted(search.skipped.items())), tuple(search.failed), streams
    )


def read_streams(found: FoundFiles, reading: ReadOptions) -> FoundFiles:
    """The same with the content of pipes added to the files. Reads pipes to the end.

    A document without a source name gets one derived from its content, so that it replaces no other document.

    Raises:
        UsageError: `source` is given and there is not exactly one pipe, or it is no name.
    """
    if reading.source is not None:
        _check_source(reading.source, len(found.streams))
    files, failed = list(found.files), list(found.failed)
    for stream in found.streams:
        try:
            data = _read_stream(stream, reading.stdin)
        except OSError as error:
            failed.append((reading.source or STREAM_SOURCE, f"cannot be read: {error.strerror or error}"))
            continue
        if any(file.source == reading.source for file in files):
            raise UsageError(f"--source: {reading.source} is also loaded from a file", "choose another name")
        source = reading.source or f"{STREAM_SOURCE}-{hashlib.sha256(data).hexdigest()[:12]}"
        files.append(DocumentFile(source, len(data), data))
    return replace(found, files=tuple(files), failed=tuple(failed), streams=())


def read_document(file: DocumentFile, encoding: str = "") -> Document:
    """The text of a document: NFC, `\\n` between lines, no control characters; HTML and Word as Markdown.

    `encoding`: of text and HTML without a byte-order mark; empty: detect it.

    Raises:
        LightragctlError: it cannot be read, is not text, or has none; the message is the reason, without the name.
    """
    try:
        data = _read(file.source) if file.data is None else file.data
    except OSError as error:
        raise LightragctlError(f"cannot be read: {error.strerror or error}") from error
    if len(data) > MAX_FILE_BYTES:
        raise LightragctlError(f"is larger than {MAX_FILE_BYTES >> 20} MiB", "split it")
    extracted = _extract(data, document_kind(file, data), encoding)
    text = clean_text(extracted.text)
    if not has_text(text):
        left_out = f"; omitted: {', '.join(extracted.left_out)}" if extracted.left_out else ""
        raise LightragctlError(f"has no text{left_out}")
    return Document(file.source, text, hashlib.sha256(text.encode()).hexdigest(), extracted.left_out)


def document_kind(file: DocumentFile, data: bytes) -> Kind:
    """The type of a document: by its first bytes if they are unambiguous, else by its name; a pipe may have none.

    Raises:
        LightragctlError: it is of a kind that cannot be read.
    """
    for begin, reason, hint in _FOREIGN:
        if data.startswith(begin):
            raise LightragctlError(reason, hint)
    suffix = _suffix(file.source)
    if data.startswith(b"%PDF-") or suffix == ".pdf":
        return "pdf"
    if data.startswith(_ZIP) or suffix == ".docx":
        return "docx"
    unnamed = file.data is not None and suffix not in SUFFIXES
    if suffix in HTML_SUFFIXES or (unnamed and _is_page(data)):
        return "page"
    return "text"


def _is_page(data: bytes) -> bool:
    try:
        sniffed = decode_page(data[: _SNIFFED_BYTES * 4]).encode() if b"\0" in data[:4] else data
    except LightragctlError:
        return False
    return bool(_PAGE.match(sniffed[:_SNIFFED_BYTES]) or _FRAGMENT.fullmatch(sniffed))


def _extract(data: bytes, kind: Kind, encoding: str) -> Extracted:
    match kind:
        case "page":
            return html_to_markdown(decode_page(data, encoding))
        case "pdf":
            return pdf_to_text(data)
        case "docx":
            return docx_to_markdown(data, MAX_UNPACKED_BYTES)
        case "text":
            return Extracted(decode(data, encoding))


def _take(path: str, search: _FileSearch, *, named: bool) -> None:
    """Add a file or folder. Files named by the user must be supported; in folders, others are skipped."""
    real = os.path.realpath(path)
    if real in search.seen:
        return
    if os.path.isdir(real):
        search.seen.add(real)
        for entry in _entries(path, search):
            _take(entry, search, named=False)
        return
    if named and _is_pipe(path):
        search.streams.append(path)
        return
    suffix = _suffix(path)
    if not named and suffix not in SUFFIXES:
        search.skipped[_shown(suffix) or "no suffix"] += 1
        return
    reason = _refusal(path)
    if reason:
        search.failed.append((_shown(path), reason))
        return
    search.seen.add(real)
    search.files[path] = DocumentFile(path, _size_bytes(real))


def _take_matches(pattern: str, cwd: Path, search: _FileSearch) -> None:
    matches = sorted(glob.glob(pattern, root_dir=cwd, recursive=True))
    if not matches:
        search.failed.append((_shown(pattern), "matches nothing"))
    for match in matches:
        _take(os.path.normpath(cwd / match), search, named=False)


def _entries(folder: str, search: _FileSearch) -> Iterator[str]:
    try:
        names = sorted(os.listdir(folder))
    except OSError as error:
        search.failed.append((_shown(folder), f"cannot be read: {error.strerror or error}"))
        return
    yield from (os.path.join(folder, name) for name in names if not name.startswith("."))


def _missing(path: str) -> str:
    """Why a path cannot be accessed; empty when it can."""
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return "does not exist"
    except OSError as error:
        return f"cannot be read: {error.strerror or error}"
    return ""


def _refusal(path: str) -> str:
    """Why a file cannot be loaded; empty when it can."""
    try:
        mode = os.stat(path).st_mode
    except OSError as error:
        gone = error.errno in (errno.ENOENT, errno.ENOTDIR)
        return "is a dangling symbolic link" if gone else f"cannot be read: {error.strerror or error}"
    if not stat.S_ISREG(mode):
        return "is not a regular file"
    if _suffix(path) not in SUFFIXES:
        return f"has no supported file type ({', '.join(sorted(suffix[1:] for suffix in SUFFIXES))})"
    return "" if _shown(path) == path else "has a name that is not UTF-8"


def _url_reason(path: str, scheme: str) -> str:
    if scheme == "file":
        return "is a URL; use the path without file://"
    read = Command("ingest", f"- --source {_shown(path)}")
    return Hint("is a URL; only files are supported: curl -sSL URL | ", read)


def _check_source(source: str, streams: int) -> None:
    if streams != 1:
        many = "there is none" if not streams else f"there are {streams}"
        raise UsageError(
            f"--source names the document of one pipe, and {many}", Hint(Command("ingest", "- --source NAME"))
        )
    if _shown(source) != source or not source.strip() or len(source) > MAX_SOURCE_CHARS:
        raise UsageError(f"--source must have 1 to {MAX_SOURCE_CHARS} characters of UTF-8", "choose another name")


def _is_pipe(path: str) -> bool:
    """Whether a path is a pipe or a file descriptor opened by the shell."""
    if path.startswith(_DESCRIPTORS):
        return True
    try:
        return stat.S_ISFIFO(os.stat(path).st_mode)
    except OSError:
        return False


def _read_stream(path: str, stdin: BinaryIO | None) -> bytes:
    if path != STDIN_ARGUMENT:
        return _read(path)
    if stdin is None:
        raise OSError("standard input is closed")
    return stdin.read(MAX_FILE_BYTES + 1)


def _size_bytes(path: str) -> int:
    try:
        return os.path.getsize(path)
    except OSError:
        return 0  # it went away meanwhile: reading it will say so


def _suffix(source: str) -> str:
    return os.path.splitext(source)[1].lower()


def _shown(path: str) -> str:
    """The path as printable text; bytes that are not UTF-8 are escaped."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read(MAX_FILE_BYTES + 1)
