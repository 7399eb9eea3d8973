"""HTTP/1.1 for our services, on sockets: httptools parses, `service.http.App` answers.

Written for the read path: ASGI between parser and handler took as much CPU as the handler itself (docs/performance.md).
A synchronous handler runs without a task, and a response is one write.

The resources that a client can occupy are bounded: pipelined requests, unread responses, the time to receive a request
and to read a response, and the number of connections.
"""

import asyncio
import contextlib
import email.utils
import gc
import heapq
import logging
import random
import resource
import signal
import socket
import time
from collections import deque
from collections.abc import AsyncGenerator, Awaitable
from http import HTTPStatus
from typing import cast

import uvloop

from lightragctl.core.errors import UnavailableError
from lightragctl.core.settings import OPEN_REQUESTS_S, ServiceSettings
from lightragctl.service.http import CLIENT_GONE, App, Request
from lightragctl.service.request_reader import BODIES, BodyMemory, RequestReader
from lightragctl.service.responses import Headers, Problem, Response, Streaming
from lightragctl.service.stack_dump import dump_stacks_on_signal

log = logging.getLogger(__name__)

KEEP_ALIVE_S = 75.0
"""Idle timeout; longer than that of aiohttp's client (15 s), so that the client closes first, without a race."""

AGE_S = 30.0
"""Age, 25 % more or less at random, at which a connection ends with its next response.

A Service of Kubernetes balances connections: without an end, a pod that starts later never gets its share of persistent
ones. The response says that the connection ends, so that a client loses no request."""

RECEIVE_S = 60.0
"""Timeout for receiving a request."""

SEND_S = 30.0
"""Timeout of a client that reads nothing of a pending response."""

HALF_CLOSED_S = 15.0
"""Timeout of a silent stream to a half-closed connection, whose client may be gone."""

CONNECTIONS = 2048
"""Limit of connections. Beyond it, the longest idle ones are closed; if all are busy, a new one gets 503."""

_PROBE_S = 0.3
"""Interval of probes whether the client of a half-closed connection still waits."""

_SLICE_BYTES = 4096
"""Bytes parsed at a time, so that few pipelined requests are held in memory."""

_LINGER_S = 1.0
"""Time for a rejected client to read the response while it still sends; a reset would discard the response."""

_SWEEP_S = 1.0
_BACKLOG = 2048

_GC_OBJECTS = 20_000
"""Threshold of the cyclic garbage collector. Python's 700 is reached by two requests: a ninth of the CPU time."""

