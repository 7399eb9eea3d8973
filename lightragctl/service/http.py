"""The small common part of our HTTP services: one raw ASGI callable, no web framework. Serves sockets in `run`.

An app is a tuple of `Route`s and `AppOptions`. A handler takes a `Request` and returns a `Response` or a `Streaming`;
it fails by raising `Problem` or any `LightragctlError` (see `problem_of`). Each app also answers `/healthz` (the
process is alive), `/readyz`, `/metrics` and `/openapi.json`.
"""

import asyncio
import contextlib
import logging
import math
import re
import signal
import socket
import threading
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, MutableMapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from http import HTTPStatus
from types import FrameType
from typing import Any, TypeVar
from urllib.parse import parse_qsl

import msgspec
import uvicorn

from lightragctl.core.errors import LightragctlError, UnavailableError
from lightragctl.core.settings import ServiceSettings
from lightragctl.service.answers import (
    JSON,
    NDJSON,
    ErrorStyle,
    Headers,
    Problem,
    Response,
    Streaming,
    json_bytes,
    json_response,
    problem_of,
    problem_response,
)
from lightragctl.service.metrics import CONTENT_TYPE, Metrics
from lightragctl.service.openapi import document
from lightragctl.service.trace import TRACE

__all__ = [
    "JSON",
    "NDJSON",
    "App",
    "AppOptions",
    "ClientGoneError",
    "Problem",
    "Request",
    "Response",
    "Route",
    "Streaming",
    "json_bytes",
    "json_response",
    "problem_of",
    "run",
]

log = logging.getLogger(__name__)

S = TypeVar("S")
Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_TRACE = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
"""W3C Trace Context, version 00."""
_LAG_EVERY_S = 0.5

_DECODERS: dict[object, "msgspec.json.Decoder[Any]"] = {}

MAX_QUERY_FIELDS = 64
"""More fields than this in a query string are refused before they are parsed."""

KEEP_ALIVE_S = 75
"""Longer than aiohttp's client keeps an idle connection (15 s), so that the client closes first and meets no race."""

_WATCH_AFTER_S = 0.05
"""Watching for a client that goes away costs 17 us of CPU; a request that is quicker than this is not worth it."""

GRACE_S = 25
"""How long open requests may take after SIGTERM; below Kubernetes' default grace period of 30 s."""

STANDARD_PATHS = ("/healthz", "/readyz", "/metrics", "/openapi.json")
"""What every app answers, to everybody."""

CLIENT_GONE = 499
"""Code in the metrics of a request whose client went away; nobody sees it as an answer."""


