"""kill -9 of every process while documents are loaded and while questions are asked: nothing lost, nothing wrong."""

import itertools
import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import pytest

from lightragctl.client.api import ApiClient
from lightragctl.core.errors import LightragctlError
from lightragctl.vectors.milvus import MilvusStore
from lightragctl.vectors.model import PAGE_ROWS, Page
from tests.conftest import COMPONENTS, Release, Tool, port_settings

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

FILES = 60
PARAGRAPHS = 160  # about 80 chunks: five batches, so that a kill meets documents that are half written
WAIT_S = 90.0
INGEST_S = 240.0
ASKING_S = 20.0
MOST_DEATHS = 15
FEW_CHUNKS = ("--set", "chunking.size_tokens=32", "--set", "chunking.overlap_tokens=0")


@dataclass(frozen=True)
class Corpus:
    """Generated documents: the sentence that only one of them has, by the file's name."""

    folder: Path
    sentences: dict[str, str]


def write_corpus(folder: Path) -> Corpus:
    """Files of many chunks; each holds, in its middle, a sentence of words that no other file has."""
    folder.mkdir()
    sentences = {}
    for number in range(FILES):
        filler = [f"Paragraph {at} of report {number} tells of item {at * FILES + number}." for at in range(PARAGRAPHS)]
        sentence = f"Keyword zq{number}a meets zq{number}b beside zq{number}c under zq{number}d."
        middle = PARAGRAPHS // 2
        text = "\n\n".join([f"# Report {number}", *filler[:middle], sentence, *filler[middle:]])
        (folder / f"{number:03d}.md").write_text(text)
        sentences[f"{number:03d}.md"] = sentence
    return Corpus(folder, sentences)


@contextmanager
def release_of(base: Path, name: str) -> Iterator[Release]:
    """A release with the hashing embedder, up; its data are deleted in the end."""
    (base / "home").mkdir()
    tool = Tool(base / "home", base)
    settings, port = port_settings()
    done = tool.run("up", "--name", name, *settings, "--set", "components.embedder.model=hashing", *FEW_CHUNKS)
    assert done.returncode == 0, done.stderr
    try:
        with ApiClient(f"http://127.0.0.1:{port}", timeout_s=30.0) as api:
            yield Release(tool, name, api)
    finally:
        tool.run("down", "--purge", "--yes", "--name", name)


@pytest.fixture
def release(tmp_path: Path) -> Iterator[Release]:
    with release_of(tmp_path, "kill") as release:
        yield release


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    return write_corpus(tmp_path / "texts")


def components(release: Release) -> dict[str, dict[str, Any]]:
    document = json.loads(release.run("status", "-o", "json").stdout)
    return {part["name"]: part for part in document["components"]}


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


def all_ready(release: Release) -> bool:
    return all(part["state"] == "ready" for part in components(release).values())


def ready_documents(release: Release) -> int:
    """How many documents are acknowledged; -1 when the service does not say."""
    try:
        return sum(one.state == "ready" for one in release.api.list_documents())
    except LightragctlError:
        return -1


def wait_acknowledged(release: Release, count: int) -> None:
    """Wait until so many documents are acknowledged."""
    until(lambda: ready_documents(release) >= count, f"{count} documents")


@contextmanager
def ingesting(release: Release, corpus: Corpus) -> Iterator[subprocess.Popen[str]]:
    """A load that runs."""
    log = release.tool.cwd / "ingest.log"
    with log.open("w") as out:
        process = release.tool.popen("ingest", str(corpus.folder), "--name", release.name, stdout=out, stderr=out)
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()


def check_all_there(release: Release, corpus: Corpus) -> None:
    """Every document is ready, has its chunks once each, and its own sentence finds it."""
    documents = release.api.list_documents()
    assert {Path(one.source).name for one in documents} == set(corpus.sentences)
    assert {one.state for one in documents} == {"ready"}
    assert release.api.flush() == sum(one.chunks for one in documents), "chunks lost or left over"
    for one in documents:
        name = Path(one.source).name
        first = release.api.retrieve(corpus.sentences[name]).hits[0]
        assert (Path(first.source).name, corpus.sentences[name] in first.text) == (name, True)
    wanted = sorted(f"{one.id}-chunk-{order:03d}" for one in documents for order in range(one.chunks))
    assert stored_ids(release) == wanted
    again = json.loads(release.run("ingest", str(corpus.folder), "-o", "json").stdout)
    assert (again["created"], again["updated"], again["unchanged"]) == (0, 0, FILES)


