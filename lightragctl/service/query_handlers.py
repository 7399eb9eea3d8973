"""Requests that ask lightrag-api: POST /retrieve and /query, and what tells of them afterwards. No sockets."""

import asyncio
import contextlib
import math
import random
import re
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import msgspec

from lightragctl.core.errors import LightragctlError
from lightragctl.core.hint import Command, Hint
from lightragctl.core.settings import ApiSettings
from lightragctl.core.texts import clean_text, has_text
from lightragctl.service import http
from lightragctl.service.batch import BatchRecord, DeadlineError
from lightragctl.service.concurrency_limit import ConcurrencyLimit
from lightragctl.service.deadline import SERVICE_DEADLINE, Deadline
from lightragctl.service.graph import UPSTREAM, GraphBackend, graph_body, query_answer, retrieve_answer
from lightragctl.service.metrics import Metrics
from lightragctl.service.model_clients import CONNECTIONS, ChatAnswer, ModelError
from lightragctl.service.openai_responses import CUT_OFF
from lightragctl.service.openai_schema import STREAM_END, ChatChunk, event, prompt
from lightragctl.service.recording import RecordedQuery, Recorder
from lightragctl.service.responses import EVENTS, json_bytes, problem_of, problem_response
from lightragctl.service.retrieval import Asked, Found, Retrieval
from lightragctl.service.schemas import (
    ApiHit,
    BatchesAnswer,
    BatchState,
    BreakerReport,
    Citation,
    QueryAnswer,
    QueryRequest,
    RecordingsAnswer,
    RecordingsQuery,
    RetrieveRequest,
    StageState,
)
from lightragctl.service.workspaces import WorkspaceMissingError
from lightragctl.vectors.filters import check_filter
from lightragctl.vectors.model import InvalidFilterError

_MARKER = re.compile(r"\[(\d{1,4})\]")

TIMEOUT_HEADER = "x-request-timeout"
"""A client's deadline for a retrieval, in seconds."""
MAX_TIMEOUT_S = 300

RECORD_HEADER = "x-record"
"""`no` from a client whose question is nobody's: it never comes among the recorded ones, whatever their share."""

OURS = ("nearest", "naive")
"""The modes that are answered here; the others are lightrag-server's."""

NEAREST_TOP_K = 5
NAIVE_TOP_K, NAIVE_MIN_SCORE = 20, 0.2
"""LightRAG's CHUNK_TOP_K and COSINE_THRESHOLD, as of lightrag-hku 1.5."""


class ChatBackend(Protocol):
    """Answers messages; `service.model_clients.ChatClient` does."""

    async def complete(self, messages: Sequence[Mapping[str, str]]) -> ChatAnswer:
        """The model's answer."""

    def stream(self, messages: Sequence[Mapping[str, str]]) -> AsyncGenerator[ChatChunk, None]:
        """The model's answer in pieces."""


class LimitedChat:
    """A `ChatBackend` with a bound on the answers that are written at a time: those over it are refused at once.

    A chat may take minutes. Without a bound those who wait for one would pile up.
    """

    def __init__(self, chats: ChatBackend, bound: ConcurrencyLimit) -> None:
        self._chats = chats
        self.bound = bound

    async def complete(self, messages: Sequence[Mapping[str, str]]) -> ChatAnswer:
        """The model's answer."""
        with self.bound.place():
            return await self._chats.complete(messages)

    async def stream(self, messages: Sequence[Mapping[str, str]]) -> AsyncGenerator[ChatChunk, None]:
        """The model's answer in pieces; the place is held until the last, or until it is closed."""
        with self.bound.place():
            async with contextlib.aclosing(self._chats.stream(messages)) as pieces:
                async for piece in pieces:
                    yield piece


class AnswerBackends(NamedTuple):
    """Who answers what is not a search: the chat model, and lightrag-server where the release has one."""

    chat: ChatBackend
    graph: GraphBackend | None


