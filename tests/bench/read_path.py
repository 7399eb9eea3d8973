"""lightrag-api beside what else there is, on the real Milvus with 50,000 x 384 HNSW; the embedding hop is mocked.

All processes share the machine. Rounds are interleaved; shown is the median of the rounds.
"""

import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from lightragctl.core.settings import ApiSettings, Batching, Breaking, Caching, Deadlines, EmbeddingModel, Index
from lightragctl.ingest.client import ApiClient
from lightragctl.vectors.milvus import MilvusStore
from tests.conftest import free_ports
from tests.milvus.server import running_milvus

ROWS, DIMENSION = 50_000, 384
MODEL = EmbeddingModel(name="bench", dimension=DIMENSION, query_prefix="", document_prefix="")
ROUNDS, SECONDS, CONNECTIONS = 3, 6, 64
TEXT = "A passage of the length that passages have: " + "some words of text, " * 20
NO_CACHE = Caching(result_bytes=0, embedding_bytes=0)
ONE_BY_ONE = Batching(batch_size=1, in_flight=CONNECTIONS, queue=1000)
SCRIPT = """
local n = SEED
request = function()
  n = n + 1
  local body = string.format('{"query": "question number %d about the matter", "top_k": 5}', DISTINCT and n or 1)
  return wrk.format("POST", "/retrieve", {["Content-Type"] = "application/json"}, body)
end
done = function(summary, latency)
  local bad = summary.errors.status + summary.errors.read + summary.errors.connect + summary.errors.timeout
  io.write(string.format("RESULT %d %d %.3f %.3f %d\\n", summary.requests, summary.duration,
    latency:percentile(50) / 1000, latency:percentile(99) / 1000, bad))
end
"""


@dataclass(frozen=True)
class Round:
    """One measurement: requests a second, milliseconds, microseconds of the server's CPU per request, failures."""

    per_s: float
    p50_ms: float
    p99_ms: float
    cpu_us: float = 0.0
    failed: int = 0


@dataclass(frozen=True)
class Server:
    """A server under test."""

    port: int
    process: subprocess.Popen[bytes]

    def cpu_s(self) -> float:
        """Processor time that it has taken so far."""
        times = psutil.Process(self.process.pid).cpu_times()
        return float(times.user + times.system)

    def rss_mb(self) -> float:
        """Memory that it holds."""
        return float(psutil.Process(self.process.pid).memory_info().rss) / 1e6


@dataclass(frozen=True)
class Lab:
    """Milvus with its collection, and the mocked model."""

    folder: Path
    milvus: str
    model: str
    collection: str = ""

    def settings(self, **parts: Any) -> ApiSettings:
        """What lightrag-api is told."""
        return ApiSettings(
            port=free_ports(1)[0],
            vector_engine_uri=self.milvus,
            gateway_url=self.model,
            embedding=MODEL,
            index=Index(ef=64),
            deadlines=Deadlines(request_s=10),
            breaking=Breaking(slow_s=10),
            **parts,
        )

    @contextmanager
    def service(self, **parts: Any) -> Iterator[Server]:
        """lightrag-api with some settings of its own, ready."""
        settings = self.settings(**parts)
        file = self.folder / f"settings-{settings.port}.json"
        file.write_text(settings.model_dump_json())
        command = [sys.executable, "-m", "lightragctl", "serve", "api", "--settings", str(file)]
        with running(command, settings.port, "/readyz") as server:
            yield server

    @contextmanager
    def textbook(self) -> Iterator[Server]:
        """The peer that everybody writes first."""
        (port,) = free_ports(1)
        module = [sys.executable, "-m", "tests.bench.peers.textbook"]
        with running([*module, str(port), self.milvus, self.model, self.collection], port, "/docs") as server:
            yield server

    def direct(self, tasks: int) -> Round:
        """AsyncMilvusClient called by so many tasks."""
        words = [str(tasks), str(SECONDS), self.milvus, self.collection, str(DIMENSION)]
        command = [sys.executable, "-m", "tests.bench.peers.direct", *words]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=SECONDS + 60)
        return Round(*map(float, done.stdout.split()))


@contextmanager
def running(command: list[str], port: int, path: str) -> Iterator[Server]:
    """A process that answers on a port of loopback; stopped in the end."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        end = time.monotonic() + 60
        while not answers(f"http://127.0.0.1:{port}{path}"):
            if time.monotonic() > end or process.poll() is not None:
                raise SystemExit(f"{' '.join(command)} does not answer")
            time.sleep(0.05)
        yield Server(port, process)
    finally:
        process.terminate()
        process.wait(60)


def answers(url: str) -> bool:
    """Whether it answers with a good status."""
    try:
        with urllib.request.urlopen(url, timeout=5):
            return True
    except OSError:
        return False


@contextmanager
def laboratory() -> Iterator[Lab]:
    """Milvus, filled, and the model."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        milvus = stack.enter_context(running_milvus())
        (port,) = free_ports(1)
        model = [sys.executable, "-m", "tests.bench.peers.model", str(port), str(DIMENSION)]
        stack.enter_context(running_model(model, port))
        lab = Lab(folder, milvus.uri, f"http://127.0.0.1:{port}")
        with lab.service() as server, ApiClient(f"http://127.0.0.1:{server.port}", 60) as api:
            api.post_document("first.md", TEXT)
            collection = api.retrieve("anything").collection
        fill(milvus.uri, collection)
        yield Lab(folder, milvus.uri, lab.model, collection)


