"""The small common part of our HTTP services, without sockets: `service.server` brings requests and takes answers away.

An app is a tuple of `Route`s and `AppOptions`. A handler takes a `Request` and returns a `Response` or a `Streaming`,
at once or to be awaited; it fails by raising `Problem` or any `LightragctlError` (see `problem_of`). Each app also
answers `/healthz` (the process is alive), `/readyz`, `/metrics` and `/openapi.json`.
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
    problem_response,
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
"""More fields than this in a query string are refused before they are parsed."""

STANDARD_PATHS = ("/healthz", "/readyz", "/metrics", "/openapi.json")
"""What every app answers, to everybody."""

USELESS_BODY_BYTES = 4096
"""The greatest body of a request whose route reads none."""

CLIENT_GONE = 499
"""Code in the metrics of a request whose client went away; nobody sees it as an answer."""


_USUAL_LOGGING = Logging()
_BROKEN = Problem(500, "Internal Server Error", "the service failed; its log has the details", code="bug")


class Request:
    """One request.

    Attributes:
        path: percent-decoded, without the query string.
        headers: values by lower-case name.
        body: whole when a handler sees it, and never over the app's limit.
        keep_alive: the connection may be used again.
        chunks: the client understands an answer in chunks, which HTTP/1.0 does not.
        route: what answers it; None when there is nothing there.
        began_s: when its headers were read, on `time.perf_counter`.
        share: what its body takes of the memory for bodies, given back when nothing refers to it any more.
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
        """A header by its lower-case name; empty when absent."""
        value = self.headers.get(name.encode("latin-1"))
        return value.decode("latin-1") if value else ""

    def check_json(self) -> None:
        """415 for a body that is declared as something else than plain JSON."""
        content_type = self.header("content-type").partition(";")[0].strip().lower()
        if content_type not in ("", JSON):
            hint = f"send the header Content-Type: {JSON}"
            raise Problem(415, "Unsupported Media Type", f"the body is declared as {content_type}", hint)
        if self.header("content-encoding").lower() not in ("", "identity"):
            raise Problem(415, "Unsupported Media Type", "a compressed body is not supported")

    def json_body(self) -> bytes:
        """The body as UTF-8 without a byte-order mark (RFC 8259, 8.1); 400 for UTF-16, 415 for another content type."""
        self.check_json()
        if self.body.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            raise Problem(400, "Bad Request", "the body is UTF-16", "send JSON as UTF-8", "invalid-json")
        return self.body.removeprefix(codecs.BOM_UTF8)

    def json(self, type_: type[S]) -> S:
        """The body as `type_` (a msgspec Struct); 415 for another content type, 400 for what does not fit."""
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
        """The query string as `type_`; a blank value counts as absent; 400 for what does not fit."""
        try:
            text = self._query.decode("ascii")
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


def _split(target: bytes) -> tuple[str, bytes]:
    """Path and query string of what stands in the request line."""
    path, _, query = target.partition(b"?")
    if not path.startswith(b"/"):  # http://host/path, as a proxy is asked
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
        logging: which answers are logged beside those that are our fault.
    """

    title: str
    body_bytes: int
    error_style: ErrorStyle = "problem"
    ready: Callable[[], str] = str
    lifespan: Callable[[], AbstractAsyncContextManager[None]] = _nothing
    admit: "Callable[[Request], None] | None" = None
    logging: Logging = _USUAL_LOGGING


class App:
    """Answers requests; `draining` once it was asked to take no more."""

    def __init__(self, routes: Sequence[Route], options: AppOptions, metrics: Metrics | None = None) -> None:
        self.options = options
        self.metrics = metrics or Metrics()
        self.draining = False
        self._openapi = json_bytes(document(options.title, routes, needs_key=options.admit is not None))
        self._routes: dict[str, dict[str, Route]] = {}
        for route in (*routes, *self._standard_routes()):
            self._routes.setdefault(route.path, {})[route.method] = route

    def refusal(self, request: Request) -> Problem | None:
        """What a request is told on its headers alone, before its body is read.

        A stranger's comes before everything else, so that he learns nothing, not even which paths there are.
        """
        request.route = self._routes.get(request.path, {}).get("GET" if request.method == "HEAD" else request.method)
        try:
            if self.options.admit is not None and request.path not in STANDARD_PATHS:
                self.options.admit(request)
        except Problem as problem:
            return problem
        declared = request.headers.get(b"content-length", b"")
        if request.route is None and (declared or b"transfer-encoding" in request.headers):
            return self._no_route(request)  # whoever needs no key could have a body kept here otherwise
        return self.too_large(request) if declared.isdigit() and int(declared) > self.body_bytes(request) else None

    def body_bytes(self, request: Request) -> int:
        """The greatest body of this request: the app's limit where a body is of use."""
        takes_body = request.route is not None and request.route.body is not None
        return self.options.body_bytes if takes_body else min(self.options.body_bytes, USELESS_BODY_BYTES)

    def too_large(self, request: Request) -> Problem:
        """What a request with too large a body is told."""
        detail = f"the body is larger than {self.body_bytes(request)} bytes"
        return Problem(413, "Content Too Large", detail, code="too-large")

    def answer(self, request: Request) -> Handled:
        """The answer of the request's handler, or what it failed with; does not raise."""
        try:
            if request.route is None:
                raise self._no_route(request)
            answer = request.route.handler(request)
        except Problem as problem:
            return self.told(request, problem)
        except LightragctlError as error:
            return self.told(request, problem_of(error))
        except Exception:
            log.exception("%s %s failed", request.method, request.path)
            return self.told(request, _BROKEN)
        return answer if isinstance(answer, Response) else self._awaited(request, answer)

    async def _awaited(self, request: Request, coming: Awaitable[Answer]) -> Answer:
        trace = request.header("traceparent")
        TRACE.set(trace if _TRACE.fullmatch(trace) else "")
        try:
            return await coming
        except Problem as problem:
            return self.told(request, problem)
        except LightragctlError as error:
            return self.told(request, problem_of(error))
        except Exception:
            log.exception("%s %s failed", request.method, request.path)
            return self.told(request, _BROKEN)

    def told(self, request: Request, problem: Problem) -> Response:
        """The answer that tells a problem; one that is ours is logged."""
        if problem.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            log.warning("%s %s: %s", request.method, request.path, problem)
        return problem_response(problem, self.options.error_style)

    def note(self, request: Request, code: int) -> None:
        """Count a request that was answered, or whose client went away; what `logging` says is logged."""
        seconds = time.perf_counter() - request.began_s
        name = request.route.name if request.route is not None else "unknown"
        self.metrics.request(name, code, seconds)
        logging_ = self.options.logging
        if seconds >= logging_.slow_s or (logging_.ratio and random.random() < logging_.ratio):
            log.info("%s %d in %.3f s %s", name, code, seconds, request.header("traceparent"))

    def _no_route(self, request: Request) -> Problem:
        methods = self._routes.get(request.path)
        if not methods:
            hint = "GET /openapi.json lists what there is"
            return Problem(404, "Not Found", f"there is nothing at {request.path}", hint, "no-route")
        allowed = ", ".join(sorted(methods | ({"HEAD": None} if "GET" in methods else {})))
        detail = f"{request.path} takes {allowed}"
        return Problem(405, "Method Not Allowed", detail, code="method", headers=(("allow", allowed),))

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
        """Note without end how late this very task is woken: by as much every answer is late."""
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
