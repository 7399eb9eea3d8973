"""lightrag-api in this process, on the store in memory and models that know words; asked without a socket."""

import asyncio
import json
import re
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Self, TypeVar
from urllib.parse import urlencode

from lightragctl.core.settings import ApiSettings, Chunking, EmbeddingModel
from lightragctl.service.api import Backends, create_app
from lightragctl.service.hashed_embeddings import hashed_vectors
from lightragctl.service.http import Request
from lightragctl.service.model_clients import ChatAnswer, ModelError, ModelTimeoutError
from lightragctl.service.openai_schema import ChatChunk, ChunkChoice, Delta
from lightragctl.service.responses import Response, Streaming
from lightragctl.service.workspaces import DEFAULT_INTERVALS, Intervals
from lightragctl.vectors.model import FloatArray
from tests.fakes.http import Answer, call
from tests.fakes.store import FakeSearch, FakeStore

T = TypeVar("T")
MODEL = EmbeddingModel(name="words", dimension=64)
SETTINGS = ApiSettings(
    port=1,
    vector_engine_uri="unused",
    gateway_url="unused",
    embedding=MODEL,
    chunking=Chunking(size_tokens=16, overlap_tokens=0),
)
ALIAS = f"default_chunks_{MODEL.suffix}"
CONTROL = "default_lightragctl"


class FakeEmbedding:
    """An `EmbeddingBackend`: `texts` are the passages embedded, `questions` the batches of queries.

    Each call takes `delay_s`.

    It gives `calls_left` answers and then fails; None is no end. A passage that holds a key of `gates` waits for it.
    More than `manages` passages in a call take too long. `error` is raised while it is set.
    """

    def __init__(self, dimension: int = MODEL.dimension, salt: str = "") -> None:
        self.texts: list[str] = []
        self.questions: list[list[str]] = []
        self.delay_s = 0.0
        self.calls_left: int | None = None
        self.gates: dict[str, asyncio.Event] = {}
        self.error: Exception | None = None
        self.vectors_of: Callable[[Sequence[str]], FloatArray] = self._hashed
        self.manages = 1000
        self.sizes: list[int] = []
        self._dimension = dimension
        self._salt = salt

    async def embed_queries(self, texts: Sequence[str]) -> FloatArray:
        self.questions.append(list(texts))
        if self.delay_s:
            await asyncio.sleep(self.delay_s)
        return self._embed(texts)

    async def embed_documents(self, texts: Sequence[str]) -> FloatArray:
        for gate in [gate for key, gate in self.gates.items() if any(key in text for text in texts)]:
            await gate.wait()
        self.sizes.append(len(texts))
        if len(texts) > self.manages:
            raise ModelTimeoutError("the model did not respond within 60 s")
        vectors = self._embed(texts)
        self.texts += texts
        return vectors

    def _embed(self, texts: Sequence[str]) -> FloatArray:
        if self.error is not None:
            raise self.error
        if self.calls_left is not None:
            if self.calls_left == 0:
                raise ModelError("the model is gone")
            self.calls_left -= 1
        return self.vectors_of(texts)

    def _hashed(self, texts: Sequence[str]) -> FloatArray:
        salted = [" ".join(self._salt + word for word in text.split()) for text in texts]
        return hashed_vectors(salted, self._dimension)


class FakeChat:
    """A `ChatBackend` that always writes the same; with a `gate`, once that is open."""

    def __init__(self, text: str = "As [1] says.") -> None:
        self.text = text
        self.breaks_after: int | None = None
        self.gate: asyncio.Event | None = None
        self.truncated = False
        self.is_silent = False
        self.messages: Sequence[Mapping[str, str]] = ()

    async def complete(self, messages: Sequence[Mapping[str, str]]) -> ChatAnswer:
        self.messages = messages
        if self.gate is not None:
            await self.gate.wait()
        return ChatAnswer(self.text, "fake-chat", self.truncated)

    async def stream(self, messages: Sequence[Mapping[str, str]]) -> AsyncGenerator[ChatChunk, None]:
        """The text word by word; `breaks_after` words it fails; nothing when it `is_silent`."""
        if self.is_silent:
            return
        words = re.findall(r"\S+\s*", self.text)
        for number, word in enumerate(words):
            if number == 1 and self.gate is not None:
                await self.gate.wait()
            if number == self.breaks_after:
                raise ModelError("the model is gone")
            yield ChatChunk([ChunkChoice(Delta(content=word))], "fake-chat")
        yield ChatChunk([ChunkChoice(Delta(), finish_reason="length" if self.truncated else "stop")], "fake-chat")


