"""An app asked in this process without a socket, and one served on loopback."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import uvloop

from lightragctl.service import http
from lightragctl.service.responses import Streaming
from lightragctl.service.server import serving

T = TypeVar("T")


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


def raw_headers(headers: Mapping[str, str] | None) -> dict[bytes, bytes]:
    return {name.lower().encode(): value.encode("latin-1") for name, value in (headers or {}).items()}


async def call(
    app: http.App, method: str, target: str, body: bytes = b"", headers: Mapping[str, str] | None = None
) -> Answer:
    """One request, as the server hands it over."""
    length = {"content-length": str(len(body))} if body else {}
    request = http.Request(method, target.encode(), raw_headers({**length, **(headers or {})}), body)
    refusal = app.refusal(request)
    coming = app.answer(request) if refusal is None else app.problem_response(request, refusal)
    answer = coming if isinstance(coming, http.Response) else await coming
    app.record(request, answer.status if isinstance(answer, http.Response) else 200)
    told = {"content-type": answer.content_type, **dict(answer.headers)}
    if isinstance(answer, Streaming):
        return Answer(200, told, b"".join([piece async for piece in answer.pieces]))
    return Answer(answer.status, told, answer.body)


def ask(app: http.App, method: str, target: str, body: bytes = b"", **headers: str) -> Answer:
    """`call` outside an event loop."""
    named = {key.replace("_", "-"): value for key, value in headers.items()}
    return asyncio.run(call(app, method, target, body, named))


def on_uvloop(coming: Coroutine[Any, Any, T]) -> T:
    """What it gives, on the event loop that our services run on."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(coming)


@asynccontextmanager
async def served(app: http.App, grace_s: float = 5.0) -> AsyncIterator[int]:
    """The app on a port of loopback."""
    listener = socket.create_server(("127.0.0.1", 0))
    async with serving(app, listener, grace_s):
        yield listener.getsockname()[1]


async def exchange(port: int, *parts: bytes, wait_s: float = 0.0) -> bytes:
    """What the server says to these bytes, sent with pauses between and then no more, until it closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for part in parts:
        writer.write(part)
        await writer.drain()
        await asyncio.sleep(wait_s)
    writer.write_eof()
    try:
        return await reader.read()
    finally:
        writer.close()
