"""Loading documents into a release through lightrag-api: resumable, and patient while a part restarts. Network I/O.

Four threads read and send; the calling thread alone counts and tells. What the service has acknowledged is not sent
again, so a run that was interrupted is continued by running it again.
"""

import queue
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from lightragctl.core.errors import LightragctlError, UnavailableError
from lightragctl.ingest.client import NOT_THERE_HINT, AcceptedDocument, ApiClient, ApiError
from lightragctl.ingest.documents import Document, DocumentFile, find_documents, read_document
from lightragctl.ingest.patience import Patience, StoppedError, Waiting

MODEL_MISMATCH_STATUS = 409
GIVE_UP_AFTER = 3  # documents in a row that nobody took: then it is not the documents
LAST_WORDS_S = 1.0  # after the end of a load, for what the threads have in hand


@dataclass(frozen=True)
class Progress:
    """How far a load is. `source` is the document that moved it; `remaining_s` is None until there is a rate."""

    done_documents: int
    total_documents: int
    done_chunks: int
    rate_chunks_per_s: float
    remaining_s: float | None
    source: str


@dataclass(frozen=True)
class Interrupted:
    """The user ended the load. What is acknowledged is stored; the same command again loads the rest."""

    acknowledged_documents: int
    acknowledged_chunks: int
    remaining_documents: int


LoadEvent = Progress | Waiting | Interrupted


@dataclass(frozen=True)
class Summary:
    """What a load did, in documents; `chunks` counts those of created and updated documents.

    `skipped` are files in folders that are of no supported kind, `failed` are (source, reason).
    """

    created: int
    updated: int
    unchanged: int
    skipped: int
    failed: tuple[tuple[str, str], ...]
    chunks: int
    seconds: float
    chunks_per_s: float


@dataclass(frozen=True)
class Conditions:
    """What a load takes from the process it runs in, and how long it waits for the service, per document.

    `poll_s` is between two looks at what lightrag-server does.
    """

    cwd: Path = field(default_factory=Path.cwd)
    stdin: BinaryIO = field(default_factory=lambda: sys.stdin.buffer)
    clock: Callable[[], float] = time.monotonic
    threads: int = 4  # so that the service can put the chunks of several small documents into one batch
    wait_s: float = 120.0
    poll_s: float = 1.0


def load(
    paths: Sequence[str],
    api: ApiClient,
    workspace: str | None,
    notify: Callable[[LoadEvent], None],
    conditions: Conditions | None = None,
) -> Summary:
    """Load what `paths` name, one document per request, then have it flushed and indexed.

    A document that cannot be read or is refused is in the summary's `failed`; the others are loaded.

    Args:
        notify: called in this thread.

    Raises:
        UnavailableError: the service did not answer for `wait_s`, for three documents in a row or for the last one.
        ApiError: the service takes no document at all: its data are of another model, or the workspace is wrong.
        KeyboardInterrupt: passed on after an `Interrupted` event.
    """
    conditions = conditions or Conditions()
    begun_s = conditions.clock()
    found = find_documents(paths, conditions.cwd)
    tally = _Tally(found.files, found.failed, conditions.clock)
    try:
        if found.files:
            _load_files(found.files, _Target(api, workspace, conditions), tally, notify)
    except KeyboardInterrupt:
        notify(Interrupted(tally.acknowledged_documents, tally.chunks, tally.remaining_documents))
        raise
    return tally.summary(found.skipped, conditions.clock() - begun_s)


@dataclass(frozen=True)
class _Target:
    api: ApiClient
    workspace: str | None
    conditions: Conditions


def _load_files(
    files: Sequence[DocumentFile], target: _Target, tally: "_Tally", notify: Callable[[LoadEvent], None]
) -> None:
    conditions = target.conditions
    patience = Patience(conditions.wait_s, conditions.clock, threading.Event(), notify)
    stored = patience.call("the list of documents", lambda _: target.api.list_documents(target.workspace))
    known = {one.source: one.sha256 for one in stored if one.state == "ready" and one.current}
    _send(files, _Sender(target, known), tally, notify)
    # An earlier run may have ended before it came to this, so that nothing new is no reason to leave it out.
    if stored or tally.acknowledged_documents:
        patience.call("the flush", lambda _: target.api.flush(target.workspace))


