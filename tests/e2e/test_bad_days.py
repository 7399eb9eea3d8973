"""lightrag-api when what is behind it or before it misbehaves: real processes, a real store, hostile clients."""

import http.client
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lightragctl.core.settings import (
    ApiSettings,
    Batching,
    Caching,
    Chunking,
    CircuitBreaking,
    Deadlines,
    EmbeddingModel,
)
from lightragctl.service.hashed_embeddings import hashed_vectors
from lightragctl.service.workspaces import DEFAULT_INTERVALS
from lightragctl.vectors.control import epoch_row
from lightragctl.vectors.milvus import MilvusStore
from lightragctl.vectors.model import chunks_spec
from tests.fakes.bad_model import DIMENSION, BadModel
from tests.milvus.fixtures import LiteServer, free_port
from tests.milvus.server import MilvusServer

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

MODEL = EmbeddingModel(name="words", dimension=DIMENSION, query_prefix="", document_prefix="")
ANSWER_S = 30.0
TEXTS = {f"{number}.md": f"Sentence {number} of matter{number} stands in file {number}." for number in range(20)}


@dataclass(frozen=True)
class Said:
    """What the service answered, and how long it took."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    seconds: float

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Service:
    """lightrag-api as a process."""

    port: int
    process: subprocess.Popen[str]
    log: Path

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Said:
        """One request on a connection of its own; OSError when there is none."""
        begin = time.monotonic()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=ANSWER_S)
        try:
            connection.request(method, path, body, {key.replace("_", "-"): value for key, value in headers.items()})
            answer = connection.getresponse()
            named = {key.lower(): value for key, value in answer.getheaders()}
            return Said(answer.status, named, answer.read(), time.monotonic() - begin)
        finally:
            connection.close()

    def retrieve(self, query: str, **headers: str) -> Said:
        """POST /retrieve."""
        return self.ask("POST", "/retrieve", json.dumps({"query": query, "top_k": 3}).encode(), **headers)

    def store(self, texts: Mapping[str, str]) -> None:
        """POST /documents."""
        documents = [{"source": source, "text": text} for source, text in texts.items()]
        said = self.ask("POST", "/documents", json.dumps({"documents": documents}).encode())
        assert said.status == 200, said.body


@contextmanager
def service_on(store_uri: str, model: BadModel, folder: Path, **parts: Any) -> Iterator[Service]:
    """lightrag-api, ready, with some settings of its own; it must not have died by itself."""
    settings = ApiSettings(
        port=free_port(),
        vector_engine_uri=store_uri,
        gateway_url=model.url,
        embedding=MODEL,
        chunking=Chunking(size_tokens=32, overlap_tokens=0),
        **parts,
    )
    file, log = folder / "settings.json", folder / "api.log"
    file.write_text(settings.model_dump_json())
    command = [sys.executable, "-m", "lightragctl", "serve", "api", "--settings", str(file)]
    with log.open("w") as out, subprocess.Popen(command, stdout=out, stderr=out, text=True) as process:
        service = Service(settings.port, process, log)
        try:
            wait_ready(service)
            yield service
            assert process.poll() is None, log.read_text()
            assert "Traceback" not in log.read_text(), log.read_text()
        finally:
            process.kill()


def wait_ready(service: Service, within_s: float = 60.0) -> None:
    end = time.monotonic() + within_s
    while True:
        try:
            if service.ask("GET", "/readyz").status == 200:
                return
        except OSError:
            assert service.process.poll() is None, service.log.read_text()
        assert time.monotonic() < end, service.log.read_text()
        time.sleep(0.05)


@pytest.fixture
def model() -> Iterator[BadModel]:
    with BadModel() as model:
        yield model


QUICK = CircuitBreaking(calls=5, open_s=0.5, probes=1, slow_s=0.5)


@pytest.fixture
def store_uri(lite: LiteServer) -> Iterator[str]:
    """Milvus Lite without a collection."""
    yield lite.uri
    store = MilvusStore(lite.uri, 20)
    for name in store.list_collections():
        store.drop(name)
    store.close()


@pytest.fixture
def filled(store_uri: str, model: BadModel, tmp_path: Path) -> Iterator[Service]:
    """A service on Milvus Lite with twenty documents, which keeps nothing in memory."""
    parts = {"cache": Caching(result_bytes=0, embedding_bytes=0), "breaking": QUICK}
    with service_on(store_uri, model, tmp_path, deadlines=Deadlines(request_s=2), **parts) as service:
        service.store(TEXTS)
        yield service


class Load:
    """Asks for documents by their sentences from several threads, and notes status and correctness."""

    def __init__(self, service: Service, threads: int = 4) -> None:
        self.said: list[Said] = []
        self.wrong: list[str] = []
        self._service = service
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(number,)) for number in range(threads)]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    @property
    def statuses(self) -> Counter[int]:
        return Counter(said.status for said in self.said)

    def _run(self, seed: int) -> None:
        chance = random.Random(seed)
        while not self._stop.is_set():
            source = chance.choice(sorted(TEXTS))
            try:
                said = self._service.retrieve(TEXTS[source])
            except OSError as error:
                self.said.append(Said(0, {}, str(error).encode(), 0.0))
                continue
            self.said.append(said)
            if said.status == 200 and said.json()["hits"][0]["source"] != source:
                self.wrong.append(source)
            if said.status != 200:
                time.sleep(0.05)


@pytest.mark.milvus
def test_milvus_is_killed_and_comes_back_under_load(milvus: MilvusServer, model: BadModel, tmp_path: Path) -> None:
    parts = {"cache": Caching(result_bytes=0), "breaking": CircuitBreaking(open_s=1), "workspace": "bad_day"}
    with service_on(milvus.uri, model, tmp_path, deadlines=Deadlines(request_s=2, search_s=2), **parts) as service:
        service.store(TEXTS)
        service.ask("POST", "/documents/flush", b"{}")
        with Load(service) as load:
            time.sleep(2)
            assert set(load.statuses) == {200}
            milvus.kill()
            time.sleep(3)
            down = len(load.said)
            time.sleep(2)
            refused = load.said[down:]
            milvus.start()
            end = time.monotonic() + 120
            while load.said[-1].status != 200:
                assert time.monotonic() < end, service.ask("GET", "/debug/batches").body
                time.sleep(0.2)
            back = len(load.said)
            time.sleep(3)
        assert refused, "nobody was answered"
        assert {said.status for said in refused} <= {503, 504}
        assert all(int(said.headers["retry-after"]) >= 1 for said in refused)
        assert max(said.seconds for said in refused) < 4
        assert set(load.statuses) <= {200, 503, 504}
        assert Counter(said.status for said in load.said[back:])[200] > 10
        assert not load.wrong
        assert service.ask("GET", "/readyz").status == 200


@pytest.mark.parametrize(
    ("mood", "statuses"),
    [
        ("slow", {200, 503, 504}),
        ("error", {503}),
        ("limit", {503}),
        ("hang", {503, 504}),
        ("rubbish", {503}),
        ("short", {503}),
    ],
)
def test_an_embedding_endpoint_that_misbehaves_is_spared_and_found_again(
    filled: Service, model: BadModel, mood: str, statuses: set[int]
) -> None:
    assert filled.retrieve(TEXTS["3.md"]).status == 200
    model.mood = mood
    with ThreadPoolExecutor(8) as asking:
        said = list(asking.map(filled.retrieve, [f"question {number}" for number in range(40)]))
    assert {one.status for one in said} <= statuses
    assert max(one.seconds for one in said) < 4, "nobody waits longer than the deadline and what a thread adds"
    refused = [one for one in said if one.status == 503]
    assert refused, "the breaker has opened"
    assert all(int(one.headers["retry-after"]) >= 1 for one in refused)
    assert len(model.calls) < 40 + len(TEXTS), "it was spared"
    model.mood = "good"
    end = time.monotonic() + 15
    while (again := filled.retrieve(TEXTS["3.md"])).status != 200:
        assert time.monotonic() < end, again.body
        time.sleep(0.1)
    assert again.json()["hits"][0]["source"] == "3.md"


def test_one_poisonous_input_fails_alone(filled: Service, model: BadModel) -> None:
    model.mood = "refuse"
    with ThreadPoolExecutor(16) as asking:
        good = [asking.submit(filled.retrieve, TEXTS[f"{number}.md"]) for number in range(15)]
        bad = asking.submit(filled.retrieve, "a poison among them")
    assert bad.result().status == 400
    assert [one.result().status for one in good] == [200] * 15


def test_a_thousand_identical_questions_are_one_embedding(filled: Service, model: BadModel) -> None:
    model.mood = "slow"
    model.calls.clear()
    with ThreadPoolExecutor(200) as asking:
        said = list(asking.map(lambda _: filled.retrieve(TEXTS["7.md"]), range(200)))
    assert {one.status for one in said} == {200}
    assert {one.json()["hits"][0]["source"] for one in said} == {"7.md"}
    assert len(model.calls) <= 2, "those that came after the first answer asked once more"
    joined = metric(filled, 'lightragctl_coalesced_total{stage="retrieve"}')
    assert joined + len(model.calls) == 200


def metric(service: Service, series: str) -> float:
    lines = service.ask("GET", "/metrics").body.decode().splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(series))


def test_more_than_it_can_take_is_told_when_to_come_again(store_uri: str, model: BadModel, tmp_path: Path) -> None:
    batching = Batching(batch_size=4, in_flight=1, queue=8)
    parts = {"cache": Caching(result_bytes=0, embedding_bytes=0), "batching": batching}
    with service_on(store_uri, model, tmp_path, deadlines=Deadlines(request_s=20), **parts) as service:
        service.store(TEXTS)
        model.mood = "slow"
        service.retrieve("to measure how long a call takes")
        with ThreadPoolExecutor(40) as asking:
            said = list(asking.map(service.retrieve, [f"question {number}" for number in range(40)]))
        codes = Counter(one.status for one in said)
        assert codes == {200: codes[200], 429: 40 - codes[200]}
        assert 8 <= codes[200] <= 16
        refused = [one for one in said if one.status == 429]
        assert max(one.seconds for one in refused) < 2, "a refusal comes at once"
        # Eight wait, four leave each second: the truth is 2 s.
        assert {int(one.headers["retry-after"]) for one in refused} <= {1, 2, 3}


def test_a_client_that_goes_away_costs_no_more_work(filled: Service, model: BadModel) -> None:
    model.mood = "hang"
    body = json.dumps({"query": "is anybody there"}).encode()
    head = f"POST /retrieve HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    with socket.create_connection(("127.0.0.1", filled.port)) as client:
        client.sendall(head + body)
        time.sleep(0.3)
        assert metric(filled, 'lightragctl_in_flight{stage="embed"}') == 1
    end = time.monotonic() + 1.5
    while metric(filled, 'lightragctl_http_requests_total{code="499",route="POST /retrieve"}') != 1:
        assert time.monotonic() < end, "the request goes on without its client"
        time.sleep(0.02)
    report = filled.ask("GET", "/debug/batches").json()["stages"]["embed"]
    assert (report["running"], report["batches"][0]["error"]) == (0, "CancelledError")


def test_slow_and_broken_clients_hinder_nobody(filled: Service) -> None:
    lorises = [socket.create_connection(("127.0.0.1", filled.port)) for _ in range(200)]
    for loris in lorises:
        loris.sendall(b"POST /retrieve HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{")
    try:
        assert filled.retrieve(TEXTS["1.md"]).seconds < 1
        for raw in (
            b"\x16\x03\x01\x02\x00",
            b"GET / HTTP/9.9\r\n\r\n",
            b"POST /retrieve HTTP/1.1\r\nContent-Length: -5\r\n\r\n",
        ):
            with socket.create_connection(("127.0.0.1", filled.port)) as client:
                client.sendall(raw)
                client.settimeout(5)
                assert client.recv(100)[9:12] in (b"400", b"")
        assert filled.retrieve(TEXTS["1.md"]).status == 200
    finally:
        for loris in lorises:
            loris.close()


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"[]", 400),
        (b"\xff\xfe{}", 400),
        (b'{"query": "' + b"x" * 20_000 + b'"}', 400),
        (b"[" * 100_000, 400),
        (b'{"query": "a", "top_k": 1e400}', 400),
        (b'{"query": "a", "filter": "' + b"(" * 2000 + b'"}', 400),
        (b"x" * (33 * 1024 * 1024), 413),
    ],
    ids=lambda value: repr(value[:12]) if isinstance(value, bytes) else str(value),
)
def test_a_malformed_or_oversized_body_is_the_clients_fault(filled: Service, body: bytes, status: int) -> None:
    said = filled.ask("POST", "/retrieve", body)
    assert (said.status, said.headers["content-type"]) == (status, "application/problem+json")


def test_nothing_is_lost_when_it_is_told_to_stop_under_load(store_uri: str, model: BadModel, tmp_path: Path) -> None:
    drain_s = 1.5
    settings = {"drain_s": drain_s, "cache": Caching(result_bytes=0)}
    with service_on(store_uri, model, tmp_path, deadlines=Deadlines(request_s=10), **settings) as service:
        service.store(TEXTS)
        with Load(service) as load:
            time.sleep(1)
            os.kill(service.process.pid, signal.SIGTERM)
            time.sleep(drain_s * 0.6)  # who watches readiness has heard of it by now and asks elsewhere
            assert service.ask("GET", "/readyz").status == 503
        assert set(load.statuses) == {200}
        assert not load.wrong
        assert service.process.wait(20) == 0
        service.process.poll = lambda: None  # type: ignore[method-assign] # it has ended as it was told


def switched(service: Service, store: MilvusStore, times: int, readers: int) -> tuple[int, list[str]]:
    """Point the workspace at two collections in turn under readers; how many reads, and which gave the old one."""
    alias = f"default_chunks_{MODEL.suffix}"
    names = [f"{alias}_g1", f"{alias}_g2"]
    texts = {names[0]: "first", names[1]: "second"}
    (vector,) = hashed_vectors(["the matter"], DIMENSION)
    row = {"id": "only", "vector": np.asarray(vector), "created_at": 1, "file_path": "a", "full_doc_id": "d"}
    store.create(chunks_spec(names[1], DIMENSION, ApiSettings.model_fields["index"].default))
    for name in names:
        store.upsert(name, [{**row, "content": texts[name]}])
    reads, stale = 0, []
    for number in range(times):
        target = names[(number + 1) % 2]
        store.point_alias(alias, target)
        store.upsert("default_lightragctl", [epoch_row(time.time_ns())])
        time.sleep(DEFAULT_INTERVALS.lease_s)  # as long as the tool waits before it says that it is done
        with ThreadPoolExecutor(readers) as asking:
            for said in asking.map(lambda _: service.retrieve("the matter"), range(100)):
                reads += 1
                if said.json()["hits"][0]["text"] != texts[target]:
                    stale.append(said.body.decode())
    return reads, stale


def long_cache(store_uri: str, model: BadModel, folder: Path) -> Any:
    return service_on(store_uri, model, folder, cache=Caching(staleness_s=300), deadlines=Deadlines(request_s=10))


def test_after_a_switch_nobody_is_answered_from_before(store_uri: str, model: BadModel, tmp_path: Path) -> None:
    with long_cache(store_uri, model, tmp_path) as service:
        service.store({"a.md": "Quite another thing."})
        store = MilvusStore(store_uri, 20)
        reads, stale = switched(service, store, times=3, readers=4)
        store.close()
        assert (reads, stale) == (300, [])


@pytest.mark.drill
@pytest.mark.timeout(900)
def test_a_hundred_switches_under_readers(store_uri: str, model: BadModel, tmp_path: Path) -> None:
    with long_cache(store_uri, model, tmp_path) as service:
        service.store({"a.md": "Quite another thing."})
        store = MilvusStore(store_uri, 20)
        reads, stale = switched(service, store, times=100, readers=8)
        store.close()
        hits = metric(service, 'lightragctl_cache_lookups_total{cache="result",outcome="hit"}')
        print(f"\n100 switches: {reads} reads, {len(stale)} stale, {hits:.0f} out of the cache")
        assert not stale


def fuzzed(service: Service, examples: int) -> subprocess.CompletedProcess[str]:
    """What schemathesis makes of the service's own OpenAPI document: answers must be in it, and none a server error."""
    checks = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
    where = f"http://127.0.0.1:{service.port}/openapi.json"
    options = ["--max-examples", str(examples), "--checks", checks, "--phases", "coverage,fuzzing", "--no-color"]
    command = [sys.executable, "-m", "schemathesis.cli", "run", where, *options]
    return subprocess.run(command, capture_output=True, text=True, cwd=service.log.parent, timeout=600)


def test_whatever_the_openapi_document_allows_makes_no_server_error(filled: Service) -> None:
    done = fuzzed(filled, examples=30)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr


@pytest.mark.drill
@pytest.mark.timeout(900)
def test_ten_times_as_much_of_it(filled: Service) -> None:
    done = fuzzed(filled, examples=1000)
    print("\n" + done.stdout[-600:])
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr
