"""Stories of `diagnose` on a local release: something is broken as it breaks in life, and the cause comes first."""

import json
import os
import shutil
import signal
import socket
import sys
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from lightragctl.core.settings import Index
from lightragctl.vectors.milvus import MilvusStore
from lightragctl.vectors.model import Page, chunks_spec
from tests.conftest import Tool, port_settings
from tests.fakes.bad_model import DIMENSION, BadModel

NAME = "ill"
SECRET = "sk-planted-0123456789abcdef"
TEXT = "The zebrafish heart of document number {} regenerates within sixty days."
HASHING = ("--set", "components.embedder.model=hashing")


@dataclass
class Ill:
    """A local release that a test breaks."""

    tool: Tool
    settings: list[str]
    undo: ExitStack = field(default_factory=ExitStack)

    @property
    def folder(self) -> Path:
        return self.tool.home / ".local" / "share" / "lightragctl" / NAME

    def up(self, *more: str) -> None:
        done = self.tool.run("up", "--name", NAME, *self.settings, *more)
        assert done.returncode == 0, done.stderr

    def port(self, component: str) -> int:
        wanted = json.loads((self.folder / "wanted.json").read_text())
        return int(next(one["port"] for one in wanted["processes"] if one["name"] == component))

    def pid(self, name: str) -> int:
        running = json.loads((self.folder / "running.json").read_text())
        who = running["supervisor"] if name == "supervisor" else running["records"][name]["process"]
        return int(who["pid"])

    def kill(self, *names: str) -> None:
        """For good: the supervisor goes first."""
        pids = [self.pid(name) for name in ("supervisor", *names)]
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        self.undo.callback(self.up)

    def store(self) -> MilvusStore:
        store = MilvusStore(f"http://127.0.0.1:{self.port('vector-engine')}")
        self.undo.callback(store.close)
        return store

    def chunks(self) -> str:
        return next(name for name in self.store().list_collections() if "_chunks_" in name)

    def diagnose(self, *arguments: str) -> tuple[int, dict[str, Any]]:
        done = self.tool.run("diagnose", *arguments, "--name", NAME, "-o", "json")
        assert done.returncode in (0, 3, 4), done.stderr
        return done.returncode, json.loads(done.stdout)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ill]:
    folder = tmp_path_factory.mktemp("ill")
    (folder / "home").mkdir()
    tool = Tool(folder / "home", folder)
    ports, _ = port_settings()
    one = Ill(tool, [*ports, *HASHING])
    one.up()
    fill(one)
    yield one
    tool.run("down", "--purge", "--yes", "--name", NAME)


def fill(one: Ill) -> None:
    documents = one.tool.cwd / "documents"
    documents.mkdir(exist_ok=True)
    for number in range(20):
        (documents / f"{number}.md").write_text(TEXT.format(number))
    done = one.tool.run("ingest", str(documents), "--name", NAME)
    assert done.returncode == 0, done.stderr


@pytest.fixture
def ill(base: Ill) -> Iterator[Ill]:
    """The release, which is whole again afterwards."""
    base.undo = ExitStack()
    yield base
    base.undo.close()


def first(found: dict[str, Any]) -> str:
    return str(found["findings"][0]["code"]) if found["findings"] else ""


def test_a_healthy_release_has_no_findings_and_a_status_of_0(ill: Ill) -> None:
    status, found = ill.diagnose()
    assert (status, found["findings"]) == (0, [])
    assert found["judged"] > 80
    assert {hop["state"] for hop in found["path"]} == {"ok"}


def test_a_dead_model_is_one_finding_with_its_consequences_below_and_the_command_that_helps(ill: Ill) -> None:
    ill.kill("embedder")
    status, found = ill.diagnose()
    assert (status, len(found["findings"])) == (3, 1)
    cause = found["findings"][0]
    assert cause["code"] == "LR170"
    assert {"LR171", "LR301"} <= {one["code"] for one in cause["consequences"]}
    assert f"lightragctl up --name {NAME}" in cause["hint"]


