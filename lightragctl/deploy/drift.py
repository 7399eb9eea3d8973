"""Detects drift: changes that others have made to our objects, and fields that are left to them. Pure.

The owner of a field is read from the live object's managed fields: a manager that changes one of our fields becomes its
owner. So values that the server normalizes are no drift.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from lightragctl.core.objects import KubernetesObject, ObjectRef, ref
from lightragctl.core.profile import IgnoreRule
from lightragctl.core.runtime import ForeignField
from lightragctl.deploy.changeset import HIDDEN
from lightragctl.kube.managed_fields import (
    MISSING,
    FieldOwner,
    Path,
    find,
    foreign_owners,
    owners,
    show,
    with_value,
    without,
)
from lightragctl.observe.scaling import (
    CONTROLLERS,
    REPLICAS,
    autoscaler_of,
    is_orphaned_replicas,
    is_scaled_down_manually,
    is_scaled_manually,
    is_scaled_to_zero_for_now,
    scaled_by,
)

_ADDED_BELOW = ("f:spec", "f:data", "f:stringData", "f:binaryData")
"""Where fields that others add are drift; added labels and annotations are not."""


def ignored(rules: Iterable[IgnoreRule], thing: KubernetesObject) -> Callable[[str], bool]:
    """A predicate for paths of the object, as `show` formats them: whether others may change the field."""
    name = thing["metadata"]["name"]
    prefixes = [one.path for one in rules if one.kind == thing["kind"] and one.name in (None, name)]

    def fits(path: str) -> bool:
        return any(path == prefix or path.startswith((f"{prefix}.", f"{prefix}[")) for prefix in prefixes)

    return fits


def _field(thing: KubernetesObject, path: Path, owner: FieldOwner | None, values: tuple[Any, Any]) -> ForeignField:
    ours, theirs = (None if value is MISSING else value for value in values)
    if thing["kind"] == "Secret":
        ours, theirs = (HIDDEN if value is not None else None for value in (ours, theirs))
    who = (owner.manager, owner.operation, owner.time) if owner else ("", "", "")
    return ForeignField(str(ref(thing)), show(path), *who, ours, theirs)


def contested(ours: KubernetesObject, live: KubernetesObject) -> list[ForeignField]:
    """Fields of other managers whose values differ from ours, so that applying ours is a conflict."""
    found = [
        _field(ours, path, owner, (wanted, there))
        for owner in foreign_owners(live)
        for path in owner.paths
        if (wanted := find(ours, path)) is not MISSING and wanted != (there := find(live, path))
        if not is_orphaned_replicas(show(path), owner.manager) and not is_scaled_down_manually(ours, live, show(path))
    ]
    return sorted(found, key=str)


def drift(
    applied: Iterable[KubernetesObject], live: Mapping[ObjectRef, KubernetesObject], rules: Sequence[IgnoreRule]
) -> list[ForeignField]:
    """The fields that others have changed, added or removed since the objects were applied, without Secrets."""
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
    for owner in foreign_owners(live):
        if owner.manager in CONTROLLERS:
            continue
        for path in owner.paths:
            wanted, there = find(thing, path), find(live, path)
            added = wanted is MISSING and path[0] in _ADDED_BELOW and there is not MISSING
            if added or (wanted is not MISSING and wanted != there):
                changed[show(path)] = _field(thing, path, owner, (wanted, there))
    replicas = ("f:spec", "f:replicas")
    wanted, there = find(thing, replicas), find(live, replicas)
    if there == 0 and wanted not in (MISSING, 0) and not scaled_by(live):
        # `kubectl scale --replicas=0` leaves no manager: zero is not serialized
        changed[REPLICAS] = _field(thing, replicas, None, (wanted, there))
    for path in _gone(thing, live):
        changed.setdefault(show(path), _field(thing, path, None, (find(thing, path), MISSING)))
    return [changed[path] for path in sorted(changed)]


def _gone(wanted: Any, live: Any, path: Path = ()) -> Iterator[Path]:
    """Paths of wanted fields that are missing. Items of lists are compared by name; lists without names are skipped."""
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


def without_foreign_fields(
    thing: KubernetesObject,
    live: KubernetesObject,
    autoscalers: Iterable[KubernetesObject],
    rules: Sequence[IgnoreRule],
    force: bool,
) -> dict[str, Any]:
    """The object without the fields that are left to others.

    These are the fields of the rules, and the replicas of a workload that others scale; with `force`, only autoscalers.
    A field that only we own is sent with its live value: omitted, the server would reset it to its default
    (kubernetes#67135).
    """
    made, autoscalers = dict(thing), list(autoscalers)
    scaler = autoscaler_of(thing, autoscalers)
    is_ignored = ignored(rules, thing)
    if is_scaled_to_zero_for_now(live, autoscalers):
        made = without(made, ("f:spec", "f:replicas"))
    elif (
        scaler
        and not is_ignored(REPLICAS)
        and is_scaled_down_manually(started := _at_minimum(thing, scaler), live, REPLICAS)
    ):
        made = started  # an autoscaler ignores workloads without pods
    elif scaler:
        made = _left(made, live, lambda path: path == REPLICAS)
    elif not force and is_scaled_manually(live) and not is_scaled_down_manually(thing, live, REPLICAS):
        made = without(made, ("f:spec", "f:replicas"))
    return _left(made, live, is_ignored)


def _at_minimum(thing: KubernetesObject, autoscaler: KubernetesObject) -> dict[str, Any]:
    """The workload with the autoscaler's minimum replicas."""
    return {**thing, "spec": {**thing["spec"], "replicas": int(autoscaler["spec"].get("minReplicas") or 1)}}


def _left(thing: KubernetesObject, live: KubernetesObject, wanted: Callable[[str], bool]) -> dict[str, Any]:
    made = dict(thing)
    foreign = {path for owner in foreign_owners(live) for path in owner.paths if wanted(show(path))}
    own = {path for owner in owners(live) for path in owner.paths if wanted(show(path))} - foreign
    for path in own:
        if find(made, path) is not MISSING and (there := find(live, path)) is not MISSING:
            made = with_value(made, path, there)
    for path in foreign:
        made = without(made, path)
    return made
