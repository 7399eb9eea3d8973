"""A forwarded port whose one side breaks off: the other side is told, and no thread dies with a traceback."""

import socket
import threading
from collections.abc import Iterator

import pytest
import websocket

from lightragctl.kube.streams import Forward, relay

PORT = 8080
DATA, ERRORS = 0, 1
DEADLINE_S = 10.0

pytestmark = pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")


def frame(channel: int, data: bytes) -> bytes:
    """A message as the API server sends it."""
    return websocket.ABNF(1, 0, 0, 0, websocket.ABNF.OPCODE_BINARY, 0, bytes((channel,)) + data).format()


class Server:
    """The far end of a stream that a port is forwarded through."""

    def __init__(self) -> None:
        near, self.far = socket.socketpair()
        self.far.settimeout(DEADLINE_S)
        stream = websocket.WebSocket()
        stream.sock, stream.connected = near, True
        number = PORT.to_bytes(2, "little")
        self.far.sendall(frame(DATA, number) + frame(ERRORS, number))  # so both channels of a port begin
        self.local = Forward(stream, [PORT]).socket(PORT)
        self.local.settimeout(DEADLINE_S)

    def has_ended(self) -> bool:
        """Whether the stream is closed; waits for it."""
        try:
            while self.far.recv(65536):
                pass
        except ConnectionResetError:
            pass
        return True


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.far.close()
    server.local.close()


def test_what_is_said_goes_both_ways(server: Server) -> None:
    server.far.sendall(frame(DATA, b"answer"))
    assert server.local.recv(100) == b"answer"
    server.local.sendall(b"question")
    assert server.far.recv(100)


def test_who_goes_away_before_the_answer_is_read_ends_the_stream(server: Server) -> None:
    server.far.sendall(frame(DATA, b"answer"))
    assert server.local.recv(1, socket.MSG_PEEK), "it lies there unread"
    server.local.close()
    assert server.has_ended()


def test_a_stream_that_is_cut_ends_the_connection_of_who_waits(server: Server) -> None:
    server.local.sendall(b"question")  # unread: so closing resets the connection
    assert server.far.recv(1, socket.MSG_PEEK)
    server.far.close()
    assert server.local.recv(100) == b""


@pytest.fixture
def joined() -> Iterator[tuple[socket.socket, socket.socket]]:
    """A client and a pod with the tunnel between them."""
    client, local = socket.socketpair()
    remote, pod = socket.socketpair()
    with client, local, remote, pod:
        client.settimeout(DEADLINE_S)
        pod.settimeout(DEADLINE_S)

        def copy() -> None:
            relay(local, remote)
            local.close()

        thread = threading.Thread(target=copy, daemon=True)
        thread.start()
        yield client, pod
        pod.close()
        thread.join(DEADLINE_S)
        assert not thread.is_alive()


def test_a_client_that_has_sent_its_last_gets_the_whole_answer(joined: tuple[socket.socket, socket.socket]) -> None:
    client, pod = joined
    client.sendall(b"question")
    client.shutdown(socket.SHUT_WR)
    assert pod.recv(100) == b"question"
    for piece in (b"one ", b"two"):
        pod.sendall(piece)
        assert client.recv(100) == piece
    pod.close()
    assert client.recv(100) == b""


def test_the_end_of_the_pods_side_ends_the_connection(joined: tuple[socket.socket, socket.socket]) -> None:
    client, pod = joined
    pod.sendall(b"bye")
    pod.close()
    assert client.recv(100) == b"bye"
    assert client.recv(100) == b""
