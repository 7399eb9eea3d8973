"""Backups of a collection on the real Milvus and on Milvus Lite: rate, size, the second one after a change, memory.

Each step is a process of its own, whose peak of memory is shown. One machine runs client and server. The destination is
a folder.
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime

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
from tests.bench.copies import DIMENSION, SCHEMA, TEXT, lite, peak_mb, real
from tests.fakes.backup import Workspace, create

ROWS, CHANGED = 20_000, 0.01
NAME = "bench_chunks_m"
RAW_BYTES = 4 * DIMENSION


def main() -> None:
    """Print what each step takes."""
    if len(sys.argv) > 1:
        step(*sys.argv[1:])
        return
    for name, running in (("Milvus Lite", lite), ("Milvus 2.3.5", real)):
        with running() as (uri, _), tempfile.TemporaryDirectory() as folder:
            print(f"{name}, {ROWS} x {DIMENSION}, text of {len(TEXT)} characters; sizes against raw float32")
            for what in ("fill", "full", "unchanged", "change", "changed", "verify", "restore"):
                command = [sys.executable, "-c", "from tests.bench.backups import main; main()", what, uri, folder]
                print(subprocess.run(command, check=True, capture_output=True, text=True).stdout, end="", flush=True)


def step(what: str, uri: str, folder: str) -> None:
    """One step in a process of its own."""
    with open("/proc/self/clear_refs", "w") as peak:
        peak.write("5")
    store, began_s = MilvusCollections(uri, 60, 600), time.monotonic()
    url = f"file://{folder}/saves"
    if what == "fill":
        store.create_from(SCHEMA, NAME)
        store.write_rows(NAME, batches(range(ROWS)))
        store.flush(NAME)
        store.load(NAME)
    elif what == "change":
        chosen_rows = np.random.default_rng(1).choice(ROWS, int(ROWS * CHANGED), replace=False)
        store.write_rows(NAME, batches(chosen_rows.tolist(), seed=1))
    elif what == "verify":
        chain = open_chain(storage := open_storage(url), chosen(storage, "latest", Workspace().subject, now()))
        told("verify", began_s, verify(chain, 1.0, lambda: 0.0, lambda event: None).ok)
    elif what == "restore":
        told("restore, with index", began_s, restored(store, url))
    else:
        told(what, began_s, saved(store, uri, url))


def saved(store: MilvusCollections, uri: str, url: str) -> str:
    """Makes a backup; its size."""
    workspace = Workspace()
    world = replace(workspace.world(), now=now)
    made = create(source(workspace, store, uri), Destination(open_storage(url)), world, time.monotonic_ns() % 2**32)
    return f"{made.size_bytes / 1e6:.2f} MB, {made.size_bytes / (ROWS * RAW_BYTES):.3f} of raw"


def source(workspace: Workspace, store: MilvusCollections, uri: str) -> Source:
    """The collection, searched where it is."""
    return replace(
        workspace.source(),
        store=store,
        collections=lambda: [NAME],
        search=lambda name, schema, vectors, k: search(uri, name, schema, vectors, k),
    )


def restored(store: MilvusCollections, url: str) -> list[str]:
    """Restores the newest backup; what differs."""
    chain = open_chain(storage := open_storage(url), chosen(storage, "latest", Workspace().subject, now()))
    progress = Progress(lambda event: None, time.monotonic, ROWS, "restored")
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


def told(what: str, began_s: float, result: object) -> None:
    """One line of the table."""
    took_s = time.monotonic() - began_s
    print(f"{what:<22} {ROWS / took_s:>7.0f} rows/s {took_s:>6.1f} s, peak {peak_mb():>4.0f} MiB  {result}")


if __name__ == "__main__":
    main()