@contextmanager
def running_model(command: list[str], port: int) -> Iterator[None]:
    """The mocked model, which answers nothing but POST."""
    process = subprocess.Popen(command)
    try:
        while not psutil.Process(process.pid).net_connections():
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait(10)


def fill(uri: str, collection: str) -> None:
    """So many rows of random directions, flushed and indexed."""
    store = MilvusStore(uri, 60)
    vectors = np.random.default_rng(1).standard_normal((ROWS, DIMENSION)).astype(np.float32)
    fixed = {"created_at": 1, "content": TEXT, "full_doc_id": "doc", "chunk_order_index": 0}
    for start in range(0, ROWS, 5000):
        rows = range(start, min(start + 5000, ROWS))
        store.upsert(collection, [{"id": f"r{n}", "vector": vectors[n], "file_path": f"{n}.md", **fixed} for n in rows])
    store.flush(collection)
    store.close()


def wrk(server: Server, connections: int = CONNECTIONS, distinct: bool = True, seconds: int = SECONDS) -> Round:
    """Closed-loop load by wrk with one thread."""
    seed = time.monotonic_ns() % 10**9
    script = SCRIPT.replace("SEED", str(seed)).replace("DISTINCT", str(distinct).lower())
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as file:
        file.write(script)
        file.flush()
        before = server.cpu_s()
        target = f"http://127.0.0.1:{server.port}"
        command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "20s", "-s", file.name, target]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=seconds + 60)
        cpu_s = server.cpu_s() - before
    found = re.search(r"RESULT (\d+) (\d+) ([\d.]+) ([\d.]+) (\d+)", done.stdout)
    if found is None:
        raise SystemExit(done.stdout + done.stderr)
    requests, duration_us, p50, p99, failed = (float(text) for text in found.groups())
    return Round(requests / duration_us * 1e6, p50, p99, cpu_s / requests * 1e6, int(failed))


def table(title: str, subjects: Mapping[str, Callable[[], Round]], rounds: int = ROUNDS) -> dict[str, Round]:
    """Measure all, interleaved, and print the medians."""
    seen: dict[str, list[Round]] = {name: [] for name in subjects}
    for _ in range(rounds):
        for name, act in subjects.items():
            seen[name].append(act())
    print(f"\n{title}\n{'':<44} {'per s':>8} {'p50 ms':>8} {'p99 ms':>8} {'CPU us':>8} {'failed':>6}", flush=True)
    medians = {}
    for name, all_of in seen.items():
        columns = [[getattr(one, field) for one in all_of] for field in ("per_s", "p50_ms", "p99_ms", "cpu_us")]
        middle = Round(*map(statistics.median, columns), failed=sum(one.failed for one in all_of))
        medians[name] = middle
        cpu = f"{middle.cpu_us:>8.0f}" if middle.cpu_us else f"{'':>8}"
        print(
            f"{name:<44} {middle.per_s:>8.0f} {middle.p50_ms:>8.2f} {middle.p99_ms:>8.2f} {cpu} {middle.failed:>6}",
            flush=True,
        )
    return medians


def steady(title: str, server: Server, rate: float, seconds: int) -> None:
    """Open-loop load, and what came of it."""
    command = [sys.executable, "-m", "tests.bench.peers.steady", str(server.port), str(rate), str(seconds)]
    before = server.cpu_s()
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=seconds + 120)
    print(f"\n{title}\n{done.stdout.strip()}\nCPU of the server: {server.cpu_s() - before:.1f} s", flush=True)


def main() -> None:
    """All comparisons; takes some ten minutes."""
    if not shutil.which("wrk"):
        raise SystemExit("needs wrk: apt-get install wrk")
    os.chdir(Path(__file__).resolve().parents[2])
    with laboratory() as lab, ExitStack() as stack:
        batched = stack.enter_context(lab.service(cache=NO_CACHE))
        single = stack.enter_context(lab.service(cache=NO_CACHE, batching=ONE_BY_ONE))
        cached = stack.enter_context(lab.service(cache=Caching(staleness_s=300)))
        vectors = stack.enter_context(lab.service(cache=Caching(result_bytes=0)))
        textbook = stack.enter_context(lab.textbook())
        medians = table(
            f"{CONNECTIONS} connections, nothing cached",
            {
                "lightrag-api": lambda: wrk(batched),
                "lightrag-api, one search a call": lambda: wrk(single),
                "FastAPI + httpx + AsyncMilvusClient": lambda: wrk(textbook),
                f"AsyncMilvusClient, {CONNECTIONS} tasks, no HTTP, no embedding": lambda: lab.direct(CONNECTIONS),
            },
        )
        table(
            "one connection",
            {
                "lightrag-api, vector cached, answer not": lambda: wrk(vectors, 1, distinct=False),
                "AsyncMilvusClient, 1 task": lambda: lab.direct(1),
            },
        )
        table("the same question again and again", {"lightrag-api": lambda: wrk(cached, distinct=False)})
        peak = medians["lightrag-api"].per_s
        steady("500 requests/s for 60 s, vectors and answers cached for nobody", batched, 500, 60)
        steady(f"twice the {peak:.0f} requests/s that it made above, for 15 s", batched, 2 * peak, 15)
        before = cached.rss_mb()
        wrk(cached, seconds=30)
        print(
            f"\nmemory of the server: {before:.0f} MB before, {cached.rss_mb():.0f} MB after 30 s of distinct questions"
        )
