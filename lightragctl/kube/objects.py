"""Accessors for Kubernetes objects: metadata, conditions, observed generation, owners. Pure.

The API server omits empty fields, so absent and null parts are read as empty.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from lightragctl.core.objects import KubernetesObject

WORKLOAD_KINDS = ("Deployment", "StatefulSet")
"""The kinds of a release that run pods."""

Part = Mapping[str, Any]
"""A part of an object, such as its status."""


def name_of(thing: KubernetesObject) -> str:
    """`metadata.name`; empty if it has none."""
    return str(_metadata(thing).get("name", ""))


def labels_of(thing: KubernetesObject) -> Part:
    """`metadata.labels`."""
    return _metadata(thing).get("labels") or {}


def annotations_of(thing: KubernetesObject) -> Part:
    """`metadata.annotations`."""
    return _metadata(thing).get("annotations") or {}


def spec_of(thing: KubernetesObject) -> Part:
    """`spec`."""
    return thing.get("spec") or {}


def status_of(thing: KubernetesObject) -> Part:
    """`status`."""
    return thing.get("status") or {}


def condition(status: Part, kind: str) -> Part:
    """The condition of this type in an object's status; empty if it has none."""
    return next((one for one in status.get("conditions") or () if one.get("type") == kind), {})


def has_condition(status: Part, kind: str, value: str = "True") -> bool:
    """Whether the status has a condition of this type, with this value."""
    return bool(condition(status, kind).get("status") == value)


def is_ready(thing: KubernetesObject) -> bool:
    """Whether the object's condition `Ready` is true."""
    return has_condition(status_of(thing), "Ready")


def deletion_time(thing: KubernetesObject) -> str:
    """`metadata.deletionTimestamp`: when deletion was requested, plus a pod's grace period; else empty."""
    return str(_metadata(thing).get("deletionTimestamp") or "")


def is_terminating(thing: KubernetesObject) -> bool:
    """Whether the object is being deleted."""
    return deletion_time(thing) != ""


def observed_generation(thing: KubernetesObject) -> int | None:
    """The generation that the status describes; None if the controller reports none."""
    seen = status_of(thing).get("observedGeneration")
    return None if seen is None else int(seen)


def is_current(thing: KubernetesObject) -> bool:
    """Whether the status describes the newest generation; false until the controller has observed the object."""
    return (observed_generation(thing) or 0) >= int(_metadata(thing).get("generation") or 0)


def owners_of(thing: KubernetesObject) -> Sequence[Part]:
    """The object's owner references."""
    return _metadata(thing).get("ownerReferences") or ()


def owner_of(thing: KubernetesObject, kind: str) -> Part | None:
    """The first owner of this kind."""
    return next((one for one in owners_of(thing) if one.get("kind") == kind), None)


def controller_of(thing: KubernetesObject) -> Part | None:
    """The controlling owner."""
    return next((one for one in owners_of(thing) if one.get("controller")), None)


def container_statuses(pod: KubernetesObject) -> Sequence[Part]:
    """The status of each of the pod's containers, without init containers."""
    return status_of(pod).get("containerStatuses") or ()


def _metadata(thing: KubernetesObject) -> Part:
    return thing.get("metadata") or {}
