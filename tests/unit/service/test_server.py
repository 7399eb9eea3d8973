"""HTTP over real sockets: what a client gets for its bytes, and what becomes of one that misbehaves or leaves."""

import asyncio
import logging
import os
import re
import signal
import socket
import subprocess
import sys
import time
import tracemalloc
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

import httpx
import msgspec
import pytest

from lightragctl.core.errors import UnavailableError
from lightragctl.core.settings import ServiceSettings
from lightragctl.service import http, reader, server
from tests.fakes.http import exchange, on_uvloop, served
from tests.milvus.fixtures import free_port

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


def post(body: bytes, *more: bytes) -> bytes:
    lines = (b"POST /echo HTTP/1.1", b"Host: x", b"Content-Length: %d" % len(body), *more, b"", body)
    return b"\r\n".join(lines)


def test_an_answer_has_its_length_its_type_and_the_date() -> None:
    head, _, body = said(app_of(), GET).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert (b"content-length: %d" % len(body)) in head
    assert b"content-type: application/json" in head
    assert re.search(rb"date: \w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT", head)
    assert body == b'{"at":"once"}'


def test_head_is_get_without_the_body() -> None:
    head, _, body = said(app_of(), b"HEAD /at-once HTTP/1.1\r\nHost: x\r\n\r\n").partition(b"\r\n\r\n")
    assert b"content-length: 13" in head
    assert body == b""


def test_a_body_may_come_in_any_parts() -> None:
    whole = post(b'{"name": "a"}')
    for cut in (5, 30, len(whole) - 5):
        assert said(app_of(), whole[:cut], whole[cut:], wait_s=0.02).endswith(b'\r\n\r\n{"name": "a"}')


def test_a_body_may_come_in_chunks() -> None:
    head = b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert said(app_of(), head, b"3\r\nabc\r\n", b"2\r\nde\r\n0\r\n\r\n", wait_s=0.02).endswith(b"\r\n\r\nabcde")


def test_requests_that_come_together_are_answered_in_their_order() -> None:
    together = post(b"first") + GET + post(b"third") + GET
    bodies = re.findall(rb"\r\n\r\n(first|third|\{\"at\":\"once\"\})", said(app_of(), together))
    assert bodies == [b"first", b'{"at":"once"}', b"third", b'{"at":"once"}']


@pytest.mark.parametrize(
    "request_", [GET.replace(b"Host: x", b"Connection: close"), GET.replace(b"HTTP/1.1", b"HTTP/1.0")]
)
def test_a_connection_is_closed_when_the_client_wants_it(request_: bytes) -> None:
    async def act(port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request_)
        answer = await reader.read()  # ends, because the server closes
        assert b"connection: close" in answer
        writer.close()

    with_served(app_of(), act)


def test_a_stream_comes_in_chunks_and_to_old_clients_without() -> None:
    new = said(app_of(), b"GET /stream HTTP/1.1\r\nHost: x\r\n\r\n")
    assert new.partition(b"\r\n\r\n")[2] == b"4\r\none\n\r\n4\r\ntwo\n\r\n0\r\n\r\n"
    old = said(app_of(), b"GET /stream HTTP/1.0\r\n\r\n")
    assert old.partition(b"\r\n\r\n")[2] == b"one\ntwo\n"
    assert b"chunked" not in old


def test_after_a_stream_the_connection_serves_on() -> None:
    twice = said(app_of(), b"GET /stream HTTP/1.1\r\nHost: x\r\n\r\n" + GET)
    assert twice.endswith(b'{"at":"once"}')


