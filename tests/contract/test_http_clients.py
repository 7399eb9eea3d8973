"""What hostile, broken and unusual HTTP clients get from each of our services, and what they can make it hold."""

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from lightragctl.service import request_reader, server
from tests.fakes.running import ASKS, KEY, Running, read_all, reset, running

AHEAD_BYTES = 263 * 1024
"""Of requests that are sent without reading an answer."""

HELD_BYTES = 600_000
"""What one connection may hold: one read of the event loop (256 kB), 64 KiB of answers and the answer beyond these."""


EVERY = pytest.mark.parametrize("service", sorted(ASKS), indirect=True)
TAKING_BODIES = pytest.mark.parametrize("service", [name for name in sorted(ASKS) if ASKS[name].path], indirect=True)
STREAMING = pytest.mark.parametrize("service", [name for name in sorted(ASKS) if ASKS[name].streams], indirect=True)


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Running]]:
    with ExitStack() as started:
        yield {name: started.enter_context(running(name, tmp_path_factory.mktemp(name))) for name in ASKS}


@pytest.fixture
def service(request: pytest.FixtureRequest, fleet: dict[str, Running]) -> Iterator[Running]:
    """After each test the service answers, and holds no connection."""
    service = fleet[request.param]
    yield service
    service.wait_until_left()
    assert service.is_answering()


def ahead(service: Running, kind: str) -> bytes:
    requests = {
        "openapi": service.request("/openapi.json"),
        "metrics": service.request("/metrics"),
        "not found": service.request("/nothing"),
        "no key": b"GET /documents HTTP/1.1\r\nHost: x\r\n\r\n",
        "body": service.request(service.asks.path or "/healthz", service.asks.body or {}),
        "head": service.request("/openapi.json").replace(b"GET", b"HEAD"),
    }
    return requests[kind]


def flood(client: socket.socket, data: bytes) -> None:
    """Send all, unless the service takes no more."""
    client.settimeout(0.05)
    with ExitStack() as ends:
        ends.callback(client.settimeout, 20.0)
        try:
            client.sendall(data)
        except (TimeoutError, OSError):
            return


