"""Computes the status of an object from the object alone, with one function per kind, as kstatus does. Pure.

Statuses and rules follow kstatus (sigs.k8s.io/cli-utils), except for two kinds: a Job is current when it has completed,
in kstatus when it has started; a ResourceQuota is current when it has a status.
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
    """The status of an object, in the words of kstatus."""

    IN_PROGRESS = "InProgress"
    CURRENT = "Current"
    FAILED = "Failed"
    TERMINATING = "Terminating"
    NOT_FOUND = "NotFound"
    UNKNOWN = "Unknown"


@dataclass(frozen=True)
class ResourceStatus:
    """The status of an object, and what it is waiting for."""

    status: Status
    message: str = ""


CURRENT = ResourceStatus(Status.CURRENT)


def compute(thing: KubernetesObject | None) -> ResourceStatus:
    """The status of the object; None: it does not exist."""
    if thing is None:
        return ResourceStatus(Status.NOT_FOUND, "not found")
    if is_terminating(thing):
        return ResourceStatus(Status.TERMINATING, "terminating")
    if observed_generation(thing) is not None and not is_current(thing):
        return _waiting("not observed by its controller yet")
    rule = _RULES.get(thing["kind"], _by_conditions)
    return rule(spec_of(thing), status_of(thing))


def _waiting(message: str) -> ResourceStatus:
    return ResourceStatus(Status.IN_PROGRESS, message)


def _failed(message: str) -> ResourceStatus:
    return ResourceStatus(Status.FAILED, message)


def _behind(wanted: int, counts: tuple[tuple[str, int], ...]) -> str:
    """The first count below the wanted one, as text; empty if there is none."""
    return next((f"{count} of {wanted} pods {word}" for word, count in counts if count < wanted), "")


def _deployment(spec: Part, status: Part) -> ResourceStatus:
    progressing = condition(status, "Progressing")
    if progressing.get("reason") == "ProgressDeadlineExceeded":
        return _failed(str(progressing.get("message", "progress deadline exceeded")))
    wanted, count = int(spec.get("replicas", 1)), status.get
    updated = int(count("updatedReplicas", 0))
    missing = _behind(wanted, (("updated", updated), ("ready", int(count("readyReplicas", 0)))))
    if missing:
        return _waiting(missing)
    there, ready = int(count("replicas", 0)), int(count("readyReplicas", 0))
    if (extra := there - min(updated, wanted)) > 0:
        if ready < there and count("unavailableReplicas", 0):
            return _waiting(f"{ready} of {there} pods ready, {extra} of them old, kept until new ones are ready")
        return _waiting(f"{extra} old pods are terminating")
    missing = _behind(wanted, (("available", int(count("availableReplicas", 0))),))
    return _waiting(missing) if missing else CURRENT


def _stateful_set(spec: Part, status: Part) -> ResourceStatus:
    if (spec.get("updateStrategy") or {}).get("type") == "OnDelete":
        return CURRENT
    wanted, count = int(spec.get("replicas", 1)), status.get
    missing = _behind(wanted, (("created", int(count("replicas", 0))), ("ready", int(count("readyReplicas", 0)))))
    if missing:
        return _waiting(missing)
    if (extra := int(count("replicas", 0)) - wanted) > 0:
        return _waiting(f"{extra} old pods are terminating")
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
        return _waiting("no status yet")
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
    return CURRENT if status.get("hard") else _waiting("no status yet")


def _definition(spec: Part, status: Part) -> ResourceStatus:
    if has_condition(status, "NamesAccepted", "False"):
        return _failed(str(condition(status, "NamesAccepted").get("message", "its names are in use")))
    return CURRENT if has_condition(status, "Established") else _waiting("not served yet")


def _by_conditions(spec: Part, status: Part) -> ResourceStatus:
    """By the common conditions Stalled, Reconciling and Ready; without them the object is current."""
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
