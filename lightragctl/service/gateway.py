"""model-gateway: the one door to models. Passes OpenAI-shaped calls on to the configured endpoints. Network I/O.

Bodies and status codes pass through in both directions, so that the caller sees what the model's server said. The keys
of the endpoints live here and nowhere else: what an endpoint says when it refuses may quote them, so it is redacted.
"""

import asyncio
import contextlib
import logging
import re
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

import aiohttp
import msgspec

from lightragctl.core.errors import UsageError
from lightragctl.core.settings import GatewaySettings, SecretRef, Upstream
from lightragctl.service import http, server
from lightragctl.service.answers import EVENTS, JSON, Headers
from lightragctl.service.models import open_session
from lightragctl.service.redaction import redacted, without_credentials
from lightragctl.service.trace import trace_headers
from lightragctl.service.wire import (
    CHAT_PATH,
    EMBEDDINGS_PATH,
    MODELS_PATH,
    ChatCompletion,
    ChatRequest,
    EmbeddingsAnswer,
    EmbeddingsRequest,
    ModelCard,
    ModelList,
)

log = logging.getLogger(__name__)

_PASSED_BACK = ("retry-after", "retry-after-ms", "x-request-id")
"""Headers of an endpoint's answer that are given to the caller beside the content type."""

_RETRY_AFTER: Headers = (("retry-after", "2"),)
"""What a caller is told to wait when an endpoint cannot be reached: about the time a container needs to come back."""

_KEY_REFUSED = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.PROXY_AUTHENTICATION_REQUIRED)
"""Their text is about the key, often quotes it in part, and is of no use to a caller, who has no key to mend."""

_ERROR_FIRST = re.compile(rb'\s*\{\s*"error"')
"""How a body begins that is an error whatever its status says."""

_ERROR_BODY_BYTES = 65_536
_ERROR_BODY_S = 5.0
"""How much of an error is passed on, and how long it may take to come once its head is there."""

_MODELS_DEADLINE_S = 5.0
"""For listing models, which costs an endpoint nothing."""


@dataclass(frozen=True)
class _Endpoint:
    """An upstream with its key read."""

    base_url: str
    headers: Mapping[str, str]
    name: str
    shown_url: str
    key: str = ""


def read_secret(secret: SecretRef, environ: Mapping[str, str], what: str) -> str:
    """The value of a secret from the environment or a file, without white space around it.

    Raises UsageError, which names `what` and the place but never the value.
    """
    if secret.env is not None:
        place, value = f"environment variable {secret.env}", environ.get(secret.env, "")
    elif secret.file is not None:
        place = f"file {secret.file}"
        try:
            value = Path(secret.file).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"cannot read {what} from {place}: {error}", "check the path and its rights") from error
    else:
        hint = "mount it as a file or an environment variable and name that instead"
        raise UsageError(f"{what} is a Kubernetes Secret, which this process cannot read by itself", hint)
    value = value.strip()
    if not value:
        raise UsageError(f"{what} is missing: {place} is not set or empty", f"set the {place}")
    if not (value.isascii() and value.isprintable()):
        raise UsageError(f"{what} from {place} has characters that cannot stand in an HTTP header")
    return value


def _endpoint(upstream: Upstream, environ: Mapping[str, str], name: str) -> _Endpoint:
    if not upstream.url.startswith(("http://", "https://")):
        raise UsageError(f"{name}.url is {upstream.url!r}", "write it as http://host:port, without /v1")
    key = read_secret(upstream.api_key, environ, f"{name}.api_key") if upstream.api_key is not None else ""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    base_url = upstream.url.rstrip("/")
    return _Endpoint(base_url, headers, name, without_credentials(base_url), key)