def test_lost_rows_are_told_by_their_number(ill: Ill) -> None:
    name = ill.chunks()
    rows = ill.store().scan(name, [], Page(limit=5))
    ill.store().delete(name, [row["id"] for row in rows])
    ill.undo.callback(reload, ill)
    status, found = ill.diagnose("--symptom", "wrong-answers")
    assert (status, first(found)) == (3, "LR501")
    assert found["findings"][0]["message"].startswith("5 passages are lost")


def reload(ill: Ill) -> None:
    """Load everything again, from nothing."""
    ill.tool.run("down", "--purge", "--yes", "--name", NAME)
    ill.up()
    fill(ill)


def test_a_bundle_is_judged_alike_elsewhere_and_holds_no_text_and_no_secret(ill: Ill, tmp_path: Path) -> None:
    ill.kill("mock-llm")
    asked = "what regenerates in the planted-question?"
    ill.tool.run("retrieve", asked, "--name", NAME)
    with (ill.folder / "logs" / "mock-llm.log").open("a") as log:
        log.write(f"error: No space left on device while answering '{asked}' with {SECRET}\n")
    file = tmp_path / "bundle.tar.gz"
    done = ill.tool.run("diagnose", "bundle", str(file), "--name", NAME)
    assert done.returncode == 0, done.stderr
    _, here = ill.diagnose()
    there = json.loads(ill.tool.run("diagnose", "--from", str(file), "-o", "json").stdout)
    assert [one["code"] for one in there["findings"]] == [one["code"] for one in here["findings"]]
    with tarfile.open(file) as archive:
        member = archive.extractfile("facts.json")
        assert member is not None
        text = member.read().decode()
    for planted in (SECRET, "planted-question", "zebrafish", "regenerates"):
        assert planted not in text
    assert '"disk-full": 1' in text


@pytest.mark.slow
def test_a_flame_graph_of_lightrag_api_shows_its_code_and_no_arguments(ill: Ill) -> None:
    assert shutil.which("py-spy", path=str(Path(sys.executable).parent)), "make test-env installs it"
    words = ("diagnose", "profiler", "lightrag-api", "--name", NAME)
    file = ill.tool.cwd / "api.svg"
    with querying(f"http://127.0.0.1:{ill.port('lightrag-api')}/retrieve"):
        done = ill.tool.run(*words, "--duration", "5", "--save", str(file))
    assert done.returncode == 0, done.stderr
    graph = file.read_text()
    assert "lightragctl/service/" in graph
    assert "--settings" not in graph
    done = ill.tool.run(*words, "--format", "dump")
    assert "MainThread" in done.stdout
    assert "--settings" not in done.stdout


@contextmanager
def querying(url: str) -> Iterator[None]:
    """Queries that no cache answers, one after the other."""
    ended = threading.Event()

    def work() -> None:
        number = 0
        while not ended.is_set():
            number += 1
            httpx.post(url, json={"query": f"heart {number}"}, timeout=30, trust_env=False)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


# One story for each fault: what breaks, how, and the code that must come first.

Break = Callable[[Ill], None]


def kill_store(ill: Ill) -> None:
    ill.kill("vector-engine")


def kill_everything(ill: Ill) -> None:
    ill.kill("embedder", "mock-llm", "vector-engine", "model-gateway", "lightrag-api")


def freeze(name: str) -> Break:
    def act(ill: Ill) -> None:
        pid = ill.pid(name)
        os.kill(pid, signal.SIGSTOP)
        ill.undo.callback(os.kill, pid, signal.SIGCONT)

    return act


def stop(ill: Ill) -> None:
    ill.tool.run("down", "--name", NAME)
    ill.undo.callback(ill.up)


def take_port(ill: Ill) -> None:
    supervisor, port = ill.pid("supervisor"), ill.port("lightrag-api")
    os.kill(supervisor, signal.SIGSTOP)  # as if the thief were quicker than it
    os.kill(ill.pid("lightrag-api"), signal.SIGKILL)
    ill.undo.callback(ill.up)
    thief = socket.socket()
    thief.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    deadline = time.monotonic() + 10
    while True:
        try:
            thief.bind(("127.0.0.1", port))
            break
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.05)
    thief.listen()
    ill.undo.callback(thief.close)
    os.kill(supervisor, signal.SIGCONT)
    time.sleep(2.0)


