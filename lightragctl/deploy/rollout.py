"""Rolls out a desired state: check, plan, approve, write the inventory, apply in stages, prune, write the outcome.

`up` and `rollback` share it. A run that is killed at any point is continued by the next one: the inventory is written
before the first object, and applying, waiting and pruning are idempotent.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial

import lightragctl
from lightragctl.components import all_components
from lightragctl.core.errors import LightragctlError, LockedError, NeedsAttentionError
from lightragctl.core.hint import Command, Hint
from lightragctl.core.objects import KubernetesObject, ObjectRef, ref
from lightragctl.core.result import Event, EventType, Notify
from lightragctl.core.runtime import Approve, Revision, RevisionOutcome, UpOptions
from lightragctl.deploy.apply import apply_objects
from lightragctl.deploy.changeset import Change, ChangeSet
from lightragctl.deploy.conditional import apply_over, delete_seen
from lightragctl.deploy.data_risk import refuse_loss
from lightragctl.deploy.desired_state import DesiredState
from lightragctl.deploy.fencing import take_lock
from lightragctl.deploy.forced_rollback import delete_stuck_pods
from lightragctl.deploy.inventory import Inventory, ReleasePhase, to_object
from lightragctl.deploy.kept_upgrade import refuse_undone
from lightragctl.deploy.replacement import Replacement
from lightragctl.deploy.revision import redacted
from lightragctl.deploy.revision_store import (
    drop_old_revisions,
    read_revision,
    read_revisions,
    write_outcome,
    write_revision,
)
from lightragctl.deploy.rollout_plan import (
    RolloutPlan,
    check_cluster,
    differences,
    plan_rollout,
    read_inventory,
    refuse_conflicts,
    refuse_newer,
    refuse_open_operation,
)
from lightragctl.deploy.stages import stages
from lightragctl.kube.guarded import GuardedCluster
from lightragctl.kube.labels import component_of
from lightragctl.kube.lease import ReleaseLock, lease_ref
from lightragctl.kube.model import ChangedMeanwhileError
from lightragctl.kube.objects import WORKLOAD_KINDS, status_of
from lightragctl.kube.scope import Scope
from lightragctl.observe.kstatus import Status
from lightragctl.observe.snapshot import read_snapshot, resource_status
from lightragctl.observe.wait import Deadline, wait_ready, wait_until


@dataclass(frozen=True)
class Run:
    """One rollout, after its approval."""

    scope: Scope
    desired: DesiredState
    plan: RolloutPlan
    options: UpOptions
    deadline: Deadline
    lock: ReleaseLock


def locked(scope: Scope, command: str, notify: Notify) -> tuple[ReleaseLock, Scope]:
    """The release's lock, not acquired yet, and a scope that writes only while the lock is held."""
    lock = ReleaseLock(scope.cluster, lease_ref(scope.release, scope.namespace), scope.holder, command, notify)
    return lock, replace(scope, cluster=GuardedCluster(scope.cluster, lock.check))


def roll_out(
    scope: Scope, desired: DesiredState, options: UpOptions, approve: Approve, notify: Notify
) -> tuple[str, ...]:
    """Roll the desired state out; returns the changes as `Kind/name action`.

    Raises:
        LightragctlError: with the cause; changes so far stay and are in the inventory.
        LockedError: another process is changing the release, or an operation of it is open.
        FieldConflictError: other managers own fields that would change.
        NeedsAttentionError: all objects are applied, but some could not be pruned.
        RefusedError: data would be lost, and the options do not allow it.
    """
    preconditions = check_cluster(scope, desired)
    lock, scope = locked(scope, desired.command, notify)
    with lock:
        if not preconditions.is_new:
            refuse_open_operation(scope, options.operation)
            take_lock(scope, lock, read_inventory(scope))
            refuse_open_operation(scope, options.operation)  # one that was started while the lock was waited for
        plan = plan_rollout(scope, desired, options, preconditions)
        refuse_newer(plan.inventory, lock.fence, scope.release)
        refuse_conflicts(plan, options)
        refuse_loss(plan.risk, options.allow_data_loss)
        refuse_undone(plan.undone)
        if plan.settled:
            if options.wait:
                wait_ready(scope, desired.components, Deadline.of(options.timeout_s, notify), desired.autoscaled_nodes)
            return ()
        if plan.changes.differing:  # else only the inventory of a killed run is completed
            approve(differences(scope, plan))
        if preconditions.is_new:  # the lock is inside it
            plan = _with_namespace(scope, plan)
            lock.take()
        return _carry_out(Run(scope, desired, plan, options, Deadline.of(options.timeout_s, notify), lock))


def _with_namespace(scope: Scope, plan: RolloutPlan) -> RolloutPlan:
    """The plan after creating its namespace, which must not exist."""
    made = {ref(one): one for one in apply_objects(scope, plan.of_kind("Namespace"), {})}
    changes = tuple(replace(one, before=made.get(one.identity, one.before)) for one in plan.changes.changes)
    return replace(plan, changes=ChangeSet(changes))


