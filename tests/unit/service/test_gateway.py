"""model-gateway between a caller and endpoints whose answers are given; all on loopback sockets."""

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from lightragctl.core.errors import UsageError
from lightragctl.core.settings import GatewaySettings, SecretKey, SecretRef, Upstream
from lightragctl.service import http
from lightragctl.service.gateway import create_app, read_secret
from lightragctl.service.model_clients import CONNECTIONS
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
    assert got == (401 if status == 200 else status), "an error inside a 200 gets the status that it stands for"
    secret = quoted.removeprefix("Bearer ")
    assert secret not in str(body) + caplog.text
    assert "wxyz" not in str(body) + caplog.text
    assert body["error"]["code"] == "upstream_key"


@pytest.mark.parametrize("quoted", ["topsecret", "sk_abcDEF0123456789", "Bearer abcdef0123"])
def test_other_errors_keep_their_text_without_what_looks_like_a_key(quoted: str) -> None:
    async def endpoint(_: web.Request) -> web.Response:
        error = {"error": {"message": f"the quota of {quoted} is spent", "code": "insufficient_quota"}}
        return web.json_response(error, status=429)

    async def use(url: str) -> tuple[int, dict[str, str], Any]:
        return await call(create_app(keyed(url), {"K": "topsecret"}), "POST", "/v1/chat/completions")

    got, _, body = through(endpoint, use)
    assert got == 429
    assert "is spent" in body["error"]["message"]
    assert quoted.removeprefix("Bearer ") not in str(body)


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


OUTSIDE = "http://models.example/base"


def test_an_endpoint_of_others_is_asked_through_the_environments_proxy() -> None:
    seen: list[str] = []

    async def proxy(request: web.Request) -> web.Response:
        seen.append(str(request.url))
        return web.json_response({"ok": True})

    async def use(url: str) -> tuple[int, dict[str, str], Any]:
        return await call(create_app(settings(OUTSIDE), {"http_proxy": url}), "POST", "/v1/embeddings")

    status, _, body = through(proxy, use)
    assert (status, body, seen) == (200, {"ok": True}, [f"{OUTSIDE}/v1/embeddings"])


def test_an_endpoint_of_the_release_is_asked_directly() -> None:
    async def endpoint(_: web.Request) -> web.Response:
        return web.json_response({"ok": True})

    async def use(url: str) -> tuple[int, dict[str, str], Any]:
        environ = dict.fromkeys(("http_proxy", "HTTP_PROXY", "all_proxy"), NOWHERE)
        return await call(create_app(settings(url), environ), "POST", "/v1/embeddings")

    assert through(endpoint, use)[0] == 200


def test_a_proxy_that_does_not_answer_is_named_without_its_password() -> None:
    app = create_app(settings(OUTSIDE), {"http_proxy": "http://ann:secret@127.0.0.1:1"})
    status, _, body = asyncio.run(call(app, "POST", "/v1/embeddings"))
    assert (status, body["error"]["code"]) == (503, "upstream_unreachable")
    assert f"{OUTSIDE}/v1/embeddings through the proxy http://***@127.0.0.1:1" in body["error"]["message"]
    assert "secret" not in body["error"]["message"]


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
        (SecretRef(env="K"), {"K": "a\nb"}, "invalid in an HTTP header"),
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


Answer = tuple[int, dict[str, str], Any]


async def slow_chats(kinds: "Counter[str]", go: asyncio.Event, request: web.Request) -> web.Response:
    kinds[request.path] += 1
    if request.path.endswith("completions"):
        await go.wait()
    return web.json_response({"data": []})


def test_slow_chats_leave_embeddings_alone_and_more_of_them_are_refused() -> None:
    kinds: Counter[str] = Counter()
    go = asyncio.Event()

    async def use(url: str) -> Answer:
        app = create_app(settings(url, url, timeout_s=30), {})
        async with app.options.lifespan():
            chats = [asyncio.create_task(asked(app, "POST", "/v1/chat/completions", b"{}")) for _ in range(CONNECTIONS)]
            while kinds["/v1/chat/completions"] < CONNECTIONS:
                await asyncio.sleep(0.01)
            for _ in range(5):
                refused = await asked(app, "POST", "/v1/chat/completions", b"{}")
                assert (refused.status, refused.headers["retry-after"]) == (429, "1")
                assert refused.json()["error"]["type"] == "rate_limit_error"
                assert (await asked(app, "POST", "/v1/embeddings", b"{}")).status == 200
            go.set()
            assert {answer.status for answer in await asyncio.gather(*chats)} == {200}
            again = await asked(app, "POST", "/v1/chat/completions", b"{}")
            return again.status, again.headers, again.json()

    assert through(partial(slow_chats, kinds, go), use)[0] == 200
    assert kinds == {"/v1/chat/completions": CONNECTIONS + 1, "/v1/embeddings": 5}


def passed_on(answer: Callable[[], web.Response], key: SecretRef | None = None) -> Answer:
    """What the gateway makes of an endpoint's answer to a chat."""

    async def endpoint(_: web.Request) -> web.Response:
        return answer()

    async def use(url: str) -> Answer:
        app = create_app(
            GatewaySettings(port=1, embedding=Upstream(url=url), chat=Upstream(url=url, api_key=key)), {"K": "s3cret"}
        )
        async with app.options.lifespan():
            given = await asked(app, "POST", "/v1/chat/completions", b"{}")
        return given.status, given.headers, given.body

    return through(endpoint, use)


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(("code", "status"), [(503, 503), ("rate_limit_exceeded", 429), (None, 502)])
def test_an_error_inside_a_200_gets_a_status(code: object, status: int, streamed: bool) -> None:
    body = json.dumps({"error": {"message": "the model is asleep", "code": code}})
    answer = web.Response(text=f"data: {body}\n\n" if streamed else body)
    answer.content_type = "text/event-stream" if streamed else "application/json"
    got, headers, raw = passed_on(lambda: answer)
    assert (got, headers["content-type"].split(";")[0]) == (status, "application/json")
    assert json.loads(raw)["error"]["message"] == "the model is asleep"


def test_an_error_that_is_declared_as_a_stream_keeps_its_status() -> None:
    assert passed_on(lambda: web.Response(text="no", status=429, content_type="text/event-stream"))[0] == 429


@pytest.mark.parametrize(
    ("status", "text"), [(401, "bad"), (403, "bad"), (200, "Incorrect API key provided: sk-a"), (400, "got s3cret")]
)
def test_what_an_endpoint_says_of_a_key_stays_here(status: int, text: str) -> None:
    body = {"error": {"message": text, "code": "invalid_api_key" if status == 200 else None}}
    got, _, raw = passed_on(lambda: web.json_response(body, status=status), SecretRef(env="K"))
    assert got == (401 if status == 200 else status)
    assert not any(word in raw for word in (b"bad", b"sk-", b"s3cret"))


def test_a_stream_passes_through_and_gives_its_place_back() -> None:
    body = 'data: {"choices": []}\n\ndata: [DONE]\n\n'
    for _ in range(2):
        got, headers, raw = passed_on(lambda: web.Response(text=body, content_type="text/event-stream"))
        assert (got, headers["content-type"], raw.decode()) == (200, "text/event-stream; charset=utf-8", body)
