"""The write fence as its taker sees it: taken, refused, renewed, expired, lost; and the marker of a switch."""

from collections.abc import Callable
from typing import Any

import pytest

from lightragctl.core.errors import LockedError, UsageError, WaitExpired
from lightragctl.core.result import Event
from lightragctl.vectors.control import control_name, control_row, epoch_row
from lightragctl.vectors.fence import (
    Clock,
    Fence,
    FenceHeldError,
    FenceLostError,
    FenceTerms,
    begin_switch,
    end_switch,
    hold,
    switching,
    take,
)
from lightragctl.vectors.fence_rows import FENCES, WRITERS, Sightings, WriterRow, is_transient
from tests.fakes.store import FakeStore

CONTROL = control_name("default")
ONE, OTHER = FenceTerms("one", "backup one"), FenceTerms("other", "restore other")


class Time:
    """A clock that waiting moves; `meanwhile` is called at each wait, as another process would act."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.meanwhile: Callable[[], None] = lambda: None

    def clock(self) -> Clock:
        return Clock(lambda: self.now_s, self._pause, lambda: int(self.now_s * 1e9))

    def _pause(self, seconds: float) -> None:
        self.now_s += seconds
        self.meanwhile()


def quiet(event: Event) -> None:
    """Nobody reads it."""


def taken(store: FakeStore, time: Time, terms: FenceTerms = ONE) -> Fence:
    return take(store, "default", terms, quiet, time.clock())


def keys(store: FakeStore) -> set[str]:
    return set(store.collections[CONTROL].rows) - {"fence"}


def write_writer(store: FakeStore, beat: str, valid_s: float = 40.0) -> None:
    store.upsert(CONTROL, [control_row(f"{WRITERS}a", WriterRow(beat, valid_s), 1)])


def test_a_fence_is_taken_confirmed_and_released() -> None:
    store, time = FakeStore(), Time()
    fence = taken(store, time)
    assert keys(store) == {"fence:one"}
    for _ in range(20):
        time.now_s += 20
        fence.renew()
    fence.confirm()
    fence.release()
    assert keys(store) == set()
    with pytest.raises(FenceLostError, match="released"):
        fence.check()


def test_a_fence_that_is_renewed_is_refused_to_others_and_names_its_reason() -> None:
    store, time = FakeStore(), Time()
    fence = taken(store, time)
    time.meanwhile = fence.renew
    with pytest.raises(FenceHeldError, match="backup one holds the write fence of workspace 'default'") as caught:
        taken(store, time, OTHER)
    assert isinstance(caught.value, LockedError)
    assert keys(store) == {"fence:one"}
    fence.confirm()


def test_a_fence_that_is_not_renewed_is_taken_over_and_its_holder_learns_of_it() -> None:
    store, time = FakeStore(), Time()
    fence, begun_s = taken(store, time), time.now_s
    second = taken(store, time, OTHER)
    assert time.now_s - begun_s >= ONE.valid_s
    assert keys(store) == {"fence:other"}
    for held in (fence.check, fence.renew, fence.confirm):
        with pytest.raises(FenceLostError, match="not renewed"):
            held()
    fence.release()
    second.confirm()


def test_a_holder_whose_clock_stood_still_learns_that_its_fence_is_gone() -> None:
    """As a paused virtual machine: its own clock shows nothing."""
    store, time = FakeStore(), Time()
    fence, then_s = taken(store, time), time.now_s
    taken(store, time, OTHER)
    time.now_s = then_s
    fence.check()
    with pytest.raises(FenceLostError, match="another process removed it"):
        fence.renew()


def test_its_own_token_is_taken_again_at_once_after_a_crash_and_the_crashed_holder_is_told() -> None:
    store, time = FakeStore(), Time()
    first, begun_s = taken(store, time), time.now_s
    again = taken(store, time)
    assert time.now_s - begun_s < 5
    with pytest.raises(FenceLostError):
        first.renew()
    first.release()
    again.confirm()


def test_of_two_that_take_it_at_the_same_time_at_most_one_has_it() -> None:
    store, time, outcomes = FakeStore(), Time(), list[Any]()

    def second() -> None:
        time.meanwhile = lambda: None
        try:
            outcomes.append(taken(store, time, OTHER))
        except FenceHeldError as error:
            outcomes.append(error)

    time.meanwhile = second  # between the first one's write and its look for others
    try:
        outcomes.append(taken(store, time))
    except FenceHeldError as error:
        outcomes.append(error)
    assert sum(isinstance(one, Fence) for one in outcomes) <= 1
    assert len(keys(store)) <= 1


def test_taking_waits_for_a_writer_until_it_is_gone() -> None:
    store, time, waits = FakeStore(), Time(), list[float]()
    taken(store, time).release()

    def write() -> None:
        waits.append(time.now_s)
        write_writer(store, str(time.now_s))
        if len(waits) == 200:
            store.delete(CONTROL, [f"{WRITERS}a"])

    time.meanwhile = write
    fence = taken(store, time)
    assert len(waits) == 200
    time.meanwhile = lambda: None
    fence.confirm()


def test_a_writer_that_was_killed_is_waited_for_until_its_registration_expires() -> None:
    store, time = FakeStore(), Time()
    taken(store, time).release()
    write_writer(store, "last", valid_s=40)
    begun_s = time.now_s
    taken(store, time).confirm()
    assert 40 <= time.now_s - begun_s < 50
    assert keys(store) == {"fence:one"}


def test_a_writer_that_does_not_end_is_an_error_and_leaves_no_fence() -> None:
    store, time = FakeStore(), Time()
    taken(store, time).release()
    time.meanwhile = lambda: write_writer(store, str(time.now_s))
    with pytest.raises(WaitExpired, match="still writes to workspace 'default' after 120 s"):
        taken(store, time)
    assert not [key for key in keys(store) if key.startswith(FENCES)]


def test_a_write_that_came_through_all_the_same_is_noticed() -> None:
    store, time = FakeStore(), Time()
    fence = taken(store, time)
    store.upsert(CONTROL, [epoch_row(time.clock().now_ns())])
    with pytest.raises(FenceLostError, match="a write was accepted"):
        fence.confirm()


def test_a_store_that_hangs_during_a_renewal_loses_the_fence() -> None:
    store, time = FakeStore(), Time()
    fence = taken(store, time)
    upsert = store.upsert

    def slow(*arguments: Any) -> None:
        time.now_s += 60
        upsert(*arguments)

    store.upsert = slow  # type: ignore[method-assign, assignment]
    with pytest.raises(FenceLostError, match="not renewed for 6"):
        fence.renew()


def test_inside_the_block_it_is_renewed_by_itself_and_released_afterwards() -> None:
    store, terms = FakeStore(), FenceTerms("one", "backup one", valid_s=0.3)
    real = Clock(pause=lambda seconds: None)
    with hold(store, "default", terms, quiet, real) as fence:
        beats = {str(store.collections[CONTROL].rows["fence:one"]["value"])}
        for _ in range(100):
            Clock().pause(0.01)
            beats.add(str(store.collections[CONTROL].rows["fence:one"]["value"]))
        fence.confirm()
    assert len(beats) > 3
    assert keys(store) == set()


@pytest.mark.parametrize("token", ["", "a b", "x" * 49, "-a", "ü", "a:b"])
def test_a_token_that_could_not_be_part_of_an_id_is_refused(token: str) -> None:
    with pytest.raises(UsageError):
        taken(FakeStore(), Time(), FenceTerms(token, "backup"))


def test_how_long_a_row_stayed_as_it_is_by_the_readers_own_clock() -> None:
    sightings = Sightings()
    assert sightings.ages_s({"a": "1"}, 10.0) == {"a": 0.0}
    assert sightings.ages_s({"a": "1", "b": "1"}, 15.0) == {"a": 5.0, "b": 0.0}
    assert sightings.ages_s({"a": "2"}, 20.0) == {"a": 0.0}
    assert sightings.ages_s({"b": "1"}, 30.0) == {"b": 0.0}  # forgotten meanwhile


def test_rows_of_running_processes_are_known_by_their_ids() -> None:
    assert all(map(is_transient, ("fence", "fence:a", "writer:b", "switching")))
    assert not any(map(is_transient, ("epoch", "doc:fence:a", "golden", "model:writer")))


def test_a_switch_has_one_operation_and_is_ended_by_it_alone() -> None:
    store, time = FakeStore(), Time()
    assert switching(store, "default") == ""
    begin_switch(store, "default", "op-1", time.clock())
    begin_switch(store, "default", "op-1", time.clock())
    with pytest.raises(LockedError, match="op-1"):
        begin_switch(store, "default", "op-2", time.clock())
    end_switch(store, "default", "op-2", time.clock())
    assert switching(store, "default") == "op-1"
    end_switch(store, "default", "op-1", time.clock())
    end_switch(store, "default", "op-1", time.clock())
    assert switching(store, "default") == ""
