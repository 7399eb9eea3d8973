"""Death at every write: whatever of up, rollback and down a run has left, the same command ends in one state."""

from collections.abc import Callable

import pytest

from lightragctl.deploy.down import tear_down
from lightragctl.kube.lease import read_lease
from tests.fakes.cluster import DiedError, FakeCluster
from tests.fakes.release import LEASE, history, ignore, rollback, scope, state, up

CHANGED = ("components.mock-llm.enabled=false", "models.chat.url=http://llm", "components.embedder.replicas=2")

Story = Callable[[FakeCluster], object]


def bring_up(cluster: FakeCluster) -> None:
    up(cluster)


def change(cluster: FakeCluster) -> None:
    up(cluster, *CHANGED)


def bring_up_twice(cluster: FakeCluster) -> None:
    bring_up(cluster)
    change(cluster)


def roll_back(cluster: FakeCluster) -> None:
    rollback(cluster, 1)


def take_it_down(cluster: FakeCluster) -> None:
    tear_down(scope(cluster), False, 5.0, ignore)


def purge(cluster: FakeCluster) -> None:
    tear_down(scope(cluster), True, 5.0, ignore)


STORIES: dict[str, tuple[Story, Story]] = {
    "first up": (lambda cluster: None, bring_up),
    "second up": (bring_up, change),
    "rollback": (bring_up_twice, roll_back),
    "down": (bring_up_twice, take_it_down),
    "purge": (bring_up_twice, purge),
}


@pytest.mark.parametrize("after", [False, True], ids=["before it took effect", "after it took effect"])
@pytest.mark.parametrize("story", STORIES)
@pytest.mark.slow
def test_a_run_that_dies_at_any_write_is_finished_by_the_next(story: str, after: bool) -> None:
    prepare, act = STORIES[story]
    before = FakeCluster()
    prepare(before)
    whole = before.copy()
    act(whole)
    assert len(whole.writes) > 5
    for number in range(1, len(whole.writes) + 1):
        cluster = before.copy()
        cluster.die_at, cluster.after = number, after
        try:
            act(cluster)
        except DiedError:
            cluster.revive()
            act(cluster)
        if story not in ("down", "purge"):  # the run that goes on with a revision makes no second one of it
            assert [str(one.outcome) for one in history(cluster)] == [str(one.outcome) for one in history(whole)]
        died = f"died at write {number}: {whole.writes[number - 1]}"
        assert state(cluster) == state(whole), died
        if LEASE in cluster.objects:
            assert not read_lease(cluster.objects[LEASE]).holder, died
