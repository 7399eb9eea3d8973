"""Loading documents through lightrag-api: resumable, with retries while components restart. Network I/O.

Four threads read and send; the calling thread alone counts and tells. What the service has acknowledged is not sent
again, so a run that was interrupted is continued by running it again.
"""

import queue
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, NamedTuple

from lightragctl.client.api import NOT_THERE_HINT, AcceptedDocument, ApiClient, ApiError
from lightragctl.client.retry import RetryPolicy, RetryWait, StoppedError
from lightragctl.core.errors import LightragctlError, UnavailableError
from lightragctl.ingest.documents import (
    Document,
    DocumentFile,
    FoundFiles,
    ReadOptions,
    find_documents,
    read_document,
    read_streams,
)

MODEL_MISMATCH_STATUS = 409
GIVE_UP_AFTER = 3  # documents in a row that nobody took: then it is not the documents
_SPEED_S = 60.0
LAST_WORDS_S = 1.0  # after the end of a load, for what the threads have in hand


@dataclass(frozen=True)
class LoadProgress:
    """Progress of a load. `source`: the last document; `remaining_s`: None until a rate is known."""

    done_documents: int
    total_documents: int
    done_chunks: int
    rate_chunks_per_s: float
    remaining_s: float | None
    source: str


@dataclass(frozen=True)
class Interrupted:
    """The user interrupted the load. Acknowledged documents are stored; running it again loads the rest."""

    acknowledged_documents: int
    acknowledged_chunks: int
    remaining_documents: int


LoadEvent = LoadProgress | RetryWait | Interrupted


class Failure(NamedTuple):
    """A document that failed to load."""

    source: str
    reason: str
    hint: str = ""


@dataclass(frozen=True)
class Summary:
    """The result of a load, in documents; `chunks` are those of created and updated documents.

    `skipped`: files of unsupported types in folders; `skipped_kinds`: by suffix. `failed` is ordered by source.
    `left_out`: content of a source that is not in the index.
    """

    created: int
    updated: int
    unchanged: int
    failed: tuple[Failure, ...]
    chunks: int
    seconds: float
    chunks_per_s: float
    skipped_kinds: tuple[tuple[str, int], ...] = ()
    left_out: tuple[tuple[str, tuple[str, ...]], ...] = ()

    @property
    def skipped(self) -> int:
        """The number of skipped files."""
        return sum(count for _, count in self.skipped_kinds)


