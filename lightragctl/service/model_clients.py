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
"""Connections of one session. Each kind of call has its own session, and no more calls than connections."""

CONNECT_S = 10.0
"""Connect timeout, independent of the deadline of the call."""

_INPUT_STATUSES = (HTTPStatus.BAD_REQUEST, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.UNPROCESSABLE_ENTITY)

_HINTS = {
    HTTPStatus.UNAUTHORIZED: "check the API key that model-gateway sends",
    HTTPStatus.FORBIDDEN: "check the API key that model-gateway sends",
    HTTPStatus.NOT_FOUND: "check the model's name and the endpoint's URL",
    HTTPStatus.TOO_MANY_REQUESTS: "the rate limit of the model is reached; retry later",
}


class ModelError(UnavailableError):
    """A call to a model failed.

    `status` is the endpoint's HTTP status, None without a response; `retry_after_s` is its Retry-After.
    """

    code = "model-unavailable"

    def __init__(
        self, message: str, hint: str = "", status: int | None = None, retry_after_s: int | None = None
    ) -> None:
        super().__init__(message, hint)
        self.status = status
        self.retry_after_s = retry_after_s


class ModelTimeoutError(ModelError, WaitExpired):
    """A model did not respond within the deadline."""

    code = "model-timeout"


class ModelInputError(UsageError):
    """The model rejects this input (400, 413, 422); other inputs may succeed. The `poison` of a batch of texts."""

    code = "model-input"


@dataclass(frozen=True, slots=True)
class ChatAnswer:
    """The text of a chat model and the model's name; `truncated` if it was cut off."""

    text: str
    model: str
    truncated: bool = False


def open_session(headers: Mapping[str, str] | None = None) -> aiohttp.ClientSession:
    """A session for these clients, closed by the caller; created inside the running event loop.

    Calls of different kinds, such as short and long ones, must not share a session: they would compete for connections.
    """
    connector = aiohttp.TCPConnector(limit=CONNECTIONS)
    return aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar(), headers=headers)


class EmbeddingClient:
    """A client for embeddings. `deadline_s` limits each call."""

    def __init__(self, session: aiohttp.ClientSession, base_url: str, model: EmbeddingModel, deadline_s: float) -> None:
        self._caller = _Caller(session, base_url.rstrip("/") + EMBEDDINGS_PATH, deadline_s)
        self._model = model

    async def embed_queries(self, texts: Sequence[str]) -> FloatArray:
        """Vectors of queries, each with the model's query prefix."""
        return await self.embed([self._model.query_prefix + text for text in texts])

    async def embed_documents(self, texts: Sequence[str]) -> FloatArray:
        """Vectors of passages, each with the model's document prefix."""
        return await self.embed([self._model.document_prefix + text for text in texts])

    async def embed(self, texts: Sequence[str]) -> FloatArray:
        """Vectors of the texts without prefixes, `(len(texts), dimension)`, in their order; one call.

        Raises ModelInputError if the model rejects a text, ModelError for any other failure.
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
            ordered = answer.in_order()
        except ValueError as error:
            raise self._wrong(f"{error} for {count} texts") from error
        vectors = np.empty((count, self._model.dimension), dtype=np.float32)
        for at, encoded in enumerate(ordered):
            try:
                vector = vector_of(encoded)
            except ValueError as error:
                raise self._wrong(f"an invalid vector ({error})") from error
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
        message = f"the embedding model {self._model.name} at {self._caller.url} returned {what}"
        return ModelError(message, "check that models.embedding matches the endpoint's model")


class ChatClient:
    """A client for chat completions. `deadline_s` limits each call."""

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
        """The model's answer as a stream of chunks. Raises as `complete` does, before the first or later.

        A server that does not stream sends one chunk.
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
                f"the chat model {self._model} at {self._caller.url} ended the stream before its last chunk"
            )
        if not wrote:
            raise self._empty(reason == "length")

    def _empty(self, truncated: bool) -> ModelError:
        hint = "raise the token limit of the endpoint, which was reached before the first word" if truncated else ""
        return ModelError(f"the chat model {self._model} at {self._caller.url} returned an empty answer", hint)


class _Caller:
    """POSTs JSON to one URL, and maps errors to ours."""

    def __init__(self, session: aiohttp.ClientSession, url: str, deadline_s: float) -> None:
        self.url = url
        self._session = session
        self._deadline_s = deadline_s
        self._timeout = aiohttp.ClientTimeout(total=deadline_s, sock_connect=CONNECT_S)

    async def post(self, body: object, type_: type[A]) -> A:
        with self._mapped_errors():
            async with self._open(body) as response:
                raw = await response.read()
        if response.status != HTTPStatus.OK:
            raise self._refused(response, raw)
        return self.read(raw, type_)

    def read(self, raw: bytes, type_: type[A]) -> A:
        """The decoded response; raises the error that it reports."""
        if refusal := refusal_in(raw):
            raise self._error(refusal)
        try:
            return msgspec.json.decode(raw, type=type_)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            message = f"the response of {self.url} does not follow OpenAI's schema: {error}"
            raise ModelError(message, "check the endpoint's URL", HTTPStatus.OK) from error

    async def events(self, body: object) -> AsyncGenerator[bytes, None]:
        """The data of server-sent events; the whole response of a server that does not stream."""
        with self._mapped_errors():
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
    def _mapped_errors(self) -> Iterator[None]:
        try:
            yield
        except aiohttp.ConnectionTimeoutError as error:
            message = f"no connection to {self.url} within {CONNECT_S:g} s"
            raise ModelTimeoutError(message, "check that model-gateway is running") from error
        except TimeoutError as error:
            message = f"{self.url} did not respond within {self._deadline_s:g} s"
            raise ModelTimeoutError(message, "check whether the model is overloaded or still loading") from error
        except (aiohttp.ClientError, ValueError) as error:  # ValueError: a line longer than aiohttp reads
            raise ModelError(f"cannot reach {self.url}: {error}", "check that model-gateway is running") from error

    def _refused(self, response: aiohttp.ClientResponse, raw: bytes) -> ModelError | ModelInputError:
        refusal = refusal_in(raw, response.status) or Refusal(response.status, "")
        retry_after = response.headers.get("Retry-After", "")
        return self._error(refusal, int(retry_after) if retry_after.isdecimal() else None)

    def _error(self, refusal: Refusal, retry_after_s: int | None = None) -> ModelError | ModelInputError:
        message = f"{self.url} responded with {refusal.status}" + (f": {refusal.text}" if refusal.text else "")
        if refusal.status in _INPUT_STATUSES:
            return ModelInputError(message)
        try:
            hint = _HINTS.get(HTTPStatus(refusal.status), "")
        except ValueError:
            hint = ""
        return ModelError(message, hint, refusal.status, retry_after_s)
