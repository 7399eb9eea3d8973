"""The files of a local release: whole or not at all, and one changer at a time."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lightragctl.core.errors import ExitStatus, LightragctlError, LockedError
from lightragctl.local.files import (
    DesiredProcess,
    DesiredProcesses,
    Environments,
    ProcessId,
    ProcessRecord,
    ReleaseFiles,
    Running,
    StorageError,
    data_home,
    file_lock,
    write_atomically,
)

PART = DesiredProcess(
    name="a", argv=("x", "中文"), digest="d", port=1, ready_path="/readyz", start_timeout_s=1.0, stop_grace_s=2.0
)


@pytest.fixture
def files(tmp_path: Path) -> ReleaseFiles:
    made = ReleaseFiles(tmp_path / "rel")
    made.prepare()
    return made


def test_what_is_written_is_read_back(files: ReleaseFiles) -> None:
    wanted = DesiredProcesses(release="rel", profile_name="local", profile={"a": "中文"}, processes=(PART,))
    running = Running(boot_id="b", supervisor=ProcessId(pid=1, ticks=2), records={"a": ProcessRecord(digest="d")})
    files.write_desired(wanted)
    files.write_running(running)
    assert files.read_desired() == wanted
    assert files.read_running() == running
    files.remove_running()
    files.remove_running()
    assert files.read_running() is None


def test_nothing_written_is_nothing_read(files: ReleaseFiles) -> None:
    assert files.read_desired() is None
    assert files.read_running() is None


@pytest.mark.parametrize("content", [b"", b"{", b"{}", b'{"release": 1}', b"\xff\xfe"])
def test_a_damaged_file_is_an_error_that_names_it_and_a_way_out(files: ReleaseFiles, content: bytes) -> None:
    (files.folder / "wanted.json").write_bytes(content)
    with pytest.raises(LightragctlError, match=r"wanted\.json") as caught:
        files.read_desired()
    assert str(files.folder) in caught.value.hint


def test_of_a_damaged_file_no_content_is_shown(files: ReleaseFiles) -> None:
    files.folder.mkdir(parents=True, exist_ok=True)
    for content in ('{"url": "http://u:planted-s3cret@h"', '{"release": ["planted-s3cret"], "planted-s3cret": 1}'):
        (files.folder / "wanted.json").write_text(content)
        with pytest.raises(LightragctlError, match=r"wanted\.json is damaged") as caught:
            files.read_desired()
        shown = caught.value.message + caught.value.hint
        assert '"planted-s3cret"' not in shown
        assert "@h" not in shown
        assert "lightragctl up" in caught.value.hint


def test_the_folders_are_for_this_user_alone(files: ReleaseFiles) -> None:
    for folder in (files.folder, files.data, files.log("a").parent, files.settings("a").parent):
        assert folder.stat().st_mode & 0o077 == 0
    files.prepare()
    assert files.data.is_dir()


def test_a_write_leaves_the_new_text_and_no_draft(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    write_atomically(path, "old")
    write_atomically(path, "新")
    assert path.read_text(encoding="utf-8") == "新"
    assert os.listdir(tmp_path) == ["state.json"]


def test_a_reader_never_sees_a_part(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    write_atomically(path, "a" * 100_000)
    with open(path, encoding="utf-8") as reader:
        head = reader.read(10)
        write_atomically(path, "b" * 100_000)
        assert head + reader.read() == "a" * 100_000
    assert path.read_text(encoding="utf-8") == "b" * 100_000


def test_a_failed_write_leaves_the_old_text(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    write_atomically(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_atomically(path, "\ud800")
    assert path.read_text(encoding="utf-8") == "old"


def test_a_second_holder_learns_the_first_ones_process_id(tmp_path: Path) -> None:
    with file_lock(tmp_path / "lock") as first, file_lock(tmp_path / "lock") as second:
        assert first is None
        assert second == str(os.getpid())
    with file_lock(tmp_path / "lock") as third:
        assert third is None


def test_a_lock_names_its_holder_and_exits_with_the_status_of_a_conflict(files: ReleaseFiles) -> None:
    says = rf"process {os.getpid()} is changing release 'rel'"
    with files.lock(), pytest.raises(LockedError, match=says) as caught, files.lock():
        pytest.fail("locked twice")
    assert caught.value.exit_status is ExitStatus.LOCKED


def test_a_lock_is_given_back_when_its_block_fails(files: ReleaseFiles) -> None:
    with pytest.raises(KeyError), files.lock():
        raise KeyError
    with files.lock():
        assert (files.folder / "lock").read_text(encoding="ascii") == str(os.getpid())


def test_the_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    program = (
        "import pathlib, sys, time\nfrom lightragctl.local.files import file_lock\n"
        "with file_lock(pathlib.Path(sys.argv[1])):\n    print('held', flush=True)\n    time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "held\n"
        with file_lock(path) as holder:
            assert holder == str(child.pid)
        child.kill()
        child.wait(timeout=10)
    with file_lock(path) as holder:
        assert holder is None


@pytest.mark.parametrize(
    ("environ", "home"),
    [
        ({"HOME": "/h"}, "/h/.local/share/lightragctl"),
        ({"HOME": "/h", "XDG_DATA_HOME": ""}, "/h/.local/share/lightragctl"),
        ({"HOME": "/h", "XDG_DATA_HOME": "/x"}, "/x/lightragctl"),
    ],
)
def test_releases_live_where_the_environment_says(environ: dict[str, str], home: str) -> None:
    assert str(data_home(environ)) == home


def test_a_lock_of_a_release_that_was_deleted_meanwhile_does_not_count(files: ReleaseFiles) -> None:
    with files.lock():
        files.delete()
        with pytest.raises(LockedError), files.lock():  # the folder is gone and the deletion still under way
            pytest.fail("locked twice")
        files.prepare()
        with files.lock():  # a new release of the name has a lock of its own
            assert files.read_desired() is None
    assert os.listdir(files.folder.parent) == [files.folder.name]


def test_secrets_are_readable_by_their_owner_alone(files: ReleaseFiles) -> None:
    files.write_environments(Environments(salt="s", processes={"a": {"KEY": "v"}}))
    assert (files.folder / "environment.json").stat().st_mode & 0o077 == 0
    files.remove_environments()
    assert files.read_environments() is None


def test_an_error_of_the_file_system_names_the_file_and_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "rel").write_text("no folder", encoding="utf-8")
    with pytest.raises(StorageError, match=r"rel: File exists") as caught:
        ReleaseFiles(tmp_path / "rel").prepare()
    assert "permissions" in caught.value.hint
