"""Streams to pods: port forwarding, and commands in a container.

The official client provides sockets and channels over a websocket; this module connects them to local ones.
"""

import contextlib
import os
import queue
import re
import select
import shutil
import socket
import sys
import termios
import threading
import time
import tty
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, cast
from urllib.parse import quote, urlencode

from kubernetes.client.exceptions import ApiException
from kubernetes.stream import ws_client
from websocket import WebSocketException

from lightragctl.core.errors import LightragctlError
from lightragctl.core.hint import Command, Hint
from lightragctl.kube.client import ClusterClient
from lightragctl.kube.model import ClusterUnavailableError

_CHUNK = 65536
_EXEC_POLL_S = 0.2

PickPod = Callable[[], tuple[str, str, int]]
"""Picks a ready pod: (namespace, pod, port). Called for each connection, as pods come and go."""


STREAMS = 64
"""Concurrent connections of a tunnel; more have to wait. The Kubernetes client uses select(), which is limited to
descriptors below 1024: with 300 connections it failed."""


class Tunnel:
    """A loopback port whose connections are forwarded to a pod, picked for each. Its threads are daemons.

    Args:
        client: the cluster.
        pick: picks the pod.
        port: the local port; 0: a free one.
        failed: called with the reason if a connection fails.

    Raises:
        LightragctlError: the local port is in use.
    """

    def __init__(self, client: ClusterClient, pick: PickPod, port: int, failed: Callable[[str], None]) -> None:
        self._client = client
        self._pick = pick
        self._failed = failed
        try:
            self._listener = socket.create_server(("127.0.0.1", port))
        except OSError as error:
            hint = "use another local port, or omit it for a free one"
            raise LightragctlError(f"cannot listen on 127.0.0.1:{port}: {error.strerror}", hint) from error
        self.port = int(self._listener.getsockname()[1])
        self._room = threading.Semaphore(STREAMS)
        self._thread = threading.Thread(target=self._accept, name=f"tunnel {self.port}", daemon=True)
        self._thread.start()

    def wait(self) -> None:
        """Block until the tunnel is closed or the process is interrupted."""
        while self._thread.is_alive():
            self._thread.join(0.5)

    def close(self) -> None:
        """Accept no more connections; open ones continue."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # close() alone does not wake a thread that accepts
        self._listener.close()

    def _accept(self) -> None:
        while True:
            self._room.acquire()
            try:
                local, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(local,), daemon=True).start()

    def _serve(self, local: socket.socket) -> None:
        try:
            with local:
                relay(local, open_port(self._client, *self._pick()))
        except LightragctlError as error:
            self._failed(error.message)
        finally:
            self._room.release()


_ANSWER_S = 120.0
"""Time until the first byte of a response after the client has closed its sending side."""
_QUIET_S = 2.0
"""Idle time of the response then: a client that has closed entirely looks the same, and occupies one of `STREAMS`."""


def relay(local: socket.socket, remote: Any) -> None:
    """Copy in both directions until the pod closes. A client that has closed its sending side still gets the response.

    The pod does not see that half-close: the protocol cannot express it.
    """
    ends = {local: remote, remote: local}
    wait_s: float | None = None
    last = remote
    try:
        while readable := select.select(list(ends), [], [], wait_s)[0]:
            for side in readable:
                if data := side.recv(_CHUNK):
                    ends[side].sendall(data)
                    last = side
                elif side is remote:
                    return
                else:
                    del ends[local]
            if local not in ends:
                wait_s = _QUIET_S if last is remote else _ANSWER_S
    except OSError:
        return
    finally:
        remote.close()


def open_port(client: ClusterClient, namespace: str, pod: str, port: int) -> Any:
    """A socket to a port of a pod.

    Raises:
        ClusterUnavailableError: the stream could not be opened.
    """
    url, headers = _stream_url(client, namespace, pod, "portforward", [("ports", str(port))])
    configuration = client.connection.configuration
    try:
        stream = within_deadline(
            lambda: ws_client.create_websocket(configuration, ws_client.get_websocket_url(url), headers)
        )
    except (OSError, WebSocketException) as error:
        message = f"cannot connect to port {port} of Pod/{pod}{client.through}: {handshake_cause(error)}"
        raise ClusterUnavailableError(message, Hint("see the pod: ", Command("status"))) from error
    return Forward(stream, [port]).socket(port)


_OPEN_S = 20.0
"""Timeout of opening a stream: for a dead node the API server tries for more than a minute."""
_HANDSHAKE = re.compile(r"Handshake status (\d{3}) ([\w ]*\w)")
Opened = TypeVar("Opened")


def within_deadline(open_stream: Callable[[], Opened], seconds: float = _OPEN_S) -> Opened:
    """The result of `open_stream`, with a timeout, which the client's own call lacks.

    Raises:
        TimeoutError: no result in time.
    """
    done: queue.Queue[tuple[Opened | None, Exception | None]] = queue.Queue()

    def work() -> None:
        try:
            done.put((open_stream(), None))
        except (OSError, WebSocketException, ApiException) as error:
            done.put((None, error))

    threading.Thread(target=work, daemon=True).start()
    try:
        opened, error = done.get(timeout=seconds)
    except queue.Empty:
        raise TimeoutError(f"no response within {seconds:g} s; its node may be down: kubectl get nodes") from None
    if error is not None:
        raise error
    return cast(Opened, opened)


def handshake_cause(error: Exception) -> str:
    """Why a stream could not be opened, without the headers and body in the client's message."""
    text = str(getattr(error, "reason", None) or error)
    found = _HANDSHAKE.search(text)
    return f"the API server returns {found[1]} {found[2]}" if found else text.splitlines()[0] if text else "no response"


