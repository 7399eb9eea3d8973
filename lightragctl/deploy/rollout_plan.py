"""Plans a rollout before the first write: checks, changes, conflicts, drift, data risks."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from lightragctl.checks.claims import split_claims
from lightragctl.checks.cluster_facts import read_facts
from lightragctl.checks.lint import RenderedObjects, lint, refuse_errors, rendered_plan, skipped_checks
from lightragctl.checks.preflight import access_of_up, access_to_delete, check_kinds, check_quota, check_rights
from lightragctl.checks.quota import object_counts, requested, usage
from lightragctl.core.errors import LockedError, RefusedError
from lightragctl.core.findings import with_hint
from lightragctl.core.hint import Command, Hint
from lightragctl.core.objects import KubernetesObject, ObjectRef, ref
from lightragctl.core.operation import open_operation
from lightragctl.core.runtime import Differences, ForeignField, Revision, UpOptions
from lightragctl.deploy.apply import plan_deletions, read_live, read_unlabelled
from lightragctl.deploy.apply_plan import plan_apply
from lightragctl.deploy.changeset import Change, ChangeSet, difference
from lightragctl.deploy.data_risk import DataRisk, find_data_risk
from lightragctl.deploy.desired_state import DesiredState, ignore_rules
from lightragctl.deploy.drift import drift, without_foreign_fields
from lightragctl.deploy.inventory import Inventory, ReleasePhase, from_object, inventory_ref, to_keep, to_prune
from lightragctl.deploy.kept_upgrade import undone
from lightragctl.deploy.ownership import is_owned, refuse_foreign
from lightragctl.deploy.revision_store import known_components, read_revision
from lightragctl.kube.labels import OPERATION_OF, OPERATION_OPEN, RELEASE, component_of
from lightragctl.kube.model import FieldConflictError, ForbiddenError
from lightragctl.kube.objects import annotations_of, deletion_time, labels_of, status_of
from lightragctl.kube.scope import Scope
from lightragctl.observe.volumes import expected_claims

_AUTOSCALER = ("autoscaling/v2", "HorizontalPodAutoscaler")


@dataclass(frozen=True)
class RolloutPlan:
    """The plan of a rollout.

    Attributes:
        objects: to apply, without fields that are left to others.
        changes: of each object.
        inventory: of the release; None before its first `up`.
        kept: owned objects that are no longer wanted and kept because they hold data.
        adopted: objects to adopt.
        drift: changes of others since the last rollout.
        warnings: possible problems.
        is_same_profile: whether the release was last applied with the same values.
        risk: for its data.
        generated: values for Secrets with generated keys that are missing.
        undone: lines that the profile lacks to keep an upgrade.
    """

    objects: tuple[KubernetesObject, ...]
    changes: ChangeSet
    inventory: Inventory | None
    kept: tuple[ObjectRef, ...] = ()
    adopted: frozenset[ObjectRef] = frozenset()
    drift: tuple[ForeignField, ...] = ()
    warnings: tuple[str, ...] = ()
    is_same_profile: bool = False
    risk: DataRisk = field(default_factory=DataRisk)
    generated: Mapping[ObjectRef, Mapping[str, str]] = field(default_factory=dict, repr=False)
    undone: tuple[str, ...] = ()

    @property
    def settled(self) -> bool:
        """Whether the cluster and the inventory have the desired state already."""
        if self.inventory is None or self.inventory.phase is not ReleasePhase.APPLIED or self.changes.differing:
            return False
        if not self.is_same_profile:
            return False
        return set(self.inventory.objects) == {*map(ref, self.objects), *self.kept}

    def of_kind(self, kind: str) -> list[KubernetesObject]:
        """The objects of a kind."""
        return [thing for thing in self.objects if thing["kind"] == kind]

    @property
    def deletions(self) -> list[Change]:
        """The objects to prune, in order."""
        return [one for one in self.changes.changes if one.after is None]


def read_inventory(scope: Scope) -> Inventory | None:
    """The release's inventory; None if there is none.

    Raises:
        LightragctlError: it is damaged, or a newer lightragctl wrote it.
    """
    found = scope.cluster.get(inventory_ref(scope.release, scope.namespace))
    return from_object(found) if found else None


def refuse_open_operation(scope: Scope, own: str = "") -> None:
    """Stop while an operation of the release is open, other than `own`.

    Raises:
        LockedError: names it.
    """
    selector = f"{OPERATION_OF}={scope.release}"
    for found in scope.cluster.select("v1", "ConfigMap", scope.namespace, selector):
        if (operation_id := labels_of(found).get(OPERATION_OPEN)) and operation_id != own:
            raise open_operation(operation_id)


@dataclass(frozen=True)
class Preconditions:
    """The result of the checks before planning.

    Attributes:
        is_new: whether the namespace does not exist yet.
        warnings: findings that do not refuse the rollout.
    """

    is_new: bool
    warnings: tuple[str, ...] = ()


def check_cluster(scope: Scope, desired: DesiredState) -> Preconditions:
    """Check served kinds, permissions and rules on this cluster.

    Raises:
        RefusedError: a rule of `checks.lint` finds an error.
        LightragctlError: a kind or permission is missing.
    """
    check_kinds(scope.cluster, desired.objects)
    is_new = _namespace_is_new(scope)
    needed = access_of_up(scope.cluster, desired.objects, scope.namespace, is_new)
    if not is_new and (inventory := read_inventory(scope)):
        needed += access_to_delete(scope.cluster, inventory.objects, scope.namespace)
    check_rights(scope.cluster, scope.namespace, needed)
    return Preconditions(is_new, _check_rules(scope, desired))


def _namespace_is_new(scope: Scope) -> bool:
    """Whether the namespace does not exist; without permission to read it, it is assumed to exist.

    Raises:
        RefusedError: it is being deleted.
    """
    try:
        there = scope.cluster.get(ObjectRef("v1", "Namespace", "", scope.namespace))
    except ForbiddenError:
        return False
    if there and (since := deletion_time(there)):
        message = f"namespace {scope.namespace} has been terminating since {since}: nothing can be created in it"
        raise RefusedError(message, f"wait until it is gone, or see what blocks it: {_namespace_hint(scope)}")
    return there is None


def _namespace_hint(scope: Scope) -> str:
    return f"kubectl get namespace {scope.namespace} -o yaml; or use another one: -n NAMESPACE"


def _check_rules(scope: Scope, desired: DesiredState) -> tuple[str, ...]:
    """The warnings of the rules.

    Raises:
        RefusedError: a rule finds an error.
    """
    facts, objects = read_facts(scope), desired.objects
    revision = RenderedObjects(objects, scope.namespace, desired.autoscaled_nodes, facts)
    findings = [
        *lint(rendered_plan(desired.plan, objects, facts) if desired.plan else revision),
        *skipped_checks(facts),
    ]
    what = f"profile '{desired.profile_name}'" if desired.plan else desired.description
    refuse_errors(findings, f"{what} on cluster {scope.cluster.name}")
    return tuple(map(with_hint, findings))


def plan_rollout(scope: Scope, desired: DesiredState, options: UpOptions, preconditions: Preconditions) -> RolloutPlan:
    """Plan the rollout with server-side dry runs; writes nothing.

    Args:
        scope: of the release.
        desired: its desired state.
        options: what may be adopted, overwritten and deleted.
        preconditions: from `check_cluster`.

    Raises:
        LightragctlError: a prerequisite is missing, or an object would be rejected.
    """
    if preconditions.is_new:
        _check_room(scope, desired.objects, [])
        planned = plan_apply(scope, desired.objects, {}, namespace_is_new=True)
        changes = ChangeSet(planned.changes)
        return RolloutPlan(planned.objects, changes, None, warnings=preconditions.warnings, generated=planned.generated)
    inventory = read_inventory(scope)
    last = read_revision(scope, inventory.revision) if inventory and inventory.revision else None
    live = read_live(scope, [*desired.objects, *(last.objects if last else ())])
    _check_room(scope, desired.objects, list(live.values()))
    wanted = [thing for thing in desired.objects if thing["kind"] != "Namespace" or owns_namespace(scope)]
    recorded = inventory.objects if inventory else ()
    live |= read_unlabelled(scope, wanted, live)
    strangers = _strangers(scope, wanted, live)
    refuse_foreign(strangers, scope.release, inventory_ref(scope.release, scope.namespace), options.adopt)
    abandoned = _abandoned(scope, inventory, desired) if options.prune_data else []
    pruned = [*abandoned, *to_prune(recorded, map(ref, wanted), options.prune_data)]
    scalers = [one for one in autoscalers(scope) if ref(one) not in pruned]
    wanted = [
        without_foreign_fields(thing, there, scalers, desired.ignore, options.force_conflicts)
        if (there := live.get(ref(thing)))
        else thing
        for thing in wanted
    ]
    planned = plan_apply(scope, wanted, live, namespace_is_new=False)
    changes = ChangeSet((*planned.changes, *plan_deletions(scope, pruned)))
    risk = find_data_risk(scope, inventory, changes.changes, desired.command)
    return RolloutPlan(
        objects=planned.objects,
        changes=changes,
        inventory=inventory,
        kept=tuple(to_keep(recorded, map(ref, wanted), pruned)),
        adopted=frozenset(map(ref, strangers)),
        drift=drift_since(inventory, last, live),
        warnings=(*preconditions.warnings, *risk.warnings, *risk.refusals),
        is_same_profile=_is_recorded(inventory, desired),
        risk=risk,
        generated=planned.generated,
        undone=undone(inventory, desired),
    )


def _is_recorded(inventory: Inventory | None, desired: DesiredState) -> bool:
    """Whether the inventory has the same profile; some values, such as `drift.ignore`, change no object."""
    if inventory is None:
        return False
    recorded = (inventory.profile_name, dict(inventory.profile), list(inventory.components))
    return recorded == (desired.profile_name, dict(desired.profile), desired.components)


def drift_since(
    inventory: Inventory | None, last: Revision | None, live: Mapping[ObjectRef, KubernetesObject]
) -> tuple[ForeignField, ...]:
    """Changes of others since the last rollout; empty while a rollout is unfinished."""
    if inventory is None or last is None or inventory.phase is not ReleasePhase.APPLIED:
        return ()
    return tuple(drift(last.objects, live, ignore_rules(last.values)))


def owns_namespace(scope: Scope) -> bool:
    """Whether the namespace was created for this release; an existing one is never changed."""
    there = scope.cluster.get(ObjectRef("v1", "Namespace", "", scope.namespace))
    return bool(there) and annotations_of(there or {}).get(RELEASE) == scope.release


def _strangers(
    scope: Scope, wanted: Sequence[KubernetesObject], live: Mapping[ObjectRef, KubernetesObject]
) -> list[KubernetesObject]:
    """Existing objects with wanted names that do not belong to the release."""
    found = [live[ref(thing)] for thing in wanted if thing["kind"] != "Namespace" and ref(thing) in live]
    return [one for one in found if not is_owned(one, scope.release)]


def autoscalers(scope: Scope) -> list[KubernetesObject]:
    """All autoscalers in the namespace, of any owner."""
    served = scope.cluster.resource(*_AUTOSCALER) is not None
    return list(scope.cluster.select(*_AUTOSCALER, scope.namespace)) if served else []


def _abandoned(scope: Scope, inventory: Inventory | None, desired: DesiredState) -> list[ObjectRef]:
    """Volume claims of components that are no longer wanted; they are in no inventory."""
    own, _ = split_claims(scope, known_components(scope, inventory))
    return [ref(claim) for claim in own if component_of(claim) not in desired.requires]


def _check_room(scope: Scope, objects: Sequence[KubernetesObject], live: Sequence[KubernetesObject]) -> None:
    """Refuse a rollout that would exceed quotas; `live` are the release's objects that exist already."""
    ours = {thing["metadata"]["name"]: thing for thing in objects if thing["kind"] == "ResourceQuota"}
    there = scope.cluster.select("v1", "ResourceQuota", scope.namespace)
    used = {one["metadata"]["name"]: status_of(one).get("used") for one in there}
    quotas = [{**one, "status": {"used": used.get(name)}} for name, one in ours.items()]
    quotas += [one for one in there if one["metadata"]["name"] not in ours]
    if not quotas:
        return
    names = set(map(ref, objects))
    claims = {claim for thing in objects for claim in expected_claims(thing)}
    kept = [one for one in scope.cluster.select("v1", "PersistentVolumeClaim", scope.namespace) if ref(one) in claims]
    pods = scope.cluster.select("v1", "Pod", scope.namespace, scope.pods)
    there_already = [one for one in live if ref(one) in names]
    check_quota(quotas, requested(objects) + object_counts(objects), usage(pods, kept) + object_counts(there_already))


