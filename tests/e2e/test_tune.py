"""The story of index tuning on this machine: search, apply under load, undo; kills at any moment."""

import json
import random
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psutil
import pytest

from lightragctl.client.api import ApiClient, ApiError
from tests.conftest import Tool, port_settings
from tests.e2e.lightrag_stories import questions
from tests.e2e.test_lightrag_server import Release as LightragRelease
from tests.e2e.test_restore_local import DOCUMENTS, Saved

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
PLACE = ("--name", "saved")
SEARCH = ("tune", "search", "--budget", "15s", "--queries", "40", "--load", "1", *PLACE)
GRAPH = {"index_type": "HNSW", "metric": "COSINE", "build": {"M": 16, "efConstruction": 200}, "search": {"ef": 64}}


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Saved]:
    """A release with some documents, of which an index was searched."""
    base = tmp_path_factory.mktemp("tune")
    (base / "home").mkdir()
    settings, port = port_settings()
    made = (*settings, "--set", "components.embedder.model=hashing")
    with ApiClient(f"http://127.0.0.1:{port}", timeout_s=60.0) as api:
        release = Saved(Tool(base / "home", base), made, api)
        try:
            release.up()
            assert release.run("ingest", *DOCUMENTS)[0] == 0
            yield release
        finally:
            assert release.tool.run("down", "--purge", "--yes", *PLACE).returncode == 0


def picked(release: Saved, index: dict[str, Any], rebuilds: bool) -> None:
    """Have the last search have picked this index for the collection as it is now."""
    path = Path(release.tool.home) / ".local/share/lightragctl/tune/saved-default-chunks.json"
    ledger = json.loads(path.read_text())
    present = release.run("tune", "undo", "--dry-run")[1].get("before")  # absent where nothing was applied
    name = release.api.retrieve("index", top_k=1).collection
    before = present or ledger["pick"]["before"]
    ledger["pick"] |= {
        "collection": name, "before": before, "index": index, "rebuilds": rebuilds, "keep": False, "min_recall": 0.5,
    }  # fmt: skip
    path.write_text(json.dumps(ledger))


def answers(release: Saved) -> list[set[tuple[str, float]]]:
    """What questions find; two types of index round scores differently."""
    return [{(id, round(score, 4)) for id, score in hits} for hits in release.answers()]


class Asker(threading.Thread):
    """Queries lightrag-api all the time."""

    def __init__(self, url: str, question: str) -> None:
        super().__init__()
        self.url, self.question, self.ended, self.seen = url, question, threading.Event(), list[str]()

    def run(self) -> None:
        with ApiClient(self.url, timeout_s=60.0) as api:
            while not self.ended.is_set():
                try:
                    self.seen.append(str([hit.id for hit in api.retrieve(self.question, top_k=1).hits]))
                except ApiError as error:
                    self.seen.append(error.code)
                time.sleep(0.01)


def test_search_apply_under_load_and_undo(tuned: Saved, tmp_path: Path) -> None:
    before, page = answers(tuned), tmp_path / "tune.html"
    done = tuned.tool.run(*SEARCH, "--html", str(page), "-o", "json")
    assert done.returncode in (0, 3, 4), done.stderr
    found = json.loads(done.stdout)
    assert found["rows"] > 12
    assert "<svg" in page.read_text() or not found["frontier"]
    picked(tuned, GRAPH, True)
    asker = Asker(tuned.api.base_url, questions()[0])
    asker.start()
    try:
        status, applied = tuned.run("tune", "apply", "--yes")
        assert (status, applied["rebuild"], applied["proof"]["rows"]) == (0, True, found["rows"]), applied
        assert answers(tuned) == before
        picked(tuned, {**GRAPH, "search": {"ef": 48}}, False)
        status, changed = tuned.run("tune", "apply")
        assert (status, changed["rebuild"], changed["after"]["search"]) == (0, False, {"ef": 48})
        assert tuned.run("tune", "undo")[1]["after"]["search"] == {"ef": 64}
        status, undone = tuned.run("tune", "undo", "--yes")
        assert (status, undone["rebuild"], undone["after"]["index_type"]) == (0, True, "FLAT")
    finally:
        asker.ended.set()
        asker.join()
    assert len(set(asker.seen)) == 1, set(asker.seen)
    assert answers(tuned) == before
    assert tuned.run("operations", "cleanup", "--all", "--yes")[0] == 0


