"""Everything that is known before anything of a release is written: what would change, what stands in the way."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from lightragctl.checks.claims import split_claims
from lightragctl.checks.cluster_facts import read_facts
from lightragctl.checks.lint import Rendered, lint, refuse, subject_of, unread
from lightragctl.checks.preflight import access_to_delete, check_kinds, check_quota, check_rights, needed_access
from lightragctl.checks.quota import demand, number, usage
from lightragctl.core.errors import LockedError, RefusedError
from lightragctl.core.objects import KubernetesObject, ObjectRef, ref
from lightragctl.core.operation import open_operation
from lightragctl.core.runtime import Differences, ForeignField, Revision, UpOptions
from lightragctl.deploy.apply import plan_deletions, read_live, read_unlabelled
from lightragctl.deploy.changeset import Change, ChangeSet, difference
from lightragctl.deploy.danger import Danger, find_danger
from lightragctl.deploy.drift import drift, yielding
from lightragctl.deploy.history import known_components, read_revision
from lightragctl.deploy.ownership import is_still_ours, refuse_strangers
from lightragctl.deploy.planning import plan
from lightragctl.deploy.record import Phase, Record, from_object, record_ref, to_keep, to_prune
from lightragctl.deploy.target import Target, ignore_rules
from lightragctl.kube.labels import OPERATION_OF, OPERATION_OPEN, RELEASE, component_of
from lightragctl.kube.model import FieldConflictError, ForbiddenError
from lightragctl.kube.objects import annotations_of, deletion_time, labels_of, status_of
from lightragctl.kube.scope import Scope
from lightragctl.observe.volumes import expected_claims

_AUTOSCALER = ("autoscaling/v2", "HorizontalPodAutoscaler")


@dataclass(frozen=True)
class Intent:
    """Everything that is known before anything is written.

    Attributes:
        objects: as they will be applied: without what is left to others.
        changes: what happens to each object.
        record: of the release; None before its first `up`.
        kept: what the release owns, no longer wants and keeps, because it holds data.
        adopted: what is taken over.
        drift: what others have changed since the last time.
        warnings: of what may be unsafe.
        is_same_profile: whether the release was last applied with the same values.
        danger: what threatens its data.
        generated: values for Secrets that ask for random ones and have none.
    """

    objects: tuple[KubernetesObject, ...]
    changes: ChangeSet
    record: Record | None
    kept: tuple[ObjectRef, ...] = ()
    adopted: frozenset[ObjectRef] = frozenset()
    drift: tuple[ForeignField, ...] = ()
    warnings: tuple[str, ...] = ()
    is_same_profile: bool = False
    danger: Danger = field(default_factory=Danger)
    generated: Mapping[ObjectRef, Mapping[str, str]] = field(default_factory=dict, repr=False)

    @property
    def settled(self) -> bool:
        """Whether the cluster and the record are as wanted already."""
        if self.record is None or self.record.phase is not Phase.APPLIED or self.changes.differing:
            return False
        if not self.is_same_profile:
            return False
        return set(self.record.objects) == {*map(ref, self.objects), *self.kept}

    def of_kind(self, kind: str) -> list[KubernetesObject]:
        """The objects of a kind."""
        return [thing for thing in self.objects if thing["kind"] == kind]

    @property
    def deletions(self) -> list[Change]:
        """What is pruned, in order."""
        return [one for one in self.changes.changes if one.after is None]


def read_record(scope: Scope) -> Record | None:
    """The release's record; None when there is none.

    Raises:
        LightragctlError: it is damaged, or a newer lightragctl wrote it.
    """
    found = scope.cluster.get(record_ref(scope.release, scope.namespace))
    return from_object(found) if found else None


def refuse_open_operation(scope: Scope) -> None:
    """Stop while an operation of the release is open.

    Raises:
        LockedError: names it.
    """
    selector = f"{OPERATION_OF}={scope.release}"
    for found in scope.cluster.select("v1", "ConfigMap", scope.namespace, selector):
        if operation_id := labels_of(found).get(OPERATION_OPEN):
            raise open_operation(operation_id)


@dataclass(frozen=True)
class Ground:
    """What is known of the cluster before the release itself is looked at.

    Attributes:
        is_new: whether the namespace is not there yet.
        warnings: of what may be unsafe about the target there.
    """

    is_new: bool
    warnings: tuple[str, ...] = ()


def check(scope: Scope, target: Target) -> Ground:
    """Check that the cluster knows what we want, lets us do it, and has what it needs.

    Raises:
        RefusedError: a rule of `checks.lint` says that the target is not safe on this cluster.
        LightragctlError: something is missing.
    """
    check_kinds(scope.cluster, target.objects)
    is_new = _namespace_is_new(scope)
    asked = needed_access(scope.cluster, target.objects, scope.namespace, is_new)
    if not is_new and (record := read_record(scope)):
        asked += access_to_delete(scope.cluster, record.objects, scope.namespace)
    check_rights(scope.cluster, scope.namespace, asked)
    return Ground(is_new, _judge(scope, target))


def _namespace_is_new(scope: Scope) -> bool:
    """Whether the namespace is not there; one that we may not look at is taken to be.

    Raises:
        RefusedError: it is being deleted.
    """
    try:
        there = scope.cluster.get(ObjectRef("v1", "Namespace", "", scope.namespace))
    except ForbiddenError:
        return False
    if there and (since := deletion_time(there)):
        message = f"namespace {scope.namespace} is being deleted since {since}: nothing new can be made in it"
        raise RefusedError(message, f"wait until it is gone, or see what holds it: {_namespace_hint(scope)}")
    return there is None


def _namespace_hint(scope: Scope) -> str:
    return f"kubectl get namespace {scope.namespace} -o yaml; or take another one: -n NAMESPACE"


def _judge(scope: Scope, target: Target) -> tuple[str, ...]:
    """What the rules warn of; their errors refuse."""
    facts, objects = read_facts(scope), target.objects
    revision = Rendered(objects, scope.namespace, target.growing, facts)
    findings = [*lint(subject_of(target.plan, objects, facts) if target.plan else revision), *unread(facts)]
    what = f"profile '{target.profile_name}'" if target.plan else target.description
    refuse(findings, f"{what} on cluster {scope.cluster.name}")
    return tuple(f"{one}; {one.hint}" for one in findings)


def prepare(scope: Scope, target: Target, options: UpOptions, ground: Ground) -> Intent:
    """Check what must hold, and let the server predict what would change; writes nothing.

    Args:
        scope: of the release.
        target: what it is to become.
        options: what may be taken over and deleted.
        ground: what `check` found.

    Raises:
        LightragctlError: something that the release needs is missing, or an object would be refused.
    """
    if ground.is_new:
        _check_room(scope, target.objects, [])
        planned = plan(scope, target.objects, {}, namespace_is_new=True)
        changes = ChangeSet(planned.changes)
        return Intent(planned.objects, changes, None, warnings=ground.warnings, generated=planned.generated)
    record = read_record(scope)
    last = read_revision(scope, record.revision) if record and record.revision else None
    live = read_live(scope, [*target.objects, *(last.objects if last else ())])
    _check_room(scope, target.objects, list(live.values()))
    wanted = [thing for thing in target.objects if thing["kind"] != "Namespace" or owns_namespace(scope)]
    recorded = record.objects if record else ()
    live |= read_unlabelled(scope, wanted, live)
    strangers = _strangers(scope, wanted, live)
    refuse_strangers(strangers, scope.release, record_ref(scope.release, scope.namespace), options.adopt)
    abandoned = _abandoned(scope, record, target) if options.prune_data else []
    pruned = [*abandoned, *to_prune(recorded, map(ref, wanted), options.prune_data)]
    scalers = [one for one in autoscalers(scope) if ref(one) not in pruned]
    wanted = [
        yielding(thing, there, scalers, target.ignore, options.force_conflicts)
        if (there := live.get(ref(thing)))
        else thing
        for thing in wanted
    ]
    planned = plan(scope, wanted, live, namespace_is_new=False)
    changes = ChangeSet((*planned.changes, *plan_deletions(scope, pruned)))
    danger = find_danger(scope, record, changes.changes, target.command)
    return Intent(
        objects=planned.objects,
        changes=changes,
        record=record,
        kept=tuple(to_keep(recorded, map(ref, wanted), pruned)),
        adopted=frozenset(map(ref, strangers)),
        drift=drift_since(record, last, live),
        warnings=(*ground.warnings, *danger.warnings, *danger.refusals),
        is_same_profile=_is_recorded(record, target),
        danger=danger,
        generated=planned.generated,
    )


def _is_recorded(record: Record | None, target: Target) -> bool:
    """Whether the record says of the profile what the target does; `drift.ignore`, say, changes no object."""
    if record is None:
        return False
    recorded = (record.profile_name, dict(record.profile), list(record.components))
    return recorded == (target.profile_name, dict(target.profile), target.components)


def drift_since(
    record: Record | None, last: Revision | None, live: Mapping[ObjectRef, KubernetesObject]
) -> tuple[ForeignField, ...]:
    """What others have changed since the release was applied; nothing is known while that has not come to its end."""
    if record is None or last is None or record.phase is not Phase.APPLIED:
        return ()
    return tuple(drift(last.objects, live, ignore_rules(last.values)))


def owns_namespace(scope: Scope) -> bool:
    """Whether the namespace was made for this release; one that was there before stays as it is."""
    there = scope.cluster.get(ObjectRef("v1", "Namespace", "", scope.namespace))
    return bool(there) and annotations_of(there or {}).get(RELEASE) == scope.release


def _strangers(
    scope: Scope, wanted: Sequence[KubernetesObject], live: Mapping[ObjectRef, KubernetesObject]
) -> list[KubernetesObject]:
    """Objects that are there under names that we want, and are not the release's."""
    found = [live[ref(thing)] for thing in wanted if thing["kind"] != "Namespace" and ref(thing) in live]
    return [one for one in found if not is_still_ours(one, scope.release)]