def _carry_out(run: Run) -> tuple[str, ...]:
    revision = _begin_revision(run)
    try:
        inventory = _record_intent(run, revision.number)
        scalers = [one for one in run.plan.deletions if one.identity.kind == "HorizontalPodAutoscaler"]
        left = _prune(run, scalers)  # first, or they would change the replicas that are applied
        _apply(run)
        left += _prune(run, [one for one in run.plan.deletions if one not in scalers])
    except LightragctlError as error:
        with suppress(LightragctlError):  # the first error is reported; without an outcome the revision is interrupted
            write_outcome(run.scope, replace(revision, outcome=RevisionOutcome.FAILED, cause=error.message))
        raise
    write_outcome(run.scope, replace(revision, outcome=RevisionOutcome.APPLIED))
    objects = (*(ref(thing) for thing in run.plan.objects), *run.plan.kept, *left)
    _write_inventory(run, replace(inventory, phase=ReleasePhase.APPLIED, objects=objects))
    drop_old_revisions(run.scope)
    if left:
        names = ", ".join(map(str, left))
        hint = Hint("fix the errors above, then: ", Command("up"))
        raise NeedsAttentionError(f"applied, but these objects could not be deleted: {names}", hint)
    return tuple(f"{one.identity} {one.action}" for one in run.plan.changes.differing)


def _begin_revision(run: Run) -> Revision:
    """Write the revision of this run; an unfinished one with the same objects is continued."""
    last = max((one.number for one in read_revisions(run.scope)), default=0)
    newest = read_revision(run.scope, last) if last else None
    inventory, holder = run.plan.inventory, run.scope.holder
    number = max(last, inventory.revision if inventory else 0) + 1
    revision = Revision(
        number=number,
        who=holder.who,
        at=holder.now().strftime("%Y-%m-%dT%H:%M:%SZ"),
        version=lightragctl.__version__,
        profile_name=run.desired.profile_name,
        values=run.desired.profile,
        outcome=RevisionOutcome.APPLYING,
        description=": ".join(filter(None, (run.desired.description, _what_changes(run.plan)))),
        objects=run.desired.objects,
        requires=run.desired.requires,
    )
    if newest and _is_unfinished(run, newest) and _same_objects(newest, revision):
        revision = replace(revision, number=newest.number, description=newest.description)
    write_revision(run.scope, revision)
    data = {"number": revision.number, "description": revision.description}
    run.deadline.notify(
        Event(f"revision {revision.number}: {revision.description}", type=EventType.REVISION, data=data)
    )
    return revision


def _what_changes(plan: RolloutPlan) -> str:
    return plan.changes.counts if plan.changes.differing else "only values of the profile, no objects"


def _is_unfinished(run: Run, newest: Revision) -> bool:
    """Whether the run of the newest revision failed or was killed."""
    inventory = run.plan.inventory
    is_noted = (
        inventory is not None and inventory.phase is ReleasePhase.APPLYING and inventory.revision == newest.number
    )
    return is_noted or newest.outcome is not RevisionOutcome.APPLIED


def _same_objects(one: Revision, other: Revision) -> bool:
    return [redacted(thing) for thing in one.objects] == [redacted(thing) for thing in other.objects]


def _apply(run: Run) -> None:
    changes = {one.identity: one for one in run.plan.changes.differing}
    seen = {one.identity: one.before for one in run.plan.changes.changes}
    forced = {one.identity for one in run.plan.changes.changes if one.is_forced} | run.plan.adopted
    for conflict in run.plan.changes.conflicts:
        run.deadline.notify(Event(f"taken over: {conflict.path} of {conflict.manager}", conflict.subject))
    for stage in stages(run.plan.objects, run.desired.requires, _role_orders(run)):
        chosen = [thing for thing in stage.objects if ref(thing) in changes or _may_want_values(thing)]
        for thing in chosen:
            if (change := changes.get(ref(thing))) and change.replacement:
                _orphan_delete(run, change, change.replacement)
                seen[ref(thing)] = None
        apply_objects(run.scope, chosen, seen, forced, run.plan.generated)
        for change in filter(None, (changes.get(ref(thing)) for thing in chosen)):
            run.deadline.notify(object_event(str(change.action), change.identity))
        _wait_for_stage(run, stage.objects, chosen)


def _role_orders(run: Run) -> dict[str, Sequence[str]]:
    """The order of roles of the components that are ready now; in a broken one all roles are updated at once."""
    ordered = {one.name: one.update_order for one in all_components() if one.update_order}
    if not run.options.wait or not ordered.keys() & run.desired.requires.keys():
        return {}
    snapshot = read_snapshot(run.scope)
    ready = [name for name in ordered if resource_status(snapshot, name).status is Status.CURRENT]
    reverse = run.desired.command == "rollback"
    return {name: ordered[name][::-1] if reverse else ordered[name] for name in ready}


