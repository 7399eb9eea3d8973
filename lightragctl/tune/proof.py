"""Proves that a rebuilt collection is equal to the original, and that its index answers. Reads a store."""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from lightragctl.backup.answers import MOST_DROP
from lightragctl.backup.proof import DifferentCopyError
from lightragctl.backup.restore import copied_rows
from lightragctl.quality.exact import Neighbours, exact_neighbours, recall
from lightragctl.quality.golden import metric_of
from lightragctl.tune.swap import Swap
from lightragctl.vectors.applied import AppliedIndex
from lightragctl.vectors.copying import loaded
from lightragctl.vectors.model import Block, FloatArray, Hit, SearchBatch
from lightragctl.vectors.rows import row_hashes
from lightragctl.vectors.schema import CollectionSchema
from lightragctl.vectors.store import CollectionStore

QUERIES = 50
K = 10
_KNOB = {"HNSW": "ef", "HNSW_SQ": "ef", "IVF_FLAT": "nprobe", "IVF_SQ8": "nprobe", "IVF_PQ": "nprobe"}
_THOROUGH = {"ef": 200, "nprobe": 64}
"""Where a collection is searched as the profile says, the proof searches it so."""

Search = Callable[[SearchBatch], list[list[Hit]]]
"""Hits of each vector of a batch."""
Tick = Callable[[], None]
"""Called with each batch of rows; may raise to stop."""


@dataclass(frozen=True)
class Wanted:
    """What the copy is compared with.

    Attributes:
        current: the index of the original.
        least: recall that the copy must reach; 0: that of the original less `MOST_DROP`.
    """

    current: AppliedIndex
    least: float


def prove(store: CollectionStore, search: Search, swap: Swap, wanted: Wanted, tick: Tick) -> dict[str, Any]:
    """Figures of the comparison: rows, searches, recall of the copy and of the original.

    Args:
        store: where both are.
        search: in it.
        swap: names both, and the new index.
        wanted: of the copy.
        tick: for each batch.

    Raises:
        DifferentCopyError: rows differ, or the recall is too low.
    """
    schema = store.describe(swap.original)
    with loaded(store, swap.original), loaded(store, swap.copy):
        queries = _sample(store, swap.original, schema)
        read = partial(_read, store, schema, tick)
        before, _ = read(swap.original, None)
        after, nearest = read(swap.copy, queries)
        if before != after:
            raise DifferentCopyError(f"the rows of {swap.copy} differ from those of {swap.original}")
        if queries is None:
            return {"rows": before[0], "searches": 0, "recall": 1.0, "recall_before": 1.0}
        reached = _recall(search, swap.copy, swap.index, queries, nearest)
        was = _recall(search, swap.original, wanted.current, queries, nearest)
    if reached < (wanted.least or was - MOST_DROP):
        message = f"the recall of {swap.copy} is {reached:.3f}, that of {swap.original} {was:.3f}"
        raise DifferentCopyError(f"{message}{f'; at least {wanted.least:g} is required' if wanted.least else ''}")
    return {"rows": before[0], "searches": len(queries), "recall": round(reached, 4), "recall_before": round(was, 4)}


def vector_metric(schema: CollectionSchema) -> str:
    """The metric of the vectors' index; `COSINE` when there is none."""
    return next((one.metric_type for one in schema.indexes if one.field == "vector"), "COSINE")


def _sample(store: CollectionStore, name: str, schema: CollectionSchema) -> FloatArray | None:
    batch = next(iter(copied_rows(store, name, schema)), None)
    if batch is None:
        return None
    vectors = np.asarray(batch.columns["vector"], np.float32)
    return vectors[:: max(1, len(vectors) // QUERIES)][:QUERIES]


def _read(
    store: CollectionStore, schema: CollectionSchema, tick: Tick, name: str, queries: FloatArray | None
) -> tuple[tuple[int, str], list[Neighbours]]:
    """The number of rows, the digest of their hashes, and the exact answers to the queries."""
    seen, count = hashlib.sha256(), 0

    def passing() -> Iterator[Block]:
        nonlocal count
        for batch in copied_rows(store, name, schema):
            seen.update(b"".join(row_hashes(batch, schema)))
            count += len(batch)
            tick()
            yield [str(key) for key in batch.keys], np.asarray(batch.columns["vector"], np.float32)

    if queries is None:
        _exhaust(passing())
        return (count, seen.hexdigest()), []
    nearest = exact_neighbours(queries, passing(), K, metric_of(vector_metric(schema)))
    return (count, seen.hexdigest()), nearest


def _exhaust(blocks: Iterable[Block]) -> None:
    for _ in blocks:
        pass


def _recall(search: Search, name: str, index: AppliedIndex, queries: FloatArray, nearest: list[Neighbours]) -> float:
    knob = _KNOB.get(index.index_type)
    chosen = index.search or ({knob: _THOROUGH[knob]} if knob else {})
    spec = AppliedIndex(index.index_type, index.metric, {}, chosen).spec
    hits = search(SearchBatch(name, queries, K, spec, ()))
    shares = [recall([hit.id for hit in found], near, K) for found, near in zip(hits, nearest, strict=True)]
    return sum(shares) / len(shares)