@dataclass(frozen=True)
class _Moved:
    """Chunks of a document that the service has embedded so far."""

    source: str
    done: int
    chunks: int


@dataclass(frozen=True)
class _Finished:
    """A document that the service has; `accepted` is None when it was not sent because nothing has changed."""

    source: str
    accepted: AcceptedDocument | None


@dataclass(frozen=True)
class _Failed:
    """A document that is not loaded; `lost` when that is because nobody answered."""

    source: str
    error: LightragctlError
    lost: bool = False


@dataclass(frozen=True)
class _Left:
    """A thread has ended."""


_Countable = _Moved | _Finished | _Failed
_Message = _Countable | Waiting | _Left


class _Sender:
    """What the threads share: they take files, read and send them, and report each step as a message."""

    def __init__(self, target: _Target, known: Mapping[str, str]) -> None:
        self.messages: queue.SimpleQueue[_Message] = queue.SimpleQueue()
        self.stop = threading.Event()
        self._target = target
        self._known = known
        self._files: queue.SimpleQueue[DocumentFile] = queue.SimpleQueue()
        conditions = target.conditions
        self._patience = Patience(conditions.wait_s, conditions.clock, self.stop, self.messages.put)

    def start(self, files: Sequence[DocumentFile]) -> list[threading.Thread]:
        """Start the threads. They are daemons: a request that hangs must not keep an interrupted command alive."""
        for file in files:
            self._files.put(file)
        count = min(self._target.conditions.threads, len(files))
        threads = [threading.Thread(target=self._work, daemon=True, name=f"load-{n}") for n in range(count)]
        for thread in threads:
            thread.start()
        return threads

    def _work(self) -> None:
        try:
            while not self.stop.is_set():
                self.messages.put(self._load(self._files.get_nowait()))
        except (queue.Empty, StoppedError):
            return
        finally:
            self.messages.put(_Left())

    def _load(self, file: DocumentFile) -> _Finished | _Failed:
        try:
            document = read_document(file, self._target.conditions.stdin)
            if self._known.get(document.source) == document.sha256:
                return _Finished(file.source, None)
            accepted = self._patience.call(document.source, lambda alive: self._post(document, alive))
        except UnavailableError as error:
            return _Failed(file.source, error, lost=True)
        except LightragctlError as error:
            return _Failed(file.source, error)
        return _Finished(file.source, accepted)

    def _post(self, document: Document, alive: Callable[[], None]) -> AcceptedDocument:
        def moved(done: int, chunks: int) -> None:
            if self.stop.is_set():
                raise StoppedError
            alive()
            self.messages.put(_Moved(document.source, done, chunks))

        workspace = self._target.workspace
        return self._target.api.post_document(document.source, document.text, workspace=workspace, on_progress=moved)


