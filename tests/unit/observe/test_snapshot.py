"""What is seen of a component that has several workloads."""

import math
from typing import Any

from lightragctl.core.objects import KubernetesObject
from lightragctl.observe.kstatus import Status
from lightragctl.observe.snapshot import (
    Snapshot,
    component_status,
    read_causes,
    read_snapshot,
    replicas,
    resource_status,
)
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


def snapshot(*workloads: KubernetesObject) -> Snapshot:
    return Snapshot({"engine": workloads}, [])


def test_a_component_is_as_far_as_the_workload_that_is_furthest_behind() -> None:
    good, slow = deployment("rel-engine-proxy", 2, 2), deployment("rel-engine-querynode", 3, 1)
    broken = deployment("rel-engine-datanode", 1, 0, "ProgressDeadlineExceeded")
    assert resource_status(snapshot(good), "engine").status is Status.CURRENT
    assert resource_status(snapshot(good, good), "engine").status is Status.CURRENT
    seen = resource_status(snapshot(good, slow), "engine")
    assert (seen.status, seen.message) == (Status.IN_PROGRESS, "rel-engine-querynode: 1 of 3 pods ready")
    assert resource_status(snapshot(slow, broken, good), "engine").status is Status.FAILED
    assert resource_status(snapshot(), "engine").status is Status.NOT_FOUND


def test_its_pods_are_counted_together() -> None:
    seen = snapshot(deployment("rel-engine-proxy", 2, 2), deployment("rel-engine-querynode", 3, 1))
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
    assert grown.autoscaled_nodes == [{"pool": "gpu"}]
    for autoscaled_nodes, is_final in ((grown.autoscaled_nodes, False), (target().autoscaled_nodes, True)):
        (cause,) = read_causes(scope(cluster), read_snapshot(scope(cluster), autoscaled_nodes), "embedder")
        assert (cause.grace_s < math.inf) is is_final
