"""lightrag-api: the read path over LightRAG's Milvus collections, and `POST /documents`. Serves HTTP.

A retrieval goes through two stages, embed and search, each of which gathers what waits into one call.
"""

import asyncio
import contextlib
import logging
import re
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import msgspec
import numpy as np

from lightragctl.core.errors import LightragctlError, UnavailableError
from lightragctl.core.settings import ApiSettings
from lightragctl.service import http
from lightragctl.service.answers import problem_body, problem_of
from lightragctl.service.batch import Batcher
from lightragctl.service.documents import Documents, Record, Written, document_id
from lightragctl.service.keys import ApiKeys
from lightragctl.service.metrics import BatchSeries, Metrics
from lightragctl.service.models import ChatAnswer, ChatClient, EmbeddingClient, ModelInputError, open_session
from lightragctl.service.shapes import (
    ApiHit,
    Citation,
    DeleteAnswer,
    Deleted,
    DeleteQuery,
    FlushAnswer,
    FlushRequest,
    ListAnswer,
    ListedDocument,
    ListQuery,
    NewDocument,
    QueryAnswer,
    RetrieveAnswer,
    RetrieveRequest,
    WriteAnswer,
    WriteRequest,
)
from lightragctl.service.wire import prompt
from lightragctl.service.workspaces import Embeds, WorkspaceMissingError, Workspaces, when_loaded
from lightragctl.vectors.model import (
    CollectionMissingError,
    FloatArray,
    Hit,
    InvalidFilterError,
    NotLoadedError,
    Page,
    SearchBatch,
    index_spec,
)
from lightragctl.vectors.store import SearchStore, VectorStore

log = logging.getLogger(__name__)

_FIELDS = ("content", "file_path", "chunk_order_index")
_TOP_K_STEPS = (10, 20, 50, 100)
"""Searches that differ in top_k share a call when they fall under the same step; each is cut to what it asked for."""

_MARKER = re.compile(r"\[(\d{1,4})\]")
_START_RETRY_S = 0.5


class Chats(Protocol):
    """Answers messages; `service.models.ChatClient` does."""

    async def complete(self, messages: Sequence[Mapping[str, str]]) -> ChatAnswer:
        """The model's answer."""


@dataclass(frozen=True)
class Doors:
    """What stands behind the service: store, search, and the two models."""

    store: VectorStore
    search: SearchStore
    embedding: Embeds
    chat: Chats


OpenDoors = Callable[[], AbstractAsyncContextManager[Doors]]


@dataclass(frozen=True, slots=True)
class _Search:
    """One search as it waits; those with an equal `key` may share a call."""

    vector: FloatArray
    collection: str
    top_k: int
    filter: str

    @property
    def key(self) -> tuple[str, int, str]:
        return self.collection, self.top_k, self.filter


@dataclass(frozen=True, slots=True)
class _Found:
    """What a search found, how long it waited, and where it was searched in the end."""

    hits: list[Hit]
    queue_s: float
    collection: str


