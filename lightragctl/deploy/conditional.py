"""Conditional writes: the API server rejects them if the object has changed since it was read. I/O through the cluster.

Each write has the uid and resourceVersion of the object, or states that there was none. So a process that was suspended
and lost the release's lock meanwhile cannot overwrite its successor's changes. If only fields of others have changed,
such as status, the write is repeated on the current object, up to `_TRIES` times.
"""

from typing import Any

from lightragctl.core.objects import KubernetesObject, ObjectRef, ref
from lightragctl.kube.managed_fields import FieldOwner, find, owners
from lightragctl.kube.model import ABSENT, FIELD_MANAGER, ChangedMeanwhileError, Cluster

_TRIES = 10


def apply_over(
    cluster: Cluster,
    thing: KubernetesObject,
    seen: KubernetesObject | None,
    *,
    force: bool = False,
    manager: str = FIELD_MANAGER,
) -> dict[str, Any]:
    """Apply the object if the live one is still `seen`; None: it must not exist.

    Raises:
        ChangedMeanwhileError: it was created, recreated or deleted, or fields that are applied have changed.
        FieldConflictError: another manager owns a field.
    """
    for _ in range(_TRIES):
        try:
            return cluster.apply(pinned(thing, seen), force=force, manager=manager)
        except ChangedMeanwhileError:
            now = cluster.get(ref(thing))
            if not is_unchanged(seen, now, thing):
                raise
            seen = now
    raise _contended(ref(thing))


def delete_seen(cluster: Cluster, seen: KubernetesObject, *, orphan: bool = False) -> bool:
    """Delete the object if it is still `seen`; False if it is gone or was recreated.

    Raises:
        ChangedMeanwhileError: another lightragctl has changed it since.
    """
    uid, now = str(seen["metadata"]["uid"]), seen
    for _ in range(_TRIES):
        version = str(now["metadata"].get("resourceVersion", ""))
        try:
            return cluster.delete(ref(seen), uid, version=version, orphan=orphan)
        except ChangedMeanwhileError:
            there = cluster.get(ref(seen))
            if there is None:
                return False
            if not is_unchanged(seen, there, {}):
                raise
            now = there
    raise _contended(ref(seen))


def pinned(thing: KubernetesObject, seen: KubernetesObject | None) -> dict[str, Any]:
    """The object with the uid and resourceVersion of `seen` as preconditions."""
    if seen is None:
        return {**thing, "metadata": {**thing["metadata"], "resourceVersion": ABSENT}}
    condition = {key: seen["metadata"][key] for key in ("uid", "resourceVersion")}
    return {**thing, "metadata": {**thing["metadata"], **condition}}


def is_unchanged(seen: KubernetesObject | None, now: KubernetesObject | None, wanted: KubernetesObject) -> bool:
    """Whether a write that is based on `seen` is valid for `now` too. Pure.

    Args:
        seen: the object when it was read; None if it did not exist.
        now: the object now.
        wanted: the object to apply; empty for a deletion.
    """
    if seen is None or now is None:
        return seen is None and now is None
    identity = ("uid", "deletionTimestamp")
    if [seen["metadata"].get(key) for key in identity] != [now["metadata"].get(key) for key in identity]:
        return False
    ours = _ours(seen)
    if {one.manager: one.paths for one in ours} != {one.manager: one.paths for one in _ours(now)}:
        return False
    held = {path for one in ours for path in one.paths}
    return all(find(seen, path) == find(now, path) for path in held) and _part(seen, wanted) == _part(now, wanted)


def _ours(thing: KubernetesObject) -> list[FieldOwner]:
    return [one for one in owners(thing) if one.manager.startswith(FIELD_MANAGER)]


def _part(thing: object, wanted: object) -> object:
    """The parts of the object that `wanted` sets; a list counts as a whole."""
    if isinstance(thing, dict) and isinstance(wanted, dict):
        return {key: _part(thing.get(key), value) for key, value in wanted.items() if key != "status"}
    return thing


def _contended(identity: ObjectRef) -> ChangedMeanwhileError:
    return ChangedMeanwhileError(f"{identity} is being changed continuously by others", "run the command again")
