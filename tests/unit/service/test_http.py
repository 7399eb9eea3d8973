"""The HTTP part all services share, without sockets: what a request is answered."""

import logging
from collections.abc import AsyncGenerator
from typing import Any

import msgspec
import pytest

from lightragctl.core.errors import LightragctlError, RefusedError, UnavailableError, UsageError, WaitExpired
from lightragctl.core.settings import Logging
from lightragctl.service import http
from lightragctl.service.batch import QueueFullError
from tests.fakes.http import ask


class Item(msgspec.Struct):
    name: str
    count: int = 1


class Asked(msgspec.Struct, forbid_unknown_fields=True):
    limit: int = 10
    after: str = ""


async def echo(request: http.Request) -> http.Response:
    item = request.json(Item)
    return http.json_response({"name": item.name, "count": item.count}, 201)


async def listing(request: http.Request) -> http.Response:
    return http.json_response(request.query(Asked))


def app_of(*routes: http.Route, **options: Any) -> http.App:
    given = (
        http.Route("POST", "/items", echo, "Make an item", body=Item, answer=Item),
        http.Route("GET", "/items", listing, "List items", query=Asked),
    )
    return http.App((*given, *routes), http.AppOptions("test", body_bytes=64, **options))


def failing(error: Exception) -> http.App:
    async def handler(_: http.Request) -> http.Response:
        raise error

    return app_of(http.Route("GET", "/fail", handler))


def test_a_body_is_decoded_into_its_type_and_answered_as_json() -> None:
    answer = ask(app_of(), "POST", "/items", '{"name": "苹果"}'.encode())
    assert (answer.status, answer.json()) == (201, {"name": "苹果", "count": 1})
    assert answer.headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b'{"name": 5}', "name: Expected str, got int"),
        (b'{"name": "a", "count": "x"}', "count: Expected int, got str"),
        (b"{}", "missing required field name"),
        (b"[]", "Expected object, got array"),
        (b'{"name": ', "not valid JSON"),
        (b'{"name": "\xff"}', "not valid JSON"),
        (b"  ", "the body is empty"),
    ],
)
def test_a_bad_body_is_400_and_says_what_is_wrong(body: bytes, says: str) -> None:
    answer = ask(app_of(), "POST", "/items", body)
    assert answer.status == 400
    assert answer.headers["content-type"] == "application/problem+json"
    assert says in answer.json()["detail"]


def test_deeply_nested_json_is_400() -> None:
    app = http.App((http.Route("POST", "/items", echo, body=Item),), http.AppOptions("test", body_bytes=1_000_000))
    answer = ask(app, "POST", "/items", b'{"x": ' + b"[" * 200_000 + b"]" * 200_000 + b', "name": "a"}')
    assert answer.status in (201, 400)


@pytest.mark.parametrize(("encoding", "status"), [("utf-8-sig", 201), ("utf-16", 400)])
def test_a_byte_order_mark_is_no_part_of_the_json(encoding: str, status: int) -> None:
    assert ask(app_of(), "POST", "/items", '{"name": "苹果"}'.encode(encoding)).status == status


@pytest.mark.parametrize(("method", "path", "status"), [("POST", "/nothing", 404), ("PUT", "/items", 405)])
def test_a_body_that_nothing_reads_is_not_received(method: str, path: str, status: int) -> None:
    request = http.Request(method, path.encode(), {b"content-length": b"60"})
    problem = app_of().refusal(request)
    assert problem is not None
    assert problem.status == status


def test_a_body_of_a_request_that_takes_none_is_small() -> None:
    app = http.App((), http.AppOptions("test", body_bytes=1_000_000))
    problem = app.refusal(http.Request("GET", b"/healthz", {b"content-length": b"%d" % (http.UNUSED_BODY_BYTES + 1)}))
    assert problem is not None
    assert problem.status == 413


def test_a_declared_body_over_the_limit_is_413_without_being_read() -> None:
    answer = ask(app_of(), "POST", "/items", b"", content_length="65")
    assert answer.status == 413
    assert "64 bytes" in answer.json()["detail"]


@pytest.mark.parametrize(("content_type", "status"), [("text/plain", 415), ("application/json; charset=utf-8", 201)])
def test_only_json_is_taken(content_type: str, status: int) -> None:
    assert ask(app_of(), "POST", "/items", b'{"name": "a"}', content_type=content_type).status == status


def test_a_compressed_body_is_415() -> None:
    assert ask(app_of(), "POST", "/items", b"x", content_encoding="gzip").status == 415


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", {"limit": 10, "after": ""}),
        ("?limit=5&after=%E4%B8%AD", {"limit": 5, "after": "中"}),
        ("?limit=", {"limit": 10, "after": ""}),
    ],
)
def test_a_query_string_is_decoded_into_its_type(query: str, expected: dict[str, object]) -> None:
    assert ask(app_of(), "GET", f"/items{query}").json() == expected


@pytest.mark.parametrize(
    ("query", "says"),
    [("limit=x", "limit: "), ("limit=1&limit=2", "twice"), ("nope=1", "nope"), ("after=%ff", "decoded")],
)
def test_a_bad_query_string_is_400(query: str, says: str) -> None:
    answer = ask(app_of(), "GET", f"/items?{query}")
    assert answer.status == 400
    assert says in answer.json()["detail"]


def test_an_unknown_path_is_404() -> None:
    answer = ask(app_of(), "GET", "/nothing")
    assert answer.status == 404
    assert answer.json()["type"] == "urn:lightragctl:not-found"


