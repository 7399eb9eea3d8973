"""Loading documents through lightrag-server: resumable, with progress and errors per document. Network I/O.

lightrag-server keeps no checksum that can be asked for, so lightrag-api keeps one for each document: noted as `writing`
before the text is handed over, and as `ready` when it is processed. What an interrupted run has handed over is not
handed over again, but waited for.
"""

import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import StrEnum
from functools import partial
from typing import Literal, TypeVar

from lightragctl.client.api import ApiError, HeldDocument, StoredDocument
from lightragctl.client.lightrag import DONE, LightragTarget, Pipeline, UpstreamDocument
from lightragctl.client.retry import RetryPolicy, RetryWait
from lightragctl.core.errors import LightragctlError, NeedsAttentionError, WaitExpired
from lightragctl.core.hint import Command, Hint
from lightragctl.ingest.documents import Document, DocumentFile, read_document
from lightragctl.ingest.load import Interrupted, LoadConditions, LoadCounts, LoadEvent, LoadProgress, Summary

T = TypeVar("T")

LOGS_HINT = Hint("see: ", Command("logs", "lightrag-server"), "; run the same command again to continue")
LOST = "lightrag-server does not know the document (restarted?); run the same command again"

BATCH = 8
"""Documents per request."""

WINDOW = 32
"""Maximum number of documents queued in lightrag-server, which bounds its memory."""

CONFLICT = 409
"""The status of lightrag-server for a source that exists."""

NOTED = 200
"""Records in one request to lightrag-api."""

STALL_S = 900.0
"""Stall timeout: a working model makes progress within its 240 s and the retries."""

IDLE_ROUNDS = 5
"""Polls of an idle server after which its pending work is restarted, or considered lost."""


GONE = "; its old version is deleted: run the same command again"
DUPLICATE = "everything: the same text is stored under another source"

TOO_SLOW = re.compile(r"time[d ]{0,2}out", re.IGNORECASE)
"""In errors of documents that failed because a model timed out; these are retried."""


class DocumentStep(StrEnum):
    """The next step for a document."""

    SKIP = "skip"
    FOLLOW = "follow"
    SEND = "send"
    REPLACE = "replace"


def decide(record: StoredDocument | None, held: UpstreamDocument | None, sha256: str) -> DocumentStep:
    """The next step for a document, by its record in lightrag-api and its state in lightrag-server."""
    if held is None:
        return DocumentStep.SEND
    if record is None or record.sha256 != sha256:
        return DocumentStep.REPLACE
    if held.status == DONE:
        return DocumentStep.SKIP
    return DocumentStep.REPLACE if held.is_settled else DocumentStep.FOLLOW


def load_into_lightrag(
    paths: Sequence[str],
    target: LightragTarget,
    notify: Callable[[LoadEvent], None],
    conditions: LoadConditions | None = None,
) -> Summary:
    """Load the documents of `paths` through lightrag-server, and wait until they are processed.

    Documents that cannot be read or processed are in the summary's `failed`.

    Raises:
        UnavailableError: a service did not answer for `wait_s`.
        UsageError: a source is given, and there is not exactly one pipe that it could name.
        WaitExpired: lightrag-server does not get on.
        KeyboardInterrupt: passed on after an `Interrupted` event.
    """
    conditions = conditions or LoadConditions()
    begun_s = conditions.clock()
    found = conditions.find(paths)
    counts = LoadCounts(len(found.files) + len(found.failed))
    for source, reason in found.failed:
        counts.fail(source, reason)
    loading = _Loading(target, conditions, counts, notify)
    try:
        if found.files:
            loading.run(found.files)
    except KeyboardInterrupt:
        notify(Interrupted(counts.acknowledged, counts.chunks, counts.total - counts.done))
        raise
    return counts.summary(found, conditions.clock() - begun_s)