def autoscalers(scope: Scope) -> list[KubernetesObject]:
    """Everybody's autoscalers in the namespace."""
    served = scope.cluster.resource(*_AUTOSCALER) is not None
    return list(scope.cluster.select(*_AUTOSCALER, scope.namespace)) if served else []


def _abandoned(scope: Scope, record: Record | None, target: Target) -> list[ObjectRef]:
    """Volume claims of components that are not wanted any more; no record has them."""
    own, _ = split_claims(scope, known_components(scope, record))
    return [ref(claim) for claim in own if component_of(claim) not in target.requires]


def _check_room(scope: Scope, objects: Sequence[KubernetesObject], live: Sequence[KubernetesObject]) -> None:
    """Refuse what quotas would not let run; without `live` the namespace is new, or nothing of the release is there."""
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
    check_quota(quotas, demand(objects) + number(objects), usage(pods, kept) + number(there_already))


def refuse_conflicts(intent: Intent, options: UpOptions) -> None:
    """Stop where others hold fields that we would change, unless these may be taken over.

    Raises:
        FieldConflictError: names each with its holder and both values.
    """
    if options.force_conflicts:
        return
    held = [
        one for change in intent.changes.changes if change.identity not in intent.adopted for one in change.conflicts
    ]
    if held:
        lines = "\n".join(f"    {one}" for one in held)
        hint = (
            "take them over with --force-conflicts, or put their values into the profile, or leave the fields to "
            "others: drift.ignore in the profile"
        )
        fields = [(one.path, one.manager) for one in held]
        raise FieldConflictError(f"others hold fields that would change:\n{lines}", hint, fields)


def differences(scope: Scope, intent: Intent) -> Differences:
    """The intent for a person; secrets are masked with a key of this run."""
    key = os.urandom(16)
    where = f"namespace {scope.namespace} of cluster {scope.cluster.name}"
    changes = tuple(difference(one, key) for one in intent.changes.changes)
    return Differences(scope.release, where, changes, intent.changes.conflicts, intent.drift, intent.warnings)


def refuse_newer(record: Record | None, fence: int, release: str) -> None:
    """Stop when somebody with a later lock has written the record.

    Raises:
        LockedError: so it is.
    """
    if record is not None and record.fence > fence:
        message = f"another lightragctl has taken over release '{release}'"
        raise LockedError(message, "see what it did: lightragctl history; then run the command again")
