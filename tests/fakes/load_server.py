"""A server for load: answers every request alike, as fast as Python can, and misbehaves as it is told.

    python -m tests.fakes.load_server PORT ['{"delay_s": 0.02}']

serves good answers of /retrieve, in the manner that is given, until it is killed.
"""

import asyncio
import json
import ssl
import sys
import threading
import time
from dataclasses import dataclass
from typing import Any, Self, cast

import uvloop

HITS = [{"id": f"chunk-{n}", "score": 0.9 - n / 10, "text": "words " * 30, "source": "a.md"} for n in range(5)]
GOOD = json.dumps({"workspace": "default", "collection": "c", "hits": HITS, "cached": False}).encode()


def event(content: str, **beside: object) -> bytes:
    """A piece of a streamed answer in OpenAI's shape."""
    return b"data: %b\n\n" % json.dumps({"choices": [{"delta": {"content": content}}], **beside}).encode()


STREAM = (
    event("", lightragctl={"hits": [{"id": "chunk-1"}, {"id": "chunk-2"}]}),
    event("The"),
    event(" answer"),
    b"data: [DONE]\n\n",
)


@dataclass(frozen=True)
class Manner:
    """How it answers.

    Attributes:
        body: of every answer.
        status: its status.
        delay_s: before every answer.
        capacity_per_s: answers come one after the other, so many a second at most.
        stall: (after, for) seconds since its first request; answers wait until the stall is over.
        close: say `Connection: close` and close after every answer.
        framing: how an answer ends: `length`, `chunked`, or `close` for the connection's end.
        cut: close after half of the body.
        hang: never answer.
        headers: lines beside the usual ones.
        pieces: send these as chunks, one every `piece_s`, in place of `body`.
    """

    body: bytes = GOOD
    status: int = 200
    delay_s: float = 0.0
    capacity_per_s: float = 0.0
    stall: tuple[float, float] | None = None
    close: bool = False
    framing: str = "length"
    cut: bool = False
    hang: bool = False
    headers: tuple[str, ...] = ()
    pieces: tuple[bytes, ...] = ()
    piece_s: float = 0.0

    def answer(self) -> bytes:
        """The whole answer as it goes over the wire."""
        head = [f"HTTP/1.1 {self.status} Whatever", "content-type: application/json", *self.headers]
        body = self.body
        if self.framing == "length":
            head.append(f"Content-Length: {len(body)}")
        if self.framing == "chunked":
            head.append("transfer-encoding: chunked")
            half = len(body) // 2
            body = chunk(body[:half]) + chunk(body[half:]) + chunk(b"")
        if self.close or self.framing == "close":
            head.append("connection: close")
        if self.cut:
            body = body[: len(body) // 2]
        return "\r\n".join([*head, "", ""]).encode() + body


STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def chunk(data: bytes) -> bytes:
    """One chunk; an empty one is the last."""
    return b"%x\r\n%b\r\n" % (len(data), data)


class _Connection(asyncio.Protocol):
    def __init__(self, server: "LoadServer") -> None:
        self._server = server
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._server.connections += 1
        self._server.open.add(self._transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._server.open.discard(self._transport)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = self._buffer[:end].lower()
            length = int(head.partition(b"content-length:")[2].split(b"\r\n")[0] or 0)
            if len(self._buffer) < end + 4 + length:
                return
            self._server.asked(head, self._buffer[end + 4 : end + 4 + length])
            self._buffer = self._buffer[end + 4 + length :]
            wait_s = self._server.wait_s()
            if self._server.manner.hang:
                return
            if wait_s > 0:
                self._server.loop.call_later(wait_s, self._answer)
            else:
                self._answer()

    def _answer(self) -> None:
        manner = self._server.manner
        if manner.pieces:
            self._transport.write(STREAM_HEAD)
            self._piece(0)
            return
        self._transport.write(self._server.answer)
        if manner.close or manner.cut or manner.framing == "close":
            self._transport.close()

    def _piece(self, number: int) -> None:
        pieces = self._server.manner.pieces
        if number == len(pieces):
            self._transport.write(chunk(b""))
            return
        self._transport.write(chunk(pieces[number]))
        self._server.loop.call_later(self._server.manner.piece_s, self._piece, number + 1)


class LoadServer:
    """Serves in a thread of its own from entering to leaving.

    Attributes:
        manner: how it answers; may be changed while it serves.
        requests: how many came.
        connections: how many were opened.
        heads: the first requests' heads, in lower case.
        bodies: the first requests' bodies.
    """

    def __init__(self, manner: Manner = Manner(), tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        self.behave(manner)
        self.requests = self.connections = 0
        self.heads: list[bytes] = []
        self.bodies: list[Any] = []
        self.open: set[asyncio.Transport] = set()
        self._first_s = self._free_s = 0.0
        self.loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)

    def behave(self, manner: Manner) -> None:
        """Answer so from now on."""
        self.manner, self.answer = manner, manner.answer()

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self.listen(), self.loop).result(10)
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.kill()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(10)

    @property
    def url(self) -> str:
        """Its base address."""
        return f"http{'s' if self._tls else ''}://127.0.0.1:{self.port}"

    async def listen(self, port: int = 0) -> None:
        """Begin to take connections."""
        self._listener = await self.loop.create_server(
            lambda: _Connection(self), "127.0.0.1", port, ssl=self._tls, backlog=1024
        )
        self.port: int = cast(Any, self._listener).sockets[0].getsockname()[1]

    def kill(self) -> None:
        """Take no more connections and break those that are open; returns when it is done."""
        asyncio.run_coroutine_threadsafe(self._kill(), self.loop).result(10)

    async def _kill(self) -> None:
        self._listener.close()
        for transport in list(self.open):
            transport.abort()

    def asked(self, head: bytes, body: bytes) -> None:
        """Count a request."""
        self.requests += 1
        if not self._first_s:
            self._first_s = self.loop.time()
        if len(self.bodies) < 1000:
            self.heads.append(head)
            self.bodies.append(json.loads(body or b"null"))

    def wait_s(self) -> float:
        """How long the present answer waits."""
        wait_s = self.manner.delay_s
        if self.manner.stall is not None:
            after_s, for_s = self.manner.stall
            elapsed_s = self.loop.time() - self._first_s
            if after_s <= elapsed_s < after_s + for_s:
                wait_s += after_s + for_s - elapsed_s
        if self.manner.capacity_per_s:
            now_s = time.monotonic()
            self._free_s = max(now_s, self._free_s) + 1 / self.manner.capacity_per_s
            wait_s += self._free_s - now_s
        return wait_s


async def _serve(port: int, manner: Manner) -> None:
    server = LoadServer(manner)
    server.loop = cast(Any, asyncio.get_running_loop())
    await server.listen(port)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1]), Manner(**json.loads(sys.argv[2] if len(sys.argv) > 2 else "{}"))))
