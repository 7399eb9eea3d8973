"""Clients that leave, that read nothing, that send too much: their fate, and what a service holds for them."""

import asyncio
import logging
import socket
import tracemalloc
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

import pytest

from lightragctl.service import http, request_reader, server
from tests.fakes.http import exchange, on_uvloop
from tests.fakes.served import GET, LAST, Named, app_of, at_once, echo, said, with_served


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
    reading = request_reader.RequestReader(
        app, lambda request, _: taken.append(request), request_reader.BodyMemory(1 << 20)
    )
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
