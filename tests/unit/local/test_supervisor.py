"""Rounds of the supervisor with real child processes: full disks, programs that are gone, signals without a name."""

import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from lightragctl.local.files import DesiredProcess, DesiredProcesses, Environments, ReleaseFiles, Running, StorageError
from lightragctl.local.processes import alive, describe_exit
from lightragctl.local.reconcile import BACKOFF_FIRST_S
from lightragctl.local.supervisor import Supervisor

SLEEP = (sys.executable, "-c", "import time; time.sleep(60)")


@dataclass(frozen=True)
class Disk(ReleaseFiles):
    """The files of a release on a disk that is full after so many more writes of the state."""

    room: list[int]

    def write_running(self, running: Running) -> None:
        if not self.room[0]:
            raise StorageError(f"cannot write {self.folder / 'running.json'}: No space left on device", "free some")
        self.room[0] -= 1
        super().write_running(running)


def wanted(*argv: str, request: str = "1") -> DesiredProcesses:
    process = DesiredProcess(
        name="a", argv=argv, digest="d", port=1, ready_path=None, start_timeout_s=1.0, stop_grace_s=2.0
    )
    return DesiredProcesses(request=request, release="rel", profile_name="local", profile={}, processes=(process,))


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    made = Disk(tmp_path / "rel", [1000])
    made.prepare()
    return made


def children_of_this_test() -> list[int]:
    text = Path(f"/proc/self/task/{os.getpid()}/children").read_text(encoding="ascii")
    return [int(pid) for pid in text.split()]


@pytest.mark.parametrize("room", [0, 1])
def test_a_full_disk_ends_neither_the_supervisor_nor_leaves_a_process_that_it_does_not_know(
    disk: Disk, room: int
) -> None:
    disk.write_desired(wanted(*SLEEP))
    supervisor = Supervisor(disk)
    before = children_of_this_test()
    disk.room[0] = room  # 1: the state before the start is still written, the state after it is not
    assert not supervisor.try_round()
    assert children_of_this_test() == before
    disk.room[0] = 1000
    assert supervisor.try_round()
    running = disk.read_running()
    assert running is not None
    assert alive(running.records["a"].process)
    supervisor.stop_all()
    assert children_of_this_test() == before


def test_a_program_that_cannot_be_started_is_a_death_with_its_reason(disk: Disk) -> None:
    disk.write_desired(wanted("/nonexistent/python"))
    supervisor = Supervisor(disk)
    assert supervisor.try_round()
    running = disk.read_running()
    assert running is not None
    assert "No such file" in running.records["a"].last_exit
    assert running.records["a"].failures == 1


def test_a_new_up_starts_at_once_what_was_in_back_off_and_forgets_its_deaths(disk: Disk) -> None:
    disk.write_desired(wanted("/nonexistent/python"))
    supervisor = Supervisor(disk)
    supervisor.try_round()
    assert BACKOFF_FIRST_S > 0
    disk.write_desired(wanted(*SLEEP, request="2"))  # the same digest: the cause was elsewhere, and is gone
    assert supervisor.try_round()
    running = disk.read_running()
    assert running is not None
    assert (running.records["a"].failures, running.records["a"].request) == (0, "2")
    assert alive(running.records["a"].process)
    supervisor.stop_all()


def test_a_process_gets_what_up_handed_over_and_no_proxy_of_the_supervisors_own(
    disk: Disk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    seen = tmp_path / "seen"
    disk.write_environments(Environments(salt="s", processes={"a": {"MODEL_API_KEY": "new"}}))
    disk.write_desired(wanted("/bin/sh", "-c", f'echo "$MODEL_API_KEY,$http_proxy" > {seen}; sleep 60'))
    supervisor = Supervisor(disk)
    assert supervisor.try_round()
    while not seen.exists() or not seen.read_text(encoding="utf-8"):
        assert supervisor.try_round()
    supervisor.stop_all()
    assert seen.read_text(encoding="utf-8") == "new,\n"


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (None, "ended"),
        (3, "exited with status 3"),
        (-signal.SIGKILL, "killed by SIGKILL"),
        (-37, "killed by signal 37"),
    ],
)
def test_how_a_process_ended_is_told_for_every_status(status: int | None, words: str) -> None:
    assert describe_exit(status) == words
