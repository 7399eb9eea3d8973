"""From a fixed number of pods to an autoscaler and back, against the fake cluster."""

import pytest

from lightragctl.core.objects import ObjectRef
from tests.fakes.cluster import FakeCluster
from tests.fakes.release import rollback, up

API = "components.lightrag-api"
DEPLOYMENT = ObjectRef("apps/v1", "Deployment", "lightrag", "dev-lightrag-api")
AUTOSCALER = ObjectRef("autoscaling/v2", "HorizontalPodAutoscaler", "lightrag", "dev-lightrag-api")
SCALED = (f"{API}.autoscale={{min: 2, max: 9}}", f"{API}.replicas=null")


def replicas(cluster: FakeCluster) -> int:
    return int(cluster.objects[DEPLOYMENT]["spec"]["replicas"])


@pytest.fixture(params=[0, 6], ids=["it never scaled", "it has scaled"])
def autoscaled(request: pytest.FixtureRequest) -> FakeCluster:
    """A release whose API an autoscaler looks after, after 2 pods that the profile said."""
    cluster = FakeCluster()
    up(cluster, f"{API}.replicas=2")
    up(cluster, *SCALED)
    assert AUTOSCALER in cluster.objects
    assert replicas(cluster) == 2
    if request.param:
        cluster.edit(DEPLOYMENT, "kube-controller-manager", ("spec", "replicas"), request.param)
        up(cluster, *SCALED)
        assert replicas(cluster) == request.param
    return cluster


def test_a_profile_that_says_a_number_again_gets_it(autoscaled: FakeCluster) -> None:
    before = len(autoscaled.writes)
    assert "Deployment/dev-lightrag-api configured" in up(autoscaled, f"{API}.replicas=3")
    writes = autoscaled.writes[before:]
    assert writes.index(f"delete {AUTOSCALER}") < writes.index(f"apply {DEPLOYMENT}"), "or it would scale again"
    assert replicas(autoscaled) == 3
    assert up(autoscaled, f"{API}.replicas=3") == ()
    up(autoscaled, f"{API}.replicas=4")
    assert replicas(autoscaled) == 4


def test_a_rollback_to_before_the_autoscaler_gets_its_number(autoscaled: FakeCluster) -> None:
    rollback(autoscaled, 1)
    assert AUTOSCALER not in autoscaled.objects
    assert replicas(autoscaled) == 2


def test_a_number_that_an_autoscaler_of_the_past_has_left_is_set_right(autoscaled: FakeCluster) -> None:
    autoscaled.delete(AUTOSCALER, autoscaled.objects[AUTOSCALER]["metadata"]["uid"])
    up(autoscaled, f"{API}.replicas=3")
    assert replicas(autoscaled) == 3
