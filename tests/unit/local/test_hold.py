"""A process that an operation keeps stopped, with a real supervisor that runs in this process."""

import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from lightragctl.core.errors import NotRunningError
from lightragctl.core.result import Event
from lightragctl.core.runtime import State
from lightragctl.local.files import DesiredProcess, DesiredProcesses, ReleaseFiles
from lightragctl.local.processes import alive
from lightragctl.local.runtime import LocalRuntime
from lightragctl.local.supervisor import Supervisor
from tests.conftest import free_ports

LISTEN = "import socket, time; s = socket.create_server(('127.0.0.1', {port})); time.sleep(600)"


class Rounds:
    """A supervisor's rounds in a thread, as its process does them; `end` and begin another as after a kill."""

    def __init__(self, files: ReleaseFiles) -> None:
        self.supervisor = Supervisor(files)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._ended.is_set():
            assert self.supervisor.try_round()
            self._ended.wait(0.02)

    def end(self) -> None:
        self._ended.set()
        self._thread.join()


@pytest.fixture
def runtime(tmp_path: Path) -> Iterator[LocalRuntime]:
    files = ReleaseFiles(tmp_path / "rel")
    files.prepare()
    (port,) = free_ports(1)
    server = DesiredProcess(
        name="lightrag-server",
        argv=(sys.executable, "-c", LISTEN.format(port=port)),
        digest="d",
        port=port,
        ready_path=None,
        start_timeout_s=20.0,
        stop_grace_s=5.0,
    )
    files.write_desired(
        DesiredProcesses(request="1", release="rel", profile_name="local", profile={}, processes=(server,))
    )
    rounds = Rounds(files)
    runtime = LocalRuntime("rel", files)
    runtime.resume("lightrag-server", 1, 20.0, quiet)
    yield runtime
    rounds.end()
    rounds.supervisor.stop_all()


def quiet(event: Event) -> None:
    """Nobody reads it."""


def seen(runtime: LocalRuntime) -> tuple[State, str]:
    (part,) = runtime.status().components
    return part.state, part.message


def process_of(runtime: LocalRuntime) -> bool:
    running = runtime.files.read_running()
    return running is not None and any(alive(record.process) for record in running.records.values())


def test_it_is_stopped_stays_so_says_why_and_starts_again(runtime: LocalRuntime) -> None:
    assert runtime.replicas("lightrag-server") == 1
    for _ in range(2):
        runtime.hold("lightrag-server", "operation restore-1", 20.0, quiet)
        assert not process_of(runtime)
        assert seen(runtime) == (State.STOPPED, "held by operation restore-1")
    threading.Event().wait(0.3)  # several rounds
    assert not process_of(runtime)
    for _ in range(2):
        runtime.resume("lightrag-server", 1, 20.0, quiet)
        assert seen(runtime)[0] is State.READY


def test_another_supervisor_and_an_up_keep_it_stopped(runtime: LocalRuntime) -> None:
    runtime.hold("lightrag-server", "operation restore-1", 20.0, quiet)
    wanted = runtime.files.read_desired()
    assert wanted is not None
    runtime.files.write_desired(wanted.model_copy(update={"request": "2"}))
    second = Supervisor(runtime.files)
    assert second.try_round()
    assert not process_of(runtime)
    events: list[Event] = []
    runtime._wait_ready(wanted, 1.0, events.append)
    assert [(event.subject, event.message) for event in events] == [
        ("lightrag-server", "not started: held by operation restore-1")
    ]


def test_a_release_that_is_down_is_held_and_resumed_without_being_started(tmp_path: Path) -> None:
    files = ReleaseFiles(tmp_path / "rel")
    files.prepare()
    files.write_desired(
        DesiredProcesses(
            release="rel",
            profile_name="local",
            profile={},
            processes=(
                DesiredProcess(
                    name="a", argv=(), digest="d", port=1, ready_path=None, start_timeout_s=1.0, stop_grace_s=1.0
                ),
            ),
        )
    )
    runtime = LocalRuntime("rel", files)
    runtime.hold("a", "operation clone-1", 1.0, quiet)
    assert seen(runtime) == (State.STOPPED, "held by operation clone-1")
    runtime.resume("a", 1, 1.0, quiet)
    assert seen(runtime) == (State.STOPPED, "not started")
    with pytest.raises(NotRunningError, match="no nothing"):
        runtime.hold("nothing", "x", 1.0, quiet)
