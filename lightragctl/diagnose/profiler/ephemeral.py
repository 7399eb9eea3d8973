"""An ephemeral container beside a process of a pod: its definition, and what its status means. Pure."""

from collections.abc import Mapping
from typing import Any

from lightragctl.core.objects import KubernetesObject
from lightragctl.kube.objects import spec_of, status_of

SPARE_S = 120
"""Seconds that the container lives beyond the time of sampling; then it ends by itself."""


def container_of(name: str, image: str, beside: str, uid: int, needs_capability: bool) -> dict[str, Any]:
    """A container that shares the processes of container `beside`, and waits for commands.

    A capability is of no use to another user than root: without ambient capabilities the kernel drops it at exec.
    """
    privileges: dict[str, Any] = {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
        "runAsUser": uid,
        "runAsNonRoot": uid != 0,
    }
    if needs_capability:
        privileges["capabilities"]["add"] = ["SYS_PTRACE"]
        privileges |= {"runAsUser": 0, "runAsNonRoot": False}
    return {
        "name": name,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "targetContainerName": beside,
        "securityContext": privileges,
    }


def with_container(pod: KubernetesObject, container: Mapping[str, Any], lives_s: int) -> KubernetesObject:
    """The pod with a further ephemeral container that ends after `lives_s`."""
    there = spec_of(pod).get("ephemeralContainers") or []
    added = {**container, "command": ["sleep", str(lives_s)]}
    return {**pod, "spec": {**spec_of(pod), "ephemeralContainers": [*there, added]}}


def is_running(pod: KubernetesObject, name: str) -> bool:
    """Whether the ephemeral container runs."""
    return "running" in _state(pod, name)


def obstacle(pod: KubernetesObject, name: str) -> str:
    """Why the ephemeral container does not run yet; empty while that is unknown."""
    state = _state(pod, name)
    reason = state.get("waiting") or state.get("terminated") or {}
    return ": ".join(filter(None, (reason.get("reason"), reason.get("message"))))


def _state(pod: KubernetesObject, name: str) -> Mapping[str, Any]:
    all_statuses = status_of(pod).get("ephemeralContainerStatuses") or ()
    return next((one.get("state") or {} for one in all_statuses if one.get("name") == name), {})