def stored_ids(release: Release) -> list[str]:
    """The id of every chunk, as the vector store itself tells them."""
    store = MilvusStore(components(release)["vector-engine"]["endpoint"], WAIT_S)
    try:
        return [row["id"] for row in store.scan(release.api.retrieve("report").collection, [], Page(limit=PAGE_ROWS))]
    finally:
        store.close()


def test_a_load_survives_the_death_of_every_component(release: Release, corpus: Corpus) -> None:
    before = components(release)
    with ingesting(release, corpus) as process:
        for step, name in enumerate(COMPONENTS):
            enough = (step + 1) * FILES // (len(COMPONENTS) + 2)
            wait_acknowledged(release, enough)
            assert process.poll() is None, f"the load was over before {name} was killed"
            os.kill(before[name]["pid"], signal.SIGKILL)
        assert process.wait(INGEST_S) == 0, (release.tool.cwd / "ingest.log").read_text()[-2000:]
    until(lambda: all_ready(release), "every component ready")
    assert all(part["restarts"] == 1 for part in components(release).values())
    check_all_there(release, corpus)


def test_a_killed_load_is_continued_by_the_next(release: Release, corpus: Corpus) -> None:
    for share in (1, 2):
        with ingesting(release, corpus) as process:
            wait_acknowledged(release, share * FILES // 3)
            assert process.poll() is None, "the load was over before it was killed"
            os.kill(process.pid, signal.SIGKILL)
    done = json.loads(release.run("ingest", str(corpus.folder), "-o", "json").stdout)
    assert done["created"] + done["updated"] < FILES, "what was acknowledged was sent again"
    assert done["created"] + done["updated"] + done["unchanged"] == FILES
    check_all_there(release, corpus)


class Questions:
    """Asks one question after the other in a thread, and notes `right`, `error`, or what was wrong."""

    def __init__(self, api: ApiClient, corpus: Corpus) -> None:
        self.outcomes: list[str] = []
        self._api = api
        self._asked = itertools.cycle(sorted(corpus.sentences.items()))
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            self.outcomes.append(self._ask(*next(self._asked)))

    def _ask(self, name: str, sentence: str) -> str:
        try:
            hits = self._api.retrieve(sentence).hits
            cited = self._api.query(sentence).citations
        except LightragctlError:
            time.sleep(0.05)
            return "error"
        right = hits and Path(hits[0].source).name == name and cited and Path(cited[0].source).name == name
        return "right" if right else f"wrong: {name}: {hits[:1]} {cited[:1]}"


def test_questions_get_a_right_answer_or_an_error_while_components_die(release: Release, corpus: Corpus) -> None:
    assert release.run("ingest", str(corpus.folder)).returncode == 0
    parts = components(release)
    with Questions(release.api, corpus) as questions:
        for name in COMPONENTS:
            time.sleep(ASKING_S / (len(COMPONENTS) + 1))
            os.kill(parts[name]["pid"], signal.SIGKILL)
        time.sleep(ASKING_S / (len(COMPONENTS) + 1))
        until(lambda: all_ready(release), "every component ready")
        ready = len(questions.outcomes)
        until(lambda: questions.outcomes.count("right") > FILES, "enough questions asked, however busy the machine is")
        until(lambda: len(questions.outcomes) >= ready + 10, "some last questions, the last of which must go well")
    outcomes = questions.outcomes
    assert not [outcome for outcome in outcomes if outcome.startswith("wrong")]
    assert "error" in outcomes, "nobody noticed the deaths"
    assert outcomes.count("right") > FILES
    assert outcomes[-5:] == ["right"] * 5


@pytest.mark.drill
@pytest.mark.parametrize("pause_s", [0.3, 0.6, 1.2])
def test_a_load_survives_one_death_after_the_other(release: Release, corpus: Corpus, pause_s: float) -> None:
    deaths = 0
    with ingesting(release, corpus) as process:
        for name in itertools.cycle(COMPONENTS):
            pid = components(release)[name]["pid"]
            if process.poll() is not None or deaths == MOST_DEATHS:
                break
            if pid is not None:
                os.kill(pid, signal.SIGKILL)
                deaths += 1
            time.sleep(pause_s)
        assert process.wait(INGEST_S) == 0, (release.tool.cwd / "ingest.log").read_text()[-2000:]
    until(lambda: all_ready(release), "every component ready")
    check_all_there(release, corpus)
    print(f"\n| {pause_s} | {deaths} | {FILES} | 0 | 0 |", end="")
