"""Follows an operation that another process drives, by its record."""

from collections.abc import Callable

from lightragctl.core.result import Event, Notify
from lightragctl.operations.desk import Clock
from lightragctl.operations.events import phase_event, progress_event, step_event
from lightragctl.operations.model import AT_WORK, Operation, StepRecord, StepState
from lightragctl.operations.store import OperationStore

_POLL_S = 1.0
_TAKEN_BACK = (StepState.UNDOING, StepState.UNDONE)


def follow(
    store: OperationStore, operation_id: str, clock: Clock, notify: Notify, obstacle: Callable[[Operation], str]
) -> Operation:
    """Report steps and progress until the operation pauses or ends; returns its record.

    Args:
        store: where the record is.
        operation_id: of the operation.
        clock: of this machine.
        notify: takes what happens.
        obstacle: why no driver is at work; empty when one is.
    """
    seen: Operation | None = None
    while True:
        record = store.read(operation_id)
        for event in _news(seen, record):
            notify(event)
        if record.phase not in AT_WORK:
            return record
        if (seen is None or seen.turn == record.turn) and (reason := obstacle(record)):
            notify(Event(reason, "waiting for the driver", passing=True))
        seen = record
        clock.pause(_POLL_S)


def _news(before: Operation | None, record: Operation) -> list[Event]:
    """What has happened between two looks at the record."""
    found = [] if before is not None and before.phase is record.phase else [phase_event(record)]
    for step in record.steps:
        was = before.step(step.name) if before else None
        if _has_begun(was, step):
            found.append(step_event(record, step))
        if step.state is StepState.WAITING and step.message:
            found.append(Event(step.message, step.name, passing=True))
    if record.progress is not None and (before is None or before.progress != record.progress):
        found.append(progress_event(record, record.progress))
    return found


def _has_begun(was: StepRecord | None, step: StepRecord) -> bool:
    """Whether a step was begun, or begun to be undone, since the last look; it may have ended already."""
    if step.state in _TAKEN_BACK:
        return was is not None and was.state not in _TAKEN_BACK
    return step.is_begun and (not was.is_begun if was else step.state is not StepState.DONE)
