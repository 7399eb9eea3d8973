"""A snapshot of a release on the cluster, and the status of its components."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from lightragctl.core.errors import LightragctlError
from lightragctl.core.objects import KubernetesObject
from lightragctl.core.runtime import ComponentStatus, State
from lightragctl.kube.labels import component_of, pod_selector
from lightragctl.kube.objects import WORKLOAD_KINDS, container_statuses, labels_of, status_of
from lightragctl.kube.scope import Scope
from lightragctl.observe.causes import Cause, Evidence, find_causes
from lightragctl.observe.kstatus import ResourceStatus, Status, compute
from lightragctl.observe.scaling import ScaledToZero

_LAST_LINES = 8


@dataclass(frozen=True)
class Snapshot:
    """The release's workloads by component, and its pods; `autoscaled_nodes` as in `causes.Evidence`."""

    workloads: Mapping[str, Sequence[KubernetesObject]]
    pods: Sequence[KubernetesObject]
    autoscaled_nodes: Sequence[Mapping[str, str]] = ()

    def pods_of(self, component: str) -> list[KubernetesObject]:
        """The component's pods."""
        return [pod for pod in self.pods if component_of(pod) == component]

    def workloads_of(self, component: str) -> Sequence[KubernetesObject]:
        """The component's workloads: one for each of its parts."""
        return self.workloads.get(component, ())


def read_snapshot(scope: Scope, autoscaled_nodes: Sequence[Mapping[str, str]] = ()) -> Snapshot:
    """The release as it is now; a cluster autoscaler adds nodes with the labels `autoscaled_nodes`."""
    workloads: dict[str, list[KubernetesObject]] = {}
    for thing in (thing for kind in WORKLOAD_KINDS for thing in scope.select("apps/v1", kind)):
        workloads.setdefault(component_of(thing), []).append(thing)
    return Snapshot(workloads, scope.cluster.select("v1", "Pod", scope.namespace, scope.pods), autoscaled_nodes)


def read_causes(scope: Scope, snapshot: Snapshot, component: str) -> list[Cause]:
    """Why the component is not ready, most likely cause first; reads events, claims and logs of failed containers."""
    select = scope.cluster.select
    pods = snapshot.pods_of(component)
    labels = pod_selector(scope.release, component)
    whole = Evidence(
        component=component,
        namespace=scope.namespace,
        workload=None,
        replica_sets=select("apps/v1", "ReplicaSet", scope.namespace, labels),
        pods=pods,
        claims=select("v1", "PersistentVolumeClaim", scope.namespace, labels),
        events=select("v1", "Event", scope.namespace),
        last_lines={pod["metadata"]["name"]: _last_lines(scope, pod) for pod in pods if _has_failed(pod)},
        autoscaled_nodes=snapshot.autoscaled_nodes,
    )
    unready = [one for one in snapshot.workloads_of(component) if compute(one).status is not Status.CURRENT]
    found = {(cause.subject, cause.code): cause for one in unready for cause in find_causes(_of_workload(whole, one))}
    return sorted(found.values(), key=lambda cause: cause.grace_s) if unready else find_causes(whole)


def _of_workload(whole: Evidence, workload: KubernetesObject) -> Evidence:
    """The part of the evidence for one workload."""
    labels = workload["spec"]["selector"]["matchLabels"].items()

    def chosen(things: Sequence[KubernetesObject]) -> list[KubernetesObject]:
        return [thing for thing in things if labels <= labels_of(thing).items()]

    return replace(whole, workload=workload, replica_sets=chosen(whole.replica_sets), pods=chosen(whole.pods))


def _has_failed(pod: KubernetesObject) -> bool:
    """Whether a container has terminated, or runs without being ready."""
    return any(
        "terminated" in {**one.get("state", {}), **one.get("lastState", {})}
        or ("running" in one.get("state", {}) and not one.get("ready"))
        for one in container_statuses(pod)
    )


def _last_lines(scope: Scope, pod: KubernetesObject) -> list[str]:
    """The last lines of the failed container's log; empty if the kubelet has deleted it."""
    has_crashed = any("terminated" in one.get("lastState", {}) for one in container_statuses(pod))
    ended_now = not has_crashed or any("terminated" in one.get("state", {}) for one in container_statuses(pod))
    name = pod["metadata"]["name"]
    try:
        return list(
            scope.cluster.log(scope.namespace, name, tail_lines=_LAST_LINES, follow=False, previous=not ended_now)
        )
    except LightragctlError:
        return []


def resource_status(snapshot: Snapshot, component: str) -> ResourceStatus:
    """The status of the component: that of its least advanced workload."""
    workloads = snapshot.workloads_of(component)
    if len(workloads) < 2:
        return compute(workloads[0] if workloads else None)
    seen = [(thing["metadata"]["name"], compute(thing)) for thing in workloads]
    name, last = max(seen, key=lambda one: _BY_PROGRESS.index(one[1].status))
    return ResourceStatus(last.status, f"{name}: {last.message}" if last.message else "")


_BY_PROGRESS = (
    Status.CURRENT,
    Status.IN_PROGRESS,
    Status.UNKNOWN,
    Status.TERMINATING,
    Status.NOT_FOUND,
    Status.FAILED,
)


def restarts(snapshot: Snapshot, component: str) -> int:
    """The number of restarts of its containers."""
    return sum(
        int(one.get("restartCount", 0)) for pod in snapshot.pods_of(component) for one in container_statuses(pod)
    )


def replicas(snapshot: Snapshot, component: str) -> str:
    """`ready/wanted`."""
    workloads = snapshot.workloads_of(component)
    ready = sum(status_of(thing).get("readyReplicas", 0) for thing in workloads)
    return f"{ready}/{sum(thing['spec'].get('replicas', 1) for thing in workloads)}"


def component_status(
    snapshot: Snapshot, component: str, endpoint: str, cause: Cause | None, zero: ScaledToZero | None = None
) -> ComponentStatus:
    """One line of `status`; `zero` says who scaled the component to zero."""
    seen = resource_status(snapshot, component)
    match seen.status:
        case Status.CURRENT | Status.IN_PROGRESS if zero:
            state, message = State.READY if zero.is_meant else State.NOT_READY, str(zero)
        case Status.CURRENT:
            state, message = State.READY, ""
        case Status.NOT_FOUND:
            state, message = State.STOPPED, "not found"
        case Status.TERMINATING:
            state, message = State.STOPPED, "terminating"
        case _:
            state = State.NOT_READY if cause or seen.status is Status.FAILED else State.STARTING
            message = first_line(cause.message) if cause else seen.message
    shown = replicas(snapshot, component)
    return ComponentStatus(component, state, endpoint, restarts(snapshot, component), message=message, replicas=shown)


def first_line(text: str) -> str:
    """The text up to its first line break."""
    return text.strip().splitlines()[0] if text.strip() else ""