_STATUS = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus}
_BODILESS = frozenset((HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED))
"""Status codes without body and content-length."""

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class _Connection(asyncio.Protocol):
    """One client connection; requests are answered in order.

    `half_closed`: the client has closed its sending side, and may still read. `ends_s`: time of the loop after which
    the next response is the last one.
    """

    def __init__(self, server: "Server") -> None:
        self._server = server
        self._app = server.app
        self._loop = server.loop
        self._reader = RequestReader(server.app, self._take, server.bodies)
        self._transport: asyncio.Transport | None = None
        self._unread: bytes | memoryview = b""
        self._waiting: deque[tuple[Request, Response | None]] = deque()
        self._task: asyncio.Task[None] | None = None
        self._turn: asyncio.Handle | None = None
        self._probing: asyncio.TimerHandle | None = None
        self._ends_with_client = self._last = self.half_closed = self._sending = self._interim = self._paused = False
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._heard_s = self._began_s = self._wrote_s = self._moved_s = self._loop.time()
        self._unsent_bytes = 0
        self.ends_s = self._loop.time() + AGE_S * random.uniform(0.75, 1.25)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's class is not a subclass
        has_room = self._server.make_room()
        self._server.connections.add(self)
        if not has_room:
            detail = "the connection limit of this service is reached"
            after = (("retry-after", "1"),)
            self._reader.refuse(Problem(503, "Service Unavailable", detail, code="too-many-connections", headers=after))
            self._advance()

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`. Cancels handlers that are useless without the client."""
        self._transport = None
        self._server.connections.discard(self)
        self._drop_rest()
        self._reader.close()
        self._flowing.set()
        if self._task is not None and self._ends_with_client:
            self._loop.call_soon(self._task.cancel)  # after its start, or the handler would never be awaited

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        self._heard_s = self._loop.time()
        self._unread = bytes(self._unread) + data if self._unread else data
        if self._turn is None:
            self._advance()

    def eof_received(self) -> bool:
        """See `asyncio.Protocol`. A half-closed client may still wait for its responses."""
        self.half_closed = True
        self._wrote_s = self._loop.time()
        self._probe_later()
        return self.busy

    def pause_writing(self) -> None:
        """See `asyncio.Protocol`. Backpressure: a client that does not read its responses is not read from."""
        self._flowing.clear()
        self._pause_reading()

    def resume_writing(self) -> None:
        """See `asyncio.Protocol`."""
        self._flowing.set()
        if self._turn is None:
            self._advance()

    @property
    def task(self) -> asyncio.Task[None] | None:
        """The task of the current request."""
        return self._task

    @property
    def receiving(self) -> bool:
        """A request is partly received."""
        return self._reader.receiving

    @property
    def is_clients_turn(self) -> bool:
        """Whether the connection waits for the client to read or send."""
        return not self._flowing.is_set() or not self.busy

    @property
    def held_bytes(self) -> int:
        """Bytes of unparsed requests and unsent responses."""
        unsent_bytes = self._transport.get_write_buffer_size() if self._transport is not None else 0
        return len(self._unread) + unsent_bytes

    @property
    def busy(self) -> bool:
        """Whether a complete request is in progress or queued, or may be in the unparsed bytes."""
        return self._task is not None or bool(self._waiting or self._unread)

    @property
    def heard_s(self) -> float:
        """When the client last sent something, or its last response ended."""
        return self._heard_s

    @property
    def _is_old(self) -> bool:
        """Whether it ends with this response; not while requests that were sent ahead wait for theirs."""
        return self._loop.time() > self.ends_s and not (self._waiting or self._unread)

    def sweep(self, now_s: float) -> None:
        """Enforce the timeouts of the connection; a request that does not arrive in time gets 408."""
        if self._transport is None:
            return
        unsent_bytes = self._transport.get_write_buffer_size()
        if unsent_bytes != self._unsent_bytes:
            self._unsent_bytes, self._moved_s = unsent_bytes, now_s
        if unsent_bytes and now_s - self._moved_s > SEND_S:
            self.abort()
        elif self.busy:
            self._end_if_gone(now_s)
        elif self._reader.receiving and now_s - self._began_s > RECEIVE_S:
            problem = f"the request did not arrive within {RECEIVE_S:g} s"
            self._reader.refuse(Problem(408, "Request Timeout", problem))
            self._advance()
        elif now_s - self._heard_s > KEEP_ALIVE_S:
            self._close()

    def end(self) -> None:
        """Close the connection unless a request is in progress."""
        if not self.busy:
            self._close()

    def abort(self) -> None:
        """Close the connection at once, discarding unsent data."""
        if self._transport is not None:
            self._transport.abort()

    def _take(self, request: Request, refusal: Response | None) -> None:
        self._began_s = self._heard_s
        self._waiting.append((request, refusal))

    def _advance(self) -> None:
        """Parse up to the next request and start it; the rest follows in later turns of the event loop."""
        self._turn = None
        try:
            self._begin_next()
        except Exception:
            log.exception("connection failed")
            self.abort()
        if self._waiting or self._unread:
            self._pause_reading()
            if self._task is None and self._flowing.is_set():
                self._turn = self._loop.call_soon(self._advance)
        elif self._flowing.is_set():
            self._read_on()

    def _begin_next(self) -> None:
        if self._task is not None or not self._flowing.is_set():
            return
        reader = self._reader
        while self._unread and not self._waiting:
            if not reader.receiving:
                self._began_s = self._heard_s
            data, self._unread = self._unread, b""
            if len(data) > _SLICE_BYTES:
                whole = memoryview(data)
                data, self._unread = whole[:_SLICE_BYTES], whole[_SLICE_BYTES:]
            reader.feed(data)
        if self._waiting:
            self._answer(*self._waiting.popleft())

    def _read_on(self) -> None:
        """Continue reading after everything received is parsed."""
        if self._task is None and self._reader.awaits_continue:
            self._reader.awaits_continue = False
            self._write(_CONTINUE)
        if self.half_closed:
            self.end()
        elif self._paused and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()

    def _pause_reading(self) -> None:
        if self._transport is not None and not self._paused:
            self._paused = True
            self._transport.pause_reading()

    def _close(self) -> None:
        """Close the connection after sending finished responses; drop everything else."""
        self._drop_rest()
        if self._transport is not None:
            self._transport.close()

    def _drop_rest(self) -> None:
        self._waiting.clear()
        self._unread = b""

    def _answer(self, request: Request, refusal: Response | None) -> None:
        if refusal is not None:
            request.keep_alive = False
            self._send(request, refusal)
            self._leave()
            return
        answer = self._app.answer(request)
        if isinstance(answer, Response):
            self._send(request, answer)
            self._close_if_last()
        else:
            self._ends_with_client = request.route is not None and request.route.abandon
            self._interim = request.chunks
            self._task = self._loop.create_task(self._await(request, answer))
            self._probe_later()

    async def _await(self, request: Request, coming: Awaitable[Response | Streaming]) -> None:
        try:
            answer = await coming
            if isinstance(answer, Streaming):
                await self._stream(request, answer)
            else:
                self._send(request, answer)
            self._close_if_last()
        except asyncio.CancelledError:
            self._app.record(request, CLIENT_GONE)
            raise
        except Exception:
            log.exception("cannot send the response to %s %s", request.method, request.path)
            self.abort()  # otherwise the client would wait for it
        finally:
            self._task = None
            self._sending = False
        self._heard_s = self._loop.time()
        self._advance()

    def _send(self, request: Request, answer: Response) -> None:
        """Send a complete response in one write."""
        transport, body = self._transport, answer.body
        if transport is not None:
            last = self._last = self._app.draining or not request.keep_alive or self._is_old
            head = _head(answer.status, answer.content_type, answer.headers, self._server.date, last)
            if answer.status in _BODILESS:
                transport.write(head + b"\r\n")
            else:
                shown = b"" if request.method == "HEAD" else body
                transport.write(b"%bcontent-length: %d\r\n\r\n%b" % (head, len(body), shown))
        self._app.record(request, answer.status if transport is not None else CLIENT_GONE)

    async def _stream(self, request: Request, answer: Streaming) -> None:
        """Stream until the generator ends or the client disconnects; closes the generator."""
        self._ends_with_client = self._sending = True
        last = self._last = self._app.draining or not (request.chunks and request.keep_alive)
        head = _head(HTTPStatus.OK, answer.content_type, answer.headers, self._server.date, last)
        self._write(head + (b"transfer-encoding: chunked\r\n\r\n" if request.chunks else b"\r\n"))
        async with contextlib.aclosing(answer.pieces):
            if request.method != "HEAD":
                await self._pump(answer.pieces, request.chunks)
        self._app.record(request, HTTPStatus.OK if self._transport is not None else CLIENT_GONE)

    async def _pump(self, pieces: AsyncGenerator[bytes, None], chunks: bool) -> None:
        try:
            async for piece in pieces:
                if self._transport is None:
                    return
                if piece:
                    self._write(b"%x\r\n%b\r\n" % (len(piece), piece) if chunks else piece)
                    await self._flowing.wait()
        except Exception:
            log.exception("stream failed")
            self.abort()  # so that the client detects the truncation
        else:
            self._write(b"0\r\n\r\n" if chunks else b"")

    def _write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)
            self._wrote_s = self._loop.time()

    def _probe_later(self) -> None:
        if self.half_closed and self._probing is None:
            self._probing = self._loop.call_later(_PROBE_S, self._probe)

    def _probe(self) -> None:
        """Probe whether a half-closed client still waits: if not, its network stack resets the connection.

        An interim response may be sent at any time (RFC 9110, 15.2), except to HTTP/1.0.
        """
        self._probing = None
        if self._task is not None and self._ends_with_client and self._interim and not self._sending:
            self._write(_CONTINUE)
            self._probe_later()

    def _end_if_gone(self, now_s: float) -> None:
        """Abort a half-closed connection that was not written to for `HALF_CLOSED_S`."""
        if self.half_closed and self._ends_with_client and now_s - self._wrote_s > HALF_CLOSED_S:
            self.abort()

    def _close_if_last(self) -> None:
        """Close the connection if the response announced it."""
        if self._last:
            self._close()

    def _leave(self) -> None:
        """Close after a rejection, once the client had time to read it."""
        if self._transport is not None and self._transport.can_write_eof():
            self._transport.write_eof()
        self._loop.call_later(_LINGER_S, self._close)


def _head(status: int, content_type: str, headers: Headers, date: bytes, last: bool) -> bytes:
    """The head of a response without content-length."""
    status_line = _STATUS.get(status) or b"HTTP/1.1 %d Unassigned\r\n" % status
    head = b"%bdate: %b\r\ncontent-type: %b\r\n" % (status_line, date, _field(content_type))
    for name, value in headers:
        head += _field(f"{name}: {value}") + b"\r\n"
    return head + b"connection: close\r\n" if last else head


def _field(text: str) -> bytes:
    """A header line, with line breaks removed: it may contain text of a model endpoint."""
    return text.replace("\r", " ").replace("\n", " ").encode("latin-1", "replace")


class Server:
    """The connections of one app, at most `most`; created inside the running event loop."""

    def __init__(self, app: App, most: int = CONNECTIONS) -> None:
        self.app = app
        self.loop = asyncio.get_running_loop()
        self.connections: set[_Connection] = set()
        self.most = most
        self.bodies = BodyMemory(BODIES * app.options.body_bytes)
        self.date = b""
        self._update_date()

    async def sweep(self) -> None:
        """Enforce the timeouts of all connections until cancelled."""
        while True:
            await asyncio.sleep(_SWEEP_S)
            self._update_date()
            now_s = self.loop.time()
            for connection in list(self.connections):
                try:
                    connection.sweep(now_s)
                except Exception:
                    log.exception("checking a connection failed")
                    connection.abort()  # and continue with the others

    def make_room(self) -> bool:
        """Whether another connection fits; closes the longest idle ones if necessary."""
        if len(self.connections) < self.most:
            return True
        idle = [connection for connection in self.connections if not connection.busy]
        share = max(1, self.most // 16)  # several at once, so that a flood of connections does not search for each
        for connection in heapq.nsmallest(share, idle, key=lambda one: one.heard_s):
            self.connections.discard(connection)
            connection.abort()
        return bool(idle)

    async def finish(self, within_s: float) -> None:
        """Let requests in progress finish within `within_s`."""
        self.app.drain()  # so that every response is the last of its connection
        until_s = self.loop.time() + within_s
        while self.connections and self.loop.time() < until_s:
            for connection in list(self.connections):
                connection.end()
            await asyncio.sleep(0.01)
        left = [connection.task for connection in self.connections if connection.task is not None]
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        for connection in list(self.connections):
            connection.abort()

    def _update_date(self) -> None:
        self.date = email.utils.formatdate(time.time(), usegmt=True).encode("ascii")


def most_connections() -> int:
    """The limit of connections: CONNECTIONS, or half of this process's file descriptors."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return CONNECTIONS if files == resource.RLIM_INFINITY else min(CONNECTIONS, max(1, files // 2))


@contextlib.asynccontextmanager
async def serving(app: App, listener: socket.socket, grace_s: float = OPEN_REQUESTS_S) -> AsyncGenerator[Server, None]:
    """Serve in the background; at the end, stop listening and let open requests finish within `grace_s`.

    Raises the error of a failed start of the app.
    """
    loop = asyncio.get_running_loop()
    async with app.options.lifespan():
        server = Server(app, most_connections())
        listening = await loop.create_server(lambda: _Connection(server), sock=listener, backlog=_BACKLOG)
        background = [loop.create_task(server.sweep()), loop.create_task(app.watch_lag())]
        try:
            yield server
        finally:
            listening.close()
            await server.finish(grace_s)
            for task in background:
                task.cancel()


def _stop_on_signal(app: App, drain_s: float) -> asyncio.Event:
    """An event that SIGTERM or SIGINT sets; after the first SIGTERM the app drains for `drain_s` before it is set.

    Meanwhile, clients that have not noticed yet are still served. SIGINT, or a second signal, does not wait.
    """
    loop, stop = asyncio.get_running_loop(), asyncio.Event()

    def terminate() -> None:
        if app.draining or not drain_s:
            stop.set()
        else:
            app.drain()
            loop.call_later(drain_s, stop.set)

    loop.add_signal_handler(signal.SIGTERM, terminate)
    loop.add_signal_handler(signal.SIGINT, stop.set)
    return stop


def run(app: App, settings: ServiceSettings) -> None:
    """Serve until SIGTERM or SIGINT; open requests may finish within OPEN_REQUESTS_S. Raises if the start fails."""
    host, port = settings.host, settings.port
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    dump_stacks_on_signal()
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except OSError as error:
        reason = str(error.strerror).partition(" (")[0]  # Python appends the address, which is in our message already
        message = f"cannot listen on {host}:{port}: {reason}"
        raise UnavailableError(message, "choose another port, or stop the process that uses this one") from error
    gc.freeze()
    gc.set_threshold(_GC_OBJECTS)
    log.info("%s listens on http://%s:%d", app.options.title, host, listener.getsockname()[1])

    async def serve() -> None:
        stop = _stop_on_signal(app, settings.drain_s)  # before the start, which may take long
        async with serving(app, listener):
            await stop.wait()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve())
