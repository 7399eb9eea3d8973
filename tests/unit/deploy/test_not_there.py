"""Commands on a release that the namespace does not have say so, and what it has."""

from collections.abc import Callable
from typing import Any, cast

import pytest

from lightragctl.core.errors import NotRunningError
from lightragctl.deploy.runtime import KubernetesRuntime
from tests.fakes.cluster import FakeCluster
from tests.fakes.release import NAMESPACE, lock_holder, up

LOOKS: dict[str, Callable[[KubernetesRuntime], object]] = {
    "status": lambda one: one.status(),
    "logs": lambda one: list(one.logs(None, False, 1)),
    "exec": lambda one: one.exec("lightrag-api", ["ls"]),
    "port-forward": lambda one: one.forward("lightrag-api", 0, lambda event: None),
    "retrieve": lambda one: one.endpoint("lightrag-api"),
    "recordings": lambda one: one.endpoints("lightrag-api"),
    "bench": lambda one: one.spread("lightrag-api"),
    "ingest": lambda one: one.api_key(),
    "down and unlock": lambda one: one.components(),
}


def runtime(cluster: FakeCluster, release: str) -> KubernetesRuntime:
    return KubernetesRuntime(cast(Any, cluster), NAMESPACE, release, lock_holder())


@pytest.fixture(scope="module")
def cluster() -> FakeCluster:
    """One with the release `dev`."""
    made = FakeCluster()
    up(made)
    return made


@pytest.mark.parametrize("look", LOOKS.values(), ids=LOOKS)
def test_a_similar_name_is_suggested(cluster: FakeCluster, look: Callable[[KubernetesRuntime], object]) -> None:
    with pytest.raises(NotRunningError) as caught:
        look(runtime(cluster, "dve"))
    assert "there is no release 'dve'" in caught.value.message
    assert "did you mean --name dev?" in caught.value.hint


def test_another_name_is_answered_with_those_that_are_there(cluster: FakeCluster) -> None:
    with pytest.raises(NotRunningError) as caught:
        runtime(cluster, "zzz").components()
    assert caught.value.hint.endswith("existing releases: dev")


@pytest.mark.parametrize("purge", [False, True])
def test_down_touches_nothing_of_others(cluster: FakeCluster, purge: bool) -> None:
    before = dict(cluster.objects)
    assert not runtime(cluster, "dve").down(purge, 1.0, lambda event: None)
    assert cluster.objects == before
