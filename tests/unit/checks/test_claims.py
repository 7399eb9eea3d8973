"""Which volume claims are a release's; those of another tool's release of the same name never are."""

from typing import Any

import pytest

from lightragctl.checks.claims import is_own
from lightragctl.core.objects import ObjectRef, ref
from lightragctl.core.result import Event
from lightragctl.core.runtime import UpOptions
from lightragctl.deploy.down import tear_down
from tests.fakes.cluster import FakeCluster
from tests.fakes.release import ignore, scope, up

INSTANCE, COMPONENT = "app.kubernetes.io/instance", "app.kubernetes.io/component"
HELM = {INSTANCE: "dev", "app.kubernetes.io/name": "milvus"}


def claim(name: str, labels: dict[str, str], kind: str = "PersistentVolumeClaim") -> dict[str, Any]:
    metadata = {"name": name, "namespace": "lightrag", "labels": labels}
    return {"apiVersion": "v1", "kind": kind, "metadata": metadata, "spec": {}}


def ours(component: str) -> dict[str, str]:
    return {INSTANCE: "dev", COMPONENT: component}


@pytest.mark.parametrize(
    ("name", "labels", "is_ours"),
    [
        ("data-dev-vector-engine-0", ours("vector-engine"), True),
        ("data-dev-vector-engine-querynode-12", ours("vector-engine"), True),
        ("dev-model-server-models", {**ours("model-server"), "app.kubernetes.io/managed-by": "lightragctl"}, True),
        ("data-dev-etcd-0", ours("etcd"), False),
        ("export-dev-minio-0", HELM, False),
        ("data-dev-milvus-0", ours("vector-engine"), False),
        ("data-dev-vector-engine-0", {**ours("vector-engine"), "app.kubernetes.io/managed-by": "Helm"}, False),
    ],
)
def test_a_claim_is_ours_by_its_component_and_its_name(name: str, labels: dict[str, str], is_ours: bool) -> None:
    assert is_own(claim(name, labels), "dev", {"vector-engine", "model-server"}) is is_ours


def test_a_purge_beside_another_tools_release_of_the_same_name_leaves_its_volumes_and_pods() -> None:
    cluster = FakeCluster()
    up(cluster)
    own = claim("data-dev-vector-engine-0", ours("vector-engine"))
    theirs = [
        claim("export-dev-minio-0", HELM),
        claim("data-dev-etcd-0", ours("etcd")),
        claim("dev-minio-0", HELM, kind="Pod"),
    ]
    for thing in (own, *theirs):
        cluster.apply(thing, manager="kube-controller-manager")
    told: list[Event] = []
    assert tear_down(scope(cluster), True, 5.0, told.append)
    namespace = ObjectRef("v1", "Namespace", "", "lightrag")
    assert set(cluster.objects) == {namespace, *map(ref, theirs)}
    left = [one.subject for one in told if "not created by this release" in one.message]
    assert left == ["PersistentVolumeClaim/data-dev-etcd-0", "PersistentVolumeClaim/export-dev-minio-0"]


def test_a_volume_of_an_earlier_revision_is_still_ours() -> None:
    cluster = FakeCluster()
    up(cluster)
    made = claim("data-dev-mock-llm-0", ours("mock-llm"))
    cluster.apply(made, manager="kube-controller-manager")
    up(cluster, "components.mock-llm.enabled=false", "models.chat.url=http://llm")
    tear_down(scope(cluster), True, 5.0, ignore)
    assert cluster.objects == {}


def test_pruning_leaves_another_tools_volumes() -> None:
    cluster = FakeCluster()
    up(cluster)
    theirs = claim("data-dev-minio-0", ours("minio"))
    cluster.apply(theirs, manager="kube-controller-manager")
    up(cluster, options=UpOptions(5.0, prune_data=True))
    assert ref(theirs) in cluster.objects
