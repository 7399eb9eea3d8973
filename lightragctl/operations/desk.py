"""Reads and writes the record of an operation for its driver, the only process that may write it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from lightragctl.core.errors import LockedError
from lightragctl.core.hint import Command, Hint
from lightragctl.core.result import Notify
from lightragctl.operations.events import progress_event
from lightragctl.operations.kind import OperationKind, StopRequested
from lightragctl.operations.model import Kept, Operation, Phase, Progress, Request
from lightragctl.operations.store import Change, OperationStore

REPORT_S = 2.0
"""Between two writes of progress; requests of a user are read then too."""


@dataclass(frozen=True)
class Clock:
    """The time in UTC, and a wait of some seconds."""

    now: Callable[[], datetime]
    pause: Callable[[float], object]


@dataclass(frozen=True)
class Crew:
    """What a driver works with.

    Attributes:
        kinds: those that this lightragctl has.
        resources: what their steps get: the release.
        clock: of this machine.
        who: `user@host`.
        notify: takes events.
    """

    kinds: Sequence[OperationKind]
    resources: Any
    clock: Clock
    who: str
    notify: Notify


class Desk:
    """What a driver and its steps read and write; implements `kind.Context`.

    Args:
        store: where the record is.
        record: as the driver took it over.
        guard: raises LockedError when the driver's lock was lost.
        crew: what the driver works with.
    """

    def __init__(self, store: OperationStore, record: Operation, guard: Callable[[], None], crew: Crew) -> None:
        self._store, self._record, self._guard, self._crew = store, record, guard, crew
        self._step = ""

    @property
    def record(self) -> Operation:
        """See `Context`."""
        return self._record

    @property
    def resources(self) -> Any:
        """See `Context`."""
        return self._crew.resources

    @property
    def notify(self) -> Notify:
        """See `Context`."""
        return self._crew.notify

    def now(self) -> datetime:
        """See `Context`."""
        return self._crew.clock.now()

    def begin_step(self, name: str) -> None:
        """Reports of progress are of this step from now on."""
        self._step = name

    def update(self, change: Change) -> Operation:
        """Write the record, and return it.

        Raises:
            LockedError: another driver has taken over.
        """

        def ours(current: Operation) -> Operation:
            if current.turn != self._record.turn:
                raise self._taken_over(current)
            return change(current)

        self._guard()
        self._record = self._store.update(self._record.id, ours)
        return self._record

    def refresh(self) -> Operation:
        """The record with what users have requested since.

        Raises:
            LockedError: another driver has taken over.
        """
        current = self._store.read(self._record.id)
        if current.turn != self._record.turn:
            raise self._taken_over(current)
        self._record = current
        return current

    def check(self) -> None:
        """See `Context`."""
        self._guard()
        self.refresh()

    def save_original(self, name: str, value: Any) -> Any:
        """See `Context`."""
        if name not in self._record.originals:
            self.update(lambda current: current.changed(originals={name: value, **current.originals}))
        return self._record.originals[name]

    def save_result(self, name: str, value: Any) -> None:
        """See `Context`."""
        if name not in self._record.results or self._record.results[name] != value:
            self.update(lambda current: current.changed(results={**current.results, name: value}))

    def keep(self, kept: Kept) -> None:
        """See `Context`."""
        others = tuple(one for one in self._record.kept if one.name != kept.name)
        if kept not in self._record.kept:
            self.update(lambda current: current.changed(kept=(*others, kept)))

    def report(self, done: float, total: float | None = None, unit: str = "", message: str = "") -> None:
        """See `Context`."""
        last, now = self._record.progress, self.now()
        same = last is not None and last.step == self._step
        if same and last and (now - last.updated_at).total_seconds() < REPORT_S and done != total:
            return
        progress = Progress(
            step=self._step,
            done=done,
            total=total,
            unit=unit,
            message=message,
            began_at=last.began_at if same and last else now,
            updated_at=now,
        )
        record = self.update(lambda current: current.changed(progress=progress))
        self.notify(progress_event(record, progress))
        if is_stopped(record):
            raise StopRequested(str(record.request))

    def wait(self, until: datetime) -> None:
        """Return at this time, or earlier when a user requests something."""
        while (left_s := (until - self.now()).total_seconds()) > 0:
            self._crew.clock.pause(min(REPORT_S, left_s))
            self._guard()
            if is_stopped(self.refresh()):
                return

    def _taken_over(self, current: Operation) -> LockedError:
        message = f"{current.driver or 'another process'} has taken over operation {current.id}"
        return LockedError(message, Hint("watch it: ", Command("operations status", f"{current.id} --watch")))


def is_stopped(record: Operation) -> bool:
    """Whether a user asks a running operation to pause or abort."""
    return record.phase is Phase.RUNNING and record.request is not Request.NONE
