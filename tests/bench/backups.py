"""Backups of a collection on the real Milvus and on Milvus Lite: rate, size, the second one after a change, memory.

Beside the restore stands the plain insert of the same rows.

Each step is a process of its own, whose peak of memory is shown. One machine runs client and server. The destination is
a folder.
"""

import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np

from lightragctl.backup import restore
from lightragctl.backup.catalog import chosen
from lightragctl.backup.chain import open_chain
from lightragctl.backup.progress import Progress
from lightragctl.backup.source import Destination, Source
from lightragctl.backup.storage import open_storage
from lightragctl.backup.verify import verify
from lightragctl.backup.workspace import search
from lightragctl.vectors.collections import MilvusCollections
from lightragctl.vectors.rows import RowBatch
from lightragctl.vectors.sdk import MilvusClient
from tests.bench.copies import DIMENSION, SCHEMA, TEXT, lite, peak_mb, real
from tests.fakes.backup import Workspace, create

ROWS, CHANGED = 20_000, 0.01
STEPS = ("fill", "plain", "full", "unchanged", "change", "changed", "verify", "restore")
NAME = "bench_chunks_m"
RAW_BYTES = 4 * DIMENSION


def main() -> None:
    """Print what each step takes."""
    if sys.argv[1] in STEPS:
        what, uri, folder, rows = sys.argv[1:]
        step(what, uri, folder, int(rows))
        return
    for name, running in (("Milvus Lite", lite), ("Milvus 2.3.5", real)):
        with running() as (uri, _), tempfile.TemporaryDirectory() as folder:
            print(f"{name}, {ROWS} x {DIMENSION}, text of {len(TEXT)} characters; sizes against raw float32")
            steps(uri, folder, ROWS)


def steps(uri: str, folder: str, rows: int) -> dict[str, float]:
    """Every step in a process of its own, printed; the peak of memory of each, in MiB."""
    peaks = {}
    for what in STEPS:
        command = [sys.executable, "-c", "from tests.bench.backups import main; main()", what, uri, folder, str(rows)]
        text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        print(text, end="", flush=True)
        if found := re.search(r"peak +(\d+) MiB", text):
            peaks[what] = float(found[1])
    return peaks


def step(what: str, uri: str, folder: str, rows: int) -> None:
    """One step in a process of its own."""
    with open("/proc/self/clear_refs", "w") as peak:
        peak.write("5")
    store, began_s = MilvusCollections(uri, 60, 600), time.monotonic()
    url = f"file://{folder}/saves"
    if what == "fill":
        store.create_from(SCHEMA, NAME)
        store.write_rows(NAME, batches(range(rows)))
        store.flush(NAME)
        store.load(NAME)
    elif what == "plain":
        plain(store, uri, rows)
    elif what == "change":
        chosen_rows = np.random.default_rng(1).choice(rows, int(rows * CHANGED), replace=False)
        store.write_rows(NAME, batches(chosen_rows.tolist(), seed=1))
    elif what == "verify":
        chain = open_chain(storage := open_storage(url), chosen(storage, "latest", Workspace().subject, now()))
        told("verify", began_s, rows, verify(chain, 1.0, lambda: 0.0, lambda event: None).ok)
    elif what == "restore":
        told("restore, with index", began_s, rows, restored(store, url, rows))
    else:
        told(what, began_s, rows, saved(store, uri, url, rows))


def plain(store: MilvusCollections, uri: str, rows: int) -> None:
    """The same rows as a textbook inserts them, then flush, index and load, as a restore has to."""
    client, name = MilvusClient(uri, timeout=600, dedicated=True), "bench_plain"
    pages = [page for batch in batches(range(rows)) for page in plain_pages(batch)]
    store.create_from(SCHEMA, name)
    began_s = time.monotonic()
    for page in pages:
        client.insert(name, page)
    inserted_s = time.monotonic() - began_s
    store.flush(name)
    store.load(name)
    told("plain insert, with index", began_s, rows, f"without index {rows / inserted_s:.0f} rows/s")
    store.drop(name)


def plain_pages(batch: RowBatch) -> Iterator[list[dict[str, Any]]]:
    """The rows of a batch as dictionaries, 1,000 at a time."""
    columns = batch.columns
    for start in range(0, len(batch), 1000):
        yield [
            {
                **{name: column[at] for name, column in columns.items() if name != "created_at"},
                "created_at": int(columns["created_at"][at]),
                "chunk_order_index": at % 100,
            }
            for at in range(start, min(start + 1000, len(batch)))
        ]


def saved(store: MilvusCollections, uri: str, url: str, rows: int) -> str:
    """Makes a backup; its size."""
    workspace = Workspace()
    world = replace(workspace.world(), now=now)
    made = create(source(workspace, store, uri), Destination(open_storage(url)), world, time.monotonic_ns() % 2**32)
    return f"{made.size_bytes / 1e6:.2f} MB, {made.size_bytes / (rows * RAW_BYTES):.3f} of raw"


def source(workspace: Workspace, store: MilvusCollections, uri: str) -> Source:
    """The collection, searched where it is."""
    return replace(
        workspace.source(),
        store=store,
        collections=lambda: [NAME],
        search=lambda name, schema, vectors, k: search(uri, name, schema, vectors, k),
    )


def restored(store: MilvusCollections, url: str, rows: int) -> list[str]:
    """Restores the newest backup; what differs."""
    chain = open_chain(storage := open_storage(url), chosen(storage, "latest", Workspace().subject, now()))
    progress = Progress(lambda event: None, time.monotonic, rows, "restored")
    restore.write_collection(chain.rows(NAME), chain.definition(NAME), store, "bench_restored", progress)
    return restore.compare(store, "bench_restored", restore.expected(chain, NAME), progress)


def now() -> datetime:
    return datetime.now(UTC)


def batches(numbers: Sequence[int], seed: int = 0) -> Iterator[RowBatch]:
    """Rows as LightRAG's chunks are, by number; another seed gives other vectors."""
    for start in range(0, len(numbers), 2000):
        page = sorted(numbers[start : start + 2000])
        random = np.random.default_rng([seed, start])
        yield RowBatch(
            "id",
            {
                "id": [f"chunk-{number:032x}" for number in page],
                "vector": random.standard_normal((len(page), DIMENSION), np.float32),
                "created_at": np.array(page, np.int64),
                "content": [TEXT] * len(page),
                "full_doc_id": [f"doc-{number // 100}" for number in page],
            },
            [b'{"chunk_order_index": %d}' % (number % 100) for number in page],
        )


def told(what: str, began_s: float, rows: int, result: object) -> None:
    """One line of the table."""
    took_s = time.monotonic() - began_s
    print(f"{what:<24} {rows / took_s:>7.0f} rows/s {took_s:>6.1f} s, peak {peak_mb():>4.0f} MiB  {result}")


if __name__ == "__main__":
    main()