class _Loading:
    """One load.

    `_open`: documents queued in lightrag-server, by source, with their tracking ids. `_unnoted`: documents that an
    earlier run has not marked as ready. `_second`: documents that failed on a timeout; they are retried one at a time.
    """

    def __init__(
        self,
        target: LightragTarget,
        conditions: LoadConditions,
        counts: LoadCounts,
        notify: Callable[[LoadEvent], None],
    ) -> None:
        self._target = target
        self._conditions = conditions
        self._counts = counts
        self._notify = notify
        self._pause = threading.Event()
        self._retries = RetryPolicy(conditions.wait_s, conditions.clock, self._pause, notify)
        self._begun_s = conditions.clock()
        self._open: dict[str, str] = {}
        self._sha256: dict[str, str] = {}
        self._replaced: set[str] = set()
        self._unnoted: set[str] = set()
        self._second: dict[str, UpstreamDocument] = {}
        self._idle = _StallWatch(conditions.clock)

    def run(self, files: Sequence[DocumentFile]) -> None:
        """Run the load to the end."""
        steps, held = self._plan(files)
        self._counts.unchanged += len(steps[DocumentStep.SKIP])
        self._note_ready([held[one.source] for one in steps[DocumentStep.SKIP] if one.source in self._unnoted])
        self._open |= {one.source: held[one.source].track_id or "" for one in steps[DocumentStep.FOLLOW]}
        self._wait(at_most=0)
        for batch in _batches(steps[DocumentStep.SEND]):
            self._wait(at_most=WINDOW - BATCH)
            self._send(batch, {})
        self._replaced |= {one.source for one in steps[DocumentStep.REPLACE] if held[one.source].status == DONE}
        for batch in _batches(steps[DocumentStep.REPLACE]):
            self._replace(batch, held)
        self._wait(at_most=0)
        of_source = {file.source: file for file in files}
        for source, document in list(self._second.items()):
            self._replace([of_source[source]], {source: document})
        self._wait(at_most=0)
        self._call("the flush", lambda: self._target.api.flush(self._target.workspace))

    def _replace(self, files: Sequence[DocumentFile], held: Mapping[str, UpstreamDocument]) -> None:
        """Replace documents that the server has: it can delete only while it processes none."""
        self._wait(at_most=0)
        self._send(files, held)

    def _plan(
        self, files: Sequence[DocumentFile]
    ) -> tuple[dict[DocumentStep, list[DocumentFile]], dict[str, UpstreamDocument]]:
        """The files by next step, and the documents of lightrag-server by source."""
        target = self._target
        stored = self._call("the list of documents", lambda: target.api.list_documents(target.workspace))
        there = self._call("the list of documents", target.server.documents)
        records, held = {one.source: one for one in stored}, {one.source: one for one in there}
        steps: dict[DocumentStep, list[DocumentFile]] = {step: [] for step in DocumentStep}
        for file in files:
            document = self._read(file)
            if document is None:
                continue
            self._sha256[file.source] = document.sha256
            steps[decide(records.get(file.source), held.get(file.source), document.sha256)].append(file)
        self._unnoted = {source for source, record in records.items() if record.state == "writing"}
        return steps, held

    def _read(self, file: DocumentFile) -> Document | None:
        """The document; None when it failed."""
        try:
            document = read_document(file, self._conditions.encoding)
        except LightragctlError as error:
            self._counts.fail(file.source, error.message, error.hint)
            return None
        self._counts.note_left_out(document)
        return document

    def _delete(self, held: Sequence[UpstreamDocument]) -> set[str]:
        """Delete documents to replace, and wait for it: the server rejects a text under an existing source.

        What it has kept has failed; the sources of that are returned.
        """
        if not held:
            return set()
        server, ids = self._target.server, [one.id for one in held]
        self._until(lambda: self._call("the delete", lambda: server.delete(ids)))
        self._until(lambda: "the deletion is in progress" if self._call("the delete", server.pipeline).busy else "")
        kept = {one.id for one in self._call("the delete", server.documents)} & set(ids)
        for one in held:
            if one.id in kept:
                self._counts.fail(one.source, "lightrag-server has not deleted the old version", LOGS_HINT)
        return {one.source for one in held if one.id in kept}

    def _until(self, missing: Callable[[], str]) -> None:
        """Wait until `missing` returns an empty reason."""
        until_s = self._conditions.clock() + STALL_S
        while reason := missing():
            if self._conditions.clock() > until_s:
                raise WaitExpired(f"timed out after {STALL_S:g} s waiting for lightrag-server: {reason}", LOGS_HINT)
            self._notify(RetryWait("lightrag-server", reason, self._conditions.poll_s))
            self._pause.wait(self._conditions.poll_s)

    def _send(self, files: Sequence[DocumentFile], held: Mapping[str, UpstreamDocument]) -> None:
        """Send documents; their old versions, `held` by source, are deleted first."""
        read = [document for document in map(self._read, files) if document is not None]
        kept = self._delete([held[one.source] for one in read if one.source in held])
        documents = [one for one in read if one.source not in kept]
        if not documents:
            return
        self._sha256 |= {one.source: one.sha256 for one in documents}
        self._note([HeldDocument(one.source, one.sha256, 0, "writing") for one in documents])
        pairs = [(one.source, one.text) for one in documents]
        try:
            track_id = self._call("the documents", lambda: self._target.server.insert(pairs))
        except ApiError as error:
            if error.status != CONFLICT:
                for one in documents:
                    gone = GONE if one.source in held else ""
                    self._counts.fail(one.source, error.message + gone, error.hint)
                return
            self._follow_taken([one.source for one in documents], error.message)
        else:
            self._open |= {one.source: track_id for one in documents}
        self._idle.moved()

    def _follow_taken(self, sources: Sequence[str], refusal: str) -> None:
        """Track documents that the server has accepted before: the answer to the first request was lost."""
        there = {one.source: one for one in self._call("the list of documents", self._target.server.documents)}
        self._open |= {source: there[source].track_id or "" for source in sources if source in there}
        for source in sources:
            if source not in there:
                self._counts.fail(source, refusal)

    def _wait(self, at_most: int) -> None:
        """Wait until at most `at_most` documents are queued; count finished ones."""
        while len(self._open) > at_most:
            tracked = [
                one
                for track_id in sorted(set(self._open.values()))
                for one in self._call("the documents' state", partial(self._tracked, track_id))
            ]
            self._settle([one for one in tracked if one.is_settled and one.source in self._open])
            self._notify(self._progress())
            if len(self._open) <= at_most:
                return
            self._look_after(tracked)
            self._pause.wait(self._conditions.poll_s)

    def _tracked(self, track_id: str) -> list[UpstreamDocument]:
        server = self._target.server
        return server.tracked(track_id) if track_id else server.documents()

    def _look_after(self, tracked: Sequence[UpstreamDocument]) -> None:
        """Check that the server makes progress, and resume its pipeline after a restart.

        Raises:
            WaitExpired: nothing moves.
            NeedsAttentionError: it reports that manual action is required.
        """
        pipeline = self._call("the pipeline", self._target.server.pipeline)
        if pipeline.recovery_required:
            raise NeedsAttentionError(f"lightrag-server stopped its pipeline: {pipeline.recovery_message}", LOGS_HINT)
        match self._idle.observe(pipeline, [(one.id, one.status) for one in tracked]):
            case "stalled":
                message = f"lightrag-server has made no progress for {STALL_S:g} s: {pipeline.latest_message}"
                raise WaitExpired(message, LOGS_HINT)
            case "idle":
                known = {one.source for one in tracked}
                for source in self._open.keys() - known:
                    self._counts.fail(source, LOST)
                self._open = {source: track_id for source, track_id in self._open.items() if source in known}
                if self._open:
                    self._call("the pipeline", self._target.server.resume)

    def _settle(self, documents: Sequence[UpstreamDocument]) -> None:
        for one in documents:
            self._open.pop(one.source, None)
            if one.is_duplicate:
                self._counts.unchanged += 1
                self._counts.left_out[one.source] = (DUPLICATE,)
            elif one.status != DONE:
                self._fail(one)
            else:
                self._counts.chunks += one.chunks_count or 0
                self._counts.updated += one.source in self._replaced
                self._counts.created += one.source not in self._replaced
        self._note_ready([one for one in documents if one.status == DONE])

    def _fail(self, document: UpstreamDocument) -> None:
        """Count a failure, or queue a retry after a timeout."""
        reason = document.error_msg or "lightrag-server reports no reason"
        if TOO_SLOW.search(reason) and document.source not in self._second:
            self._second[document.source] = document
        else:
            self._counts.fail(document.source, reason)

    def _note_ready(self, documents: Sequence[UpstreamDocument]) -> None:
        ready = [
            HeldDocument(one.source, self._sha256[one.source], one.chunks_count or 0, "ready") for one in documents
        ]
        self._note(ready)

    def _note(self, held: Sequence[HeldDocument]) -> None:
        for start in range(0, len(held), NOTED):
            part = held[start : start + NOTED]
            self._call("the records", partial(self._target.api.note_documents, part, self._target.workspace))

    def _call(self, what: str, request: Callable[[], T]) -> T:
        def tried(alive: Callable[[], None]) -> T:
            answer = request()
            alive()
            return answer

        return self._retries.call(what, tried)

    def _progress(self) -> LoadProgress:
        counts, elapsed_s = self._counts, self._conditions.clock() - self._begun_s
        moved = counts.acknowledged
        left = counts.total - counts.done
        return LoadProgress(
            done_documents=counts.done,
            total_documents=counts.total,
            done_chunks=counts.chunks,
            rate_chunks_per_s=counts.chunks / elapsed_s if elapsed_s > 0 else 0.0,
            remaining_s=elapsed_s * left / moved if moved else None,
            source="",
        )


def _batches(files: Sequence[DocumentFile]) -> Iterator[Sequence[DocumentFile]]:
    return (files[start : start + BATCH] for start in range(0, len(files), BATCH))


class _StallWatch:
    """Detects a stalled server from its polled state."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.moved()

    def moved(self) -> None:
        """Record progress."""
        self._moved_s = self._clock()
        self._rounds = 0
        self._seen: object = None

    def observe(self, pipeline: Pipeline, states: Sequence[tuple[str, str]]) -> Literal["moving", "idle", "stalled"]:
        """The state: `idle`: it has documents but processes none; `stalled`: no progress for too long."""
        seen = (pipeline.latest_message, tuple(states))
        if seen != self._seen:
            self._moved_s, self._seen = self._clock(), seen
        if self._clock() - self._moved_s > STALL_S:
            return "stalled"
        self._rounds = 0 if pipeline.busy else self._rounds + 1
        if self._rounds < IDLE_ROUNDS:
            return "moving"
        self._rounds = 0
        return "idle"