@EVERY
@pytest.mark.parametrize("kind", ["openapi", "metrics", "not found", "no key", "body", "head"])
def test_requests_sent_ahead_by_clients_that_read_nothing_are_bounded(service: Running, kind: str) -> None:
    request = ahead(service, kind)
    count = (AHEAD_BYTES if kind != "body" else AHEAD_BYTES // 4) // len(request)  # these cost a model's time
    clients = [service.connect(receive_bytes=4096) for _ in range(2)]
    senders = [threading.Thread(target=flood, args=(client, request * count)) for client in clients]
    for sender in senders:
        sender.start()
    assert all(service.is_answering() for _ in range(5)), "while the requests come in"
    for sender in senders:
        sender.join()
    assert service.is_answering()
    service.wait_for(lambda: all(connection.is_clients_turn for connection in service.server.connections))
    held = service.on_loop(lambda: [connection.held_bytes for connection in service.server.connections])
    assert max(held, default=0) <= HELD_BYTES
    service.sweep(server.SEND_S + 1)
    service.sweep(server.KEEP_ALIVE_S + 1)
    service.wait_until_left()
    for client in clients:
        client.close()


@EVERY
def test_an_old_connection_ends_with_a_response_that_says_so(service: Running) -> None:
    def age() -> None:
        for connection in service.server.connections:
            connection.ends_s = 0.0

    with service.connect() as client:
        client.sendall(service.request("/healthz"))
        assert b"connection: close" not in client.recv(1 << 16)
        service.on_loop(age)
        client.sendall(service.request("/healthz") * 3)
        said = read_all(client)
    assert said.count(b"HTTP/1.1 200 OK") == 3
    assert said.count(b"connection: close") == 1


@EVERY
def test_requests_sent_ahead_by_a_client_that_reads_are_all_answered(service: Running) -> None:
    said = service.said(ahead(service, "not found") * 1000)
    assert said.count(b"HTTP/1.1 404 ") == 1000


@TAKING_BODIES
def test_requests_with_bodies_sent_ahead_are_all_answered(service: Running) -> None:
    said = service.said(ahead(service, "body") * 40)
    assert said.count(b"HTTP/1.1 200 OK") == 40


@EVERY
@pytest.mark.parametrize(
    "begin",
    [
        b"GET /",
        b"GET /healthz?",
        b"GET / HTTP/1.1\r\nX-Long: ",
        b"GET / HTTP/1.1\r\nX-",
        b"GET http://",
    ],
)
def test_a_head_without_end_is_refused(service: Running, begin: bytes) -> None:
    with service.connect() as client:
        flood(client, begin + b"a" * (request_reader.HEAD_BYTES * 4))
        assert client.recv(4096).startswith(b"HTTP/1.1 431 ")
    service.sweep(0.0)


@EVERY
def test_many_headers_are_refused(service: Running) -> None:
    headers = b"".join(b"X-%d: %d\r\n" % (number, number) for number in range(10_000))
    with service.connect() as client:
        flood(client, b"GET /healthz HTTP/1.1\r\n" + headers + b"\r\n")
        assert client.recv(4096).startswith(b"HTTP/1.1 431 ")


CHUNKED = b"Transfer-Encoding: chunked\r\nContent-Type: application/json\r\n"


def chunked(service: Running, *parts: bytes, version: bytes = b"1.1") -> bytes:
    path = service.asks.path or "/healthz"
    head = b"POST %b HTTP/%b\r\nHost: x\r\nX-API-Key: %b\r\n" % (path.encode(), version, KEY.encode())
    return head + CHUNKED + b"\r\n" + b"".join(parts)


@EVERY
@pytest.mark.parametrize("begin", [b"2;x=", b"2\r\n{}\r\n0\r\nX-Trailer: ", b"2\r\n{}\r\n0\r\nX-"])
def test_what_frames_a_body_is_bounded(service: Running, begin: bytes) -> None:
    with service.connect() as client:
        flood(client, chunked(service, begin) + b"a" * (request_reader.HEAD_BYTES * 4))
        assert client.recv(4096).startswith(b"HTTP/1.1 400 " if service.asks.path else b"HTTP/1.1 405 ")


@TAKING_BODIES
def test_a_trailer_changes_no_header(service: Running) -> None:
    plain = service.request(service.asks.path, service.asks.body)
    body = plain.partition(b"\r\n\r\n")[2]
    whole = b"%x\r\n%b\r\n0\r\n" % (len(body), body)
    trailer = b"X-Request-Timeout: x\r\nContent-Type: text/plain\r\nContent-Encoding: gzip\r\nX-API-Key: x\r\n\r\n"
    assert service.said(chunked(service, whole, trailer)).startswith(b"HTTP/1.1 200 OK")


@EVERY
def test_codings_that_cannot_be_read_are_refused(service: Running) -> None:
    assert service.said(chunked(service, b"0\r\n\r\n", version=b"1.0")).startswith(b"HTTP/1.1 400 ")
    gzip = chunked(service, b"0\r\n\r\n").replace(b": chunked", b": gzip, chunked")
    assert service.said(gzip).startswith(b"HTTP/1.1 501 ")


OFFERS = [
    (b"Connection: Upgrade", b"Upgrade: h2c"),
    (b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA"),
    (b"Upgrade: websocket", b"Connection: keep-alive, Upgrade", b"Sec-WebSocket-Key: eA=="),
]


@EVERY
@pytest.mark.parametrize("offer", OFFERS)
def test_offers_of_another_protocol_are_ignored(service: Running, offer: tuple[bytes, ...]) -> None:
    request = service.request(service.asks.path or "/healthz", service.asks.body, *offer)
    said = service.said(request * 2)
    assert said.startswith(b"HTTP/1.1 200 OK")
    assert said.count(b"HTTP/1.1 200 OK") == 2, "the connection goes on"


@TAKING_BODIES
@pytest.mark.parametrize("offer", OFFERS)
def test_a_client_that_offers_another_protocol_may_wait_to_be_asked_for_its_body(
    service: Running, offer: tuple[bytes, ...]
) -> None:
    request = service.request(service.asks.path, service.asks.body, b"Expect: 100-continue", *offer)
    head, _, body = request.partition(b"\r\n\r\n")
    with service.connect() as client:
        client.sendall(head + b"\r\n\r\n")
        assert client.recv(4096) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(body)
        assert client.recv(4096).startswith(b"HTTP/1.1 200 OK")


@EVERY
@pytest.mark.parametrize(
    "sent", [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0", b"\x16\x03\x01\x02\x00\x01\x00", b"\0" * 100]
)
def test_other_protocols_are_refused(service: Running, sent: bytes) -> None:
    assert service.said(sent).startswith(b"HTTP/1.1 400 ")


@EVERY
def test_a_client_that_sends_no_more_still_gets_its_answer(service: Running) -> None:
    said = service.said(service.request(service.asks.path or "/healthz", service.asks.body))
    assert said.startswith(b"HTTP/1.1 200 OK")
    if service.asks.streams:
        said = service.said(service.request(*service.asks.streams))
        assert said.startswith(b"HTTP/1.1 200 OK")
        assert said.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")


@EVERY
def test_clients_that_reset_leave_nothing_behind(service: Running) -> None:
    request = service.request(service.asks.path or "/healthz", service.asks.body)
    sent = [request[:10], request[:-1], request, request * 50]
    if service.asks.streams:
        sent += [service.request(*service.asks.streams)] * 2
    for data in sent:
        client = service.connect()
        client.sendall(data)
        reset(client)
    service.wait_until_left()


@EVERY
@pytest.mark.parametrize("cut", [5, 40, -1])
def test_a_request_that_does_not_arrive_is_answered_so(service: Running, cut: int) -> None:
    request = service.request(service.asks.path or "/healthz", service.asks.body)
    with service.connect() as client:
        client.sendall(request[:cut])
        service.wait_for(lambda: any(one.receiving for one in service.server.connections))
        service.sweep(server.RECEIVE_S + 1)
        assert client.recv(4096).startswith(b"HTTP/1.1 408 ")


@EVERY
def test_idle_connections_make_room(service: Running) -> None:
    most = service.server.most
    service.server.most = 32
    try:
        with ExitStack() as opened:
            clients = [opened.enter_context(service.connect()) for _ in range(100)]
            assert service.is_answering()
            assert service.on_loop(lambda: len(service.server.connections)) <= 32
            assert clients[0].recv(1) == b"", "who was idle longest had to go"
    finally:
        service.server.most = most


@STREAMING
def test_requests_sent_during_a_stream_are_answered_after_it(service: Running) -> None:
    request = service.request(*service.asks.streams) + service.request("/healthz") * 200
    said = service.said(request)
    stream, _, rest = said.partition(b"data: [DONE]\n\n\r\n0\r\n\r\n")
    assert stream.count(b"HTTP/1.1 ") == 1
    assert rest.count(b"HTTP/1.1 200 OK") == 200


@EVERY
def test_an_answer_is_read_to_its_end_by_a_client_that_reads_slowly(service: Running) -> None:
    with service.connect(receive_bytes=4096) as client:
        request = service.request("/openapi.json")
        count = 1000
        sender = threading.Thread(target=client.sendall, args=(request * count,))
        sender.start()
        answers, rest = 0, b""
        while answers < count:
            data = rest + client.recv(1 << 16)
            assert len(data) > len(rest)
            answers += data.count(b"HTTP/1.1 200 OK")
            rest = data[-14:] if not data.endswith(b"HTTP/1.1 200 OK") else b""
        sender.join()
    assert answers == count


@EVERY
def test_the_bytes_of_a_request_may_come_one_by_one(service: Running) -> None:
    with service.connect() as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in service.request(service.asks.path or "/healthz", service.asks.body):
            client.send(bytes([byte]))
        client.shutdown(socket.SHUT_WR)
        assert read_all(client).startswith(b"HTTP/1.1 200 OK")
