"""Trials of indexes in a collection of their own, which is deleted afterwards. Does network I/O."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from lightragctl.core.errors import UnavailableError
from lightragctl.quality.exact import Neighbours, recall
from lightragctl.quality.stats import bounded_mean, nearest_rank
from lightragctl.tune.points import Built, Point
from lightragctl.tune.queries import Queries
from lightragctl.tune.space import Candidate
from lightragctl.vectors.indexing import IndexStalledError, IndexStore, Patience
from lightragctl.vectors.model import FloatArray, IndexSpec, SearchBatch, StoreError
from lightragctl.vectors.rows import RowBatch
from lightragctl.vectors.schema import CollectionSchema, FieldSchema, IndexSchema
from lightragctl.vectors.search import MilvusSearch

PREFIX = "__tune_"
"""Names of trial collections begin with it; neither we nor lightrag-server take such a name for a workspace's."""
_ID_BYTES = 64
_BATCH = 32
"""Queries of a call when the rate is measured: the largest batch of lightrag-api."""
_SINGLE = 50
"""Searches one after the other, for the latency."""
_PASSES = 5
_CALL_S = 60.0
_INSERT_ROWS = 2000


@dataclass(frozen=True)
class Pace:
    """How busy the server may be made: the share of the time that a search is in flight."""

    share: float
    clock: Callable[[], float] = time.perf_counter
    pause: Callable[[float], None] = time.sleep

    def rest_s(self, busy_s: float) -> float:
        """How long to wait after a call."""
        return busy_s * (1 / self.share - 1)


class Trials:
    """One trial collection: rows are added round by round, and indexes are built one after the other.

    Args:
        uri: of the trial store, `http://host:port`.
        token: letters and digits; a collection that a killed search with the same token left is deleted.
        dimension: of the vectors.
        pace: of searches.
    """

    def __init__(self, uri: str, token: str, dimension: int, pace: Pace) -> None:
        self.name = f"{PREFIX}{token}"
        self.store = IndexStore(uri, _CALL_S)
        self._uri, self._dimension, self._pace = uri, dimension, pace
        self.rows = 0

    @contextlib.contextmanager
    def opened(self) -> Iterator["Trials"]:
        """Create the collection for the block; it is deleted at its end, also after an error."""
        self.store.drop(self.name)
        fields = (
            FieldSchema("id", "VARCHAR", max_length=_ID_BYTES, primary=True),
            FieldSchema("vector", "FLOAT_VECTOR", dimension=self._dimension),
        )
        self.store.create_from(CollectionSchema(self.name, fields), self.name)
        try:
            yield self
        finally:
            with contextlib.suppress(UnavailableError):
                self.store.drop(self.name)
            self.store.close()

    def add(self, ids: Sequence[str], vectors: FloatArray, done: Callable[[int], None]) -> None:
        """Write further rows, and wait until they are durable."""
        self.store.drop_index(self.name)
        batches = (
            RowBatch("id", {"id": list(ids[at : at + _INSERT_ROWS]), "vector": vectors[at : at + _INSERT_ROWS]})
            for at in range(0, len(ids), _INSERT_ROWS)
        )
        self.store.write_rows(self.name, batches, lambda batch: done(len(batch)))
        self.store.flush(self.name)
        self.rows += len(ids)

    def build(self, candidate: Candidate, patience: Patience) -> Built:
        """Build an index over all rows of the trial and load it; what is refused or stalls is a result too."""
        index = IndexSchema("vector", "vector", candidate.index_type, candidate.metric, candidate.build(self.rows))
        try:
            build_s = self.store.build_index(self.name, index, patience)
            self.store.load(self.name)
        except StoreError as error:
            return Built(
                candidate.name,
                self.rows,
                trouble=f"not built by this server: {error.message.rpartition('): ')[2][:200]}",
            )
        except IndexStalledError as error:
            return Built(candidate.name, self.rows, trouble=f"abandoned: {error.message}")
        return Built(candidate.name, self.rows, round(build_s, 2))

    def measure(self, candidate: Candidate, value: int, queries: Queries, exact: Sequence[Neighbours], k: int) -> Point:
        """Recall, latency and rate of the index that was built, with a value of its knob."""
        search = candidate.search_params(value, k)
        spec = IndexSpec(candidate.index_type, candidate.metric, {}, search)
        found, singles_s, rate = asyncio.run(self._searched(spec, queries, k))
        shares = [
            recall([name for name in names if name != own][:k], near, k)
            for names, own, near in zip(found, queries.own, exact, strict=True)
        ]
        low, high = bounded_mean(shares, seed=0)
        times = sorted(singles_s)
        return Point(
            candidate=candidate.name,
            rows=self.rows,
            value=value,
            search=search,
            recall=round(float(np.mean(shares)), 4),
            low=round(low, 4),
            high=round(high, 4),
            p50_ms=round(1000 * times[nearest_rank(len(times), 0.5) - 1], 3),
            p95_ms=round(1000 * times[nearest_rank(len(times), 0.95) - 1], 3),
            rate=round(rate, 1),
        )

    async def _searched(self, spec: IndexSpec, queries: Queries, k: int) -> tuple[list[list[str]], list[float], float]:
        """The ids that were found, seconds of single searches, and queries per second in batches.

        The first pass warms up, and gives the ids. Of the others the best is taken, as ann-benchmarks does: what else
        the machine does only makes a search slower. Passes of singles and of batches alternate.
        """
        door = MilvusSearch(self._uri, _CALL_S)
        top_k = k + 1 if any(queries.own) else k
        parts = [queries.vectors[at : at + _BATCH] for at in range(0, len(queries.vectors), _BATCH)]
        singles = [queries.vectors[at : at + 1] for at in range(min(_SINGLE, len(queries.vectors)))]

        async def timed(vectors: FloatArray) -> tuple[list[list[str]], float]:
            begun_s = self._pace.clock()
            hits = await door.search(SearchBatch(self.name, vectors, top_k, spec, ()))
            busy_s = self._pace.clock() - begun_s
            await asyncio.sleep(self._pace.rest_s(busy_s))
            return [[hit.id for hit in some] for some in hits], busy_s

        try:
            found = [names for part in parts for names in (await timed(part))[0]]
            passes, rates = [], []
            for _ in range(_PASSES):
                passes.append([(await timed(one))[1] for one in singles])
                busy_s = [(await timed(part))[1] for part in parts]
                rates.append(len(queries.vectors) / sum(busy_s))
            return found, min(passes, key=sum), max(rates)
        finally:
            await door.close()
