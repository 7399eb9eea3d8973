"""Standard input, output and error as every command may rely on them: open, and never a traceback.

A character that the encoding lacks is written as an escape. Standard output that fails ends the command: with an error,
or without a word where its reader has gone. What standard error does not take is lost, as nobody is left to be told.
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
    """Standard output takes no more: its disk is full, or it is closed."""


class ReaderGone(BaseException):
    """The reader of standard output wants no more, as `head` does; nothing is left to be said."""


class _Output(io.FileIO):
    """Standard output; after a failure it takes everything and drops it, as what is in buffers still comes."""

    _is_over = False

    def write(self, data: "bytes | bytearray | memoryview") -> int:  # type: ignore[override]
        """Write at least a part; waits where the descriptor is set not to."""
        while not self._is_over:
            try:
                written = super().write(data)
            except BrokenPipeError:
                self._is_over = True
                raise ReaderGone from None
            except OSError as error:
                self._is_over = True
                hint = "the command itself has run; look again with its output elsewhere"
                raise OutputError(f"cannot write to standard output: {error.strerror}", hint) from error
            if written is not None:
                return written
            select.select([], [self], [])
        return len(data)


class _Diagnostics(io.FileIO):
    """Standard error: what it does not take is dropped."""

    def write(self, data: "bytes | bytearray | memoryview") -> int:  # type: ignore[override]
        """Write, or drop."""
        try:
            return super().write(data) or len(data)
        except OSError:
            return len(data)


def open_standard() -> None:
    """Replace the three standard streams of this process; those that are closed are opened on nothing."""
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
    """A descriptor as standard output, or where it is 2 as standard error; None is the locale's encoding."""
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
    """Put nothing in the place of a closed descriptor, so that no file or socket gets its number."""
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
