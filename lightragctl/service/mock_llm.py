"""mock-llm: a test double of a chat model that quotes the passages of its prompt. No I/O but its sockets.

It understands the prompts of upstream LightRAG (see `mock_graph`) and of `openai_schema.prompt`: it extracts numbered
passages and a question, and answers with the one to three sentences that share most words with the question, each
followed by the number of its passage. It invents nothing, so a test can check whether retrieval found the right
passage. Also serves hashed embeddings.
"""

import asyncio
import random
import re
import time
import uuid
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import NamedTuple

import msgspec
from pydantic import ValidationError

from lightragctl.core.settings import Faults, MockLlmSettings
from lightragctl.service import http, server
from lightragctl.service.hashed_embeddings import hashed_vectors, terms
from lightragctl.service.mock_graph import context_passages, graph_answer
from lightragctl.service.openai_schema import (
    CHAT_PATH,
    EMBEDDINGS_PATH,
    MODELS_PATH,
    STREAM_END,
    ChatChoice,
    ChatChunk,
    ChatCompletion,
    ChatMessage,
    ChatRequest,
    ChunkChoice,
    Delta,
    EmbeddingsAnswer,
    EmbeddingsRequest,
    ModelCard,
    ModelList,
    Usage,
    embeddings_body,
    event,
)
from lightragctl.service.responses import EVENTS

NOTHING_FOUND = "The passages contain nothing about this question."
NOTHING_FOUND_ZH = "给出的段落中没有与该问题相关的内容。"

_MOST_SENTENCES = 3
_NEAR_BEST = 0.6
"""A sentence is quoted if it has at least this share of the best score."""

