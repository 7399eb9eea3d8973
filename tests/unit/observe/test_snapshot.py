"""What is seen of a component that has several workloads."""

import math
from typing import Any

from lightragctl.core.objects import KubernetesObject
from lightragctl.observe.kstatus import Progress
from lightragctl.observe.snapshot import View, component_status, progress, read_causes, read_view, replicas
from tests.fakes.cluster import FakeCluster
from tests.fakes.release import scope, target


def deployment(name: str, wanted: int, ready: int, reason: str = "NewReplicaSetAvailable") -> dict[str, Any]:
    counts = {"replicas": wanted, "updatedReplicas": wanted, "readyReplicas": ready, "availableReplicas": ready}
    conditions = [{"type": "Progressing", "status": "True", "reason": reason, "message": "too late"}]
    return {
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {"replicas": wanted},
        "status": {**counts, "conditions": conditions},
    }


def view(*workloads: KubernetesObject) -> View:
    return View({"engine": workloads}, [])


def test_a_component_is_as_far_as_the_workload_that_is_furthest_behind() -> None:
    good, slow = deployment("rel-engine-proxy", 2, 2), deployment("rel-engine-querynode", 3, 1)
    broken = deployment("rel-engine-datanode", 1, 0, "ProgressDeadlineExceeded")
    assert progress(view(good), "engine").progress is Progress.CURRENT
    assert progress(view(good, good), "engine").progress is Progress.CURRENT
    seen = progress(view(good, slow), "engine")
    assert (seen.progress, seen.message) == (Progress.IN_PROGRESS, "rel-engine-querynode: 1 of 3 pods ready")
    assert progress(view(slow, broken, good), "engine").progress is Progress.FAILED
    assert progress(view(), "engine").progress is Progress.NOT_FOUND


def test_its_pods_are_counted_together() -> None:
    seen = view(deployment("rel-engine-proxy", 2, 2), deployment("rel-engine-querynode", 3, 1))
    assert replicas(seen, "engine") == "3/5"
    assert replicas(seen, "nothing") == "0/0"
    status = component_status(seen, "engine", "", None)
    assert (status.replicas, status.message) == ("3/5", "rel-engine-querynode: 1 of 3 pods ready")


def test_a_pod_of_an_autoscaled_pool_waits_without_a_verdict() -> None:
    cluster = FakeCluster()
    labels = {"app.kubernetes.io/instance": "dev", "app.kubernetes.io/component": "embedder"}
    unplaced = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes."}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "lightrag", "labels": labels}}
    selector = {"nodeSelector": {"pool": "gpu"}}
    cluster.create({**pod, "spec": selector, "status": {"conditions": [unplaced]}})
    grown = target("pools={gpu: {node_selector: {pool: gpu}, autoscaled: true}, cpu: {node_selector: {pool: cpu}}}")
    assert grown.growing == [{"pool": "gpu"}]
    for growing, is_final in ((grown.growing, False), (target().growing, True)):
        (cause,) = read_causes(scope(cluster), read_view(scope(cluster), growing), "embedder")
        assert (cause.grace_s < math.inf) is is_final
