"""The read path of lightrag-api: from a question to passages, through two batched stages, with caches on the way.

Identical questions under way are answered once. Answers are kept for at most `cache.staleness_s`, and only as long as
the workspace is as it was; vectors of questions are kept for `VECTOR_AGE_S`, and only as long as the model is the same.
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
from lightragctl.core.sources import plain_source
from lightragctl.service.batch import Batcher, BatchRecord, DeadlineError, QueueFullError
from lightragctl.service.cache import ByteCache
from lightragctl.service.flight import SingleFlight
from lightragctl.service.guard import Guard
from lightragctl.service.metrics import BackendSeries, BatchSeries, CacheSeries, Metrics
from lightragctl.service.models import ModelInputError
from lightragctl.service.shapes import ApiHit
from lightragctl.service.workspaces import Embeds, Version, Workspaces
from lightragctl.vectors.model import (
    CollectionMissingError,
    FloatArray,
    Hit,
    NotLoadedError,
    SearchBatch,
    index_spec,
)
from lightragctl.vectors.store import SearchStore

_FIELDS: Mapping[str, tuple[str, ...]] = {
    "chunks": ("content", "file_path", "chunk_order_index"),
    "entities": ("content", "file_path", "entity_name"),
    "relationships": ("content", "file_path", "src_id", "tgt_id"),
}
VECTOR_AGE_S = 300.0
"""How long the vector of a question is kept. A model that was another one for less than the time between two probes is
not noticed: so long at most its vectors are used."""

_TOP_K_STEPS = (5, 10, 20, 50, 100)
"""Searches that differ in top_k share a call when they fall under the same step; each is cut to what it asked for."""


class Asked(NamedTuple):
    """A checked question. Equal ones have equal answers while the workspace stays as it is."""

    workspace: str
    text: str
    top_k: int
    filter: str
    kind: str
    min_score: float | None


class Found(NamedTuple):
    """Passages, best first, where they were searched, and the seconds of each stage; both empty out of the cache."""

    collection: str
    hits: list[ApiHit]
    stages_s: Mapping[str, float]


class _Search(NamedTuple):
    """One search as it waits; those with an equal `key` may share a call."""

    vector: FloatArray
    collection: str
    kind: str
    top_k: int
    filter: str

    @property
    def key(self) -> tuple[str, str, int, str]:
        return self[1:]


class _Head(msgspec.Struct):
    """The part of an answer that does not depend on how long it took."""

    workspace: str
    collection: str
    hits: list[ApiHit]


@dataclass(frozen=True, slots=True)
class _Doors:
    search: SearchStore
    embedding: Embeds


class Retrieval:
    """Answers questions of all workspaces of one lightrag-api; made and used inside one running event loop."""

    def __init__(
        self,
        settings: ApiSettings,
        workspaces: Workspaces,
        search: SearchStore,
        embedding: Embeds,
        metrics: Metrics,
    ) -> None:
        self._workspaces = workspaces
        self._doors = _Doors(search, embedding)
        self._metrics = metrics
        self._index = index_spec(settings.index)
        series = {stage: BatchSeries(metrics, stage) for stage in ("embed", "search")}
        self._embed = Batcher(self._run_embed, settings.batching, (ModelInputError,), series["embed"])
        self._search = Batcher(self._run_search, settings.batching, series=series["search"])
        self.guards = {
            "embedding": Guard("the embedding model", settings.breaking, BackendSeries(metrics, "embedding")),
            "milvus": Guard("the vector store", settings.breaking, BackendSeries(metrics, "milvus")),
        }
        cache = settings.cache
        self._answers: ByteCache[tuple[Asked, Version], bytes] = ByteCache(
            cache.result_bytes, cache.staleness_s, time.monotonic
        )
        self._vectors: ByteCache[tuple[int, str], FloatArray] = ByteCache(
            cache.embedding_bytes, VECTOR_AGE_S, time.monotonic
        )
        self._vectors_of = workspaces.model_generation
        self._answer_series, self._vector_series = CacheSeries(metrics, "result"), CacheSeries(metrics, "embedding")
        self._asking: SingleFlight[tuple[Asked, Version | None], tuple[bytes, Found]] = SingleFlight(
            metrics.joined.labels("retrieve").inc, (DeadlineError, QueueFullError)
        )

    async def close(self) -> None:
        """Refuse what comes, fail what waits, let what is under way end."""
        await self._embed.close()
        await self._search.close()

    @property
    def batches(self) -> Mapping[str, tuple[int, int, Sequence[BatchRecord]]]:
        """By stage: items that wait, calls under way, and the last batches."""
        stages: dict[str, Batcher[Any, Any]] = {"embed": self._embed, "search": self._search}
        return {name: (stage.waiting, stage.running, tuple(stage.recent)) for name, stage in stages.items()}

    def remembered(self, asked: Asked) -> bytes | None:
        """The answer, if it is in the cache and still holds: a JSON object without what it took and its last brace."""
        version = self._workspaces.version(asked.workspace, asked.kind)
        if version is None:
            return None
        kept = self._answers.get((asked, version))
        self._answer_series.looked(kept is not None)
        return kept

    @staticmethod
    def found_in(encoded: bytes) -> Found:
        """What an answer as `remembered` gives it says."""
        head = msgspec.json.decode(encoded + b"}", type=_Head)
        return Found(head.collection, head.hits, {})

    async def find(self, asked: Asked, until_s: float) -> tuple[bytes, Found]:
        """The answer, as `remembered` gives it and as an object; `until_s` is on the event loop's clock.

        Raises:
            QueueFullError: too much waits already.
            DeadlineError: it would come too late.
            UnavailableError: what is needed for it is not there now.
            LightragctlError: the question cannot be answered: a workspace or a filter is wrong.
        """
        version = self._workspaces.version(asked.workspace, asked.kind)
        return await self._asking.run((asked, version), partial(self._find, asked, version, until_s))

    def admit(self, asked: Asked) -> None:
        """Refuse at once, for little, what would find a queue full: the next one too, by what is on its way there.

        Raises:
            QueueFullError: too much waits already.
        """
        if (asked, self._workspaces.version(asked.workspace, asked.kind)) in self._asking:
            return
        if self._vector_key(asked.text) in self._vectors:
            self._search.admit(1)
        else:
            self._embed.admit(1)
            self._search.admit(1, ahead=self._embed.pending)

    async def _find(self, asked: Asked, version: Version | None, until_s: float) -> tuple[bytes, Found]:
        begin = time.monotonic()
        collection = await self._workspaces.readable(asked.workspace, asked.kind)
        if collection is None:
            found = Found("", [], {})
            return _encoded(asked, found), found
        vector, embed_queue_s = await self._vector(asked.text, until_s)
        embedded = time.monotonic()
        hits, search_queue_s, collection = await self._searched(asked, collection, vector, until_s)
        if not hits:
            await self._workspaces.confirmed(asked.workspace)
            if (moved := await self._workspaces.readable(asked.workspace, asked.kind)) not in (collection, None):
                hits, search_queue_s, collection = await self._searched(asked, moved, vector, until_s)
        ended = time.monotonic()
        stages_s = {"queue": embed_queue_s + search_queue_s, "embed": embedded - begin, "search": ended - embedded}
        found = Found(collection, _chosen(hits, asked), stages_s)
        encoded = _encoded(asked, found)
        self._metrics.stage("serialise", time.monotonic() - ended)
        if version is not None and self._workspaces.settled(asked.workspace, begin):
            self._answers.put((asked, version), encoded, len(encoded) + 2 * len(asked.text))
            self._answer_series.size(self._answers.size_bytes)
        return encoded, found

    async def _vector(self, text: str, until_s: float) -> tuple[FloatArray, float]:
        """The vector of a question, and how long it waited for its batch."""
        key = self._vector_key(text)
        kept = self._vectors.get(key)
        self._vector_series.looked(kept is not None)
        if kept is not None:
            return kept, 0.0
        vector, queue_s = await self._embed.submit(text, until_s=until_s)
        if key == self._vector_key(text):
            self._vectors.put(key, vector, vector.nbytes + 2 * len(text))
            self._vector_series.size(self._vectors.size_bytes)
        return vector, queue_s

    def _vector_key(self, text: str) -> tuple[int, str]:
        """Vectors of another generation of the model are never found again, and make room at once."""
        generation = self._workspaces.model_generation
        if generation != self._vectors_of:
            self._vectors_of = generation
            self._vectors.clear()
        return generation, text

    async def _searched(
        self, asked: Asked, collection: str, vector: FloatArray, until_s: float
    ) -> tuple[list[Hit], float, str]:
        """Hits, seconds in the queue, and the collection; once more after mending what can be mended."""
        top_k = next((step for step in _TOP_K_STEPS if step >= asked.top_k), asked.top_k)
        search = _Search(vector, collection, asked.kind, top_k, asked.filter)
        try:
            served = await self._search.submit(search, search.key, until_s)
        except CollectionMissingError:
            await self._workspaces.look(asked.workspace)
            moved = await self._workspaces.readable(asked.workspace, asked.kind)
            if moved is None:
                raise
            search = search._replace(collection=moved)
            served = await self._search.submit(search, search.key, until_s)
        except NotLoadedError as error:
            if not self._workspaces.is_ours(asked.workspace, collection):
                raise UnavailableError(error.message, "lightrag-server loads its collections: is it up?") from error
            await self._workspaces.loads.ensure(collection)
            served = await self._search.submit(search, search.key, until_s)
        return served.value, served.queue_s, search.collection

    async def _run_embed(self, texts: Sequence[str]) -> Sequence[FloatArray]:
        once = list(dict.fromkeys(texts))
        vectors = await self.guards["embedding"].call(lambda: self._doors.embedding.embed_queries(once))
        if len(once) == len(texts):
            return list(vectors)
        of = dict(zip(once, vectors, strict=True))
        return [of[text] for text in texts]

    async def _run_search(self, searches: Sequence[_Search]) -> list[list[Hit]]:
        first = searches[0]
        vectors = np.stack([search.vector for search in searches])
        fields = _FIELDS[first.kind]
        batch = SearchBatch(first.collection, vectors, first.top_k, self._index, fields, first.filter)
        return await self.guards["milvus"].call(lambda: self._doors.search.search(batch))


def _chosen(hits: Sequence[Hit], asked: Asked) -> list[ApiHit]:
    """What was asked for of what was found; a score below `min_score` is none, as in LightRAG's naive mode."""
    return [_api_hit(hit) for hit in hits[: asked.top_k] if asked.min_score is None or hit.score >= asked.min_score]


def _encoded(asked: Asked, found: Found) -> bytes:
    return msgspec.json.encode(_Head(asked.workspace, found.collection, found.hits))[:-1]


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
