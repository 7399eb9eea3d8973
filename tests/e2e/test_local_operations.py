"""Operations on this machine, by the command line: signals, a kill, and what is refused meanwhile."""

import json
import signal
import subprocess
from datetime import UTC, datetime
from typing import Any

import pytest

from lightragctl.local.files import DesiredProcesses, ReleaseFiles
from lightragctl.operations.model import Kept, Phase
from lightragctl.operations.store import FileStore
from tests.conftest import Tool
from tests.fakes.terminal import seen_on_a_terminal

BEGUN = "count: count seconds"


@pytest.fixture
def named(tool: Tool) -> Tool:
    """A release `x` that consists of no process: operations need it to be there, not to run."""
    files = ReleaseFiles(tool.home / ".local" / "share" / "lightragctl" / "x")
    files.prepare()
    files.write_desired(DesiredProcesses(release="x", profile_name="local", profile={}, processes=()))
    return tool


def operations(tool: Tool, *arguments: str) -> subprocess.CompletedProcess[str]:
    return tool.run("operations", *arguments, "--name", "x")


def shown(tool: Tool) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(operations(tool, "status", "-o", "json").stdout)
    return document


def begun(tool: Tool, seconds: int) -> "subprocess.Popen[str]":
    """A rehearsal that has begun to count."""
    words = ("operations", "rehearse", "--seconds", str(seconds), "--name", "x")
    process = tool.popen(*words, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
    assert process.stderr is not None
    assert any(line.startswith(BEGUN) for line in process.stderr)
    return process


def test_a_killed_command_is_continued_by_the_next(named: Tool) -> None:
    with begun(named, 2) as process:
        process.kill()
    assert (shown(named)["phase"], shown(named)["driver"]) == ("running", "")
    refused = named.run("down", "--name", "x")
    assert refused.returncode == 6
    assert "of this release is open, and reserves the release" in refused.stderr
    resumed = operations(named, "resume", shown(named)["id"], "-o", "json")
    assert resumed.returncode == 0, resumed.stderr
    assert json.loads(resumed.stdout)["results"] == {"held": False, "counted": 2}
    assert named.run("down", "--name", "x").returncode == 0


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_gives_back_what_is_held_and_says_how_to_continue(
    named: Tool, number: signal.Signals, status: int
) -> None:
    with begun(named, 60) as process:
        process.send_signal(number)
        assert process.stderr is not None
        told = process.stderr.read()
        assert process.wait() == status
    document = shown(named)
    assert (document["phase"], document["results"]["held"]) == ("paused", False)
    assert f"it is paused; continue with it: lightragctl operations resume --name x {document['id']}" in told
    aborted = operations(named, "abort", document["id"])
    assert aborted.returncode == 0, aborted.stderr


def test_another_command_pauses_what_runs(named: Tool) -> None:
    with begun(named, 60) as process:
        paused = operations(named, "pause", shown(named)["id"])
        assert paused.returncode == 0, paused.stderr
        assert process.wait() == 1
    forced = operations(named, "abort", shown(named)["id"], "--force", "--yes")
    assert forced.returncode == 0, forced.stderr
    listed = json.loads(operations(named, "list", "-o", "json").stdout)
    assert [one["phase"] for one in listed["operations"]] == ["aborted"]


def test_ctrl_c_on_a_terminal_asks(named: Tool) -> None:
    words = ("operations", "rehearse", "--seconds", "60", "--name", "x")
    seen = seen_on_a_terminal(named, *words, interrupt_at=BEGUN, answer=("[d]etach?", "a"))
    assert "is paused: [p]ause, [a]bort, [c]ontinue, [d]etach?" in seen
    assert shown(named)["phase"] == "aborted"


def test_what_a_pod_runs_ends_well_although_the_operation_failed(named: Tool) -> None:
    """Any other status would make the Job start another pod."""
    with begun(named, 60) as process:
        process.kill()
    operation_id = shown(named)["id"]
    store = FileStore(named.home / ".local" / "share" / "lightragctl" / "x" / "operations")
    store.update(operation_id, lambda current: current.changed(phase=Phase.FAILED, cause="refused"))
    assert operations(named, "status").returncode == 1
    assert operations(named, "run", operation_id).returncode == 0
    store.update(operation_id, lambda current: current.changed(phase=Phase.NEEDS_ATTENTION))
    seen = operations(named, "status")
    assert seen.returncode == 9
    assert f"then: lightragctl operations abort --name x {operation_id}" in seen.stderr


def test_kept_data_are_shown_before_they_are_deleted(named: Tool) -> None:
    """These are of a kind that this version does not have: it must not forget them."""
    assert operations(named, "rehearse", "--seconds", "0").returncode == 0
    store = FileStore(named.home / ".local" / "share" / "lightragctl" / "x" / "operations")
    past, future = datetime(2026, 1, 1, tzinfo=UTC), datetime(2999, 1, 1, tzinfo=UTC)
    kept = Kept(name="rows", about="rows from before", created_at=past, expires_at=future, size_bytes=2**20)
    store.update(shown(named)["id"], lambda current: current.changed(kind="move", kept=(kept,)))
    assert json.loads(operations(named, "cleanup", "--yes", "-o", "json").stdout)["chosen"] == []
    planned = operations(named, "cleanup", "--all", "--dry-run")
    assert planned.returncode == 0
    assert "rows from before" in planned.stdout
    assert operations(named, "cleanup", "--all").returncode == 2  # there is no terminal to ask on
    done = operations(named, "cleanup", "--all", "--yes")
    assert done.returncode == 1
    assert "this lightragctl does not know which data operation" in done.stderr
    assert "rows from before" in operations(named, "list").stdout
