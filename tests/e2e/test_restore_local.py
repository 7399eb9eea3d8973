"""The story of restores on this machine: all is lost and comes back, elsewhere too; drills, damage, kills."""

import json
import random
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from lightragctl.bench import corpus
from lightragctl.client.api import ApiClient, ApiError
from tests.conftest import Tool, port_settings
from tests.e2e.lightrag_stories import questions
from tests.e2e.test_lightrag_server import Release as LightragRelease

DOCUMENTS = [str(path) for path in sorted((Path(corpus.__file__).parent / "data" / "documents").glob("*.md"))[:12]]
LATER = "Purple valves are painted on Tuesdays in Utrecht.\n"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@dataclass(frozen=True)
class Saved:
    """A release that has one backup, with what was answered when it was made."""

    tool: Tool
    settings: tuple[str, ...]
    api: ApiClient

    @property
    def saves(self) -> Path:
        return Path(self.tool.cwd) / "saves"

    def run(self, *words: str) -> tuple[int, dict[str, Any]]:
        """The exit status and the document of a command."""
        done = self.tool.run(*words, *self.place, "-o", "json")
        assert "Traceback" not in done.stderr, done.stderr
        return done.returncode, json.loads(done.stdout)

    @property
    def place(self) -> tuple[str, ...]:
        return ("--name", "saved", "--set", f"backup.destination=file://{self.saves}")

    def up(self) -> None:
        done = self.tool.run("up", *self.settings, *self.place)
        assert done.returncode == 0, done.stderr

    def answers(self, workspace: str = "default") -> list[set[tuple[str, float]]]:
        """What fifty questions find: ids and scores, without those that share the last score, of which others exist."""
        found = [self.api.retrieve(one, top_k=10, workspace=workspace).hits for one in questions()[:50]]
        scored = [[(hit.id, hit.score or 0.0) for hit in hits] for hits in found]
        return [{(id, score) for id, score in hits if score > hits[-1][1]} for hits in scored]

    def later(self) -> str:
        """A document that the backup does not have."""
        path = Path(self.tool.cwd) / "later.md"
        path.write_text(LATER)
        return str(path)

    def has_later(self) -> bool:
        return self.api.retrieve("purple valves in Utrecht", top_k=1).hits[0].text.startswith("Purple valves")


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Saved]:
    """A release with some documents."""
    base = tmp_path_factory.mktemp("restore")
    (base / "home").mkdir()
    settings, port = port_settings()
    made = (*settings, "--set", "components.embedder.model=hashing")
    with ApiClient(f"http://127.0.0.1:{port}", timeout_s=60.0) as api:
        release = Saved(Tool(base / "home", base), made, api)
        try:
            release.up()
            assert release.run("ingest", *DOCUMENTS)[0] == 0
            assert release.run("backup", "create")[0] == 0
            yield release
        finally:
            assert release.tool.run("down", "--purge", "--yes", "--name", "saved").returncode == 0


def test_all_is_lost_and_comes_back_and_under_other_names(saved: Saved) -> None:
    before = saved.answers()
    assert saved.tool.run("down", "--purge", "--yes", "--name", "saved").returncode == 0
    saved.up()
    status, done = saved.run("restore", "latest")  # nothing is there to be replaced
    assert (status, done["phase"], done["kept"]) == (0, "succeeded", [])
    assert saved.answers() == before
    assert saved.run("ingest", *DOCUMENTS)[1]["unchanged"] == len(DOCUMENTS)
    assert saved.run("restore", done["backup"], "--target-workspace", "other")[0] == 0
    assert saved.answers("other") == before
    status, planned = saved.run("clone", "other", "third", "--dry-run")
    assert (status, planned["workspace"], planned["dry_run"]) == (0, "third", True)
    assert sum(planned["rows"].values()) > 0
    assert saved.run("clone", "other", "third")[0] == 0
    assert saved.answers("third") == before
    assert saved.run("clone", "other", "third")[0] == 8


def test_what_came_after_the_backup_is_kept_until_it_is_cleaned_up(saved: Saved) -> None:
    before = saved.answers()
    assert saved.run("ingest", saved.later())[1]["created"] == 1
    assert saved.has_later()
    assert saved.run("restore", "latest")[0] == 2  # there is no terminal to ask on
    status, done = saved.run("restore", "latest", "--yes")
    assert (status, [one["size_bytes"] > 0 for one in done["kept"]]) == (0, [True, True])
    assert saved.answers() == before
    assert not saved.has_later()
    assert len(saved.run("operations", "list")[1]["kept"]) == 2
    assert saved.run("operations", "cleanup", "--all", "--yes")[0] == 0
    assert saved.run("operations", "list")[1]["kept"] == []
    assert saved.run("ingest", saved.later())[1]["created"] == 1
    assert saved.run("restore", "latest", "--yes")[0] == 0


