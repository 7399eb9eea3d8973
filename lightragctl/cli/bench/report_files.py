"""Files that `bench` writes and reads: saved reports, HTML pages, JUnit XML."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

from lightragctl.bench.report import junit, saved
from lightragctl.bench.report.documents import Document
from lightragctl.bench.report.html import html
from lightragctl.bench.report.page import page
from lightragctl.cli.bench import payloads
from lightragctl.core.errors import LightragctlError, UsageError
from lightragctl.core.hint import Command, Hint
from lightragctl.core.result import ErrorInfo, Result, Status


@dataclass(frozen=True)
class ReportFiles:
    """The files to write; None: not written. `save` holds one report, the others any number."""

    save: Path | None = None
    html: Path | None = None
    junit: Path | None = None

    @property
    def wanted(self) -> dict[str, Path]:
        """The files to write, by option."""
        named = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: file for name, file in named.items() if file is not None}

    def check(self) -> None:
        """Check before a long run that the files can be written.

        Raises:
            UsageError: one is a folder or not writable, or its folder is missing or not writable.
        """
        for name, file in self.wanted.items():
            if file.is_dir() or not os.access(file.parent, os.W_OK) or not _opens(file):
                raise UsageError(f"cannot write {file}", f"set --{name} to a file in an existing, writable folder")


def read(files: Sequence[Path]) -> dict[str, Document]:
    """Saved reports by file name.

    Raises:
        UsageError: a file cannot be read or is not a saved report.
    """
    return {str(file): saved.decoded(_bytes(file), str(file)) for file in files}


def write(documents: Mapping[str, Document], files: ReportFiles) -> list[Path]:
    """Write the files; returns their paths.

    Raises:
        LightragctlError: one cannot be written.
    """
    if files.save is not None:
        _write(files.save, b"".join(saved.encoded(one) for one in documents.values()))
    if files.html is not None:
        _write(files.html, html(page(documents)).encode("utf-8"))
    if files.junit is not None:
        _write(files.junit, junit.xml(documents))
    return list(files.wanted.values())


def kept(document: Document, name: str, files: ReportFiles) -> Result:
    """The Result of a report, with its files written; a file that cannot be written is an error of the Result."""
    result = payloads.bench(document)
    try:
        write({name: document}, files)
    except LightragctlError as error:
        errors = (*result.errors, ErrorInfo.of(error))
        return replace(result, status=Status.PARTIAL, errors=errors, exit_status=error.exit_status)
    return result


def _opens(file: Path) -> bool:
    """Whether an existing file can be written; it is not changed."""
    if not file.is_file():
        return True
    try:
        with file.open("r+b"):
            return True
    except OSError:
        return False


def _bytes(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise UsageError(
            f"cannot read {file}: {error.strerror}", Hint("write one: ", Command("bench run", "--save FILE"))
        ) from error


def _write(file: Path, text: bytes) -> None:
    try:
        file.write_bytes(text)
    except OSError as error:
        raise LightragctlError(f"cannot write {file}: {error.strerror}", "choose another file") from error
