"""Stops a release: deletes its workloads, and with a purge its data."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from lightragctl.checks.claims import at_risk_claims, split_claims
from lightragctl.checks.preflight import access_of_down, access_of_purge, check_rights
from lightragctl.core.errors import RefusedError
from lightragctl.core.objects import KubernetesObject, ObjectRef, ref
from lightragctl.core.result import Event, Notify
from lightragctl.deploy.apply import delete_objects, read_ours
from lightragctl.deploy.data_loss import SAVE_HINT
from lightragctl.deploy.data_risk import find_missing_claims
from lightragctl.deploy.fencing import take_lock
from lightragctl.deploy.inventory import Inventory, ReleasePhase, inventory_ref
from lightragctl.deploy.revision_store import drop_all_revisions, known_components, read_revision, write_outcome
from lightragctl.deploy.rollout import locked, object_event, write_inventory
from lightragctl.deploy.rollout_plan import owns_namespace, read_inventory, refuse_newer, refuse_open_operation
from lightragctl.kube.labels import CHUNK_OF, OPERATION_OF, REVISION_OF, component_of
from lightragctl.kube.lease import ReleaseLock, lease_ref
from lightragctl.kube.model import ForbiddenError
from lightragctl.kube.objects import labels_of, status_of
from lightragctl.kube.scope import Scope
from lightragctl.observe.wait import Deadline, wait_until

KEPT_KINDS = ("Secret", "PersistentVolumeClaim", "Namespace")
"""Kinds that hold data, keys of clients, or objects of others: only a purge deletes them."""


_MADE_KINDS = (
    ("networking.k8s.io/v1", "Ingress"),
    ("autoscaling/v2", "HorizontalPodAutoscaler"),
    ("policy/v1", "PodDisruptionBudget"),
    ("apps/v1", "Deployment"),
    ("apps/v1", "StatefulSet"),
    ("v1", "Service"),
    ("v1", "ConfigMap"),
    ("v1", "ServiceAccount"),
    ("networking.k8s.io/v1", "NetworkPolicy"),
    ("scheduling.k8s.io/v1", "PriorityClass"),
    ("v1", "LimitRange"),
    ("v1", "ResourceQuota"),
)
"""The kinds of a release's objects, in reverse order of creation."""
_LISTED = 5
"""Names in one line."""


def tear_down(scope: Scope, purge: bool, timeout_s: float, notify: Notify, allow_data_loss: bool = False) -> bool:
    """Delete the workloads, in reverse order of creation, and wait until their pods are gone; with `purge` everything.

    Returns:
        False if there was nothing to do.

    Raises:
        LockedError: another process is changing the release, or an operation of it is open.
        WaitExpired: pods still exist after `timeout_s`.
        RefusedError: data would be lost with the pods, and that is not allowed.
        ForbiddenError: permissions are missing.
    """
    if scope.cluster.get(ObjectRef("v1", "Namespace", "", scope.namespace)) is None:
        return False
    inventory = read_inventory(scope)
    if inventory is None and not (purge and _has_leftovers(scope)):
        return False
    deadline = Deadline.of(timeout_s, notify)
    _check_rights(scope, inventory, purge)
    lock, scope = locked(scope, "down", notify)
    with lock:
        refuse_open_operation(scope)
        take_lock(scope, lock, inventory)
        refuse_open_operation(scope)
        inventory = read_inventory(scope)
        refuse_newer(inventory, lock.fence, scope.release)
        components = known_components(scope, inventory)
        if not (purge or allow_data_loss):
            _refuse_loss(scope, components)
        owned = tuple(reversed(inventory.objects)) if inventory else _labelled(scope)
        running = read_ours(scope, [one for one in owned if one.kind not in KEPT_KINDS])
        for identity in delete_objects(scope, running):
            notify(object_event("deleted", identity))
        wait_until(lambda: _pods_left(scope, components), deadline)
        if purge:
            _purge(PurgeScope(scope, owned, components), lock, deadline)
            return True
        return inventory is not None and _record_stopped(scope, inventory, lock.fence)