def reboot(ill: Ill) -> None:
    file = ill.folder / "running.json"
    before = file.read_text()
    ill.kill("embedder", "mock-llm", "vector-engine", "model-gateway", "lightrag-api")
    running = json.loads(before)
    running["boot_id"] = "another"
    file.write_text(json.dumps(running))


def drop_index(ill: Ill) -> None:
    store, name = ill.store(), ill.chunks()
    store._call("release_collection", name, name)
    store._call("drop_index", name, name, "vector")
    ill.undo.callback(reload, ill)


def other_metric(ill: Ill) -> None:
    store, name = ill.store(), ill.chunks()
    store._call("release_collection", name, name)
    store._call("drop_index", name, name, "vector")
    spec = chunks_spec(name, 384, Index(type="FLAT", metric="L2"))
    from lightragctl.vectors.milvus import _index_params

    store._call("create_index", name, name, _index_params(spec), sync=False)
    store.load(name)
    ill.undo.callback(reload, ill)


def drop_collection(ill: Ill) -> None:
    ill.store().drop(ill.chunks())
    ill.undo.callback(reload, ill)


def drop_alias(ill: Ill) -> None:
    store, name = ill.store(), ill.chunks()
    alias = name.rpartition("_g")[0]
    store._call("drop_alias", alias, alias)
    ill.undo.callback(reload, ill)


def leave_copy(ill: Ill) -> None:
    store = ill.store()
    store.create(chunks_spec("default_chunks_multilingual_e5_small_384d_temp", 384, Index(type="FLAT")))
    ill.undo.callback(store.drop, "default_chunks_multilingual_e5_small_384d_temp")


def bad_model(mood: str, dimension: int = DIMENSION) -> Break:
    def act(ill: Ill) -> None:
        model = ill.undo.enter_context(BadModel())
        model.mood = mood
        ill.undo.callback(ill.up)
        settings = [f"models.embedding.url={model.url}", f"models.embedding.dimension={dimension}"]
        more = [word for one in (*settings, "models.embedding.name=words") for word in ("--set", one)]
        ill.tool.run("up", "--name", NAME, *ill.settings, *more, "--timeout", "5")

    return act


def no_listener(ill: Ill) -> None:
    ill.undo.callback(ill.up)
    url = "models.embedding.url=http://127.0.0.1:9"
    ill.tool.run("up", "--name", NAME, *ill.settings, "--set", url, "--timeout", "5")


def other_prefix(ill: Ill) -> None:
    ill.undo.callback(ill.up)
    settings = ["--set", 'models.embedding.query_prefix="ask: "', "--timeout", "5"]
    ill.tool.run("up", "--name", NAME, *ill.settings, *settings)


def open_folder(ill: Ill) -> None:
    ill.folder.chmod(0o755)
    ill.undo.callback(ill.folder.chmod, 0o700)


def wrong_key(ill: Ill) -> None:
    """An endpoint that wants a key, and one that is not its key."""
    model = ill.undo.enter_context(refusing(401, {"error": {"code": "invalid_api_key", "message": f"no {SECRET}"}}))
    ill.undo.callback(ill.up)
    more = ["--set", f"models.embedding.url={model}", "--set", "models.embedding.name=words", "--timeout", "5"]
    ill.tool.run("up", "--name", NAME, *ill.settings, *more)


def wrong_chat_name(ill: Ill) -> None:
    model = ill.undo.enter_context(refusing(404, {"error": {"code": "model_not_found", "message": "no such model"}}))
    ill.undo.callback(ill.up)
    ill.up("--set", f"models.chat.url={model}", "--set", "models.chat.name=gpt-none")


