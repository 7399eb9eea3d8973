"""model-gateway: a reverse proxy for OpenAI-compatible model endpoints. Network I/O.

Bodies and status codes pass through in both directions, so that callers see the endpoint's own response. An error with
status 200 gets a proper status. Only the gateway holds the API keys of the endpoints. Error texts may quote them, so
they are redacted.

Embeddings and chats have separate connection pools, and calls over the limit are rejected at once: slow calls of one
kind never delay the other.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

import aiohttp
import msgspec

from lightragctl.core.errors import UsageError
from lightragctl.core.proxies import proxy_for
from lightragctl.core.settings import GatewaySettings, SecretRef, Upstream
from lightragctl.core.urls import shown
from lightragctl.service import http, server
from lightragctl.service.concurrency_limit import ConcurrencyLimit
from lightragctl.service.model_clients import CONNECT_S, CONNECTIONS, open_session
from lightragctl.service.openai_responses import refusal_in
from lightragctl.service.openai_schema import (
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
from lightragctl.service.redaction import redacted
from lightragctl.service.responses import EVENTS, JSON, Headers, problem_response
from lightragctl.service.trace import trace_headers

log = logging.getLogger(__name__)

_FORWARDED_HEADERS = ("retry-after", "retry-after-ms", "x-request-id")
"""Response headers that are forwarded to the caller beside the content type."""

_RETRY_AFTER: Headers = (("retry-after", "2"),)
"""Retry-After when an endpoint is unreachable: about the time that a container needs to restart."""

_ERROR_BODY_BYTES = 65_536
_ERROR_BODY_S = 5.0
"""How much of an error body is forwarded, and how long to wait for it after the headers."""

_MODELS_DEADLINE_S = 5.0
"""Timeout for listing models, which is cheap."""


@dataclass(frozen=True)
class _Endpoint:
    """An upstream with its API key (empty without one) and the proxy that leads to it."""

    base_url: str
    name: str
    api_key: str = ""
    proxy: str | None = None

    @property
    def headers(self) -> Mapping[str, str]:
        return {"Authorization": f"Bearer {self.api_key}"} if self.api_key else {}

    def redacted(self, text: bytes) -> bytes:
        """The text without the endpoint's key and without anything that looks like a key."""
        return redacted(text, self.api_key)


def secret_value(secret: SecretRef, environ: Mapping[str, str], what: str) -> str:
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
            hint = "check the path and its permissions"
            raise UsageError(f"cannot read {what} from {place}: {error}", hint) from error
    else:
        hint = "mount it as a file or an environment variable and refer to that"
        raise UsageError(f"{what} is a Kubernetes Secret, which this process cannot read by itself", hint)
    value = value.strip()
    if not value:
        raise UsageError(f"{what} is missing: {place} is not set or empty", f"set the {place}")
    return value


def read_secret(secret: SecretRef, environ: Mapping[str, str], what: str) -> str:
    """The value of a secret that is sent in an HTTP header.

    Raises:
        UsageError: it cannot be read, or has characters that are invalid in a header.
    """
    value = secret_value(secret, environ, what)
    if not (value.isascii() and value.isprintable()):
        place = f"environment variable {secret.env}" if secret.env else f"file {secret.file}"
        raise UsageError(f"{what} from {place} has characters that are invalid in an HTTP header", "check the key")
    return value


def _endpoint(upstream: Upstream, environ: Mapping[str, str], name: str) -> _Endpoint:
    if not upstream.url.startswith(("http://", "https://")):
        raise UsageError(f"{name}.url is {shown(upstream.url)!r}", "use the form http://host:port, without /v1")
    key = read_secret(upstream.api_key, environ, f"{name}.api_key") if upstream.api_key else ""
    url = upstream.url.rstrip("/")
    return _Endpoint(url, name, key, proxy_for(url, environ))


class _Kind:
    """One kind of call: its endpoint, its path, and the limit of calls in flight."""

    def __init__(self, endpoint: _Endpoint, path: str, what: str) -> None:
        self.endpoint = endpoint
        self.path = path
        self.bound = ConcurrencyLimit(what, CONNECTIONS)


