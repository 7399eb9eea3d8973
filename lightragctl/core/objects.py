"""Kubernetes objects as plain maps: identity and order. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

KubernetesObject = Mapping[str, Any]

_KIND_ORDER = (
    "Namespace",
    "ResourceQuota",
    "LimitRange",
    "PriorityClass",
    "NetworkPolicy",
    "ServiceAccount",
    "Role",
    "RoleBinding",
    "Secret",
    "ConfigMap",
    "PersistentVolumeClaim",
    "Service",
    "StatefulSet",
    "Deployment",
    "PodDisruptionBudget",
    "HorizontalPodAutoscaler",
    "Ingress",
)
"""Apply order of kinds: a quota before what it bounds, settings before the pods that mount them."""


@dataclass(frozen=True, order=True)
class ObjectRef:
    """The identity of an object in a cluster."""

    api_version: str
    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind}/{self.name}"


def ref(thing: KubernetesObject) -> ObjectRef:
    """The object's identity.

    Raises:
        ValueError: it lacks apiVersion, kind or a name.
    """
    metadata = thing.get("metadata")
    name = metadata.get("name") if isinstance(metadata, Mapping) else None
    if not (thing.get("apiVersion") and thing.get("kind") and name):
        raise ValueError("an object needs apiVersion, kind and metadata.name")
    assert isinstance(metadata, Mapping)
    return ObjectRef(str(thing["apiVersion"]), str(thing["kind"]), str(metadata.get("namespace", "")), str(name))


def order(thing: KubernetesObject) -> tuple[int, ObjectRef]:
    """The sort key of objects: apply order of kinds, then identity."""
    identity = ref(thing)
    rank = _KIND_ORDER.index(identity.kind) if identity.kind in _KIND_ORDER else len(_KIND_ORDER)
    return rank, identity
