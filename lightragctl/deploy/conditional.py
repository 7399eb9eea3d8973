"""Writes that the API server carries out only on the object that they were decided on. I/O through the cluster.

Each carries the uid and the resourceVersion of that object, or says that there was none. So a process that stood still,
and meanwhile lost the release's lock, writes over nothing that its successor wrote. Where only others' fields moved
since, status above all, the write is decided anew on what is there now, a few times at most.
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
    """Apply the object over the one that was seen; None stands for seeing that there was none.

    Raises:
        ChangedMeanwhileError: it was made, made anew, deleted, or changed in what is applied.
        FieldConflictError: another manager owns a field.
    """
    for _ in range(_TRIES):
        try:
            return cluster.apply(pinned(thing, seen), force=force, manager=manager)
        except ChangedMeanwhileError:
            now = cluster.get(ref(thing))
            if not is_same_ground(seen, now, thing):
                raise
            seen = now
    raise _restless(ref(thing))


def delete_seen(cluster: Cluster, seen: KubernetesObject, *, orphan: bool = False) -> bool:
    """Delete the object that was seen; False when it is gone already, or another has its name.

    Raises:
        ChangedMeanwhileError: we have written it since.
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
            if not is_same_ground(seen, there, {}):
                raise
            now = there
    raise _restless(ref(seen))


def pinned(thing: KubernetesObject, seen: KubernetesObject | None) -> dict[str, Any]:
    """The object, to be applied to nothing but what was seen."""
    if seen is None:
        return {**thing, "metadata": {**thing["metadata"], "resourceVersion": ABSENT}}
    condition = {key: seen["metadata"][key] for key in ("uid", "resourceVersion")}
    return {**thing, "metadata": {**thing["metadata"], **condition}}


def is_same_ground(seen: KubernetesObject | None, now: KubernetesObject | None, wanted: KubernetesObject) -> bool:
    """Whether a write that was decided on `seen` would be decided in the same way on `now`. Pure.

    Args:
        seen: the object then; None when there was none.
        now: the object now.
        wanted: what would be applied; nothing for a deletion.
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
    """What of the object stands where something is wanted; a list counts as a whole."""
    if isinstance(thing, dict) and isinstance(wanted, dict):
        return {key: _part(thing.get(key), value) for key, value in wanted.items() if key != "status"}
    return thing


def _restless(identity: ObjectRef) -> ChangedMeanwhileError:
    return ChangedMeanwhileError(f"{identity} is written by others again and again", "run the command again")
