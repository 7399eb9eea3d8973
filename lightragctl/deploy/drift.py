"""What others have done to our objects, and which of their fields we leave alone. Pure.

Who holds a field is read from the live object: whoever changes a field of ours takes it from us. So a value is never
compared with one that the server writes in another way, and nothing is told twice.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from lightragctl.core.objects import KubernetesObject, ObjectRef, ref
from lightragctl.core.profile import IgnoreRule
from lightragctl.core.runtime import ForeignField
from lightragctl.deploy.changeset import HIDDEN
from lightragctl.kube.labels import HELD_BY
from lightragctl.kube.managed_fields import MISSING, Owner, Path, find, owners, show, with_value, without
from lightragctl.kube.model import FIELD_MANAGER
from lightragctl.kube.objects import annotations_of, owner_of, spec_of
from lightragctl.observe.kstatus import Zero

_REPLICAS = "spec.replicas"
_CONTROLLERS = ("kube-controller-manager", "kube-scheduler", "kubelet", "keda-operator")
"""They do their work: an autoscaler that scales is no drift."""
_SCHEDULES = ("kube-downscaler", "py-kube-downscaler", "kube-green", "manager-kube-green")
"""They put workloads to sleep by the clock, and wake them."""
_ASLEEP = "downscaler/original-replicas"
"""What kube-downscaler writes on a workload that it has put to sleep, whatever name it writes under."""
_ADDED_BELOW = ("f:spec", "f:data", "f:stringData", "f:binaryData")
"""Where something that others add changes what an object does; labels and annotations of it are theirs to add."""


def ignored(rules: Iterable[IgnoreRule], thing: KubernetesObject) -> Callable[[str], bool]:
    """Tells of a path of the object, as `show` writes it, whether others may change it."""
    name = thing["metadata"]["name"]
    prefixes = [one.path for one in rules if one.kind == thing["kind"] and one.name in (None, name)]

    def fits(path: str) -> bool:
        return any(path == prefix or path.startswith((f"{prefix}.", f"{prefix}[")) for prefix in prefixes)

    return fits


def _others(live: KubernetesObject) -> Iterator[Owner]:
    """Who but us holds fields of the object; a status belongs to controllers."""
    for owner in owners(live):
        ours = owner.manager == FIELD_MANAGER or owner.manager.startswith(f"{FIELD_MANAGER}-")
        if not ours and owner.subresource != "status":
            yield owner


def _field(thing: KubernetesObject, path: Path, owner: Owner | None, values: tuple[Any, Any]) -> ForeignField:
    ours, theirs = (None if value is MISSING else value for value in values)
    if thing["kind"] == "Secret":
        ours, theirs = (HIDDEN if value is not None else None for value in (ours, theirs))
    who = (owner.manager, owner.operation, owner.time) if owner else ("", "", "")
    return ForeignField(str(ref(thing)), show(path), *who, ours, theirs)


def contested(ours: KubernetesObject, live: KubernetesObject) -> list[ForeignField]:
    """Fields that we want otherwise than their holders, so that applying ours is a conflict."""
    found = [
        _field(ours, path, owner, (wanted, there))
        for owner in _others(live)
        for path in owner.paths
        if (wanted := find(ours, path)) is not MISSING and wanted != (there := find(live, path))
        if not is_left_behind(show(path), owner.manager) and not is_put_out(ours, live, show(path))
    ]
    return sorted(found, key=str)


def drift(
    applied: Iterable[KubernetesObject], live: Mapping[ObjectRef, KubernetesObject], rules: Sequence[IgnoreRule]
) -> list[ForeignField]:
    """What others have changed, added or removed since the objects were applied; Secrets are left out."""
    found = []
    for thing in applied:
        if thing["kind"] in ("Secret", "Namespace"):
            continue
        there = live.get(ref(thing))
        if there is None:
            found.append(ForeignField(str(ref(thing)), "", "", "", "", None, None))
            continue
        is_ignored = ignored(rules, thing)
        found += [one for one in _drift_of(thing, there) if not is_ignored(one.path)]
    return found


def _drift_of(thing: KubernetesObject, live: KubernetesObject) -> list[ForeignField]:
    changed: dict[str, ForeignField] = {}
    for owner in _others(live):
        if owner.manager in _CONTROLLERS:
            continue
        for path in owner.paths:
            wanted, there = find(thing, path), find(live, path)
            added = wanted is MISSING and path[0] in _ADDED_BELOW and there is not MISSING
            if added or (wanted is not MISSING and wanted != there):
                changed[show(path)] = _field(thing, path, owner, (wanted, there))
    replicas = ("f:spec", "f:replicas")
    wanted, there = find(thing, replicas), find(live, replicas)
    if there == 0 and wanted not in (MISSING, 0) and not _scalers(live):
        # nobody holds the number that `kubectl scale` makes zero: a zero is not written, and so not noted
        changed[_REPLICAS] = _field(thing, replicas, None, (wanted, there))
    for path in _gone(thing, live):
        changed.setdefault(show(path), _field(thing, path, None, (find(thing, path), MISSING)))
    return [changed[path] for path in sorted(changed)]


def _gone(wanted: Any, live: Any, path: Path = ()) -> Iterator[Path]:
    """Paths of what is wanted and not there. Items of lists are told apart by their names, and else not looked at."""
    if isinstance(wanted, Mapping) and isinstance(live, Mapping):
        for key, value in wanted.items():
            if key in live:
                yield from _gone(value, live[key], (*path, f"f:{key}"))
            elif value not in (None, {}, [], ""):
                yield (*path, f"f:{key}")
    elif isinstance(wanted, list) and isinstance(live, list) and all(_has_name(item) for item in wanted):
        there = {item["name"]: item for item in live if _has_name(item)}
        for item in wanted:
            step = f'k:{{"name":"{item["name"]}"}}'
            if item["name"] in there:
                yield from _gone(item, there[item["name"]], (*path, step))
            else:
                yield (*path, step)


def _has_name(item: Any) -> bool:
    return isinstance(item, Mapping) and isinstance(item.get("name"), str)


def yielding(
    thing: KubernetesObject,
    live: KubernetesObject,
    autoscalers: Iterable[KubernetesObject],
    rules: Sequence[IgnoreRule],
    force: bool,
) -> dict[str, Any]:
    """The object without the fields that are others' to set.

    Those are what the rules name, and the number of replicas of what somebody scales; with `force` only an autoscaler
    keeps it. A field that nobody but us holds is sent with its live value: left out, the server would set it to its
    default (kubernetes#67135).
    """
    made, autoscalers = dict(thing), list(autoscalers)
    scaler = next((one for one in autoscalers if _scales(one, thing)), None)
    is_ignored = ignored(rules, thing)
    if _is_asleep(live, autoscalers):
        made = without(made, ("f:spec", "f:replicas"))
    elif scaler and not is_ignored(_REPLICAS) and is_put_out(awake := _awake(thing, scaler), live, _REPLICAS):
        made = awake  # an autoscaler leaves alone what has no pods
    elif scaler:
        made = _left(made, live, lambda path: path == _REPLICAS)
    elif not force and _is_scaled_by_hand(live) and not is_put_out(thing, live, _REPLICAS):
        made = without(made, ("f:spec", "f:replicas"))
    return _left(made, live, is_ignored)


def is_left_behind(path: str, manager: str) -> bool:
    """Whether it is the number of replicas, held by a controller or for one: nobody's once no autoscaler is left."""
    return path == _REPLICAS and (manager in _CONTROLLERS or manager.startswith(f"{FIELD_MANAGER}-"))


def _awake(thing: KubernetesObject, autoscaler: KubernetesObject) -> dict[str, Any]:
    """The workload with the autoscaler's least number of pods."""
    return {**thing, "spec": {**thing["spec"], "replicas": int(autoscaler["spec"].get("minReplicas") or 1)}}


def _scalers(live: KubernetesObject) -> list[str]:
    """Who but us has set the number of replicas."""
    return [owner.manager for owner in _others(live) if _REPLICAS in map(show, owner.paths)]


def _is_scaled_by_hand(live: KubernetesObject) -> bool:
    """Whether a person, or a tool that is no autoscaler, has set the number of replicas."""
    return any(holder not in _CONTROLLERS for holder in _scalers(live))


def is_put_out(wanted: KubernetesObject, live: KubernetesObject, path: str) -> bool:
    """Whether the path is the number of replicas, and somebody who is no autoscaler and no schedule made it zero.

    Another number by hand may be meant to last; a component without pods leaves the release broken.
    """
    if path != _REPLICAS or spec_of(live).get("replicas") != 0 or not (wanted["spec"].get("replicas") or 0):
        return False
    return not _sleeps(live)


def _sleeps(live: KubernetesObject) -> bool:
    """Whether an autoscaler or a schedule has scaled the workload to zero, and will wake it."""
    noted = annotations_of(live)
    return _ASLEEP in noted or any(holder in (*_CONTROLLERS, *_SCHEDULES) for holder in _scalers(live))


def zero(
    wanted: KubernetesObject | None,
    live: KubernetesObject,
    rules: Sequence[IgnoreRule],
    autoscalers: Iterable[KubernetesObject],
) -> Zero | None:
    """Who left the workload without pods; None when it has some.

    Args:
        wanted: as it was applied; None when that is not known.
        live: as it is.
        rules: what others may change.
        autoscalers: of the namespace.
    """
    if live["spec"].get("replicas", 1) != 0:
        return None
    if held_by := annotations_of(live).get(HELD_BY):
        return Zero(str(held_by), False)
    scaler = _waker(live, autoscalers)
    is_ours = wanted is not None and wanted["spec"].get("replicas", 1) == 0
    is_meant = is_ours or scaler != "" or _sleeps(live) or ignored(rules, live)(_REPLICAS)
    return Zero("the profile" if is_ours else ", ".join(_scalers(live)) or scaler, is_meant)


def _is_asleep(live: KubernetesObject, autoscalers: Iterable[KubernetesObject]) -> bool:
    """Whether the workload has no pods, and whoever took them gives them back."""
    return spec_of(live).get("replicas") == 0 and (_sleeps(live) or _waker(live, autoscalers) != "")


def _waker(live: KubernetesObject, autoscalers: Iterable[KubernetesObject]) -> str:
    """The autoscaler that may scale the workload to zero and wakes it; a plain one leaves alone what has no pods."""
    for one in autoscalers:
        by = owner_of(one, "ScaledObject")
        if _scales(one, live) and (by or one["spec"].get("minReplicas") == 0):
            return f"ScaledObject/{by['name']}" if by else str(ref(one))
    return ""


def _scales(autoscaler: KubernetesObject, thing: KubernetesObject) -> bool:
    target = autoscaler["spec"]["scaleTargetRef"]
    return bool(target["kind"] == thing["kind"] and target["name"] == thing["metadata"]["name"])


def _left(thing: KubernetesObject, live: KubernetesObject, wanted: Callable[[str], bool]) -> dict[str, Any]:
    made = dict(thing)
    foreign = {path for owner in _others(live) for path in owner.paths if wanted(show(path))}
    own = {path for owner in owners(live) for path in owner.paths if wanted(show(path))} - foreign
    for path in own:
        if find(made, path) is not MISSING and (there := find(live, path)) is not MISSING:
            made = with_value(made, path, there)
    for path in foreign:
        made = without(made, path)
    return made