def test_a_stream_that_breaks_off_is_seen_to_be_incomplete(caplog: pytest.LogCaptureFixture) -> None:
    async def breaking() -> AsyncGenerator[bytes, None]:
        yield b"one\n"
        raise ZeroDivisionError

    async def handler(_: http.Request) -> http.Streaming:
        return http.Streaming(breaking())

    async def act(port: int) -> None:
        async with httpx.AsyncClient() as client:
            with pytest.raises(httpx.TransportError):
                await client.get(f"http://127.0.0.1:{port}/broken")

    with_served(app_of(http.Route("GET", "/broken", handler)), act)
    assert any(record.exc_info for record in caplog.records if record.levelno == logging.ERROR)


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 65\r\n\r\n", 413),
        (b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n41\r\n" + b"a" * 65, 413),
        (b"GET /at-once HTTP/1.1\r\nHost: x\r\nX-Long: " + b"a" * reader.HEAD_BYTES + b"\r\n\r\n", 431),
        (b"GET /" + b"a" * reader.HEAD_BYTES + b" HTTP/1.1\r\nHost: x\r\n\r\n", 431),
        (b"this is not http\r\n\r\n", 400),
        (b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n", 400),
        (b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
    ],
)
def test_what_cannot_be_taken_is_refused_before_it_is_read(sent: bytes, status: int) -> None:
    answer = said(app_of(), sent)
    assert answer.startswith(b"HTTP/1.1 %d " % status)
    assert b"application/problem+json" in answer
    assert b"connection: close" in answer
    assert answer.count(b"HTTP/1.1") == 1


def test_a_refused_client_that_still_sends_can_read_why() -> None:
    async def act(port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 9000000\r\n\r\n")
        for _ in range(30):
            writer.write(b"a" * 30_000)
            await asyncio.sleep(0.005)
        assert (await reader.read()).startswith(b"HTTP/1.1 413 ")
        writer.close()

    with_served(app_of(), act)


def test_a_stranger_is_refused_without_reading_his_body() -> None:
    def admit(request: http.Request) -> None:
        raise http.Problem(401, "Unauthorized", "a key is needed")

    answer = said(app_of(admit=admit), b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 401 ")


def test_a_client_that_waits_to_be_asked_for_its_body_is_asked() -> None:
    head = b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n"
    assert said(app_of(), head, b"ab", wait_s=0.05).startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK")
    too_much = head.replace(b"Length: 2", b"Length: 99")
    assert said(app_of(), too_much).startswith(b"HTTP/1.1 413 ")


def test_a_path_is_decoded_and_may_be_absolute() -> None:
    routes = [http.Route("GET", "/a b/苹果", lambda request: http.Response(request.path.encode()))]
    assert said(app_of(*routes), b"GET /a%20b/%E8%8B%B9%E6%9E%9C?x HTTP/1.1\r\nHost: x\r\n\r\n").endswith(
        "苹果".encode()
    )
    assert b"200 OK" in said(app_of(), GET.replace(b"/at-once", b"http://x/at-once"))


def test_a_header_cannot_be_smuggled_into_an_answer() -> None:
    async def handler(_: http.Request) -> http.Response:
        return http.Response(b"", headers=(("x-from", "elsewhere\r\nset-cookie: a=b"),))

    answer = said(app_of(http.Route("GET", "/x", handler)), b"GET /x HTTP/1.1\r\nHost: x\r\n\r\n")
    assert b"\r\nset-cookie" not in answer


async def left(port: int, path: bytes, reached: asyncio.Event) -> None:
    """Ask, wait until the handler is at work, and go away."""
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET %b HTTP/1.1\r\nHost: x\r\n\r\n" % path)
    await reached.wait()
    writer.close()


def test_abandoned_work_is_cancelled_and_counted_as_499() -> None:
    reached, cancelled = asyncio.Event(), asyncio.Event()

    async def slow(_: http.Request) -> http.Response:
        reached.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
        return http.json_response({})

    app = app_of(http.Route("GET", "/slow", slow, abandon=True))

    async def act(port: int) -> None:
        await left(port, b"/slow", reached)
        await cancelled.wait()

    with_served(app, act)
    assert 'lightragctl_http_requests_total{code="499",route="GET /slow"} 1.0' in app.metrics.text().decode()


def test_work_that_is_worth_something_without_the_client_goes_on() -> None:
    reached, go_on, done = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def write(_: http.Request) -> http.Response:
        reached.set()
        await go_on.wait()
        done.set()
        return http.json_response({})

    async def act(port: int) -> None:
        await left(port, b"/write", reached)
        await asyncio.sleep(0.05)
        go_on.set()
        await done.wait()

    with_served(app_of(http.Route("GET", "/write", write)), act)


def streaming(pieces: Callable[[], AsyncGenerator[bytes, None]]) -> http.App:
    async def handler(_: http.Request) -> http.Streaming:
        return http.Streaming(pieces())

    return app_of(http.Route("GET", "/stream2", handler))


def test_a_stream_is_closed_when_the_client_goes_away() -> None:
    reached, closed = asyncio.Event(), asyncio.Event()

    async def endless() -> AsyncGenerator[bytes, None]:
        try:
            while True:
                yield b"one\n"
                reached.set()
                await asyncio.sleep(0.01)
        finally:
            closed.set()

    async def act(port: int) -> None:
        await left(port, b"/stream2", reached)
        await closed.wait()

    with_served(streaming(endless), act)


def test_a_silent_stream_to_a_client_that_sends_no_more_ends_after_a_while() -> None:
    """Whether it is gone cannot be known before something is sent."""
    reached, closed = asyncio.Event(), asyncio.Event()

    async def silent() -> AsyncGenerator[bytes, None]:
        try:
            yield b"one\n"
            reached.set()
            await asyncio.Event().wait()
        finally:
            closed.set()

    async def test() -> None:
        listener = socket.create_server(("127.0.0.1", 0))
        async with server.serving(streaming(silent), listener) as running:
            await left(listener.getsockname()[1], b"/stream2", reached)
            connection = next(iter(running.connections))
            while not connection.half_closed:
                await asyncio.sleep(0.001)
            now_s = running.loop.time()
            connection.sweep(now_s + server.HALF_CLOSED_S - 1)
            await asyncio.sleep(0)
            assert not closed.is_set()
            connection.sweep(now_s + server.HALF_CLOSED_S + 1)
            await closed.wait()

    on_uvloop(asyncio.wait_for(test(), 10))


def test_a_client_that_reads_nothing_holds_the_stream_back_and_is_cut_off_after_a_while() -> None:
    made, closed = 0, asyncio.Event()

    async def plenty() -> AsyncGenerator[bytes, None]:
        nonlocal made
        try:
            while True:
                made += 1
                yield b"x" * 100_000
        finally:
            closed.set()

    async def act(port: int, running: server.Server) -> None:
        _, writer = await asyncio.open_connection("127.0.0.1", port, limit=1000)
        writer.write(b"GET /stream2 HTTP/1.1\r\nHost: x\r\n\r\n")
        connection = await stalled(running)
        assert made < 200  # what the sockets' buffers hold
        now_s = running.loop.time()
        connection.sweep(now_s)
        connection.sweep(now_s + server.SEND_S - 1)
        assert running.connections
        connection.sweep(now_s + server.SEND_S + 1)
        await closed.wait()
        writer.close()

    with_server(streaming(plenty), act)


def with_server(app: http.App, act: Callable[[int, server.Server], Awaitable[None]]) -> None:
    """Let `act` loose on the port of a served app, with its server in hand."""

    async def test() -> None:
        listener = socket.create_server(("127.0.0.1", 0))
        async with server.serving(app, listener, 0.1) as running:
            await asyncio.wait_for(act(listener.getsockname()[1], running), 10)

    on_uvloop(test())


async def stalled(running: server.Server) -> Any:
    """The only connection, once its client reads nothing more."""
    while not any(one.held_bytes and one.is_clients_turn for one in running.connections):
        await asyncio.sleep(0.001)
    return next(iter(running.connections))


def test_a_client_that_reads_none_of_its_answers_is_asked_for_no_more_and_is_cut_off_after_a_while() -> None:
    answered = 0

    def large(_: http.Request) -> http.Response:
        nonlocal answered
        answered += 1
        return http.Response(b"x" * 100_000)

    async def act(port: int, running: server.Server) -> None:
        _, writer = await asyncio.open_connection("127.0.0.1", port, limit=1000)
        writer.write(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n" * 7000)
        connection = await stalled(running)
        assert answered < 250  # what the sockets' buffers hold
        now_s = running.loop.time()
        connection.sweep(now_s)
        connection.sweep(now_s + server.SEND_S + 1)
        while running.connections:
            await asyncio.sleep(0.001)
        writer.close()

    with_server(app_of(http.Route("GET", "/large", large)), act)


def test_an_answer_that_is_read_slowly_is_not_cut_off() -> None:
    def large(_: http.Request) -> http.Response:
        return http.Response(b"x" * 20_000_000)

    async def act(port: int, running: server.Server) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1000)
        writer.write(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
        connection, now_s = await stalled(running), running.loop.time()
        for _ in range(3):
            now_s += server.SEND_S - 1
            connection.sweep(now_s)
            held = connection.held_bytes
            while connection.held_bytes == held:
                await reader.read(100_000)
        now_s += server.SEND_S - 1
        connection.sweep(now_s)
        assert running.connections
        writer.close()

    with_server(app_of(http.Route("GET", "/large", large)), act)


@pytest.mark.parametrize("status", [299, 429, 460, 499, 520, 529, 561, 999])
def test_an_answer_may_have_any_status(status: int) -> None:
    async def handler(_: http.Request) -> http.Response:
        return http.Response(b"busy", status)

    answer = said(app_of(http.Route("GET", "/x", handler)), b"GET /x HTTP/1.1\r\nHost: x\r\n\r\n" + LAST)
    assert answer.startswith(b"HTTP/1.1 %d " % status)
    assert answer.endswith(b'{"at":"once"}')


@pytest.mark.parametrize("status", [204, 304])
def test_an_answer_without_a_body_has_no_length(status: int) -> None:
    async def handler(_: http.Request) -> http.Response:
        return http.Response(b"", status)

    answer = said(app_of(http.Route("GET", "/x", handler)), b"GET /x HTTP/1.1\r\nHost: x\r\n\r\n" + LAST)
    assert b"content-length" not in answer.partition(b"\r\n\r\n")[0]
    assert answer.endswith(b'{"at":"once"}')


def test_a_content_type_may_hold_anything() -> None:
    def handler(_: http.Request) -> http.Response:
        return http.Response(b"x", content_type="text/plain; name=苹果\r\nset-cookie: a=b\udc80")

    answer = said(app_of(http.Route("GET", "/x", handler)), b"GET /x HTTP/1.1\r\nHost: x\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 OK")
    assert b"\r\nset-cookie" not in answer


@pytest.mark.parametrize("awaited", [True, False])
def test_an_answer_that_cannot_be_sent_ends_the_connection(awaited: bool, caplog: pytest.LogCaptureFixture) -> None:
    broken: Any = http.Response("this is no bytes")  # type: ignore[arg-type]

    async def later(_: http.Request) -> http.Response:
        return broken  # type: ignore[no-any-return]

    route = http.Route("GET", "/x", later if awaited else lambda _: broken)

    async def act(port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /x HTTP/1.1\r\nHost: x\r\n\r\n")
        assert await reader.read() == b""
        writer.close()

    with_served(app_of(route), act)
    assert any(record.exc_info for record in caplog.records if record.levelno == logging.ERROR)


def test_when_all_connections_are_at_work_a_new_one_is_told_so() -> None:
    async def slow(_: http.Request) -> http.Response:
        await asyncio.sleep(30)
        return http.json_response({})

    async def act(port: int, running: server.Server) -> None:
        running.most = 2
        for _ in range(2):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
        while sum(one.busy for one in running.connections) < 2:
            await asyncio.sleep(0.001)
        assert (await exchange(port, GET)).startswith(b"HTTP/1.1 503 ")

    with_server(app_of(http.Route("GET", "/slow", slow, abandon=True)), act)


def test_a_client_that_waits_long_and_sends_no_more_gets_its_answer() -> None:
    async def slow(_: http.Request) -> http.Response:
        await asyncio.sleep(0.7)
        return http.json_response({})

    answer = said(app_of(http.Route("GET", "/slow", slow, abandon=True)), b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
    assert answer.replace(b"HTTP/1.1 100 Continue\r\n\r\n", b"").startswith(b"HTTP/1.1 200 OK")


async def reached(so: Callable[[], bool]) -> None:
    """Wait until it is so."""
    while not so():
        await asyncio.sleep(0.001)


def test_large_bodies_take_a_bounded_memory_together() -> None:
    size = 200_000
    head = b"POST /slow HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % size
    go_on = asyncio.Event()

    async def slow(request: http.Request) -> http.Response:
        await go_on.wait()
        return http.Response(b"%d" % len(request.body))

    async def act(port: int, running: server.Server) -> None:
        clients = [await asyncio.open_connection("127.0.0.1", port) for _ in range(8)]
        for number, (_, writer) in enumerate(clients):
            writer.write(head + b"a" * (size - number % 2))  # every other one never ends
        await reached(lambda: running.bodies.held_bytes == 8 * size - 4)
        assert (await exchange(port, head + b"a" * size)).startswith(b"HTTP/1.1 503 ")
        assert (await exchange(port, LAST)).startswith(b"HTTP/1.1 200 ")
        go_on.set()
        answers = [await reader_.readuntil(b"200000") for reader_, _ in clients[::2]]
        assert all(answer.startswith(b"HTTP/1.1 200 ") for answer in answers)
        for _, writer in clients:
            writer.close()
        await reached(lambda: not running.bodies.held_bytes and not running.connections)

    route = http.Route("POST", "/slow", slow, body=Named)
    with_server(http.App((route, http.Route("GET", "/at-once", at_once)), http.AppOptions("test", size)), act)


def test_a_body_in_chunks_of_two_bytes_takes_no_more_memory_than_it_has() -> None:
    taken: list[http.Request] = []
    app = http.App((http.Route("POST", "/echo", echo, body=Named),), http.AppOptions("test", body_bytes=1_000_000))
    reading = reader.RequestReader(app, lambda request, _: taken.append(request), reader.BodyMemory(1 << 20))
    head = b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    tracemalloc.start()
    reading.feed(head)
    for _ in range(100):
        reading.feed(b"2\r\nab\r\n" * 500)
    held_bytes, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    reading.feed(b"0\r\n\r\n")
    assert taken[0].body == b"ab" * 50_000
    assert held_bytes < 300_000


OFFERS = [
    b"Connection: Upgrade\r\nUpgrade: h2c\r\n",
    b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n",
    b"Upgrade: websocket\r\nConnection: keep-alive, Upgrade\r\nSec-WebSocket-Version: 13\r\n",
    b"Connection: upgrade\r\nUpgrade: TLS/1.2, HTTP/2.0\r\n",
]


@pytest.mark.parametrize("path", [b"/at-once", b"/stream"])
@pytest.mark.parametrize("offer", OFFERS)
def test_an_offer_of_another_protocol_is_ignored(path: bytes, offer: bytes) -> None:
    answer = said(app_of(), b"GET %b HTTP/1.1\r\nHost: x\r\n%b\r\n" % (path, offer) + LAST)
    assert answer.startswith(b"HTTP/1.1 200 OK")
    assert answer.endswith(b'{"at":"once"}'), "the connection goes on"


@pytest.mark.parametrize("offer", OFFERS)
@pytest.mark.parametrize(
    "framed",
    [
        b"Content-Length: 5\r\n\r\nabcde",
        b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
        b"Content-Length: 5\r\nExpect: 100-continue\r\n\r\nabcde",
    ],
)
def test_the_body_of_a_request_that_offers_another_protocol_is_read(offer: bytes, framed: bytes) -> None:
    sent = b"POST /echo HTTP/1.1\r\nHost: x\r\n" + offer + framed
    for cut in (len(sent), 10, sent.index(b"\r\n\r\n") + 2, len(sent) - 2):
        answer = said(app_of(), sent[:cut], sent[cut:] + LAST, wait_s=0.01)
        assert b"\r\n\r\nabcde" in answer
        assert answer.endswith(b'{"at":"once"}')


def test_an_open_request_may_end_when_the_server_stops_and_is_cut_off_after_the_grace() -> None:
    async def test(grace_s: float) -> bytes:
        reached = asyncio.Event()

        async def slow(_: http.Request) -> http.Response:
            reached.set()
            await asyncio.sleep(0.3)
            return http.json_response({})

        async with served(app_of(http.Route("GET", "/slow", slow)), grace_s) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
            await reached.wait()
        answer = await reader.read()
        writer.close()
        return answer

    assert b"200 OK" in on_uvloop(test(5.0))
    assert on_uvloop(test(0.05)) == b""


def test_a_request_that_never_ends_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    connection: list[Any] = []

    async def test() -> bytes:
        app = app_of()
        running = server.Server(app)
        listening = await running.loop.create_server(
            lambda: connection.append(server._Connection(running)) or connection[-1], "127.0.0.1", 0
        )
        port = listening.sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\n{")
        await asyncio.sleep(0.05)
        connection[0].sweep(running.loop.time() + server.RECEIVE_S - 1)
        connection[0].sweep(running.loop.time() + server.RECEIVE_S + 1)
        answer = await reader.read()
        writer.close()
        listening.close()
        return answer

    assert on_uvloop(test()).startswith(b"HTTP/1.1 408 ")


def test_a_port_in_use_is_told_in_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UnavailableError) as error:
            server.run(app_of(), ServiceSettings(port=port))
    assert error.value.message == f"cannot listen on 127.0.0.1:{port}: Address already in use"


_SERVER = """
import contextlib, sys
from lightragctl.core.errors import UnavailableError
from lightragctl.core.settings import ServiceSettings
from lightragctl.service import http, server

@contextlib.asynccontextmanager
async def lifespan():
    if "fail" in sys.argv:
        raise UnavailableError("no model")
    print("up", flush=True)
    yield
    print("down", flush=True)

try:
    settings = ServiceSettings(port=int(sys.argv[1]), drain_s=float(sys.argv[2]))
    server.run(http.App((), http.AppOptions("test", 64, lifespan=lifespan)), settings)
except UnavailableError as error:
    print(error.message)
"""


def command(port: int, drain_s: float = 0.0) -> list[str]:
    return [sys.executable, "-c", _SERVER, str(port), str(drain_s)]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_server_with_exit_status_0(number: signal.Signals) -> None:
    with subprocess.Popen(command(free_port()), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        os.kill(process.pid, number)
        rest, _ = process.communicate(timeout=20)
    assert (process.returncode, rest) == (0, "down\n")


def test_a_failed_start_raises_its_cause() -> None:
    done = subprocess.run([*command(free_port()), "fail"], capture_output=True, text=True, timeout=20)
    assert (done.returncode, done.stdout) == (0, "no model\n")


def test_after_sigterm_it_is_unready_and_still_answers_for_a_while() -> None:
    port = free_port()
    with subprocess.Popen(command(port, drain_s=1.5), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        with httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
            assert client.get("/readyz").status_code == 200
            begin = time.monotonic()
            os.kill(process.pid, signal.SIGTERM)
            wait = time.monotonic() + 1
            while client.get("/readyz").status_code == 200:
                assert time.monotonic() < wait
            answer = client.get("/readyz")
            assert (answer.status_code, answer.json()["detail"]) == (503, "draining")
            alive = client.get("/healthz")
            assert (alive.status_code, alive.headers["connection"]) == (200, "close")
            assert "lightragctl_draining 1.0" in client.get("/metrics").text
        process.communicate(timeout=20)
    assert process.returncode == 0
    assert time.monotonic() - begin >= 1.5
