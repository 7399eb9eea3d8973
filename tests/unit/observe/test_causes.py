"""Why a component is not ready, from objects as Kubernetes 1.34 writes them."""

import math
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightragctl.observe.causes import Cause, Evidence, find_causes, informative_line

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


def unschedulable(**selector: str) -> dict[str, Any]:
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": NO_NODE}
    made = pod(status={"conditions": [condition], "containerStatuses": []})
    return {**made, "spec": {"nodeSelector": selector}}


def test_a_pod_of_a_pool_whose_nodes_come_by_themselves_is_waited_for() -> None:
    autoscaled_nodes = ({"pool": "gpu"},)
    (one,) = causes(unschedulable(pool="gpu"), autoscaled_nodes=autoscaled_nodes)
    assert one.message == "unschedulable until a node is added: 0/3 nodes are available: 3 Insufficient cpu."
    assert one.grace_s == math.inf
    (other,) = causes(unschedulable(pool="cpu"), autoscaled_nodes=autoscaled_nodes)
    assert other.grace_s < 60


@pytest.mark.parametrize("reason", ["TriggeredScaleUp", "Nominated"])
def test_a_pod_for_which_an_autoscaler_makes_a_node_is_waited_for(reason: str) -> None:
    said = event(reason, "pod triggered scale-up: [{gpu 0->1 (max: 4)}]")
    (one,) = causes(unschedulable(), events=[said])
    assert one.grace_s == math.inf
    (other,) = causes(unschedulable(), events=[{**said, "involvedObject": {"kind": "Pod", "name": "another"}}])
    assert other.grace_s < 60


def test_an_image_that_cannot_be_pulled_is_named() -> None:
    (one,) = causes(pod(waiting("ImagePullBackOff", "Back-off pulling image")), events=[event("Failed", PULL)])
    assert one.code == "image-pull"
    assert one.message.startswith("cannot pull image lightragctl:nope: failed to pull and unpack")
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
    assert one.message == "unschedulable: 0/3 nodes are available: 3 Insufficient cpu."


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


def test_a_failing_probe_is_told_with_what_the_container_said_last() -> None:
    probed = pod({"running": {}}, status={"phase": "Running"})
    lines = {POD: ["starting", "not ready: cannot reach http://model:1"]}
    (one,) = causes(probed, events=[event("Unhealthy", "Readiness probe failed")], last_lines=lines)
    said = "Readiness probe failed; last log line: not ready: cannot reach http://model:1"
    assert (one.code, one.message) == ("probe", said)


def test_a_claim_whose_provisioner_is_slow_is_told_and_never_ends_the_wait() -> None:
    claim = {"kind": "PersistentVolumeClaim", "metadata": {"name": "data"}, "spec": {"storageClassName": "local"}}
    text = "Waiting for a volume to be created either by the external provisioner 'x' or manually"
    (one,) = causes(claims=[claim], events=[event("ExternalProvisioning", text, "PersistentVolumeClaim", "data", "")])
    assert (one.code, one.message, one.grace_s) == ("volume-unbound", text, float("inf"))


def test_a_pod_without_a_network_says_what_the_network_plug_in_said() -> None:
    text = 'Failed to create pod sandbox: rpc error: code = Unknown desc = plugin type="bridge" failed: no addresses'
    made = pod(waiting("ContainerCreating"))
    (one,) = causes(made, events=[event("FailedCreatePodSandBox", text)])
    assert (one.code, one.message) == ("pod-network", 'plugin type="bridge" failed: no addresses')
    assert "node-1" in one.hint
    assert 0 < one.grace_s < 60


def test_a_claim_that_waits_for_its_first_pod_is_no_cause() -> None:
    claim = {"kind": "PersistentVolumeClaim", "metadata": {"name": "data"}, "spec": {"storageClassName": "local"}}
    waits = event("WaitForFirstConsumer", "waiting for first consumer", "PersistentVolumeClaim", "data")
    assert causes(claims=[claim], events=[waits]) == []


