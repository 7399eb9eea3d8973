"""A component that an operation keeps without pods, against the fake cluster."""

import pytest

from lightragctl.core.errors import NotRunningError, WaitExpired
from lightragctl.core.objects import ObjectRef
from lightragctl.core.runtime import State
from lightragctl.deploy.hold import hold, read_replicas, resume
from lightragctl.deploy.runtime import KubernetesRuntime
from lightragctl.observe.wait import Deadline
from tests.fakes.cluster import DiedError, FakeCluster
from tests.fakes.release import NAMESPACE, ignore, lock_holder, scope, up

SERVER = ObjectRef("apps/v1", "StatefulSet", NAMESPACE, "dev-lightrag-server")
LIMIT_S = 5.0


@pytest.fixture
def cluster() -> FakeCluster:
    cluster = FakeCluster()
    up(cluster)
    return cluster


def deadline(seconds: float = LIMIT_S) -> Deadline:
    return Deadline.of(seconds, ignore)


def replicas(cluster: FakeCluster) -> int:
    return int(cluster.objects[SERVER]["spec"]["replicas"])


def status_of(cluster: FakeCluster) -> tuple[State, str]:
    runtime = KubernetesRuntime(cluster, NAMESPACE, "dev", lock_holder())  # type: ignore[arg-type]
    parts = {part.name: part for part in runtime.status().components}
    return parts["lightrag-server"].state, parts["lightrag-server"].message


def test_it_is_held_says_by_what_and_is_resumed_as_it_was(cluster: FakeCluster) -> None:
    before = read_replicas(scope(cluster), "lightrag-server")
    template = cluster.objects[SERVER]["spec"]["template"]
    hold(scope(cluster), "lightrag-server", "operation restore-1", deadline())
    assert replicas(cluster) == 0
    assert status_of(cluster) == (State.NOT_READY, "scaled to 0 by operation restore-1")
    resume(scope(cluster), "lightrag-server", before, deadline())
    assert replicas(cluster) == before == 1
    assert status_of(cluster)[0] is State.READY
    assert cluster.objects[SERVER]["spec"]["template"] == template
    assert up(cluster) == (), "nothing is left to apply, and no conflict"


def test_repeating_it_writes_nothing(cluster: FakeCluster) -> None:
    hold(scope(cluster), "lightrag-server", "operation restore-1", deadline())
    writes = list(cluster.writes)
    hold(scope(cluster), "lightrag-server", "operation restore-1", deadline())
    assert cluster.writes == writes
    resume(scope(cluster), "lightrag-server", 1, deadline())
    writes = list(cluster.writes)
    resume(scope(cluster), "lightrag-server", 1, deadline())
    assert cluster.writes == writes


@pytest.mark.parametrize("after", [False, True], ids=["before the write", "after it"])
def test_a_process_that_is_killed_in_the_middle_is_followed_by_another(cluster: FakeCluster, after: bool) -> None:
    cluster.die_at, cluster.after = len(cluster.writes) + 1, after
    with pytest.raises(DiedError):
        hold(scope(cluster), "lightrag-server", "operation restore-1", deadline())
    cluster.revive()
    hold(scope(cluster), "lightrag-server", "operation restore-1", deadline())
    resume(scope(cluster), "lightrag-server", 1, deadline())
    assert replicas(cluster) == 1


def test_a_change_of_others_in_between_is_kept(cluster: FakeCluster) -> None:
    get_view = cluster.select
    interrupted = []

    def select(api_version: str, kind: str, namespace: str, selector: str = "") -> list[dict[str, object]]:
        found = get_view(api_version, kind, namespace, selector)
        if kind == "StatefulSet" and not interrupted:
            interrupted.append(True)
            cluster.edit(SERVER, "kubectl", ("metadata", "labels", "team"), "search")
        return found

    cluster.select = select  # type: ignore[method-assign]
    hold(scope(cluster), "lightrag-server", "operation restore-1", deadline())
    assert replicas(cluster) == 0
    assert cluster.objects[SERVER]["metadata"]["labels"]["team"] == "search"


def test_pods_that_do_not_end_are_named(cluster: FakeCluster) -> None:
    hold_pods(cluster)
    with pytest.raises(WaitExpired, match="pods are ending: dev-lightrag-server-0"):
        hold(scope(cluster), "lightrag-server", "operation restore-1", deadline(0.0))
    assert replicas(cluster) == 0


def hold_pods(cluster: FakeCluster) -> None:
    """A pod of the component, which the fake's controllers do not end."""
    labels = cluster.objects[SERVER]["spec"]["template"]["metadata"]["labels"]
    cluster.create(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "dev-lightrag-server-0", "namespace": NAMESPACE, "labels": dict(labels)},
            "spec": {"containers": []},
        }
    )


def test_a_component_that_is_not_there_is_named(cluster: FakeCluster) -> None:
    with pytest.raises(NotRunningError, match="kafka"):
        read_replicas(scope(cluster), "kafka")