@dataclass
class LoadCounts:
    """Running counts of a load, in documents."""

    total: int
    created: int = 0
    updated: int = 0
    unchanged: int = 0
    chunks: int = 0
    failed: dict[str, Failure] = field(default_factory=dict)
    left_out: dict[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def acknowledged(self) -> int:
        """Documents created or updated."""
        return self.created + self.updated

    @property
    def done(self) -> int:
        """Documents that are finished, failed ones included."""
        return self.created + self.updated + self.unchanged + len(self.failed)

    def fail(self, source: str, reason: str, hint: str = "") -> None:
        """Record a failed document."""
        self.failed[source] = Failure(source, reason, hint)

    def note_left_out(self, document: Document) -> None:
        """Record content of a document that is not in its text."""
        if document.left_out:
            self.left_out[document.source] = document.left_out

    def summary(self, found: FoundFiles, seconds: float) -> Summary:
        """The summary of the load."""
        return Summary(
            created=self.created,
            updated=self.updated,
            unchanged=self.unchanged,
            failed=tuple(failure for _, failure in sorted(self.failed.items())),
            chunks=self.chunks,
            seconds=seconds,
            chunks_per_s=self.chunks / seconds if seconds > 0 else 0.0,
            skipped_kinds=found.skipped,
            left_out=tuple(sorted(self.left_out.items())),
        )


@dataclass(frozen=True)
class LoadConditions:
    """The environment and timeouts of a load, per document.

    `source` as in `ReadOptions`, `encoding` as in `read_document`; `poll_s` is the interval at which
    lightrag-server is polled.
    """

    cwd: Path = field(default_factory=Path.cwd)
    stdin: BinaryIO | None = field(default_factory=lambda: sys.stdin.buffer if sys.stdin else None)
    source: str | None = None
    encoding: str = ""
    clock: Callable[[], float] = time.monotonic
    threads: int = 4  # so that the service can batch chunks of several small documents
    wait_s: float = 120.0
    poll_s: float = 1.0

    def find(self, paths: Sequence[str]) -> FoundFiles:
        """The files of `paths`; pipes are read to the end.

        Raises:
            UsageError: `source` names what comes from a pipe, and there is not exactly one.
        """
        return read_streams(find_documents(paths, self.cwd), ReadOptions(self.stdin, self.source))


def load(
    paths: Sequence[str],
    api: ApiClient,
    workspace: str | None,
    notify: Callable[[LoadEvent], None],
    conditions: LoadConditions | None = None,
) -> Summary:
    """Load the documents of `paths`, one per request, then flush and index.

    Documents that cannot be read or are rejected are in the summary's `failed`; the others are loaded.

    Args:
        notify: called in this thread.

    Raises:
        UnavailableError: the service did not respond for `wait_s`, for three documents in a row or for all.
        UsageError: a source is given, but there is not exactly one pipe.
        ApiError: the service rejects all documents: its data is of another model, or the workspace is wrong.
        KeyboardInterrupt: re-raised after an `Interrupted` event.
    """
    conditions = conditions or LoadConditions()
    begun_s = conditions.clock()
    found = conditions.find(paths)
    tally = _LoadCounter(found, conditions.clock)
    try:
        if found.files:
            _load_files(found.files, _Target(api, workspace, conditions), tally, notify)
    except KeyboardInterrupt:
        accounts = tally.accounts
        notify(Interrupted(accounts.acknowledged, accounts.chunks, tally.remaining_documents))
        raise
    return tally.accounts.summary(found, conditions.clock() - begun_s)


@dataclass(frozen=True)
class _Target:
    api: ApiClient
    workspace: str | None
    conditions: LoadConditions


def _load_files(
    files: Sequence[DocumentFile], target: _Target, tally: "_LoadCounter", notify: Callable[[LoadEvent], None]
) -> None:
    conditions = target.conditions
    retries = RetryPolicy(conditions.wait_s, conditions.clock, threading.Event(), notify)
    stored = retries.call("the list of documents", lambda _: target.api.list_documents(target.workspace))
    tally.known = {one.source: one.sha256 for one in stored if one.state == "ready" and one.current}
    while files:
        _send(files, _Sender(target, tally.known), tally, notify)
        files = tally.take_lost()
    # An earlier run may have ended before it came to this, so that nothing new is no reason to leave it out.
    if stored or tally.accounts.acknowledged:
        retries.call("the flush", lambda _: target.api.flush(target.workspace))


@dataclass(frozen=True)
class _ChunkProgress:
    """Progress of one document: embedded chunks."""

    source: str
    done: int
    chunks: int


@dataclass(frozen=True)
class _Finished:
    """A loaded document; `accepted` is None when it was unchanged and not sent."""

    source: str
    accepted: AcceptedDocument | None
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Failed:
    """A failed document; `lost`: the service did not answer."""

    file: DocumentFile
    error: LightragctlError
    lost: bool = False

    @property
    def source(self) -> str:
        """Its source name."""
        return self.file.source


@dataclass(frozen=True)
class _ThreadEnded:
    """A thread has ended."""


_Countable = _ChunkProgress | _Finished | _Failed
_Message = _Countable | RetryWait | _ThreadEnded


class _Sender:
    """The worker threads: they read and send files, and report each step as a message."""

    def __init__(self, target: _Target, known: Mapping[str, str]) -> None:
        self.messages: queue.SimpleQueue[_Message] = queue.SimpleQueue()
        self.stop = threading.Event()
        self._target = target
        self._known = known
        self._files: queue.SimpleQueue[DocumentFile] = queue.SimpleQueue()
        conditions = target.conditions
        self._retries = RetryPolicy(conditions.wait_s, conditions.clock, self.stop, self.messages.put)

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
            self.messages.put(_ThreadEnded())

    def _load(self, file: DocumentFile) -> _Finished | _Failed:
        try:
            document = read_document(file, self._target.conditions.encoding)
            if self._known.get(document.source) == document.sha256:
                return _Finished(file.source, None, document.left_out)
            reached = _HighestChunk()
            accepted = self._retries.call(document.source, lambda alive: self._post(document, reached, alive))
        except UnavailableError as error:
            return _Failed(file, error, lost=True)
        except LightragctlError as error:
            return _Failed(file, error)
        return _Finished(file.source, accepted, document.left_out)

    def _post(self, document: Document, reached: "_HighestChunk", alive: Callable[[], None]) -> AcceptedDocument:
        def moved(done: int, chunks: int) -> None:
            if self.stop.is_set():
                raise StoppedError
            if reached.is_passed_by(done):
                alive()
            self.messages.put(_ChunkProgress(document.source, done, chunks))

        workspace = self._target.workspace
        return self._target.api.post_document(document.source, document.text, workspace=workspace, on_progress=moved)


class _HighestChunk:
    """The highest chunk count of a document: only more is progress, a repeated one after a retry is not."""

    def __init__(self) -> None:
        self._chunks = 0

    def is_passed_by(self, chunks: int) -> bool:
        """Whether `chunks` is a new maximum; it is stored."""
        passed = chunks > self._chunks
        self._chunks = max(chunks, self._chunks)
        return passed


class _LoadCounter:
    """Counts the messages, in the thread that reads them. `known`: checksums of stored documents, by source."""

    def __init__(self, found: FoundFiles, clock: Callable[[], float]) -> None:
        self.accounts = LoadCounts(len(found.files) + len(found.failed))
        for source, reason in found.failed:
            self.accounts.fail(source, reason)
        self.known: Mapping[str, str] = {}
        self._clock = clock
        self._waiting_bytes = {file.source: file.size_bytes for file in found.files}
        self._left_bytes = sum(self._waiting_bytes.values())
        self._sent_bytes = 0
        self._moved: dict[str, _ChunkProgress] = {}  # documents under way: one per thread at most
        self._lost: dict[str, _Failed] = {}
        self._lost_in_a_row = 0
        self._lost_before: set[str] = set()
        self._taken_before = 0
        self._speed = _Speed(clock())

    @property
    def remaining_documents(self) -> int:
        """Documents that are not finished."""
        return len(self._waiting_bytes)

    def take_lost(self) -> list[DocumentFile]:
        """Documents that got no answer, to be retried after the others.

        None when not one was taken since the last time: these have failed.

        Raises:
            UnavailableError: not one was taken at all.
        """
        lost, self._lost = self._lost, {}
        taken, self._taken_before = self._taken_before, self.accounts.acknowledged
        if lost and not self.accounts.acknowledged:
            raise _unavailable(list(lost.values()), self.accounts)
        if taken == self.accounts.acknowledged:
            return []
        for failed in lost.values():
            del self.accounts.failed[failed.source]
            self._waiting_bytes[failed.source] = failed.file.size_bytes
            self._left_bytes += failed.file.size_bytes
        self._lost_before |= lost.keys()
        return [failed.file for failed in lost.values()]

    def add(self, message: _Countable) -> None:
        """Count one message.

        Raises:
            LightragctlError: it is one after which going on makes no sense.
        """
        match message:
            case _ChunkProgress():
                self._moved[message.source] = message
                self._lost_in_a_row = 0
            case _Finished():
                self._finish(message)
            case _Failed():
                self._fail(message)

    def progress(self, source: str) -> LoadProgress:
        """The present progress."""
        done_chunks = self.accounts.chunks + sum(moved.done for moved in self._moved.values())
        under_way = sum(
            self._waiting_bytes[moved.source] * moved.done / max(moved.chunks, 1) for moved in self._moved.values()
        )
        rate, bytes_per_s = self._speed.at(self._clock(), done_chunks, self._sent_bytes + under_way)
        return LoadProgress(
            done_documents=self.accounts.total - self.remaining_documents,
            total_documents=self.accounts.total,
            done_chunks=done_chunks,
            rate_chunks_per_s=rate,
            remaining_s=(self._left_bytes - under_way) / bytes_per_s if bytes_per_s > 0 else None,
            source=source,
        )

    def _finish(self, finished: _Finished) -> None:
        size_bytes = self._settle(finished.source)
        if finished.left_out:
            self.accounts.left_out[finished.source] = finished.left_out
        accepted = finished.accepted
        if not accepted or (accepted.status == "unchanged" and finished.source not in self._lost_before):
            self.accounts.unchanged += 1
            return
        # One that was stored although its answer was lost is unchanged to the service, but not to the user.
        was_there = accepted.status == "updated" or finished.source in self.known
        self.accounts.updated += was_there
        self.accounts.created += not was_there
        self.accounts.chunks += accepted.chunks
        self._lost_in_a_row = 0
        self._sent_bytes += size_bytes

    def _fail(self, failed: _Failed) -> None:
        if isinstance(failed.error, ApiError) and failed.error.status == MODEL_MISMATCH_STATUS:
            raise failed.error
        self._settle(failed.source)
        self.accounts.fail(failed.source, failed.error.message, failed.error.hint)
        if not failed.lost:
            self._lost_in_a_row = 0
            return
        self._lost[failed.source] = failed
        self._lost_in_a_row += 1
        if self._lost_in_a_row >= GIVE_UP_AFTER:
            raise _unavailable(list(self._lost.values()), self.accounts)

    def _settle(self, source: str) -> int:
        self._moved.pop(source, None)
        size_bytes = self._waiting_bytes.pop(source)
        self._left_bytes -= size_bytes
        return size_bytes


class _Speed:
    """The rate of a load over the last `_SPEED_S` seconds."""

    def __init__(self, begun_s: float) -> None:
        self._marks: deque[tuple[float, float, float]] = deque([(begun_s, 0.0, 0.0)])

    def at(self, now_s: float, chunks: float, size_bytes: float) -> tuple[float, float]:
        """Chunks and bytes per second, given both totals."""
        while len(self._marks) > 1 and self._marks[1][0] <= now_s - _SPEED_S:
            self._marks.popleft()
        then_s, then_chunks, then_bytes = self._marks[0]
        self._marks.append((now_s, chunks, size_bytes))
        if now_s <= then_s:
            return 0.0, 0.0
        return max(chunks - then_chunks, 0.0) / (now_s - then_s), max(size_bytes - then_bytes, 0.0) / (now_s - then_s)


def _unavailable(lost: Sequence[_Failed], accounts: LoadCounts) -> UnavailableError:
    count = "1 document" if len(lost) == 1 else f"{len(lost)} documents"
    stored = f"; {accounts.acknowledged} are stored; run the same command to resume"
    return UnavailableError(
        f"gave up after {count} without an answer, last {lost[-1].source}: {lost[-1].error.message}"
        + (stored if accounts.acknowledged else ""),
        NOT_THERE_HINT,
    )


def _send(
    files: Sequence[DocumentFile], sender: _Sender, tally: _LoadCounter, notify: Callable[[LoadEvent], None]
) -> None:
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


def _listen(sender: _Sender, tally: _LoadCounter, notify: Callable[[LoadEvent], None], running: int) -> None:
    while running:
        message = sender.messages.get()
        if isinstance(message, _ThreadEnded):
            running -= 1
        elif isinstance(message, RetryWait):
            notify(message)
        else:
            tally.add(message)
            notify(tally.progress(message.source))