@contextmanager
def refusing(status: int, document: dict[str, Any]) -> Iterator[str]:
    """A server that refuses everything; its address."""

    class Refusal(BaseHTTPRequestHandler):
        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            body = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = answer

        def log_message(self, *arguments: Any) -> None:
            """Print nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Refusal) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def crash_loop(ill: Ill) -> None:
    """Its settings file is damaged, and it is restarted."""
    file = ill.folder / "settings" / "model-gateway.json"
    ill.undo.callback(reload, ill)
    file.write_text("{")
    os.kill(ill.pid("model-gateway"), signal.SIGKILL)
    time.sleep(6)


def stray_rows(ill: Ill) -> None:
    store, name = ill.store(), ill.chunks()
    row = store.scan(name, ["vector", "content", "file_path", "full_doc_id", "created_at"], Page(limit=1))[0]
    store.upsert(name, [{**row, "id": f"stray-{number}"} for number in range(3)])
    ill.undo.callback(reload, ill)


def zero_vectors(ill: Ill) -> None:
    store, name = ill.store(), ill.chunks()
    fields = ["vector", "content", "file_path", "full_doc_id", "created_at"]
    rows = store.scan(name, fields, Page(limit=100))
    store.upsert(name, [{**row, "vector": [0.0] * 384} for row in rows])
    ill.undo.callback(reload, ill)


def other_vectors(ill: Ill) -> None:
    """As if another model had been served under the same name."""
    store, name = ill.store(), ill.chunks()
    fields = ["vector", "content", "file_path", "full_doc_id", "created_at"]
    rows = store.scan(name, fields, Page(limit=100))
    store.upsert(name, [{**row, "vector": row["vector"][::-1]} for row in rows])
    ill.undo.callback(reload, ill)


def other_model_left(ill: Ill) -> None:
    store = ill.store()
    store.create(chunks_spec("default_chunks_old_model_64d_g1", 64, Index(type="FLAT")))
    ill.undo.callback(store.drop, "default_chunks_old_model_64d_g1")


def killed_while_writing(ill: Ill) -> None:
    draft = ill.folder / ".wanted.json.99999"
    draft.write_text("{")
    ill.undo.callback(draft.unlink)


STORIES: dict[str, tuple[Break, str]] = {
    "Milvus killed": (kill_store, "LR170"),
    "all killed": (kill_everything, "LR170"),
    "Milvus frozen": (freeze("vector-engine"), "LR181"),
    "api frozen": (freeze("lightrag-api"), "LR181"),
    "stopped": (stop, "LR179"),
    "port taken": (take_port, "LR172"),
    "rebooted": (reboot, "LR173"),
    "index dropped": (drop_index, "LR205"),
    "wrong metric": (other_metric, "LR207"),
    "collection dropped": (drop_collection, "LR517"),
    "alias dropped": (drop_alias, "LR509"),
    "leftover of a migration": (leave_copy, "LR505"),
    "model rate-limits": (bad_model("limit"), "LR303"),
    "model fails": (bad_model("error"), "LR305"),
    "model hangs": (bad_model("hang"), "LR304"),
    "model of another dimension": (bad_model("short"), "LR307"),
    "model not reached": (no_listener, "LR301"),
    "other prefix": (other_prefix, "LR512"),
    "folder open to others": (open_folder, "LR608"),
    "wrong key": (wrong_key, "LR302"),
    "unknown chat model": (wrong_chat_name, "LR306"),
    "damaged settings": (crash_loop, "LR180 LR171 LR186 LR184"),
    "rows of no document": (stray_rows, "LR502"),
    "zero vectors": (zero_vectors, "LR514"),
    "vectors of another model": (other_vectors, "LR551"),
    "collection of another model": (other_model_left, "LR504"),
    "command killed while it wrote": (killed_while_writing, "LR175"),
    "gateway killed": (lambda ill: ill.kill("model-gateway"), "LR170"),
    "chat model frozen": (freeze("mock-llm"), "LR181"),
}


@pytest.mark.drill
@pytest.mark.parametrize("story", STORIES)
def test_the_cause_comes_first(ill: Ill, story: str) -> None:
    breaks, code = STORIES[story]
    breaks(ill)
    _, found = ill.diagnose()
    told = [(one["code"], one["subject"], one["message"]) for one in found["findings"]]
    assert first(found) in code.split(), told


@pytest.mark.drill
def test_fifty_runs_on_a_healthy_release_find_nothing(ill: Ill) -> None:
    ill.up()
    reload(ill)
    for _ in range(50):
        assert ill.diagnose()[1]["findings"] == []
