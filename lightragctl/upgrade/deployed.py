"""The canaries of an operation on the cluster: applies, watches and deletes them. I/O through the cluster."""

from collections.abc import Sequence
from dataclasses import replace

from lightragctl.core.errors import LightragctlError
from lightragctl.core.objects import KubernetesObject, ref
from lightragctl.deploy.conditional import apply_over, delete_seen
from lightragctl.kube.labels import OPERATION
from lightragctl.kube.objects import labels_of
from lightragctl.kube.scope import Scope
from lightragctl.observe.kstatus import Status, compute
from lightragctl.observe.snapshot import first_line, read_causes, read_snapshot
from lightragctl.upgrade.canary import canary_objects, canary_ref, own_objects

_KINDS = (("apps/v1", "Deployment"), ("v1", "ConfigMap"))


class CanaryError(LightragctlError):
    """A canary does not become ready."""

    code = "canary-not-ready"


def apply_canary(scope: Scope, objects: Sequence[KubernetesObject], wanted: tuple[str, int], operation_id: str) -> None:
    """Apply the canary of a component.

    Args:
        scope: of the release.
        objects: of the release, as the new version has them.
        wanted: the component and the number of pods.
        operation_id: that it belongs to.

    Raises:
        LightragctlError: a canary of another operation is there.
    """
    for thing in canary_objects(objects, *wanted, operation_id):
        there = scope.cluster.get(ref(thing))
        owner = labels_of(there or {}).get(OPERATION)
        if there is not None and owner != operation_id:
            message = f"{ref(thing)} exists and belongs to {f'operation {owner}' if owner else 'another tool'}"
            raise LightragctlError(message, "delete it, or rename the component's objects")
        apply_over(scope.cluster, thing, there)


def has_canary(scope: Scope, component: str, pods: int, ready: bool = False) -> bool:
    """Whether the canary of a component has as many pods; with `ready`, whether these are ready."""
    there = scope.cluster.get(canary_ref(scope.namespace, scope.release, component))
    if there is None or int(there["spec"].get("replicas", 1)) != pods:
        return False
    return not ready or compute(there).status is Status.CURRENT


def canary_obstacle(scope: Scope, component: str, since_s: float) -> str:
    """What the pods of a canary wait for; empty when they are ready.

    Args:
        scope: of the release.
        component: with a canary.
        since_s: seconds since the step began, within which causes may go away by themselves.

    Raises:
        CanaryError: they cannot become ready.
    """
    there = scope.cluster.get(canary_ref(scope.namespace, scope.release, component))
    return obstacle(scope, component, there, since_s) if there else "the canary is being created"


def obstacle(scope: Scope, component: str, workload: KubernetesObject, since_s: float) -> str:
    """What the pods of a workload wait for; empty when they are ready.

    Args:
        scope: of the release.
        component: as the labels of its pods have it.
        workload: as it is now.
        since_s: seconds since the step began, within which causes may go away by themselves.

    Raises:
        CanaryError: they cannot become ready.
    """
    status, name = compute(workload), workload["metadata"]["name"]
    if status.status is Status.CURRENT:
        return ""
    causes = read_causes(scope, replace(read_snapshot(scope), workloads={component: [workload]}), component)
    lasting = next((one for one in causes if since_s >= one.grace_s), None)
    if lasting is not None:
        raise CanaryError(f"{name} does not become ready: {lasting}", lasting.hint)
    return f"{name}: {first_line(causes[0].message) if causes else status.message}"


def delete_canaries(scope: Scope, operation_id: str) -> None:
    """Delete the canaries of an operation, the Deployments first; may be called any number of times."""
    selector = f"{OPERATION}={operation_id}"
    found = [one for kind in _KINDS for one in scope.cluster.select(*kind, scope.namespace, selector)]
    for thing in own_objects(found, operation_id):
        delete_seen(scope.cluster, thing)
