"""lightrag-api: the read path over LightRAG's Milvus collections, and `POST /documents`. Serves HTTP.

A retrieval goes through two stages, embed and search, each of which gathers what waits into one call.
"""

import asyncio
import contextlib
import logging
import math
import random
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
from lightragctl.service.answers import EVENTS, json_bytes, problem_body, problem_of, problem_response
from lightragctl.service.batch import BatchRecord, DeadlineError
from lightragctl.service.documents import Documents, Record, Written, document_id
from lightragctl.service.keys import ApiKeys
from lightragctl.service.metrics import Metrics
from lightragctl.service.models import ChatAnswer, ChatClient, EmbeddingClient, open_session
from lightragctl.service.recording import Recorded, Recorder
from lightragctl.service.retrieval import Asked, Found, Retrieval
from lightragctl.service.shapes import (
    ApiHit,
    BatchesAnswer,
    BatchState,
    BreakerReport,
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
    QueryRequest,
    RecordingsAnswer,
    RecordingsQuery,
    RetrieveAnswer,
    RetrieveRequest,
    StageState,
    WriteAnswer,
    WriteRequest,
)
from lightragctl.service.wire import STREAM_END, ChatChunk, event, prompt
from lightragctl.service.workspaces import USUAL, Embeds, Pace, WorkspaceMissingError, Workspaces, when_loaded
from lightragctl.vectors.model import (
    InvalidFilterError,
    Page,
    SearchBatch,
    index_spec,
)
from lightragctl.vectors.store import SearchStore, VectorStore

log = logging.getLogger(__name__)

_MARKER = re.compile(r"\[(\d{1,4})\]")
_START_RETRY_S = 0.5

TIMEOUT_HEADER = "x-request-timeout"
"""A client's deadline for a retrieval, in seconds."""
MAX_TIMEOUT_S = 300

NAIVE_TOP_K, NAIVE_MIN_SCORE = 20, 0.2
"""LightRAG's CHUNK_TOP_K and COSINE_THRESHOLD, as of lightrag-hku 1.5."""


class Chats(Protocol):
    """Answers messages; `service.models.ChatClient` does."""

    async def complete(self, messages: Sequence[Mapping[str, str]]) -> ChatAnswer:
        """The model's answer."""

    def stream(self, messages: Sequence[Mapping[str, str]]) -> AsyncGenerator[ChatChunk, None]:
        """The model's answer in pieces."""


@dataclass(frozen=True)
class Doors:
    """What stands behind the service: store, search, and the two models."""

    store: VectorStore
    search: SearchStore
    embedding: Embeds
    chat: Chats


OpenDoors = Callable[[], AbstractAsyncContextManager[Doors]]


