"""The read path of lightrag-api: from a query to passages, through two batched and cached stages.

Concurrent identical queries share one execution. Results are cached for at most `cache.staleness_s`, while the
workspace is unchanged; query vectors are cached for `VECTOR_AGE_S`, while the model is unchanged.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import msgspec
import numpy as np

from lightragctl.core.errors import UnavailableError
from lightragctl.core.settings import ApiSettings
from lightragctl.core.source_names import plain_source
from lightragctl.service.backend_guard import BackendGuard
from lightragctl.service.batch import Batcher, BatchRecord, DeadlineError, QueueFullError
from lightragctl.service.cache import ByteCache
from lightragctl.service.metrics import BackendSeries, BatchSeries, CacheSeries, Metrics
from lightragctl.service.model_clients import ModelInputError
from lightragctl.service.schemas import ApiHit
from lightragctl.service.single_flight import SingleFlight
from lightragctl.service.workspaces import EmbeddingBackend, Workspaces, WorkspaceVersion
from lightragctl.vectors.model import (
    CollectionMissingError,
    FloatArray,
    Hit,
    NotLoadedError,
    SearchBatch,
)
from lightragctl.vectors.store import SearchStore

_FIELDS: Mapping[str, tuple[str, ...]] = {
    "chunks": ("content", "file_path", "chunk_order_index"),
    "entities": ("content", "file_path", "entity_name"),
    "relationships": ("content", "file_path", "src_id", "tgt_id"),
}
VECTOR_AGE_S = 300.0
"""How long the vector of a query is cached. This also limits the use of vectors from a model that changed for less than
the interval of two probes, which goes unnoticed."""

_TOP_K_STEPS = (5, 10, 20, 50, 100)
"""top_k is rounded up to one of these, so that searches can share a call; each result is cut to its own top_k."""


class Question(NamedTuple):
    """A validated question. Equal questions have equal results while the workspace is unchanged."""

    workspace: str
    text: str
    top_k: int
    filter: str
    kind: str
    min_score: float | None


class Passages(NamedTuple):
    """Passages, best first, the collection searched, and the seconds of each stage (empty from the cache)."""

    collection: str
    hits: list[ApiHit]
    stages_s: Mapping[str, float]


class _Search(NamedTuple):
    """One queued search; those with an equal `key` may share a call."""

    vector: FloatArray
    collection: str
    kind: str
    top_k: int
    filter: str

    @property
    def key(self) -> tuple[str, str, int, str]:
        return self[1:]


class _CachedPart(msgspec.Struct):
    """The part of a response that is cached: without timings."""

    workspace: str
    collection: str
    hits: list[ApiHit]


@dataclass(frozen=True, slots=True)
class _Backends:
    search: SearchStore
    embedding: EmbeddingBackend


class Retrieval:
    """Retrieval for all workspaces of one lightrag-api; created and used inside one running event loop."""

    def __init__(
        self,
        settings: ApiSettings,
        workspaces: Workspaces,
        search: SearchStore,
        embedding: EmbeddingBackend,
        metrics: Metrics,
    ) -> None:
        self._workspaces = workspaces
        self._backends = _Backends(search, embedding)
        self._metrics = metrics
        series = {stage: BatchSeries(metrics, stage) for stage in ("embed", "search")}
        self._embed = Batcher(self._run_embed, settings.batching, (ModelInputError,), series["embed"])
        self._search = Batcher(self._run_search, settings.batching, series=series["search"])
        self.guards = {
            "embedding": BackendGuard("the embedding model", settings.breaking, BackendSeries(metrics, "embedding")),
            "milvus": BackendGuard("the vector store", settings.breaking, BackendSeries(metrics, "milvus")),
        }
        cache = settings.cache
        self._answers: ByteCache[tuple[Question, WorkspaceVersion], bytes] = ByteCache(
            cache.result_bytes, cache.staleness_s, time.monotonic
        )
        self._vectors: ByteCache[tuple[int, str], FloatArray] = ByteCache(
            cache.embedding_bytes, VECTOR_AGE_S, time.monotonic
        )
        self._vector_generation = workspaces.model_generation
        self._answer_series, self._vector_series = CacheSeries(metrics, "result"), CacheSeries(metrics, "embedding")
        self._in_flight: SingleFlight[tuple[Question, WorkspaceVersion | None], tuple[bytes, Passages]] = SingleFlight(
            metrics.coalesced.labels("retrieve").inc, (DeadlineError, QueueFullError)
        )

    async def close(self) -> None:
        """Reject new searches, fail queued ones, let calls in flight finish."""
        await self._embed.close()
        await self._search.close()

    @property
    def batches(self) -> Mapping[str, tuple[int, int, Sequence[BatchRecord]]]:
        """By stage: queued items, calls in flight, and the last batches."""
        stages: dict[str, Batcher[Any, Any]] = {"embed": self._embed, "search": self._search}
        return {name: (stage.waiting, stage.running, tuple(stage.recent)) for name, stage in stages.items()}

    def cached(self, question: Question) -> bytes | None:
        """The cached response if it is still valid: a JSON object without timings and without its closing brace."""
        version = self._workspaces.version(question.workspace, question.kind)
        if version is None:
            return None
        cached = self._answers.get((question, version))
        self._answer_series.looked_up(cached is not None)
        return cached

    @staticmethod
    def decoded(encoded: bytes) -> Passages:
        """The result in a response of `cached`."""
        head = msgspec.json.decode(encoded + b"}", type=_CachedPart)
        return Passages(head.collection, head.hits, {})

    async def find(self, question: Question, until_s: float) -> tuple[bytes, Passages]:
        """The response, encoded as for `cached` and as an object; `until_s` is on the event loop's clock.

        Raises:
            QueueFullError: a queue is full.
            DeadlineError: it would miss its deadline.
            UnavailableError: a backend is unavailable.
            LightragctlError: the workspace or the filter is invalid.
        """
        version = self._workspaces.version(question.workspace, question.kind)
        return await self._in_flight.run((question, version), partial(self._find, question, version, until_s))

    def admit(self, question: Question) -> None:
        """Reject early, and cheaply, what would find a queue full, including the queue of the second stage.

        Raises:
            QueueFullError: a queue is full.
        """
        if (question, self._workspaces.version(question.workspace, question.kind)) in self._in_flight:
            return
        if self._vector_key(question.text) in self._vectors:
            self._search.admit(1)
        else:
            self._embed.admit(1)
            self._search.admit(1, ahead=self._embed.pending)

    async def _find(
        self, question: Question, version: WorkspaceVersion | None, until_s: float
    ) -> tuple[bytes, Passages]:
        begin = time.monotonic()
        collection = await self._workspaces.readable(question.workspace, question.kind)
        if collection is None:
            result = Passages("", [], {})
            return _encoded(question, result), result
        vector, embed_queue_s = await self._vector(question.text, until_s)
        embedded = time.monotonic()
        hits, search_queue_s, collection = await self._searched(question, collection, vector, until_s)
        if not hits:
            await self._workspaces.confirmed(question.workspace)
            if (moved := await self._workspaces.readable(question.workspace, question.kind)) not in (collection, None):
                hits, search_queue_s, collection = await self._searched(question, moved, vector, until_s)
        ended = time.monotonic()
        stages_s = {"queue": embed_queue_s + search_queue_s, "embed": embedded - begin, "search": ended - embedded}
        result = Passages(collection, _selected(hits, question), stages_s)
        encoded = _encoded(question, result)
        self._metrics.stage("serialise", time.monotonic() - ended)
        if version is not None and self._workspaces.settled(question.workspace, begin):
            self._answers.put((question, version), encoded, len(encoded) + 2 * len(question.text))
            self._answer_series.size(self._answers.size_bytes)
        return encoded, result

    async def _vector(self, text: str, until_s: float) -> tuple[FloatArray, float]:
        """The vector of a query, and the seconds it was queued."""
        key = self._vector_key(text)
        cached = self._vectors.get(key)
        self._vector_series.looked_up(cached is not None)
        if cached is not None:
            return cached, 0.0
        vector, queue_s = await self._embed.submit(text, until_s=until_s)
        if key == self._vector_key(text):
            self._vectors.put(key, vector, vector.nbytes + 2 * len(text))
            self._vector_series.size(self._vectors.size_bytes)
        return vector, queue_s

    def _vector_key(self, text: str) -> tuple[int, str]:
        """The cache key; clears the cache when the generation of the model changes."""
        generation = self._workspaces.model_generation
        if generation != self._vector_generation:
            self._vector_generation = generation
            self._vectors.clear()
        return generation, text

    async def _searched(
        self, question: Question, collection: str, vector: FloatArray, until_s: float
    ) -> tuple[list[Hit], float, str]:
        """Hits, seconds in the queue, and the collection; retried once if the alias moved or it was not loaded."""
        top_k = next((step for step in _TOP_K_STEPS if step >= question.top_k), question.top_k)
        search = _Search(vector, collection, question.kind, top_k, question.filter)
        try:
            served = await self._search.submit(search, search.key, until_s)
        except CollectionMissingError:
            await self._workspaces.refresh(question.workspace)
            moved = await self._workspaces.readable(question.workspace, question.kind)
            if moved is None:
                raise
            search = search._replace(collection=moved)
            served = await self._search.submit(search, search.key, until_s)
        except NotLoadedError as error:
            if not self._workspaces.is_ours(question.workspace, collection):
                raise UnavailableError(
                    error.message, "lightrag-server loads its own collections: check that it is up"
                ) from error
            await self._workspaces.loads.ensure(collection)
            served = await self._search.submit(search, search.key, until_s)
        return served.value, served.queue_s, search.collection

    async def _run_embed(self, texts: Sequence[str]) -> Sequence[FloatArray]:
        distinct = list(dict.fromkeys(texts))
        vectors = await self.guards["embedding"].call(lambda: self._backends.embedding.embed_queries(distinct))
        if len(distinct) == len(texts):
            return list(vectors)
        by_text = dict(zip(distinct, vectors, strict=True))
        return [by_text[text] for text in texts]

    async def _run_search(self, searches: Sequence[_Search]) -> list[list[Hit]]:
        first = searches[0]
        vectors = np.stack([search.vector for search in searches])
        fields = _FIELDS[first.kind]
        index = self._workspaces.index_of(first.collection)
        self._metrics.searches.labels(first.collection).inc(len(searches))
        batch = SearchBatch(first.collection, vectors, first.top_k, index, fields, first.filter)
        return await self.guards["milvus"].call(lambda: self._backends.search.search(batch))


def _selected(hits: Sequence[Hit], question: Question) -> list[ApiHit]:
    """The first top_k hits with at least `min_score`."""
    return [
        _api_hit(hit) for hit in hits[: question.top_k] if question.min_score is None or hit.score >= question.min_score
    ]


def _encoded(question: Question, result: Passages) -> bytes:
    return msgspec.json.encode(_CachedPart(question.workspace, result.collection, result.hits))[:-1]


def _api_hit(hit: Hit) -> ApiHit:
    fields: Mapping[str, Any] = hit.fields
    order, entity = fields.get("chunk_order_index"), fields.get("entity_name")
    ends = [str(fields[name]) for name in ("src_id", "tgt_id") if name in fields]
    return ApiHit(
        id=hit.id,
        score=hit.score,
        text=str(fields.get("content", "")),
        source=plain_source(str(fields.get("file_path", ""))),
        chunk_order=order if isinstance(order, int) else None,
        entity=str(entity) if entity else None,
        relation=ends or None,
    )
