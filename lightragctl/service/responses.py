"""Responses of our HTTP services: whole, streamed, or a problem (RFC 9457). Pure."""

import math
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Literal

import msgspec
import orjson

from lightragctl.core.errors import LightragctlError, RefusedError, UnavailableError, UsageError, WaitExpired
from lightragctl.core.hint import hint_parts
from lightragctl.service.batch import QueueFullError

ErrorStyle = Literal["problem", "openai"]
Headers = Sequence[tuple[str, str]]

JSON = "application/json"
PROBLEM_JSON = "application/problem+json"
NDJSON = "application/x-ndjson"
EVENTS = "text/event-stream"


@dataclass(eq=False)
class Problem(Exception):
    """An error response.

    `code` is for programs (`urn:lightragctl:<code>`), `detail` says what is wrong with this request, `hint` how to fix
    it.
    """

    status: int
    title: str
    detail: str = ""
    hint: str = ""
    code: str = ""
    headers: Headers = ()

    def __str__(self) -> str:
        return f"{self.status} {self.title}: {self.detail}"


@dataclass(frozen=True, slots=True)
class Response:
    """A complete response."""

    body: bytes
    status: int = 200
    content_type: str = JSON
    headers: Headers = ()


@dataclass(frozen=True, slots=True)
class Streaming:
    """A streamed response with status 200; the generator is closed when the client disconnects."""

    pieces: AsyncGenerator[bytes, None]
    content_type: str = NDJSON
    headers: Headers = ()


def json_response(data: object, status: int = 200, headers: Headers = ()) -> Response:
    """A JSON response; `data` may contain msgspec Structs."""
    return Response(json_bytes(data), status, JSON, headers)


def json_bytes(data: object) -> bytes:
    """JSON of plain data and msgspec Structs."""
    return orjson.dumps(data, default=msgspec.to_builtins)


_STATUS_OF: tuple[tuple[type[LightragctlError], int], ...] = (
    (QueueFullError, 429),
    (WaitExpired, 504),
    (UnavailableError, 503),
    (UsageError, 400),
    (RefusedError, 409),
)


def problem_of(error: LightragctlError) -> Problem:
    """The problem for an error: 429, 503 and 504 carry Retry-After (`error.retry_after_s`, else 1 s).

    Retry-After is in whole seconds, at least 1; `retry-after-ms`, which OpenAI's clients read, has milliseconds.
    """
    status = next((status for type_, status in _STATUS_OF if isinstance(error, type_)), 500)
    headers: Headers = ()
    if status in (429, 503, 504):
        pause_s = getattr(error, "retry_after_s", None)
        seconds = 1.0 if pause_s is None else float(pause_s)
        headers = (("retry-after", str(max(1, math.ceil(seconds)))), ("retry-after-ms", str(math.ceil(seconds * 1000))))
    return Problem(status, HTTPStatus(status).phrase, error.message, error.hint, error.code, headers)


def problem_body(problem: Problem) -> dict[str, object]:
    """The members of an application/problem+json document."""
    return {
        "type": f"urn:lightragctl:{problem.code}" if problem.code else "about:blank",
        "title": problem.title,
        "status": problem.status,
        "detail": problem.detail,
        "hint": problem.hint,
        **({"hint_parts": parts} if (parts := hint_parts(problem.hint)) else {}),
    }


def problem_response(problem: Problem, style: ErrorStyle = "problem") -> Response:
    """The response for a problem, as problem+json or in OpenAI's format."""
    if style == "problem":
        return Response(json_bytes(problem_body(problem)), problem.status, PROBLEM_JSON, problem.headers)
    kind = "server_error" if problem.status >= HTTPStatus.INTERNAL_SERVER_ERROR else "invalid_request_error"
    if problem.status == HTTPStatus.TOO_MANY_REQUESTS:
        kind = "rate_limit_error"
    message = "; ".join(part for part in (problem.detail or problem.title, problem.hint) if part)
    error = {"message": message, "type": kind, "param": None, "code": problem.code or None}
    return Response(json_bytes({"error": error}), problem.status, JSON, problem.headers)