@pytest.mark.parametrize(
    "evidence",
    [
        (pod(waiting("CreateContainerConfigError", 'secret "keys" not found')), []),
        (pod(waiting("ContainerCreating")), [event("FailedMount", 'MountVolume failed: secret "keys" not found')]),
        (pod(waiting("ContainerCreating")), [event("FailedMount", "config_references non-existent secret key: keys")]),
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


# As a cluster of Kubernetes 1.34.4 with containerd said it


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (
            "0/3 nodes are available: 3 Insufficient memory. no new claims to deallocate, preemption: 0/3 nodes are "
            "available: 3 Preemption is not helpful for scheduling.",
            "unschedulable: 0/3 nodes are available: 3 Insufficient memory.",
        ),
        (
            "0/3 nodes are available: pod has unbound immediate PersistentVolumeClaims. not found",
            "unschedulable: 0/3 nodes are available: pod has unbound immediate PersistentVolumeClaims.",
        ),
        (
            '0/3 nodes are available: persistentvolumeclaim "gone" not found. not found',
            'unschedulable: 0/3 nodes are available: persistentvolumeclaim "gone" not found.',
        ),
    ],
)
def test_of_the_schedulers_sentence_the_reason_is_left(said: str, told: str) -> None:
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": said}
    (one,) = causes(pod(status={"conditions": [condition], "containerStatuses": []}))
    assert one.message == told
    assert one.code == ("unschedulable" if "Insufficient" in said else "volume-unbound")


def test_of_a_failed_pull_the_registrys_answer_is_left() -> None:
    image = '"registry.test/lightragctl:nope"'
    said = (
        f"Failed to pull image {image}: failed to pull and unpack image {image}: failed to resolve reference {image}: "
        "failed to do request: Head: dial tcp: i/o timeout"
    )
    (one,) = causes(pod(waiting("ImagePullBackOff", "Back-off")), events=[event("Failed", said)])
    assert one.message == "cannot pull image lightragctl:nope: failed to do request: Head: dial tcp: i/o timeout"


def test_an_image_that_is_never_pulled_must_be_on_the_node() -> None:
    (one,) = causes(pod(waiting("ErrImageNeverPull", "is not present with pull policy of Never")))
    assert "pull_policy" in one.hint


def test_a_program_that_is_not_in_the_image_is_named() -> None:
    last = ended(128, "StartError")
    last["terminated"]["message"] = 'runc create failed: exec: "nosuchprogram": executable file not found in $PATH'
    (one,) = causes(pod(waiting("CrashLoopBackOff"), last, restarts=3))
    assert 'exec: "nosuchprogram": executable file not found' in one.message


@pytest.mark.parametrize("probe", ["startup", "liveness"])
def test_a_container_that_its_probe_killed_is_told_from_a_crash(probe: str) -> None:
    last = ended(137)
    last["terminated"]["startedAt"] = "2026-11-25T09:02:24Z"
    events = [
        event("Killing", f"Container embedder failed {probe} probe, will be restarted", at="2026-11-25T09:02:27Z"),
        event("Unhealthy", f"{probe.title()} probe failed: connection refused", at="2026-11-25T09:02:26Z"),
    ]
    (one,) = causes(pod(waiting("CrashLoopBackOff"), last, restarts=3), events=events)
    assert (one.code, one.grace_s) == ("probe-kill", 0)
    assert one.message == (
        f"killed: its {probe} probe fails, 3 restarts: {probe.title()} probe failed: connection refused"
    )


def test_a_probe_that_killed_an_earlier_run_does_not_explain_a_later_crash() -> None:
    last = ended(1)
    last["terminated"]["startedAt"] = "2026-11-25T09:05:00Z"
    old = event("Killing", "Container embedder failed startup probe, will be restarted", at="2026-11-25T09:02:27Z")
    (one,) = causes(pod(waiting("CrashLoopBackOff"), last, restarts=3), events=[old])
    assert one.code == "crash"


def test_a_probe_that_failed_in_an_earlier_run_says_nothing_of_this_one() -> None:
    running = pod({"running": {"startedAt": "2026-11-25T09:05:00Z"}}, status={"phase": "Running"})
    assert causes(running, events=[event("Unhealthy", "Startup probe failed", at="2026-11-25T09:02:26Z")]) == []


def test_a_crash_before_a_run_that_goes_on_explains_and_does_not_end_the_wait() -> None:
    """A node that was restarted last week leaves a restart behind; so does one bad start."""
    (one,) = causes(pod({"running": {}}, ended(255, "Unknown"), restarts=1, status={"phase": "Running"}))
    assert (one.code, one.grace_s) == ("crash", float("inf"))


def test_an_image_that_refuses_our_user_is_not_a_missing_secret() -> None:
    (one,) = causes(pod(waiting("CreateContainerConfigError", "container has runAsNonRoot and image will run as root")))
    assert one.code == "container-config"


def test_a_mount_that_succeeded_later_is_no_cause() -> None:
    early = event("FailedMount", "failed to sync configmap cache: timed out waiting for the condition")
    (one,) = causes(pod(waiting("ImagePullBackOff", "Back-off")), events=[early])
    assert one.code == "image-pull"


def test_an_evicted_pod_is_replaced_and_does_not_end_the_wait() -> None:
    status = {"phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory."}
    (one,) = causes(pod(ended(137), status=status))
    assert (one.code, one.grace_s) == ("evicted", float("inf"))


