"""The lock of a release: who may take it, and what a lost one does."""

import os
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from lightragctl.core.errors import LockedError, RefusedError
from lightragctl.kube.calls import CALL_S
from lightragctl.kube.guarded import GuardedCluster
from lightragctl.kube.lease import (
    DURATION_S,
    MARGIN_S,
    RENEW_S,
    LeaseRecord,
    LockHolder,
    LockState,
    ReleaseLock,
    lease_ref,
    lock_state,
    read_lease,
    since_boot_s,
    this_process_lives,
    unlock,
)
from lightragctl.kube.model import ChangedMeanwhileError, ClusterUnavailableError
from tests.fakes.cluster import FakeCluster
from tests.fakes.release import NOW, ignore, lock_holder

LEASE = lease_ref("dev", "lightrag")
ALIVE: Callable[[int], bool] = lambda pid: True  # noqa: E731 - a constant among the parameters of tests
ANN = LeaseRecord("ann@laptop/7/x", "up", "m", NOW, NOW, 3)
FRESH, OLD = NOW + timedelta(seconds=DURATION_S - 1), NOW + timedelta(seconds=DURATION_S + 1)


def lock(cluster: FakeCluster, by: LockHolder) -> ReleaseLock:
    return ReleaseLock(cluster, LEASE, by, "up", ignore)


@pytest.mark.parametrize(
    ("held", "by", "state"),
    [
        (replace(ANN, holder=""), lock_holder(now=FRESH), LockState.FREE),
        (ANN, lock_holder(now=FRESH), LockState.DEAD),
        (ANN, lock_holder(now=FRESH, alive=ALIVE), LockState.FRESH),
        (ANN, lock_holder(now=OLD, alive=ALIVE), LockState.OLD),
        (ANN, lock_holder(now=FRESH, machine="other"), LockState.FRESH),
        (ANN, lock_holder(now=OLD, machine="other"), LockState.OLD),
        (replace(ANN, machine=""), lock_holder(now=FRESH, machine=""), LockState.FRESH),
    ],
    ids=[
        "nobody",
        "dead here",
        "alive here",
        "alive here, silent",
        "elsewhere",
        "elsewhere, silent",
        "no machine told",
    ],
)
def test_a_holder_is_dead_only_where_that_can_be_seen(held: LeaseRecord, by: LockHolder, state: LockState) -> None:
    assert lock_state(held, by) is state


def test_each_holder_has_a_higher_fence_than_the_one_before() -> None:
    cluster = FakeCluster()
    for fence in (1, 2, 3):
        with lock(cluster, lock_holder()) as taken:
            taken.take()
            taken.take()
            assert taken.fence == fence
    assert not read_lease(cluster.objects[LEASE]).holder


def test_a_fence_goes_on_when_somebody_has_deleted_the_lease() -> None:
    with lock(FakeCluster(), lock_holder()) as taken:
        taken.take(after=41)
        assert taken.fence == 42


def test_a_second_one_is_told_who_holds_it_since_when_and_what_to_do() -> None:
    cluster = FakeCluster()
    later = NOW + timedelta(seconds=20)
    with (
        lock(cluster, lock_holder("ann@laptop")) as first,
        lock(cluster, lock_holder("ben@desk", now=later, alive=ALIVE)) as second,
    ):
        first.take()
        with pytest.raises(LockedError) as caught:
            second.take()
    assert "ann@laptop (pid" in caught.value.message
    assert "since 2026-01-01 00:00:00 UTC, renewed 20 s ago" in caught.value.message
    assert "lightragctl unlock" in caught.value.hint


def test_who_was_taken_over_stops_before_the_next_write() -> None:
    cluster = FakeCluster()
    with lock(cluster, lock_holder("ann@laptop")) as first:
        first.take()
        guarded = GuardedCluster(cluster, first.check)
        config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "lightrag"}}
        guarded.apply(config)
        assert unlock(cluster, LEASE, lock_holder("ben@desk", alive=ALIVE), even_if_fresh=True) is not None
        with pytest.raises(LockedError, match="was lost: it was released"):
            guarded.apply(config)
        guarded.apply(config, dry_run=True)
    assert read_lease(cluster.objects[LEASE]).fence == 2


