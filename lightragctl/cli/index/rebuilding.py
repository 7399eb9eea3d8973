"""Starts the rebuild of an index for its command."""

from dataclasses import dataclass

from lightragctl.cli.index import payloads
from lightragctl.cli.operations.driving import operator, start, stay
from lightragctl.cli.operations.steering import outcome
from lightragctl.cli.options import Session
from lightragctl.core.errors import RefusedError
from lightragctl.core.profile import Runtime
from lightragctl.core.result import Result
from lightragctl.index.place import IndexPlace, open_indexes
from lightragctl.index.state import IndexState
from lightragctl.operations import control
from lightragctl.operations.model import JobSpec, Operation, Phase, StepState
from lightragctl.tune.kinds import REBUILD
from lightragctl.tune.rebuild import current_index, rebuild_parameters
from lightragctl.vectors.applied import AppliedIndex
from lightragctl.vectors.model import index_spec


@dataclass(frozen=True)
class Wanted:
    """The options of the command."""

    collection: str
    as_profile: bool
    timeout_s: float


def rebuild(session: Session, wanted: Wanted, foreground: bool, dry_run: bool) -> Result:
    """Rebuild a collection as an operation; with `dry_run`, its index before and after.

    Raises:
        RefusedError: nothing that the release serves has this name, or the profile has another metric.
    """
    with open_indexes(session.release) as place:
        (one,) = place.chosen([wanted.collection])
        before = present(place, one)
    after = _of_profile(session, before) if wanted.as_profile else before
    if dry_run:
        return payloads.index_rebuild(one.name, before, after)
    session.confirm(f"Rebuild collection {one.name} ({one.rows} rows)? The previous one is kept for 7 days.")
    record = run(session, one, after, wanted.timeout_s, foreground)
    return outcome(session.command, record, Phase.SUCCEEDED)


def present(place: IndexPlace, one: IndexState) -> AppliedIndex:
    """The index of a collection.

    Raises:
        RefusedError: it has none, or the release does not serve it.
    """
    if not one.role.live or one.role.kind == "control":
        raise RefusedError(f"{one.name} is not a collection that the release searches", "only those are rebuilt")
    return current_index(place.store, one.role.workspace, place.store.describe(one.name))


def run(session: Session, one: IndexState, index: AppliedIndex, timeout_s: float, foreground: bool) -> Operation:
    """The operation that rebuilds; one that failed in its check has changed nothing and is closed."""
    is_here = foreground or session.release.loaded.profile.runtime is Runtime.LOCAL
    given = rebuild_parameters(one.name, index, timeout_s)
    record = start(session, REBUILD, given, one.role.workspace, None if is_here else JobSpec())
    if record.phase is Phase.FAILED and record.steps[0].state is StepState.FAILED:
        cause, works = record.cause, operator(session)
        control.abort(works.place, record.id, works.clock.now())
        record = stay(works, record.id, foreground=True).changed(cause=cause)
    return record


def _of_profile(session: Session, before: AppliedIndex) -> AppliedIndex:
    spec = index_spec(session.release.loaded.profile.index)
    if spec.metric_type != before.metric:
        message = f"the profile has metric {spec.metric_type}, the collection {before.metric}"
        raise RefusedError(message, "a metric cannot be changed by a rebuild: set index.metric back")
    return AppliedIndex(spec.index_type, spec.metric_type, dict(spec.build), dict(spec.search))
