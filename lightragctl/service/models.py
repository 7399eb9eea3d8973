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
from lightragctl.service.answers import JSON, json_bytes
from lightragctl.service.redaction import redacted
from lightragctl.service.trace import trace_headers
from lightragctl.service.wire import (
    CHAT_PATH,
    EMBEDDINGS_PATH,
    STREAM_END,
    ChatChunk,
    ChatCompletion,
    EmbeddingsAnswer,
    ErrorAnswer,
    prompt,
    vector_of,
)
from lightragctl.vectors.model import FloatArray

__all__ = ["ChatAnswer", "ChatClient", "EmbeddingClient", "ModelError", "ModelInputError", "open_session", "prompt"]

A = TypeVar("A", EmbeddingsAnswer, ChatCompletion)

_CONNECTIONS = 256
"""Open connections of one session; more calls than this at a time wait for one."""

_QUOTED_CHARS = 300
"""How much of an endpoint's error text goes into ours."""

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
    """What a chat model wrote, and which model says it wrote it."""

    text: str
    model: str


def open_session(headers: Mapping[str, str] | None = None) -> aiohttp.ClientSession:
    """A session for these clients, to be closed by the caller; to be made inside the running loop."""
    connector = aiohttp.TCPConnector(limit=_CONNECTIONS)
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
        answer = await self._caller.post(body, EmbeddingsAnswer)
        return self._checked(answer, len(texts))

    def _checked(self, answer: EmbeddingsAnswer, count: int) -> FloatArray:
        items = sorted(answer.data, key=lambda item: item.index)
        if [item.index for item in items] != list(range(count)):
            raise self._wrong(f"{len(items)} vectors for {count} texts")
        vectors = np.empty((count, self._model.dimension), dtype=np.float32)
        for item in items:
            try:
                vector = vector_of(item.embedding)
            except ValueError as error:
                raise self._wrong(f"a vector that cannot be read ({error})") from error
            if vector.shape != (self._model.dimension,):
                got = vector.shape[0]
                raise self._wrong(f"vectors of {got} dimensions where {self._model.dimension} are expected")
            vectors[item.index] = vector
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
        answer = await self._caller.post({"model": self._model, "messages": list(messages)}, ChatCompletion)
        text = answer.choices[0].message.content if answer.choices else None
        if not text:
            raise ModelError(f"the chat model {self._model} at {self._caller.url} gave an empty answer")
        return ChatAnswer(text, answer.model or self._model)

    async def stream(self, messages: Sequence[Mapping[str, str]]) -> AsyncGenerator[ChatChunk, None]:
        """The model's answer in pieces, as it writes them. Raises as `complete` does, before the first or later."""
        body = {"model": self._model, "messages": list(messages), "stream": True}
        async for line in self._caller.lines(body):
            data = line.removeprefix(b"data:").strip()
            if data == STREAM_END:
                return
            try:
                yield msgspec.json.decode(data, type=ChatChunk)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                raise ModelError(f"the chat model {self._model} broke off: {_error_text(data)}") from error
        raise ModelError(f"the chat model {self._model} at {self._caller.url} broke off in the middle of its answer")


class _Caller:
    """POSTs JSON to one URL and tells in our words what went wrong."""

    def __init__(self, session: aiohttp.ClientSession, url: str, deadline_s: float) -> None:
        self.url = url
        self._session = session
        self._deadline_s = deadline_s
        self._timeout = aiohttp.ClientTimeout(total=deadline_s)

    async def post(self, body: object, type_: type[A]) -> A:
        with self._explained():
            async with self._open(body) as response:
                raw = await response.read()
        if response.status != HTTPStatus.OK:
            raise self._refusal(response, raw)
        try:
            return msgspec.json.decode(raw, type=type_)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            message = f"{self.url} gave an answer that is not in OpenAI's shape: {error}"
            raise ModelError(message, "check the endpoint's URL", response.status) from error

    async def lines(self, body: object) -> AsyncGenerator[bytes, None]:
        """The lines of server-sent events that hold data, as they come."""
        with self._explained():
            async with self._open(body) as response:
                if response.status != HTTPStatus.OK:
                    raise self._refusal(response, await response.read())
                async for line in response.content:
                    if line.startswith(b"data:"):
                        yield line

    def _open(self, body: object) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        headers = {"Content-Type": JSON, **trace_headers()}
        return self._session.post(self.url, data=json_bytes(body), headers=headers, timeout=self._timeout)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except TimeoutError as error:
            message = f"{self.url} did not answer within {self._deadline_s:g} s"
            raise ModelTimeoutError(message, "is the model overloaded, or still loading?") from error
        except (aiohttp.ClientError, ValueError) as error:  # ValueError: a line longer than aiohttp reads
            raise ModelError(f"cannot reach {self.url}: {error}", "is model-gateway running?") from error

    def _refusal(self, response: aiohttp.ClientResponse, raw: bytes) -> ModelError | ModelInputError:
        message = f"{self.url} answered {response.status}"
        if response.status not in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):  # these may quote the key
            message += f": {_error_text(raw)}"
        if response.status in _INPUT_STATUSES:
            return ModelInputError(message)
        try:
            hint = _HINTS.get(HTTPStatus(response.status), "")
        except ValueError:
            hint = ""
        retry_after = response.headers.get("Retry-After", "")
        return ModelError(message, hint, response.status, int(retry_after) if retry_after.isdecimal() else None)


def _error_text(raw: bytes) -> str:
    """The message of an error in OpenAI's shape, else the start of what came; without keys."""
    raw = redacted(raw)
    try:
        text = msgspec.json.decode(raw, type=ErrorAnswer).error.message
    except (msgspec.DecodeError, UnicodeDecodeError):
        text = raw.decode("utf-8", "replace")
    return " ".join(text.split())[:_QUOTED_CHARS]
