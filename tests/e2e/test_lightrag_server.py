"""Stories of upstream's lightrag-server in a local release: load through it, read beside it, and what it may not do."""

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from lightragctl.core.result import Event
from lightragctl.local.files import ReleaseFiles, data_home
from lightragctl.local.runtime import LocalRuntime
from lightragctl.release.workspace_files import find_files, list_files
from lightragctl.release.writers import WriterControl, find_writer
from lightragctl.vectors.fence import FenceTerms, hold
from lightragctl.vectors.milvus import MilvusStore
from tests.conftest import Tool, free_ports, port_settings
from tests.e2e.lightrag_stories import CORPUS, LEAST_AGREEMENT, compare, component, questions, report

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(find_spec("lightrag") is None, reason="upstream LightRAG is not installed: make lightrag"),
]

WAIT_S = 90.0
ON = ("--set", "components.lightrag-server.enabled=true")


class Release:
    """A local release with lightrag-server, driven by the command line."""

    def __init__(self, base: Path, name: str, *options: str) -> None:
        (base / "home").mkdir()
        self.tool, self.name = Tool(base / "home", base), name
        settings, _ = port_settings()
        ports = dict(zip(("port", "ready_port"), free_ports(2), strict=True))
        own = [word for key, port in ports.items() for word in ("--set", f"components.lightrag-server.{key}={port}")]
        self.options = (*settings, *own, *ON, *options)

    def run(self, *arguments: str) -> Any:
        return self.tool.run(*arguments, "--name", self.name)

    def up(self, *more: str) -> Any:
        return self.run("up", *self.options, *more)

    def ingest(self, *paths: str) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.run("ingest", *paths, "-o", "json").stdout)
        return document

    def parts(self) -> list[dict[str, Any]]:
        parts: list[dict[str, Any]] = json.loads(self.run("status", "-o", "json").stdout)["components"]
        return parts

    def part(self, name: str) -> dict[str, Any]:
        return component(self.parts(), name)

    def client(self, name: str) -> httpx.Client:
        return httpx.Client(base_url=self.part(name)["endpoint"], timeout=60, trust_env=False)

    def wait(self, name: str, state: str) -> dict[str, Any]:
        deadline = time.monotonic() + WAIT_S
        while (part := self.part(name))["state"] != state:
            assert time.monotonic() < deadline, part
            time.sleep(0.3)
        return part


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Release]:
    """A release with the tests' embedder, which knows words and costs nothing."""
    release = Release(tmp_path_factory.mktemp("words"), "words", "--set", "components.embedder.model=hashing")
    done = release.up()
    assert done.returncode == 0, done.stdout + done.stderr
    yield release
    assert release.run("down", "--purge", "--yes").returncode == 0


@pytest.fixture
def folder(words: Release) -> Iterator[Path]:
    """Two files of one name, in two folders."""
    path = words.tool.cwd / "texts"
    for place, text in (("north", "Penguins do not live in the North.\n"), ("south", "Penguins live in the South.\n")):
        (path / place).mkdir(parents=True)
        (path / place / "about.md").write_text(text)
    yield path
    shutil.rmtree(path)


def test_documents_go_through_lightrag_server_and_are_found_by_lightrag_api(words: Release, folder: Path) -> None:
    first = words.ingest("texts")
    assert (first["through"], first["created"], first["failed"]) == ("lightrag-server", 2, [])
    again = words.ingest("texts")
    assert (again["created"], again["updated"], again["unchanged"]) == (0, 0, 2)
    found = json.loads(words.run("retrieve", "penguins in the South", "-o", "json").stdout)["hits"]
    assert found[0]["source"] == str(folder / "south" / "about.md")

    (folder / "north" / "about.md").write_text("Polar bears live in the North, and walruses.\n")
    changed = words.ingest("texts")
    assert (changed["created"], changed["updated"], changed["unchanged"]) == (0, 1, 1)
    texts = [hit["text"] for hit in json.loads(words.run("retrieve", "the North", "-o", "json").stdout)["hits"]]
    assert any("walruses" in text for text in texts)
    assert not any("do not live" in text for text in texts)


@pytest.mark.drill
def test_a_text_that_is_there_already_under_another_source_is_no_failure(words: Release, folder: Path) -> None:
    (folder / "copy.md").write_text("One text in two files.\n")
    (folder / "other.md").write_text("One text in two files.\n")
    told = words.ingest("texts/copy.md", "texts/other.md")
    assert (told["created"], told["unchanged"], told["failed"]) == (1, 1, [])
    assert words.ingest("texts/copy.md", "texts/other.md")["unchanged"] == 2


@pytest.mark.drill
def test_graph_modes_are_passed_on_and_say_so(words: Release, folder: Path) -> None:
    words.ingest("texts")
    told = json.loads(words.run("retrieve", "Penguins", "--mode", "local", "-o", "json").stdout)
    assert told["forwarded_to"] == "lightrag-server"
    assert "Penguins" in {one["name"] for one in told["entities"]}
    answered = words.run("query", "where do Penguins live", "--mode", "mix")
    assert answered.returncode == 0, answered.stderr
    assert "through lightrag-server" in answered.stdout


