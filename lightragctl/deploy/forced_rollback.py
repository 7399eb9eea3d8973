"""Frees a StatefulSet whose pod is stuck on a revision that is not wanted any more.

Its controller waits for the pod to become ready before it replaces it, which such a pod never does (kubernetes#67250).
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
    """Delete the stuck pods of the StatefulSets, once their controller has seen the newest change.

    Args:
        scope: of the release.
        workloads: the StatefulSets.
        deadline: how long to wait for their controller.
        spared: names of volume claims; a pod that uses one is left alone, as its data would go with it.
    """
    for identity in workloads:
        wait_until(partial(_unseen, scope, identity), deadline)
        there = scope.cluster.get(identity)
        if there is None or (there["spec"].get("updateStrategy") or {}).get("type") == "OnDelete":
            continue
        for pod in stuck_pods(there, scope.cluster.select("v1", "Pod", scope.namespace, scope.pods)):
            if claim_names(spec_of(pod)) & set(spared):
                continue
            if scope.cluster.delete(ref(pod), pod["metadata"]["uid"]):
                deadline.notify(Event("deleted: it was stuck on a revision that is not wanted any more", str(ref(pod))))


def _unseen(scope: Scope, identity: ObjectRef) -> str:
    there = scope.cluster.get(identity)
    if there is None or is_current(there):
        return ""
    return f"{identity}: the change has not been seen by its controller yet"
