"""What the commands of operations share: how a command ends, and how a Job's pod finds its release."""

from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy

from lightragctl.cli.operations import payloads
from lightragctl.cli.operations.driving import Operator, operator, stay
from lightragctl.cli.options import Session
from lightragctl.core.errors import ExitStatus, RefusedError
from lightragctl.core.hint import hint_of
from lightragctl.core.objects import KubernetesObject
from lightragctl.core.result import ErrorInfo, Result, Status
from lightragctl.operations import job
from lightragctl.operations.follow import follow
from lightragctl.operations.kind import OperationKind
from lightragctl.operations.model import PROBLEM, Operation, Phase, next_command


def steer(works: Operator, operation_id: str, wanted: Phase, foreground: bool) -> Result:
    """Stay with an operation, and end as its phase says."""
    with works.session.out.live() as notify:
        is_driven = bool(works.place.driver(operation_id)) and works.place.store.read(operation_id).job is None
        if is_driven:
            follow(works.place.store, operation_id, works.clock, notify, lambda record: "")
    return outcome(works.session.command, stay(works, operation_id, foreground), wanted)


_ENDED = {
    Phase.SUCCEEDED: "has succeeded",
    Phase.FAILED: "has failed",
    Phase.ABORTED: "was aborted",
    Phase.NEEDS_ATTENTION: "needs attention",
}


def outcome(command: str, record: Operation, wanted: Phase) -> Result:
    """How a command ends that stayed with an operation.

    Exit statuses: 0 it is in the wanted phase; 7 it failed and was undone; 9 something could not be undone, or is not
    ready again; else 1.
    """
    result = payloads.shown(record, payloads.Shower.STATUS)
    problems = _problems(record)
    if record.phase is wanted:
        status = ExitStatus.NEEDS_ATTENTION if problems else ExitStatus.DONE
        return Result(command, result.data, Status.PARTIAL if problems else Status.OK, problems, status)
    rolled_back = record.phase is Phase.ABORTED and bool(record.cause)
    status = ExitStatus.ROLLED_BACK if rolled_back else ExitStatus.FAILED
    if record.phase is Phase.NEEDS_ATTENTION:
        status = ExitStatus.NEEDS_ATTENTION
    ended = _ENDED.get(record.phase, f"is {record.phase}")
    message = f"operation {record.id} {ended}" + (f": {record.cause}" if record.cause else "")
    error = ErrorInfo(f"operation-{record.phase.replace(' ', '-')}", message, next_command(record))
    return Result(command, result.data, Status.FAILED, (error, *problems), status)


def _problems(record: Operation) -> tuple[ErrorInfo, ...]:
    """What is not ready again although the operation did its work."""
    found = record.results.get(PROBLEM)
    if not found:
        return ()
    return (ErrorInfo("not-ready-again", found["message"], hint_of(found["hint"], found["hint_parts"])),)


def rbac(session: Session, kind: OperationKind) -> list[KubernetesObject]:
    """What an administrator creates for the Jobs of a kind.

    Raises:
        RefusedError: the release runs as local processes.
    """
    scope = operator(session).place.scope
    if scope is None:
        raise RefusedError("operations of a local release run in the process of their command", "omit --print-rbac")
    return job.administrator_objects(scope, kind, session.release.plan)


@contextmanager
def in_pod(session: Session, in_cluster: bool) -> Iterator[Session]:
    """The session with the release as its inventory in the cluster describes it."""
    if not in_cluster:
        yield session
        return
    from lightragctl.release.recorded import open_recorded

    made = copy(session)
    with open_recorded(session.options.release, session.environ) as made.release:
        yield made