def test_documents_that_the_model_fails_on_are_named_and_loaded_by_the_next_run(words: Release) -> None:
    texts = words.tool.cwd / "hard"
    texts.mkdir()
    (texts / "storm.md").write_text("Storms are strong in Autumn, says Beaufort.\n")
    with words.client("mock-llm") as mock:
        mock.put("/faults", json={"context_tokens": 10}).raise_for_status()
        done = words.run("ingest", "hard")
        assert done.returncode == 1
        assert "storm.md: " in done.stderr
        assert "maximum context length" in done.stderr
        mock.put("/faults", json={}).raise_for_status()
    assert words.ingest("hard")["failed"] == []
    assert words.ingest("hard")["unchanged"] == 1


@pytest.mark.drill
@pytest.mark.parametrize("victim", ["the load", "lightrag-server"])
def test_a_load_that_meets_a_death_loses_nothing(words: Release, victim: str) -> None:
    texts = words.tool.cwd / victim.replace(" ", "-")
    texts.mkdir()
    for number in range(40):
        (texts / f"{number}.md").write_text(f"# Number {number}\n\nThe {victim} of {number} is called Name{number}.\n")
    load = words.tool.popen("ingest", str(texts), "--name", words.name)
    time.sleep(8)
    pid = load.pid if victim == "the load" else words.part("lightrag-server")["pid"]
    os.kill(pid, signal.SIGKILL)
    load.wait(240)
    words.wait("lightrag-server", "ready")
    again = words.ingest(str(texts))
    assert again["failed"] == []
    assert again["created"] + again["updated"] + again["unchanged"] == 40
    with words.client("lightrag-server") as upstream:
        listed = upstream.post("/documents/paginated", json={"page_size": 200}).json()["documents"]
    mine = [one for one in listed if texts.name in one["file_path"]]
    assert sorted({one["status"] for one in mine}) == ["processed"]
    assert len(mine) == 40


@pytest.mark.drill
def test_lightrag_server_is_not_ready_while_milvus_is_gone_though_health_says_otherwise(words: Release) -> None:
    os.kill(words.part("vector-engine")["pid"], signal.SIGSTOP)
    try:
        part = words.part("lightrag-server")
        deadline = time.monotonic() + 200
        while part["state"] == "ready":
            assert time.monotonic() < deadline, part
            time.sleep(1)
            part = words.part("lightrag-server")
        assert "query" in part["message"]
        with words.client("lightrag-server") as upstream:
            assert upstream.get("/health").status_code == 200
    finally:
        os.kill(words.part("vector-engine")["pid"], signal.SIGCONT)
    words.wait("lightrag-server", "ready")


@pytest.mark.drill
def test_a_killed_writer_is_gone_before_the_next_one_starts(words: Release) -> None:
    before = words.wait("lightrag-server", "ready")
    os.kill(before["pid"], signal.SIGKILL)
    deadline = time.monotonic() + WAIT_S
    while words.part("lightrag-server")["restarts"] == before["restarts"]:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert words.wait("lightrag-server", "ready")["pid"] != before["pid"]
    assert "already in use" not in words.run("logs", "lightrag-server").stdout


def test_another_prefix_or_model_than_the_datas_stops_the_start_with_the_cause(words: Release) -> None:
    try:
        done = words.up("--set", "models.embedding.query_prefix='search: '")
        assert done.returncode == 1
        assert "query_prefix was 'query: ' and is 'search: '" in done.stderr
        done = words.up("--set", "models.embedding.name=other-model")
        assert done.returncode == 1
        assert "loaded with another model: default_chunks_multilingual_e5_small_384d" in done.stderr
    finally:
        assert words.up().returncode == 0


@pytest.mark.drill
def test_what_lightrag_api_loaded_is_never_touched(tmp_path: Path) -> None:
    release = Release(tmp_path, "mixed", "--set", "components.embedder.model=hashing")
    try:
        assert release.up("--set", "components.lightrag-server.enabled=false").returncode == 0
        (tmp_path / "a.md").write_text("A text of our own.\n")
        assert release.ingest("a.md")["through"] == "lightrag-api"
        done = release.up()
        assert done.returncode == 1
        assert "workspace 'default' was loaded through lightrag-api" in done.stderr
        assert "--set workspace=NAME" in done.stderr
    finally:
        release.run("down", "--purge", "--yes")


def listeners(release: Release) -> list[psutil.Process]:
    """Upstream's processes that take requests: gunicorn's master, and its workers, to which it hands its socket on."""
    part = release.part("lightrag-server")
    port = int(part["endpoint"].rpartition(":")[2])
    return [
        one
        for one in psutil.Process(part["pid"]).children(recursive=True)
        if any(at.status == psutil.CONN_LISTEN and at.laddr.port == port for at in one.net_connections("tcp"))
    ]


