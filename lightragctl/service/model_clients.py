"""Async clients of an OpenAI-compatible endpoint, on aiohttp. Does network I/O; every call has a deadline."""

from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import TypeVar

import aiohttp
import msgspec
import numpy as np

from lightragctl.core.errors import UnavailableError, UsageError, WaitExpired
from lightragctl.core.settings import EmbeddingModel
from lightragctl.service.openai_responses import ChatResponse, EmbeddingsResponse, Refusal, refusal_in
from lightragctl.service.openai_schema import CHAT_PATH, EMBEDDINGS_PATH, STREAM_END, ChatChunk, prompt, vector_of
from lightragctl.service.responses import JSON, json_bytes
from lightragctl.service.trace import trace_headers
from lightragctl.vectors.model import FloatArray

__all__ = ["ChatAnswer", "ChatClient", "EmbeddingClient", "ModelError", "ModelInputError", "open_session", "prompt"]

A = TypeVar("A", EmbeddingsResponse, ChatResponse)

CONNECTIONS = 256
"""Open connections of one session. Each kind of call has a session of its own, and no more calls than connections."""

CONNECT_S = 10.0
"""How long a connection may take to come about, whatever the time that is given to the call itself."""

_INPUT_STATUSES = (HTTPStatus.BAD_REQUEST, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.UNPROCESSABLE_ENTITY)

_HINTS = {
    HTTPStatus.UNAUTHORIZED: "check the API key that model-gateway sends",
    HTTPStatus.FORBIDDEN: "check the API key that model-gateway sends",
    HTTPStatus.NOT_FOUND: "check the model's name and the endpoint's URL",
    HTTPStatus.TOO_MANY_REQUESTS: "the model is at its limit; try again later",
}


class ModelError(UnavailableError):
    """A model did not do what was asked.

    `status` is the endpoint's HTTP status, None when there was none; `retry_after_s` what it asked us to wait.
    """

    code = "model-unavailable"

    def __init__(
        self, message: str, hint: str = "", status: int | None = None, retry_after_s: int | None = None
    ) -> None:
        super().__init__(message, hint)
        self.status = status
        self.retry_after_s = retry_after_s


class ModelTimeoutError(ModelError, WaitExpired):
    """A model did not answer within the deadline."""

    code = "model-timeout"


class ModelInputError(UsageError):
    """The model refuses this input (400, 413, 422); another input may go well. The `poison` of a batch of texts."""

    code = "model-input"


@dataclass(frozen=True, slots=True)
class ChatAnswer:
    """What a chat model wrote, and which model says it wrote it; `truncated` when it was stopped before its end."""

    text: str
    model: str
    truncated: bool = False


def open_session(headers: Mapping[str, str] | None = None) -> aiohttp.ClientSession:
    """A session for these clients, to be closed by the caller; to be made inside the running loop.

    Calls of different kinds, such as short and long ones, must not share a session: they would wait for each other.
    """
    connector = aiohttp.TCPConnector(limit=CONNECTIONS)
    return aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar(), headers=headers)


class EmbeddingClient:
    """Turns texts into vectors. `deadline_s` bounds each call."""

    def __init__(self, session: aiohttp.ClientSession, base_url: str, model: EmbeddingModel, deadline_s: float) -> None:
        self._caller = _Caller(session, base_url.rstrip("/") + EMBEDDINGS_PATH, deadline_s)
        self._model = model

    async def embed_queries(self, texts: Sequence[str]) -> FloatArray:
        """Vectors of questions, with the model's query prefix put before each."""
        return await self.embed([self._model.query_prefix + text for text in texts])

    async def embed_documents(self, texts: Sequence[str]) -> FloatArray:
        """Vectors of passages, with the model's document prefix put before each."""
        return await self.embed([self._model.document_prefix + text for text in texts])

    async def embed(self, texts: Sequence[str]) -> FloatArray:
        """Vectors of the texts as they are, `(len(texts), dimension)`, in their order; one call.

        Raises ModelInputError when the model refuses a text, ModelError for everything else that goes wrong.
        """
        if not texts:
            return np.empty((0, self._model.dimension), dtype=np.float32)
        body = {"model": self._model.name, "input": list(texts), "encoding_format": "base64"}
        answer = await self._caller.post(body, EmbeddingsResponse)
        return self._checked(answer, len(texts))

    def _checked(self, answer: EmbeddingsResponse, count: int) -> FloatArray:
        if len(answer.data) != count:
            raise self._wrong(f"{len(answer.data)} vectors for {count} texts")
        try:
            given = answer.in_order()
        except ValueError as error:
            raise self._wrong(f"{error} for {count} texts") from error
        vectors = np.empty((count, self._model.dimension), dtype=np.float32)
        for at, encoded in enumerate(given):
            try:
                vector = vector_of(encoded)
            except ValueError as error:
                raise self._wrong(f"a vector that cannot be read ({error})") from error
            if vector.shape != (self._model.dimension,):
                got = vector.shape[0]
                raise self._wrong(f"vectors of {got} dimensions where {self._model.dimension} are expected")
            vectors[at] = vector
        if not np.isfinite(vectors).all():
            raise self._wrong("a vector with NaN or infinite values")
        if not vectors.any(axis=1).all():
            raise self._wrong("a vector of zeros, which has no direction")
        return vectors

    def _wrong(self, what: str) -> ModelError:
        message = f"the embedding model {self._model.name} at {self._caller.url} gave {what}"
        return ModelError(message, "check that embedding.name and embedding.dimension fit the endpoint's model")


