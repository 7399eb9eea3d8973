"""Bringing up what is for users: cluster-wide objects, autoscalers, and what is refused before anything is written."""

from pathlib import Path

import pytest

from lightragctl.core.component import Plan
from lightragctl.core.errors import RefusedError
from lightragctl.core.objects import ref
from lightragctl.deploy.down import tear_down
from lightragctl.deploy.rollback import rollback_target
from lightragctl.deploy.rollout import roll_out
from lightragctl.deploy.up import bring_up, preview, wanted
from lightragctl.kube.model import ForbiddenError
from lightragctl.kube.scope import Scope
from lightragctl.release.profiles import load_profile, make_plan
from tests.fakes.cluster import FakeCluster
from tests.fakes.release import DEPLOYMENT, OPTIONS, agree, ignore, plan, scope, up

SITE = Path(__file__).resolve().parents[2] / "contract" / "site.yaml"
STORE = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "lightrag-object-store", "namespace": "lightrag"}}


def prod(cluster: FakeCluster) -> tuple[Plan, Scope]:
    """The profile prod, and a cluster where its user has made what it names."""
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "lightrag"}}, manager="kubectl")
    cluster.apply(STORE, manager="kubectl")
    return make_plan("prod", load_profile("prod", [SITE])), scope(cluster, "prod")


def test_prod_comes_up_by_stages_and_a_purge_takes_its_cluster_wide_objects_too() -> None:
    cluster = FakeCluster()
    planned, place = prod(cluster)
    before = set(cluster.objects)
    bring_up(place, planned, OPTIONS, agree, ignore)
    assert any(one.kind == "PriorityClass" for one in cluster.objects)
    written = [write.split()[1] for write in cluster.writes]
    assert written.index("StatefulSet/prod-etcd") < written.index("Deployment/prod-vector-engine-proxy")
    assert written.index("NetworkPolicy/prod-default-deny") < written.index("StatefulSet/prod-etcd")
    assert bring_up(place, planned, OPTIONS, agree, ignore) == ()
    assert preview(place, wanted(planned), OPTIONS).drift == ()
    assert tear_down(place, True, 5.0, ignore)
    assert set(cluster.objects) == before


def test_what_is_unsafe_on_the_cluster_stops_up_before_anything_is_written() -> None:
    cluster = FakeCluster()
    planned, place = prod(cluster)
    del cluster.objects[ref(STORE)]
    before = list(cluster.writes)
    with pytest.raises(RefusedError, match="Secret/lightrag-object-store") as caught:
        bring_up(place, planned, OPTIONS, agree, ignore)
    assert "kubectl create secret generic lightrag-object-store -n lightrag" in caught.value.message
    assert cluster.writes == before


def test_what_may_be_unsafe_is_told_with_the_changes() -> None:
    cluster = FakeCluster()
    planned, place = prod(cluster)
    seen = preview(place, wanted(planned), OPTIONS)
    assert any("does not serve external metrics" in one for one in seen.warnings)


def test_the_right_to_make_cluster_wide_objects_is_asked_for_beside_those_in_the_namespace() -> None:
    cluster = FakeCluster()
    planned, place = prod(cluster)
    cluster.denied = {"create priorityclasses.scheduling.k8s.io"}
    with pytest.raises(ForbiddenError, match=r"create priorityclasses\.scheduling\.k8s\.io"):
        bring_up(place, planned, OPTIONS, agree, ignore)


def test_pods_that_are_left_to_an_autoscaler_stay_as_many_as_they_are() -> None:
    cluster = FakeCluster()
    up(cluster, "components.embedder.replicas=4")
    left = ("components.embedder.replicas=null", "components.embedder.autoscale={min: 2, max: 6}")
    seen = preview(scope(cluster), wanted(plan(*left)), OPTIONS)
    assert {one.subject for one in seen.differing} == {"HorizontalPodAutoscaler/dev-embedder"}
    up(cluster, *left)
    assert cluster.objects[DEPLOYMENT]["spec"]["replicas"] == 4
    up(cluster, *left, "components.embedder.drain_s=6")
    assert cluster.objects[DEPLOYMENT]["spec"]["replicas"] == 4
    cluster.edit(DEPLOYMENT, "kube-controller-manager", ("spec", "replicas"), 6)
    up(cluster, *left, "components.embedder.drain_s=7")
    assert cluster.objects[DEPLOYMENT]["spec"]["replicas"] == 6


def test_a_running_milvus_is_updated_role_by_role_and_rolled_back_in_reverse() -> None:
    cluster = FakeCluster()
    planned, place = prod(cluster)
    bring_up(place, planned, OPTIONS, agree, ignore)
    newer = ["components.vector-engine.image.tag=v2.3.6"]
    begin = len(cluster.writes)
    bring_up(place, make_plan("prod", load_profile("prod", [SITE], newer)), OPTIONS, agree, ignore)
    order = ["indexnode", "coordinator", "querynode", "datanode", "proxy"]
    assert roles_written(cluster, begin) == order
    begin = len(cluster.writes)
    roll_out(place, rollback_target(place, 1), OPTIONS, agree, ignore)
    assert roles_written(cluster, begin) == order[::-1]


def roles_written(cluster: FakeCluster, begin: int) -> list[str]:
    """The roles of Milvus whose Deployments were written since, in order."""
    prefix = "apply Deployment/prod-vector-engine-"
    return [one.removeprefix(prefix) for one in cluster.writes[begin:] if one.startswith(prefix)]
