"""Starts, drives, pauses, resumes, aborts and cleans up operations: what commands call."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime

from lightragctl.core.errors import LightragctlError, RefusedError, UsageError
from lightragctl.core.hint import Command, Hint
from lightragctl.core.operation import open_operation
from lightragctl.core.result import Event, Notify
from lightragctl.operations.desk import Crew, Desk
from lightragctl.operations.kind import OperationKind, kind_of
from lightragctl.operations.model import (
    AT_WORK,
    KeptData,
    Operation,
    Phase,
    Request,
    aborting,
    next_command,
    resumed,
    to_drop,
)
from lightragctl.operations.notification import send
from lightragctl.operations.place import Place
from lightragctl.operations.run import Driver, take_turn


def begin(place: Place, record: Operation, notify: Notify) -> Operation:
    """Store the record of a new operation, which reserves the release; nothing is done yet.

    Raises:
        LockedError: another process changes the release, or another operation of it is open.
    """
    with place.reserve(record.id, notify):
        records = place.store.records()
        for other in records:
            if other.is_open:
                raise open_operation(other.id, str(other.phase))
        place.store.create(record)
    for old in to_drop([record, *records]):
        place.store.delete(old)
    return record


@contextmanager
def reserved(place: Place, who: str, notify: Notify) -> Iterator[None]:
    """Hold the lock of the release for a change that needs no operation.

    Raises:
        LockedError: another process changes the release, or an operation of it is open.
    """
    with place.reserve(who, notify):
        for other in place.store.records():
            if other.is_open:
                raise open_operation(other.id, str(other.phase))
        yield


def drive(place: Place, operation_id: str, crew: Crew, in_job: bool = False) -> Operation:
    """Run the operation until it pauses or ends; returns its record.

    Args:
        place: of its release.
        operation_id: of the operation.
        crew: what to drive it with.
        in_job: another driver follows when this process is stopped.

    Raises:
        LockedError: another process drives it.
        LightragctlError: this lightragctl cannot continue it, or the record cannot be written.
    """
    found = place.store.read(operation_id)
    kind = kind_of(found, crew.kinds)
    if found.phase not in AT_WORK:
        return found
    with place.hold_driver(operation_id, found.turn, crew.notify) as guard:
        record = place.store.update(operation_id, lambda current: take_turn(current, crew.who, guard.fence))
        desk = Desk(place.store, record, guard.check, crew)
        record = Driver(desk, kind, in_job).run()
        if not record.is_open:
            guard.forget()
    send(record, crew.clock.pause, crew.notify)
    return record


def newest(place: Place) -> Operation:
    """The open operation of the release, else its newest.

    Raises:
        UsageError: it has none.
    """
    records = place.store.records()
    if not records:
        raise UsageError(f"release '{place.release}' has no operations")
    return next((one for one in records if one.is_open), records[0])


def the_open(place: Place) -> Operation:
    """The open operation of the release; there is at most one.

    Raises:
        UsageError: none is open; names the newest.
    """
    records = place.store.records()
    found = next((one for one in records if one.is_open), None)
    if found is None:
        last = f"; the last one, {records[0].id}, is {records[0].phase}" if records else ""
        raise UsageError(
            f"no operation of release '{place.release}' is open{last}", Hint("list them: ", Command("operations list"))
        )
    return found


def pause(place: Place, operation_id: str) -> Operation:
    """Request the driver of a running operation to release held resources and to stop.

    Raises:
        RefusedError: it does not run.
    """

    def change(current: Operation) -> Operation:
        if current.phase not in (Phase.PENDING, Phase.RUNNING, Phase.PAUSING, Phase.PAUSED):
            raise RefusedError(
                f"operation {current.id} cannot pause: its phase is {current.phase}", next_command(current)
            )
        return current.changed(request=Request.PAUSE) if current.phase in (Phase.PENDING, Phase.RUNNING) else current

    return place.store.update(operation_id, change)


def resume(place: Place, operation_id: str, now: datetime) -> Operation:
    """Mark a stopped operation as running; the caller then starts a driver. Does nothing to a running one.

    Raises:
        RefusedError: it is closed, or being aborted.
    """

    def change(current: Operation) -> Operation:
        if not current.is_open or current.phase is Phase.ABORTING:
            raise RefusedError(
                f"operation {current.id} cannot resume: its phase is {current.phase}", next_command(current)
            )
        if current.phase in (Phase.PAUSED, Phase.FAILED, Phase.NEEDS_ATTENTION):
            return resumed(current, now)
        return current.changed(request=Request.NONE)

    return place.store.update(operation_id, change)


def promote(place: Place, operation_id: str, kinds: Sequence[OperationKind], who: str, now: datetime) -> Operation:
    """Decide that an operation goes on without the verdicts that it waits for; the caller starts a driver if needed.

    Raises:
        RefusedError: its kind has no verdicts, or it is closed, being aborted or has failed.
    """

    def change(current: Operation) -> Operation:
        if not kind_of(current, kinds).promotable:
            raise RefusedError(f"operation {current.id} cannot be promoted: it waits for no verdict")
        if current.phase not in (Phase.PENDING, Phase.RUNNING, Phase.PAUSING, Phase.PAUSED):
            raise RefusedError(
                f"operation {current.id} cannot be promoted: its phase is {current.phase}", next_command(current)
            )
        going_on = resumed(current, now) if current.phase is Phase.PAUSED else current.changed(request=Request.NONE)
        return going_on.changed(promoted_by=who)

    return place.store.update(operation_id, change)


def abort(place: Place, operation_id: str, now: datetime) -> Operation:
    """Request every step to be undone; the caller starts a driver if none is running.

    Raises:
        RefusedError: it is closed.
    """

    def change(current: Operation) -> Operation:
        if not current.is_open:
            raise RefusedError(
                f"operation {current.id} cannot be aborted: its phase is {current.phase}", next_command(current)
            )
        if current.phase in (Phase.PENDING, Phase.RUNNING):
            return current.changed(request=Request.ABORT)
        return current if current.phase is Phase.ABORTING else aborting(current, now)

    return place.store.update(operation_id, change)


def abandon(place: Place, operation_id: str, crew: Crew) -> Operation:
    """Close an operation without undoing its steps.

    Raises:
        LockedError: a process drives it.
        RefusedError: it is closed.
    """
    found = place.store.read(operation_id)
    if not found.is_open:
        raise RefusedError(f"operation {found.id} cannot be closed: its phase is {found.phase}", next_command(found))
    with place.hold_driver(operation_id, found.turn, crew.notify) as guard:
        cause = f"closed without undoing its steps by {crew.who}" + (f"; before: {found.cause}" if found.cause else "")
        now = crew.clock.now()
        closed = {"phase": Phase.ABORTED, "cause": cause, "ended_at": now, "request": Request.NONE}
        record = place.store.update(
            operation_id, lambda current: take_turn(current, crew.who, guard.fence).changed(**closed)
        )
        guard.forget()
    return record


def kept_data(place: Place, now: datetime) -> list[KeptData]:
    """The kept data of every closed operation, those that expire first first."""
    found = [
        KeptData(record, kept, kept.expires_at <= now)
        for record in place.store.records()
        if not record.is_open
        for kept in record.kept
    ]
    return sorted(found, key=lambda one: one.kept.expires_at)


def clean_up(place: Place, chosen: Sequence[KeptData], crew: Crew) -> list[KeptData]:
    """Delete kept data; returns the deleted entries. Failures are reported, and their entries stay listed."""
    gone = []
    for one in chosen:
        try:
            _delete(place, one, crew)
        except LightragctlError as error:
            crew.notify(Event(f"not deleted: {error.message}", one.kept.name))
            continue
        gone.append(one)
    return gone


def _delete(place: Place, one: KeptData, crew: Crew) -> None:
    kind = next((known for known in crew.kinds if known.name == one.operation.kind), None)
    if kind is None or kind.cleanup is None:
        message = f"this lightragctl does not know which data operation {one.operation.id} retained"
        raise LightragctlError(message, f"use lightragctl {one.operation.version}")
    kind.cleanup(one.kept, crew.resources)

    def change(current: Operation) -> Operation:
        return current.changed(kept=tuple(kept for kept in current.kept if kept.name != one.kept.name))

    place.store.update(one.operation.id, change)
