"""model-gateway: the one door to models. Passes OpenAI-shaped calls on to the configured endpoints. Network I/O.

Bodies and status codes pass through in both directions, so that the caller sees what the model's server said. An error
that it tells with status 200 gets a status of its own. The keys of the endpoints live here and nowhere else: what an
endpoint says when it refuses may quote them, so it is redacted.

Embeddings and chats have connections of their own, and calls over their number are refused at once: slow ones of one
kind never keep those of the other waiting.
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

_PASSED_BACK = ("retry-after", "retry-after-ms", "x-request-id")
"""Headers of an endpoint's answer that are given to the caller beside the content type."""

_RETRY_AFTER: Headers = (("retry-after", "2"),)
"""What a caller is told to wait when an endpoint cannot be reached: about the time a container needs to come back."""

_ERROR_BODY_BYTES = 65_536
_ERROR_BODY_S = 5.0
"""How much of an error is passed on, and how long it may take to come once its head is there."""

_MODELS_DEADLINE_S = 5.0
"""For listing models, which costs an endpoint nothing."""


@dataclass(frozen=True)
class _Endpoint:
    """An upstream with its key read, empty where it has none, and the proxy that leads to it."""

    base_url: str
    name: str
    api_key: str = ""
    proxy: str | None = None

    @property
    def headers(self) -> Mapping[str, str]:
        return {"Authorization": f"Bearer {self.api_key}"} if self.api_key else {}

    def redacted(self, text: bytes) -> bytes:
        """What the endpoint says of itself, without the key that it was sent and what looks like one."""
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
            raise UsageError(f"cannot read {what} from {place}: {error}", "check the path and its rights") from error
    else:
        hint = "mount it as a file or an environment variable and name that instead"
        raise UsageError(f"{what} is a Kubernetes Secret, which this process cannot read by itself", hint)
    value = value.strip()
    if not value:
        raise UsageError(f"{what} is missing: {place} is not set or empty", f"set the {place}")
    return value


def read_secret(secret: SecretRef, environ: Mapping[str, str], what: str) -> str:
    """The value of a secret that is sent in an HTTP header.

    Raises:
        UsageError: it cannot be read, or has characters that a header cannot hold.
    """
    value = secret_value(secret, environ, what)
    if not (value.isascii() and value.isprintable()):
        place = f"environment variable {secret.env}" if secret.env else f"file {secret.file}"
        raise UsageError(f"{what} from {place} has characters that cannot stand in an HTTP header", "check the key")
    return value


def _endpoint(upstream: Upstream, environ: Mapping[str, str], name: str) -> _Endpoint:
    if not upstream.url.startswith(("http://", "https://")):
        raise UsageError(f"{name}.url is {shown(upstream.url)!r}", "write it as http://host:port, without /v1")
    key = read_secret(upstream.api_key, environ, f"{name}.api_key") if upstream.api_key else ""
    url = upstream.url.rstrip("/")
    return _Endpoint(url, name, key, proxy_for(url, environ))


class _Kind:
    """One kind of call: where it goes, through whose connections, and how many may be under way."""

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
        return await self._pass_on(request, self._embedding)

    async def chat(self, request: http.Request) -> http.Response | http.Streaming:
        return await self._pass_on(request, self._chat)

    async def models(self, _: http.Request) -> http.Response:
        """The models of both endpoints; one that does not answer is left out, so 200 even when none does."""
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
            log.warning("models are not listed: %s", problem)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            log.warning("models are not listed: %s gave %s", shown(endpoint.base_url), error)
        return []

    async def _pass_on(self, request: http.Request, kind: _Kind) -> http.Response | http.Streaming:
        """The endpoint's answer; one that comes in pieces is passed on piece by piece."""
        async with AsyncExitStack() as held:
            held.enter_context(kind.bound.place())
            opened = await self._open("POST", kind.endpoint, kind.path, request.json_body(), self._timeout_s)
            answer = await held.enter_async_context(opened)
            passed = [(name, answer.headers[name]) for name in _PASSED_BACK if name in answer.headers]
            content_type = answer.headers.get("Content-Type", JSON)
            if answer.status >= HTTPStatus.BAD_REQUEST:
                return _told(kind.endpoint, answer.status, await _start_of(answer), content_type, passed)
            with _explained(shown(str(answer.url)), self._timeout_s):
                if answer.status != HTTPStatus.OK or not content_type.startswith(EVENTS):
                    return _told(kind.endpoint, answer.status, await answer.read(), content_type, passed)
                first = await answer.content.readany()
            event = first.partition(b"\n")[0].removeprefix(b"data:")
            if refusal_in(event):
                return _told(kind.endpoint, answer.status, event, JSON, passed)
            pieces = _pieces(first, answer, kind.endpoint, held.pop_all())
            return http.Streaming(_begun(await anext(pieces), pieces), content_type, passed)

    async def _open(
        self, method: str, endpoint: _Endpoint, path: str, body: bytes, deadline_s: float
    ) -> aiohttp.ClientResponse:
        """An answer whose head has come; to be closed by the caller. The deadline is for all of it."""
        session = self._sessions.get(path)
        if session is None:
            raise RuntimeError("the app's lifespan was not entered")
        url = endpoint.base_url + path
        headers = {"Content-Type": JSON, **endpoint.headers, **trace_headers()}
        timeout = aiohttp.ClientTimeout(total=deadline_s, sock_connect=CONNECT_S)
        proxy = endpoint.proxy
        through = f" through the proxy {shown(proxy)}" if proxy else ""
        with _explained(shown(url) + through, deadline_s):
            return await session.request(
                method, url, data=body, headers=headers, timeout=timeout, allow_redirects=False, proxy=proxy
            )


def _told(endpoint: _Endpoint, status: int, body: bytes, content_type: str, headers: Headers) -> http.Response:
    """A whole answer as the caller gets it."""
    url = shown(endpoint.base_url)
    if status < HTTPStatus.OK:
        raise http.Problem(HTTPStatus.BAD_GATEWAY, "Bad Gateway", f"{url} answered {status}")
    refusal = refusal_in(body, status)
    if refusal is None:
        return http.Response(body, status, content_type, headers)
    if refusal.text:
        return http.Response(endpoint.redacted(body), refusal.status, content_type, headers)
    detail = f"the {endpoint.name} endpoint {url} refuses the key that model-gateway sends"
    problem = http.Problem(refusal.status, "Refused", detail, "check the key of the endpoint", "upstream_key", headers)
    log.warning("%s (%d)", detail, refusal.status)
    return problem_response(problem, "openai")


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


async def _pieces(
    first: bytes, answer: aiohttp.ClientResponse, endpoint: _Endpoint, held: AsyncExitStack
) -> AsyncGenerator[bytes, None]:
    """What an endpoint streams; `held`, its connection and its place, is given back at the end."""
    async with held:
        yield first
        async for piece in answer.content.iter_any():
            yield endpoint.redacted(piece) if b'"error"' in piece else piece


async def _begun(first: bytes, rest: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    """A generator that was begun, so that it is closed even if nobody asks for more, together with what it gave."""
    async with aclosing(rest):
        yield first
        async for piece in rest:
            yield piece


@contextmanager
def _explained(url: str, deadline_s: float) -> Iterator[None]:
    """Tell the caller what is wrong with the endpoint."""
    try:
        yield
    except aiohttp.ConnectionTimeoutError as error:
        detail = f"no connection to {url} within {CONNECT_S:g} s"
        raise http.Problem(
            504, "Gateway Timeout", detail, "is it running?", "upstream_unreachable", _RETRY_AFTER
        ) from error
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
