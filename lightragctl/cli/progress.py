"""Progress of `ingest` on standard error: a bar on a terminal, else a line every few seconds."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

from lightragctl.client.retry import RetryWait
from lightragctl.core.visible import visible
from lightragctl.ingest.load import Interrupted, LoadEvent, LoadProgress

_LINE_S = 5.0
Report = Callable[[LoadEvent], None]


@contextmanager
def showing_progress() -> Iterator[Report]:
    """A callback for progress events, which are shown while the block runs."""
    console = Console(stderr=True, markup=False, highlight=False)
    if not console.is_terminal:
        lines = _LoadLines(time.monotonic())
        yield lambda event: lines.show(event, time.monotonic())
        return
    columns = (TextColumn("loading"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}", markup=False))
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=None)
        yield lambda event: _move(bar, task, event)


def words(event: LoadEvent) -> str:
    """The event as a person reads it."""
    return visible(_text(event))


def _text(event: LoadEvent) -> str:
    match event:
        case LoadProgress():
            left = "" if event.remaining_s is None else f", {event.remaining_s:.0f} s left"
            return f"{event.done_chunks} chunks, {event.rate_chunks_per_s:.1f}/s{left}"
        case RetryWait():
            return f"waiting, next retry in {event.next_try_s:.1f} s: {event.reason}"
        case Interrupted():
            kept = f"{event.acknowledged_documents} documents ({event.acknowledged_chunks} chunks) are stored"
            return f"{kept}, {event.remaining_documents} remaining; run the same command to resume"


def _move(bar: Progress, task: TaskID, event: LoadEvent) -> None:
    if isinstance(event, LoadProgress):
        bar.update(task, total=event.total_documents, completed=event.done_documents, description=words(event))
    else:
        bar.console.print(words(event))


class _LoadLines:
    """Plain lines: progress every few seconds, everything else at once."""

    def __init__(self, now_s: float) -> None:
        self._last_s = now_s

    def show(self, event: LoadEvent, now_s: float) -> None:
        if isinstance(event, LoadProgress):
            if now_s - self._last_s < _LINE_S:
                return
            self._last_s = now_s
            text = f"loading: {event.done_documents}/{event.total_documents} documents, {words(event)}"
        else:
            text = words(event)
        print(text, file=sys.stderr, flush=True)
