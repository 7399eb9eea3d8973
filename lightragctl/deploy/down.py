"""Takes a release down: what runs goes, data stay unless they are purged."""

from dataclasses import replace
from functools import partial

from lightragctl.core.objects import ObjectRef, ref
from lightragctl.core.result import Event, Notify
from lightragctl.deploy.apply import Scope, delete_objects
from lightragctl.deploy.record import Phase, record_ref, to_object
from lightragctl.deploy.up import read_record
from lightragctl.deploy.wait import Patience, wait_until

KEPT_KINDS = ("Secret", "PersistentVolumeClaim", "Namespace")
"""Data, keys that clients hold, and what may hold other people's objects: only a purge touches them."""


def take_down(scope: Scope, purge: bool, timeout_s: float, notify: Notify) -> bool:
    """Delete what runs, last made first, and wait until its pods are gone; with `purge` delete everything.

    Returns:
        False when there was nothing to do.

    Raises:
        WaitExpired: pods are still there after `timeout_s`.
    """
    record = read_record(scope)
    left = _left(scope)
    if record is None and not (purge and left):
        return False
    patience = Patience.of(timeout_s, notify)
    owned = tuple(reversed(record.objects)) if record else ()
    running = [one for one in owned if one.kind not in KEPT_KINDS]
    for identity in delete_objects(scope, running):
        notify(Event("deleted", str(identity)))
    wait_until(lambda: _pods_left(scope), patience)
    if purge:
        _purge(scope, owned, patience)
        return True
    stopped = record is not None and record.phase is not Phase.STOPPED
    if record is not None and stopped:
        kept = tuple(one for one in record.objects if one.kind in KEPT_KINDS)
        scope.cluster.replace(to_object(replace(record, phase=Phase.STOPPED, objects=kept), scope.namespace))
    return stopped


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


def _purge(scope: Scope, owned: tuple[ObjectRef, ...], patience: Patience) -> None:
    rest = [*_left(scope), *(one for one in owned if one.kind == "Secret")]
    for identity in delete_objects(scope, rest):
        patience.notify(Event("deleted", str(identity)))
    wait_until(lambda: _claims_left(scope), patience)
    delete_objects(scope, [record_ref(scope.release, scope.namespace)])
    for namespace in (one for one in owned if one.kind == "Namespace"):
        if _is_empty(scope):
            delete_objects(scope, [namespace])
            patience.notify(Event("deleted", str(namespace)))
            wait_until(partial(_still_there, scope, namespace), patience)


def _claims_left(scope: Scope) -> str:
    claims = scope.cluster.select("v1", "PersistentVolumeClaim", scope.namespace, scope.pods)
    return f"releasing: {', '.join(one['metadata']['name'] for one in claims)}" if claims else ""


def _still_there(scope: Scope, identity: ObjectRef) -> str:
    return f"deleting {identity}" if scope.cluster.get(identity) else ""


def _is_empty(scope: Scope) -> bool:
    """Whether the namespace holds nothing of other people: no pod, claim, or record of another release."""
    select = scope.cluster.select
    records = select("v1", "ConfigMap", scope.namespace, "app.kubernetes.io/managed-by=lightragctl")
    return not (
        records or select("v1", "Pod", scope.namespace) or select("v1", "PersistentVolumeClaim", scope.namespace)
    )
