"""Why a component is not ready, from objects as Kubernetes 1.34 writes them."""

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightragctl.deploy.causes import Cause, Evidence, find_causes

POD = "dev-embedder-5b9c-xk2lp"


def pod(state: dict[str, Any] | None = None, last: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    container = {
        "name": "embedder",
        "image": "lightragctl:nope",
        "ready": False,
        "restartCount": more.pop("restarts", 0),
        "state": state or {},
        "lastState": last or {},
    }
    status = {"phase": "Pending", "containerStatuses": [container], **more.pop("status", {})}
    return {
        "kind": "Pod",
        "metadata": {"name": POD, "uid": "u1", **more},
        "spec": {"nodeName": "node-1"},
        "status": status,
    }


def event(
    reason: str, message: str, kind: str = "Pod", name: str = POD, uid: str = "u1", at: str = "1"
) -> dict[str, Any]:
    involved = {"kind": kind, "name": name, "uid": uid}
    return {"reason": reason, "message": message, "involvedObject": involved, "lastTimestamp": at}


def waiting(reason: str, message: str = "") -> dict[str, Any]:
    return {"waiting": {"reason": reason, "message": message}}


def ended(code: int, reason: str = "Error") -> dict[str, Any]:
    return {"terminated": {"exitCode": code, "reason": reason}}


def causes(*pods: dict[str, Any], **more: Any) -> list[Cause]:
    return find_causes(Evidence("embedder", "lightrag", more.pop("workload", None), pods=pods, **more))


PULL = (
    'Failed to pull image "lightragctl:nope": rpc error: code = NotFound desc = failed to pull and unpack image: '
    "lightragctl:nope: not found"
)
NO_NODE = (
    "0/3 nodes are available: 3 Insufficient cpu. preemption: 0/3 nodes are available: 3 No preemption victims found "
    "for incoming pod."
)


def test_an_image_that_cannot_be_pulled_is_named() -> None:
    (one,) = causes(pod(waiting("ImagePullBackOff", "Back-off pulling image")), events=[event("Failed", PULL)])
    assert one.code == "image-pull"
    assert one.message.startswith("image lightragctl:nope cannot be pulled: failed to pull and unpack")
    assert 0 < one.grace_s < 60


@pytest.mark.parametrize("reason", ["InvalidImageName", "ErrImageNeverPull"])
def test_an_image_that_never_will_be_there_ends_the_wait_at_once(reason: str) -> None:
    (one,) = causes(pod(waiting(reason, "couldn't parse image name")))
    assert one.grace_s == 0


def test_a_quota_that_is_full_is_quoted() -> None:
    text = 'pods "a" is forbidden: exceeded quota: q, requested: requests.cpu=1, used: requests.cpu=2, limited: 2'
    maker = {"kind": "ReplicaSet", "metadata": {"name": "rs", "uid": "r"}, "spec": {"replicas": 1}}
    (one,) = causes(replica_sets=[maker], events=[event("FailedCreate", text, "ReplicaSet", "rs", "r")])
    assert (one.code, one.subject) == ("quota", "ReplicaSet/rs")
    assert "exceeded quota: q, requested: requests.cpu=1" in one.message


def test_a_refusal_of_the_past_is_no_cause_when_the_pods_are_there() -> None:
    maker = {"kind": "ReplicaSet", "metadata": {"name": "rs", "uid": "r"}, "spec": {"replicas": 1}}
    old = event("FailedCreate", "exceeded quota: q", "ReplicaSet", "rs", "r")
    assert causes(pod({"running": {}}), replica_sets=[maker], events=[old]) == []


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ('pods "a" is forbidden: maximum cpu usage per Container is 200m, but limit is 2', "limit-range"),
        ('pods "a" is forbidden: failed quota: q: must specify limits.cpu for: embedder', "limit-range"),
        ('pods "a" is forbidden: violates PodSecurity "restricted:latest": runAsNonRoot != true', "admission"),
    ],
)
def test_other_refusals_are_told_apart(text: str, code: str) -> None:
    maker = {"kind": "StatefulSet", "metadata": {"name": "s", "uid": "s"}, "spec": {"replicas": 1}}
    (one,) = causes(workload=maker, events=[event("FailedCreate", text, "StatefulSet", "s", "s")])
    assert one.code == code
    assert "is forbidden" not in one.message


