"""The write fence of a workspace: while it is held, lightrag-api rejects writes and no write is in flight.

The protocol and its assumptions are in docs/concepts/consistency.md. In short: a replica registers as a writer before
it reads the fences, and a command writes its fence before it reads the writers, so at least one of the two sees the
other. `service/write_guard.py` is the other side.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import NoReturn, TypeVar

import msgspec

from lightragctl.core.errors import LightragctlError, LockedError, UnavailableError, WaitExpired
from lightragctl.core.hint import Command, Hint
from lightragctl.core.result import Event, Notify
from lightragctl.vectors.control import EPOCH, control_name, control_row, epoch_row, when_loaded
from lightragctl.vectors.fence_rows import (
    FENCE_CHANGE,
    FENCES,
    FENCES_END,
    SWITCHING,
    WRITERS,
    WRITERS_END,
    FenceChange,
    FenceRow,
    Sightings,
    SwitchingRow,
    WriterRow,
    fence_key,
)
from lightragctl.vectors.model import CollectionMissingError, Page, Row, control_spec
from lightragctl.vectors.store import VectorStore

LAG_S = 1.0
"""Rows of another process are visible after this time; measured on Milvus 2.3.5: 0.5 s."""

SPREAD_S = 3.0
"""After this time every replica of lightrag-api has read a new marker, or no longer trusts what it read before."""

_RENEWALS = 6
"""Renewals within the time that a fence is valid: several may fail before it expires."""

_MARGIN = 0.9
"""Of its validity: the holder gives a fence up before a replica does, if their clocks run alike within a tenth."""

_POLL_S = 0.2
_PAGE_ROWS = 1000

RowT = TypeVar("RowT", FenceRow, WriterRow)


class FenceHeldError(LockedError):
    """Another process holds a fence of the workspace."""

    code = "fence-held"


class FenceLostError(LightragctlError):
    """The fence was not held without interruption: writes may have been accepted."""

    code = "fence-lost"


@dataclass(frozen=True)
class Clock:
    """The time, and waiting for it."""

    monotonic: Callable[[], float] = time.monotonic
    pause: Callable[[float], None] = time.sleep
    now_ns: Callable[[], int] = time.time_ns


@dataclass(frozen=True)
class FenceTerms:
    """What is taken.

    Attributes:
        token: names the fence; the same token takes it again, as after a crash.
        reason: the operation that holds it, as shown to writers: `backup 20261130-101500`.
        valid_s: seconds until it expires without a renewal.
        drain_s: seconds to wait for writes in flight.
    """

    token: str
    reason: str
    valid_s: float = 30.0
    drain_s: float = 120.0


class Fence:
    """A held fence, as `take` returns it. May be used from several threads.

    `epoch` is that of the workspace when the last write had ended.
    """

    def __init__(self, store: VectorStore, workspace: str, terms: FenceTerms, clock: Clock) -> None:
        self._store = store
        self._workspace = workspace
        self._control = control_name(workspace)
        self._key = fence_key(terms.token)
        self._terms = terms
        self._clock = clock
        self._lock = threading.RLock()
        self._beat = ""
        self._renewed_s = 0.0
        self._settled = False
        self._lost = ""
        self.epoch = ""

    def check(self) -> None:
        """Whether the fence has been held since it was taken, by this process's clock. Does no I/O.

        Raises:
            FenceLostError: it was not renewed in time, or another process removed it.
        """
        with self._lock:
            silent_s = self._clock.monotonic() - self._renewed_s
            if not self._lost and silent_s > self._terms.valid_s * _MARGIN:
                self._lost = f"it was not renewed for {silent_s:.0f} s"
            if self._lost:
                self._fail()

    def renew(self) -> None:
        """Extend the fence by its validity.

        Raises:
            FenceLostError: as `check`, or the row is not the one that was written last.
            UnavailableError: the store does not answer; the fence holds until it expires.
        """
        with self._lock:
            self.check()
            begun_s = self._clock.monotonic()
            row = read_rows(self._store, self._control, FENCES, FENCES_END, FenceRow).get(self._key)
            if row is None or row.beat != self._beat:
                self._lost = "another process removed it, as after it had expired"
                self._fail()
            self._write()
            self.check()  # while the write hung, the one before may have expired
            self._renewed_s = begun_s

    def confirm(self) -> None:
        """Whether no write through lightrag-api ended since the fence was taken.

        Raises:
            FenceLostError: the fence was lost, or a write was accepted in spite of it.
        """
        self.renew()
        self._clock.pause(LAG_S)
        if self._read_epoch() != self.epoch:
            self._lost = "a write was accepted"
        self.check()

    def release(self) -> None:
        """Release the fence; does nothing if it is lost. If the store does not answer, it expires."""
        with self._lock, suppress(UnavailableError):
            self._lost = self._lost or "it was released"
            row = read_rows(self._store, self._control, FENCES, FENCES_END, FenceRow).get(self._key)
            if row is not None and row.beat == self._beat:
                self._delete([self._key])

    def _fail(self) -> NoReturn:
        raise FenceLostError(
            f"the write fence of workspace '{self._workspace}' was lost: {self._lost}", "run the command again"
        )

    def _write(self) -> None:
        """Write the row with a new beat."""
        now_ns = self._clock.now_ns()
        terms, beat = self._terms, str(now_ns)
        row = FenceRow(terms.token, terms.reason, beat, terms.valid_s, self._settled)
        self._store.upsert(self._control, [control_row(self._key, row, now_ns // 1_000_000_000), self._change(now_ns)])
        self._beat = beat

    def _delete(self, keys: list[str]) -> None:
        """Delete rows of fences."""
        self._store.delete(self._control, keys)
        self._store.upsert(self._control, [self._change(self._clock.now_ns())])

    def _change(self, now_ns: int) -> Row:
        """The row by which writers notice a change of the fences."""
        return control_row(FENCE_CHANGE, FenceChange(f"{now_ns} {self._terms.token}"), now_ns // 1_000_000_000)

    def place(self) -> None:
        """Write the row for the first time.

        Raises:
            FenceHeldError: another process has done the same.
        """
        self._renewed_s = self._clock.monotonic()
        self._write()
        self._clock.pause(LAG_S)
        if others := self._others():
            raise _held(self._workspace, next(iter(others.values())))

    def _others(self) -> dict[str, FenceRow]:
        rows = read_rows(self._store, self._control, FENCES, FENCES_END, FenceRow)
        return {key: row for key, row in rows.items() if key != self._key}

    def wait_for_others(self, notify: Notify) -> None:
        """Wait until the fences of others have expired, and remove them.

        Raises:
            FenceHeldError: one of them is renewed.
        """
        sightings, first = Sightings(), self._others()
        while others := self._others():
            renewed = [row for key, row in others.items() if key not in first or row.beat != first[key].beat]
            if renewed:
                raise _held(self._workspace, renewed[0])
            ages_s = sightings.ages_s({key: row.beat for key, row in others.items()}, self._clock.monotonic())
            expired = [key for key, row in others.items() if ages_s[key] >= row.valid_s]
            if expired:
                self._delete(expired)
                continue
            reason = next(iter(others.values())).reason
            notify(Event(f"waiting to see whether {reason} still holds the write fence", self._workspace, passing=True))
            self._clock.pause(_POLL_S)

    def drain(self, notify: Notify) -> None:
        """Wait until no write is in flight.

        Raises:
            WaitExpired: a replica is still writing after `drain_s`.
        """
        begun_s, sightings = self._clock.monotonic(), Sightings()
        while True:
            rows = read_rows(self._store, self._control, WRITERS, WRITERS_END, WriterRow)
            now_s = self._clock.monotonic()
            ages_s = sightings.ages_s({key: row.beat for key, row in rows.items()}, now_s)
            if all(ages_s[key] >= row.valid_s for key, row in rows.items()):
                break
            if now_s - begun_s > self._terms.drain_s:
                message = f"lightrag-api still writes to workspace '{self._workspace}' after {self._terms.drain_s:g} s"
                raise WaitExpired(message, "stop the load, or wait longer with --timeout SECONDS")
            notify(Event("waiting for writes in flight", self._workspace, passing=True))
            if now_s - self._renewed_s > self._terms.valid_s / _RENEWALS:
                self.renew()
            self._clock.pause(_POLL_S)
        if rows:  # of replicas that were killed
            self._store.delete(self._control, list(rows))
        self._settled = True
        self.renew()
        self.epoch = self._read_epoch()

    def _read_epoch(self) -> str:
        row = self._store.get(self._control, [EPOCH], ["value"]).get(EPOCH)
        return str(row["value"]) if row else ""

    def keep(self, stop: threading.Event) -> None:
        """Renew until `stop` is set or the fence is lost; retries while the store does not answer."""
        while not stop.wait(self._terms.valid_s / _RENEWALS):
            try:
                self.renew()
            except FenceLostError:
                return
            except LightragctlError:
                continue


def take(store: VectorStore, workspace: str, terms: FenceTerms, notify: Notify, clock: Clock | None = None) -> Fence:
    """Take the fence and wait for writes in flight; the caller renews it.

    Raises:
        FenceHeldError: another process holds one.
        WaitExpired: writes are still in flight after `drain_s`.
        UnavailableError: the store does not answer.
    """
    store.create(control_spec(control_name(workspace)))
    fence = Fence(store, workspace, terms, clock or Clock())
    fence.wait_for_others(notify)
    try:
        fence.place()
        fence.drain(notify)
    except BaseException:
        fence.release()
        raise
    return fence


@contextmanager
def hold(
    store: VectorStore, workspace: str, terms: FenceTerms, notify: Notify, clock: Clock | None = None
) -> Iterator[Fence]:
    """As `take`, renewed by a thread inside the block and released at its end.

    What was read inside the block is consistent only if `confirm` raises nothing at its end.
    """
    fence = take(store, workspace, terms, notify, clock)
    stop = threading.Event()
    keeper = threading.Thread(target=fence.keep, args=(stop,), name="fence", daemon=True)
    keeper.start()
    try:
        yield fence
    finally:
        stop.set()
        keeper.join()
        fence.release()


def begin_switch(store: VectorStore, workspace: str, operation: str, clock: Clock | None = None) -> None:
    """Make every replica of lightrag-api return 503 until `end_switch`; returns once all of them do.

    The marker does not expire: a partial switch must not look like an empty workspace. Idempotent.

    Raises:
        LockedError: another operation is switching the workspace.
    """
    clock, control = clock or Clock(), control_name(workspace)
    store.create(control_spec(control))
    there = switching(store, workspace)
    if there not in ("", operation):
        hint = Hint("see it with: ", Command("operations status", there))
        raise LockedError(f"operation {there} is switching the collections of workspace '{workspace}'", hint)
    now_ns = clock.now_ns()
    marker = control_row(SWITCHING, SwitchingRow(operation), now_ns // 1_000_000_000)
    store.upsert(control, [marker, epoch_row(now_ns)])
    clock.pause(SPREAD_S)


def end_switch(store: VectorStore, workspace: str, operation: str, clock: Clock | None = None) -> None:
    """Allow queries again; does nothing if the marker does not exist or belongs to another operation."""
    control = control_name(workspace)
    if switching(store, workspace) == operation:
        store.delete(control, [SWITCHING])
        store.upsert(control, [epoch_row((clock or Clock()).now_ns())])


def switching(store: VectorStore, workspace: str) -> str:
    """The operation that is switching the collections of the workspace; empty when none is."""
    control = control_name(workspace)
    try:
        rows = when_loaded(store, control, lambda: store.get(control, [SWITCHING], ["value"]))
    except CollectionMissingError:
        return ""
    row = rows.get(SWITCHING)
    return msgspec.json.decode(str(row["value"]), type=SwitchingRow).operation if row else ""


def read_rows(store: VectorStore, control: str, start: str, end: str, kind: type[RowT]) -> dict[str, RowT]:
    """The rows with ids between `start` and `end`, by id; none when there is no control collection."""
    page = Page(after=start, before=end, limit=_PAGE_ROWS)
    try:
        rows = store.scan(control, ["value"], page)
    except CollectionMissingError:
        return {}
    return {str(row["id"]): msgspec.json.decode(str(row["value"]), type=kind) for row in rows}


def _held(workspace: str, other: FenceRow) -> FenceHeldError:
    message = f"{other.reason} holds the write fence of workspace '{workspace}'"
    return FenceHeldError(message, Hint("wait until it has ended: ", Command("operations list")))
