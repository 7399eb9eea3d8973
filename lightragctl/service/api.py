"""lightrag-api: the read path over LightRAG's Milvus collections, and `POST /documents`. Serves HTTP.

A retrieval goes through two stages, embed and search, each of which gathers what waits into one call.
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
from lightragctl.service.answers import EVENTS
from lightragctl.service.changes import Changes
from lightragctl.service.documents import Documents
from lightragctl.service.gateway import read_secret
from lightragctl.service.graph import GraphClient, Graphs
from lightragctl.service.keys import ApiKeys
from lightragctl.service.metrics import Metrics
from lightragctl.service.models import ChatClient, EmbeddingClient, open_session
from lightragctl.service.questions import Answering, Chats, Questions
from lightragctl.service.readiness import Readiness
from lightragctl.service.retrieval import Retrieval
from lightragctl.service.shapes import (
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
from lightragctl.service.workspaces import USUAL, Embeds, Pace, Workspaces
from lightragctl.vectors.store import SearchStore, VectorStore

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Doors:
    """What stands behind the service: store, search, the two models, and lightrag-server where there is one."""

    store: VectorStore
    search: SearchStore
    embedding: Embeds
    chat: Chats
    graph: Graphs | None = None


OpenDoors = Callable[[], AbstractAsyncContextManager[Doors]]


class _Api:
    """What the service consists of; complete between the lifespan's start and end."""

    questions: Questions
    changes: Changes
    readiness: Readiness | None = None

    def __init__(self, settings: ApiSettings, open_doors: OpenDoors, metrics: Metrics, pace: Pace) -> None:
        self._settings = settings
        self._open_doors = open_doors
        self._metrics = metrics
        self._pace = pace

    def ready(self) -> str:
        """Why the service cannot answer yet."""
        return self.readiness.reason if self.readiness else "starting"

    @asynccontextmanager
    async def lifespan(self) -> AsyncGenerator[None, None]:
        """Open the doors, and look after the workspaces until the end."""
        settings = self._settings
        async with self._open_doors() as doors:
            workspaces = Workspaces(settings, doors.store, doors.embedding, self._pace)
            retrieval = Retrieval(settings, workspaces, doors.search, doors.embedding, self._metrics)
            documents = Documents(settings, workspaces, doors.embedding)
            self.questions = Questions(settings, retrieval, Answering(doors.chat, doors.graph), self._metrics)
            self.changes = Changes(settings, workspaces, documents, self._pace.lease_s)
            self.readiness = Readiness(settings, workspaces, doors.store, doors.search)
            background = [asyncio.create_task(self.readiness.come()), asyncio.create_task(workspaces.watch())]
            for task in background:
                task.add_done_callback(_tell_if_broken)
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


def _tell_if_broken(task: "asyncio.Task[None]") -> None:
    """A bug in what runs in the background would else be seen by nobody."""
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("%s ended", task, exc_info=error)


def create_app(settings: ApiSettings, open_doors: OpenDoors, pace: Pace = USUAL) -> http.App:
    """The service's app; `open_doors` is entered when it starts, `pace` says how often it looks after workspaces."""
    metrics = Metrics()
    api = _Api(settings, open_doors, metrics, pace)
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
    """All of them; what handles a request is there once the app has started."""

    def ask(handler: Callable[[Questions, http.Request], http.Handled]) -> http.Handler:
        return lambda request: handler(api.questions, request)

    def change(handler: Callable[[Changes, http.Request], http.Handled]) -> http.Handler:
        return lambda request: handler(api.changes, request)

    post, get, put, delete = (partial(http.Route, method) for method in ("POST", "GET", "PUT", "DELETE"))
    found, answered = (RetrieveRequest, RetrieveAnswer), (QueryRequest, QueryAnswer)
    noted = (RecordsRequest, RecordsAnswer)
    return (
        post("/retrieve", ask(Questions.retrieve), "Find passages", None, *found, abandon=True),
        post("/query", ask(Questions.query), "Answer from passages", None, *answered, abandon=True, stream=EVENTS),
        get(
            "/recordings",
            ask(Questions.recordings),
            "Questions that were asked",
            RecordingsQuery,
            None,
            RecordingsAnswer,
        ),
        get("/debug/batches", ask(Questions.batches), "Why requests wait", None, None, BatchesAnswer),
        post(
            "/documents", change(Changes.write), "Write documents", None, WriteRequest, WriteAnswer, stream=http.NDJSON
        ),
        get("/documents", change(Changes.listing), "List documents", ListQuery, None, ListAnswer),
        put("/documents/records", change(Changes.note), "Note what lightrag-server holds", None, *noted),
        delete("/documents", change(Changes.delete), "Delete a document", DeleteQuery, None, DeleteAnswer),
        post("/documents/flush", change(Changes.flush), "Flush and index", None, FlushRequest, FlushAnswer),
    )


@asynccontextmanager
async def real_doors(settings: ApiSettings, environ: Mapping[str, str]) -> AsyncGenerator[Doors, None]:
    """Milvus, model-gateway, and lightrag-server where there is one, with its key read."""
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
            yield Doors(store, search, embedding, chat, graph)
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
    """Serve until SIGTERM. Raises when the port cannot be had."""
    server.run(create_app(settings, lambda: real_doors(settings, environ)), settings)