def test_readers_get_right_answers_or_a_refusal_while_a_workspace_is_replaced(saved: Saved) -> None:
    question, ended = "purple valves in Utrecht", threading.Event()
    seen: list[list[str] | str] = []
    first = saved.api.retrieve(question, top_k=1).hits[0].id

    def ask() -> None:
        with ApiClient(saved.api.base_url, timeout_s=60.0) as api:
            while not ended.is_set():
                try:
                    seen.append([hit.id for hit in api.retrieve(question, top_k=1).hits])
                except ApiError as error:
                    seen.append(error.code)
                time.sleep(0.01)

    reader = threading.Thread(target=ask)
    reader.start()
    try:
        assert saved.run("restore", "latest", "--yes")[0] == 0
    finally:
        ended.set()
        reader.join()
    assert {str(one) for one in seen} == {str([first]), "switching"}
    assert seen[0] == seen[-1] == [first]


def test_a_drill_verifies_and_changes_nothing(saved: Saved) -> None:
    before = saved.answers()
    status, done = saved.run("restore", "latest", "--drill")
    assert (status, done["kind"], done["proof"]["overlap"]) == (0, "drill", 1.0)
    assert done["proof"]["rows"] > 12
    assert set(done["seconds"]) == {"check", "copy", "verify", "remove"}
    assert saved.answers() == before
    planned = saved.run("restore", "latest", "--dry-run")[1]
    assert (bool(planned["replaced"]), planned["losses"]) == (True, [])


def test_a_flipped_bit_is_refused_and_leaves_no_operation(saved: Saved) -> None:
    before = saved.answers()
    part = next(path for path in saved.saves.rglob("*.parquet"))
    whole = part.read_bytes()
    part.write_bytes(whole[:100] + bytes([whole[100] ^ 1]) + whole[101:])
    try:
        status, refused = saved.run("restore", "latest", "--yes")
        assert status == 1
        assert "is damaged" in refused["errors"][0]["message"]
        assert not any(one["open"] for one in saved.run("operations", "list")[1]["operations"])
    finally:
        part.write_bytes(whole)
    assert saved.answers() == before


@pytest.mark.drill
@pytest.mark.timeout(1800)
def test_killed_at_any_moment_a_restore_is_resumed_or_aborted(saved: Saved) -> None:
    before, chance = saved.answers(), random.Random(7)
    for number in range(10):
        assert saved.run("ingest", saved.later())[0] == 0
        command = saved.tool.popen("restore", "latest", "--yes", *saved.place, stderr=subprocess.DEVNULL)
        time.sleep(chance.uniform(0.5, 7.0))
        command.send_signal(signal.SIGKILL)
        command.wait()
        open_ones = [one["id"] for one in saved.run("operations", "list")[1]["operations"] if one["open"]]
        for operation in open_ones:
            status, done = saved.run("operations", "resume" if number % 2 else "abort", operation)
            assert status == 0, done
        if number % 2 and open_ones:
            assert saved.answers() == before
        elif open_ones:
            assert saved.has_later()
        names = saved.run("operations", "cleanup", "--all", "--yes")
        assert names[0] == 0
        assert saved.run("restore", "latest", "--yes")[0] == 0
        assert saved.answers() == before


@pytest.mark.drill
@pytest.mark.timeout(900)
@pytest.mark.skipif(find_spec("lightrag") is None, reason="upstream LightRAG is not installed: make lightrag")
def test_a_workspace_of_lightrag_server_comes_back_with_its_graph(tmp_path: Path) -> None:
    release = LightragRelease(tmp_path, "graph", "--set", "components.embedder.model=hashing")
    place = f"file://{tmp_path}/saves"

    def found() -> tuple[set[str], set[str]]:
        told = json.loads(release.run("retrieve", "Penguins", "--mode", "local", "-o", "json").stdout)
        return {one["name"] for one in told["entities"]}, {one["id"] for one in told["hits"]}

    try:
        assert release.up().returncode == 0
        (tmp_path / "about.md").write_text("Penguins live in the South.\n")
        assert release.ingest(str(tmp_path / "about.md"))["created"] == 1
        before = found()
        assert "Penguins" in before[0]
        assert release.run("backup", "create", "--destination", place).returncode == 0
        assert release.run("down", "--purge", "--yes").returncode == 0
        assert release.up().returncode == 0
        done = release.run("restore", "latest", "--source", place, "-o", "json")
        assert done.returncode == 0, done.stderr
        proof = json.loads(done.stdout)
        assert (proof["proof"]["entities"] > 0, proof["writer_stopped_s"] > 0) == (True, True)
        assert found() == before
        assert release.ingest(str(tmp_path / "about.md"))["unchanged"] == 1
        assert release.run("clone", "default", "second").returncode == 0
        assert {one["state"] for one in release.parts()} == {"ready"}
    finally:
        release.run("down", "--purge", "--yes")
