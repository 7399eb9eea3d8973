"""Rows out of a collection and into one, beside pymilvus's own way, on the real Milvus and on Milvus Lite.

One machine runs client and server. Rounds are interleaved; shown is the median of the rounds. CPU is the processor time
of both processes, which is less noisy than the wall time of a machine that others use too.
"""

import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from lightragctl.vectors.collections import MilvusCollections
from lightragctl.vectors.rows import row_hashes
from lightragctl.vectors.schema import CollectionSchema, FieldSchema, IndexSchema
from lightragctl.vectors.sdk import MilvusClient
from tests.milvus.fixtures import LiteServer, free_port
from tests.milvus.server import running_milvus

ROWS, DIMENSION, TEXT = 20_000, 384, "some words of text, " * 10
ROUNDS, BATCH = 5, 1000
LARGE = 100_000
RAW_MB = ROWS * (4 * DIMENSION + len(TEXT)) / 1e6
FIELDS = (
    FieldSchema("id", "VARCHAR", max_length=64, primary=True),
    FieldSchema("vector", "FLOAT_VECTOR", dimension=DIMENSION),
    FieldSchema("created_at", "INT64"),
    FieldSchema("content", "VARCHAR", max_length=65535),
    FieldSchema("full_doc_id", "VARCHAR", max_length=64),
)
SCHEMA = CollectionSchema(
    "copies", FIELDS, dynamic=True, indexes=(IndexSchema("vector", "vector", "FLAT", "COSINE", {}),)
)


@dataclass(frozen=True)
class Timing:
    """Seconds of the wall, and of processors: the server's and the client's."""

    wall_s: float
    server_s: float
    client_s: float


class Lab:
    """A server with a filled collection `copies`."""

    def __init__(self, uri: str, pid: int) -> None:
        self.store = MilvusCollections(uri, 60)
        self.client = MilvusClient(uri, timeout=60, dedicated=True)
        self.server = psutil.Process(pid)
        self.rows = list(rows(ROWS))
        self.fresh("copies")
        self.plain_insert("copies")
        self.store.flush("copies")
        self.store.load("copies")
        self.schema = self.store.describe("copies")
        self.batches = list(self.store.read_rows("copies", self.schema))

    def fresh(self, name: str) -> str:
        """An empty collection."""
        self.store.drop(name)
        self.store.create_from(SCHEMA, name)
        return name

    def plain_insert(self, name: str) -> None:
        """As a textbook does it."""
        for start in range(0, ROWS, BATCH):
            self.client.insert(name, self.rows[start : start + BATCH])

    def iterator(self) -> None:
        """As a textbook does it."""
        found, count = self.client.query_iterator("copies", batch_size=BATCH, output_fields=["*"]), 0
        while page := found.next():
            count += len(page)
        found.close()
        assert count == ROWS

    def read(self) -> None:
        """Our reader."""
        assert sum(map(len, self.store.read_rows("copies", self.schema))) == ROWS

    def hashes(self) -> None:
        """Our reader, and the hash of each row."""
        read = self.store.read_rows("copies", self.schema)
        assert sum(len(row_hashes(batch, self.schema)) for batch in read) == ROWS

    def write(self, name: str) -> None:
        """Our writer."""
        assert self.store.write_rows(name, self.batches) == ROWS

    def timed(self, work: Callable[[], object]) -> Timing:
        """What a piece of work takes."""
        server_s, client_s, wall_s = cpu_s(self.server), cpu_s(psutil.Process()), time.monotonic()
        work()
        wall_s = time.monotonic() - wall_s
        return Timing(wall_s, cpu_s(self.server) - server_s, cpu_s(psutil.Process()) - client_s)


def main() -> None:
    """Print both tables and the memory."""
    if sys.argv[1:2] == ["memory"]:
        copy_once(*sys.argv[2:])
        return
    for name, running in (("Milvus 2.3.5", real), ("Milvus Lite", lite)):
        with running() as (uri, pid):
            print(f"{name}, {ROWS} x {DIMENSION}, text of {len(TEXT)} characters, median of {ROUNDS} rounds")
            table(Lab(uri, pid))
            for count in (ROWS, LARGE):
                memory(uri, count)


