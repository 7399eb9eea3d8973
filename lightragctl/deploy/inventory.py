"""The inventory of a release: the objects that it owns and its phase, in a ConfigMap beside them. Pure.

The inventory is written before the first object, with all present and all new objects. So the next run knows every
object that a killed run has created.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from lightragctl.core.errors import LightragctlError
from lightragctl.core.hint import Command, Hint
from lightragctl.core.objects import KubernetesObject, ObjectRef
from lightragctl.deploy.ownership import parent_annotations, parent_labels
from lightragctl.kube.labels import INSTANCE, MANAGED_BY, MANAGER
from lightragctl.kube.objects import labels_of

SCHEMA = 2
"""2 adds `revision` and `fence`; they are 0 in 1."""
_KEY = "record.json"


class ReleasePhase(StrEnum):
    """The progress of the last run."""

    APPLYING = "applying"
    APPLIED = "applied"
    STOPPED = "stopped"


@dataclass(frozen=True)
class Inventory:
    """The state of a release in the cluster.

    Attributes:
        release: its name.
        profile_name: of the profile that was last applied.
        profile: its values; secrets are only references.
        version: of lightragctl.
        phase: the progress of the last run.
        objects: owned by the release.
        components: names in start order.
        revision: the number of the revision that was last applied or is being applied.
        fence: of the lock under which it was written; holders of a lower fence must not overwrite it.
        overrides: by profile key that an upgrade set beside the profile: the value before.
        resource_version: of the ConfigMap that it was read from; empty if there is none yet.
    """

    release: str
    profile_name: str
    profile: Mapping[str, Any]
    version: str
    phase: ReleasePhase
    objects: tuple[ObjectRef, ...]
    components: tuple[str, ...] = ()
    revision: int = 0
    fence: int = 0
    overrides: Mapping[str, Any] = field(default_factory=dict)
    resource_version: str = field(default="", compare=False)


def inventory_ref(release: str, namespace: str) -> ObjectRef:
    """The ConfigMap of a release's inventory."""
    return ObjectRef("v1", "ConfigMap", namespace, f"{release}-lightragctl")


def releases_in(config_maps: Iterable[KubernetesObject]) -> list[str]:
    """The names of the releases whose inventories are among these ConfigMaps."""
    found = ((str(labels_of(one).get(INSTANCE, "")), one) for one in config_maps)
    return sorted(name for name, one in found if one["metadata"]["name"] == inventory_ref(name, "").name)


def to_object(inventory: Inventory, namespace: str) -> dict[str, Any]:
    """The inventory as a ConfigMap."""
    identity = inventory_ref(inventory.release, namespace)
    labels = {INSTANCE: inventory.release, MANAGED_BY: MANAGER}
    metadata: dict[str, Any] = {
        "name": identity.name,
        "namespace": namespace,
        "labels": {**labels, **parent_labels(identity)},
        "annotations": parent_annotations(inventory.objects),
    }
    if inventory.resource_version:
        metadata["resourceVersion"] = inventory.resource_version
    document = {
        "schema": SCHEMA,
        "release": inventory.release,
        "profile_name": inventory.profile_name,
        "profile": dict(inventory.profile),
        "version": inventory.version,
        "phase": str(inventory.phase),
        "components": list(inventory.components),
        "revision": inventory.revision,
        "fence": inventory.fence,
        **({"overrides": dict(inventory.overrides)} if inventory.overrides else {}),
        "objects": [[one.api_version, one.kind, one.namespace, one.name] for one in inventory.objects],
    }
    data = {_KEY: json.dumps(document, ensure_ascii=False, sort_keys=True)}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def from_object(thing: KubernetesObject) -> Inventory:
    """The inventory in a ConfigMap.

    Raises:
        LightragctlError: a newer lightragctl wrote it, or it is damaged.
    """
    metadata = thing["metadata"]
    try:
        document = json.loads(thing["data"][_KEY])
        if document["schema"] > SCHEMA:
            message = f"ConfigMap/{metadata['name']} was written by a newer lightragctl, {document['version']}"
            raise LightragctlError(message, "install that version or a later one")
        return Inventory(
            release=document["release"],
            profile_name=document["profile_name"],
            profile=document["profile"],
            version=document["version"],
            phase=ReleasePhase(document["phase"]),
            objects=tuple(ObjectRef(*parts) for parts in document["objects"]),
            components=tuple(document["components"]),
            revision=int(document.get("revision", 0)),
            fence=int(document.get("fence", 0)),
            overrides=document.get("overrides", {}),
            resource_version=metadata.get("resourceVersion", ""),
        )
    except (KeyError, TypeError, ValueError) as error:
        message = f"ConfigMap/{metadata['name']} in {metadata.get('namespace')} is not a valid inventory: {error}"
        raise LightragctlError(
            message,
            Hint("restore it; or delete it and run ", Command("up"), ", which finds the objects by their labels"),
        ) from error


DATA_KINDS = ("PersistentVolumeClaim", "Secret", "CustomResourceDefinition", "PersistentVolume")
"""Kinds that hold data, or whose deletion deletes data."""


def to_prune(recorded: Iterable[ObjectRef], wanted: Iterable[ObjectRef], data: bool = False) -> list[ObjectRef]:
    """The owned objects that are no longer wanted, in reverse order of creation.

    Never namespaces; kinds that hold data only with `data`.
    """
    kept = ("Namespace",) if data else ("Namespace", *DATA_KINDS)
    return [one for one in _unwanted(recorded, wanted) if one.kind not in kept]


def to_keep(recorded: Iterable[ObjectRef], wanted: Iterable[ObjectRef], pruned: Iterable[ObjectRef]) -> list[ObjectRef]:
    """The owned objects that are no longer wanted but kept: they stay in the inventory."""
    gone = set(pruned)
    return [one for one in reversed(_unwanted(recorded, wanted)) if one not in gone]


def _unwanted(recorded: Iterable[ObjectRef], wanted: Iterable[ObjectRef]) -> list[ObjectRef]:
    wanted_names = {(one.kind, one.namespace, one.name) for one in wanted}  # the same object in another API group
    return [one for one in reversed(list(recorded)) if (one.kind, one.namespace, one.name) not in wanted_names]
