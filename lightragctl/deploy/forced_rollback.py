"""Deletes pods of a StatefulSet that are stuck on an outdated revision (kubernetes#67250).

The controller waits until such a pod is ready before it replaces it; a broken one never becomes ready. Kubernetes calls
the manual deletion a forced rollback.
"""

from collections.abc import Collection, Sequence
from functools import partial

from lightragctl.core.objects import ObjectRef, ref
from lightragctl.core.result import Event
from lightragctl.kube.objects import is_current, spec_of
from lightragctl.kube.scope import Scope
from lightragctl.observe.stuck_pods import stuck_pods
from lightragctl.observe.volumes import claim_names
from lightragctl.observe.wait import Deadline, wait_until


def delete_stuck_pods(
    scope: Scope, workloads: Sequence[ObjectRef], deadline: Deadline, spared: Collection[str] = ()
) -> None:
    """Delete the stuck pods of the StatefulSets after their controller has observed the last change.

    Args:
        scope: of the release.
        workloads: the StatefulSets.
        deadline: for the controller.
        spared: names of volume claims; pods that use one are kept, as its data would be lost.
    """
    for identity in workloads:
        wait_until(partial(_unobserved, scope, identity), deadline)
        there = scope.cluster.get(identity)
        if there is None or (there["spec"].get("updateStrategy") or {}).get("type") == "OnDelete":
            continue
        for pod in stuck_pods(there, scope.cluster.select("v1", "Pod", scope.namespace, scope.pods)):
            if claim_names(spec_of(pod)) & set(spared):
                continue
            if scope.cluster.delete(ref(pod), pod["metadata"]["uid"]):
                deadline.notify(Event("deleted: stuck on an outdated revision", str(ref(pod))))


def _unobserved(scope: Scope, identity: ObjectRef) -> str:
    there = scope.cluster.get(identity)
    if there is None or is_current(there):
        return ""
    return f"{identity}: not observed by its controller yet"