class _Tally:
    """Counts what the messages say, in the one thread that reads them."""

    def __init__(
        self, files: Sequence[DocumentFile], failed: Sequence[tuple[str, str]], clock: Callable[[], float]
    ) -> None:
        self.counts = {"created": 0, "updated": 0, "unchanged": 0}
        self.failed = list(failed)
        self.chunks = 0
        self.lost: list[LightragctlError] = []
        self._clock = clock
        self._begun_s = clock()
        self._total = len(files)
        self._waiting_bytes = {file.source: file.size_bytes for file in files}
        self._left_bytes = sum(self._waiting_bytes.values())
        self._sent_bytes = 0
        self._moved: dict[str, _Moved] = {}  # documents under way: one per thread at most

    @property
    def acknowledged_documents(self) -> int:
        """Documents that were sent and acknowledged, with something new in them."""
        return self.counts["created"] + self.counts["updated"]

    @property
    def remaining_documents(self) -> int:
        """Documents whose fate is open."""
        return len(self._waiting_bytes)

    def add(self, message: _Countable) -> None:
        """Count one message.

        Raises:
            LightragctlError: it is one after which going on makes no sense.
        """
        match message:
            case _Moved():
                self._moved[message.source] = message
            case _Finished():
                self._finish(message)
            case _Failed():
                self._fail(message)

    def progress(self, source: str) -> Progress:
        """How far it is now."""
        elapsed_s = self._clock() - self._begun_s
        done_chunks = self.chunks + sum(moved.done for moved in self._moved.values())
        under_way = sum(
            self._waiting_bytes[moved.source] * moved.done / max(moved.chunks, 1) for moved in self._moved.values()
        )
        sent, left = self._sent_bytes + under_way, self._left_bytes - under_way
        return Progress(
            done_documents=self._total - self.remaining_documents,
            total_documents=self._total,
            done_chunks=done_chunks,
            rate_chunks_per_s=done_chunks / elapsed_s if elapsed_s > 0 else 0.0,
            remaining_s=elapsed_s * left / sent if sent > 0 else None,
            source=source,
        )

    def summary(self, skipped: int, seconds: float) -> Summary:
        """All counts."""
        rate = self.chunks / seconds if seconds > 0 else 0.0
        return Summary(
            **self.counts,
            skipped=skipped,
            failed=tuple(self.failed),
            chunks=self.chunks,
            seconds=seconds,
            chunks_per_s=rate,
        )

    def _finish(self, finished: _Finished) -> None:
        size_bytes = self._settle(finished.source)
        accepted = finished.accepted
        self.counts[accepted.status if accepted else "unchanged"] += 1
        if accepted:
            self.lost.clear()
            self._sent_bytes += size_bytes
            self.chunks += accepted.chunks if accepted.status != "unchanged" else 0

    def _fail(self, failed: _Failed) -> None:
        if isinstance(failed.error, ApiError) and failed.error.status == MODEL_MISMATCH_STATUS:
            raise failed.error
        self._settle(failed.source)
        self.failed.append((failed.source, failed.error.message))
        if not failed.lost:
            self.lost.clear()
            return
        self.lost.append(failed.error)
        if len(self.lost) >= GIVE_UP_AFTER or not self.remaining_documents:
            raise _unavailable(self.lost)

    def _settle(self, source: str) -> int:
        self._moved.pop(source, None)
        size_bytes = self._waiting_bytes.pop(source)
        self._left_bytes -= size_bytes
        return size_bytes


def _unavailable(lost: Sequence[LightragctlError]) -> UnavailableError:
    count = "1 document" if len(lost) == 1 else f"{len(lost)} documents in a row"
    return UnavailableError(f"gave up after {count}: {lost[-1].message}", NOT_THERE_HINT)


def _send(files: Sequence[DocumentFile], sender: _Sender, tally: _Tally, notify: Callable[[LoadEvent], None]) -> None:
    """Start the threads and count what they report until all have ended."""
    threads = sender.start(files)
    try:
        _listen(sender, tally, notify, len(threads))
    finally:
        sender.stop.set()
        for thread in threads:
            thread.join(LAST_WORDS_S / len(threads))
        while not sender.messages.empty():
            message = sender.messages.get()
            if isinstance(message, _Finished):
                tally.add(message)
    if tally.remaining_documents:
        raise RuntimeError(f"the loading threads ended with {tally.remaining_documents} documents left")


def _listen(sender: _Sender, tally: _Tally, notify: Callable[[LoadEvent], None], running: int) -> None:
    while running:
        message = sender.messages.get()
        if isinstance(message, _Left):
            running -= 1
        elif isinstance(message, Waiting):
            notify(message)
        else:
            tally.add(message)
            notify(tally.progress(message.source))
