"""Starts an operation for a command: runs it in this process, or follows its Job."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lightragctl.cli.operations.kinds import KINDS
from lightragctl.cli.options import Session
from lightragctl.core.errors import RefusedError
from lightragctl.core.hint import Command
from lightragctl.core.result import Event, Notify
from lightragctl.operations import job
from lightragctl.operations.control import abort, begin, drive, pause, resume
from lightragctl.operations.desk import Clock, Crew
from lightragctl.operations.follow import follow
from lightragctl.operations.kind import OperationKind, Started, kind_of, new_operation
from lightragctl.operations.model import AT_WORK, JobSpec, Operation
from lightragctl.operations.place import Place, place_of


@dataclass(frozen=True)
class Operator:
    """What the commands of operations work with: the operations of the session's release, and this process."""

    session: Session
    place: Place
    clock: Clock
    who: str
    run: str

    def crew(self, notify: Notify) -> Crew:
        """What a driver in this process works with."""
        return Crew(KINDS, self.session.release, self.clock, self.who, notify)

    def started(self) -> Started:
        """This process, as the one that starts an operation."""
        import lightragctl

        return Started(self.who, self.clock.now(), lightragctl.__version__, self.run[:6])


def operator(session: Session) -> Operator:
    """The operations of the session's release.

    Raises:
        NoClusterError: the release runs on a cluster, and none can be found.
    """
    from lightragctl.release.open import lock_holder

    holder = lock_holder()
    place = place_of(session.release.runtime, session.release.name, holder)
    return Operator(session, place, Clock(holder.now, holder.pause), holder.who, holder.run)


def start(
    session: Session, kind: OperationKind, parameters: dict[str, Any], workspace: str, job_spec: JobSpec | None
) -> Operation:
    """Start an operation of the session's release and stay with it until it needs no driver.

    Args:
        session: of the command.
        kind: of the operation.
        parameters: of its steps; JSON values only.
        workspace: that it works on; empty for none.
        job_spec: of the Job that drives it; None to drive it in this process, as on the local runtime always.

    Raises:
        NotRunningError: there is no such release.
        LockedError: another operation of the release is open, or another process changes it.
    """
    session.release.runtime.components()  # refuses a release that is not there
    works = operator(session)
    record = new_operation(kind, session.release.name, parameters, works.started(), workspace)
    if works.place.scope is not None:
        record = record.changed(job=job_spec)
    with session.out.live() as notify:
        begin(works.place, record, notify)
    return stay(works, record.id)


def stay(works: Operator, operation_id: str, foreground: bool = False) -> Operation:
    """Ensure that the operation has a driver and wait until it pauses or ends; returns its record.

    Ctrl-C on a terminal asks what to do. Without a terminal, and on SIGTERM, what runs in this process is paused, which
    releases held resources; one that a Job drives continues.
    """
    while True:
        try:
            with works.session.out.live() as notify:
                record = works.place.store.read(operation_id)
                if record.phase not in AT_WORK:
                    return record
                if record.job is None or foreground or works.place.scope is None:
                    return _closed(works, drive(works.place, operation_id, works.crew(notify)))
                return _closed(works, _follow_job(works, record, notify))
        except KeyboardInterrupt:
            if not works.session.out.interactive or not _answered(works, operation_id):
                _tell_detached(works, operation_id)
                raise
        except BaseException as error:
            if not isinstance(error, Exception):
                _tell_detached(works, operation_id)
            raise


def _follow_job(works: Operator, record: Operation, notify: Notify) -> Operation:
    scope = works.place.scope
    if scope is None:
        raise RefusedError(
            f"operation {record.id} was started on a cluster", "set --profile and --context of that cluster"
        )
    job.start_job(scope, record, kind_of(record, KINDS), works.session.release.plan)
    return follow(works.place.store, record.id, works.clock, notify, lambda current: job.obstacle(scope, current))


def _closed(works: Operator, record: Operation) -> Operation:
    """The record; what was there for its driver is deleted."""
    if works.place.scope is not None and record.job is not None:
        job.stop_job(works.place.scope, record.id)
    return record


def _answered(works: Operator, operation_id: str) -> bool:
    """Ask what to do after Ctrl-C; False to leave it."""
    record = works.place.store.read(operation_id)
    if not record.is_open:
        return True
    actions: dict[str, Callable[[], object]] = {
        "p": lambda: pause(works.place, operation_id),
        "a": lambda: abort(works.place, operation_id, works.clock.now()),
        "c": lambda: resume(works.place, operation_id, works.clock.now()),
    }
    question = f"operation {operation_id} is {record.phase}: [p]ause, [a]bort, [c]ontinue, [d]etach?"
    answer = works.session.out.choose(question)
    if answer not in actions:
        return False
    actions[answer]()
    return True


def _tell_detached(works: Operator, operation_id: str) -> None:
    """Report how the operation continues without this command, and how to follow it."""
    record = works.place.store.read(operation_id)
    place = works.session.options.place
    command = Command("operations resume", operation_id).line(place)
    goes_on = "its Job continues without this command" if record.job else f"it is {record.phase}"
    works.session.out.notify(Event(f"{goes_on}; continue with it: {command}", operation_id))
