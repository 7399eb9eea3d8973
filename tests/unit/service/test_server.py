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
from collections.abc import AsyncGenerator
from typing import Any

import httpx
import pytest

from lightragctl.core.errors import UnavailableError
from lightragctl.core.settings import ServiceSettings
from lightragctl.service import http, request_reader, server
from tests.fakes.http import on_uvloop, served
from tests.fakes.served import GET, LAST, app_of, said, with_served
from tests.milvus.fixtures import free_port


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
        (b"GET /at-once HTTP/1.1\r\nHost: x\r\nX-Long: " + b"a" * request_reader.HEAD_BYTES + b"\r\n\r\n", 431),
        (b"GET /" + b"a" * request_reader.HEAD_BYTES + b" HTTP/1.1\r\nHost: x\r\n\r\n", 431),
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