def _wait_for_stage(run: Run, objects: Sequence[KubernetesObject], applied: Sequence[KubernetesObject]) -> None:
    """Wait until the objects of the stage are ready."""
    scope, deadline = run.scope, run.deadline
    quotas = [ref(thing) for thing in applied if thing["kind"] == "ResourceQuota"]
    wait_until(partial(_quota_pending, scope, quotas), deadline)
    workloads = [thing for thing in objects if thing["kind"] in WORKLOAD_KINDS]
    spared = () if run.options.allow_data_loss else [one.claim.name for one in run.plan.risk.endangered]
    delete_stuck_pods(scope, [ref(thing) for thing in workloads if thing["kind"] == "StatefulSet"], deadline, spared)
    if workloads and run.options.wait:
        wait_ready(scope, [component_of(thing) for thing in workloads], deadline, run.desired.autoscaled_nodes)


def _orphan_delete(run: Run, change: Change, plan: Replacement) -> None:
    """Delete the object with orphaned pods, so that its successor adopts them; expand its claims first."""
    identity, before = change.identity, change.before
    assert before is not None
    for claim, size in plan.claims:
        wanted = {"resources": {"requests": {"storage": size}}}
        metadata = {"name": claim.name, "namespace": claim.namespace}
        thing = {"apiVersion": claim.api_version, "kind": claim.kind, "metadata": metadata, "spec": wanted}
        apply_over(run.scope.cluster, thing, run.scope.cluster.get(claim), force=True)
        run.deadline.notify(Event(f"expanded to {size}", str(claim)))
    delete_seen(run.scope.cluster, before, orphan=True)

    def still_there() -> str:
        there = run.scope.cluster.get(identity)
        return f"deleting {identity} without its pods" if there and there["metadata"]["uid"] == plan.uid else ""

    wait_until(still_there, run.deadline)


def object_event(action: str, identity: ObjectRef) -> Event:
    """The event of a change of an object."""
    data = {"action": action, "kind": identity.kind, "name": identity.name, "namespace": identity.namespace}
    return Event(action, str(identity), type=EventType.OBJECT, data=data)


def _may_want_values(thing: KubernetesObject) -> bool:
    """Secrets are always applied: a killed run may have created one without its generated values."""
    return bool(thing["kind"] == "Secret")


def _quota_pending(scope: Scope, quotas: Sequence[ObjectRef]) -> str:
    """The first quota that has no status yet, as a reason to wait: until then it rejects every pod."""
    for identity in quotas:
        there = scope.cluster.get(identity)
        if there is not None and not status_of(there).get("hard"):
            return f"waiting for the status of {identity}"
    return ""


def _prune(run: Run, deletions: Sequence[Change]) -> list[ObjectRef]:
    """Delete objects that are no longer wanted, if unchanged; returns those that could not be deleted."""
    left = []
    for change in deletions:
        assert change.before is not None
        try:
            delete_seen(run.scope.cluster, change.before)
        except LockedError:
            raise
        except LightragctlError as error:
            left.append(change.identity)
            run.deadline.notify(Event(f"not deleted: {error.message}", str(change.identity), type=EventType.ERROR))
        else:
            run.deadline.notify(object_event("deleted", change.identity))
    return left


def _record_intent(run: Run, revision: int) -> Inventory:
    """Write the inventory with all present and new objects, before creating any."""
    wanted = [ref(thing) for thing in run.plan.objects]
    before = run.plan.inventory.objects if run.plan.inventory else ()
    inventory = Inventory(
        release=run.scope.release,
        profile_name=run.desired.profile_name,
        profile=run.desired.profile,
        version=lightragctl.__version__,
        phase=ReleasePhase.APPLYING,
        objects=(*before, *(one for one in wanted if one not in before)),
        components=tuple(run.desired.components),
        revision=revision,
        overrides=run.desired.overrides,
        resource_version=run.plan.inventory.resource_version if run.plan.inventory else "",
    )
    return _write_inventory(run, inventory)


def _write_inventory(run: Run, inventory: Inventory) -> Inventory:
    """Replace the inventory that was read, with the fence of our lock.

    Raises:
        LockedError: another run has written it meanwhile.
    """
    return write_inventory(run.scope, replace(inventory, fence=run.lock.fence))


def write_inventory(scope: Scope, inventory: Inventory) -> Inventory:
    """Replace the inventory that was read.

    Raises:
        LockedError: another run has written it meanwhile.
    """
    thing = to_object(inventory, scope.namespace)
    try:
        written = scope.cluster.replace(thing) if inventory.resource_version else scope.cluster.create(thing)
    except ChangedMeanwhileError as error:
        message = f"another lightragctl is changing release '{scope.release}'"
        raise LockedError(message, Hint("see its progress: ", Command("status"), "; then retry")) from error
    return replace(inventory, resource_version=written["metadata"]["resourceVersion"])
