"""Standard streams that are always open and never cause a traceback.

Characters that the encoding lacks are escaped. A failing standard output ends the command: with an error, or silently
when its reader has closed the pipe. What cannot be written to standard error is dropped.
"""

import io
import locale
import os
import select
import sys
from collections.abc import Callable
from typing import TextIO

from lightragctl.core.errors import LightragctlError


class OutputError(LightragctlError):
    """Standard output cannot be written: its disk is full, or it is closed."""


class ReaderGone(BaseException):
    """The reader of standard output has closed the pipe, as `head` does; the command ends silently."""


class _Output(io.FileIO):
    """Standard output; after a failure, what is still buffered is dropped."""

    _is_over = False

    def write(self, data: "bytes | bytearray | memoryview") -> int:  # type: ignore[override]
        """Write at least a part; waits when the descriptor is non-blocking."""
        while not self._is_over:
            try:
                written = super().write(data)
            except BrokenPipeError:
                self._is_over = True
                raise ReaderGone from None
            except OSError as error:
                self._is_over = True
                hint = "the command has completed; run it again with its output redirected elsewhere"
                raise OutputError(f"cannot write to standard output: {error.strerror}", hint) from error
            if written is not None:
                return written
            select.select([], [self], [])
        return len(data)


class _Diagnostics(io.FileIO):
    """Standard error: what cannot be written is dropped."""

    def write(self, data: "bytes | bytearray | memoryview") -> int:  # type: ignore[override]
        """Write, or drop."""
        try:
            return super().write(data) or len(data)
        except OSError:
            return len(data)


def open_standard() -> None:
    """Replace the standard streams of this process; closed ones are opened on the null device."""
    encodings = [getattr(stream, "encoding", None) for stream in (sys.stdin, sys.stdout, sys.stderr)]
    # A closed standard output fails as a full one does: its place is taken by what can only be read.
    for descriptor, mode in ((0, os.O_RDONLY), (1, os.O_RDONLY), (2, os.O_WRONLY)):
        _occupy(descriptor, mode)
    if sys.stdin is None:
        sys.stdin = io.TextIOWrapper(io.BufferedReader(io.FileIO(0, closefd=False)), encoding="utf-8")
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="surrogateescape")
    sys.stdout = text_stream(1, encodings[1])
    sys.stderr = text_stream(2, encodings[2])


def text_stream(descriptor: int, encoding: str | None) -> TextIO:
    """A text stream on a descriptor; 2 behaves as standard error. None: the locale's encoding."""
    kind: Callable[..., io.FileIO] = _Diagnostics if descriptor == 2 else _Output
    raw = kind(descriptor, "w", closefd=False)
    is_lined = descriptor == 2 or raw.isatty()
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=encoding or locale.getpreferredencoding(False),
        errors="backslashreplace",
        line_buffering=is_lined,
    )


def _occupy(descriptor: int, mode: int) -> None:
    """Open the null device on a closed descriptor, so that no file or socket gets its number."""
    try:
        os.fstat(descriptor)
    except OSError:
        made = os.open(os.devnull, mode)
        if made != descriptor:
            os.dup2(made, descriptor)
            os.close(made)
        os.set_inheritable(descriptor, True)


def carries(stream: TextIO, text: str) -> bool:
    """Whether the stream's encoding has every character of the text."""
    try:
        text.encode(stream.encoding or "utf-8")
    except UnicodeEncodeError:
        return False
    return True
