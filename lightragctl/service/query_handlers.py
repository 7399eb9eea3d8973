"""Query handlers of lightrag-api: POST /retrieve and /query, GET /recordings and /debug/batches. No sockets."""

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
from lightragctl.service.retrieval import Passages, Question, Retrieval
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
"""Request header with the client's timeout for a retrieval, in seconds."""
MAX_TIMEOUT_S = 300

RECORD_HEADER = "x-record"
"""Request header; `no` excludes a query from the recordings, for test queries."""

VECTOR_MODES = ("nearest", "naive")
"""The modes that are served here; the others are forwarded to lightrag-server."""

NEAREST_TOP_K = 5
NAIVE_TOP_K, NAIVE_MIN_SCORE = 20, 0.2
"""LightRAG's CHUNK_TOP_K and COSINE_THRESHOLD, as of lightrag-hku 1.5."""


class ChatBackend(Protocol):
    """The interface of a chat model; implemented by `service.model_clients.ChatClient`."""

    async def complete(self, messages: Sequence[Mapping[str, str]]) -> ChatAnswer:
        """The model's answer."""

    def stream(self, messages: Sequence[Mapping[str, str]]) -> AsyncGenerator[ChatChunk, None]:
        """The model's answer as a stream of chunks."""


class LimitedChat:
    """A `ChatBackend` with a limit of concurrent answers: calls over the limit are rejected at once.

    A chat may take minutes, so waiting calls would pile up.
    """

    def __init__(self, chat: ChatBackend, limit: ConcurrencyLimit) -> None:
        self._chat = chat
        self.limit = limit

    async def complete(self, messages: Sequence[Mapping[str, str]]) -> ChatAnswer:
        """The model's answer."""
        with self.limit.place():
            return await self._chat.complete(messages)

    async def stream(self, messages: Sequence[Mapping[str, str]]) -> AsyncGenerator[ChatChunk, None]:
        """The model's answer as a stream of chunks; counts as in flight until the stream ends or is closed."""
        with self.limit.place():
            async with contextlib.aclosing(self._chat.stream(messages)) as pieces:
                async for piece in pieces:
                    yield piece


class AnswerBackends(NamedTuple):
    """The chat model, and lightrag-server if the release has one."""

    chat: ChatBackend
    graph: GraphBackend | None