def table(lab: Lab) -> None:
    """All ways in turn, several times."""
    ways: dict[str, Callable[[], object]] = {
        "out: pymilvus query_iterator, 1,000": lab.iterator,
        "out: read_rows": lab.read,
        "out: read_rows and row_hashes": lab.hashes,
        "in: pymilvus insert, 1,000": lambda: lab.plain_insert("copies_in"),
        "in: write_rows": lambda: lab.write("copies_in"),
    }
    timings: dict[str, list[Timing]] = {way: [] for way in ways}
    for _ in range(ROUNDS):
        for way, work in ways.items():
            if way.startswith("in:"):
                lab.fresh("copies_in")
            timings[way].append(lab.timed(work))
    print(f"{'':<38} {'rows/s':>7} {'MB/s':>6} {'wall s':>7} {'CPU s':>6} {'server':>7} {'client':>7}")
    for way, found in timings.items():
        wall, server, client = (
            statistics.median(getattr(one, name) for one in found) for name in ("wall_s", "server_s", "client_s")
        )
        print(
            f"{way:<38} {ROWS / wall:>7.0f} {RAW_MB / wall:>6.0f} {wall:>7.2f} {server + client:>6.2f}"
            f" {server:>7.2f} {client:>7.2f}",
            flush=True,
        )


def memory(uri: str, count: int) -> None:
    """The peak of a process that copies so many rows from one collection to another."""
    command = [sys.executable, "-c", "from tests.bench.copies import main; main()", "memory", uri, str(count)]
    print(subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip())


def copy_once(uri: str, count: str) -> None:
    """In a process of its own: fill, copy by `read_rows` and `write_rows`, print the peak."""
    store = MilvusCollections(uri, 60)
    for name in ("copies_from", "copies_to"):
        store.drop(name)
        store.create_from(SCHEMA, name)
    client = MilvusClient(uri, timeout=60, dedicated=True)
    page: list[Any] = []
    for row in rows(int(count)):
        page.append(row)
        if len(page) == BATCH:
            client.insert("copies_from", page)
            page = []
    store.flush("copies_from")
    store.load("copies_from")
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far, and the parent's, which a fork inherits
    before_mb = peak_mb()
    began_s = time.monotonic()
    schema = store.describe("copies_from")
    copied = store.write_rows("copies_to", store.read_rows("copies_from", schema))
    took_s = time.monotonic() - began_s
    print(f"copy of {copied} rows: {copied / took_s:.0f} rows/s, peak {peak_mb():.0f} MiB, {before_mb:.0f} before it")
    for name in ("copies_from", "copies_to"):
        store.drop(name)


def peak_mb() -> float:
    """The most memory that this process held since the peak was reset, in MiB."""
    status = Path("/proc/self/status").read_text()
    return int(re.findall(r"VmHWM:\s+(\d+)", status)[0]) / 1024


def rows(count: int) -> Iterator[dict[str, Any]]:
    """Rows as LightRAG's chunks are."""
    random = np.random.default_rng(0)
    for number in range(count):
        yield {
            "id": f"chunk-{random.bytes(16).hex()}",
            "vector": random.standard_normal(DIMENSION, np.float32),
            "created_at": number,
            "content": TEXT,
            "full_doc_id": f"doc-{number // 100}",
            "chunk_order_index": number % 100,
        }


def cpu_s(process: psutil.Process) -> float:
    """Processor time that it has taken so far."""
    times = process.cpu_times()
    return float(times.user + times.system)


@contextmanager
def real() -> Iterator[tuple[str, int]]:
    """The real Milvus: its address and its process."""
    with running_milvus() as server:
        assert server.process is not None
        yield server.uri, server.process.pid


@contextmanager
def lite() -> Iterator[tuple[str, int]]:
    """Milvus Lite: its address and its process."""
    with tempfile.TemporaryDirectory() as folder:
        server = LiteServer(Path(folder) / "data", free_port())
        server.start()
        assert server.process is not None
        try:
            yield server.uri, server.process.pid
        finally:
            server.kill()
