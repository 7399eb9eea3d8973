"""HTTP/1.1 for our services, on sockets: httptools parses, `service.http.App` answers.

Written for the read path: ASGI between a parser and a handler took as much of the processor as the handler itself
(docs/performance.md). A handler that has its answer at once gives it without a task, and an answer is one write.

What a stranger can hold is bounded: the headers, the body, what one connection may send ahead, and the time that a
request may take to arrive.
"""

import asyncio
import contextlib
import email.utils
import gc
import logging
import signal
import socket
import time
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable
from http import HTTPStatus
from typing import cast

import httptools
import uvloop

from lightragctl.core.errors import UnavailableError
from lightragctl.core.settings import OPEN_REQUESTS_S, ServiceSettings
from lightragctl.service.answers import Headers, Problem, Response, Streaming
from lightragctl.service.http import CLIENT_GONE, App, Request

log = logging.getLogger(__name__)

KEEP_ALIVE_S = 75.0
"""Longer than aiohttp's client keeps an idle connection (15 s), so that the client closes first and meets no race."""

RECEIVE_S = 60.0
"""How long a request may take to arrive."""

HEAD_BYTES = 65_536
"""Of a request's target and headers together."""

_LINGER_S = 1.0
"""A client that is refused while it still sends gets this time to read why; a reset would take the answer away."""

_SWEEP_S = 1.0
_BACKLOG = 2048

_GC_OBJECTS = 20_000
"""New objects between two looks for garbage in cycles. Python's 700 are made by two requests: a ninth of the work."""

_STATUS = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus}
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

Take = Callable[[Request, Response | None], None]


class _Reader:
    """Makes requests of bytes; those that may not be answered come with what they are told, and are the last.

    Args:
        app: says what is refused on the headers alone.
        take: gets each request, once its body is whole.
        go_on: tells the client to send the body.
    """

    def __init__(self, app: App, take: Take, go_on: Callable[[], None]) -> None:
        self._app = app
        self._take = take
        self._go_on = go_on
        self._parser = httptools.HttpRequestParser(self)
        self._begin()
        self.receiving = False
        self.refused = False

    def _begin(self) -> None:
        self._target = b""
        self._headers: dict[bytes, bytes] = {}
        self._head_bytes = self._body_bytes = 0
        self._parts: list[bytes] = []
        self._request: Request | None = None

    def feed(self, data: bytes) -> None:
        """Parse what came; nothing more once something was refused."""
        if self.refused:
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self.refused = True  # it is answered as if it had not asked; what follows is of another protocol
        except httptools.HttpParserError as error:
            self.refuse(Problem(400, "Bad Request", f"this is not HTTP: {error}"))

    def refuse(self, problem: Problem) -> None:
        """Hand over what there is of the request with what it is told."""
        if self.refused:
            return
        self.refused, self.receiving = True, False
        request = self._request or Request("", b"/", {})
        self._take(request, self._app.told(request, problem))

    # httptools calls these.

    def on_message_begin(self) -> None:
        self.receiving = True
        self._begin()

    def on_url(self, part: bytes) -> None:
        self._target += part
        self._head_bytes += len(part)

    def on_header(self, name: bytes, value: bytes | None) -> None:
        value = value or b""
        self._head_bytes += len(name) + len(value)
        if self._head_bytes <= HEAD_BYTES:
            self._headers.setdefault(name.lower(), value)  # of those that come twice the first counts

    def on_headers_complete(self) -> None:
        if self.refused:
            return
        request = self._request = Request(self._parser.get_method().decode("ascii"), self._target, self._headers)
        if self._head_bytes > HEAD_BYTES:
            detail = f"target and headers take more than {HEAD_BYTES} bytes"
            self.refuse(Problem(431, "Request Header Fields Too Large", detail))
        elif (problem := self._app.refusal(request)) is not None:
            self.refuse(problem)
        elif b"expect" in self._headers:
            self._go_on()

    def on_body(self, part: bytes) -> None:
        self._parts.append(part)
        self._body_bytes += len(part)
        if self._body_bytes > self._app.options.body_bytes:
            self.refuse(self._app.too_large())

    def on_message_complete(self) -> None:
        self.receiving = False
        request = self._request
        if self.refused or request is None:
            return
        request.body = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        parser = self._parser
        request.keep_alive = parser.should_keep_alive() and not parser.should_upgrade()
        request.chunks = parser.get_http_version() != "1.0"
        self._take(request, None)