def test_a_node_that_does_not_answer_is_named() -> None:
    status = {"phase": "Running", "conditions": [{"type": "Ready", "status": "False"}]}
    lost = pod({"running": {}}, status=status)
    lost["status"]["containerStatuses"][0]["ready"] = True
    (one,) = causes(lost, events=[event("NodeNotReady", "Node is not ready")])
    assert (one.code, one.message) == ("node-lost", "node node-1 is not ready")
    lost["status"]["conditions"][0]["status"] = "True"
    assert causes(lost, events=[event("NodeNotReady", "Node is not ready")]) == []


def maker(kind: str, name: str, wanted: int, there: int, revision: int = 1, **status: Any) -> dict[str, Any]:
    return {
        "kind": kind,
        "metadata": {"name": name, "uid": name, "annotations": {"deployment.kubernetes.io/revision": str(revision)}},
        "spec": {"replicas": wanted},
        "status": {"replicas": there, **status},
    }


def owned(by: str, thing: dict[str, Any]) -> dict[str, Any]:
    thing["metadata"]["ownerReferences"] = [{"kind": "ReplicaSet", "name": by}]
    return thing


QUOTA = (
    'pods "a" is forbidden: exceeded quota: q, requested: requests.cpu=1, used: requests.cpu=2, limited: requests.cpu=2'
)
REFUSED = {"conditions": [{"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": QUOTA}]}


def test_a_refusal_is_seen_while_the_pods_of_the_last_revision_still_run() -> None:
    sets = [maker("ReplicaSet", "old", 1, 1, 1), maker("ReplicaSet", "new", 1, 0, 2, **REFUSED)]
    ready = owned("old", pod({"running": {}}))
    ready["status"]["containerStatuses"][0]["ready"] = True
    (one,) = causes(ready, workload=maker("Deployment", "d", 1, 1, 2, **REFUSED), replica_sets=sets)
    assert (one.code, one.subject) == ("quota", "ReplicaSet/new")
    assert "requests.cpu" in one.hint


def test_what_a_replaced_revision_could_not_do_is_no_cause() -> None:
    sets = [maker("ReplicaSet", "old", 1, 1, 1), maker("ReplicaSet", "new", 1, 1, 2)]
    broken = owned("old", pod(waiting("ImagePullBackOff", "Back-off")))
    past = event("FailedCreate", QUOTA, "ReplicaSet", "old", "old")
    assert causes(broken, workload=maker("Deployment", "d", 1, 1, 2), replica_sets=sets, events=[past]) == []


def test_nothing_is_said_until_the_controller_has_seen_the_change() -> None:
    workload = maker("Deployment", "d", 1, 1, observedGeneration=1)
    workload["metadata"]["generation"] = 2
    assert causes(pod(waiting("ImagePullBackOff", "Back-off")), workload=workload) == []


def test_a_stateful_set_waits_for_its_broken_pod_of_the_last_revision() -> None:
    workload = maker("StatefulSet", "s", 1, 1, updateRevision="s-2", currentRevision="s-1")
    broken = pod(waiting("ImagePullBackOff", "Back-off"), labels={"controller-revision-hash": "s-1"})
    (one,) = causes(broken, workload=workload)
    assert (one.code, one.hint) == ("old-revision", f"kubectl -n lightrag delete pod {POD}")


def test_a_service_account_that_is_not_there_is_a_missing_thing_and_told_once() -> None:
    text = 'pods "a-" is forbidden: error looking up service account n/x: serviceaccount "x" not found'
    failed = {"conditions": [{"type": "ReplicaFailure", "status": "True", "message": text}]}
    workload = maker("Deployment", "d", 1, 0, **failed)
    (one,) = causes(workload=workload, replica_sets=[maker("ReplicaSet", "rs", 1, 0, **failed)])
    assert one.code == "config-missing"