class Forward(ws_client.PortForward):  # type: ignore[misc]  # the client has no types
    """The client's port forward, which closes both sides when one fails.

    The client's own thread would end with a traceback and leave the other side open forever.
    """

    def _proxy(self) -> None:
        try:
            super()._proxy()
        except (OSError, WebSocketException):
            pass  # one side is gone
        finally:
            self.websocket.shutdown()
            for port in self.local_ports.values():
                port.python.close()


def run_in_pod(client: ClusterClient, namespace: str, pod: str, command: Sequence[str]) -> int:
    """Run a command in the pod's first container with this process's standard streams; returns its exit status.

    On a terminal it gets a TTY, so that shells and editors work.

    Raises:
        ClusterUnavailableError: the stream could not be opened, or was interrupted.
    """
    terminal = sys.stdin.isatty() and sys.stdout.isatty()
    stream = _open_exec(
        client, namespace, pod, command, {"stderr": str(not terminal).lower(), "tty": str(terminal).lower()}
    )
    with _raw_terminal() if terminal else contextlib.nullcontext():
        if terminal:
            size = shutil.get_terminal_size()
            stream.write_channel(ws_client.RESIZE_CHANNEL, b'{"Width":%d,"Height":%d}' % size)
        _converse(stream)
    return _ending(stream, pod)


def _open_exec(
    client: ClusterClient, namespace: str, pod: str, command: Sequence[str], options: Mapping[str, str]
) -> Any:
    query = [("command", word) for word in command]
    query += list({"stdin": "true", "stdout": "true", **options}.items())
    url, headers = _stream_url(client, namespace, pod, "exec", query)
    try:
        return within_deadline(
            lambda: ws_client.websocket_call(
                client.connection.configuration, "GET", url, headers=headers, _preload_content=False, binary=True
            )
        )
    except (ApiException, TimeoutError) as error:
        message = f"cannot run a command in Pod/{pod}{client.through}: {handshake_cause(error)}"
        raise ClusterUnavailableError(message, Hint("see the pod: ", Command("status"))) from error


@dataclass(frozen=True)
class Output:
    """How a command in a container ended, and what it wrote."""

    status: int
    stdout: bytes
    stderr: bytes


