"""A small web framework for our services: apps, routes and requests, without sockets (those are in `service.server`).

An app is a tuple of `Route`s and `AppOptions`. A handler takes a `Request` and returns a `Response` or a `Streaming`,
or an awaitable of one; it fails by raising `Problem` or any `LightragctlError` (see `problem_of`). Each app also serves
`/healthz` (liveness), `/readyz`, `/metrics` and `/openapi.json`.
"""

import asyncio
import codecs
import contextlib
import logging
import random
import re
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, TypeVar
from urllib.parse import parse_qsl, unquote_to_bytes

import msgspec

from lightragctl.core.errors import LightragctlError
from lightragctl.core.settings import Logging
from lightragctl.service import responses
from lightragctl.service.metrics import CONTENT_TYPE, Metrics
from lightragctl.service.openapi import document
from lightragctl.service.responses import (
    JSON,
    NDJSON,
    ErrorStyle,
    Problem,
    Response,
    Streaming,
    json_bytes,
    json_response,
    problem_of,
)
from lightragctl.service.trace import TRACE

__all__ = [
    "JSON",
    "NDJSON",
    "App",
    "AppOptions",
    "Problem",
    "Request",
    "Response",
    "Route",
    "Streaming",
    "json_bytes",
    "json_response",
    "problem_of",
]

log = logging.getLogger(__name__)

S = TypeVar("S")

_TRACE = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
"""W3C Trace Context, version 00."""
_LAG_EVERY_S = 0.5

_DECODERS: dict[object, "msgspec.json.Decoder[Any]"] = {}

MAX_QUERY_FIELDS = 64
"""A query string with more fields is rejected before parsing."""

STANDARD_PATHS = ("/healthz", "/readyz", "/metrics", "/openapi.json")
"""Paths of every app, served without authentication."""

UNUSED_BODY_BYTES = 4096
"""Maximum size of a body that the route does not read."""

CLIENT_GONE = 499
"""Status in the metrics of a request whose client disconnected; it is never sent."""


_DEFAULT_LOGGING = Logging()
_BROKEN = Problem(500, "Internal Server Error", "internal error; see the log of the service", code="internal-error")


class Request:
    """One request.

    Attributes:
        path: percent-decoded, without the query string.
        headers: values by lower-case name.
        body: complete when a handler sees it, and never over the app's limit.
        keep_alive: the connection may be reused.
        chunks: the client understands chunked encoding, which HTTP/1.0 does not have.
        route: None if no route matches.
        began_s: when its headers were read, on `time.perf_counter`.
        share: its part of the memory for bodies, released with the last reference.
    """

    __slots__ = ("_query", "began_s", "body", "chunks", "headers", "keep_alive", "method", "path", "route", "share")

    def __init__(self, method: str, target: bytes, headers: Mapping[bytes, bytes], body: bytes = b"") -> None:
        self.method = method
        self.path, self._query = _split(target)
        self.headers = headers
        self.body = body
        self.keep_alive = self.chunks = True
        self.route: Route | None = None
        self.began_s = time.perf_counter()
        self.share: object = None

    def header(self, name: str) -> str:
        """A header by its lower-case name; empty if absent."""
        value = self.headers.get(name.encode("latin-1"))
        return value.decode("latin-1") if value else ""

    def check_json(self) -> None:
        """Raise 415 for a content type other than plain JSON."""
        content_type = self.header("content-type").partition(";")[0].strip().lower()
        if content_type not in ("", JSON):
            hint = f"send the header Content-Type: {JSON}"
            raise Problem(415, "Unsupported Media Type", f"the content type is {content_type}", hint)
        if self.header("content-encoding").lower() not in ("", "identity"):
            raise Problem(415, "Unsupported Media Type", "a compressed body is not supported")

    def json_body(self) -> bytes:
        """The body as UTF-8 without a byte-order mark (RFC 8259, 8.1); 400 for UTF-16, 415 for another content type."""
        self.check_json()
        if self.body.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            raise Problem(400, "Bad Request", "the body is UTF-16", "send JSON as UTF-8", "invalid-json")
        return self.body.removeprefix(codecs.BOM_UTF8)

    def json(self, type_: type[S]) -> S:
        """The body as `type_` (a msgspec Struct); raises 415 for another content type, 400 for an invalid value."""
        body = self.json_body()
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
        """The query string as `type_`; a blank value counts as absent; raises 400 for an invalid value."""
        try:
            text = self._query.decode("ascii")
            pairs = parse_qsl(text, errors="strict", max_num_fields=MAX_QUERY_FIELDS)
        except ValueError as error:
            raise Problem(400, "Bad Request", "the query string cannot be decoded") from error
        fields = dict(pairs)
        if len(fields) < len(pairs):
            raise Problem(400, "Bad Request", "a field appears twice in the query string")
        try:
            return msgspec.convert(fields, type_, strict=False)
        except msgspec.ValidationError as error:
            raise Problem(400, "Bad Request", _field_error(error), code="invalid-value") from error