class Request:
    """One request. The body is read on demand and never past `limit_bytes`."""

    def __init__(self, scope: Scope, receive: Receive, limit_bytes: int) -> None:
        self._scope = scope
        self._receive = receive
        self._limit_bytes = limit_bytes
        self._body: bytes | None = None
        self._headers: dict[bytes, bytes] | None = None
        self.method: str = scope["method"]
        self.path: str = scope["path"]

    def header(self, name: str) -> str:
        """A header by its lower-case name; empty when absent."""
        if self._headers is None:
            self._headers = dict(reversed(self._scope["headers"]))  # of those that come twice the first counts
        return self._headers.get(name.encode("latin-1"), b"").decode("latin-1")

    async def body(self) -> bytes:
        """The whole body; 413 as soon as it is known to be over the limit."""
        if self._body is not None:
            return self._body
        declared = self.header("content-length")
        if declared.isdigit() and int(declared) > self._limit_bytes:
            raise self._too_large()
        parts: list[bytes] = []
        size_bytes = 0
        more = True
        while more:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ClientGoneError
            parts.append(message.get("body", b""))
            size_bytes += len(parts[-1])
            if size_bytes > self._limit_bytes:
                raise self._too_large()
            more = message.get("more_body", False)
        self._body = b"".join(parts)
        return self._body

    def check_json(self) -> None:
        """415 for a body that is declared as something else than plain JSON."""
        content_type = self.header("content-type").partition(";")[0].strip().lower()
        if content_type not in ("", JSON):
            hint = f"send the header Content-Type: {JSON}"
            raise Problem(415, "Unsupported Media Type", f"the body is declared as {content_type}", hint)
        if self.header("content-encoding").lower() not in ("", "identity"):
            raise Problem(415, "Unsupported Media Type", "a compressed body is not supported")

    async def json(self, type_: type[S]) -> S:
        """The body as `type_` (a msgspec Struct); 415 for another content type, 400 for what does not fit."""
        self.check_json()
        body = await self.body()
        if not body.strip():
            raise Problem(400, "Bad Request", "the body is empty", "send a JSON object")
        try:
            decoded: S = _decoder(type_).decode(body)
        except msgspec.ValidationError as error:
            raise Problem(400, "Bad Request", _field_error(error), code="invalid-value") from error
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise Problem(400, "Bad Request", f"the body is not valid JSON: {error}", code="invalid-json") from error
        return decoded

    def query(self, type_: type[S]) -> S:
        """The query string as `type_`; a blank value counts as absent; 400 for what does not fit."""
        try:
            text = self._scope["query_string"].decode("ascii")
            pairs = parse_qsl(text, errors="strict", max_num_fields=MAX_QUERY_FIELDS)
        except ValueError as error:
            raise Problem(400, "Bad Request", "the query string cannot be decoded") from error
        fields = dict(pairs)
        if len(fields) < len(pairs):
            raise Problem(400, "Bad Request", "a field is given twice in the query string")
        try:
            return msgspec.convert(fields, type_, strict=False)
        except msgspec.ValidationError as error:
            raise Problem(400, "Bad Request", _field_error(error), code="invalid-value") from error

    async def client_gone(self) -> None:
        """Wait until the client goes away. Only after the body was read."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    def _too_large(self) -> Problem:
        return Problem(413, "Content Too Large", f"the body is larger than {self._limit_bytes} bytes", code="too-large")


class ClientGoneError(Exception):
    """The client closed the connection; nobody waits for an answer."""


Handler = Callable[[Request], Awaitable[Response | Streaming]]


@dataclass(frozen=True, slots=True)
class Route:
    """One operation. `query`, `body` and `answer` are the msgspec types shown in /openapi.json.

    `stream` is the content type of an answer that comes in pieces, where a client may ask for one.
    `abandon`: cancel the handler when the client goes away, for work that is worthless without it.
    """

    method: str
    path: str
    handler: Handler
    summary: str = ""
    query: type[msgspec.Struct] | None = None
    body: type[msgspec.Struct] | None = None
    answer: type[msgspec.Struct] | None = None
    abandon: bool = False
    stream: str = ""

    @property
    def name(self) -> str:
        """Its name in metrics and logs."""
        return f"{self.method} {self.path}"


@contextlib.asynccontextmanager
async def _nothing() -> AsyncGenerator[None, None]:
    yield


@dataclass(frozen=True)
class AppOptions:
    """What an app is beside its routes.

    Args:
        title: its name, for /openapi.json and the log.
        body_bytes: the greatest body of a request.
        error_style: problem+json, or OpenAI's `{"error": {...}}`.
        ready: why the app is not ready; empty when it is.
        lifespan: entered before the first request, left after the last.
        admit: raises when a request may not be answered; not asked on the paths that every app has.
        slow_s: an answer that takes so long is logged.
    """

    title: str
    body_bytes: int
    error_style: ErrorStyle = "problem"
    ready: Callable[[], str] = str
    lifespan: Callable[[], AbstractAsyncContextManager[None]] = _nothing
    admit: "Callable[[Request], None] | None" = None
    slow_s: float = 1.0


class App:
    """The ASGI callable. `start_error` holds what made the start fail."""

    def __init__(self, routes: Sequence[Route], options: AppOptions, metrics: Metrics | None = None) -> None:
        self.options = options
        self.metrics = metrics or Metrics()
        self.start_error: BaseException | None = None
        self.draining = False
        self._openapi = json_bytes(document(options.title, routes, needs_key=options.admit is not None))
        self._routes: dict[str, dict[str, Route]] = {}
        for route in (*routes, *self._standard_routes()):
            self._routes.setdefault(route.path, {})[route.method] = route

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection: a request or the lifespan."""
        if scope["type"] == "http":
            await self._serve(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._live(receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = time.perf_counter()
        request = Request(scope, receive, self.options.body_bytes)
        name, code = "unknown", CLIENT_GONE
        try:
            route = self._routes.get(request.path, {}).get("GET" if request.method == "HEAD" else request.method)
            if route is not None:
                name = route.name
            if (trace := request.header("traceparent")) and _TRACE.fullmatch(trace):
                TRACE.set(trace)
            answer = await self._answer(request, route)
            if isinstance(answer, Streaming):
                code = 200
                await _send_stream(answer, request, send)
            else:
                code = answer.status
                await _send_whole(answer, request.method, self.draining, send)
        except ClientGoneError:
            code = CLIENT_GONE
        finally:
            seconds = time.perf_counter() - started
            self.metrics.request(name, code, seconds)
            if seconds >= self.options.slow_s:
                log.info("%s %d in %.3f s %s", name, code, seconds, TRACE.get())

    async def _answer(self, request: Request, route: Route | None) -> Response | Streaming:
        try:
            self._admit(request)
            if route is None:
                raise self._no_route(request)
            if route.abandon:
                return await _run_while_wanted(route.handler, request)
            return await route.handler(request)
        except Problem as error:
            problem = error
        except LightragctlError as error:
            problem = problem_of(error)
        except ClientGoneError:
            raise
        except Exception:
            log.exception("%s %s failed", request.method, request.path)
            problem = Problem(500, "Internal Server Error", "the service failed; its log has the details", code="bug")
        if problem.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            log.warning("%s %s: %s", request.method, request.path, problem)
        return problem_response(problem, self.options.error_style)

    def _admit(self, request: Request) -> None:
        """Comes before everything else, so that a stranger learns nothing, not even which paths there are."""
        if self.options.admit is not None and request.path not in STANDARD_PATHS:
            self.options.admit(request)

    def _no_route(self, request: Request) -> Problem:
        methods = self._routes.get(request.path)
        if not methods:
            hint = "GET /openapi.json lists what there is"
            return Problem(404, "Not Found", f"there is nothing at {request.path}", hint, "no-route")
        allowed = ", ".join(sorted(methods | ({"HEAD": None} if "GET" in methods else {})))
        detail = f"{request.path} takes {allowed}"
        return Problem(405, "Method Not Allowed", detail, code="method", headers=(("allow", allowed),))

    def _standard_routes(self) -> tuple[Route, ...]:
        async def healthz(_: Request) -> Response:
            return json_response({"status": "ok"})

        async def readyz(_: Request) -> Response:
            reason = "draining" if self.draining else self.options.ready()
            if reason:
                raise Problem(503, "Not Ready", reason, code="not-ready", headers=(("retry-after", "1"),))
            return json_response({"status": "ready"})

        async def metrics(_: Request) -> Response:
            return Response(self.metrics.text(), content_type=CONTENT_TYPE)

        async def openapi(_: Request) -> Response:
            return Response(self._openapi)

        handlers = (healthz, readyz, metrics, openapi)
        return tuple(Route("GET", path, handler) for path, handler in zip(STANDARD_PATHS, handlers, strict=True))

    async def _live(self, receive: Receive, send: Send) -> None:
        """The lifespan protocol. What fails before the start is complete is kept for `run` to raise."""
        await receive()
        started = False
        try:
            async with self.options.lifespan():
                started = True
                lag = asyncio.create_task(self._watch_lag())
                await send({"type": "lifespan.startup.complete"})
                await receive()
                lag.cancel()
        except Exception as error:
            if started:
                raise
            self.start_error = error
            await send({"type": "lifespan.startup.failed", "message": ""})
        else:
            await send({"type": "lifespan.shutdown.complete"})

    async def _watch_lag(self) -> None:
        """Note how late this very task is woken: by as much every answer is late."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + _LAG_EVERY_S
            await asyncio.sleep(_LAG_EVERY_S)
            self.metrics.loop_lag_seconds.set(max(0.0, loop.time() - due))

    def drain(self) -> None:
        """Ask for no more requests, and go on answering those that come."""
        self.draining = True
        self.metrics.draining.set(1)


def _decoder(type_: object) -> "msgspec.json.Decoder[Any]":
    decoder = _DECODERS.get(type_)
    if decoder is None:
        decoder = _DECODERS[type_] = msgspec.json.Decoder(type_)
    return decoder


def _field_error(error: msgspec.ValidationError) -> str:
    """msgspec's message with the field in front: `top_k: Expected int, got str`."""
    message, _, path = str(error).replace("`", "").partition(" - at ")
    return f"{path.removeprefix('$').removeprefix('.')}: {message}" if path else message


async def _run_while_wanted(handler: Handler, request: Request) -> Response | Streaming:
    """Run the handler; end it when the client goes away. Looked for only when it takes long, which most do not."""
    await request.body()
    loop, handling = asyncio.get_running_loop(), asyncio.current_task()
    watching: list[asyncio.Task[None]] = []
    gone = False

    async def watch() -> None:
        nonlocal gone
        await request.client_gone()
        gone = True
        if handling is not None:
            handling.cancel()

    timer = loop.call_later(_WATCH_AFTER_S, lambda: watching.append(loop.create_task(watch())))
    try:
        return await handler(request)
    except asyncio.CancelledError:
        if not gone or handling is None:
            raise
        handling.uncancel()
        raise ClientGoneError from None
    finally:
        timer.cancel()
        for task in watching:
            task.cancel()


def _head(status: int, content_type: str, headers: Headers, length: int | None) -> Message:
    raw = [(b"content-type", content_type.encode("latin-1"))]
    if length is not None:
        raw.append((b"content-length", b"%d" % length))
    raw += [(name.encode("latin-1"), value.encode("latin-1", "replace")) for name, value in headers]
    return {"type": "http.response.start", "status": status, "headers": raw}


async def _send_whole(answer: Response, method: str, last: bool, send: Send) -> None:
    """`last`: the connection is closed after it, so that the client goes elsewhere with the next request."""
    headers = (*answer.headers, ("connection", "close")) if last else answer.headers
    await send(_head(answer.status, answer.content_type, headers, len(answer.body)))
    await send({"type": "http.response.body", "body": b"" if method == "HEAD" else answer.body})


async def _send_stream(answer: Streaming, request: Request, send: Send) -> None:
    """Send until the generator ends or the client goes away, whichever comes first; the generator is closed."""

    async def pump() -> None:
        async with contextlib.aclosing(answer.pieces):
            await send(_head(200, answer.content_type, answer.headers, None))
            async for piece in answer.pieces:
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    async def pumped(_: Request) -> Response:
        await pump()
        return Response(b"")

    await _run_while_wanted(pumped, request)


class _Server(uvicorn.Server):
    """Stops in two steps at SIGTERM: unready first, and `drain_s` later it takes no more connections.

    In between, whoever has not heard yet that it is going finds it at work. SIGINT, or a second signal, does not wait.
    uvicorn raises the signal again after a graceful stop; for us SIGTERM is the normal end, with exit status 0.
    """

    def __init__(self, config: uvicorn.Config, app: App, drain_s: float) -> None:
        super().__init__(config)
        self._app = app
        self._drain_s = drain_s
        self._exit_s = math.inf

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Runs between two instructions of the main thread, so it only takes notes."""
        if sig == signal.SIGTERM and self._drain_s and not self._app.draining:
            self._app.drain()
            self._exit_s = time.monotonic() + self._drain_s
        else:
            super().handle_exit(sig, frame)

    async def on_tick(self, counter: int) -> bool:
        """Ten times a second; whether to stop."""
        if time.monotonic() >= self._exit_s:
            self.should_exit = True
        return await super().on_tick(counter)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def run(app: App, settings: ServiceSettings) -> None:
    """Serve until SIGTERM or SIGINT; open requests may end within GRACE_S. Raises what made the start fail."""
    host, port = settings.host, settings.port
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        reason = str(error.strerror).partition(" (")[0]  # Python adds the address, which we say already
        message = f"cannot listen on {host}:{port}: {reason}"
        raise UnavailableError(message, "choose another port, or stop what uses this one") from error
    config = uvicorn.Config(
        app,
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="on",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=GRACE_S,
    )
    log.info("%s listens on http://%s:%d", app.options.title, host, listener.getsockname()[1])
    try:
        with listener:
            _Server(config, app, settings.drain_s).run(sockets=[listener])
    except SystemExit:  # uvicorn's way to say that the lifespan failed; its cause says more
        if app.start_error is None:
            raise
    if app.start_error is not None:
        raise app.start_error
