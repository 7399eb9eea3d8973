"""Determines who controls the replicas of a workload: the release, an autoscaler, a schedule or a user. Pure.

The manager of `spec.replicas` is read from the live object's managed fields. `kubectl scale --replicas=0` leaves no
manager: zero is not serialized.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from lightragctl.core.objects import KubernetesObject, ref
from lightragctl.kube.labels import HELD_BY
from lightragctl.kube.managed_fields import foreign_owners, show
from lightragctl.kube.model import FIELD_MANAGER
from lightragctl.kube.objects import annotations_of, owner_of, spec_of

REPLICAS = "spec.replicas"
CONTROLLERS = ("kube-controller-manager", "kube-scheduler", "kubelet", "keda-operator")
"""Field managers whose changes are no drift, such as an autoscaler that scales."""
_SCHEDULES = ("kube-downscaler", "py-kube-downscaler", "kube-green", "manager-kube-green")
"""Tools that scale workloads to zero and back on a schedule."""
_DOWNSCALED = "downscaler/original-replicas"
"""The annotation that kube-downscaler sets on a workload that it has scaled to zero."""


@dataclass(frozen=True)
class ScaledToZero:
    """A workload that was scaled to zero.

    Attributes:
        by: the manager; empty if unknown.
        is_meant: whether an autoscaler, a schedule or the profile did it.
    """

    by: str
    is_meant: bool

    def __str__(self) -> str:
        return f"scaled to 0 by {self.by or 'kubectl scale or the like'}"


def autoscaler_of(thing: KubernetesObject, autoscalers: Iterable[KubernetesObject]) -> KubernetesObject | None:
    """The autoscaler whose target is the workload; None if there is none."""
    return next((one for one in autoscalers if _scales(one, thing)), None)


def scaled_by(live: KubernetesObject) -> list[str]:
    """The managers other than us that have set the replicas."""
    return [owner.manager for owner in foreign_owners(live) if REPLICAS in map(show, owner.paths)]


def is_scaled_manually(live: KubernetesObject) -> bool:
    """Whether a user, or a tool other than an autoscaler, has set the replicas."""
    return any(manager not in CONTROLLERS for manager in scaled_by(live))


def is_orphaned_replicas(path: str, manager: str) -> bool:
    """Whether the path is the replicas, owned by or for an autoscaler: without one, nothing manages them."""
    return path == REPLICAS and (manager in CONTROLLERS or manager.startswith(f"{FIELD_MANAGER}-"))


def is_scaled_down_manually(wanted: KubernetesObject, live: KubernetesObject, path: str) -> bool:
    """Whether the path is the replicas, set to zero by neither an autoscaler nor a schedule.

    Another manual number may be intended; zero replicas leave the release broken.
    """
    if path != REPLICAS or spec_of(live).get("replicas") != 0 or not (wanted["spec"].get("replicas") or 0):
        return False
    return not _is_downscaled(live)


def is_scaled_to_zero_for_now(live: KubernetesObject, autoscalers: Iterable[KubernetesObject]) -> bool:
    """Whether the workload has no pods, and an autoscaler or a schedule will scale it up again."""
    return spec_of(live).get("replicas") == 0 and (_is_downscaled(live) or _zero_scaler(live, autoscalers) != "")


def scaled_to_zero(
    wanted: KubernetesObject | None,
    live: KubernetesObject,
    is_ignored: bool,
    autoscalers: Iterable[KubernetesObject],
) -> ScaledToZero | None:
    """Who scaled the workload to zero; None if it has pods.

    Args:
        wanted: as it was applied; None if unknown.
        live: the live object.
        is_ignored: whether others may set its replicas.
        autoscalers: of the namespace.
    """
    if live["spec"].get("replicas", 1) != 0:
        return None
    if held_by := annotations_of(live).get(HELD_BY):
        return ScaledToZero(str(held_by), False)
    scaler = _zero_scaler(live, autoscalers)
    is_ours = wanted is not None and wanted["spec"].get("replicas", 1) == 0
    is_meant = is_ours or scaler != "" or _is_downscaled(live) or is_ignored
    return ScaledToZero("the profile" if is_ours else ", ".join(scaled_by(live)) or scaler, is_meant)


def _is_downscaled(live: KubernetesObject) -> bool:
    """Whether an autoscaler or a schedule has scaled the workload to zero."""
    return _DOWNSCALED in annotations_of(live) or any(by in (*CONTROLLERS, *_SCHEDULES) for by in scaled_by(live))


def _zero_scaler(live: KubernetesObject, autoscalers: Iterable[KubernetesObject]) -> str:
    """The autoscaler that scales the workload to and from zero; a plain one ignores workloads without pods."""
    for one in autoscalers:
        by = owner_of(one, "ScaledObject")
        if _scales(one, live) and (by or one["spec"].get("minReplicas") == 0):
            return f"ScaledObject/{by['name']}" if by else str(ref(one))
    return ""


def _scales(autoscaler: KubernetesObject, thing: KubernetesObject) -> bool:
    target = autoscaler["spec"]["scaleTargetRef"]
    return bool(target["kind"] == thing["kind"] and target["name"] == thing["metadata"]["name"])