class _Gateway:
    def __init__(self, settings: GatewaySettings, environ: Mapping[str, str]) -> None:
        self._embedding = _Kind(_endpoint(settings.embedding, environ, "embedding"), EMBEDDINGS_PATH, "embedding calls")
        self._chat = _Kind(_endpoint(settings.chat, environ, "chat"), CHAT_PATH, "chats")
        self._timeout_s = settings.timeout_s
        self._sessions: dict[str, aiohttp.ClientSession] = {}

    @asynccontextmanager
    async def lifespan(self) -> AsyncGenerator[None, None]:
        async with AsyncExitStack() as stack:
            for path in (EMBEDDINGS_PATH, CHAT_PATH, MODELS_PATH):
                self._sessions[path] = await stack.enter_async_context(open_session())
            yield

    async def embeddings(self, request: http.Request) -> http.Response | http.Streaming:
        return await self._forward(request, self._embedding)

    async def chat(self, request: http.Request) -> http.Response | http.Streaming:
        return await self._forward(request, self._chat)

    async def models(self, _: http.Request) -> http.Response:
        """The models of both endpoints; an endpoint that does not respond is left out, so always 200."""
        embedding, chat = self._embedding.endpoint, self._chat.endpoint
        is_one = (embedding.base_url, embedding.api_key) == (chat.base_url, chat.api_key)
        endpoints = [embedding] if is_one else [embedding, chat]
        lists = await asyncio.gather(*(self._list(endpoint) for endpoint in endpoints))
        cards = {card.id: card for cards in reversed(lists) for card in cards}
        return http.json_response(ModelList(list(cards.values())))

    async def _list(self, endpoint: _Endpoint) -> list[ModelCard]:
        try:
            async with await self._open("GET", endpoint, MODELS_PATH, b"", _MODELS_DEADLINE_S) as answer:
                return msgspec.json.decode(await answer.read(), type=ModelList).data
        except http.Problem as problem:
            log.warning("cannot list models: %s", problem)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            log.warning("cannot list models: %s returned %s", shown(endpoint.base_url), error)
        return []

    async def _forward(self, request: http.Request, kind: _Kind) -> http.Response | http.Streaming:
        """The endpoint's response; a stream is forwarded piece by piece."""
        async with AsyncExitStack() as held:
            held.enter_context(kind.bound.place())
            opened = await self._open("POST", kind.endpoint, kind.path, request.json_body(), self._timeout_s)
            answer = await held.enter_async_context(opened)
            passed = [(name, answer.headers[name]) for name in _FORWARDED_HEADERS if name in answer.headers]
            content_type = answer.headers.get("Content-Type", JSON)
            if answer.status >= HTTPStatus.BAD_REQUEST:
                return _response(kind.endpoint, answer.status, await _error_body(answer), content_type, passed)
            with _mapped_errors(shown(str(answer.url)), self._timeout_s):
                if answer.status != HTTPStatus.OK or not content_type.startswith(EVENTS):
                    return _response(kind.endpoint, answer.status, await answer.read(), content_type, passed)
                first = await answer.content.readany()
            event = first.partition(b"\n")[0].removeprefix(b"data:")
            if refusal_in(event):
                return _response(kind.endpoint, answer.status, event, JSON, passed)
            pieces = _pieces(first, answer, kind.endpoint, held.pop_all())
            return http.Streaming(_started(await anext(pieces), pieces), content_type, passed)

    async def _open(
        self, method: str, endpoint: _Endpoint, path: str, body: bytes, deadline_s: float
    ) -> aiohttp.ClientResponse:
        """A response whose headers have arrived; closed by the caller. The deadline is for all of it."""
        session = self._sessions.get(path)
        if session is None:
            raise RuntimeError("the app's lifespan was not entered")
        url = endpoint.base_url + path
        headers = {"Content-Type": JSON, **endpoint.headers, **trace_headers()}
        timeout = aiohttp.ClientTimeout(total=deadline_s, sock_connect=CONNECT_S)
        proxy = endpoint.proxy
        through = f" through the proxy {shown(proxy)}" if proxy else ""
        with _mapped_errors(shown(url) + through, deadline_s):
            return await session.request(
                method, url, data=body, headers=headers, timeout=timeout, allow_redirects=False, proxy=proxy
            )