def refuse_conflicts(plan: RolloutPlan, options: UpOptions) -> None:
    """Refuse to change fields of other managers, unless forced.

    Raises:
        FieldConflictError: lists each with its manager and both values.
    """
    if options.force_conflicts:
        return
    held = [one for change in plan.changes.changes if change.identity not in plan.adopted for one in change.conflicts]
    if held:
        lines = "\n".join(f"    {one}" for one in held)
        hint = (
            "overwrite them with --force-conflicts, or set their values in the profile, or ignore the fields: "
            "drift.ignore in the profile"
        )
        fields = [(one.path, one.manager) for one in held]
        raise FieldConflictError(f"other managers own fields that would change:\n{lines}", hint, fields)


def differences(scope: Scope, plan: RolloutPlan) -> Differences:
    """The plan as differences, secrets masked with a key of this run."""
    key = os.urandom(16)
    where = f"namespace {scope.namespace} of cluster {scope.cluster.name}"
    changes = tuple(difference(one, key) for one in plan.changes.changes)
    kept = tuple(f"undoes the upgrade that set {line}, which the profile lacks" for line in plan.undone)
    return Differences(scope.release, where, changes, plan.changes.conflicts, plan.drift, (*plan.warnings, *kept))


def refuse_newer(inventory: Inventory | None, fence: int, release: str) -> None:
    """Stop if a holder of a later lock has written the inventory.

    Raises:
        LockedError: it has a higher fence.
    """
    if inventory is not None and inventory.fence > fence:
        message = f"another lightragctl has taken over release '{release}'"
        raise LockedError(message, Hint("see its changes: ", Command("history"), "; then retry"))
