"""Our services on loopback, each on an event loop of its own in a thread; their clients are plain sockets."""

import asyncio
import json
import socket
import struct
import threading
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import uvloop

from lightragctl.core.settings import EmbedderSettings, GatewaySettings, MockLlmSettings, Upstream
from lightragctl.service import api, embedder, gateway, http, lightrag_server, mock_llm
from lightragctl.service.api import Backends
from lightragctl.service.lightrag_environment import UpstreamHealth
from lightragctl.service.server import Server, serving
from tests.fakes.service import SETTINGS, FakeChat, FakeEmbedding
from tests.fakes.store import FakeSearch, FakeStore

T = TypeVar("T")

WAIT_S = 20.0
"""How long a test waits for what must come; nothing is asserted on how long it took."""

KEY = "k3y"
_MESSAGES = [{"role": "user", "content": "Question: what?\n\nPassages:\n\n[1] (a.md) What is a valve?"}]
_EMBEDDINGS = {"model": "multilingual-e5-small", "input": ["query: apple"]}


@dataclass(frozen=True)
class Asks:
    """A request with a body that a service answers with 200, and one that it answers with a stream."""

    path: str = ""
    body: Any = None
    streams: tuple[str, Any] | None = None


ASKS: Mapping[str, Asks] = {
    "lightrag-api": Asks("/retrieve", {"query": "apple"}, ("/query", {"query": "apple", "stream": True})),
    "model-gateway": Asks(
        "/v1/embeddings",
        _EMBEDDINGS,
        ("/v1/chat/completions", {"model": "mock-llm", "messages": _MESSAGES, "stream": True}),
    ),
    "embedder": Asks("/v1/embeddings", _EMBEDDINGS),
    "mock-llm": Asks(
        "/v1/chat/completions",
        {"model": "mock-llm", "messages": _MESSAGES},
        ("/v1/chat/completions", {"model": "mock-llm", "messages": _MESSAGES, "stream": True}),
    ),
    "lightrag-server": Asks(),
}


@dataclass(frozen=True)
class Running:
    """A service under test."""

    port: int
    server: Server
    asks: Asks

    def on_loop(self, act: Callable[[], T]) -> T:
        """What `act` gives, called in the service's event loop."""

        async def call() -> T:
            return act()

        return asyncio.run_coroutine_threadsafe(call(), self.server.loop).result(WAIT_S)

    def connect(self, receive_bytes: int = 0) -> socket.socket:
        """A client; with `receive_bytes` its kernel takes no more than about so much unread."""
        client = socket.socket()
        if receive_bytes:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        client.settimeout(WAIT_S)
        client.connect(("127.0.0.1", self.port))
        return client

    def said(self, *parts: bytes) -> bytes:
        """All that it says to a client that sends no more after these bytes."""
        with self.connect() as client:
            for part in parts:
                client.sendall(part)
            client.shutdown(socket.SHUT_WR)
            return read_all(client)

    def request(self, path: str, body: Any = None, *headers: bytes) -> bytes:
        """The bytes of a request that carries the key."""
        lines = [b"%b %b HTTP/1.1" % (b"GET" if body is None else b"POST", path.encode()), b"Host: x"]
        lines += [b"X-API-Key: " + KEY.encode(), *headers]
        sent = b"" if body is None else json.dumps(body).encode()
        if body is not None:
            lines += [b"Content-Type: application/json", b"Content-Length: %d" % len(sent)]
        return b"\r\n".join((*lines, b"", sent))

    def is_answering(self) -> bool:
        """An innocent client is answered."""
        return self.said(self.request("/healthz")).startswith(b"HTTP/1.1 200 OK")

    def sweep(self, after_s: float) -> None:
        """Let the service look after its connections as if so much time had passed since it last did."""

        def look() -> None:
            now_s = self.server.loop.time()
            for later_s in (0.0, after_s):
                for connection in list(self.server.connections):
                    connection.sweep(now_s + later_s)

        self.on_loop(look)

    def wait_for(self, reached: Callable[[], bool]) -> None:
        """Wait until it is so in the service's event loop; TimeoutError."""

        async def look() -> None:
            while not reached():
                await asyncio.sleep(0.002)

        asyncio.run_coroutine_threadsafe(asyncio.wait_for(look(), WAIT_S), self.server.loop).result()

    def wait_until_left(self) -> None:
        """Wait until no connection and no answer is left."""
        self.wait_for(lambda: not self.server.connections)


def read_all(client: socket.socket) -> bytes:
    """What comes until the service closes."""
    said = b""
    while data := client.recv(1 << 20):
        said += data
    return said


def reset(client: socket.socket) -> None:
    """Close without a goodbye."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


class _NoUpstream:
    """A launcher of lightrag-server that launches nothing."""

    health = UpstreamHealth(lambda: 0.0)

    @asynccontextmanager
    async def lifespan(self) -> AsyncGenerator[None, None]:
        yield


@asynccontextmanager
async def _backends() -> AsyncGenerator[Backends, None]:
    store = FakeStore()
    yield Backends(store, FakeSearch(store), FakeEmbedding(), FakeChat("As [1] says. " * 50), None)


def _app(name: str, folder: Path, model_port: int) -> http.App:
    if name == "lightrag-api":
        keys = folder / "keys"
        keys.write_text(KEY)
        return api.create_app(SETTINGS.model_copy(update={"api_keys_file": str(keys)}), _backends)
    if name == "model-gateway":
        model = Upstream(url=f"http://127.0.0.1:{model_port}")
        return gateway.create_app(GatewaySettings(port=1, embedding=model, chat=model), {})
    if name == "embedder":
        return embedder.create_app(EmbedderSettings(port=1, model="hashing"))
    if name == "mock-llm":
        return mock_llm.create_app(MockLlmSettings(port=1))
    launcher: Any = _NoUpstream()
    return lightrag_server.create_app(launcher)


@contextmanager
def running(name: str, folder: Path) -> Iterator[Running]:
    """One of our services; behind a gateway stands a mock-llm."""
    started: asyncio.Queue[Running] = asyncio.Queue()
    ready, stop = threading.Event(), asyncio.Event()
    loop = uvloop.new_event_loop()

    async def serve() -> None:
        model = socket.create_server(("127.0.0.1", 0))
        listener = socket.create_server(("127.0.0.1", 0))
        async with serving(mock_llm.create_app(MockLlmSettings(port=1)), model, 0.1):
            app = _app(name, folder, model.getsockname()[1])
            async with serving(app, listener, 0.1) as server:
                started.put_nowait(Running(listener.getsockname()[1], server, ASKS[name]))
                ready.set()
                await stop.wait()

    def run() -> None:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(serve())

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert ready.wait(WAIT_S)
    try:
        yield started.get_nowait()
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(WAIT_S)
