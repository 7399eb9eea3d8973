"""What the driver of an operation does next. Pure."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from lightragctl.operations.model import Operation, Phase, Request, StepRecord, StepState


@dataclass(frozen=True)
class Enter:
    """Write this phase, with the cause of a failure, and decide again."""

    phase: Phase
    cause: str = ""


@dataclass(frozen=True)
class Act:
    """Perform the step."""

    step: str


@dataclass(frozen=True)
class Undo:
    """Undo the step."""

    step: str


@dataclass(frozen=True)
class Sleep:
    """Decide again at this time, or earlier when the record has changed."""

    until: datetime
    reason: str


@dataclass(frozen=True)
class End:
    """Nothing is left to do for a driver."""


Decision = Enter | Act | Undo | Sleep | End
Observed = Mapping[str, bool]
"""By step: whether its effect is present. Steps that never acted may be missing."""


def decide(record: Operation, observed: Observed, now: datetime) -> Decision:
    """The next action of the driver.

    Args:
        record: as it was last written.
        observed: the actual state of the steps; takes precedence over the recorded states.
        now: the time, in UTC.
    """
    match record.phase:
        case Phase.PENDING:
            return Enter(Phase.RUNNING)
        case Phase.RUNNING:
            return _run(record, observed, now)
        case Phase.PAUSING | Phase.FAILING if record.request is Request.ABORT:
            return Enter(Phase.ABORTING, record.cause)
        case Phase.PAUSING:
            return _give_back(
                record, now, Phase.PAUSED, lambda one: bool(one.hold_through) and not one.hold_while_paused
            )
        case Phase.FAILING:
            return _give_back(record, now, Phase.FAILED, lambda one: bool(one.hold_through))
        case Phase.ABORTING:
            return _give_back(record, now, Phase.ABORTED, lambda one: True)
        case _:
            return End()


def _run(record: Operation, observed: Observed, now: datetime) -> Decision:
    if record.request is not Request.NONE:
        return Enter(Phase.ABORTING if record.request is Request.ABORT else Phase.PAUSING)
    if now > record.deadline:
        return failure(record, f"not done within its deadline of {record.limit_s:g} s")
    for held in reversed(record.steps):
        if held.hold_through and held.is_begun and _is_done(record.step(held.hold_through), observed):
            return _undo(held, now)
    missing = next((one for one in record.steps if not _is_satisfied(one, record, observed)), None)
    if missing is None:
        stuck = [f"{one.title}: not undone: {one.message}" for one in record.steps if one.state is StepState.STUCK]
        return Enter(Phase.NEEDS_ATTENTION, "; ".join(stuck)) if stuck else Enter(Phase.SUCCEEDED)
    return _act(record, missing, now)


def _act(record: Operation, step: StepRecord, now: datetime) -> Decision:
    is_acting = step.state in (StepState.ACTING, StepState.WAITING)  # else what it did before a pause was undone
    if is_acting and step.began_at and now > step.began_at + timedelta(seconds=step.deadline_s):
        reason = f": {step.message}" if step.message else ""
        return failure(record, f"{step.title}: not done within its deadline of {step.deadline_s:g} s{reason}")
    if step.state is StepState.WAITING and step.next_at and step.next_at > now:
        return Sleep(step.next_at, step.message)
    return Act(step.name)


def _is_done(step: StepRecord, observed: Observed) -> bool:
    return step.is_begun and observed.get(step.name, False)


def _is_satisfied(step: StepRecord, record: Operation, observed: Observed) -> bool:
    """Whether the step needs no action: it is done, or it held a resource that no later step needs."""
    if step.hold_through and _is_done(record.step(step.hold_through), observed):
        return True
    return _is_done(step, observed)


def failure(record: Operation, cause: str) -> Enter:
    """The phase after a failure."""
    return Enter(Phase.ABORTING if record.abort_on_failure else Phase.FAILING, cause)


def _give_back(record: Operation, now: datetime, then: Phase, is_meant: Callable[[StepRecord], bool]) -> Decision:
    """Undo the selected steps, last first; then enter the phase, or `needs attention` if an undo failed."""
    for step in reversed(record.steps):
        if step.undoable and step.is_begun and is_meant(step):
            return _undo(step, now)
    if any(step.state is StepState.STUCK for step in record.steps):
        return Enter(Phase.NEEDS_ATTENTION, record.cause)
    return Enter(then, record.cause)


def _undo(step: StepRecord, now: datetime) -> Decision:
    if step.state is StepState.UNDOING and step.next_at and step.next_at > now:
        return Sleep(step.next_at, step.message)
    return Undo(step.name)