def test_a_wrong_method_is_405_and_names_the_right_ones() -> None:
    answer = ask(app_of(), "DELETE", "/items")
    assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD, POST")


@pytest.mark.parametrize(
    ("error", "status", "retry_after"),
    [
        (QueueFullError(100, 7), 429, "7"),
        (UnavailableError("no store"), 503, "1"),
        (WaitExpired("too slow"), 504, "1"),
        (UsageError("bad"), 400, None),
        (RefusedError("other model"), 409, None),
        (LightragctlError("broken"), 500, None),
    ],
)
def test_our_errors_have_their_status(error: LightragctlError, status: int, retry_after: str | None) -> None:
    answer = ask(failing(error), "GET", "/fail")
    assert (answer.status, answer.headers.get("retry-after")) == (status, retry_after)
    assert answer.json()["detail"] == error.message
    assert answer.json()["type"] == f"urn:lightragctl:{error.code}"


def test_an_unexpected_error_is_500_without_its_text_and_logged_with_its_trace(
    caplog: pytest.LogCaptureFixture,
) -> None:
    answer = ask(failing(ZeroDivisionError("secret")), "GET", "/fail")
    assert answer.status == 500
    assert "secret" not in answer.body.decode()
    assert any(record.exc_info for record in caplog.records if record.levelno == logging.ERROR)


def test_errors_come_in_openai_shape_where_that_is_asked() -> None:
    answer = ask(app_of(error_style="openai"), "POST", "/items", b"{}")
    assert answer.json()["error"]["type"] == "invalid_request_error"
    assert "name" in answer.json()["error"]["message"]


def test_ready_says_why_not() -> None:
    reasons = ["no search has succeeded yet"]
    app = app_of(ready=lambda: reasons[0])
    answer = ask(app, "GET", "/readyz")
    assert (answer.status, answer.json()["detail"]) == (503, "no search has succeeded yet")
    reasons[0] = ""
    assert ask(app, "GET", "/readyz").status == 200
    assert ask(app, "GET", "/healthz").json() == {"status": "ok"}


def test_metrics_count_requests_by_route_and_code_with_a_bound_at_half_a_second() -> None:
    app = app_of()
    ask(app, "GET", "/items")
    ask(app, "GET", "/made-up-by-the-client")
    text = ask(app, "GET", "/metrics").body.decode()
    assert 'lightragctl_http_requests_total{code="200",route="GET /items"} 1.0' in text
    assert 'lightragctl_http_requests_total{code="404",route="unknown"} 1.0' in text
    assert 'le="0.5",route="GET /items"' in text
    assert "made-up" not in text


def test_openapi_describes_the_routes() -> None:
    document = ask(app_of(), "GET", "/openapi.json").json()
    post = document["paths"]["/items"]["post"]
    assert post["requestBody"]["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/Item"}
    assert document["components"]["schemas"]["Item"]["required"] == ["name"]
    names = [part["name"] for part in document["paths"]["/items"]["get"]["parameters"]]
    assert names == ["limit", "after"]


def guarded() -> http.App:
    def admit(request: http.Request) -> None:
        if request.header("authorization") != "Bearer k":
            raise http.Problem(401, "Unauthorized", "a key is needed", headers=(("www-authenticate", "Bearer"),))

    return app_of(admit=admit)


@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/items"), ("GET", "/items"), ("DELETE", "/items"), ("GET", "/nothing")]
)
def test_a_stranger_is_told_nothing_but_that_a_key_is_needed(method: str, path: str) -> None:
    answer = ask(guarded(), method, path, b"x" * 100)
    assert (answer.status, answer.headers["content-type"]) == (401, "application/problem+json")
    assert answer.headers["www-authenticate"] == "Bearer"
    assert ask(guarded(), method, path, b'{"name": "a"}', authorization="Bearer k").status != 401


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics", "/openapi.json"])
def test_what_every_app_has_is_answered_without_a_key(path: str) -> None:
    assert ask(guarded(), "GET", path).status == 200


def test_openapi_says_how_to_give_a_key_where_one_is_asked_for() -> None:
    described = ask(guarded(), "GET", "/openapi.json").json()
    schemes = described["components"]["securitySchemes"]
    assert schemes["bearer"] == {"type": "http", "scheme": "bearer"}
    assert schemes["header"]["name"] == "X-API-Key"
    assert [list(one) for one in described["security"]] == [["bearer"], ["header"]]
    assert "security" not in ask(app_of(), "GET", "/openapi.json").json()


def streaming(pieces: AsyncGenerator[bytes, None]) -> http.App:
    async def handler(_: http.Request) -> http.Streaming:
        return http.Streaming(pieces)

    return app_of(http.Route("GET", "/stream", handler))


def test_a_stream_is_sent_to_its_end() -> None:
    async def pieces() -> AsyncGenerator[bytes, None]:
        yield b"one\n"
        yield b"two\n"

    answer = ask(streaming(pieces()), "GET", "/stream")
    assert (answer.body, answer.headers["content-type"]) == (b"one\ntwo\n", "application/x-ndjson")


def test_slow_answers_are_logged_and_a_sample_of_the_others(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    def logged(settings: Logging) -> bool:
        caplog.clear()
        ask(app_of(logging=settings), "GET", "/items", traceparent="00-" + "a" * 32 + "-" + "b" * 16 + "-01")
        return any("GET /items 200 in" in record.message and "aaaa" in record.message for record in caplog.records)

    assert not logged(Logging())
    assert logged(Logging(slow_s=1e-9))
    assert logged(Logging(ratio=1.0))
