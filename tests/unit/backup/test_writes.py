"""Writes blocked: whatever happens meanwhile, lightrag-server runs again and the fence is gone."""

from typing import Any

import pytest

from lightragctl.backup.writes import WriteStop
from lightragctl.core.errors import WaitExpired
from lightragctl.core.result import Event
from lightragctl.release.writers import WRITER, WriterControl
from lightragctl.vectors.control import epoch_row
from lightragctl.vectors.fence import Clock, FenceLostError
from lightragctl.vectors.fence_rows import FENCES
from tests.fakes.backup import CONTROL, Workspace
from tests.unit.release.test_writers import Runtime, Time, control


def clock(time: Time) -> Clock:
    return Clock(lambda: time.now_s, time.pause, lambda: int(time.now_s * 1e9))


def stopping(workspace: Workspace, runtime: Runtime | None, time: Time, events: list[Event]) -> WriteStop:
    writer: WriterControl | None = control(runtime, events) if runtime else None
    return WriteStop(workspace.store, "default", writer, 60, "t1", clock(time))


def fences(workspace: Workspace) -> list[Any]:
    return [key for key in workspace.store.collections[CONTROL].rows if str(key).startswith(FENCES)]


@pytest.fixture
def time() -> Time:
    return Time()


def test_the_server_is_stopped_for_the_block_and_its_time_is_measured(time: Time) -> None:
    workspace, runtime = Workspace(), Runtime(time)
    with stopping(workspace, runtime, time, []).held(lambda event: None) as held:
        assert (runtime.wanted, len(fences(workspace))) == (0, 1)
        held.check()
    assert (runtime.wanted, fences(workspace)) == (1, [])
    assert held.writer_stopped_s >= 20
    assert [call[0] for call in runtime.calls] == ["hold", "resume"]


@pytest.mark.parametrize("error", [KeyError, KeyboardInterrupt])
def test_after_an_error_everything_is_given_back(time: Time, error: type[BaseException]) -> None:
    workspace, runtime = Workspace(), Runtime(time)
    with pytest.raises(error), stopping(workspace, runtime, time, []).held(lambda event: None):
        raise error
    assert (runtime.wanted, fences(workspace)) == (1, [])


def test_a_server_that_does_not_come_back_in_time_is_reported(time: Time) -> None:
    workspace, runtime, events = Workspace(), Runtime(time), list[Event]()

    def late(*_: object) -> None:
        raise WaitExpired(f"{WRITER} is not ready after 60 s")

    runtime.resume = late  # type: ignore[method-assign]
    with stopping(workspace, runtime, time, events).held(events.append) as held:
        held.check()
    assert "is not ready after 60 s" in events[-1].message
    assert fences(workspace) == []


def test_a_write_that_came_through_is_found(time: Time) -> None:
    workspace = Workspace()
    with stopping(workspace, None, time, []).held(lambda event: None) as held:
        workspace.store.upsert(CONTROL, [epoch_row(123)])
        with pytest.raises(FenceLostError):
            held.check()