def _split(target: bytes) -> tuple[str, bytes]:
    """Path and query string of a request target."""
    path, _, query = target.partition(b"?")
    if not path.startswith(b"/"):  # absolute form http://host/path, as sent to a proxy
        path = b"/" + path.partition(b"://")[2].partition(b"/")[2]
    if b"%" in path:
        path = unquote_to_bytes(path)
    return path.decode("utf-8", "replace"), query


Answer = Response | Streaming
Handled = Response | Awaitable[Answer]
Handler = Callable[[Request], Handled]


@dataclass(frozen=True, slots=True)
class Route:
    """One operation. `query`, `body` and `answer` are the msgspec types shown in /openapi.json.

    `stream` is the content type of a streamed response, if the route has one.
    `abandon`: cancel the handler when the client disconnects.
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
    """Options of an app.

    Args:
        title: its name, for /openapi.json and the log.
        body_bytes: maximum size of a request body.
        error_style: problem+json, or OpenAI's `{"error": {...}}`.
        ready: returns why the app is not ready; empty if it is.
        lifespan: entered before the first request, left after the last.
        admit: raises if a request is not authorized; not called for `STANDARD_PATHS`.
        logging: which requests are logged in addition to server errors.
    """

    title: str
    body_bytes: int
    error_style: ErrorStyle = "problem"
    ready: Callable[[], str] = str
    lifespan: Callable[[], AbstractAsyncContextManager[None]] = _nothing
    admit: "Callable[[Request], None] | None" = None
    logging: Logging = _DEFAULT_LOGGING


class App:
    """Dispatches requests to handlers; `draining` while it shuts down."""

    def __init__(self, routes: Sequence[Route], options: AppOptions, metrics: Metrics | None = None) -> None:
        self.options = options
        self.metrics = metrics or Metrics()
        self.draining = False
        self._openapi = json_bytes(document(options.title, routes, needs_key=options.admit is not None))
        self._routes: dict[str, dict[str, Route]] = {}
        for route in (*routes, *self._standard_routes()):
            self._routes.setdefault(route.path, {})[route.method] = route

    def refusal(self, request: Request) -> Problem | None:
        """Why a request is rejected on its headers alone, before its body is read; None if it is not.

        Authentication comes first, so that an unauthenticated caller learns nothing, not even which paths exist.
        """
        request.route = self._routes.get(request.path, {}).get("GET" if request.method == "HEAD" else request.method)
        try:
            if self.options.admit is not None and request.path not in STANDARD_PATHS:
                self.options.admit(request)
        except Problem as problem:
            return problem
        declared = request.headers.get(b"content-length", b"")
        if request.route is None and (declared or b"transfer-encoding" in request.headers):
            return self._no_route(request)  # otherwise a client could make us buffer a body
        return self.too_large(request) if declared.isdigit() and int(declared) > self.body_bytes(request) else None

    def body_bytes(self, request: Request) -> int:
        """Maximum size of the body of this request: the app's limit if its route reads one."""
        takes_body = request.route is not None and request.route.body is not None
        return self.options.body_bytes if takes_body else min(self.options.body_bytes, UNUSED_BODY_BYTES)

    def too_large(self, request: Request) -> Problem:
        """The problem for a body over the limit."""
        detail = f"the body is larger than {self.body_bytes(request)} bytes"
        return Problem(413, "Content Too Large", detail, code="too-large")

    def answer(self, request: Request) -> Handled:
        """The response of the request's handler, or the one for its error; does not raise."""
        try:
            if request.route is None:
                raise self._no_route(request)
            answer = request.route.handler(request)
        except Problem as problem:
            return self.problem_response(request, problem)
        except LightragctlError as error:
            return self.problem_response(request, problem_of(error))
        except Exception:
            log.exception("%s %s failed", request.method, request.path)
            return self.problem_response(request, _BROKEN)
        return answer if isinstance(answer, Response) else self._awaited(request, answer)

    async def _awaited(self, request: Request, coming: Awaitable[Answer]) -> Answer:
        trace = request.header("traceparent")
        TRACE.set(trace if _TRACE.fullmatch(trace) else "")
        try:
            return await coming
        except Problem as problem:
            return self.problem_response(request, problem)
        except LightragctlError as error:
            return self.problem_response(request, problem_of(error))
        except Exception:
            log.exception("%s %s failed", request.method, request.path)
            return self.problem_response(request, _BROKEN)

    def problem_response(self, request: Request, problem: Problem) -> Response:
        """The response for a problem; server errors are logged."""
        if problem.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            log.warning("%s %s: %s", request.method, request.path, problem)
        return responses.problem_response(problem, self.options.error_style)

    def record(self, request: Request, code: int) -> None:
        """Count a finished request, and log it if `logging` selects it."""
        seconds = time.perf_counter() - request.began_s
        name = request.route.name if request.route is not None else "unknown"
        self.metrics.request(name, code, seconds)
        logging_ = self.options.logging
        if seconds >= logging_.slow_s or (logging_.ratio and random.random() < logging_.ratio):
            log.info("%s %d in %.3f s %s", name, code, seconds, request.header("traceparent"))

    def _no_route(self, request: Request) -> Problem:
        methods = self._routes.get(request.path)
        if not methods:
            hint = "GET /openapi.json lists the paths"
            return Problem(404, "Not Found", f"no such path: {request.path}", hint, "not-found")
        allowed = ", ".join(sorted(methods | ({"HEAD": None} if "GET" in methods else {})))
        detail = f"{request.path} supports {allowed}"
        return Problem(405, "Method Not Allowed", detail, code="method-not-allowed", headers=(("allow", allowed),))

    def _standard_routes(self) -> tuple[Route, ...]:
        def healthz(_: Request) -> Response:
            return json_response({"status": "ok"})

        def readyz(_: Request) -> Response:
            reason = "draining" if self.draining else self.options.ready()
            if reason:
                raise Problem(503, "Not Ready", reason, code="not-ready", headers=(("retry-after", "1"),))
            return json_response({"status": "ready"})

        def metrics(_: Request) -> Response:
            return Response(self.metrics.text(), content_type=CONTENT_TYPE)

        def openapi(_: Request) -> Response:
            return Response(self._openapi)

        handlers = (healthz, readyz, metrics, openapi)
        return tuple(Route("GET", path, handler) for path, handler in zip(STANDARD_PATHS, handlers, strict=True))

    async def watch_lag(self) -> None:
        """Measure event loop lag until cancelled: how late this task is woken."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + _LAG_EVERY_S
            await asyncio.sleep(_LAG_EVERY_S)
            self.metrics.loop_lag_seconds.set(max(0.0, loop.time() - due))

    def drain(self) -> None:
        """Report not ready, while requests that still arrive are served."""
        self.draining = True
        self.metrics.draining.set(1)


def _decoder(type_: object) -> "msgspec.json.Decoder[Any]":
    decoder = _DECODERS.get(type_)
    if decoder is None:
        decoder = _DECODERS[type_] = msgspec.json.Decoder(type_)
    return decoder


def _field_error(error: msgspec.ValidationError) -> str:
    """msgspec's message, prefixed with the field: `top_k: Expected int, got str`."""
    message, _, path = str(error).replace("`", "").partition(" - at ")
    return f"{path.removeprefix('$').removeprefix('.')}: {message}" if path else message
