"""The writer brought to rest and back: what is waited for, for how long, and what is measured."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import httpx
import pytest

from lightragctl.core.errors import NotRunningError, WaitExpired
from lightragctl.core.result import Event, Notify
from lightragctl.core.runtime import ReleaseRuntime
from lightragctl.release.writers import WRITER, Writer, WriterClock, WriterControl, find_writer


class Time:
    """A clock that waiting moves."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def clock(self) -> WriterClock:
        start = datetime(2026, 1, 1, tzinfo=UTC)
        return WriterClock(lambda: self.now_s, self.pause, lambda: start + timedelta(seconds=self.now_s))

    def pause(self, seconds: float) -> None:
        self.now_s += seconds


class Runtime:
    """A release whose writer takes a while to stop and to start."""

    def __init__(self, time: Time, components: tuple[str, ...] = (WRITER,)) -> None:
        self.time, self.there, self.wanted = time, components, 1
        self.calls: list[Any] = []

    def components(self) -> tuple[str, ...]:
        return self.there

    def replicas(self, component: str) -> int:
        return self.wanted

    def endpoint(self, component: str) -> str:
        if not self.wanted:
            raise NotRunningError("it is stopped")
        return "http://unused"

    def api_key(self, component: str) -> str:
        return "key"

    def hold(self, component: str, reason: str, timeout_s: float, notify: Notify) -> None:
        self.calls.append(("hold", component, reason))
        self.time.now_s += 5
        self.wanted = 0

    def resume(self, component: str, replicas: int, timeout_s: float, notify: Notify) -> None:
        self.calls.append(("resume", component, replicas))
        self.time.now_s += 15
        self.wanted = replicas


@pytest.fixture
def time() -> Time:
    return Time()


def control(runtime: Runtime, events: list[Event], is_active: Callable[[], bool] = lambda: False) -> WriterControl:
    """The control of a writer that says of itself whether it is at work."""

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/health":
            return httpx.Response(200, json={"pipeline_active": is_active()})
        return httpx.Response(200, json={"latest_message": "Extracting 3 of 7"})

    transport = httpx.MockTransport(answer)
    return WriterControl(cast(ReleaseRuntime, runtime), events.append, runtime.time.clock(), transport)


def test_it_is_waited_for_while_it_processes_documents(time: Time) -> None:
    events: list[Event] = []
    control(Runtime(time), events, lambda: time.now_s < 30).wait_idle(60)
    assert 30 <= time.now_s < 32
    assert {event.message for event in events} == {"waiting until it is idle: Extracting 3 of 7"}


def test_the_wait_has_an_end_and_says_what_it_was_at(time: Time) -> None:
    with pytest.raises(WaitExpired, match="still busy after 60 s: Extracting 3 of 7"):
        control(Runtime(time), [], lambda: True).wait_idle(60)
    assert time.now_s < 65


def test_one_that_is_stopped_already_is_idle(time: Time) -> None:
    runtime = Runtime(time)
    runtime.wanted = 0
    control(runtime, []).wait_idle(60)
    assert time.now_s == 0


def test_one_that_is_broken_does_not_keep_the_operation_waiting(time: Time) -> None:
    def broken() -> bool:
        raise httpx.ConnectError("nothing answers")

    control(Runtime(time), [], broken).wait_idle(60)
    assert 10 <= time.now_s < 15


def test_how_long_it_was_away_is_measured_from_its_stop_until_it_is_ready(time: Time) -> None:
    runtime = Runtime(time)
    writer = find_writer(cast(ReleaseRuntime, runtime))
    assert writer == Writer(WRITER, 1)
    at = control(runtime, []).stop("operation restore-1", 60)
    time.now_s += 100
    again = control(runtime, [])  # another process, after a crash
    assert again.start(writer, at, 60) == 120
    assert runtime.calls == [("hold", WRITER, "operation restore-1"), ("resume", WRITER, 1)]


def test_a_release_without_lightrag_server_has_no_writer(time: Time) -> None:
    assert find_writer(cast(ReleaseRuntime, Runtime(time, ("lightrag-api",)))) is None