def capture_in_pod(
    client: ClusterClient, place: tuple[str, str, str], command: Sequence[str], within_s: float, feed: bytes = b""
) -> Output:
    """Run a command in a container and collect its output.

    Args:
        client: the cluster.
        place: namespace, pod and container.
        command: with its arguments.
        within_s: deadline of the command.
        feed: its standard input, which does not end: the command must know its length.

    Raises:
        ClusterUnavailableError: the stream could not be opened, was interrupted, or the deadline has passed.
    """
    namespace, pod, container = place
    stream = _open_exec(client, namespace, pod, command, {"container": container, "stderr": "true", "tty": "false"})
    written: dict[int, list[bytes]] = {1: [], 2: []}
    until_s = time.monotonic() + within_s
    try:
        for start in range(0, len(feed), _CHUNK):
            stream.write_stdin(feed[start : start + _CHUNK])
        while stream.is_open() and time.monotonic() < until_s:
            stream.update(timeout=_EXEC_POLL_S)
            for channel, parts in written.items():
                if data := stream.read_channel(channel):
                    parts.append(data)
        if stream.is_open():
            message = f"the command in Pod/{pod} has not ended within {within_s:g} s"
            raise ClusterUnavailableError(message, Hint("see the pod: ", Command("status")))
        status = _ending(stream, pod)
    finally:
        stream.close()
    return Output(status, b"".join(written[1]), b"".join(written[2]))


def read_from_pod(client: ClusterClient, namespace: str, pod: str, command: Sequence[str], within_s: float) -> str:
    """What a command in the pod's first container writes to standard output.

    Raises:
        ClusterUnavailableError: the stream could not be opened, or the command failed or did not end in time.
    """
    options = [("command", word) for word in command] + [("stdout", "true"), ("stderr", "false")]
    url, headers = _stream_url(client, namespace, pod, "exec", options)
    until_s = time.monotonic() + within_s
    try:
        stream = within_deadline(
            lambda: ws_client.websocket_call(
                client.connection.configuration, "GET", url, headers=headers, _preload_content=False, binary=True
            ),
            within_s,
        )
    except (ApiException, TimeoutError) as error:
        message = f"cannot run a command in Pod/{pod}{client.through}: {handshake_cause(error)}"
        raise ClusterUnavailableError(message, Hint("see the pod: ", Command("status"))) from error
    with contextlib.closing(stream):
        read = bytearray()
        while stream.is_open() and time.monotonic() < until_s:
            stream.update(timeout=_EXEC_POLL_S)
            read += stream.read_channel(1)
        read += stream.read_channel(1)
        if stream.is_open() or _ending(stream, pod):
            raise ClusterUnavailableError(f"a command in Pod/{pod} failed, or did not end within {within_s:g} s")
    return read.decode("utf-8", "replace")


def _converse(stream: Any) -> None:
    """Copy standard input to the command, and its output to standard output and error, until it ends."""
    typed: int | None = sys.stdin.fileno()
    while stream.is_open():
        watched = [stream.sock.sock, *([typed] if typed is not None else [])]
        readable, _, _ = select.select(watched, [], [], _EXEC_POLL_S)
        if typed in readable and typed is not None:
            data = os.read(typed, _CHUNK)
            if data:
                stream.write_stdin(data)
            else:
                stream.close_channel(ws_client.STDIN_CHANNEL)  # end of input, if the server supports it
                typed = None
        stream.update(timeout=0)
        for channel, sink in ((1, sys.stdout.buffer), (2, sys.stderr.buffer)):
            if data := stream.read_channel(channel):
                sink.write(data)
                sink.flush()


def _ending(stream: Any, pod: str) -> int:
    try:
        status = stream.returncode
    except (TypeError, KeyError, IndexError, ValueError) as error:
        message = f"the stream to Pod/{pod} was interrupted before the command ended"
        raise ClusterUnavailableError(message, Hint("see the pod: ", Command("status"))) from error
    return int(status or 0)


@contextlib.contextmanager
def _raw_terminal() -> Iterator[None]:
    """Raw mode: every key goes to the command, including Ctrl-C."""
    before = termios.tcgetattr(sys.stdin)
    tty.setraw(sys.stdin)
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


def _stream_url(
    client: ClusterClient, namespace: str, pod: str, verb: str, query: Sequence[tuple[str, str]]
) -> tuple[str, dict[str, str]]:
    configuration = client.connection.configuration
    headers: dict[str, str] = {}
    path = f"/api/v1/namespaces/{quote(namespace)}/pods/{quote(pod)}/{verb}"
    client.connection.update_params_for_auth(headers, [], ["BearerToken"], path, "GET", None)
    lowered = {name.lower(): value for name, value in headers.items()}
    return f"{configuration.host}{path}?{urlencode(query, errors='surrogateescape')}", lowered
