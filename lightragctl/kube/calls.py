"""Calls to an API server, with deadlines and retries. Network I/O through urllib3.

Every call of this package is safe to retry: it reads, applies the same body again, or has a precondition that fails if
an earlier attempt succeeded. `Answer.sent` > 1 shows that an earlier attempt may have taken effect.
"""

import itertools
import json
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlencode

import urllib3
from urllib3.exceptions import ConnectTimeoutError, HTTPError, NewConnectionError, ProxyError, SSLError, TimeoutError

from lightragctl.core.urls import shown
from lightragctl.kube.connection_errors import explain
from lightragctl.kube.model import ClusterUnavailableError

CALL_S = 20.0
"""Deadline of a call including retries; a loaded API server on a small machine took up to 2 s."""
CONNECT_S = 5.0
WORKERS = 16
"""Concurrent calls: an API server on two cores is no faster with more."""
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 2.0
_BUSY = (429, 500, 502, 503, 504)
_ERRORS = 4
"""Attempts of a call that returns 500: most such errors are permanent."""
_TYPED = "failed to create typed patch object"
"""The message for an unknown field in server-side apply, which returns 500."""


@dataclass(frozen=True)
class Answer:
    """A response of the API server.

    Attributes:
        status: of HTTP.
        content: its JSON; other text is in `message`.
        sent: number of attempts; if above 1, an earlier one may have taken effect.
        retry_after_s: from the header Retry-After; None without one.
    """

    status: int
    content: dict[str, Any]
    sent: int = 1
    retry_after_s: float | None = None

    @property
    def is_busy(self) -> bool:
        """Whether a retry may succeed."""
        if self.status == 500:
            return self.sent < _ERRORS and _TYPED not in str(self.content.get("message", ""))
        return self.status in _BUSY


@dataclass(frozen=True)
class Request:
    """A request: `path` from the root, `body` as JSON."""

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: Any = None


def pause_s(sent: int, retry_after_s: float | None, chance: float) -> float:
    """The pause before the next attempt: exponential back-off with jitter, after Retry-After.

    Args:
        sent: attempts so far.
        retry_after_s: from the server.
        chance: random, between 0 and 1.
    """
    longest_s: float = min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2 ** (sent - 1))
    return (retry_after_s or 0.0) + longest_s * (0.5 + chance / 2)


class Caller:
    """Sends calls on the official client's connections; thread-safe.

    Args:
        api: the official client, with address, credentials and proxy.
        name: of the cluster, for messages.
        pause: waits for some seconds.
    """

    def __init__(self, api: Any, name: str, pause: Callable[[float], object] = time.sleep) -> None:
        self._api, self._name, self._pause = api, name, pause
        self._is_reachable = False
        self.requests = 0
        """Number of requests sent, for measurements."""
        self.bytes_read = 0
        """Size of the bodies received, for measurements."""

    def call(self, request: Request, within_s: float = CALL_S) -> Answer:
        """The response, of any status; errors of a busy server are retried until the deadline.

        Connection errors are retried only if the server was reachable before.

        Raises:
            ClusterUnavailableError: no response within `within_s`.
        """
        until_s = time.monotonic() + within_s
        for sent in itertools.count(1):
            try:
                answer = self._once(request, until_s, sent)
            except HTTPError as error:
                wait_s = pause_s(sent, None, random.random())
                if not self._may_try_again(error) or time.monotonic() + wait_s >= until_s:
                    self._is_reachable = False
                    raise self.no_answer(error) from error
            else:
                self._is_reachable = True
                wait_s = pause_s(sent, answer.retry_after_s, random.random())
                if not answer.is_busy or time.monotonic() + wait_s >= until_s:
                    return answer
            self._pause(wait_s)
        raise AssertionError("counting does not end")

    def _may_try_again(self, error: HTTPError) -> bool:
        cause = getattr(error, "original_error", error)
        if isinstance(error, SSLError) or isinstance(cause, SSLError):
            return False
        return self._is_reachable or not isinstance(error, NewConnectionError | ConnectTimeoutError | ProxyError)

    def _once(self, request: Request, until_s: float, sent: int) -> Answer:
        left_s = max(0.01, until_s - time.monotonic())
        if request.method != "GET":  # the server cancels a write then too
            request = replace(request, query={**request.query, "timeout": f"{max(1, int(left_s))}s"})
        response = self.open(request, left_s)
        try:
            content = _content(response, until_s)
        except BaseException:
            response.close()
            raise
        response.release_conn()
        self.bytes_read += len(content)
        return Answer(response.status, _parsed(content), sent, _seconds(response.headers.get("Retry-After")))

    def open(self, request: Request, timeout_s: float = CALL_S) -> urllib3.BaseHTTPResponse:
        """A response whose body is not read yet, without retries. Raises urllib3's errors."""
        self.requests += 1
        headers = {"Accept": "application/json", "Content-Type": "application/json"}
        if request.method == "PATCH":  # always server-side apply; JSON is valid YAML
            headers["Content-Type"] = "application/apply-patch+yaml"
        self._api.update_params_for_auth(headers, [], ["BearerToken"], request.path, request.method, None)
        query = f"?{urlencode(request.query)}" if request.query else ""
        found: urllib3.BaseHTTPResponse = self._api.rest_client.pool_manager.request(
            request.method,
            f"{self._api.configuration.host}{request.path}{query}",
            body=None if request.body is None else json.dumps(request.body).encode(),
            headers=headers,
            timeout=urllib3.Timeout(connect=min(CONNECT_S, timeout_s), total=timeout_s),
            retries=False,
            preload_content=False,
        )
        return found

    @property
    def through(self) -> str:
        """The proxy to the server, as text; empty if there is none."""
        proxy = getattr(self._api.rest_client.pool_manager, "proxy", None)
        return f" through the proxy {shown(str(proxy))}" if proxy else ""

    def no_answer(self, error: HTTPError) -> ClusterUnavailableError:
        """The error for a missing response, with the proxy in use."""
        cause = str(getattr(error, "reason", None) or getattr(error, "original_error", None) or error)
        return ClusterUnavailableError(*explain(self._name, self.through, cause))


def _content(response: urllib3.BaseHTTPResponse, until_s: float) -> bytes:
    """The body, read in pieces: urllib3's timeout applies to each piece."""
    pieces = []
    while piece := response.read1(65536):
        pieces.append(piece)
        if time.monotonic() > until_s:
            raise TimeoutError("the response did not end in time")
    return b"".join(pieces)


def _seconds(text: str | None) -> float | None:
    return float(text) if text and text.isdecimal() else None


def _parsed(body: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(body)
    except ValueError:
        return {"message": body.decode("utf-8", "replace").strip()}
    return answer if isinstance(answer, dict) else {"message": str(answer)}
