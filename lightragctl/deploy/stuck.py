"""Frees a StatefulSet whose pod is stuck on a revision that is not wanted any more.

Its controller waits for the pod to become ready before it replaces it, which such a pod never does (kubernetes#67250).
"""

from collections.abc import Collection, Sequence
from functools import partial

from lightragctl.core.objects import KubernetesObject, ObjectRef, ref
from lightragctl.core.result import Event
from lightragctl.deploy.apply import Scope
from lightragctl.deploy.volumes import claim_names
from lightragctl.deploy.wait import Patience, wait_until
from lightragctl.kube.labels import POD_REVISION
from lightragctl.kube.objects import is_current, is_ready, is_terminating, labels_of, owners_of, spec_of, status_of


def stuck_pods(workload: KubernetesObject, pods: Sequence[KubernetesObject]) -> list[KubernetesObject]:
    """Pods of the StatefulSet that are not ready and of a revision that it does not want. Pure.

    Which revision a pod is of stands in its label: the ordinal does not tell (kubernetes#119684). Under a partition
    pods of the present revision are wanted too.
    """
    status = status_of(workload)
    wanted = {status.get("updateRevision")}
    rolling = (workload["spec"].get("updateStrategy") or {}).get("rollingUpdate") or {}
    if rolling.get("partition"):
        wanted.add(status.get("currentRevision"))
    uid = workload["metadata"].get("uid")
    return [
        pod
        for pod in pods
        if any(owner.get("uid") == uid for owner in owners_of(pod))
        and labels_of(pod).get(POD_REVISION) not in wanted
        and not is_ready(pod)
        and not is_terminating(pod)
    ]


def free_stuck(scope: Scope, workloads: Sequence[ObjectRef], patience: Patience, spared: Collection[str] = ()) -> None:
    """Delete the stuck pods of the StatefulSets, once their controller has seen the newest change.

    Args:
        scope: of the release.
        workloads: the StatefulSets.
        patience: how long to wait for their controller.
        spared: names of volume claims; a pod that uses one is left alone, as its data would go with it.
    """
    for identity in workloads:
        wait_until(partial(_unseen, scope, identity), patience)
        there = scope.cluster.get(identity)
        if there is None or (there["spec"].get("updateStrategy") or {}).get("type") == "OnDelete":
            continue
        for pod in stuck_pods(there, scope.cluster.select("v1", "Pod", scope.namespace, scope.pods)):
            if claim_names(spec_of(pod)) & set(spared):
                continue
            if scope.cluster.delete(ref(pod), pod["metadata"]["uid"]):
                patience.notify(Event("deleted: it was stuck on a revision that is not wanted any more", str(ref(pod))))


def _unseen(scope: Scope, identity: ObjectRef) -> str:
    there = scope.cluster.get(identity)
    if there is None or is_current(there):
        return ""
    return f"{identity}: the change has not been seen by its controller yet"
