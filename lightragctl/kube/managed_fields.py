"""Reads the owners of an object's fields from `metadata.managedFields`. Pure.

A path is a tuple of steps as the API server writes them: `f:spec`, `k:{"name":"api"}` (the item of a list with this
key), `v:"x"` (the item with this value), `i:0` (the item at this index).
"""

import copy
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from lightragctl.core.objects import KubernetesObject
from lightragctl.kube.model import FIELD_MANAGER

Path = tuple[str, ...]
MISSING: Any = object()
"""Returned by `find` for a missing field; None is a value."""
_PLAIN = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True)
class FieldOwner:
    """One entry of managedFields: the manager of fields, the operation and its time."""

    manager: str
    operation: str
    time: str
    subresource: str
    paths: frozenset[Path]


def owners(thing: KubernetesObject) -> list[FieldOwner]:
    """The owners of the live object's fields."""
    return [
        FieldOwner(
            manager=str(entry.get("manager", "")),
            operation=str(entry.get("operation", "")),
            time=str(entry.get("time", "")),
            subresource=str(entry.get("subresource", "")),
            paths=frozenset(_leaves(entry.get("fieldsV1") or {})),
        )
        for entry in thing["metadata"].get("managedFields") or ()
    ]


def foreign_owners(live: KubernetesObject) -> Iterator[FieldOwner]:
    """The owners other than us, without those of the status, which belongs to controllers."""
    for owner in owners(live):
        ours = owner.manager == FIELD_MANAGER or owner.manager.startswith(f"{FIELD_MANAGER}-")
        if not ours and owner.subresource != "status":
            yield owner


def _leaves(fields: Mapping[str, Any], path: Path = ()) -> Iterator[Path]:
    for step, inner in fields.items():
        if step == ".":
            continue
        if set(inner) <= {"."}:
            yield (*path, step)
        else:
            yield from _leaves(inner, (*path, step))


def show(path: Path) -> str:
    """The path as text: `spec.template.spec.containers[name=api].image`."""
    return "".join(map(_show_step, path)).removeprefix(".")


def _show_step(step: str) -> str:
    kind, _, text = step.partition(":")
    if kind == "f":
        return f".{text}" if _PLAIN.fullmatch(text) else f"[{text}]"
    if kind == "k":
        return f"[{','.join(f'{name}={value}' for name, value in json.loads(text).items())}]"
    return f"[{text}]" if kind == "i" else f"[={json.loads(text)}]"


def find(thing: Any, path: Path) -> Any:
    """The value at the path, or MISSING."""
    for step in path:
        key = _key(thing, step)
        if key is None:
            return MISSING
        thing = thing[key]
    return thing


def _key(thing: Any, step: str) -> Any:
    """The key or index of `thing` for the step; None if it does not exist."""
    kind, _, text = step.partition(":")
    if kind == "f":
        return text if isinstance(thing, Mapping) and text in thing else None
    if not isinstance(thing, list | tuple):
        return None
    if kind == "i":
        return int(text) if int(text) < len(thing) else None
    wanted = json.loads(text)
    for index, item in enumerate(thing):
        if item == wanted if kind == "v" else isinstance(item, Mapping) and wanted.items() <= item.items():
            return index
    return None


def without(thing: KubernetesObject, path: Path) -> dict[str, Any]:
    """A copy without the value at the path."""
    made = copy.deepcopy(dict(thing))
    parent = find(made, path[:-1])
    if parent is not MISSING and (key := _key(parent, path[-1])) is not None:
        del parent[key]
    return made


def with_value(thing: KubernetesObject, path: Path, value: Any) -> dict[str, Any]:
    """A copy with another value at an existing path."""
    made = copy.deepcopy(dict(thing))
    parent = find(made, path[:-1])
    parent[_key(parent, path[-1])] = copy.deepcopy(value)
    return made
