"""How far one object is, from the object alone: six words for every kind, one small function each. Pure.

The words and the rules follow kstatus of the Kubernetes command-line utilities, but for two kinds: a Job is done when
it has completed (kstatus says so when it has started), and a ResourceQuota when the cluster has counted it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from lightragctl.core.objects import KubernetesObject
from lightragctl.kube.objects import (
    Part,
    condition,
    has_condition,
    is_current,
    is_terminating,
    observed_generation,
    spec_of,
    status_of,
)


class Status(StrEnum):
    """How far an object is."""

    IN_PROGRESS = "InProgress"
    CURRENT = "Current"
    FAILED = "Failed"
    TERMINATING = "Terminating"
    NOT_FOUND = "NotFound"
    UNKNOWN = "Unknown"


@dataclass(frozen=True)
class ResourceStatus:
    """How far an object is, and what it lacks, with counts."""

    status: Status
    message: str = ""


@dataclass(frozen=True)
class ScaledToZero:
    """A workload that has no pods because somebody scaled it so.

    Attributes:
        by: who; empty when the cluster does not tell.
        is_meant: whether an autoscaler, a schedule or the profile wants it so.
    """

    by: str
    is_meant: bool

    def __str__(self) -> str:
        return f"scaled to 0 by {self.by or 'kubectl scale or the like'}"


CURRENT = ResourceStatus(Status.CURRENT)


def compute(thing: KubernetesObject | None) -> ResourceStatus:
    """How far the object is; None stands for one that is not there."""
    if thing is None:
        return ResourceStatus(Status.NOT_FOUND, "not there")
    if is_terminating(thing):
        return ResourceStatus(Status.TERMINATING, "being deleted")
    if observed_generation(thing) is not None and not is_current(thing):
        return _waiting("the change has not been seen by its controller yet")
    rule = _RULES.get(thing["kind"], _by_conditions)
    return rule(spec_of(thing), status_of(thing))


def _waiting(message: str) -> ResourceStatus:
    return ResourceStatus(Status.IN_PROGRESS, message)


def _failed(message: str) -> ResourceStatus:
    return ResourceStatus(Status.FAILED, message)


def _behind(wanted: int, counts: tuple[tuple[str, int], ...]) -> str:
    """The first count that is not as wanted, in words; empty when all are."""
    return next((f"{count} of {wanted} pods {word}" for word, count in counts if count < wanted), "")


def _deployment(spec: Part, status: Part) -> ResourceStatus:
    progressing = condition(status, "Progressing")
    if progressing.get("reason") == "ProgressDeadlineExceeded":
        return _failed(str(progressing.get("message", "its progress deadline is over")))
    wanted, count = int(spec.get("replicas", 1)), status.get
    updated = int(count("updatedReplicas", 0))
    missing = _behind(wanted, (("updated", updated), ("ready", int(count("readyReplicas", 0)))))
    if missing:
        return _waiting(missing)
    there, ready = int(count("replicas", 0)), int(count("readyReplicas", 0))
    if (extra := there - min(updated, wanted)) > 0:
        if ready < there and count("unavailableReplicas", 0):
            return _waiting(f"{ready} of {there} pods ready, {extra} of them old: they stay until new ones are ready")
        return _waiting(f"{extra} old pods are ending")
    missing = _behind(wanted, (("available", int(count("availableReplicas", 0))),))
    return _waiting(missing) if missing else CURRENT


def _stateful_set(spec: Part, status: Part) -> ResourceStatus:
    if (spec.get("updateStrategy") or {}).get("type") == "OnDelete":
        return CURRENT
    wanted, count = int(spec.get("replicas", 1)), status.get
    missing = _behind(wanted, (("there", int(count("replicas", 0))), ("ready", int(count("readyReplicas", 0)))))
    if missing:
        return _waiting(missing)
    if (extra := int(count("replicas", 0)) - wanted) > 0:
        return _waiting(f"{extra} old pods are ending")
    rolling = (spec.get("updateStrategy") or {}).get("rollingUpdate") or {}
    partition = int(rolling.get("partition", 0) or 0)
    if partition:
        due = max(0, wanted - partition)
        missing = _behind(due, (("updated", int(count("updatedReplicas", 0))),))
        return _waiting(missing) if missing else CURRENT
    if count("currentRevision") != count("updateRevision"):
        return _waiting(f"{count('updatedReplicas', 0)} of {wanted} pods updated")
    return CURRENT


def _daemon_set(spec: Part, status: Part) -> ResourceStatus:
    if "desiredNumberScheduled" not in status:
        return _waiting("no nodes counted yet")
    wanted = int(status["desiredNumberScheduled"])
    counts = (("updated", "updatedNumberScheduled"), ("ready", "numberReady"), ("available", "numberAvailable"))
    missing = _behind(wanted, tuple((word, int(status.get(key, 0))) for word, key in counts))
    return _waiting(missing) if missing else CURRENT


def _pod(spec: Part, status: Part) -> ResourceStatus:
    if status.get("phase") == "Failed":
        return _failed(str(status.get("message") or status.get("reason") or "failed"))
    if status.get("phase") == "Succeeded" or has_condition(status, "Ready"):
        return CURRENT
    return _waiting(str(condition(status, "Ready").get("message") or status.get("phase") or "not started"))


def _job(spec: Part, status: Part) -> ResourceStatus:
    if has_condition(status, "Failed"):
        return _failed(str(condition(status, "Failed").get("message", "failed")))
    wanted = int(spec.get("completions", 1) or 1)
    return (
        CURRENT
        if has_condition(status, "Complete")
        else _waiting(f"{status.get('succeeded', 0)} of {wanted} completed")
    )


def _claim(spec: Part, status: Part) -> ResourceStatus:
    if status.get("phase") == "Lost":
        return _failed("its volume is lost")
    return CURRENT if status.get("phase") == "Bound" else _waiting("no volume bound yet")


def _service(spec: Part, status: Part) -> ResourceStatus:
    if spec.get("type") == "LoadBalancer" and not (status.get("loadBalancer") or {}).get("ingress"):
        return _waiting("the load balancer has no address yet")
    return CURRENT


def _quota(spec: Part, status: Part) -> ResourceStatus:
    return CURRENT if status.get("hard") else _waiting("not counted yet")


def _definition(spec: Part, status: Part) -> ResourceStatus:
    if has_condition(status, "NamesAccepted", "False"):
        return _failed(str(condition(status, "NamesAccepted").get("message", "its names are taken")))
    return CURRENT if has_condition(status, "Established") else _waiting("not served yet")


def _by_conditions(spec: Part, status: Part) -> ResourceStatus:
    """The conventions that many controllers keep: Stalled, Reconciling, Ready; without any of them it is current."""
    if has_condition(status, "Stalled"):
        return _failed(str(condition(status, "Stalled").get("message", "stalled")))
    for name, good in (("Reconciling", "False"), ("Ready", "True")):
        one = condition(status, name)
        if one and one.get("status") != good:
            return _waiting(str(one.get("message") or one.get("reason") or f"{name} is {one.get('status')}"))
    return CURRENT


_RULES: Mapping[str, Callable[[Part, Part], ResourceStatus]] = {
    "Deployment": _deployment,
    "ReplicaSet": lambda spec, status: _deployment(spec, {**status, "updatedReplicas": status.get("replicas", 0)}),
    "StatefulSet": _stateful_set,
    "DaemonSet": _daemon_set,
    "Pod": _pod,
    "Job": _job,
    "PersistentVolumeClaim": _claim,
    "Service": _service,
    "ResourceQuota": _quota,
    "CustomResourceDefinition": _definition,
}