class _Gateway:
    def __init__(self, settings: GatewaySettings, environ: Mapping[str, str]) -> None:
        self._embedding = _endpoint(settings.embedding, environ, "embedding")
        self._chat = _endpoint(settings.chat, environ, "chat")
        self._timeout_s = settings.timeout_s
        self._session: aiohttp.ClientSession | None = None

    @asynccontextmanager
    async def lifespan(self) -> AsyncGenerator[None, None]:
        async with open_session() as session:
            self._session = session
            yield

    async def embeddings(self, request: http.Request) -> http.Response | http.Streaming:
        return await self._pass_on(request, self._embedding, EMBEDDINGS_PATH)

    async def chat(self, request: http.Request) -> http.Response | http.Streaming:
        return await self._pass_on(request, self._chat, CHAT_PATH)

    async def models(self, _: http.Request) -> http.Response:
        """The models of both endpoints; one that does not answer is left out, so 200 even when none does."""
        endpoints = [self._embedding]
        if (self._chat.base_url, self._chat.key) != (self._embedding.base_url, self._embedding.key):
            endpoints.append(self._chat)
        lists = await asyncio.gather(*(self._list(endpoint) for endpoint in endpoints))
        cards = {card.id: card for cards in reversed(lists) for card in cards}
        return http.json_response(ModelList(list(cards.values())))

    async def _list(self, endpoint: _Endpoint) -> list[ModelCard]:
        try:
            async with await self._open("GET", endpoint, MODELS_PATH, b"", _MODELS_DEADLINE_S) as answer:
                return msgspec.json.decode(await answer.read(), type=ModelList).data
        except http.Problem as problem:
            log.warning("models are not listed: %s", problem)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            log.warning("models are not listed: %s gave %s", endpoint.shown_url, error)
        return []

    async def _pass_on(self, request: http.Request, endpoint: _Endpoint, path: str) -> http.Response | http.Streaming:
        """The endpoint's answer; one that comes in pieces is passed on piece by piece."""
        answer = await self._open("POST", endpoint, path, request.json_body(), self._timeout_s)
        passed = [(name, answer.headers[name]) for name in _PASSED_BACK if name in answer.headers]
        kind = answer.headers.get("Content-Type", JSON)
        if answer.status == HTTPStatus.OK and kind.startswith(EVENTS):
            return http.Streaming(_pieces(answer, endpoint.key), kind, passed)
        async with answer:
            if answer.status >= HTTPStatus.BAD_REQUEST:
                return await _refusal(answer, endpoint, kind, passed)
            with _explained(endpoint.shown_url + path, self._timeout_s):
                body = await answer.read()
        if answer.status < HTTPStatus.OK:
            raise http.Problem(502, "Bad Gateway", f"{endpoint.shown_url + path} answered {answer.status}")
        if _ERROR_FIRST.match(body):
            body = redacted(body, endpoint.key)
        return http.Response(body, answer.status, kind, passed)

    async def _open(
        self, method: str, endpoint: _Endpoint, path: str, body: bytes, deadline_s: float
    ) -> aiohttp.ClientResponse:
        """An answer whose head has come; to be closed by the caller. The deadline is for all of it."""
        if self._session is None:
            raise RuntimeError("the app's lifespan was not entered")
        url = endpoint.base_url + path
        headers = {"Content-Type": JSON, **endpoint.headers, **trace_headers()}
        timeout = aiohttp.ClientTimeout(total=deadline_s)
        with _explained(endpoint.shown_url + path, deadline_s):
            return await self._session.request(
                method, url, data=body, headers=headers, timeout=timeout, allow_redirects=False
            )


async def _refusal(
    answer: aiohttp.ClientResponse, endpoint: _Endpoint, kind: str, passed: Sequence[tuple[str, str]]
) -> http.Response:
    """An endpoint's answer that is an error, without the key that it may quote."""
    if answer.status in _KEY_REFUSED:
        message = f"the {endpoint.name} endpoint {endpoint.shown_url} refuses the key that model-gateway sends"
        error = {"message": message, "type": "invalid_request_error", "param": None, "code": "upstream_key"}
        log.warning("%s (%d)", message, answer.status)
        return http.Response(http.json_bytes({"error": error}), answer.status, JSON, passed)
    return http.Response(redacted(await _start_of(answer), endpoint.key), answer.status, kind, passed)


async def _start_of(answer: aiohttp.ClientResponse) -> bytes:
    """The first of what an error says: it may be a stream that does not end."""
    text = b""
    with contextlib.suppress(TimeoutError, aiohttp.ClientError):
        async with asyncio.timeout(_ERROR_BODY_S):
            async for piece in answer.content.iter_any():
                text += piece
                if len(text) >= _ERROR_BODY_BYTES:
                    break
    return text[:_ERROR_BODY_BYTES]


async def _pieces(answer: aiohttp.ClientResponse, key: str) -> AsyncGenerator[bytes, None]:
    async with answer:
        async for piece in answer.content.iter_any():
            yield redacted(piece, key) if b'"error"' in piece else piece


@contextmanager
def _explained(url: str, deadline_s: float) -> Iterator[None]:
    """Tell the caller what is wrong with the endpoint."""
    try:
        yield
    except TimeoutError as error:
        detail = f"{url} did not answer within {deadline_s:g} s"
        raise http.Problem(504, "Gateway Timeout", detail, code="upstream_timeout") from error
    except aiohttp.ClientConnectorError as error:
        detail = f"cannot connect to {url}: {error.strerror or error}"
        raise http.Problem(
            503, "Service Unavailable", detail, "is it running?", "upstream_unreachable", _RETRY_AFTER
        ) from error
    except aiohttp.ClientError as error:
        detail = f"{url} broke the connection: {error}"
        raise http.Problem(502, "Bad Gateway", detail, code="upstream_broken", headers=_RETRY_AFTER) from error


def create_app(settings: GatewaySettings, environ: Mapping[str, str]) -> http.App:
    """The gateway's app. Raises UsageError when a key is missing. Ready at once: it waits for no endpoint."""
    gateway = _Gateway(settings, environ)
    routes = (
        http.Route(
            "POST",
            EMBEDDINGS_PATH,
            gateway.embeddings,
            "Passed on to the embedding endpoint",
            body=EmbeddingsRequest,
            answer=EmbeddingsAnswer,
            abandon=True,
        ),
        http.Route(
            "POST",
            CHAT_PATH,
            gateway.chat,
            "Passed on to the chat endpoint",
            body=ChatRequest,
            answer=ChatCompletion,
            abandon=True,
        ),
        http.Route("GET", MODELS_PATH, gateway.models, "The models of both endpoints", answer=ModelList),
    )
    options = http.AppOptions("model-gateway", settings.body_bytes, "openai", lifespan=gateway.lifespan)
    return http.App(routes, options)


def serve(settings: GatewaySettings, environ: Mapping[str, str]) -> None:
    """Serve until SIGTERM. Keys named by environment variables are read from `environ`."""
    server.run(create_app(settings, environ), settings)