class QueryHandlers:
    """The handlers; created inside the running event loop."""

    def __init__(self, settings: ApiSettings, retrieval: Retrieval, backends: AnswerBackends, metrics: Metrics) -> None:
        self._settings = settings
        self._retrieval = retrieval
        chat, self._graph = backends
        self._chat = LimitedChat(chat, ConcurrencyLimit("answers", CONNECTIONS))
        self._graph_limit = ConcurrencyLimit(f"queries to {UPSTREAM}", CONNECTIONS)
        self._metrics = metrics
        self._loop = asyncio.get_running_loop()
        recording = settings.recording
        self._recorder = (
            Recorder(recording, Path(settings.recording_folder), time.time, random.random) if recording.ratio else None
        )

    def retrieve(self, request: http.Request) -> http.Response | Awaitable[http.Response]:
        """Find passages; answers from the cache synchronously."""
        begin = time.perf_counter()
        body = request.json(RetrieveRequest)
        if body.mode not in VECTOR_MODES:
            return self._retrieve_from_graph(body, begin)
        question = self._checked(body)
        cached = self._retrieval.cached(question)
        if cached is None:
            self._retrieval.admit(question)
            return self._retrieve(request, question, begin)
        self._record(request, question, lambda: self._retrieval.decoded(cached), begin)
        return http.Response(b'%b,"cached":true,"timing_ms":{"total":%.3f}}' % (cached, _since_ms(begin)))

    async def query(self, request: http.Request) -> http.Response | http.Streaming:
        begin = time.perf_counter()
        body = request.json(QueryRequest)
        if body.mode not in VECTOR_MODES:
            return await self._query_graph(body, begin)
        question = self._checked(body)
        self._chat.limit.admit()
        self._retrieval.admit(question)
        _, result = await self._find(request, question)
        self._record(request, question, lambda: result, begin)
        timing_ms = self._timing_ms(result, begin)
        messages = prompt(body.query, [{"source": hit.source, "text": hit.text} for hit in result.hits])
        if body.stream:
            pieces = self._chat.stream(messages)
            first = await anext(pieces, None)  # an error before the first chunk sets the status
            if first is None:
                raise ModelError(f"the chat model {self._settings.chat_model} returned an empty answer")
            return http.Streaming(_events(first, pieces, result), EVENTS, (("cache-control", "no-store"),))
        chat_begin = time.perf_counter()
        answer = await self._chat.complete(messages)
        timing_ms |= {"chat": _since_ms(chat_begin), "total": _since_ms(begin)}
        self._metrics.stage("chat", timing_ms["chat"] / 1000)
        cited = citations(answer.text, result.hits)
        response = QueryAnswer(
            question.workspace, answer.text, cited, result.hits, answer.model, timing_ms, truncated=answer.truncated
        )
        return http.json_response(response)

    async def _retrieve_from_graph(self, body: RetrieveRequest, begin: float) -> http.Response:
        graph, workspace = self._graph_for(body)
        with self._graph_limit.place():
            response = await graph.ask("/query/data", graph_body(body.query, body.mode, body.top_k, body.chunk_top_k))
        return http.json_response(retrieve_answer(workspace, response, {"total": _since_ms(begin)}))

    async def _query_graph(self, body: QueryRequest, begin: float) -> http.Response:
        graph, workspace = self._graph_for(body)
        if body.stream:
            raise _bad(f"stream: not supported in mode {body.mode}")
        body_ = graph_body(body.query, body.mode, body.top_k, body.chunk_top_k)
        with self._graph_limit.place():
            response = await graph.ask("/query", body_ | {"include_references": True, "include_chunk_content": True})
        return http.json_response(
            query_answer(workspace, response, self._settings.chat_model, {"total": _since_ms(begin)})
        )

    def _graph_for(self, body: RetrieveRequest) -> tuple[GraphBackend, str]:
        """The graph backend and its workspace, after checking that they support the request."""
        if self._graph is None:
            enable = Command("up", "--set components.lightrag-server.enabled=true")
            hint = Hint("use mode naive, or enable lightrag-server: ", enable)
            detail = f"mode {body.mode} requires lightrag-server, which this release does not run"
            raise http.Problem(409, "Conflict", detail, hint, "lightrag-server-disabled")
        ours = self._settings.workspace
        if body.workspace not in (None, ours):
            raise _bad(f"workspace: mode {body.mode} supports only '{ours}', the workspace of lightrag-server")
        for name in ("filter", "min_score"):
            if getattr(body, name) is not None:
                raise _bad(f"{name}: not supported in mode {body.mode}")
        if body.kind != "chunks":
            raise _bad(f"kind: not supported in mode {body.mode}, which returns all kinds")
        return self._graph, ours

    async def recordings(self, request: http.Request) -> http.Response:
        query = request.query(RecordingsQuery)
        if self._recorder is None:
            hint = "set components.lightrag-api.recording.ratio, such as 0.1 for one in ten"
            raise http.Problem(404, "Not Passages", "query recording is disabled", hint, "recording-disabled")
        return http.json_response(RecordingsAnswer(await asyncio.to_thread(self._recorder.read, query.limit)))

    async def batches(self, _: http.Request) -> http.Response:
        now_s = self._loop.time()
        limit = self._settings.batching.in_flight
        stages = {
            name: StageState(waiting, running, [batch_state(one, now_s, limit) for one in reversed(recent)])
            for name, (waiting, running, recent) in self._retrieval.batches.items()
        }
        breakers = {
            name: BreakerReport(str(guard.breaker.state), guard.breaker.reason, round(guard.breaker.retry_after_s, 1))
            for name, guard in self._retrieval.guards.items()
        }
        return http.json_response(BatchesAnswer(stages, breakers))

    async def _retrieve(self, request: http.Request, question: Question, begin: float) -> http.Response:
        encoded, result = await self._find(request, question)
        self._record(request, question, lambda: result, begin)
        timing_ms = self._timing_ms(result, begin)
        return http.Response(b'%b,"cached":false,"timing_ms":%b}' % (encoded, http.json_bytes(timing_ms)))

    async def _find(self, request: http.Request, question: Question) -> tuple[bytes, Passages]:
        """The passages, within the client's timeout."""
        within_s = self._within_s(request)
        until_s = self._loop.time() + within_s
        # A shorter timeout of the client shows nothing about the backends.
        reason = SERVICE_DEADLINE if within_s >= self._settings.deadlines.request_s else None
        try:
            with Deadline(self._loop, until_s, reason):
                return await self._retrieval.find(question, until_s)
        except WorkspaceMissingError as error:
            raise http.Problem(404, "Not Passages", error.message, error.hint, error.code) from error
        except InvalidFilterError as error:
            raise _invalid_filter(error) from error
        except TimeoutError as error:
            self._metrics.deadline_missed.labels("answer").inc()
            hint = f"set a longer {TIMEOUT_HEADER}, or see what is slow with GET /debug/batches"
            raise DeadlineError(f"no response within {within_s:g} s", hint) from error

    def _record(self, request: http.Request, question: Question, result: Callable[[], Passages], begin: float) -> None:
        if self._recorder is None or request.header(RECORD_HEADER) == "no" or not self._recorder.wants():
            return
        answer, now_s = result(), time.time()
        ids = [hit.id for hit in answer.hits]
        fields = (question.workspace, question.text, question.top_k, question.kind, question.filter)
        self._recorder.keep(RecordedQuery(now_s, *fields, answer.collection, ids, _since_ms(begin)))

    def _within_s(self, request: http.Request) -> float:
        """The client's timeout, else ours."""
        given = request.header(TIMEOUT_HEADER)
        if not given:
            return self._settings.deadlines.request_s
        try:
            seconds = float(given)
        except ValueError:
            seconds = math.nan
        if not 0 < seconds <= MAX_TIMEOUT_S:
            raise _bad(
                f"{TIMEOUT_HEADER}: {given[:20]!r} is not a number of seconds up to {MAX_TIMEOUT_S}, such as 0.5"
            )
        return seconds

    def _timing_ms(self, result: Passages, begin: float) -> dict[str, float]:
        for stage in ("embed", "search"):
            if stage in result.stages_s:
                self._metrics.stage(stage, result.stages_s[stage])
        stages_ms = {stage: round(seconds * 1000, 3) for stage, seconds in result.stages_s.items()}
        return {**stages_ms, "total": _since_ms(begin)}

    def _checked(self, body: RetrieveRequest) -> Question:
        """The validated question, with defaults applied."""
        limits = self._settings.limits
        top_k, min_score = body.top_k or NEAREST_TOP_K, body.min_score
        if body.mode == "naive":
            if body.kind != "chunks":
                raise _bad("kind: mode naive supports only chunks")
            top_k, min_score = body.chunk_top_k or NAIVE_TOP_K, NAIVE_MIN_SCORE if min_score is None else min_score
        elif body.chunk_top_k is not None:
            raise _bad("chunk_top_k: only for mode naive; use top_k")
        if top_k > limits.top_k:
            raise _bad(f"top_k: {top_k} is over the limit of {limits.top_k}")
        if len(body.query) > limits.query_chars:
            raise _bad(f"query: {len(body.query)} characters, the limit is {limits.query_chars}")
        text = body.query.replace("\0", " ").strip()
        if not has_text(clean_text(text)):
            raise _bad("query: it has no text")
        workspace = body.workspace or self._settings.workspace
        return Question(workspace, text, top_k, self._checked_filter(body.filter or ""), body.kind, min_score)

    def _checked_filter(self, text: str) -> str:
        most = self._settings.limits.filter_chars
        if len(text) > most:
            raise _bad(f"filter: {len(text)} characters, the limit is {most}")
        try:
            check_filter(text)
        except InvalidFilterError as error:
            raise _invalid_filter(error) from error
        return text


