"""Which pods of a release on Kubernetes a command reaches: each ready one, by its name, and all of them in turn."""

import socket
from typing import Any, cast
from urllib.parse import urlsplit

import pytest

from lightragctl.core.errors import NotRunningError
from lightragctl.core.objects import KubernetesObject, ObjectRef
from lightragctl.deploy.runtime import KubernetesRuntime, pod_port
from tests.fakes.cluster import FakeCluster
from tests.fakes.release import NAMESPACE, lock_holder, up


@pytest.fixture
def cluster() -> FakeCluster:
    """One with a release whose pods the test makes."""
    made = FakeCluster()
    up(made)
    for identity in [one for one in made.objects if one.kind == "Pod"]:
        del made.objects[identity]
    return made


def pod(name: str, *, component: str = "lightrag-api", ready: bool = True, ending: bool = False) -> KubernetesObject:
    labels = {"name": component, "instance": "dev", "component": component}
    metadata: dict[str, Any] = {"name": name, "namespace": NAMESPACE}
    metadata["labels"] = {f"app.kubernetes.io/{key}": value for key, value in labels.items()}
    if ending:
        metadata["deletionTimestamp"] = "T"
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": {"containers": [{"ports": [{"containerPort": 8080}]}]},
        "status": {"conditions": [{"type": "Ready", "status": str(ready)}]},
    }


def runtime(cluster: FakeCluster, *pods: KubernetesObject) -> KubernetesRuntime:
    for one in pods:
        cluster.objects[ObjectRef("v1", "Pod", NAMESPACE, one["metadata"]["name"])] = dict(one)
    return KubernetesRuntime(cast(Any, cluster), NAMESPACE, "dev", lock_holder())


def test_every_ready_replica_has_an_address_of_its_own(cluster: FakeCluster) -> None:
    others = (pod("c", ready=False), pod("d", ending=True), pod("e", component="embedder"))
    seen = runtime(cluster, pod("a"), pod("b"), *others)
    found = seen.endpoints("lightrag-api")
    assert list(found) == ["a", "b"]
    assert len({*found.values(), seen.endpoint("lightrag-api"), seen.spread("lightrag-api")}) == 4
    assert seen.endpoints("lightrag-api") == found


def test_replicas_that_came_later_are_found(cluster: FakeCluster) -> None:
    first = runtime(cluster, pod("a"))
    before = first.endpoints("lightrag-api")
    cluster.objects[ObjectRef("v1", "Pod", NAMESPACE, "b")] = dict(pod("b"))
    after = first.endpoints("lightrag-api")
    assert (list(after), after["a"]) == (["a", "b"], before["a"])


def test_without_a_ready_replica_there_is_no_address(cluster: FakeCluster) -> None:
    seen = runtime(cluster, pod("a", ready=False))
    for address in (seen.endpoints, seen.spread, seen.endpoint):
        with pytest.raises(NotRunningError, match="lightrag-api has no ready pod"):
            address("lightrag-api")


def test_connections_take_the_pods_in_turn() -> None:
    pods = [pod("a"), pod("b")]
    assert [pod_port(pods, turn)[1] for turn in range(4)] == ["a", "b", "a", "b"]
    assert pod_port(pods) == (NAMESPACE, "a", 8080)


def test_a_closed_runtime_listens_no_more(cluster: FakeCluster) -> None:
    seen = runtime(cluster, pod("a"))
    address = urlsplit(seen.endpoint("lightrag-api"))
    seen.close()
    with pytest.raises(ConnectionRefusedError), socket.create_connection((address.hostname, address.port), timeout=5):
        pass
