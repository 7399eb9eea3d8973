"""RetryPolicy: what is tried again, for how long, and what is not."""

import threading
from collections.abc import Callable

import pytest

from lightragctl.client.api import ApiError
from lightragctl.client.retry import RetryPolicy, RetryWait, StoppedError
from lightragctl.core.errors import UnavailableError


class Clock:
    """A clock and the wait that moves it."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.waits_s: list[float] = []

    def __call__(self) -> float:
        return self.now_s


class StopWhileWaiting(threading.Event):
    """An event whose waits pass at once on the clock of the test."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.clock = clock

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout is not None
        self.clock.now_s += timeout
        self.clock.waits_s.append(timeout)
        return self.is_set()


def failing(*errors: Exception) -> Callable[[Callable[[], None]], str]:
    left = list(errors)

    def request(alive: Callable[[], None]) -> str:
        if left:
            raise left.pop(0)
        return "done"

    return request


def retries(clock: Clock, wait_s: float = 120, events: list[RetryWait] | None = None) -> RetryPolicy:
    seen = [] if events is None else events
    return RetryPolicy(wait_s, clock, StopWhileWaiting(clock), seen.append)


def test_a_busy_or_absent_service_is_tried_again_with_growing_delays() -> None:
    clock, events = Clock(), list[RetryWait]()
    errors = [UnavailableError("absent")] * 3 + [ApiError("busy", status=503)] * 4
    assert retries(clock, events=events).call("a.md", failing(*errors)) == "done"
    assert clock.waits_s == [0.5, 1, 2, 4, 8, 8, 8]
    assert events[0] == RetryWait("a.md", "absent", 0.5)


def test_the_service_may_ask_for_a_longer_delay() -> None:
    clock = Clock()
    retries(clock).call("a.md", failing(ApiError("full", status=429, retry_after_s=7)))
    assert clock.waits_s == [7]


@pytest.mark.parametrize("status", [400, 404, 409, 413, 500])
def test_a_refusal_is_not_tried_again(status: int) -> None:
    clock = Clock()
    with pytest.raises(ApiError, match="no"):
        retries(clock).call("a.md", failing(ApiError("no", status=status)))
    assert clock.waits_s == []


def test_it_ends_with_the_last_reason_when_the_time_is_over() -> None:
    clock = Clock()
    errors = [UnavailableError("absent")] * 50 + [ApiError("full", "look there", status=503)] * 50
    with pytest.raises(UnavailableError, match="absent"):
        retries(clock, wait_s=60).call("a.md", failing(*errors))
    assert 50 <= clock.now_s <= 60
    with pytest.raises(UnavailableError) as caught:
        retries(Clock(), wait_s=60).call("a.md", failing(*errors[50:]))
    assert caught.value.hint == "look there"


def test_time_with_signs_of_life_is_not_waiting() -> None:
    clock = Clock()
    calls = 0

    def request(alive: Callable[[], None]) -> str:
        nonlocal calls
        calls += 1
        clock.now_s += 100  # embedding a long document
        alive()
        if calls < 4:
            raise UnavailableError("restarted")
        return "done"

    assert retries(clock).call("a.md", request) == "done"


def test_a_service_that_gets_on_between_failures_is_never_given_up() -> None:
    clock = Clock()
    calls = 0

    def request(alive: Callable[[], None]) -> str:
        nonlocal calls
        calls += 1
        clock.now_s += 25
        alive()
        clock.now_s += 25
        if calls < 40:
            raise UnavailableError("restarted")
        return "done"

    assert retries(clock).call("a.md", request) == "done"
    assert set(clock.waits_s) == {0.5}


def test_a_sign_to_one_request_counts_for_the_others() -> None:
    clock = Clock()
    shared = retries(clock, wait_s=60)
    calls = 0

    def starved(alive: Callable[[], None]) -> str:
        nonlocal calls
        calls += 1
        clock.now_s += 50
        shared.call("other.md", lambda sign: sign())
        if calls < 5:
            raise UnavailableError("said nothing")
        return "done"

    assert shared.call("a.md", starved) == "done"


def test_a_long_silence_before_the_failure_counts() -> None:
    clock = Clock()

    def request(alive: Callable[[], None]) -> str:
        clock.now_s += 70
        raise UnavailableError("said nothing")

    with pytest.raises(UnavailableError):
        retries(clock).call("a.md", request)
    assert clock.waits_s == [0.5]


def test_a_stop_ends_the_wait() -> None:
    clock = Clock()
    waiting = retries(clock)
    waiting.stop.set()
    with pytest.raises(StoppedError):
        waiting.call("a.md", failing(UnavailableError("absent")))


def test_a_fenced_workspace_is_waited_for_far_longer_than_a_silent_service_and_the_user_reads_why() -> None:
    clock, events = Clock(), list[RetryWait]()
    fenced = [ApiError("writes are refused for now: backup b1", status=503, retry_after_s=30, code="fenced")] * 100
    assert retries(clock, events=events).call("a.md", failing(*fenced)) == "done"
    assert clock.now_s > 600
    assert {event.reason for event in events} == {"writes are refused for now: backup b1"}
    assert max(clock.waits_s) == 8  # the fence may be released long before it expires


def test_a_fence_that_is_never_released_ends_the_wait() -> None:
    clock = Clock()
    with pytest.raises(UnavailableError, match="refused"):
        retries(clock).call("a.md", failing(*[ApiError("refused", status=503, code="fenced")] * 5000))
    assert 3600 < clock.now_s < 3800
