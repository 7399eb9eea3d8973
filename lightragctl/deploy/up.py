"""Brings a release up on a cluster: read, predict, ask, note the intent, apply by stages, prune, note the outcome.

Killed at any point, the next run goes on: the record is written before the first object, and applying, waiting and
pruning are harmless when done already.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import lightragctl
from lightragctl.core import assets
from lightragctl.core.component import Plan, start_order
from lightragctl.core.errors import LockedError
from lightragctl.core.objects import KubernetesObject, ObjectRef, ref
from lightragctl.core.result import Event, Notify
from lightragctl.core.runtime import Approve, Differences, UpOptions
from lightragctl.deploy.apply import Scope, apply_objects, delete_objects, plan_changes, plan_deletions, read_live
from lightragctl.deploy.changeset import ChangeSet, difference
from lightragctl.deploy.facts import read_facts
from lightragctl.deploy.lint import Subject, lint, refuse, unread
from lightragctl.deploy.preflight import check_access, check_kinds, check_quota
from lightragctl.deploy.record import Phase, Record, from_object, record_ref, to_object, to_prune
from lightragctl.deploy.render import render_plan
from lightragctl.deploy.stages import WORKLOADS, component_of, stages
from lightragctl.deploy.wait import Patience, wait_components, wait_until
from lightragctl.kube.model import ChangedMeanwhileError


@dataclass(frozen=True)
class Intent:
    """Everything that is known before anything is written."""

    objects: tuple[KubernetesObject, ...]
    changes: ChangeSet
    record: Record | None
    pruned: tuple[ObjectRef, ...]
    warnings: tuple[str, ...] = ()

    @property
    def settled(self) -> bool:
        """Whether the cluster and the record are as wanted already."""
        if self.record is None or self.record.phase is not Phase.APPLIED or self.changes.differing:
            return False
        return set(self.record.objects) == {ref(thing) for thing in self.objects}


def read_record(scope: Scope) -> Record | None:
    """The release's record; None when there is none.

    Raises:
        LightragctlError: it is damaged, or a newer lightragctl wrote it.
    """
    found = scope.cluster.get(record_ref(scope.release, scope.namespace))
    return from_object(found) if found else None


def prepare(scope: Scope, plan: Plan, force: bool) -> Intent:
    """Render, check what must hold, and let the server predict what would change; writes nothing.

    Raises:
        RefusedError: a rule of `deploy.lint` says that the plan is not safe on this cluster.
        LightragctlError: something that the release needs is missing, or an object would be refused.
    """
    objects = render_plan(plan, assets.root() / "templates")
    check_kinds(scope.cluster, objects)
    is_new = scope.cluster.get(ObjectRef("v1", "Namespace", "", scope.namespace)) is None
    check_access(scope.cluster, objects, scope.namespace, is_new)
    warnings = _check_rules(scope, plan, objects)
    record = None if is_new else read_record(scope)
    live = {} if is_new else read_live(scope, objects)
    _check_room(scope, objects, list(live.values()), is_new)
    objects = [thing for thing in objects if thing["kind"] != "Namespace" or is_new or _is_ours(scope, thing)]
    pruned = to_prune(record.objects if record else (), map(ref, objects))
    changes = plan_changes(scope, objects, live, namespace_is_new=is_new, force=force)
    everything = ChangeSet((*changes, *plan_deletions(scope, pruned)))
    return Intent(tuple(objects), everything, record, tuple(pruned), warnings)


def _check_rules(scope: Scope, plan: Plan, objects: Sequence[KubernetesObject]) -> tuple[str, ...]:
    """What the rules warn of; their errors refuse."""
    facts = read_facts(scope)
    findings = [*lint(Subject(plan, objects, facts)), *unread(facts)]
    refuse(findings, f"profile '{plan.profile_name}' on cluster {scope.cluster.name}")
    return tuple(f"{one}; {one.hint}" for one in findings)


def _is_ours(scope: Scope, namespace: KubernetesObject) -> bool:
    """A namespace that was there before us stays as it is."""
    there = scope.cluster.get(ref(namespace))
    return bool(there) and (there or {})["metadata"].get("annotations", {}).get("lightragctl/release") == scope.release


def _check_room(
    scope: Scope, objects: Sequence[KubernetesObject], live: Sequence[KubernetesObject], is_new: bool
) -> None:
    ours = {thing["metadata"]["name"]: thing for thing in objects if thing["kind"] == "ResourceQuota"}
    there = [] if is_new else scope.cluster.select("v1", "ResourceQuota", scope.namespace)
    used = {one["metadata"]["name"]: (one.get("status") or {}).get("used") for one in there}
    quotas = [{**one, "status": {"used": used.get(name)}} for name, one in ours.items()]
    quotas += [one for one in there if one["metadata"]["name"] not in ours]
    check_quota(quotas, objects, [thing for thing in live if thing["kind"] in WORKLOADS])


def differences(scope: Scope, intent: Intent) -> Differences:
    """The intent for a person; secrets are masked with a key of this run."""
    key = os.urandom(16)
    where = f"namespace {scope.namespace} of cluster {scope.cluster.name}"
    changes = tuple(difference(one, key) for one in intent.changes.changes)
    return Differences(scope.release, where, changes, intent.warnings)


def bring_up(scope: Scope, plan: Plan, options: UpOptions, approve: Approve, notify: Notify) -> tuple[str, ...]:
    """Make the release what the plan says; what was changed, as `Kind/name`.

    Raises:
        LightragctlError: with the cause; what was done stays and is known to the record.
        LockedError: another run wrote the record meanwhile.
    """
    patience = Patience.of(options.timeout_s, notify)
    intent = prepare(scope, plan, options.force_conflicts)
    seen = differences(scope, intent)
    if intent.settled:
        if options.wait:
            wait_components(scope, start_order(plan.components), patience)
        return ()
    if seen.differing:  # else only the record of a run that was killed is to be finished
        approve(seen)
    record = _note_intent(scope, plan, intent)
    _apply(scope, plan, intent, options, patience)
    for identity in delete_objects(scope, intent.pruned):
        notify(Event("deleted", str(identity)))
    _note(scope, replace(record, phase=Phase.APPLIED, objects=tuple(ref(thing) for thing in intent.objects)))
    return tuple(f"{one.identity} {one.action}" for one in intent.changes.differing)


def _apply(scope: Scope, plan: Plan, intent: Intent, options: UpOptions, patience: Patience) -> None:
    touched = {one.identity: one.action for one in intent.changes.differing}
    for stage in stages(intent.objects, plan.components):
        chosen = [thing for thing in stage.objects if ref(thing) in touched or _may_want_values(thing)]
        apply_objects(scope, chosen, options.force_conflicts)
        for identity in filter(touched.get, map(ref, chosen)):
            patience.notify(Event(str(touched[identity]), str(identity)))
        quotas = [ref(thing) for thing in chosen if thing["kind"] == "ResourceQuota"]
        wait_until(partial(_uncounted, scope, quotas), patience)
        names = [component_of(thing) for thing in stage.objects if thing["kind"] in WORKLOADS]
        if names and options.wait:
            wait_components(scope, names, patience)


def _may_want_values(thing: KubernetesObject) -> bool:
    """A Secret is always applied: a run may have died between making it and giving it its generated value."""
    return bool(thing["kind"] == "Secret")


def _uncounted(scope: Scope, quotas: Sequence[ObjectRef]) -> str:
    """A new quota that the cluster has not counted yet refuses every pod; what to say of it, or nothing."""
    for identity in quotas:
        there = scope.cluster.get(identity)
        if there is not None and not (there.get("status") or {}).get("hard"):
            return f"counting what {identity} allows"
    return ""


def _note_intent(scope: Scope, plan: Plan, intent: Intent) -> Record:
    """Write down everything that was and will be there, before any of it is made."""
    wanted = [ref(thing) for thing in intent.objects]
    before = intent.record.objects if intent.record else ()
    everything = (*before, *(one for one in wanted if one not in before))
    namespaces = [thing for thing in intent.objects if thing["kind"] == "Namespace"]
    if intent.record is None and namespaces:  # the record stands inside it
        apply_objects(scope, namespaces, force=False)
    record = Record(
        release=scope.release,
        profile_name=plan.profile_name,
        profile=plan.profile.model_dump(mode="json"),
        version=lightragctl.__version__,
        phase=Phase.APPLYING,
        objects=everything,
        components=tuple(start_order(plan.components)),
        resource_version=intent.record.resource_version if intent.record else "",
    )
    return _note(scope, record)


def _note(scope: Scope, record: Record) -> Record:
    """Write the record over the one that was read.

    Raises:
        LockedError: it was written by another run meanwhile.
    """
    thing = to_object(record, scope.namespace)
    try:
        written = scope.cluster.replace(thing) if record.resource_version else scope.cluster.create(thing)
    except ChangedMeanwhileError as error:
        message = f"another lightragctl is changing release '{scope.release}'"
        raise LockedError(message, "see what it does: lightragctl status; then run up again") from error
    return replace(record, resource_version=written["metadata"]["resourceVersion"])
