"""Takes a release down: what runs goes, data stay unless they are purged."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from lightragctl.core.objects import KubernetesObject, ObjectRef, ref
from lightragctl.core.result import Notify
from lightragctl.deploy.apply import Scope, delete_objects, read_ours
from lightragctl.deploy.history import drop_all_revisions
from lightragctl.deploy.prepare import owns_namespace, read_record, refuse_newer
from lightragctl.deploy.record import Phase, Record, record_ref
from lightragctl.deploy.revision import CHUNK_OF, REVISION_OF
from lightragctl.deploy.rollout import done_to, locked, write_record
from lightragctl.deploy.wait import Patience, wait_until
from lightragctl.kube.lease import ReleaseLock, lease_ref

KEPT_KINDS = ("Secret", "PersistentVolumeClaim", "Namespace")
"""Data, keys that clients hold, and what may hold other people's objects: only a purge touches them."""


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
"""What a release is made of, last made first."""


def take_down(scope: Scope, purge: bool, timeout_s: float, notify: Notify) -> bool:
    """Delete what runs, last made first, and wait until its pods are gone; with `purge` delete everything.

    Returns:
        False when there was nothing to do.

    Raises:
        LockedError: somebody else changes the release.
        WaitExpired: pods are still there after `timeout_s`.
    """
    if scope.cluster.get(ObjectRef("v1", "Namespace", "", scope.namespace)) is None:
        return False
    record = read_record(scope)
    if record is None and not (purge and _has_leftovers(scope)):
        return False
    patience = Patience.of(timeout_s, notify)
    lock, scope = locked(scope, "down", notify)
    with lock:
        lock.take(record.fence if record else 0)
        record = read_record(scope)
        refuse_newer(record, lock.fence, scope.release)
        owned = tuple(reversed(record.objects)) if record else _labelled(scope)
        running = read_ours(scope, [one for one in owned if one.kind not in KEPT_KINDS])
        for identity in delete_objects(scope, map(ref, running)):
            notify(done_to("deleted", identity))
        wait_until(lambda: _pods_left(scope), patience)
        if purge:
            _purge(scope, owned, lock, patience)
            return True
        return record is not None and _note_stopped(scope, record, lock.fence)


def _labelled(scope: Scope) -> tuple[ObjectRef, ...]:
    """The release's objects by their labels, for when somebody has deleted the record.

    Of those of the whole cluster a release of the same name in another namespace may have some: theirs begin otherwise.
    """
    found = [ref(thing) for kind in _MADE_KINDS for thing in scope.select(*kind)]
    own = f"{scope.namespace}-{scope.release}-"
    return tuple(one for one in found if one.namespace or one.name.startswith(own))


def _has_leftovers(scope: Scope) -> bool:
    """Whether a run that died has left something that no record names."""
    lease = scope.cluster.get(lease_ref(scope.release, scope.namespace))
    return bool(lease or _left(scope)) or owns_namespace(scope)


def _note_stopped(scope: Scope, record: Record, fence: int) -> bool:
    """Write that nothing runs any more; whether anything did."""
    if record.phase is Phase.STOPPED:
        return False
    kept = tuple(one for one in record.objects if one.kind in KEPT_KINDS)
    write_record(scope, replace(record, phase=Phase.STOPPED, objects=kept, fence=fence))
    return True


def kept_words(scope: Scope) -> str:
    """Where the release's data are, and what else stays, for a person."""
    left = [str(one) for one in _left(scope)]
    return f"{', '.join(left) or 'no volume yet'} in namespace {scope.namespace}"


def _left(scope: Scope) -> list[ObjectRef]:
    """Volume claims and keys of the release; claims are made by the StatefulSet and so not in the record."""
    select = scope.cluster.select
    claims = select("v1", "PersistentVolumeClaim", scope.namespace, scope.pods)
    return [ref(thing) for thing in (*claims, *scope.select("v1", "Secret"))]


def _pods_left(scope: Scope) -> str:
    pods = scope.cluster.select("v1", "Pod", scope.namespace, scope.pods)
    return f"ending: {', '.join(sorted(pod['metadata']['name'] for pod in pods))}" if pods else ""


def _purge(scope: Scope, owned: Sequence[ObjectRef], lock: ReleaseLock, patience: Patience) -> None:
    """Delete what is left. A namespace of our own goes whole, with the record in it, or a purge that died would leave
    one that nobody knows."""
    secrets = read_ours(scope, [one for one in owned if one.kind == "Secret"])
    rest = [*_left(scope), *map(ref, secrets)]
    for identity in delete_objects(scope, rest):
        patience.notify(done_to("deleted", identity))
    wait_until(lambda: _claims_left(scope), patience)
    namespace = ObjectRef("v1", "Namespace", "", scope.namespace)
    if owns_namespace(scope) and _is_only_ours(scope):
        lock.stop()
        delete_objects(scope, [namespace])
        patience.notify(done_to("deleted", namespace))
        wait_until(partial(_still_there, scope, namespace), patience)
        return
    drop_all_revisions(scope)
    delete_objects(scope, [record_ref(scope.release, scope.namespace)])
    lock.forget()


def _claims_left(scope: Scope) -> str:
    claims = scope.cluster.select("v1", "PersistentVolumeClaim", scope.namespace, scope.pods)
    return f"releasing: {', '.join(one['metadata']['name'] for one in claims)}" if claims else ""


def _still_there(scope: Scope, identity: ObjectRef) -> str:
    return f"deleting {identity}" if scope.cluster.get(identity) else ""


def _is_only_ours(scope: Scope) -> bool:
    """Whether the namespace holds nothing of other people: no pod, claim, or record of another release."""
    select = scope.cluster.select
    records = select("v1", "ConfigMap", scope.namespace, "app.kubernetes.io/managed-by=lightragctl")
    own = record_ref(scope.release, scope.namespace)
    others = [one for one in records if ref(one) != own and not _is_revision(one, scope.release)]
    return not (
        others or select("v1", "Pod", scope.namespace) or select("v1", "PersistentVolumeClaim", scope.namespace)
    )


def _is_revision(config_map: KubernetesObject, release: str) -> bool:
    labels = config_map["metadata"].get("labels") or {}
    return release in (labels.get(REVISION_OF), labels.get(CHUNK_OF))