class Deaf(FakeCluster):
    """A cluster that answers no more once it is told so."""

    deaf = False

    def replace(self, thing: object) -> dict[str, object]:  # type: ignore[override]
        if self.deaf:
            raise ClusterUnavailableError("the API server does not answer")
        return super().replace(thing)  # type: ignore[arg-type]


def test_a_renewal_that_fails_once_is_no_loss() -> None:
    cluster = Deaf()
    with lock(cluster, lock_holder()) as taken:
        taken.take()
        cluster.deaf = True
        taken.renew()
        taken.check()
        cluster.deaf = False
        taken.renew()
        taken.check()


def test_a_change_by_others_of_the_lease_itself_is_no_loss() -> None:
    cluster = FakeCluster()
    with lock(cluster, lock_holder()) as taken:
        taken.take()
        cluster.objects[LEASE]["metadata"]["resourceVersion"] = "somebody"
        taken.renew()
        taken.check()
        taken.renew()
        taken.check()
    assert not read_lease(cluster.objects[LEASE]).holder


class Clock:
    """Time that passes only while somebody waits; `meanwhile` happens after each wait."""

    def __init__(self, meanwhile: Callable[[], object] = lambda: None) -> None:
        self.now_s, self.meanwhile = 0.0, meanwhile

    def pause(self, seconds: float) -> None:
        self.now_s += seconds
        self.meanwhile()

    def of(self, by: LockHolder) -> LockHolder:
        return replace(by, clock_s=lambda: self.now_s, pause=self.pause)


def elsewhere(clock: Clock) -> LockHolder:
    """Somebody on another machine, to whom the lock looks old."""
    return clock.of(lock_holder("ben@desk", machine="other", now=OLD))


def test_a_lock_that_looks_old_is_taken_when_it_does_not_move_for_its_whole_duration() -> None:
    cluster, clock = FakeCluster(), Clock()
    with lock(cluster, lock_holder("ann@laptop")) as first, lock(cluster, elsewhere(clock)) as second:
        first.take()
        second.take()
        assert clock.now_s >= DURATION_S
        assert second.fence == first.fence + 1
        with pytest.raises(LockedError, match="now held by ben@desk"):
            first.check()


def test_a_lock_that_only_looked_old_stays_with_its_holder() -> None:
    cluster = FakeCluster()
    with lock(cluster, lock_holder("ann@laptop")) as first:
        first.take()
        with lock(cluster, elsewhere(Clock(first.renew))) as second, pytest.raises(LockedError, match="ann@laptop"):
            second.take()
        first.check()


def test_a_lock_that_is_given_back_while_it_is_looked_at_is_taken_at_once() -> None:
    cluster = FakeCluster()
    first = lock(cluster, lock_holder("ann@laptop"))
    first.take()
    clock = Clock(lambda: first.__exit__())
    with lock(cluster, elsewhere(clock)) as second:
        second.take()
        assert clock.now_s < DURATION_S


def test_who_could_not_renew_for_long_stops_before_others_may_take_over() -> None:
    cluster, clock = Deaf(), Clock()
    with lock(cluster, clock.of(lock_holder())) as taken:
        taken.take()
        cluster.deaf = True
        taken.renew()
        clock.now_s = DURATION_S - MARGIN_S
        taken.check()
        clock.now_s += 1
        with pytest.raises(LockedError, match="could not be renewed for 36 s: the API server does not answer"):
            taken.check()


def test_who_slept_long_goes_on_when_nobody_has_taken_the_lock() -> None:
    cluster, clock = FakeCluster(), Clock()
    with lock(cluster, clock.of(lock_holder())) as taken:
        taken.take()
        clock.now_s = 10 * DURATION_S
        taken.check()