def _response(endpoint: _Endpoint, status: int, body: bytes, content_type: str, headers: Headers) -> http.Response:
    """The response for the caller."""
    url = shown(endpoint.base_url)
    if status < HTTPStatus.OK:
        raise http.Problem(HTTPStatus.BAD_GATEWAY, "Bad Gateway", f"{url} responded with {status}")
    refusal = refusal_in(body, status)
    if refusal is None:
        return http.Response(body, status, content_type, headers)
    if refusal.text:
        return http.Response(endpoint.redacted(body), refusal.status, content_type, headers)
    detail = f"the {endpoint.name} endpoint {url} rejected the API key of model-gateway"
    hint = "check the endpoint's API key in the profile"
    problem = http.Problem(refusal.status, "Rejected", detail, hint, "upstream_key", headers)
    log.warning("%s (%d)", detail, refusal.status)
    return problem_response(problem, "openai")


async def _error_body(answer: aiohttp.ClientResponse) -> bytes:
    """The beginning of an error body, which may be an endless stream."""
    text = b""
    with contextlib.suppress(TimeoutError, aiohttp.ClientError):
        async with asyncio.timeout(_ERROR_BODY_S):
            async for piece in answer.content.iter_any():
                text += piece
                if len(text) >= _ERROR_BODY_BYTES:
                    break
    return text[:_ERROR_BODY_BYTES]


async def _pieces(
    first: bytes, answer: aiohttp.ClientResponse, endpoint: _Endpoint, held: AsyncExitStack
) -> AsyncGenerator[bytes, None]:
    """The pieces of a stream; `held`, its connection and its slot, is released at the end."""
    async with held:
        yield first
        async for piece in answer.content.iter_any():
            yield endpoint.redacted(piece) if b'"error"' in piece else piece


async def _started(first: bytes, rest: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    """A started generator with its first piece put back; closed even if no further piece is requested."""
    async with aclosing(rest):
        yield first
        async for piece in rest:
            yield piece


@contextmanager
def _mapped_errors(url: str, deadline_s: float) -> Iterator[None]:
    """Map errors of the endpoint to problems."""
    try:
        yield
    except aiohttp.ConnectionTimeoutError as error:
        detail = f"no connection to {url} within {CONNECT_S:g} s"
        raise http.Problem(
            504, "Gateway Timeout", detail, "check that it is running", "upstream_unreachable", _RETRY_AFTER
        ) from error
    except TimeoutError as error:
        detail = f"{url} did not respond within {deadline_s:g} s"
        raise http.Problem(504, "Gateway Timeout", detail, code="upstream_timeout") from error
    except aiohttp.ClientConnectorError as error:
        detail = f"cannot connect to {url}: {error.strerror or error}"
        raise http.Problem(
            503, "Service Unavailable", detail, "check that it is running", "upstream_unreachable", _RETRY_AFTER
        ) from error
    except aiohttp.ClientError as error:
        detail = f"{url} closed the connection: {error}"
        raise http.Problem(502, "Bad Gateway", detail, code="upstream_broken", headers=_RETRY_AFTER) from error


def create_app(settings: GatewaySettings, environ: Mapping[str, str]) -> http.App:
    """The gateway's app. Raises UsageError if a key is missing. Ready at once: it does not wait for endpoints."""
    gateway = _Gateway(settings, environ)
    routes = (
        http.Route(
            "POST",
            EMBEDDINGS_PATH,
            gateway.embeddings,
            "Embed texts (forwarded)",
            body=EmbeddingsRequest,
            answer=EmbeddingsAnswer,
            abandon=True,
        ),
        http.Route(
            "POST",
            CHAT_PATH,
            gateway.chat,
            "Chat completion (forwarded)",
            body=ChatRequest,
            answer=ChatCompletion,
            abandon=True,
        ),
        http.Route("GET", MODELS_PATH, gateway.models, "List the models of both endpoints", answer=ModelList),
    )
    options = http.AppOptions("model-gateway", settings.body_bytes, "openai", lifespan=gateway.lifespan)
    return http.App(routes, options)


def serve(settings: GatewaySettings, environ: Mapping[str, str]) -> None:
    """Serve until SIGTERM. API keys in environment variables are read from `environ`."""
    server.run(create_app(settings, environ), settings)