_PASSAGE = re.compile(r"(?:^|\n)\[(\d+)\] (?:\([^\n]*?\) )?(.*?)(?=\n\n\[\d+\] |\Z)", re.DOTALL)
_QUESTION = re.compile(r"(?:^|\n)Question: (.*?)(?=\n\nPassages:|\Z)", re.DOTALL)
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|(?<=[。！？；])\s*|\n\s*\n|\n(?=[#|*-])|(?<=\|)\n")
"""Text is often wrapped, so a line break alone does not end a sentence, except in lists and tables."""

_HEADING = re.compile(r"#{1,6} ")
_CHINESE = re.compile(r"[\u3400-\u9fff]")

_FILLER_TEXT = (
    "a about an and any are as at be by can could did do does for from had has have how i if in into is it its "
    "may me my of on or our should so than that the their them then there these they this to was we what when where "
    "which who why will with would you your "
    "什么 怎么 如何 怎样 哪些 哪个 为什 是否 可以 我们 这个 那个 一个 么是 是什 的是 有哪 能否 请问"
)
_FILLER = frozenset(_FILLER_TEXT.split())
"""Stop words, and pairs of characters, of questions."""


class Sentence(NamedTuple):
    """A sentence and the number of its passage."""

    passage: int
    text: str


def answer(messages: Sequence[ChatMessage]) -> str:
    """The quoted answer to a prompt, or that nothing was found; for LightRAG's prompts, the requested format."""
    if (graph := graph_answer(messages)) is not None:
        return graph
    contents = [message.content or "" for message in messages if message.role == "user"]
    text = "\n\n".join(contents)
    match = _QUESTION.search(text)
    question = match.group(1) if match else (contents[-1] if contents else "")
    passages = [(int(match.group(1)), match.group(2)) for match in _PASSAGE.finditer(text)]
    sentences = [
        Sentence(number, " ".join(sentence.split()))
        for number, passage in passages or context_passages(messages)
        for sentence in _SENTENCE_END.split(passage)
        if sentence.strip() and not _HEADING.match(sentence.strip())
    ]
    chosen = best_sentences(question, sentences)
    if not chosen:
        return NOTHING_FOUND_ZH if _CHINESE.search(question) else NOTHING_FOUND
    return " ".join(f"{sentence.text} [{sentence.passage}]" for sentence in chosen)


def best_sentences(question: str, sentences: Sequence[Sentence]) -> list[Sentence]:
    """Up to three sentences that share most terms with the question, in their order; rare terms count more."""
    wanted = set(terms(question)) - _FILLER
    shared = [wanted & set(terms(sentence.text)) for sentence in sentences]
    uses = {term: sum(term in one for one in shared) for term in wanted}
    scores = [sum(1.0 / uses[term] + 1.0 for term in one) for one in shared]
    best = max(scores, default=0.0)
    if best == 0.0:
        return []
    ranked = sorted(range(len(sentences)), key=lambda i: (-scores[i], i))[:_MOST_SENTENCES]
    return [sentences[i] for i in sorted(ranked) if scores[i] >= _NEAR_BEST * best]


class FaultsShape(msgspec.Struct, forbid_unknown_fields=True):
    """Body of PUT /faults, and response of GET and PUT; see `core.settings.Faults`."""

    latency_ms: float = 0.0
    error_ratio: float = 0.0
    rate_limit_ratio: float = 0.0
    retry_after_s: int = 1
    context_tokens: int = 0
    outage_s: float = 0.0


class _MockLlm:
    def __init__(self, settings: MockLlmSettings) -> None:
        self._settings = settings
        self._random = random.Random(settings.seed)
        self._faults = settings.faults
        self._out_until_s = time.monotonic() + settings.faults.outage_s

    async def set_faults(self, request: http.Request) -> http.Response:
        asked = msgspec.to_builtins(request.json(FaultsShape))
        try:
            self._faults = Faults.model_validate(asked)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            raise http.Problem(
                400, "Bad Request", f"{first['loc'][0]}: {first['msg']}", code="invalid_value"
            ) from error
        self._out_until_s = time.monotonic() + self._faults.outage_s
        return self._current_faults()

    async def faults(self, _: http.Request) -> http.Response:
        return self._current_faults()

    def _current_faults(self) -> http.Response:
        left_s = round(max(0.0, self._out_until_s - time.monotonic()), 1)
        return http.json_response(FaultsShape(**(self._faults.model_dump() | {"outage_s": left_s})))

    async def _inject_faults(self, tokens: int) -> None:
        """Delay or fail the request as configured."""
        faults, drawn = self._faults, self._random.random()
        if self._out_until_s > time.monotonic():
            raise http.Problem(503, "Service Unavailable", "injected outage (outage_s)", code="mock")
        if faults.latency_ms:
            await asyncio.sleep(faults.latency_ms / 1000)
        if 0 < faults.context_tokens < tokens:
            detail = (
                f"This model's maximum context length is {faults.context_tokens} tokens, and you asked for {tokens}."
            )
            raise http.Problem(400, "Bad Request", detail, code="context_length_exceeded")
        if drawn < faults.error_ratio:
            raise http.Problem(500, "Internal Server Error", "injected error (error_ratio)", code="mock")
        if drawn < faults.error_ratio + faults.rate_limit_ratio:
            headers = (("retry-after", str(faults.retry_after_s)),)
            detail = "injected rate limit (rate_limit_ratio)"
            raise http.Problem(429, "Too Many Requests", detail, code="rate_limit_exceeded", headers=headers)

    async def chat(self, request: http.Request) -> http.Response | http.Streaming:
        asked = request.json(ChatRequest)
        if asked.model != self._settings.model:
            detail = f"there is no model {asked.model!r} here"
            raise http.Problem(404, "Not Found", detail, f"the model is {self._settings.model!r}", "model_not_found")
        read = sum(len(terms(message.content or "")) for message in asked.messages)
        await self._inject_faults(read)
        text = answer(asked.messages)
        if asked.stream:
            return http.Streaming(self._pieces(text, mock_name(asked.model)), EVENTS)
        wrote = len(terms(text))
        completion = ChatCompletion(
            choices=[ChatChoice(ChatMessage("assistant", text))],
            model=mock_name(asked.model),
            id=f"chatcmpl-{uuid.uuid4().hex}",
            created=int(time.time()),
            usage=Usage(read, wrote, read + wrote),
        )
        return http.json_response(completion)

    async def _pieces(self, text: str, model: str) -> AsyncGenerator[bytes, None]:
        """The answer as a stream of words, with the role first and the finish reason last."""
        name, created = f"chatcmpl-{uuid.uuid4().hex}", int(time.time())
        words = [Delta(content=word) for word in re.findall(r"\S+\s*", text)]
        choices = [ChunkChoice(delta) for delta in (Delta(role="assistant"), *words)]
        for choice in (*choices, ChunkChoice(Delta(), finish_reason="stop")):
            yield event(msgspec.json.encode(ChatChunk([choice], model, name, created=created)))
            await asyncio.sleep(self._settings.piece_ms / 1000)
        yield event(STREAM_END)

    async def embeddings(self, request: http.Request) -> http.Response:
        """Hashed vectors for any model name."""
        asked = request.json(EmbeddingsRequest)
        if not asked.texts():
            raise http.Problem(400, "Bad Request", "input: no texts", code="invalid_value")
        tokens = sum(len(terms(text)) for text in asked.texts())
        await self._inject_faults(tokens)
        vectors = hashed_vectors(asked.texts(), self._settings.embedding_dimension)
        name = mock_name(asked.model)
        return http.json_response(embeddings_body(vectors, asked.encoding_format, name, tokens))

    async def models(self, _: http.Request) -> http.Response:
        return http.json_response(ModelList([ModelCard(self._settings.model, owned_by="lightragctl test double")]))


def mock_name(model: str) -> str:
    """The model name in responses, which always contains "mock"."""
    return model if "mock" in model.lower() else f"{model} (mock)"


def create_app(settings: MockLlmSettings) -> http.App:
    """The mock's app."""
    mock = _MockLlm(settings)
    chat, vectors = "Answer by quoting the passages", "Embed texts as hashed vectors"
    routes = (
        http.Route("POST", CHAT_PATH, mock.chat, chat, body=ChatRequest, answer=ChatCompletion, abandon=True),
        http.Route("POST", EMBEDDINGS_PATH, mock.embeddings, vectors, body=EmbeddingsRequest, answer=EmbeddingsAnswer),
        http.Route("GET", MODELS_PATH, mock.models, "List the model", answer=ModelList),
        http.Route("GET", "/faults", mock.faults, "Get the injected faults", answer=FaultsShape),
        http.Route("PUT", "/faults", mock.set_faults, "Set the injected faults", body=FaultsShape, answer=FaultsShape),
    )
    return http.App(routes, http.AppOptions("mock-llm", settings.body_bytes, "openai"))


def serve(settings: MockLlmSettings, environ: Mapping[str, str]) -> None:
    """Serve until SIGTERM. `environ` is not used."""
    server.run(create_app(settings), settings)