class _Api:
    """The handlers and what they share; complete between the lifespan's start and end."""

    workspaces: Workspaces
    documents: Documents
    _doors: Doors
    _embed: Batcher[str, FloatArray]
    _search: Batcher[_Search, list[Hit]]

    def __init__(self, settings: ApiSettings, open_doors: OpenDoors, metrics: Metrics) -> None:
        self._settings = settings
        self._open_doors = open_doors
        self._metrics = metrics
        self._index = index_spec(settings.index)
        self._not_ready = "starting"

    def ready(self) -> str:
        """Why the service cannot answer yet; stays empty once it could."""
        return self._not_ready

    @asynccontextmanager
    async def lifespan(self) -> AsyncGenerator[None, None]:
        settings = self._settings
        async with self._open_doors() as doors:
            self._doors = doors
            self.workspaces = Workspaces(settings, doors.store, doors.embedding)
            self.documents = Documents(settings, self.workspaces, doors.embedding)
            embed, search = (BatchSeries(self._metrics, stage) for stage in ("embed", "search"))
            self._embed = Batcher(self._run_embed, settings.batching, (ModelInputError,), embed)
            self._search = Batcher(self._run_search, settings.batching, series=search)
            background = [asyncio.create_task(self._become_ready()), asyncio.create_task(self.workspaces.watch())]
            try:
                yield
            finally:
                for task in background:
                    task.cancel()
                await asyncio.gather(*background, return_exceptions=True)
                await self._embed.close()
                await self._search.close()

    async def retrieve(self, request: http.Request) -> http.Response:
        asked = await request.json(RetrieveRequest)
        return http.json_response(await self._retrieve(asked))

    async def query(self, request: http.Request) -> http.Response:
        asked = await request.json(RetrieveRequest)
        found = await self._retrieve(asked)
        begin = time.perf_counter()
        passages = [{"source": hit.source, "text": hit.text} for hit in found.hits]
        answer = await self._doors.chat.complete(prompt(asked.query, passages))
        chat_ms = _since_ms(begin)
        stages_ms = dict(found.timing_ms)
        total_ms = stages_ms.pop("total")
        timing_ms = {**stages_ms, "chat": chat_ms, "total": round(total_ms + chat_ms, 3)}
        self._metrics.stage("chat", chat_ms / 1000)
        cited = citations(answer.text, found.hits)
        return http.json_response(QueryAnswer(found.workspace, answer.text, cited, found.hits, answer.model, timing_ms))

    async def write(self, request: http.Request) -> http.Response | http.Streaming:
        asked = await request.json(WriteRequest)
        if len(asked.documents) > self._settings.limits.documents:
            raise _bad(
                f"documents: {len(asked.documents)} of them, at most {self._settings.limits.documents} at a time"
            )
        workspace = asked.workspace or self._settings.workspace
        await self.workspaces.writable(workspace)  # what is wrong with the workspace is told by the status
        if "ndjson" in request.header("accept"):
            return http.Streaming(self._write_lines(workspace, asked.documents))
        begin = time.perf_counter()
        written = [
            event
            for document in asked.documents
            async for event in self.documents.write(workspace, document.source, document.text)
            if isinstance(event, Written)
        ]
        return http.json_response(WriteAnswer(workspace, written, {"total": _since_ms(begin)}))

    async def listing(self, request: http.Request) -> http.Response:
        asked = request.query(ListQuery)
        workspace = asked.workspace or self._settings.workspace
        records = await self.documents.page(workspace, asked.after, asked.limit)
        after = records[-1].id if len(records) == asked.limit else None
        return http.json_response(ListAnswer(workspace, [self._listed(record) for record in records], after))

    async def delete(self, request: http.Request) -> http.Response:
        asked = request.query(DeleteQuery)
        if (asked.source is None) == (asked.id is None):
            raise _bad("name the document by one of source and id")
        workspace = asked.workspace or self._settings.workspace
        document = asked.id or document_id(asked.source or "")
        record = await self.documents.delete(workspace, document)
        if record is None:
            hint = "GET /documents lists what there is"
            raise http.Problem(
                404, "Not Found", f"there is no document {asked.source or asked.id}", hint, "no-document"
            )
        return http.json_response(DeleteAnswer(workspace, Deleted(record.id, record.source, record.chunks)))

    async def flush(self, request: http.Request) -> http.Response:
        asked = await request.json(FlushRequest)
        workspace = asked.workspace or self._settings.workspace
        return http.json_response(FlushAnswer(workspace, await self.documents.flush(workspace)))

    async def _retrieve(self, asked: RetrieveRequest) -> RetrieveAnswer:
        begin = time.perf_counter()
        text = self._checked_query(asked)
        workspace = asked.workspace or self._settings.workspace
        try:
            collection = await self.workspaces.readable(workspace)
        except WorkspaceMissingError as error:
            raise http.Problem(404, "Not Found", error.message, error.hint, error.code) from error
        if collection is None:
            return RetrieveAnswer(workspace, "", [], {"total": _since_ms(begin)})
        embedded = await self._embed.submit(text)
        embed_ms = _since_ms(begin)
        found = await self._find(workspace, collection, embedded.value, asked)
        total_ms = _since_ms(begin)
        queue_ms = round((embedded.queue_s + found.queue_s) * 1000, 3)
        timing_ms = {"queue": queue_ms, "embed": embed_ms, "search": round(total_ms - embed_ms, 3), "total": total_ms}
        for stage in ("embed", "search"):
            self._metrics.stage(stage, timing_ms[stage] / 1000)
        hits = [_api_hit(hit) for hit in found.hits[: asked.top_k]]
        return RetrieveAnswer(workspace, found.collection, hits, timing_ms)

    async def _find(self, workspace: str, collection: str, vector: FloatArray, asked: RetrieveRequest) -> _Found:
        """Search; once more after mending what can be mended: a collection that is not loaded, an alias that moved."""
        top_k = next((step for step in _TOP_K_STEPS if step >= asked.top_k), asked.top_k)
        search = _Search(vector, collection, top_k, asked.filter or "")
        try:
            return await self._submit(search)
        except CollectionMissingError:
            physical = (await self.workspaces.look(workspace)).physical
            if physical is None or physical == collection:
                raise
            return await self._submit(_Search(vector, physical, top_k, search.filter))
        except NotLoadedError as error:
            if not self.workspaces.is_ours(workspace, collection):
                raise UnavailableError(error.message, "lightrag-server loads its collections: is it up?") from error
            await asyncio.to_thread(self._doors.store.load, collection)
            return await self._submit(search)

    async def _submit(self, search: _Search) -> _Found:
        try:
            served = await self._search.submit(search, search.key)
        except InvalidFilterError as error:
            raise http.Problem(400, "Bad Request", f"filter: {error.message}", error.hint, error.code) from error
        return _Found(served.value, served.queue_s, search.collection)

    def _checked_query(self, asked: RetrieveRequest) -> str:
        limits = self._settings.limits
        if asked.top_k > limits.top_k:
            raise _bad(f"top_k: {asked.top_k}, at most {limits.top_k} can be asked for")
        if len(asked.query) > limits.query_chars:
            raise _bad(f"query: {len(asked.query)} characters, at most {limits.query_chars} can be asked")
        if asked.filter and len(asked.filter) > limits.filter_chars:
            raise _bad(f"filter: {len(asked.filter)} characters, at most {limits.filter_chars} are read")
        text = asked.query.replace("\0", " ").strip()
        if not text:
            raise _bad("query: it has no text")
        return text

    async def _run_embed(self, texts: Sequence[str]) -> Sequence[FloatArray]:
        return list(await self._doors.embedding.embed_queries(texts))

    async def _run_search(self, searches: Sequence[_Search]) -> list[list[Hit]]:
        first = searches[0]
        vectors = np.stack([search.vector for search in searches])
        batch = SearchBatch(first.collection, vectors, first.top_k, self._index, _FIELDS, first.filter)
        return await self._doors.search.search(batch)

    async def _write_lines(self, workspace: str, documents: Sequence[NewDocument]) -> AsyncGenerator[bytes, None]:
        """The documents one after the other as JSON lines; an error ends them, what was acknowledged stands."""
        try:
            for document in documents:
                writing = self.documents.write(workspace, document.source, document.text)
                async with contextlib.aclosing(writing):
                    async for event in writing:
                        yield msgspec.json.encode(event) + b"\n"
        except LightragctlError as error:
            yield http.json_bytes({"event": "error", "problem": problem_body(problem_of(error))}) + b"\n"
            return
        yield b'{"event":"done"}\n'

    def _listed(self, record: Record) -> ListedDocument:
        return ListedDocument(
            record.id,
            record.source,
            record.sha256,
            record.chunks,
            record.state,
            self.documents.is_current(record),
            record.updated_at,
        )

    async def _become_ready(self) -> None:
        """Try until the service's own workspace can truly be searched, or is seen to be empty."""
        while True:
            try:
                await self._prove_search()
            except LightragctlError as error:
                self._say_not_ready(error.message)
                await asyncio.sleep(_START_RETRY_S)
            else:
                self._not_ready = ""
                log.info("ready: workspace %s", self._settings.workspace)
                return

    def _say_not_ready(self, reason: str) -> None:
        if reason != self._not_ready:
            log.warning("not ready: %s", reason)
        self._not_ready = reason

    async def _prove_search(self) -> None:
        """The model answers; and one stored vector, searched for, is found."""
        await self.workspaces.check_probe()
        workspace = self._settings.workspace
        if (await self.workspaces.look(workspace)).physical is None:
            return  # nothing of this model's yet; what there is of another's is told to those who ask for it
        collection = await self.workspaces.readable(workspace)
        rows = await asyncio.to_thread(self._first_row, workspace, collection) if collection else []
        if not rows or not collection:
            return
        vector = np.asarray(rows[0]["vector"], dtype=np.float32)
        hits = (await self._find(workspace, collection, vector, RetrieveRequest(query="known answer", top_k=10))).hits
        # Equal texts have equal vectors: then another row may come in this one's place, with the same score.
        if hits and (rows[0]["id"] in {hit.id for hit in hits} or hits[0].score == hits[-1].score):
            return
        raise UnavailableError(f"collection {collection} does not find its own row {rows[0]['id']} yet")

    def _first_row(self, workspace: str, collection: str) -> list[dict[str, Any]]:
        store = self._doors.store

        def read() -> list[dict[str, Any]]:
            return store.scan(collection, ["vector"], Page(limit=1))

        return when_loaded(store, collection, read) if self.workspaces.is_ours(workspace, collection) else read()


