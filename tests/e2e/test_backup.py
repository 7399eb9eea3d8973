"""The story of backups on this machine: made while documents come and go, verified, damaged, killed, pruned."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyrage
import pytest

from lightragctl.bench import corpus
from lightragctl.client.api import ApiClient
from tests.conftest import Release, Tool, port_settings

DOCUMENTS = sorted((Path(corpus.__file__).parent / "data" / "documents").glob("*.md"))


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Release]:
    """A release with some documents."""
    base = tmp_path_factory.mktemp("backup")
    (base / "home").mkdir()
    tool = Tool(base / "home", base)
    settings, port = port_settings()
    settings += ["--set", "components.embedder.model=hashing"]
    try:
        done = tool.run("up", "--name", "saved", *settings)
        assert done.returncode == 0, done.stderr
        assert tool.run("ingest", *map(str, DOCUMENTS[:12]), "--name", "saved").returncode == 0
        with ApiClient(f"http://127.0.0.1:{port}", timeout_s=60.0) as api:
            yield Release(tool, "saved", api)
    finally:
        assert tool.run("down", "--purge", "--yes", "--name", "saved").returncode == 0


def backup(release: Release, *arguments: str) -> tuple[int, dict[str, Any]]:
    """The exit status and the document of a command on backups."""
    done = release.run("backup", *arguments, "-o", "json")
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, json.loads(done.stdout)


@pytest.mark.slow
def test_backups_from_the_first_to_a_damaged_one(release: Release, tmp_path: Path) -> None:
    place = ("--destination", f"file://{tmp_path}/saves")
    status, first = backup(release, "create", *place)
    assert (status, first["parent"], first["consistency"]["method"]) == (0, None, "fence")
    assert release.run("ingest", str(DOCUMENTS[12])).returncode == 0  # the fence is gone
    status, second = backup(release, "create", *place, "--no-fence")
    assert (status, second["parent"], second["consistency"]["passes"]) == (0, first["id"], 2)
    assert 0 < second["changed_rows"] < first["rows"]
    assert backup(release, "verify", *place)[0] == 0
    status, listed = backup(release, "list", *place)
    assert [(one["id"], one["state"]) for one in listed["backups"]] == [
        (second["id"], "complete"),
        (first["id"], "complete"),
    ]
    part = next((tmp_path / "saves" / first["id"]).rglob("rows/*.parquet"))
    data = bytearray(part.read_bytes())
    data[len(data) // 2] ^= 1
    part.write_bytes(data)
    status, report = backup(release, "verify", *place)
    assert (status, report["errors"][0]["code"]) == (3, "invalid-backup")
    assert part.name in report["errors"][0]["message"]


@pytest.mark.slow
def test_an_encrypted_backup_needs_the_private_key(release: Release, tmp_path: Path) -> None:
    key = pyrage.x25519.Identity.generate()
    (tmp_path / "key.txt").write_text(f"# made for a test\n{key}\n")
    place = ("--destination", f"file://{tmp_path}/saves", "--set", f"backup.recipients=[{key.to_public()}]")
    status, made = backup(release, "create", *place)
    assert (status, made["encrypted"]) == (0, True)
    status, report = backup(release, "verify", *place)
    assert (status, report["errors"][0]["code"], report["rows"]) == (4, "not-decrypted", 0)
    with_key = (*place, "--set", f"backup.identity.file={tmp_path}/key.txt")
    status, report = backup(release, "verify", *with_key)
    assert (status, report["rows"]) == (0, made["rows"])
    status, refused = backup(release, "create", "--include-secrets", "--destination", f"file://{tmp_path}/other")
    assert (status, refused["errors"][0]["message"]) == (2, "--include-secrets needs encryption")


def kill(release: Release, place: tuple[str, ...], after_s: float) -> None:
    """Kill a backup in the middle, and abort its operation if it has begun."""
    command = release.tool.popen("backup", "create", *place, "--name", "saved", stderr=subprocess.DEVNULL)
    time.sleep(after_s)
    command.send_signal(signal.SIGKILL)
    command.wait()
    for one in json.loads(release.run("operations", "list", "-o", "json").stdout)["operations"]:
        if one["open"]:
            refused = release.run("backup", "create", *place)
            assert (refused.returncode, f"operation {one['id']}" in refused.stderr) == (6, True)
            assert release.run("operations", "abort", one["id"]).returncode == 0


@pytest.mark.slow
def test_a_killed_backup_is_aborted_and_the_next_one_is_made(release: Release, tmp_path: Path) -> None:
    place = ("--destination", f"file://{tmp_path}/saves")
    kill(release, place, 4.0)
    assert {one["state"] for one in backup(release, "list", *place)[1].get("backups", [])} <= {"complete"}
    assert backup(release, "create", *place)[0] == 0
    assert release.run("ingest", str(DOCUMENTS[13])).returncode == 0


@pytest.mark.drill
@pytest.mark.timeout(1800)
def test_killed_at_any_moment_there_is_a_whole_backup_or_none(release: Release, tmp_path: Path) -> None:
    chance = random.Random(15)
    for number in range(10):
        place = ("--destination", f"file://{tmp_path}/{number}")
        kill(release, place, chance.uniform(0.3, 7.0))
        for one in backup(release, "list", *place)[1].get("backups", []):
            assert one["state"] == "complete"
            assert backup(release, "verify", one["id"], *place)[0] == 0
        assert backup(release, "create", *place)[0] == 0


@pytest.mark.drill
@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("unshare"), reason="mounts a small file system: needs root")
def test_a_full_disk_ends_a_backup_and_leaves_nothing(release: Release, tmp_path: Path) -> None:
    full, place = tmp_path / "full", f"file://{tmp_path}/saves"
    full.mkdir()
    words = ("backup", "create", "--name", "saved", "--destination", f"file://{full}")
    script = f'mount -t tmpfs -o size=64k full {full} && "$@"; code=$?; ls -A {full}; exit $code'
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script, "sh", sys.executable, "-m", "lightragctl", *words],
        env=release.tool.environ, cwd=release.tool.cwd, capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    assert (done.returncode, "is full" in done.stderr, "backup prune" in done.stderr) == (7, True, True), done.stderr
    assert not [line for line in done.stdout.splitlines() if line.startswith("20")]
    listed = json.loads(release.run("operations", "list", "-o", "json").stdout)
    assert not any(one["open"] for one in listed["operations"])
    assert release.run("ingest", str(DOCUMENTS[0])).returncode == 0  # the fence is gone
    assert backup(release, "create", "--destination", place)[0] == 0