class QueryHandlers:
    """The handlers; made inside the running event loop. `models` are the chat model and, if there is one, the graph."""

    def __init__(self, settings: ApiSettings, retrieval: Retrieval, models: AnswerBackends, metrics: Metrics) -> None:
        self._settings = settings
        self._retrieval = retrieval
        chat, self._graph = models
        self._chat = LimitedChat(chat, ConcurrencyLimit("answers", CONNECTIONS))
        self._asking_graph = ConcurrencyLimit(f"questions to {UPSTREAM}", CONNECTIONS)
        self._metrics = metrics
        self._loop = asyncio.get_running_loop()
        recording = settings.recording
        self._recorder = (
            Recorder(recording, Path(settings.recording_folder), time.time, random.random) if recording.ratio else None
        )

    def retrieve(self, request: http.Request) -> http.Response | Awaitable[http.Response]:
        """At once when the answer is in the cache."""
        begin = time.perf_counter()
        body = request.json(RetrieveRequest)
        if body.mode not in OURS:
            return self._retrieve_from_graph(body, begin)
        asked = self._checked(body)
        kept = self._retrieval.remembered(asked)
        if kept is None:
            self._retrieval.admit(asked)
            return self._retrieve(request, asked, begin)
        self._record(request, asked, lambda: self._retrieval.found_in(kept), begin)
        return http.Response(b'%b,"cached":true,"timing_ms":{"total":%.3f}}' % (kept, _since_ms(begin)))

    async def query(self, request: http.Request) -> http.Response | http.Streaming:
        begin = time.perf_counter()
        body = request.json(QueryRequest)
        if body.mode not in OURS:
            return await self._query_graph(body, begin)
        asked = self._checked(body)
        self._chat.bound.admit()
        self._retrieval.admit(asked)
        _, found = await self._find(request, asked)
        self._record(request, asked, lambda: found, begin)
        timing_ms = self._timing_ms(found, begin)
        messages = prompt(body.query, [{"source": hit.source, "text": hit.text} for hit in found.hits])
        if body.stream:
            pieces = self._chat.stream(messages)
            first = await anext(pieces, None)  # what is wrong from the start is told by the status
            if first is None:
                raise ModelError(f"the chat model {self._settings.chat_model} gave an empty answer")
            return http.Streaming(_events(first, pieces, found), EVENTS, (("cache-control", "no-store"),))
        chat_begin = time.perf_counter()
        answer = await self._chat.complete(messages)
        timing_ms |= {"chat": _since_ms(chat_begin), "total": _since_ms(begin)}
        self._metrics.stage("chat", timing_ms["chat"] / 1000)
        cited = citations(answer.text, found.hits)
        told = QueryAnswer(
            asked.workspace, answer.text, cited, found.hits, answer.model, timing_ms, truncated=answer.truncated
        )
        return http.json_response(told)

    async def _retrieve_from_graph(self, body: RetrieveRequest, begin: float) -> http.Response:
        graph, workspace = self._graph_for(body)
        with self._asking_graph.place():
            told = await graph.ask("/query/data", graph_body(body.query, body.mode, body.top_k, body.chunk_top_k))
        return http.json_response(retrieve_answer(workspace, told, {"total": _since_ms(begin)}))

    async def _query_graph(self, body: QueryRequest, begin: float) -> http.Response:
        graph, workspace = self._graph_for(body)
        if body.stream:
            raise _bad(f"stream: answers in mode {body.mode} come whole")
        asked = graph_body(body.query, body.mode, body.top_k, body.chunk_top_k)
        with self._asking_graph.place():
            told = await graph.ask("/query", asked | {"include_references": True, "include_chunk_content": True})
        return http.json_response(query_answer(workspace, told, self._settings.chat_model, {"total": _since_ms(begin)}))

    def _graph_for(self, body: RetrieveRequest) -> tuple[GraphBackend, str]:
        """Who answers in this mode, for which workspace; the question is within what it knows."""
        if self._graph is None:
            enable = Command("up", "--set components.lightrag-server.enabled=true")
            hint = Hint("use mode naive, or enable lightrag-server: ", enable)
            detail = f"mode {body.mode} needs lightrag-server, and this release has none"
            raise http.Problem(409, "Conflict", detail, hint, "no-lightrag-server")
        ours = self._settings.workspace
        if body.workspace not in (None, ours):
            raise _bad(f"workspace: lightrag-server serves '{ours}' alone, so mode {body.mode} does")
        for name in ("filter", "min_score"):
            if getattr(body, name) is not None:
                raise _bad(f"{name}: mode {body.mode} does not know it")
        if body.kind != "chunks":
            raise _bad(f"kind: mode {body.mode} gives chunks, entities and relationships together")
        return self._graph, ours

    async def recordings(self, request: http.Request) -> http.Response:
        asked = request.query(RecordingsQuery)
        if self._recorder is None:
            hint = "set components.lightrag-api.recording.ratio, 0.1 for one in ten"
            raise http.Problem(404, "Not Found", "questions are not recorded", hint, "no-recording")
        return http.json_response(RecordingsAnswer(await asyncio.to_thread(self._recorder.read, asked.limit)))

    async def batches(self, _: http.Request) -> http.Response:
        now_s = self._loop.time()
        limit = self._settings.batching.in_flight
        stages = {
            name: StageState(waiting, running, [batch_state(one, now_s, limit) for one in reversed(recent)])
            for name, (waiting, running, recent) in self._retrieval.batches.items()
        }
        breakers = {
            name: BreakerReport(str(guard.breaker.state), guard.breaker.why, round(guard.breaker.retry_after_s, 1))
            for name, guard in self._retrieval.guards.items()
        }
        return http.json_response(BatchesAnswer(stages, breakers))

    async def _retrieve(self, request: http.Request, asked: Asked, begin: float) -> http.Response:
        encoded, found = await self._find(request, asked)
        self._record(request, asked, lambda: found, begin)
        timing_ms = self._timing_ms(found, begin)
        return http.Response(b'%b,"cached":false,"timing_ms":%b}' % (encoded, http.json_bytes(timing_ms)))

    async def _find(self, request: http.Request, asked: Asked) -> tuple[bytes, Found]:
        """The passages, within the time that the client gives."""
        within_s = self._within_s(request)
        until_s = self._loop.time() + within_s
        # A client that gives less time than usual is like one that leaves: that says nothing of what is behind us.
        reason = SERVICE_DEADLINE if within_s >= self._settings.deadlines.request_s else None
        try:
            with Deadline(self._loop, until_s, reason):
                return await self._retrieval.find(asked, until_s)
        except WorkspaceMissingError as error:
            raise http.Problem(404, "Not Found", error.message, error.hint, error.code) from error
        except InvalidFilterError as error:
            raise _unfit(error) from error
        except TimeoutError as error:
            self._metrics.deadline_missed.labels("answer").inc()
            hint = f"ask with a longer {TIMEOUT_HEADER}, or see what is slow: GET /debug/batches"
            raise DeadlineError(f"no answer within {within_s:g} s", hint) from error

    def _record(self, request: http.Request, asked: Asked, found: Callable[[], Found], begin: float) -> None:
        if self._recorder is None or request.header(RECORD_HEADER) == "no" or not self._recorder.wants():
            return
        answer, now_s = found(), time.time()
        ids = [hit.id for hit in answer.hits]
        question = (asked.workspace, asked.text, asked.top_k, asked.kind, asked.filter)
        self._recorder.keep(RecordedQuery(now_s, *question, answer.collection, ids, _since_ms(begin)))

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
        top_k, min_score = body.top_k or NEAREST_TOP_K, body.min_score
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
        text = body.query.replace("\0", " ").strip()
        if not has_text(clean_text(text)):
            raise _bad("query: it has no text")
        workspace = body.workspace or self._settings.workspace
        return Asked(workspace, text, top_k, self._checked_filter(body.filter or ""), body.kind, min_score)

    def _checked_filter(self, text: str) -> str:
        most = self._settings.limits.filter_chars
        if len(text) > most:
            raise _bad(f"filter: {len(text)} characters, at most {most} are read")
        try:
            check_filter(text)
        except InvalidFilterError as error:
            raise _unfit(error) from error
        return text


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
                if any(choice.finish_reason in CUT_OFF for choice in chunk.choices):
                    extra["truncated"] = True
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


def _unfit(error: InvalidFilterError) -> http.Problem:
    return http.Problem(400, "Bad Request", f"filter: {error.message}", error.hint, error.code)


def _bad(detail: str) -> http.Problem:
    return http.Problem(400, "Bad Request", detail, code="invalid-value")