class _Api:
    """The handlers and what they share; complete between the lifespan's start and end."""

    workspaces: Workspaces
    documents: Documents
    retrieval: Retrieval
    _doors: Doors

    def __init__(self, settings: ApiSettings, open_doors: OpenDoors, metrics: Metrics, pace: Pace) -> None:
        self._settings = settings
        self._pace = pace
        self._open_doors = open_doors
        self._metrics = metrics
        self._not_ready = "starting"
        recording = settings.recording
        self._recorder = (
            Recorder(recording, Path(settings.recording_folder), time.time, random.random) if recording.ratio else None
        )

    def ready(self) -> str:
        """Why the service cannot answer yet; stays empty once it could."""
        return self._not_ready

    @asynccontextmanager
    async def lifespan(self) -> AsyncGenerator[None, None]:
        settings = self._settings
        async with self._open_doors() as doors:
            self._doors = doors
            self.workspaces = Workspaces(settings, doors.store, doors.embedding, self._pace)
            self.documents = Documents(settings, self.workspaces, doors.embedding)
            self.retrieval = Retrieval(settings, self.workspaces, doors.search, doors.embedding, self._metrics)
            background = [asyncio.create_task(self._become_ready()), asyncio.create_task(self.workspaces.watch())]
            try:
                yield
            finally:
                for task in background:
                    task.cancel()
                await asyncio.gather(*background, return_exceptions=True)
                await self.retrieval.close()

    async def retrieve(self, request: http.Request) -> http.Response:
        begin = time.perf_counter()
        asked = self._checked(await request.json(RetrieveRequest))
        kept = self.retrieval.remembered(asked)
        if kept is not None:
            self._record(asked, lambda: self.retrieval.found_in(kept), begin)
            return http.Response(b'%b,"cached":true,"timing_ms":{"total":%.3f}}' % (kept, _since_ms(begin)))
        encoded, found = await self._find(request, asked)
        self._record(asked, lambda: found, begin)
        timing_ms = self._timing_ms(found, begin)
        return http.Response(b'%b,"cached":false,"timing_ms":%b}' % (encoded, http.json_bytes(timing_ms)))

    async def query(self, request: http.Request) -> http.Response | http.Streaming:
        begin = time.perf_counter()
        body = await request.json(QueryRequest)
        asked = self._checked(body)
        _, found = await self._find(request, asked)
        self._record(asked, lambda: found, begin)
        timing_ms = self._timing_ms(found, begin)
        messages = prompt(body.query, [{"source": hit.source, "text": hit.text} for hit in found.hits])
        if body.stream:
            pieces = self._doors.chat.stream(messages)
            first = await anext(pieces)  # what is wrong from the start is told by the status
            return http.Streaming(_events(first, pieces, found), EVENTS, (("cache-control", "no-store"),))
        chat_begin = time.perf_counter()
        answer = await self._doors.chat.complete(messages)
        timing_ms |= {"chat": _since_ms(chat_begin), "total": _since_ms(begin)}
        self._metrics.stage("chat", timing_ms["chat"] / 1000)
        cited = citations(answer.text, found.hits)
        return http.json_response(QueryAnswer(asked.workspace, answer.text, cited, found.hits, answer.model, timing_ms))

    def _record(self, asked: Asked, found: Callable[[], Found], begin: float) -> None:
        if self._recorder is None or not self._recorder.wants():
            return
        answer, now_s = found(), time.time()
        ids = [hit.id for hit in answer.hits]
        question = (asked.workspace, asked.text, asked.top_k, asked.kind, asked.filter)
        self._recorder.keep(Recorded(now_s, *question, answer.collection, ids, _since_ms(begin)))

    async def recordings(self, request: http.Request) -> http.Response:
        asked = request.query(RecordingsQuery)
        if self._recorder is None:
            hint = "set components.lightrag-api.recording.ratio, 0.1 for one in ten"
            raise http.Problem(404, "Not Found", "questions are not recorded", hint, "no-recording")
        return http.json_response(RecordingsAnswer(await asyncio.to_thread(self._recorder.read, asked.limit)))

    async def batches(self, _: http.Request) -> http.Response:
        now_s = asyncio.get_running_loop().time()
        limit = self._settings.batching.in_flight
        stages = {
            name: StageState(waiting, running, [batch_state(one, now_s, limit) for one in reversed(recent)])
            for name, (waiting, running, recent) in self.retrieval.batches.items()
        }
        breakers = {
            name: BreakerReport(str(guard.breaker.state), guard.breaker.why, round(guard.breaker.retry_after_s, 1))
            for name, guard in self.retrieval.guards.items()
        }
        return http.json_response(BatchesAnswer(stages, breakers))

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
        rows = await self.documents.flush(workspace)
        if self._settings.shared and self._settings.cache.result_bytes:
            # Whoever has loaded documents may now ask any replica, and none answers from before.
            await asyncio.sleep(min(self._pace.lease_s, self._settings.cache.staleness_s))
        return http.json_response(FlushAnswer(workspace, rows))

    async def _find(self, request: http.Request, asked: Asked) -> tuple[bytes, Found]:
        """The passages, within the time that the client gives."""
        within_s = self._within_s(request)
        self.retrieval.admit(asked)
        until_s = asyncio.get_running_loop().time() + within_s
        try:
            async with asyncio.timeout_at(until_s):
                return await self.retrieval.find(asked, until_s)
        except WorkspaceMissingError as error:
            raise http.Problem(404, "Not Found", error.message, error.hint, error.code) from error
        except InvalidFilterError as error:
            raise http.Problem(400, "Bad Request", f"filter: {error.message}", error.hint, error.code) from error
        except TimeoutError as error:
            self._metrics.deadline_missed.labels("answer").inc()
            hint = f"ask with a longer {TIMEOUT_HEADER}, or see what is slow: GET /debug/batches"
            raise DeadlineError(f"no answer within {within_s:g} s", hint) from error

    def _within_s(self, request: http.Request) -> float:
        """The client's deadline, else ours."""
        given = request.header(TIMEOUT_HEADER)
        if not given:
            return self._settings.deadlines.request_s
        try:
            seconds = float(given)
        except ValueError:
            seconds = math.nan
        if not 0 < seconds <= MAX_TIMEOUT_S:
            raise _bad(f"{TIMEOUT_HEADER}: {given[:20]!r}, it takes seconds up to {MAX_TIMEOUT_S}, such as 0.5")
        return seconds

    def _timing_ms(self, found: Found, begin: float) -> dict[str, float]:
        for stage in ("embed", "search"):
            if stage in found.stages_s:
                self._metrics.stage(stage, found.stages_s[stage])
        stages_ms = {stage: round(seconds * 1000, 3) for stage, seconds in found.stages_s.items()}
        return {**stages_ms, "total": _since_ms(begin)}

    def _checked(self, body: RetrieveRequest) -> Asked:
        """The question, complete and within the limits."""
        limits = self._settings.limits
        top_k, min_score = body.top_k, body.min_score
        if body.mode == "naive":
            if body.kind != "chunks":
                raise _bad("kind: the naive mode knows only chunks")
            top_k, min_score = body.chunk_top_k or NAIVE_TOP_K, NAIVE_MIN_SCORE if min_score is None else min_score
        elif body.chunk_top_k is not None:
            raise _bad("chunk_top_k: it is of mode naive; otherwise say top_k")
        if top_k > limits.top_k:
            raise _bad(f"top_k: {top_k}, at most {limits.top_k} can be asked for")
        if len(body.query) > limits.query_chars:
            raise _bad(f"query: {len(body.query)} characters, at most {limits.query_chars} can be asked")
        if body.filter and len(body.filter) > limits.filter_chars:
            raise _bad(f"filter: {len(body.filter)} characters, at most {limits.filter_chars} are read")
        text = body.query.replace("\0", " ").strip()
        if not text:
            raise _bad("query: it has no text")
        workspace = body.workspace or self._settings.workspace
        return Asked(workspace, text, top_k, body.filter or "", body.kind, min_score)

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
        batch = SearchBatch(collection, vector[None], 10, index_spec(self._settings.index), ())
        hits = (await self._doors.search.search(batch))[0]
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