def _check_rights(scope: Scope, inventory: Inventory | None, purge: bool) -> None:
    """Check all permissions before the first write."""
    owned = inventory.objects if inventory else _labelled(scope)
    running = [one for one in owned if one.kind not in KEPT_KINDS]
    needed = access_of_down(scope.cluster, running, scope.namespace)
    needed += access_of_purge(scope.namespace, owns_namespace(scope)) if purge else []
    check_rights(scope.cluster, scope.namespace, needed)


def _refuse_loss(scope: Scope, components: Collection[str]) -> None:
    """Refuse while pods use volumes that are deleted with them."""
    own, _ = split_claims(scope, components)
    if found := at_risk_claims(scope, own):
        lines = "\n".join(f"    {one}" for one in found)
        raise RefusedError(f"down keeps data, but this data would be lost with the pods:\n{lines}", SAVE_HINT)


def _labelled(scope: Scope) -> tuple[ObjectRef, ...]:
    """The release's objects by their labels, for a release without an inventory.

    Cluster-scoped objects may belong to a release of the same name in another namespace; their name prefix differs.
    """
    found = [ref(thing) for kind in _MADE_KINDS for thing in scope.select(*kind)]
    own = f"{scope.namespace}-{scope.release}-"
    return tuple(one for one in found if one.namespace or one.name.startswith(own))


def _has_leftovers(scope: Scope) -> bool:
    """Whether a killed run has left objects that are in no inventory."""
    lease = scope.cluster.get(lease_ref(scope.release, scope.namespace))
    own, _ = split_claims(scope, known_components(scope, None))
    return bool(lease or own or scope.select("v1", "Secret")) or owns_namespace(scope)


def _record_stopped(scope: Scope, inventory: Inventory, fence: int) -> bool:
    """Write the phase `STOPPED`; returns whether the release was running."""
    if inventory.phase is ReleasePhase.STOPPED:
        return False
    revision = read_revision(scope, inventory.revision) if inventory.revision else None
    if revision is not None:
        now = scope.holder.now().strftime("%Y-%m-%dT%H:%M:%SZ")
        write_outcome(scope, replace(revision, stopped_at=now, stopped_by=scope.holder.who))
    kept = tuple(one for one in inventory.objects if one.kind in KEPT_KINDS)
    write_inventory(scope, replace(inventory, phase=ReleasePhase.STOPPED, objects=kept, fence=fence))
    return True


def describe_kept(scope: Scope, inventory: Inventory | None) -> str:
    """The volumes and keys of the release that are kept, and those that are not, as text."""
    own, _ = split_claims(scope, known_components(scope, inventory))
    keys = [one for one in (inventory.objects if inventory else ()) if one.kind == "Secret"]
    gone = [*(find_missing_claims(scope).claims if inventory else ()), *(one for one in keys if _is_gone(scope, one))]
    lost = {one.claim: one.reason for one in at_risk_claims(scope, own)}
    left = [str(one) for one in (*map(ref, own), *keys) if one not in lost and one not in gone]
    kept = f"{', '.join(left) or 'no volumes'} in namespace {scope.namespace}"
    not_kept = [*(f"{one} is gone" for one in gone), *(f"{one}: {reason}" for one, reason in lost.items())]
    return kept + (f"; not kept: {'; '.join(not_kept)}" if not_kept else "")


def _is_gone(scope: Scope, identity: ObjectRef) -> bool:
    """Whether the object is gone; without permission to read it, it is assumed to exist."""
    try:
        return scope.cluster.get(identity) is None
    except ForbiddenError:
        return False


def _pods_left(scope: Scope, components: Collection[str]) -> str:
    pods = scope.cluster.select("v1", "Pod", scope.namespace, scope.pods)
    names = sorted(pod["metadata"]["name"] for pod in pods if component_of(pod) in components)
    return f"terminating: {', '.join(names)}" if names else ""


@dataclass(frozen=True)
class PurgeScope:
    """The objects that a purge deletes after the workloads."""

    scope: Scope
    owned: Sequence[ObjectRef]
    components: Collection[str]

    @property
    def claims(self) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """The release's claims, and claims of others with its label."""
        return split_claims(self.scope, self.components)

    @property
    def secrets(self) -> list[KubernetesObject]:
        """Its Secrets, from the inventory and by label."""
        recorded = read_ours(self.scope, [one for one in self.owned if one.kind == "Secret"])
        return list({ref(thing): thing for thing in (*self.scope.select("v1", "Secret"), *recorded)}.values())


