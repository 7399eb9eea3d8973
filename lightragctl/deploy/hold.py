"""Scales a component to no pods for an operation, and back. I/O through the cluster.

Each write states which version of the workload it was made from. An annotation says which operation holds it.
"""

from typing import Any

from lightragctl.core.errors import NotRunningError, UnavailableError
from lightragctl.core.hint import Command, Hint
from lightragctl.core.result import Event
from lightragctl.kube.labels import HELD_BY
from lightragctl.kube.model import ChangedMeanwhileError
from lightragctl.kube.objects import annotations_of, name_of, spec_of
from lightragctl.kube.scope import Scope
from lightragctl.observe.snapshot import read_snapshot
from lightragctl.observe.wait import Deadline, wait_ready, wait_until

_TRIES = 10


def read_replicas(scope: Scope, component: str) -> int:
    """How many pods the component's one workload is to have.

    Raises:
        NotRunningError: there is no such workload, or there are several.
    """
    return int(spec_of(_workload(scope, component)).get("replicas", 1))


def hold(scope: Scope, component: str, reason: str, deadline: Deadline) -> None:
    """Scale the component to no pods, and wait until its pods are gone.

    Raises:
        NotRunningError: there is no such workload.
        WaitExpired: a pod is still there when deadline ends.
    """
    _scale(scope, component, 0, reason)
    deadline.notify(Event("stopping", component))
    wait_until(lambda: _left(scope, component), deadline)


def resume(scope: Scope, component: str, replicas: int, deadline: Deadline) -> None:
    """Scale the component to its pods, and wait until they are ready.

    Raises:
        NotRunningError: there is no such workload.
        NotReadyError: it will not become ready by waiting.
        WaitExpired: it is not ready when deadline ends.
    """
    _scale(scope, component, replicas, "")
    if replicas:
        wait_ready(scope, [component], deadline)


def _scale(scope: Scope, component: str, replicas: int, reason: str) -> None:
    """Set the number of pods and what holds them at it; others' changes in between are kept."""
    for _ in range(_TRIES):
        live = _workload(scope, component)
        if (spec_of(live).get("replicas", 1), annotations_of(live).get(HELD_BY, "")) == (replicas, reason):
            return
        try:
            scope.cluster.replace(_scaled(live, replicas, reason))
        except ChangedMeanwhileError:
            continue
        return
    raise UnavailableError(f"{component} is changed by others again and again", "run the command again")


def _scaled(live: dict[str, Any], replicas: int, reason: str) -> dict[str, Any]:
    """The workload with this number of pods."""
    noted = {key: value for key, value in annotations_of(live).items() if key != HELD_BY}
    metadata = {**live["metadata"], "annotations": {**noted, **({HELD_BY: reason} if reason else {})}}
    metadata.pop("managedFields", None)
    return {**live, "metadata": metadata, "spec": {**live["spec"], "replicas": replicas}}


def _workload(scope: Scope, component: str) -> dict[str, Any]:
    found = list(read_snapshot(scope).workloads_of(component))
    if len(found) != 1:
        there = ", ".join(map(name_of, found)) or "none"
        raise NotRunningError(f"{component} has no single workload: {there}", Hint("see: ", Command("status")))
    return dict(found[0])


def _left(scope: Scope, component: str) -> str:
    pods = read_snapshot(scope).pods_of(component)
    return f"{component}: pods are ending: {', '.join(map(name_of, pods))}" if pods else ""