async def _events(first: ChatChunk, rest: AsyncGenerator[ChatChunk, None], found: Found) -> AsyncGenerator[bytes, None]:
    """A streamed answer as OpenAI's clients read it; its first event carries the passages, its last the citations."""
    text = ""
    extra: dict[str, object] = {"collection": found.collection, "hits": found.hits}
    try:
        async with contextlib.aclosing(rest):
            chunk: ChatChunk | None = first
            while chunk is not None:
                text += "".join(choice.delta.content or "" for choice in chunk.choices)
                if any(choice.finish_reason for choice in chunk.choices):
                    extra["citations"] = citations(text, found.hits)
                yield event(json_bytes({**msgspec.to_builtins(chunk), **({"lightragctl": extra} if extra else {})}))
                extra = {}
                chunk = await anext(rest, None)
    except LightragctlError as error:
        yield event(problem_response(problem_of(error), "openai").body)
        return
    yield event(STREAM_END)


def batch_state(record: BatchRecord, now_s: float, in_flight: int) -> BatchState:
    """A batch for a person who asks why a request waited."""
    waited_ms = round(record.queue_s * 1000, 3)
    if record.behind < in_flight:
        why = "a slot was free: it left at once, with what came in the same turn"
    else:
        why = f"all {in_flight} slots were taken: it left when a call ended"
    return BatchState(
        ago_s=round(now_s - record.left_s, 3),
        items=record.items,
        waited_ms=waited_ms,
        why=why,
        left_behind=record.waiting,
        took_ms=round(record.seconds * 1000, 3),
        error=record.error,
    )


def _since_ms(begin: float) -> float:
    return round((time.perf_counter() - begin) * 1000, 3)


def _bad(detail: str) -> http.Problem:
    return http.Problem(400, "Bad Request", detail, code="invalid-value")


def create_app(settings: ApiSettings, open_doors: OpenDoors, pace: Pace = USUAL) -> http.App:
    """The service's app; `open_doors` is entered when it starts, `pace` says how often it looks after workspaces."""
    metrics = Metrics()
    api = _Api(settings, open_doors, metrics, pace)
    routes = (
        http.Route(
            "POST", "/retrieve", api.retrieve, "Find passages", None, RetrieveRequest, RetrieveAnswer, abandon=True
        ),
        http.Route("POST", "/query", api.query, "Answer from passages", None, QueryRequest, QueryAnswer, True, EVENTS),
        http.Route(
            "GET", "/recordings", api.recordings, "Questions that were asked", RecordingsQuery, None, RecordingsAnswer
        ),
        http.Route("GET", "/debug/batches", api.batches, "Why requests wait", None, None, BatchesAnswer),
        http.Route(
            "POST", "/documents", api.write, "Store documents", None, WriteRequest, WriteAnswer, stream=http.NDJSON
        ),
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
    http.run(create_app(settings, lambda: real_doors(settings)), settings)
