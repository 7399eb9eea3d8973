"""The driver of an operation: decides, records the next action, performs it, and verifies its effect.

Every effect is announced in the record first. So a driver that dies at any point is followed by one that observes what
is and continues, on any machine. Held resources are released on every exit of the driver but its death.
"""

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial

from lightragctl.core.errors import LightragctlError, LockedError, UnavailableError
from lightragctl.core.result import Event, EventType
from lightragctl.operations.decide import Act, Decision, Enter, Sleep, Undo, decide, failure
from lightragctl.operations.desk import Desk
from lightragctl.operations.events import phase_event, step_event
from lightragctl.operations.kind import OperationKind, Pause, StopRequested, Wait
from lightragctl.operations.model import AT_WORK, CLOSED, Operation, Phase, Request, StepState, aborting, without_begun

_LONGEST_PAUSE_S = 30.0
_LOOK_AGAIN_S = 1.0
"""After an act whose effect is not visible yet."""

_GOES_ON = (Phase.RUNNING, Phase.PAUSING, Phase.FAILING)
"""Phases that keep the request of a user."""
_ACTS = (StepState.ACTING, StepState.WAITING)


class Driver:
    """Drives one operation until there is nothing left to do.

    Args:
        desk: the record, taken over.
        kind: its steps.
        in_job: another driver follows when this one is stopped, so what is held stays held then.
    """

    def __init__(self, desk: Desk, kind: OperationKind, in_job: bool = False) -> None:
        self._desk, self._kind, self._in_job = desk, kind, in_job
        self._observed: dict[str, bool] = {}

    def run(self) -> Operation:
        """The record in a phase that has nothing to do for a driver.

        Raises:
            LockedError: another driver has taken over.
            LightragctlError: the record cannot be written.
        """
        try:
            return self._drive()
        except BaseException as error:
            self._leave(error)
            raise

    def _drive(self) -> Operation:
        self._observe_begun()
        while self._desk.record.phase in AT_WORK:
            decision = decide(self._desk.record, self._observed, self._desk.now())
            try:
                self._carry_out(decision)
            except StopRequested:  # the record says what is requested
                continue
        return self._desk.record

    def _observe_begun(self) -> None:
        """Observe the actual state of each step that has ever acted."""
        record = self._desk.record
        if record.phase in (Phase.RUNNING, Phase.PENDING):
            self._observed = {one.name: self._look(one.name) for one in record.steps if one.is_begun}
            ended = [name for name, seen in self._observed.items() if seen and record.step(name).state in _ACTS]
            if ended:
                self._desk.update(partial(_with_done, ended, self._desk.now()))

    def _look(self, name: str) -> bool:
        """Whether a step's effect is present; if that cannot be read, it is not, so that the act is repeated."""
        try:
            return self._kind.step_by_name[name].observe(self._desk)
        except UnavailableError:
            return False

    def _carry_out(self, decision: Decision) -> None:
        match decision:
            case Enter():
                self._enter(decision)
            case Act(step=name):
                self._act(name)
            case Undo(step=name):
                self._undo(name)
            case Sleep(until=until, reason=reason):
                self._desk.notify(Event(reason, "waiting", passing=True))
                self._desk.wait(until)

    def _enter(self, wanted: Enter) -> None:
        now, before = self._desk.now(), self._desk.record.phase

        def change(current: Operation) -> Operation:
            if current.phase is not before:  # a user has aborted it meanwhile
                return current
            if wanted.phase is Phase.ABORTING:
                return aborting(current, now).changed(cause=wanted.cause)
            ends = {"ended_at": now} if wanted.phase in CLOSED else {}
            asked = {} if wanted.phase in _GOES_ON else {"request": Request.NONE}
            closed = without_begun(current) if wanted.phase is Phase.ABORTED else current
            return closed.changed(phase=wanted.phase, cause=wanted.cause, **ends, **asked)

        self._desk.notify(phase_event(self._desk.update(change)))

    def _act(self, name: str) -> None:
        step, now = self._desk.record.step(name), self._desk.now()
        is_fresh = step.state not in _ACTS
        began = {"began_at": now, "attempts": 0, "message": ""} if is_fresh or step.began_at is None else {}
        self._desk.begin_step(name)
        self._desk.update(lambda current: current.with_step(name, state=StepState.ACTING, next_at=None, **began))
        if is_fresh:
            self._desk.notify(step_event(self._desk.record, self._desk.record.step(name)))
        try:
            wait = self._kind.step_by_name[name].act(self._desk)
        except UnavailableError as error:
            self._retry_later(name, StepState.WAITING, error)
            return
        except LightragctlError as error:
            self._refuse_lost_lock(error)
            self._note_failure(name, error)
            return
        self._finish(name, wait)

    def _finish(self, name: str, wait: Wait | Pause | None) -> None:
        """Record that a step is done if its effect is present, else when it acts again, or why the operation pauses."""
        if isinstance(wait, Pause):
            stopped = {"state": StepState.WAITING, "next_at": None, "message": wait.reason, "attempts": 0}
            self._desk.update(lambda current: current.with_step(name, **stopped))
            self._enter(Enter(Phase.PAUSING, f"{self._desk.record.step(name).title}: {wait.reason}"))
            return
        seen = wait is None and self._look(name)
        self._observed[name] = seen
        now = self._desk.now()
        if seen:
            self._desk.update(partial(_with_done, [name], now))
            return
        again = wait or Wait(_LOOK_AGAIN_S, "its effect is not visible yet")
        later = {"next_at": now + timedelta(seconds=again.seconds), "message": again.reason, "attempts": 0}
        self._desk.update(lambda current: current.with_step(name, state=StepState.WAITING, **later))

    def _retry_later(self, name: str, state: StepState, error: LightragctlError) -> None:
        """Write that a step is repeated: something did not answer."""
        attempts = self._desk.record.step(name).attempts + 1
        next_at = self._desk.now() + timedelta(seconds=min(_LONGEST_PAUSE_S, 2.0 ** (attempts - 1)))
        later = {"state": state, "attempts": attempts, "next_at": next_at, "message": error.message}
        self._desk.update(lambda current: current.with_step(name, **later))

    def _note_failure(self, name: str, error: LightragctlError) -> None:
        """Write that a step failed, and the phase that follows from it."""
        title = self._desk.record.step(name).title
        cause = f"{title}: {error.message}" + (f" ({error.hint})" if error.hint else "")
        failed = {"state": StepState.FAILED, "message": error.message, "ended_at": self._desk.now()}
        self._desk.update(lambda current: current.with_step(name, **failed))
        self._enter(failure(self._desk.record, cause))

    def _undo(self, name: str) -> None:
        step, now = self._desk.record.step(name), self._desk.now()
        is_fresh = step.state is not StepState.UNDOING
        began = {"began_at": now, "attempts": 0, "message": ""} if is_fresh else {}
        self._desk.begin_step(name)
        self._desk.update(lambda current: current.with_step(name, state=StepState.UNDOING, next_at=None, **began))
        if is_fresh:
            self._desk.notify(step_event(self._desk.record, self._desk.record.step(name)))
        undo = self._kind.step_by_name[name].undo
        try:
            if undo is not None:
                undo(self._desk)
        except UnavailableError as error:
            begun = self._desk.record.step(name).began_at or now
            if self._desk.now() < begun + timedelta(seconds=step.deadline_s):
                self._retry_later(name, StepState.UNDOING, error)
            else:
                self._note_stuck(name, error)
        except LightragctlError as error:
            self._refuse_lost_lock(error)
            self._note_stuck(name, error)
        else:
            self._observed[name] = False
            done = {"state": StepState.UNDONE, "ended_at": self._desk.now(), "next_at": None, "message": ""}
            self._desk.update(lambda current: current.with_step(name, **done))

    def _refuse_lost_lock(self, error: LightragctlError) -> None:
        """Tell a step that was refused by another lock from one whose driver has lost its own, which raises."""
        if isinstance(error, LockedError):
            self._desk.check()

    def _note_stuck(self, name: str, error: LightragctlError) -> None:
        """Write that a step could not be undone.

        While the operation is running, its work goes on: it ends as `needs attention` instead of being undone.
        """
        stuck = {"state": StepState.STUCK, "message": error.message, "ended_at": self._desk.now(), "next_at": None}
        self._desk.update(lambda current: current.with_step(name, **stuck))
        self._desk.notify(Event(f"not undone: {error.message}", name, type=EventType.ERROR))

    def _leave(self, error: BaseException) -> None:
        """Release held resources before the driver exits because of an error, Ctrl-C or SIGTERM.

        A driver whose lock was lost gives nothing back: its successor has it. In a Job a signal leaves all as it is.
        """
        record = self._desk.record
        if isinstance(error, LockedError) or record.phase not in AT_WORK:
            return
        if isinstance(error, Exception):
            self._give_back(failure(record, f"{type(error).__name__}: {error}"))
        elif not self._in_job:
            self._give_back(Enter(Phase.PAUSING))

    def _give_back(self, entered: Enter) -> None:
        """Enter the phase and drive it to its end; where the record cannot be written, only undo what is held."""
        try:
            if self._desk.record.phase in (Phase.PENDING, Phase.RUNNING):
                self._enter(entered)
            self._drive()
        except LockedError:
            return
        except LightragctlError:
            for name in held_steps(self._desk.record):
                undo = self._kind.step_by_name[name].undo
                with suppress(LightragctlError):
                    if undo is not None:
                        undo(self._desk)


def _with_done(names: Sequence[str], now: datetime, record: Operation) -> Operation:
    """The record with these steps done."""
    for name in names:
        record = record.with_step(name, state=StepState.DONE, ended_at=now, next_at=None, message="", attempts=0)
    return record


def held_steps(record: Operation) -> list[str]:
    """The steps that hold something, last first."""
    return [one.name for one in reversed(record.steps) if one.hold_through and one.is_begun]


def take_turn(record: Operation, who: str, fence: int) -> Operation:
    """The record as a new driver takes it over; drivers before it may write no more.

    Args:
        record: as it is.
        who: the driver, `user@host`.
        fence: of its lock, higher than that of every driver before.
    """
    return record.changed(turn=max(record.turn + 1, fence), driver=who)
