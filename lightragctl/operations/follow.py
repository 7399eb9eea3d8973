"""Follows an operation that another process drives, by its record."""

from collections.abc import Callable

from lightragctl.core.result import Event, Notify
from lightragctl.operations.desk import Clock
from lightragctl.operations.events import phase_event, progress_event, step_event
from lightragctl.operations.model import AT_WORK, Operation, StepState
from lightragctl.operations.store import OperationStore

_POLL_S = 1.0
_SHOWN = (StepState.ACTING, StepState.UNDOING)


def follow(
    store: OperationStore, operation_id: str, clock: Clock, notify: Notify, obstacle: Callable[[Operation], str]
) -> Operation:
    """The record once no driver has anything left to do; until then its steps and its progress are reported.

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
    states = {one.name: one.state for one in before.steps} if before else {}
    for step in record.steps:
        if step.state in _SHOWN and states.get(step.name) not in (step.state, StepState.WAITING):
            found.append(step_event(record, step))
        elif step.state is StepState.WAITING and step.message:
            found.append(Event(step.message, step.name, passing=True))
    if record.progress is not None and (before is None or before.progress != record.progress):
        found.append(progress_event(record, record.progress))
    return found
