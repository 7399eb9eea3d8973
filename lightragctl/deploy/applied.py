"""A release on a cluster as it was last applied: the objects of its last revision. Reads the cluster."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lightragctl.core.errors import NotRunningError
from lightragctl.core.hint import Command, Hint
from lightragctl.core.objects import KubernetesObject, ObjectRef
from lightragctl.core.runtime import AppliedRelease, NeededSecret
from lightragctl.deploy.inventory import Inventory
from lightragctl.deploy.revision_store import read_revision
from lightragctl.kube.labels import GENERATE, component_of
from lightragctl.kube.objects import annotations_of, name_of, spec_of
from lightragctl.kube.scope import Scope

_SETTINGS = "settings.json"


def read_applied(scope: Scope, inventory: Inventory, include_secrets: bool) -> AppliedRelease:
    """The release as its record and its last revision have it.

    Raises:
        NotRunningError: the revision is gone.
    """
    revision = read_revision(scope, inventory.revision) if inventory.revision else None
    if revision is None:
        message = f"release '{scope.release}' has no revision {inventory.revision}"
        raise NotRunningError(message, Hint("bring it up again: ", Command("up")))
    secrets = needed_secrets(revision.objects)
    return AppliedRelease(
        profile_name=inventory.profile_name,
        values=inventory.profile,
        settings=settings_in(revision.objects),
        objects=tuple(revision.objects),
        secrets=secrets,
        secret_values=_values(scope, secrets) if include_secrets else {},
    )


def settings_in(objects: Sequence[KubernetesObject]) -> dict[str, Mapping[str, Any]]:
    """The settings of each component that is a process of ours, from its ConfigMap. Pure."""
    maps = [thing for thing in objects if thing["kind"] == "ConfigMap" and _SETTINGS in (thing.get("data") or {})]
    return {component_of(thing): json.loads(thing["data"][_SETTINGS]) for thing in maps}


def needed_secrets(objects: Sequence[KubernetesObject]) -> tuple[NeededSecret, ...]:
    """The Secrets that the pods of these objects read, sorted by name. Pure."""
    read: dict[str, set[str]] = {}
    whole: set[str] = set()
    for thing in objects:
        for name, key in _read_by(spec_of(thing).get("template") or {}):
            read.setdefault(name, set()).add(key)
            whole |= set() if key else {name}
    generated = {
        name_of(thing): tuple(sorted(filter(None, str(annotations_of(thing)[GENERATE]).replace(" ", "").split(","))))
        for thing in objects
        if thing["kind"] == "Secret" and GENERATE in annotations_of(thing)
    }
    return tuple(
        NeededSecret(name, () if name in whole else tuple(sorted(keys)), generated.get(name, ()))
        for name, keys in sorted(read.items())
    )


def _read_by(part: object) -> Iterator[tuple[str, str]]:
    """Names and keys of Secrets in a pod's template; an empty key stands for all."""
    if isinstance(part, Mapping):
        for field, value in part.items():
            if field == "secretKeyRef":
                yield str(value["name"]), str(value["key"])
            elif field in ("secretRef", "secret") and isinstance(value, Mapping):
                yield str(value.get("secretName") or value.get("name")), ""
            elif field == "imagePullSecrets":
                yield from ((str(one["name"]), "") for one in value or ())
            else:
                yield from _read_by(value)
    elif isinstance(part, list | tuple):
        for one in part:
            yield from _read_by(one)


def _values(scope: Scope, secrets: Sequence[NeededSecret]) -> dict[str, dict[str, str]]:
    """What the Secrets hold, in base64; those that are missing are left out."""
    found = {}
    for one in secrets:
        live = scope.cluster.get(ObjectRef("v1", "Secret", scope.namespace, one.name))
        if live is not None:
            held = live.get("data") or {}
            found[one.name] = {key: str(held[key]) for key in (one.keys or held) if key in held}
    return found