def _purge(left: PurgeScope, lock: ReleaseLock, deadline: Deadline) -> None:
    """Delete what is left. A namespace that we created is deleted whole, with the inventory in it: a purge that was
    killed would otherwise leave a namespace that no release owns."""
    scope = left.scope
    own, others = left.claims
    for claim in others:
        deadline.notify(Event("kept: not created by this release", str(ref(claim))))
    for identity in delete_objects(scope, [*own, *left.secrets]):
        deadline.notify(object_event("deleted", identity))
    wait_until(lambda: _claims_left(left), deadline)
    if owns_namespace(scope) and _is_deletable(scope, deadline.notify):
        namespace = ObjectRef("v1", "Namespace", "", scope.namespace)
        lock.stop()
        delete_objects(scope, filter(None, [scope.cluster.get(namespace)]))
        deadline.notify(object_event("deleted", namespace))
        wait_until(partial(_still_there, scope, namespace), deadline)
        return
    drop_all_revisions(scope)
    operations = scope.cluster.select("v1", "ConfigMap", scope.namespace, f"{OPERATION_OF}={scope.release}")
    delete_objects(scope, operations)
    delete_objects(scope, filter(None, [scope.cluster.get(inventory_ref(scope.release, scope.namespace))]))
    lock.forget()


def _claims_left(left: PurgeScope) -> str:
    own, _ = left.claims
    return f"deleting: {', '.join(one['metadata']['name'] for one in own)}" if own else ""


def _still_there(scope: Scope, identity: ObjectRef) -> str:
    there = scope.cluster.get(identity)
    return f"deleting {identity}{_deletion_blocker(there)}" if there else ""


_REASONS = ("DiscoveryFailed", "GroupVersionParsingFailed", "ContentDeletionFailed", "SomeFinalizersRemain")
"""Conditions that block the deletion of a namespace: an API service is down, or finalizers remain."""


def _deletion_blocker(namespace: KubernetesObject) -> str:
    conditions = status_of(namespace).get("conditions") or ()
    held = {one.get("reason"): one.get("message", "") for one in conditions if one.get("status") == "True"}
    return next((f": {held[reason]}" for reason in _REASONS if reason in held), "")


_USER_KINDS = (
    ("v1", "Pod"),
    ("v1", "PersistentVolumeClaim"),
    ("v1", "Secret"),
    ("v1", "ConfigMap"),
    ("v1", "Service"),
    ("apps/v1", "Deployment"),
    ("apps/v1", "StatefulSet"),
    ("apps/v1", "DaemonSet"),
    ("batch/v1", "CronJob"),
    ("batch/v1", "Job"),
)
"""Kinds that users create in a namespace."""
_SYSTEM_CONFIG_MAPS = ("kube-root-ca.crt",)
"""ConfigMaps that Kubernetes creates in every namespace."""


def _is_deletable(scope: Scope, notify: Notify) -> bool:
    """Whether the namespace has no objects of others; reports those it has."""
    served = [kind for kind in _USER_KINDS if scope.cluster.resource(*kind)]
    found = [thing for kind in served for thing in scope.cluster.select(*kind, scope.namespace)]
    others = [str(ref(thing)) for thing in found if not _is_bookkeeping(thing, scope)]
    if others:
        names = ", ".join(others[:_LISTED]) + (f" and {len(others) - _LISTED} more" if len(others) > _LISTED else "")
        notify(Event(f"kept: it contains objects of others: {names}", f"Namespace/{scope.namespace}"))
    return not others


def _is_bookkeeping(thing: KubernetesObject, scope: Scope) -> bool:
    """Whether it is the release's inventory, one of its revisions or operations, or created by Kubernetes."""
    if thing["kind"] == "Secret":
        return bool(thing.get("type") == "kubernetes.io/service-account-token")
    is_recorded = ref(thing) == inventory_ref(scope.release, scope.namespace) or _is_history(thing, scope.release)
    return thing["kind"] == "ConfigMap" and (is_recorded or thing["metadata"]["name"] in _SYSTEM_CONFIG_MAPS)


def _is_history(config_map: KubernetesObject, release: str) -> bool:
    labels = labels_of(config_map)
    return release in (labels.get(REVISION_OF), labels.get(CHUNK_OF), labels.get(OPERATION_OF))
