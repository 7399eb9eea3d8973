"""lightrag-api: the read path over LightRAG's Milvus collections, and `POST /documents`. Serves HTTP.

A retrieval has two stages, embed and search, each with dynamic batching.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import aiohttp

from lightragctl.core.settings import ApiSettings
from lightragctl.service import http, server
from lightragctl.service.document_handlers import DocumentHandlers
from lightragctl.service.documents import Documents
from lightragctl.service.gateway import read_secret
from lightragctl.service.graph import GraphBackend, GraphClient
from lightragctl.service.keys import ApiKeys
from lightragctl.service.metrics import Metrics
from lightragctl.service.model_clients import ChatClient, EmbeddingClient, open_session
from lightragctl.service.query_handlers import AnswerBackends, ChatBackend, QueryHandlers
from lightragctl.service.readiness import Readiness
from lightragctl.service.responses import EVENTS
from lightragctl.service.retrieval import Retrieval
from lightragctl.service.schemas import (
    BatchesAnswer,
    DeleteAnswer,
    DeleteQuery,
    FlushAnswer,
    FlushRequest,
    ListAnswer,
    ListQuery,
    QueryAnswer,
    QueryRequest,
    RecordingsAnswer,
    RecordingsQuery,
    RecordsAnswer,
    RecordsRequest,
    RetrieveAnswer,
    RetrieveRequest,
    WriteAnswer,
    WriteRequest,
)
from lightragctl.service.workspaces import DEFAULT_INTERVALS, EmbeddingBackend, Intervals, Workspaces
from lightragctl.vectors.store import SearchStore, VectorStore

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Backends:
    """The backends of the service: store, search, the two models, and lightrag-server if the release has one."""

    store: VectorStore
    search: SearchStore
    embedding: EmbeddingBackend
    chat: ChatBackend
    graph: GraphBackend | None = None


OpenBackends = Callable[[], AbstractAsyncContextManager[Backends]]


class _Api:
    """The parts of the service; complete while the app is running."""

    questions: QueryHandlers
    changes: DocumentHandlers
    readiness: Readiness | None = None

    def __init__(
        self, settings: ApiSettings, open_backends: OpenBackends, metrics: Metrics, intervals: Intervals
    ) -> None:
        self._settings = settings
        self._open_backends = open_backends
        self._metrics = metrics
        self._intervals = intervals

    def ready(self) -> str:
        """Why the service is not ready; empty if it is."""
        return self.readiness.reason if self.readiness else "starting"

    @asynccontextmanager
    async def lifespan(self) -> AsyncGenerator[None, None]:
        """Connect the backends, and watch the workspaces until the app stops."""
        settings = self._settings
        async with self._open_backends() as backends:
            workspaces = Workspaces(settings, backends.store, backends.embedding, self._intervals)
            self._metrics.backups = workspaces.backups
            retrieval = Retrieval(settings, workspaces, backends.search, backends.embedding, self._metrics)
            documents = Documents(settings, workspaces, backends.embedding)
            self.questions = QueryHandlers(
                settings, retrieval, AnswerBackends(backends.chat, backends.graph), self._metrics
            )
            self.changes = DocumentHandlers(settings, workspaces, documents, self._intervals.lease_s)
            self.readiness = Readiness(settings, workspaces, backends.store, backends.search)
            background = [asyncio.create_task(self.readiness.wait()), asyncio.create_task(workspaces.watch())]
            for task in background:
                task.add_done_callback(_log_if_broken)
            try:
                yield
            finally:
                for task in background:
                    task.cancel()
                await asyncio.gather(*background, return_exceptions=True)
                await retrieval.close()
                await workspaces.guard.leave()
                for part in (self.readiness, documents, workspaces):
                    part.close()


def _log_if_broken(task: "asyncio.Task[None]") -> None:
    """Log a bug in a background task, which would otherwise go unnoticed."""
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("%s failed", task, exc_info=error)


def create_app(
    settings: ApiSettings, open_backends: OpenBackends, intervals: Intervals = DEFAULT_INTERVALS
) -> http.App:
    """The service's app.

    Args:
        settings: of lightrag-api.
        open_backends: entered when the app starts, left when it stops.
        intervals: how often workspaces are polled.
    """
    metrics = Metrics()
    api = _Api(settings, open_backends, metrics, intervals)
    options = http.AppOptions(
        "lightrag-api",
        settings.limits.body_bytes,
        ready=api.ready,
        lifespan=api.lifespan,
        admit=ApiKeys(Path(settings.api_keys_file)).admit if settings.api_keys_file else None,
        logging=settings.logging,
    )
    return http.App(_routes(api), options, metrics)


def _routes(api: _Api) -> tuple[http.Route, ...]:
    """All routes; their handlers exist once the app has started."""

    def ask(handler: Callable[[QueryHandlers, http.Request], http.Handled]) -> http.Handler:
        return lambda request: handler(api.questions, request)

    def change(handler: Callable[[DocumentHandlers, http.Request], http.Handled]) -> http.Handler:
        return lambda request: handler(api.changes, request)

    post, get, put, delete = (partial(http.Route, method) for method in ("POST", "GET", "PUT", "DELETE"))
    found, answered = (RetrieveRequest, RetrieveAnswer), (QueryRequest, QueryAnswer)
    records = (RecordsRequest, RecordsAnswer)
    return (
        post("/retrieve", ask(QueryHandlers.retrieve), "Find passages", None, *found, abandon=True),
        post("/query", ask(QueryHandlers.query), "Answer from passages", None, *answered, abandon=True, stream=EVENTS),
        get(
            "/recordings",
            ask(QueryHandlers.recordings),
            "List recorded queries",
            RecordingsQuery,
            None,
            RecordingsAnswer,
        ),
        get(
            "/debug/batches",
            ask(QueryHandlers.batches),
            "Queues, batches and circuit breakers",
            None,
            None,
            BatchesAnswer,
        ),
        post(
            "/documents",
            change(DocumentHandlers.write),
            "Write documents",
            None,
            WriteRequest,
            WriteAnswer,
            stream=http.NDJSON,
        ),
        get("/documents", change(DocumentHandlers.listing), "List documents", ListQuery, None, ListAnswer),
        put("/documents/records", change(DocumentHandlers.record), "Record foreign documents", None, *records),
        delete("/documents", change(DocumentHandlers.delete), "Delete a document", DeleteQuery, None, DeleteAnswer),
        post(
            "/documents/flush",
            change(DocumentHandlers.flush),
            "Flush and index a workspace",
            None,
            FlushRequest,
            FlushAnswer,
        ),
    )


@asynccontextmanager
async def connect_backends(settings: ApiSettings, environ: Mapping[str, str]) -> AsyncGenerator[Backends, None]:
    """Connections to Milvus, model-gateway and, if the release has one, lightrag-server."""
    from lightragctl.vectors.milvus import MilvusStore  # noqa: PLC0415 - pymilvus takes a quarter second to import
    from lightragctl.vectors.search import MilvusSearch  # noqa: PLC0415

    deadlines = settings.deadlines
    store = MilvusStore(settings.vector_engine_uri, deadlines.write_s)
    search = MilvusSearch(settings.vector_engine_uri, deadlines.search_s)
    async with open_session() as short, open_session() as chats, open_session() as graphs:
        embedding = EmbeddingClient(short, settings.gateway_url, settings.embedding, deadlines.embed_s)
        chat = ChatClient(chats, settings.gateway_url, settings.chat_model, deadlines.chat_s)
        graph = _graph(settings, environ, graphs)
        try:
            yield Backends(store, search, embedding, chat, graph)
        finally:
            await search.close()
            store.close()


def _graph(settings: ApiSettings, environ: Mapping[str, str], session: aiohttp.ClientSession) -> GraphClient | None:
    found = settings.lightrag
    if found is None:
        return None
    key = read_secret(found.api_key, environ, "lightrag.api_key") if found.api_key else ""
    return GraphClient(session, found.url, key, settings.deadlines.chat_s)


def serve(settings: ApiSettings, environ: Mapping[str, str]) -> None:
    """Serve until SIGTERM. Raises if the port is not available."""
    server.run(create_app(settings, lambda: connect_backends(settings, environ)), settings)