class ChatClient:
    """Asks a chat model. `deadline_s` bounds each call."""

    def __init__(self, session: aiohttp.ClientSession, base_url: str, model: str, deadline_s: float) -> None:
        self._caller = _Caller(session, base_url.rstrip("/") + CHAT_PATH, deadline_s)
        self._model = model

    async def complete(self, messages: Sequence[Mapping[str, str]]) -> ChatAnswer:
        """The model's answer to the messages (see `prompt`). Raises ModelInputError or ModelError."""
        answer = await self._caller.post({"model": self._model, "messages": list(messages)}, ChatResponse)
        if not answer.text:
            raise self._empty(answer.is_truncated)
        return ChatAnswer(answer.text, str(answer.model or self._model), answer.is_truncated)

    async def stream(self, messages: Sequence[Mapping[str, str]]) -> AsyncGenerator[ChatChunk, None]:
        """The model's answer in pieces, as it writes them. Raises as `complete` does, before the first or later.

        A server that does not stream gives all of it as one piece.
        """
        body = {"model": self._model, "messages": list(messages), "stream": True}
        role: str | None = "assistant"
        wrote, reason = False, None
        async for data in self._caller.events(body):
            if data == STREAM_END:
                reason = reason or "stop"
                break
            piece = self._caller.read(data, ChatResponse)
            wrote, reason = wrote or bool(piece.text), piece.finish_reason or reason
            yield piece.chunk(role)
            role = None
        if reason is None:
            raise ModelError(
                f"the chat model {self._model} at {self._caller.url} broke off in the middle of its answer"
            )
        if not wrote:
            raise self._empty(reason == "length")

    def _empty(self, truncated: bool) -> ModelError:
        hint = "its token limit was reached before the first word: raise it at the endpoint" if truncated else ""
        return ModelError(f"the chat model {self._model} at {self._caller.url} gave an empty answer", hint)


class _Caller:
    """POSTs JSON to one URL and tells in our words what went wrong."""

    def __init__(self, session: aiohttp.ClientSession, url: str, deadline_s: float) -> None:
        self.url = url
        self._session = session
        self._deadline_s = deadline_s
        self._timeout = aiohttp.ClientTimeout(total=deadline_s, sock_connect=CONNECT_S)

    async def post(self, body: object, type_: type[A]) -> A:
        with self._explained():
            async with self._open(body) as response:
                raw = await response.read()
        if response.status != HTTPStatus.OK:
            raise self._refused(response, raw)
        return self.read(raw, type_)

    def read(self, raw: bytes, type_: type[A]) -> A:
        """The answer, or what it tells instead."""
        if refusal := refusal_in(raw):
            raise self._error(refusal)
        try:
            return msgspec.json.decode(raw, type=type_)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            message = f"{self.url} gave an answer that is not in OpenAI's shape: {error}"
            raise ModelError(message, "check the endpoint's URL", HTTPStatus.OK) from error

    async def events(self, body: object) -> AsyncGenerator[bytes, None]:
        """The data of server-sent events as they come; of a server that does not stream, its whole answer."""
        with self._explained():
            async with self._open(body) as response:
                if response.status != HTTPStatus.OK:
                    raise self._refused(response, await response.read())
                if response.content_type == JSON:
                    yield await response.read()
                    return
                async for line in response.content:
                    if line.startswith(b"data:"):
                        yield line.removeprefix(b"data:").strip()

    def _open(self, body: object) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        headers = {"Content-Type": JSON, **trace_headers()}
        return self._session.post(self.url, data=json_bytes(body), headers=headers, timeout=self._timeout)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except aiohttp.ConnectionTimeoutError as error:
            message = f"no connection to {self.url} within {CONNECT_S:g} s"
            raise ModelTimeoutError(message, "is model-gateway running?") from error
        except TimeoutError as error:
            message = f"{self.url} did not answer within {self._deadline_s:g} s"
            raise ModelTimeoutError(message, "is the model overloaded, or still loading?") from error
        except (aiohttp.ClientError, ValueError) as error:  # ValueError: a line longer than aiohttp reads
            raise ModelError(f"cannot reach {self.url}: {error}", "is model-gateway running?") from error

    def _refused(self, response: aiohttp.ClientResponse, raw: bytes) -> ModelError | ModelInputError:
        refusal = refusal_in(raw, response.status) or Refusal(response.status, "")
        retry_after = response.headers.get("Retry-After", "")
        return self._error(refusal, int(retry_after) if retry_after.isdecimal() else None)

    def _error(self, refusal: Refusal, retry_after_s: int | None = None) -> ModelError | ModelInputError:
        message = f"{self.url} answered {refusal.status}" + (f": {refusal.text}" if refusal.text else "")
        if refusal.status in _INPUT_STATUSES:
            return ModelInputError(message)
        try:
            hint = _HINTS.get(HTTPStatus(refusal.status), "")
        except ValueError:
            hint = ""
        return ModelError(message, hint, refusal.status, retry_after_s)
