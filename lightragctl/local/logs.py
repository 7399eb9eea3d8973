"""Reads and follows the components' log files."""

import time
from collections import deque
from collections.abc import Iterator, Mapping
from pathlib import Path

_POLL_S = 0.2


def read_logs(files: Mapping[str, Path], follow: bool, tail_lines: int) -> Iterator[tuple[str, str]]:
    """Lines as (component, line): the last `tail_lines` of each file, then with `follow` new lines, endlessly."""
    positions: dict[str, int] = {}
    for name, path in files.items():
        lines, positions[name] = _tail(path, tail_lines)
        yield from ((name, line) for line in lines)
    while follow:
        for name, path in files.items():
            lines, positions[name] = _new_lines(path, positions[name])
            yield from ((name, line) for line in lines)
        time.sleep(_POLL_S)


def _tail(path: Path, tail_lines: int) -> tuple[list[str], int]:
    try:
        with open(path, "rb") as file:
            lines = deque(file, maxlen=tail_lines)
            return [_text(line) for line in lines], file.tell()
    except FileNotFoundError:
        return [], 0


def _new_lines(path: Path, position: int) -> tuple[list[str], int]:
    """Complete lines after `position`, and the position after them; from the start if the file was truncated."""
    try:
        size = path.stat().st_size
        if size < position:
            position = 0
        if size == position:
            return [], position
        with open(path, "rb") as file:
            file.seek(position)
            whole, newline, _ = file.read(size - position).rpartition(b"\n")
    except FileNotFoundError:
        return [], 0
    return [_text(line) for line in whole.split(b"\n")] if newline else [], position + len(whole) + len(newline)


def _text(line: bytes) -> str:
    return line.decode("utf-8", errors="replace").rstrip("\n")