def test_a_call_ends_before_others_may_take_over() -> None:
    assert CALL_S < MARGIN_S
    assert RENEW_S + CALL_S <= DURATION_S - MARGIN_S


class Lossy(FakeCluster):
    """A cluster whose first write of a Lease takes effect and is never answered."""

    lost = False

    def _answer(self) -> None:
        super()._answer()
        if not self.lost:
            self.lost = True
            raise ChangedMeanwhileError("the client sent it again, and it was there")


def test_who_took_the_lock_without_hearing_of_it_knows_itself() -> None:
    cluster = Lossy()
    with lock(cluster, lock_holder(alive=ALIVE)) as taken:
        taken.take()
        assert taken.fence == 1
        taken.check()


def test_a_lock_is_handed_over_with_a_higher_fence() -> None:
    cluster = FakeCluster()
    with lock(cluster, lock_holder("ann@laptop", alive=ALIVE)) as terminal, lock(cluster, job()) as taken:
        terminal.take()
        assert terminal.hand_over("Job/upgrade-7") == 2
        with pytest.raises(LockedError, match="now held by Job/upgrade-7"):
            terminal.check()
        taken.take_over("Job/upgrade-7")
        taken.check()
        assert taken.fence == 3
        with pytest.raises(LockedError, match="was not handed over to Job/upgrade-7"):
            lock(cluster, lock_holder("eve@desk")).take_over("Job/upgrade-7")
        terminal.__exit__()
        assert read_lease(cluster.objects[LEASE]).who == "job@node"
    assert not read_lease(cluster.objects[LEASE]).holder


def job() -> LockHolder:
    return lock_holder("job@node", machine="node", alive=ALIVE)


def test_a_lock_that_was_handed_over_and_never_taken_ends_by_itself() -> None:
    cluster, clock = FakeCluster(), Clock()
    with lock(cluster, lock_holder("ann@laptop")) as terminal, lock(cluster, elsewhere(clock)) as second:
        terminal.take()
        terminal.hand_over("Job/upgrade-7")
        second.take()
        assert second.fence == 3


@pytest.mark.parametrize("how", ["looked on", "unlocked"])
def test_a_successor_knows_that_the_lock_was_not_given_back_until_the_release_is_sealed(how: str) -> None:
    cluster, clock = FakeCluster(), Clock()
    first = lock(cluster, lock_holder("ann@laptop", alive=ALIVE))
    first.take()
    assert not first.was_abandoned
    if how == "unlocked":
        unlock(cluster, LEASE, elsewhere(clock), even_if_fresh=True)
    with lock(cluster, elsewhere(clock)) as second:
        second.take()
        assert second.was_abandoned
    with lock(cluster, elsewhere(clock)) as third:  # the second died before it fenced anything
        third.take()
        assert third.was_abandoned
        third.fenced()
    with lock(cluster, elsewhere(clock)) as fourth:
        fourth.take()
        assert not fourth.was_abandoned
    first.stop()


def test_a_process_is_told_from_one_that_is_gone() -> None:
    beyond_every_number = 2**22 + 1
    assert this_process_lives(os.getpid())
    assert this_process_lives(1)
    assert not this_process_lives(beyond_every_number)


def test_a_machine_tells_time_that_only_grows() -> None:
    assert since_boot_s() <= since_boot_s()


def test_unlock_refuses_what_was_renewed_just_now_unless_told() -> None:
    cluster = FakeCluster()
    by = lock_holder("ben@desk", alive=ALIVE)
    assert unlock(cluster, LEASE, by, even_if_fresh=False) is None
    with lock(cluster, lock_holder("ann@laptop")) as taken:
        taken.take()
        with pytest.raises(RefusedError, match="ann@laptop"):
            unlock(cluster, LEASE, by, even_if_fresh=False)
        held = unlock(cluster, LEASE, replace(by, now=lambda: OLD), even_if_fresh=False)
        assert held is not None
        assert held.who == "ann@laptop"
    assert unlock(cluster, LEASE, by, even_if_fresh=True) is None