def citations(answer: str, hits: Sequence[ApiHit]) -> list[Citation]:
    """The passages that the answer's markers point at, in the order of their first use."""
    markers = dict.fromkeys(int(found) for found in _MARKER.findall(answer))
    return [
        Citation(marker, hits[marker - 1].id, hits[marker - 1].source, hits[marker - 1].text)
        for marker in markers
        if 1 <= marker <= len(hits)
    ]


def _api_hit(hit: Hit) -> ApiHit:
    order = hit.fields.get("chunk_order_index")
    text, source = str(hit.fields.get("content", "")), str(hit.fields.get("file_path", ""))
    return ApiHit(hit.id, hit.score, text, source, order if isinstance(order, int) else None)


def _since_ms(begin: float) -> float:
    return round((time.perf_counter() - begin) * 1000, 3)


def _bad(detail: str) -> http.Problem:
    return http.Problem(400, "Bad Request", detail, code="invalid-value")


def create_app(settings: ApiSettings, open_doors: OpenDoors) -> http.App:
    """The service's app; `open_doors` is entered when it starts."""
    metrics = Metrics()
    api = _Api(settings, open_doors, metrics)
    routes = (
        http.Route("POST", "/retrieve", api.retrieve, "Find passages", None, RetrieveRequest, RetrieveAnswer),
        http.Route("POST", "/query", api.query, "Answer from passages", None, RetrieveRequest, QueryAnswer),
        http.Route("POST", "/documents", api.write, "Store documents", None, WriteRequest, WriteAnswer),
        http.Route("GET", "/documents", api.listing, "List documents", ListQuery, None, ListAnswer),
        http.Route("DELETE", "/documents", api.delete, "Delete a document", DeleteQuery, None, DeleteAnswer),
        http.Route("POST", "/documents/flush", api.flush, "Flush and index", None, FlushRequest, FlushAnswer),
    )
    admit = ApiKeys(Path(settings.api_keys_file)).admit if settings.api_keys_file else None
    limit = settings.limits.body_bytes
    options = http.AppOptions("lightrag-api", limit, ready=api.ready, lifespan=api.lifespan, admit=admit)
    return http.App(routes, options, metrics)


@asynccontextmanager
async def real_doors(settings: ApiSettings) -> AsyncGenerator[Doors, None]:
    """Milvus and model-gateway."""
    from lightragctl.vectors.milvus import MilvusStore  # noqa: PLC0415 - pymilvus takes a quarter second to import
    from lightragctl.vectors.search import MilvusSearch  # noqa: PLC0415

    deadlines = settings.deadlines
    store = MilvusStore(settings.vector_engine_uri, deadlines.write_s)
    search = MilvusSearch(settings.vector_engine_uri, deadlines.search_s)
    async with open_session() as session:
        embedding = EmbeddingClient(session, settings.gateway_url, settings.embedding, deadlines.embed_s)
        chat = ChatClient(session, settings.gateway_url, settings.chat_model, deadlines.chat_s)
        try:
            yield Doors(store, search, embedding, chat)
        finally:
            await search.close()
            store.close()


def serve(settings: ApiSettings, environ: Mapping[str, str]) -> None:
    """Serve until SIGTERM. Raises when the port cannot be had."""
    http.run(create_app(settings, lambda: real_doors(settings)), settings.host, settings.port)