def citations(answer: str, hits: Sequence[ApiHit]) -> list[Citation]:
    """The passages that the answer cites, in the order of their first marker."""
    markers = dict.fromkeys(int(number) for number in _MARKER.findall(answer))
    return [
        Citation(marker, hits[marker - 1].id, hits[marker - 1].source, hits[marker - 1].text)
        for marker in markers
        if 1 <= marker <= len(hits)
    ]


async def _events(
    first: ChatChunk, rest: AsyncGenerator[ChatChunk, None], result: Passages
) -> AsyncGenerator[bytes, None]:
    """A streamed answer in OpenAI's format; its first event also has the passages, its last the citations."""
    text = ""
    extra: dict[str, object] = {"collection": result.collection, "hits": result.hits}
    try:
        async with contextlib.aclosing(rest):
            chunk: ChatChunk | None = first
            while chunk is not None:
                text += "".join(choice.delta.content or "" for choice in chunk.choices)
                if any(choice.finish_reason for choice in chunk.choices):
                    extra["citations"] = citations(text, result.hits)
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
    """A batch for /debug/batches, which explains why a request waited."""
    waited_ms = round(record.queue_s * 1000, 3)
    if record.behind < in_flight:
        reason = "a slot was free: dispatched at once, with items of the same turn"
    else:
        reason = f"all {in_flight} slots were busy: dispatched when a call ended"
    return BatchState(
        ago_s=round(now_s - record.left_s, 3),
        items=record.items,
        waited_ms=waited_ms,
        reason=reason,
        still_queued=record.waiting,
        took_ms=round(record.seconds * 1000, 3),
        error=record.error,
    )


def _since_ms(begin: float) -> float:
    return round((time.perf_counter() - begin) * 1000, 3)


def _invalid_filter(error: InvalidFilterError) -> http.Problem:
    return http.Problem(400, "Bad Request", f"filter: {error.message}", error.hint, error.code)


def _bad(detail: str) -> http.Problem:
    return http.Problem(400, "Bad Request", detail, code="invalid-value")