def test_a_pod_that_no_node_can_take_says_what_is_short() -> None:
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": NO_NODE}
    (one,) = causes(pod(status={"conditions": [condition], "containerStatuses": []}))
    assert one.code == "unschedulable"
    assert one.message == "no node can take it: 0/3 nodes are available: 3 Insufficient cpu."


def test_a_crash_shows_its_last_lines() -> None:
    crashed = pod(waiting("CrashLoopBackOff", "back-off 10s"), ended(1), restarts=2)
    (one,) = causes(crashed, last_lines={POD: ["error: dimension 100, the model has 384"]})
    assert (one.code, one.grace_s) == ("crash", 0)
    assert "exit code 1, 2 restarts" in one.message
    assert "the model has 384" in one.message
    assert one.hint.endswith("lightragctl logs embedder")


def test_a_first_crash_is_given_another_try() -> None:
    (one,) = causes(pod(ended(1)))
    assert one.grace_s > 0


def test_too_little_memory_is_told_from_other_crashes() -> None:
    (one,) = causes(pod(waiting("CrashLoopBackOff"), ended(137, "OOMKilled"), restarts=1))
    assert one.code == "out-of-memory"
    assert one.hint == "raise components.embedder.resources.limits.memory"


def test_a_failing_probe_explains_and_never_ends_the_wait() -> None:
    text = "Readiness probe failed: HTTP probe failed with statuscode: 503"
    (one,) = causes(pod({"running": {}}, status={"phase": "Running"}), events=[event("Unhealthy", text)])
    assert (one.code, one.message, one.grace_s) == ("probe", text, float("inf"))


def test_a_claim_of_an_unknown_class_is_named() -> None:
    claim = {
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "data", "uid": "c"},
        "spec": {"storageClassName": "x"},
    }
    text = 'storageclass.storage.k8s.io "x" not found'
    (one,) = causes(claims=[claim], events=[event("ProvisioningFailed", text, "PersistentVolumeClaim", "data", "c")])
    assert (one.code, one.message) == ("volume-unbound", text)


def test_a_claim_that_waits_for_its_first_pod_is_no_cause() -> None:
    claim = {"kind": "PersistentVolumeClaim", "metadata": {"name": "data"}, "spec": {"storageClassName": "local"}}
    waits = event("WaitForFirstConsumer", "waiting for first consumer", "PersistentVolumeClaim", "data")
    assert causes(claims=[claim], events=[waits]) == []


@pytest.mark.parametrize(
    "evidence",
    [
        (pod(waiting("CreateContainerConfigError", 'secret "keys" not found')), []),
        (pod(waiting("ContainerCreating")), [event("FailedMount", 'MountVolume failed: secret "keys" not found')]),
        (pod(waiting("ContainerCreating")), [event("FailedMount", "references non-existent secret key: keys")]),
    ],
)
def test_a_missing_secret_is_named(evidence: tuple[dict[str, Any], list[dict[str, Any]]]) -> None:
    (one,) = causes(evidence[0], events=evidence[1])
    assert one.code == "config-missing"
    assert "keys" in one.message


def test_events_of_an_earlier_pod_of_the_same_name_say_nothing() -> None:
    old = event("Unhealthy", "Readiness probe failed", uid="earlier")
    assert causes(pod({"running": {}}), events=[old]) == []


def test_a_pod_that_is_ending_is_no_cause() -> None:
    assert causes(pod(waiting("ImagePullBackOff"), deletionTimestamp="now")) == []


def test_the_order_of_events_does_not_matter() -> None:
    events = [event("Unhealthy", f"probe {at}", at=str(at)) for at in range(5)]
    shuffled = random.Random(1).sample(events, 5)
    running = pod({"running": {}})
    assert causes(running, events=events) == causes(running, events=shuffled)
    assert causes(running, events=events)[0].message == "probe 4"


ODD = st.recursive(
    st.none() | st.booleans() | st.text(max_size=5),
    lambda inner: st.dictionaries(st.sampled_from(["waiting", "running", "terminated", "reason", "message"]), inner),
    max_leaves=5,
)


@given(
    state=st.none()
    | st.fixed_dictionaries({}, optional={"waiting": st.none(), "running": st.none(), "terminated": st.none()}),
    text=ODD,
)
def test_missing_parts_of_objects_break_nothing(state: Any, text: Any) -> None:
    bare = {
        "kind": "Pod",
        "metadata": {"name": POD},
        "status": {"containerStatuses": [{"state": state}], "conditions": None},
    }
    find_causes(Evidence("a", "n", None, pods=[bare, {"kind": "Pod"}], events=[{"message": text}], claims=[{}]))