@pytest.mark.drill
@pytest.mark.timeout(1800)
def test_killed_at_any_moment_an_apply_is_resumed_or_aborted(tuned: Saved) -> None:
    before, chance = answers(tuned), random.Random(7)
    assert tuned.tool.run(*SEARCH, "-o", "json").returncode in (0, 3, 4)
    for number in range(10):
        picked(tuned, GRAPH, True)
        command = tuned.tool.popen("tune", "apply", "--yes", *PLACE, stderr=subprocess.DEVNULL)
        time.sleep(chance.uniform(0.5, 9.0))
        command.send_signal(signal.SIGKILL)
        command.wait()
        assert answers(tuned) == before
        open_ones = [one["id"] for one in tuned.run("operations", "list")[1]["operations"] if one["open"]]
        for operation in open_ones:
            status, done = tuned.run("operations", "resume" if number % 2 else "abort", operation)
            assert status == 0, done
        assert answers(tuned) == before
        status, _ = tuned.run("tune", "undo", "--yes")
        assert status in (0, 8)  # 8: it was aborted, or died before it began
        assert answers(tuned) == before
        assert tuned.run("operations", "cleanup", "--all", "--yes")[0] == 0


def variables(release: LightragRelease) -> list[str]:
    """What upstream's process was started with."""
    pid = release.part("lightrag-server")["pid"]
    found = [Path(f"/proc/{one.pid}/environ") for one in psutil.Process(pid).children(recursive=True)]
    return [word for path in found for word in path.read_text().split("\0") if word.startswith("MILVUS_")]


@pytest.mark.drill
@pytest.mark.timeout(900)
@pytest.mark.skipif(find_spec("lightrag") is None, reason="upstream LightRAG is not installed: make lightrag")
def test_a_collection_of_lightrag_server_is_rebuilt_while_it_is_stopped(tmp_path: Path) -> None:
    release = LightragRelease(tmp_path, "saved", "--set", "components.embedder.model=hashing")
    ledger = tmp_path / "home/.local/share/lightragctl/tune/saved-default-chunks.json"

    try:
        assert release.up().returncode == 0
        for number in range(15):
            (tmp_path / f"about{number}.md").write_text(f"Penguins of group {number} live in the South.\n")
        assert release.ingest(*[str(path) for path in tmp_path.glob("about*.md")])["created"] == 15
        release.run("tune", "search", "--budget", "15s", "--queries", "20", "--load", "1")
        found = json.loads(ledger.read_text())
        found["pick"] |= {"index": GRAPH, "rebuilds": True, "keep": False, "min_recall": 0.5}
        ledger.write_text(json.dumps(found))
        asker = Asker(release.part("lightrag-api")["endpoint"], "Penguins of group 7")
        asker.start()
        try:
            done = release.run("tune", "apply", "--yes", "-o", "json")
        finally:
            asker.ended.set()
            asker.join()
        assert done.returncode == 0, done.stdout + done.stderr
        applied = json.loads(done.stdout)
        assert applied["writer_stopped_s"] > 0
        assert len(set(asker.seen) - {"switching"}) == 1
        assert "[]" not in asker.seen
        release.wait("lightrag-server", "ready")
        assert {"MILVUS_INDEX_TYPE=HNSW", "MILVUS_HNSW_EF=64"} <= set(variables(release))
        assert release.run("tune", "undo", "--yes").returncode == 0
    finally:
        release.run("down", "--purge", "--yes")