REAL = pod(
    waiting("CrashLoopBackOff", "back-off 40s"),
    ended(137),
    restarts=3,
    status={"phase": "Running", "conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}]},
    labels={"controller-revision-hash": "s-1"},
    ownerReferences=[{"kind": "ReplicaSet", "name": "rs"}],
)
EVENTS = [event(reason, f"{reason} said") for reason in ("Unhealthy", "Killing", "FailedMount", "NodeNotReady")]


def without(value: Any, drop: set[int], seen: list[int]) -> Any:
    """The value with some of its parts gone: emptied as the API server leaves out what is not set, or null."""
    if not isinstance(value, dict | list):
        return value
    seen[0] += 1
    if seen[0] in drop:
        return None if seen[0] % 2 else type(value)()
    if isinstance(value, list):
        return [part for one in value if (part := without(one, drop, seen)) is not None]
    return {key: without(inner, drop, seen) for key, inner in value.items()}


@given(drop=st.sets(st.integers(1, 40), max_size=6), order=st.permutations(EVENTS))
def test_parts_that_are_gone_break_nothing_and_the_order_of_events_changes_nothing(drop: set[int], order: Any) -> None:
    sets = [maker("ReplicaSet", "rs", 1, 0, 2, **REFUSED), maker("ReplicaSet", "old", 0, 0, 1)]
    parts = [without(one, drop, [0]) or {} for one in (REAL, *sets, maker("StatefulSet", "s", 1, 0))]

    def judged(events: Any) -> list[Cause]:
        seen = [without(one, drop, [0]) or {} for one in events]
        return find_causes(Evidence("a", "n", parts[3], parts[1:3], [parts[0]], [{}], seen))

    assert judged(order) == judged(EVENTS)


STATEFUL_SET: dict[str, Any] = {"kind": "StatefulSet", "metadata": {"name": "s"}, "spec": {"replicas": 1}}


def test_a_pod_that_must_end_first_is_told_with_its_deadline() -> None:
    ending = pod(deletionTimestamp="12:00", deletionGracePeriodSeconds=120)
    (one,) = causes(ending, workload=STATEFUL_SET)
    assert (one.code, one.grace_s) == ("stopping", math.inf)
    assert one.message == "terminating; killed at 12:00 at the latest (grace period 120 s), then replaced"
    assert causes(ending, workload={**STATEFUL_SET, "kind": "Deployment"}) == []


def test_a_pod_on_a_dead_node_never_ends_by_itself() -> None:
    dead = pod(deletionTimestamp="12:00", status={"phase": "Unknown"})
    (one,) = causes(dead, workload=STATEFUL_SET)
    assert one.message == "terminating until node node-1 is ready again or deleted"


@pytest.mark.parametrize(
    ("scheduler", "said", "hint"),
    [
        ("1 node(s) were unschedulable", "which is unschedulable (cordoned or drained)", "kubectl uncordon node-2"),
        ("1 Insufficient memory", "which has insufficient resources", "kubectl describe node node-2"),
        ("1 node(s) had untolerated taint", "which is gone or does not accept the pod", "kubectl get nodes"),
    ],
)
def test_a_volume_s_node_that_takes_no_pod_is_named(scheduler: str, said: str, hint: str) -> None:
    text = f"0/3 nodes are available: {scheduler}, 2 node(s) didn't match PersistentVolume's node affinity."
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": text}
    claim = {
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "data", "annotations": {"volume.kubernetes.io/selected-node": "node-2"}},
        "status": {"phase": "Bound"},
    }
    (one,) = causes(pod(status={"conditions": [condition], "containerStatuses": []}), claims=[claim])
    assert one.code == "volume-node"
    assert one.message.startswith(f"its volume is on node node-2, {said}: 0/3 nodes")
    assert hint in one.hint


def test_a_pull_that_goes_on_is_told_and_a_passing_mount_failure_is_not() -> None:
    creating = pod(waiting("ContainerCreating"))
    (one,) = causes(creating, events=[event("Pulling", 'Pulling image "milvus"')])
    assert (one.code, one.message) == ("pulling", 'Pulling image "milvus"')
    passing = 'MountVolume.SetUp failed for volume "s" : failed to sync configmap cache: timed out'
    assert causes(creating, events=[event("FailedMount", passing)]) == []


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (["Traceback (most recent call last):", '  File "a.py", line 1', "ValueError: none"], "ValueError: none"),
        (["panic: no space", "goroutine 1 [running]:", "main.main()", "\t/src/main.go:7 +0x1d"], "panic: no space"),
        (["java.io.IOException: denied", "\tat a.b.C(D.java:1)", "\t... 3 more"], "java.io.IOException: denied"),
        (["INFO could not use the fallback: error", "WARNING not ready: refused"], "WARNING not ready: refused"),
        (["10:00 INFO started", "10:01 INFO listens"], "10:01 INFO listens"),
        ([], ""),
    ],
)  # fmt: skip
def test_the_line_that_tells_most_is_chosen(lines: list[str], told: str) -> None:
    assert informative_line(lines) == told


def test_a_crash_s_first_line_says_why() -> None:
    crashed = pod(waiting("CrashLoopBackOff"), ended(1), restarts=2)
    (one,) = causes(crashed, last_lines={POD: ["Traceback (most recent call last):", "  File", "OSError: no disk"]})
    first, *rest = one.message.splitlines()
    assert first == "crashed: Error, exit code 1, 2 restarts; OSError: no disk"
    assert rest[0] == "    last log lines:"