class _Connection(asyncio.Protocol):
    """One client, whose requests are answered in their order."""

    def __init__(self, server: "Server") -> None:
        self._server = server
        self._app = server.app
        self._loop = server.loop
        self._reader = _Reader(server.app, self._take, self._go_on)
        self._transport: asyncio.Transport | None = None
        self._waiting: deque[tuple[Request, Response | None]] = deque()
        self._task: asyncio.Task[None] | None = None
        self._ends_with_client = self._last = False
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._heard_s = self._began_s = self._loop.time()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by name
        self._server.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`. What is worthless without the client ends."""
        self._transport = None
        self._server.connections.discard(self)
        self._waiting.clear()
        self._flowing.set()
        if self._task is not None and self._ends_with_client:
            self._task.cancel()

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        self._heard_s = self._loop.time()
        if not self._reader.receiving:
            self._began_s = self._heard_s
        self._reader.feed(data)

    def pause_writing(self) -> None:
        """See `asyncio.Protocol`. Who does not read its answers is not asked for more requests."""
        self._flowing.clear()
        if self._transport is not None:
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        """See `asyncio.Protocol`."""
        self._flowing.set()
        self._read_on()

    @property
    def task(self) -> asyncio.Task[None] | None:
        """What answers a request just now."""
        return self._task

    def sweep(self, now_s: float) -> None:
        """End it when nothing came for long; a request that never ends is told so."""
        if self._task is not None or self._transport is None:
            return
        if self._reader.receiving and now_s - self._began_s > RECEIVE_S:
            problem = f"the request did not arrive within {RECEIVE_S:g} s"
            self._reader.refuse(Problem(408, "Request Timeout", problem))
        elif now_s - self._heard_s > KEEP_ALIVE_S:
            self._transport.close()

    def end(self) -> None:
        """Close it, unless a request is being answered."""
        if self._transport is not None and self._task is None:
            self._transport.close()

    def _go_on(self) -> None:
        if self._transport is not None and self._task is None:
            self._transport.write(_CONTINUE)

    def _take(self, request: Request, refusal: Response | None) -> None:
        if self._task is None:
            self._answer(request, refusal)
        elif self._transport is not None:
            self._waiting.append((request, refusal))
            self._transport.pause_reading()

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
            self._task = self._loop.create_task(self._await(request, answer))

    async def _await(self, request: Request, coming: Awaitable[Response | Streaming]) -> None:
        try:
            answer = await coming
            if isinstance(answer, Streaming):
                await self._stream(request, answer)
            else:
                self._send(request, answer)
            self._close_if_last()
        except asyncio.CancelledError:
            self._app.note(request, CLIENT_GONE)
            raise
        finally:
            self._task = None
        self._answer_next()

    def _answer_next(self) -> None:
        while self._waiting and self._task is None:
            self._answer(*self._waiting.popleft())
        self._read_on()

    def _read_on(self) -> None:
        transport = self._transport
        if transport is not None and not self._waiting and self._flowing.is_set() and not transport.is_reading():
            transport.resume_reading()

    def _send(self, request: Request, answer: Response) -> None:
        """The whole answer in one write."""
        transport, body = self._transport, answer.body
        if transport is not None:
            last = self._last = self._app.draining or not request.keep_alive
            head = _head(answer.status, answer.content_type, answer.headers, self._server.date, last)
            shown = b"" if request.method == "HEAD" else body
            transport.write(b"%bcontent-length: %d\r\n\r\n%b" % (head, len(body), shown))
        self._app.note(request, answer.status if transport is not None else CLIENT_GONE)

    async def _stream(self, request: Request, answer: Streaming) -> None:
        """Send until the generator ends or the client goes away, whichever comes first; the generator is closed."""
        self._ends_with_client = True
        last = self._last = self._app.draining or not (request.chunks and request.keep_alive)
        head = _head(HTTPStatus.OK, answer.content_type, answer.headers, self._server.date, last)
        self._write(head + (b"transfer-encoding: chunked\r\n\r\n" if request.chunks else b"\r\n"))
        async with contextlib.aclosing(answer.pieces):
            if request.method != "HEAD":
                await self._pump(answer.pieces, request.chunks)
        self._app.note(request, HTTPStatus.OK)

    async def _pump(self, pieces: AsyncGenerator[bytes, None], chunks: bool) -> None:
        try:
            async for piece in pieces:
                if piece:
                    self._write(b"%x\r\n%b\r\n" % (len(piece), piece) if chunks else piece)
                    await self._flowing.wait()
        except Exception:
            log.exception("a stream broke off")
            if self._transport is not None:
                self._transport.abort()  # so that the client sees that it is not whole
        else:
            self._write(b"0\r\n\r\n" if chunks else b"")

    def _write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    def _close_if_last(self) -> None:
        """Close the connection if the answer said so."""
        if self._transport is not None and self._last:
            self._transport.close()

    def _leave(self) -> None:
        """End after a refusal, when the client had time to read it."""
        if self._transport is not None and self._transport.can_write_eof():
            self._transport.write_eof()
        self._loop.call_later(_LINGER_S, self.end)


def _head(status: int, content_type: str, headers: Headers, date: bytes, last: bool) -> bytes:
    """All of the head but how long the body is."""
    head = b"%bdate: %b\r\ncontent-type: %b\r\n" % (_STATUS[status], date, content_type.encode("latin-1"))
    for name, value in headers:
        line = f"{name}: {value}".replace("\r", " ").replace("\n", " ")  # what an endpoint sent may be in it
        head += line.encode("latin-1", "replace") + b"\r\n"
    return head + b"connection: close\r\n" if last else head


class Server:
    """The connections of one app; made inside the running event loop."""

    def __init__(self, app: App) -> None:
        self.app = app
        self.loop = asyncio.get_running_loop()
        self.connections: set[_Connection] = set()
        self.date = b""
        self._tell_date()

    async def sweep(self) -> None:
        """Look after the connections without end."""
        while True:
            await asyncio.sleep(_SWEEP_S)
            self._tell_date()
            now_s = self.loop.time()
            for connection in list(self.connections):
                connection.sweep(now_s)

    async def finish(self, within_s: float) -> None:
        """Let what is under way end, for so long."""
        self.app.drain()  # so that every answer is the last of its connection
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
            connection.end()

    def _tell_date(self) -> None:
        self.date = email.utils.formatdate(time.time(), usegmt=True).encode("ascii")


@contextlib.asynccontextmanager
async def serving(app: App, listener: socket.socket, grace_s: float = OPEN_REQUESTS_S) -> AsyncGenerator[None, None]:
    """Serve in the background; in the end no more connections are taken and open requests may go on for `grace_s`.

    Raises what made the app's start fail.
    """
    loop = asyncio.get_running_loop()
    async with app.options.lifespan():
        server = Server(app)
        listening = await loop.create_server(lambda: _Connection(server), sock=listener, backlog=_BACKLOG)
        background = [loop.create_task(server.sweep()), loop.create_task(app.watch_lag())]
        try:
            yield
        finally:
            listening.close()
            await server.finish(grace_s)
            for task in background:
                task.cancel()


def _stop_when_told(app: App, drain_s: float) -> asyncio.Event:
    """What SIGTERM or SIGINT will set; after the first SIGTERM the app is unready, and `drain_s` later it is set.

    In between, whoever has not heard yet that it is going finds it at work. SIGINT, or a second signal, does not wait.
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
    """Serve until SIGTERM or SIGINT; open requests may end within OPEN_REQUESTS_S. Raises what made the start fail."""
    host, port = settings.host, settings.port
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except OSError as error:
        reason = str(error.strerror).partition(" (")[0]  # Python adds the address, which we say already
        message = f"cannot listen on {host}:{port}: {reason}"
        raise UnavailableError(message, "choose another port, or stop what uses this one") from error
    gc.freeze()
    gc.set_threshold(_GC_OBJECTS)
    log.info("%s listens on http://%s:%d", app.options.title, host, listener.getsockname()[1])

    async def serve() -> None:
        stop = _stop_when_told(app, settings.drain_s)  # before the start, which may take long
        async with serving(app, listener):
            await stop.wait()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve())
