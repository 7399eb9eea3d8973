"""How far an object is, kind by kind."""

from typing import Any

import pytest

from lightragctl.observe.kstatus import Status, compute


def thing(kind: str, spec: dict[str, Any] | None = None, status: dict[str, Any] | None = None, **metadata: Any) -> Any:
    return {"kind": kind, "metadata": {"name": "a", **metadata}, "spec": spec or {}, "status": status or {}}


def counts(number: int, **more: Any) -> dict[str, Any]:
    names = ("replicas", "readyReplicas", "updatedReplicas", "availableReplicas")
    return {**dict.fromkeys(names, number), "currentRevision": "1", "updateRevision": "1", **more}


def conditions(**values: str) -> dict[str, Any]:
    return {
        "conditions": [{"type": name, "status": value, "message": f"{name} said"} for name, value in values.items()]
    }


LATE = {
    "conditions": [{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": "late"}]
}
CASES = [
    (thing("Deployment", {"replicas": 2}, counts(2)), Status.CURRENT, ""),
    (thing("Deployment", {"replicas": 2}, {}), Status.IN_PROGRESS, "0 of 2 pods updated"),
    (thing("Deployment", {"replicas": 2}, counts(2, readyReplicas=1)), Status.IN_PROGRESS, "1 of 2 pods ready"),
    (thing("Deployment", {"replicas": 2}, counts(2, replicas=3)), Status.IN_PROGRESS, "1 old pods are terminating"),
    (thing("Deployment", {"replicas": 0}, {}), Status.CURRENT, ""),
    (thing("Deployment", {"replicas": 1}, counts(3)), Status.IN_PROGRESS, "2 old pods are terminating"),
    (thing("StatefulSet", {"replicas": 1}, counts(3)), Status.IN_PROGRESS, "2 old pods are terminating"),
    (thing("Deployment", {}, LATE), Status.FAILED, "late"),
    (thing("StatefulSet", {"replicas": 1}, counts(1)), Status.CURRENT, ""),
    (thing("StatefulSet", {"replicas": 1}, {}), Status.IN_PROGRESS, "0 of 1 pods created"),
    (
        thing("StatefulSet", {}, counts(1, updateRevision="2", updatedReplicas=0)),
        Status.IN_PROGRESS,
        "0 of 1 pods updated",
    ),
    (
        thing(
            "StatefulSet",
            {"replicas": 3, "updateStrategy": {"rollingUpdate": {"partition": 2}}},
            counts(3, updateRevision="2", updatedReplicas=1),
        ),
        Status.CURRENT,
        "",
    ),
    (thing("StatefulSet", {"updateStrategy": {"type": "OnDelete"}}, {}), Status.CURRENT, ""),
    (thing("DaemonSet", {}, {}), Status.IN_PROGRESS, "no status yet"),
    (thing("DaemonSet", {}, {"desiredNumberScheduled": 0}), Status.CURRENT, ""),
    (thing("Pod", {}, conditions(Ready="True")), Status.CURRENT, ""),
    (thing("Pod", {}, conditions(Ready="False")), Status.IN_PROGRESS, "Ready said"),
    (thing("Pod", {}, {"phase": "Failed", "reason": "Evicted"}), Status.FAILED, "Evicted"),
    (thing("Job", {}, {"active": 1}), Status.IN_PROGRESS, "0 of 1 completed"),
    (thing("Job", {}, conditions(Complete="True")), Status.CURRENT, ""),
    (thing("Job", {}, conditions(Failed="True")), Status.FAILED, "Failed said"),
    (thing("PersistentVolumeClaim", {}, {"phase": "Pending"}), Status.IN_PROGRESS, "no volume bound yet"),
    (thing("PersistentVolumeClaim", {}, {"phase": "Lost"}), Status.FAILED, "its volume is lost"),
    (thing("Service", {"type": "ClusterIP"}), Status.CURRENT, ""),
    (thing("Service", {"type": "LoadBalancer"}), Status.IN_PROGRESS, "the load balancer has no address yet"),
    (thing("ResourceQuota", {}, {}), Status.IN_PROGRESS, "no status yet"),
    (thing("CustomResourceDefinition", {}, conditions(Established="True")), Status.CURRENT, ""),
    (thing("CustomResourceDefinition", {}, conditions(NamesAccepted="False")), Status.FAILED, "NamesAccepted said"),
    (thing("Gadget"), Status.CURRENT, ""),
    (thing("Gadget", {}, conditions(Ready="False")), Status.IN_PROGRESS, "Ready said"),
    (thing("Gadget", {}, conditions(Stalled="True")), Status.FAILED, "Stalled said"),
]


@pytest.mark.parametrize(
    ("one", "progress", "message"), CASES, ids=[f"{case[0]['kind']}: {case[2] or 'current'}" for case in CASES]
)
def test_an_object_is_as_far_as_its_status_says(one: Any, progress: Status, message: str) -> None:
    seen = compute(one)
    assert (seen.status, seen.message) == (progress, message)


def test_what_is_not_there_is_not_found() -> None:
    assert compute(None).status is Status.NOT_FOUND


def test_what_is_being_deleted_is_terminating_whatever_else_it_says() -> None:
    assert compute(thing("Deployment", {}, counts(1), deletionTimestamp="now")).status is Status.TERMINATING


def test_an_old_status_says_nothing_of_a_new_spec() -> None:
    seen = compute(thing("Deployment", {}, counts(1, observedGeneration=1), generation=2))
    assert seen.status is Status.IN_PROGRESS


def test_a_ready_old_pod_is_not_taken_for_one_that_ends() -> None:
    counts = {"replicas": 2, "updatedReplicas": 1, "readyReplicas": 1, "unavailableReplicas": 1}
    seen = compute(thing("Deployment", {"replicas": 1}, counts))
    assert seen.message == "1 of 2 pods ready, 1 of them old, kept until new ones are ready"