class FakeGraph:
    """A `GraphBackend` that keeps what it was asked and always answers the same."""

    def __init__(self, answer: Mapping[str, Any]) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self._answer = answer

    async def ask(self, path: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        self.asked.append((path, dict(body)))
        return self._answer


class Service:
    """A replica of lightrag-api, started on entering. It goes on only while it is asked, and in `let_pass`."""

    def __init__(
        self,
        store: FakeStore,
        settings: ApiSettings = SETTINGS,
        embedding: FakeEmbedding | None = None,
        intervals: Intervals = DEFAULT_INTERVALS,
    ) -> None:
        self.store = store
        self.search = FakeSearch(store)
        self.embedding = embedding or FakeEmbedding()
        self.chat = FakeChat()
        self.graph: FakeGraph | None = None
        self._app = create_app(settings, self._backends, intervals)
        self._lifespan = self._app.options.lifespan()
        self._runner = asyncio.Runner()

    def __enter__(self) -> Self:
        self._runner.run(self._lifespan.__aenter__())
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._runner.run(self._lifespan.__aexit__(None, None, None))
        self._runner.close()

    def let_pass(self, seconds: float) -> None:
        """Let the background work go on."""
        self._runner.run(asyncio.sleep(seconds))

    def get(self, path: str, **query: Any) -> Answer:
        """GET with a query string."""
        return self._ask("GET", f"{path}?{urlencode(query)}")

    def remove(self, path: str, **query: Any) -> Answer:
        """DELETE with a query string."""
        return self._ask("DELETE", f"{path}?{urlencode(query)}")

    def post(self, path: str, body: Any, **headers: str) -> Answer:
        """POST of JSON."""
        return self._ask("POST", path, json.dumps(body).encode(), headers)

    def put(self, path: str, body: Any) -> Answer:
        """PUT of JSON."""
        return self._ask("PUT", path, json.dumps(body).encode())

    def write(self, source: str, text: str, **more: Any) -> Answer:
        """POST /documents of one document."""
        return self.post("/documents", {"documents": [{"source": source, "text": text}], **more})

    def begin_load(self, source: str, text: str) -> AsyncGenerator[bytes, None]:
        """POST /documents of one document as a stream, of which only the first line is read; the rest."""
        body = json.dumps({"documents": [{"source": source, "text": text}]}).encode()
        request = Request("POST", b"/documents", {b"accept": b"application/x-ndjson"}, body)
        assert self._app.refusal(request) is None

        async def begin() -> AsyncGenerator[bytes, None]:
            coming = self._app.answer(request)
            assert not isinstance(coming, Response)
            answer = await coming
            assert isinstance(answer, Streaming)
            await anext(answer.pieces)
            return answer.pieces

        return self._runner.run(begin())

    def rest_of(self, pieces: AsyncGenerator[bytes, None]) -> list[Any]:
        """What a stream still says."""

        async def read() -> list[Any]:
            return [json.loads(piece) async for piece in pieces]

        return self._runner.run(read())

    def leave(self, pieces: AsyncGenerator[bytes, None]) -> None:
        """The client of a stream goes away."""
        self._runner.run(pieces.aclose())

    def stored(self, source: str, text: str, **more: Any) -> Any:
        """What became of one document that the service takes."""
        answer = self.write(source, text, **more)
        assert answer.status == 200, answer.body
        return answer.json()["documents"][0]

    def run(self, coming: Coroutine[Any, Any, T]) -> T:
        """What it gives, on the event loop of the service."""
        return self._runner.run(coming)

    async def calling(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        """One request, within `run`."""
        return await self.sending(method, path, b"" if body is None else json.dumps(body).encode(), **headers)

    async def sending(self, method: str, path: str, body: bytes, **headers: str) -> Answer:
        """One request with these bytes, within `run`."""
        return await call(self._app, method, path, body, headers)

    def together(self, *bodies: Any, **headers: str) -> list[Answer]:
        """POST /retrieve of all of them at the same time."""

        async def all_of_them() -> list[Answer]:
            asks = [call(self._app, "POST", "/retrieve", json.dumps(body).encode(), headers) for body in bodies]
            return await asyncio.gather(*asks)

        return self._runner.run(all_of_them())

    def retrieve(self, query: str, **more: Any) -> Answer:
        """POST /retrieve."""
        return self.post("/retrieve", {"query": query, **more})

    def ready(self) -> Answer:
        """GET /readyz."""
        return self.get("/readyz")

    def _ask(self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None) -> Answer:
        return self._runner.run(call(self._app, method, path, body, headers))

    @asynccontextmanager
    async def _backends(self) -> AsyncGenerator[Backends, None]:
        yield Backends(self.store, self.search, self.embedding, self.chat, self.graph)
