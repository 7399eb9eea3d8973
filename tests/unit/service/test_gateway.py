"""model-gateway between a caller and endpoints whose answers are given; all on loopback sockets."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from lightragctl.core.errors import UsageError
from lightragctl.core.settings import GatewaySettings, SecretKey, SecretRef, Upstream
from lightragctl.service import http
from lightragctl.service.gateway import create_app, read_secret
from tests.fakes.http import call as asked

Handler = Callable[[web.Request], Awaitable[web.Response]]
NOWHERE = "http://127.0.0.1:1"


def settings(url: str, chat: str = NOWHERE, key: SecretRef | None = None, timeout_s: float = 5) -> GatewaySettings:
    upstream = Upstream(url=url, api_key=key)
    return GatewaySettings(port=1, embedding=upstream, chat=Upstream(url=chat), timeout_s=timeout_s)


async def call(app: http.App, method: str, path: str, body: bytes = b"{}") -> tuple[int, dict[str, str], Any]:
    async with app.options.lifespan():
        answer = await asked(app, method, path, body)
    return answer.status, answer.headers, answer.json()


def through(
    handler: Handler, use: Callable[[str], Awaitable[tuple[int, dict[str, str], Any]]]
) -> tuple[int, dict[str, str], Any]:
    """What `use(url)` gives while an endpoint with this handler runs at `url`."""

    async def test() -> tuple[int, dict[str, str], Any]:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", handler)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        try:
            return await use(f"http://127.0.0.1:{runner.addresses[0][1]}")
        finally:
            await runner.cleanup()

    return asyncio.run(asyncio.wait_for(test(), 20))


def test_bodies_keys_and_answers_pass_through(tmp_path: Path) -> None:
    seen: list[tuple[str, str, str]] = []

    async def endpoint(request: web.Request) -> web.Response:
        seen.append((request.path, request.headers.get("Authorization", ""), await request.text()))
        return web.json_response({"ok": True})

    key = tmp_path / "key"
    key.write_text("s3cret\n")
    sent = '{"model": "m", "input": "苹果", "unknown": [1]}'

    async def use(url: str) -> tuple[int, dict[str, str], Any]:
        app = create_app(settings(url, key=SecretRef(file=str(key))), {})
        return await call(app, "POST", "/v1/embeddings", sent.encode())

    status, _, body = through(endpoint, use)
    assert (status, body) == (200, {"ok": True})
    assert seen == [("/v1/embeddings", "Bearer s3cret", sent)]


def test_an_endpoints_refusal_passes_through_with_its_time_to_wait() -> None:
    async def endpoint(_: web.Request) -> web.Response:
        return web.json_response({"error": {"message": "busy"}}, status=429, headers={"Retry-After": "9"})

    async def use(url: str) -> tuple[int, dict[str, str], Any]:
        return await call(create_app(settings(NOWHERE, url), {}), "POST", "/v1/chat/completions")

    status, headers, body = through(endpoint, use)
    assert (status, headers["retry-after"], body["error"]["message"]) == (429, "9", "busy")


@pytest.mark.parametrize("status", [400, 429, 499, 503, 520, 529])
@pytest.mark.parametrize("kind", ["application/json", "text/event-stream", "text/plain; name=\u82f9"])
def test_an_error_keeps_its_status_whatever_its_type(status: int, kind: str) -> None:
    async def endpoint(_: web.Request) -> web.Response:
        return web.Response(text='{"error": 1}', status=status, headers={"Content-Type": kind, "Retry-After": "3"})

    async def use(url: str) -> tuple[int, dict[str, str], Any]:
        return await call(create_app(settings(NOWHERE, url), {}), "POST", "/v1/chat/completions")

    status_, headers, body = through(endpoint, use)
    assert (status_, headers["retry-after"], body) == (status, "3", {"error": 1})


@pytest.mark.parametrize("status", [200, 400, 401, 403, 429, 500])
@pytest.mark.parametrize("quoted", ["topsecret", "sk-abcDEF0123456789", "sk-pr********wxyz", "Bearer abcdef0123"])
def test_no_key_that_an_endpoint_quotes_reaches_the_caller_or_the_log(
    status: int, quoted: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def endpoint(_: web.Request) -> web.Response:
        error = {"error": {"message": f"Incorrect API key provided: {quoted}. Get one.", "code": "invalid_api_key"}}
        return web.json_response(error, status=status)

    async def use(url: str) -> tuple[int, dict[str, str], Any]:
        app = create_app(settings(NOWHERE, url) if quoted != "topsecret" else keyed(url), {"K": "topsecret"})
        return await call(app, "POST", "/v1/chat/completions")

    got, _, body = through(endpoint, use)
    assert got == status
    secret = quoted.removeprefix("Bearer ")
    assert secret not in str(body) + caplog.text
    assert "wxyz" not in str(body) + caplog.text
    assert body["error"]["code"] == ("upstream_key" if status in (401, 403) else "invalid_api_key")


def keyed(url: str) -> GatewaySettings:
    chat = Upstream(url=url, api_key=SecretRef(env="K"))
    return GatewaySettings(port=1, embedding=Upstream(url=NOWHERE), chat=chat, timeout_s=5)


def test_credentials_in_an_endpoints_url_are_not_shown() -> None:
    app = create_app(settings("http://me:pw@127.0.0.1:1"), {})
    _, _, body = asyncio.run(call(app, "POST", "/v1/embeddings"))
    assert "pw" not in str(body)
    assert "127.0.0.1:1" in str(body)


def test_a_byte_order_mark_does_not_reach_the_endpoint() -> None:
    seen: list[bytes] = []

    async def endpoint(request: web.Request) -> web.Response:
        seen.append(await request.read())
        return web.json_response({})

    async def use(url: str) -> tuple[int, dict[str, str], Any]:
        return await call(create_app(settings(url), {}), "POST", "/v1/embeddings", b"\xef\xbb\xbf{}")

    assert through(endpoint, use)[0] == 200
    assert seen == [b"{}"]


def test_an_endpoint_that_is_not_there_is_503_with_retry_after() -> None:
    status, headers, body = asyncio.run(call(create_app(settings(NOWHERE), {}), "POST", "/v1/embeddings"))
    assert (status, headers["retry-after"], body["error"]["code"]) == (503, "2", "upstream_unreachable")
    assert NOWHERE in body["error"]["message"]


def test_a_slow_endpoint_is_504() -> None:
    async def endpoint(_: web.Request) -> web.Response:
        await asyncio.Event().wait()
        return web.Response()

    async def use(url: str) -> tuple[int, dict[str, str], Any]:
        return await call(create_app(settings(url, timeout_s=0.05), {}), "POST", "/v1/embeddings")

    status, _, body = through(endpoint, use)
    assert (status, body["error"]["code"]) == (504, "upstream_timeout")


def test_a_broken_connection_is_502() -> None:
    async def endpoint(request: web.Request) -> web.Response:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    async def use(url: str) -> tuple[int, dict[str, str], Any]:
        return await call(create_app(settings(url), {}), "POST", "/v1/embeddings")

    status, headers, _ = through(endpoint, use)
    assert (status, headers["retry-after"]) == (502, "2")


def test_models_of_both_endpoints_are_listed_and_a_dead_one_is_left_out() -> None:
    async def endpoint(_: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": [{"id": "e5", "object": "model", "owned_by": "x"}]})

    async def use(url: str) -> tuple[int, dict[str, str], Any]:
        return await call(create_app(settings(NOWHERE, url), {}), "GET", "/v1/models")

    status, _, body = through(endpoint, use)
    assert (status, [card["id"] for card in body["data"]]) == (200, ["e5"])


def test_the_gateway_is_ready_without_its_endpoints() -> None:
    assert asyncio.run(call(create_app(settings(NOWHERE), {}), "GET", "/readyz"))[0] == 200


def test_a_missing_key_is_told_at_start() -> None:
    with pytest.raises(UsageError, match=r"embedding\.api_key is missing: environment variable NO_KEY"):
        create_app(settings(NOWHERE, key=SecretRef(env="NO_KEY")), {"OTHER": "x"})


def test_a_url_without_scheme_is_told_at_start() -> None:
    with pytest.raises(UsageError, match=r"embedding\.url"):
        create_app(settings("localhost:8083"), {})


@pytest.mark.parametrize(
    ("secret", "environ", "says"),
    [
        (SecretRef(env="K"), {"K": "  "}, "not set or empty"),
        (SecretRef(env="K"), {"K": "a\nb"}, "cannot stand in an HTTP header"),
        (SecretRef(file="/nowhere/key"), {}, "cannot read the key"),
        (SecretRef(secret=SecretKey(name="n", key="k")), {}, "Kubernetes Secret"),
    ],
)
def test_an_unusable_key_is_told_without_its_value(secret: SecretRef, environ: dict[str, str], says: str) -> None:
    with pytest.raises(UsageError, match=says) as error:
        read_secret(secret, environ, "the key")
    assert "a\nb" not in error.value.message


def test_a_key_is_read_from_the_environment() -> None:
    assert read_secret(SecretRef(env="K"), {"K": "s3cret\n"}, "the key") == "s3cret"