@pytest.mark.drill
def test_two_workers_take_a_document_give_it_back_and_end_together(tmp_path: Path) -> None:
    two = ("--set", "components.lightrag-server.workers=2")
    release = Release(tmp_path, "pair", "--set", "components.embedder.model=hashing", *two)
    try:
        done = release.up()
        assert done.returncode == 0, done.stdout + done.stderr
        processes = listeners(release)
        assert len(processes) == 3, processes  # a master and two workers
        (tmp_path / "tides.md").write_text("The Moon raises the tides of the sea twice a day.\n")
        loaded = release.ingest("tides.md")
        assert (loaded["through"], loaded["created"], loaded["failed"]) == ("lightrag-server", 1, [])
        with release.client("lightrag-server") as upstream, release.client("lightrag-api") as api:
            body = {"query": "what raises the tides", "mode": "naive", "chunk_top_k": 1}
            for _ in range(10):  # whichever worker it comes to
                told = upstream.post("/query/data", json=body, headers={"Connection": "close"}).raise_for_status()
                assert "Moon" in told.json()["data"]["chunks"][0]["content"]
            assert "Moon" in api.post("/retrieve", json=body).raise_for_status().json()["hits"][0]["text"]
        assert release.ingest("tides.md")["unchanged"] == 1
        assert listeners(release) == processes  # none had to be started again
    finally:
        ended = release.run("down", "--purge", "--yes")
    assert ended.returncode == 0, ended.stderr
    assert not [one for one in processes if one.is_running()]


@pytest.mark.drill
def test_naive_reading_is_upstreams_own(tmp_path: Path) -> None:
    """The corpus in two languages with the real model; every question, the same ids in the same order."""
    release = Release(tmp_path, "naive")
    try:
        done = release.up()
        assert done.returncode == 0, done.stdout + done.stderr
        loaded = release.ingest(str(CORPUS))
        assert (loaded["created"], loaded["failed"]) == (48, [])
        asked = questions()
        with release.client("lightrag-api") as api, release.client("lightrag-server") as upstream:
            misses = compare(api, upstream, asked)
        print(report(misses, asked))
        assert len(misses) <= (1 - LEAST_AGREEMENT) * len(asked), report(misses, asked)
    finally:
        release.run("down", "--purge", "--yes")


def runtime_of(release: Release) -> LocalRuntime:
    """The release as an operation reaches it."""
    environ = {"HOME": str(release.tool.home)}
    return LocalRuntime(release.name, ReleaseFiles(data_home(environ) / release.name), environ)


def quiet(event: Event) -> None:
    """Nobody reads it."""


def test_the_writer_rests_its_files_are_whole_and_it_goes_on_as_before(words: Release, folder: Path) -> None:
    words.ingest("texts")
    runtime = runtime_of(words)
    writer, control = find_writer(runtime), WriterControl(runtime, quiet)
    assert writer is not None
    control.wait_idle(WAIT_S)
    stopped_at = control.stop("operation test-1", WAIT_S)
    try:
        part = words.part("lightrag-server")
        assert (part["state"], part["message"]) == ("stopped", "held by operation test-1")
        assert "held by operation test-1" in words.up().stderr
        assert words.part("lightrag-server")["state"] == "stopped"
        files = find_files(runtime, words.name)
        assert files is not None
        texts = {entry.path: files.path(entry.path).read_text() for entry in list_files(files)}
        assert "Penguins" in texts["rag_storage/graph_chunk_entity_relation.graphml"]
        documents = json.loads(texts["rag_storage/kv_store_doc_status.json"])
        assert {one["status"] for one in documents.values()} == {"processed"}
    finally:
        unavailable_s = control.start(writer, stopped_at, WAIT_S)
    assert 1 < unavailable_s < WAIT_S
    assert words.ingest("texts")["unchanged"] == 2
    told = json.loads(words.run("retrieve", "Penguins", "--mode", "local", "-o", "json").stdout)
    assert "Penguins" in {one["name"] for one in told["entities"]}


def test_a_load_waits_while_the_workspace_is_fenced_and_says_by_what(words: Release, folder: Path) -> None:
    store = MilvusStore(words.part("vector-engine")["endpoint"])
    with hold(store, "default", FenceTerms("test-2", "backup test-2"), quiet) as fence:
        (folder / "fenced.md").write_text("Albatrosses sleep while they fly.\n")
        load = words.tool.popen("ingest", str(folder / "fenced.md"), "--name", words.name, stderr=subprocess.PIPE)
        assert load.stderr is not None
        line = load.stderr.readline()
        while "refused for now: backup test-2" not in str(line):
            assert line, "the load has ended"
            line = load.stderr.readline()
        fence.confirm()
    assert load.wait(120) == 0
    store.close()
    assert words.ingest(str(folder / "fenced.md"))["unchanged"] == 1
