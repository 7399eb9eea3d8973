"""Finds pods of a StatefulSet that are stuck on an outdated revision. Pure.

The controller waits until such a pod is ready before it replaces it; a broken one never becomes ready
(kubernetes#67250).
"""

from collections.abc import Sequence

from lightragctl.core.objects import KubernetesObject
from lightragctl.kube.labels import POD_REVISION
from lightragctl.kube.objects import is_ready, is_terminating, labels_of, owners_of, status_of


def stuck_pods(workload: KubernetesObject, pods: Sequence[KubernetesObject]) -> list[KubernetesObject]:
    """The pods of the StatefulSet that are not ready and of an outdated revision.

    The revision of a pod is in its label; it does not follow from the ordinal (kubernetes#119684). With a partition,
    pods of the current revision are wanted too.
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
