"""A small app for tests of the HTTP server, and what it says over sockets."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

import msgspec

from lightragctl.service import http
from tests.fakes.http import exchange, on_uvloop, served

LIMIT = 64
GET = b"GET /at-once HTTP/1.1\r\nHost: x\r\n\r\n"
LAST = b"GET /at-once HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


def at_once(_: http.Request) -> http.Response:
    return http.json_response({"at": "once"})


async def echo(request: http.Request) -> http.Response:
    await asyncio.sleep(0)
    return http.Response(request.body, headers=(("x-path", request.path),))


async def pieces() -> AsyncGenerator[bytes, None]:
    yield b"one\n"
    await asyncio.sleep(0)
    yield b""
    yield b"two\n"


async def stream(_: http.Request) -> http.Streaming:
    return http.Streaming(pieces())


class Named(msgspec.Struct):
    name: str


def app_of(*routes: http.Route, **options: Any) -> http.App:
    given = (
        http.Route("GET", "/at-once", at_once),
        http.Route("POST", "/echo", echo),
        http.Route("GET", "/stream", stream),
    )
    return http.App((*given, *routes), http.AppOptions("test", body_bytes=LIMIT, **options))


def with_served(app: http.App, act: Callable[[int], Awaitable[None]]) -> None:
    """Let `act` loose on the port of a served app."""

    async def test() -> None:
        async with served(app) as port:
            await asyncio.wait_for(act(port), 10)

    on_uvloop(test())


def said(app: http.App, *parts: bytes, wait_s: float = 0.0) -> bytes:
    """What the app says to these bytes."""

    async def test() -> bytes:
        async with served(app) as port:
            return await asyncio.wait_for(exchange(port, *parts, wait_s=wait_s), 10)

    return on_uvloop(test())
