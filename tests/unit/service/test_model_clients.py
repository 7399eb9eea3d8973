"""The clients of OpenAI-compatible endpoints, against a small server whose answers are given."""

import asyncio
import base64
import json
import re
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import numpy as np
import pytest
from aiohttp import web

from lightragctl.core.settings import EmbeddingModel
from lightragctl.service.model_clients import (
    ChatAnswer,
    ChatClient,
    EmbeddingClient,
    ModelError,
    ModelInputError,
    ModelTimeoutError,
    open_session,
    prompt,
)
from lightragctl.service.openai_schema import ChatChunk
from lightragctl.vectors.model import FloatArray

T = TypeVar("T")
MODEL = EmbeddingModel(name="m", dimension=2)


class Endpoint:
    """Answers every POST with `answer(body)` and keeps what was asked."""

    def __init__(self, answer: Callable[[dict[str, Any]], web.Response]) -> None:
        self.asked: list[dict[str, Any]] = []
        self._answer = answer

    async def handle(self, request: web.Request) -> web.Response:
        self.asked.append(json.loads(await request.text()))
        return self._answer(self.asked[-1])

    def run(self, use: Callable[[Any, str], Awaitable[T]]) -> T:
        async def test() -> T:
            app = web.Application()
            app.router.add_post("/{path:.*}", self.handle)
            runner = web.AppRunner(app)
            await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            port = runner.addresses[0][1]
            try:
                async with open_session() as session:
                    return await use(session, f"http://127.0.0.1:{port}/")
            finally:
                await runner.cleanup()

        return asyncio.run(asyncio.wait_for(test(), 20))


def given(*items: object, **more: object) -> Callable[[Any], web.Response]:
    data = [{"index": i, "embedding": item} for i, item in enumerate(items)]
    return lambda _: web.json_response({"data": data, **more})


def encoded(*values: float) -> str:
    return base64.b64encode(np.array(values, dtype="<f4").tobytes()).decode()


def embed(endpoint: Endpoint, texts: list[str]) -> FloatArray:
    return endpoint.run(lambda session, url: EmbeddingClient(session, url, MODEL, 5).embed(texts))


def test_vectors_are_asked_for_and_read_as_base64() -> None:
    endpoint = Endpoint(given(encoded(1, 2), encoded(3, 4)))
    assert embed(endpoint, ["a", "b"]).tolist() == [[1, 2], [3, 4]]
    assert endpoint.asked == [{"model": "m", "input": ["a", "b"], "encoding_format": "base64"}]


def test_a_server_that_ignores_base64_is_understood() -> None:
    assert embed(Endpoint(given([1.0, 2.0])), ["a"]).tolist() == [[1, 2]]


def test_vectors_are_put_in_order_by_index() -> None:
    data = [{"index": 1, "embedding": [3, 4]}, {"index": 0, "embedding": [1, 2]}]
    assert embed(Endpoint(lambda _: web.json_response({"data": data})), ["a", "b"]).tolist() == [[1, 2], [3, 4]]


def test_prefixes_are_put_before_the_texts() -> None:
    endpoint = Endpoint(given(encoded(1, 2)))

    async def use(session: Any, url: str) -> None:
        client = EmbeddingClient(session, url, MODEL, 5)
        await client.embed_queries(["苹果"])
        await client.embed_documents(["pie"])

    endpoint.run(use)
    assert [one["input"] for one in endpoint.asked] == [["query: 苹果"], ["passage: pie"]]


def test_no_texts_cost_no_call() -> None:
    endpoint = Endpoint(given())
    assert embed(endpoint, []).shape == (0, 2)
    assert endpoint.asked == []


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (given(encoded(1, 2, 3)), "vectors of 3 dimensions where 2 are expected"),
        (given(encoded(1, 2), encoded(1, 2)), "2 vectors for 1 texts"),
        (given(), "0 vectors for 1 texts"),
        (given(encoded(float("nan"), 1)), "NaN"),
        (given(encoded(float("inf"), 1)), "infinite"),
        (given(encoded(0, 0)), "zeros"),
        (given("!!!"), "an invalid vector"),
        (lambda _: web.json_response({"data": [{"index": 5, "embedding": [1, 2]}]}), "indexes [5] for 1 texts"),
        (lambda _: web.Response(text="<html>"), "does not follow OpenAI's schema"),
    ],
)
def test_a_wrong_answer_is_refused_and_named(answer: Callable[[Any], web.Response], says: str) -> None:
    with pytest.raises(ModelError, match=re.escape(says)):
        embed(Endpoint(answer), ["a"])


def refusing(status: int, **headers: str) -> Endpoint:
    body = {"error": {"message": "because", "type": "t", "code": None}}
    return Endpoint(lambda _: web.json_response(body, status=status, headers=headers))


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_refused_input_is_an_input_error(status: int) -> None:
    with pytest.raises(ModelInputError, match=f"{status}: because"):
        embed(refusing(status), ["a"])


@pytest.mark.parametrize(
    ("status", "retry_after", "hint"),
    [(401, None, "API key"), (404, None, "model's name"), (429, 7, "limit"), (503, 2, ""), (599, None, "")],
)
def test_other_refusals_keep_status_and_time_to_wait(status: int, retry_after: int | None, hint: str) -> None:
    headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
    with pytest.raises(ModelError, match="responded with 401$" if status == 401 else "because") as error:
        embed(refusing(status, **headers), ["a"])
    assert ("because" in error.value.message) == (status != 401), "the text may quote the key"
    assert (error.value.status, error.value.retry_after_s) == (status, retry_after)
    assert hint in error.value.hint


def test_an_endpoint_that_is_not_there_is_told_with_its_url() -> None:
    async def test() -> None:
        async with open_session() as session:
            await EmbeddingClient(session, "http://127.0.0.1:1", MODEL, 5).embed(["a"])

    with pytest.raises(ModelError, match=r"cannot reach http://127\.0\.0\.1:1/v1/embeddings"):
        asyncio.run(test())


def test_the_deadline_ends_a_call() -> None:
    async def test() -> None:
        async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read()  # until the client gives up
            writer.close()

        server = await asyncio.start_server(silent, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with server, open_session() as session:
            await EmbeddingClient(session, f"http://127.0.0.1:{port}", MODEL, 0.05).embed(["a"])

    with pytest.raises(ModelTimeoutError, match=r"did not respond within 0\.05 s"):
        asyncio.run(asyncio.wait_for(test(), 10))


def test_chat_gives_text_and_model() -> None:
    message = {"role": "assistant", "content": "yes [1]"}
    endpoint = Endpoint(lambda _: web.json_response({"choices": [{"message": message}], "model": "mock-llm"}))
    messages = prompt("why?", [{"source": "a.txt", "text": "because"}])
    got = endpoint.run(lambda session, url: ChatClient(session, url, "mock-llm", 5).complete(messages))
    assert (got.text, got.model) == ("yes [1]", "mock-llm")
    assert endpoint.asked[0]["messages"][1]["content"] == "Question: why?\n\nPassages:\n[1] (a.txt) because"


@pytest.mark.parametrize("choices", [[], [{"message": {"role": "assistant", "content": None}}]])
def test_an_empty_chat_answer_is_an_error(choices: list[object]) -> None:
    endpoint = Endpoint(lambda _: web.json_response({"choices": choices}))
    with pytest.raises(ModelError, match="empty answer"):
        endpoint.run(lambda session, url: ChatClient(session, url, "m", 5).complete([]))


def chat_of(answer: object) -> Endpoint:
    return Endpoint(lambda _: web.json_response(answer))


def asked_of(endpoint: Endpoint) -> ChatAnswer:
    return endpoint.run(lambda session, url: ChatClient(session, url, "m", 5).complete([]))


def streamed_of(endpoint: Endpoint) -> list[ChatChunk]:
    async def use(session: Any, url: str) -> list[ChatChunk]:
        return [piece async for piece in ChatClient(session, url, "m", 5).stream([])]

    return endpoint.run(use)


def events_of(*data: object) -> Endpoint:
    lines = "".join(f"data: {one if isinstance(one, str) else json.dumps(one)}\n\n" for one in data)
    return Endpoint(lambda _: web.Response(text=": ping\n\n" + lines, content_type="text/event-stream"))


@pytest.mark.parametrize(
    "answer",
    [
        {"data": [{"embedding": [1, 2]}, {"embedding": [3, 4]}], "model": None, "usage": None, "object": None},
        {"data": [{"embedding": encoded(1, 2), "index": None}, {"embedding": [3.0, 4], "index": None}], "error": None},
        {"data": [{"embedding": [3, 4], "index": 1, "object": 7}, {"embedding": [1, 2], "index": 0}], "usage": "none"},
    ],
)
def test_vectors_that_are_told_in_another_way_are_taken(answer: object) -> None:
    assert embed(chat_of(answer), ["a", "b"]).tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize("indexes", [(0, 0), (1, 2), (0, None)])
def test_vectors_whose_order_is_not_sure_are_refused(indexes: tuple[int | None, int | None]) -> None:
    data = [{"embedding": [1, 2], "index": index} for index in indexes]
    with pytest.raises(ModelError, match="with the indexes"):
        embed(chat_of({"data": data}), ["a", "b"])


MESSAGES = [
    {"role": "assistant", "content": "yes"},
    {"content": "yes", "tool_calls": None},
    {"content": [{"type": "text", "text": "y"}, {"type": "text", "text": "es"}]},
    {"content": None, "refusal": "yes"},
]


@pytest.mark.parametrize("message", MESSAGES)
def test_a_chat_answer_that_is_told_in_another_way_is_taken(message: dict[str, Any]) -> None:
    answer = {"choices": [{"message": message, "finish_reason": None}], "model": None, "id": 7, "usage": {"x": None}}
    assert asked_of(chat_of(answer)) == ChatAnswer("yes", "m")


@pytest.mark.parametrize(("reason", "truncated"), [("stop", False), (None, False), ("length", True)])
def test_an_answer_that_was_cut_off_says_so(reason: str | None, truncated: bool) -> None:
    answer = {"choices": [{"message": {"content": "yes"}, "finish_reason": reason}]}
    assert asked_of(chat_of(answer)).truncated is truncated


ERRORS = [
    ({"error": {"message": "the model is asleep", "code": "x"}}, 502),
    ({"error": {"message": "the model is asleep", "code": 503}}, 503),
    ({"error": {"message": "the model is asleep", "type": "rate_limit_error"}}, 429),
    ({"error": "the model is asleep"}, 502),
    ({"object": "error", "message": "the model is asleep", "code": 500}, 500),
]


@pytest.mark.parametrize(("answer", "status"), ERRORS)
def test_an_error_inside_a_200_is_told_with_its_cause(answer: object, status: int) -> None:
    asks: list[Callable[[], object]] = [
        lambda: embed(chat_of(answer), ["a"]),
        lambda: asked_of(chat_of(answer)),
        lambda: streamed_of(chat_of(answer)),
        lambda: streamed_of(events_of(answer)),
    ]
    for ask in asks:
        with pytest.raises(ModelError, match=f"responded with {status}: the model is asleep") as error:
            ask()
        assert error.value.status == status


def test_a_bad_input_inside_a_200_is_a_bad_input() -> None:
    with pytest.raises(ModelInputError, match="too long"):
        embed(chat_of({"error": {"message": "too long", "type": "invalid_request_error"}}), ["a"])


SECRET = "Incorrect API key provided: sk-abc***xyz"


@pytest.mark.parametrize("status", [200, 401, 403, 500])
def test_what_is_said_of_a_key_is_not_passed_on(status: int) -> None:
    body = {"error": {"message": SECRET, "code": "invalid_api_key"}}
    with pytest.raises(ModelError) as error:
        embed(Endpoint(lambda _: web.json_response(body, status=status)), ["a"])
    assert "sk-" not in f"{error.value.message} {error.value.hint}"


def piece(text: str | None, reason: str | None = None, **more: object) -> dict[str, object]:
    return {"choices": [{"delta": {"content": text}, "finish_reason": reason}], **more}


@pytest.mark.parametrize(
    "endpoint",
    [
        events_of(piece("y"), piece("es"), piece(None, "stop"), "[DONE]"),
        events_of(piece("y", model=None, id=None, created=None), piece("es"), {"choices": [], "usage": {}}, "[DONE]"),
        events_of(piece("y"), piece("es", "stop"), {"choices": None, "usage": None}),
        chat_of({"choices": [{"message": {"content": "yes"}}]}),
    ],
    ids=["OpenAI's", "nulls and usage", "no DONE", "not streamed"],
)
def test_a_streamed_answer_that_is_told_in_another_way_is_taken(endpoint: Endpoint) -> None:
    pieces = streamed_of(endpoint)
    assert "".join(choice.delta.content or "" for one in pieces for choice in one.choices) == "yes"
    assert next(one.choices[0].delta.role for one in pieces if one.choices) == "assistant"


@pytest.mark.parametrize(
    ("endpoint", "says"),
    [
        (events_of("[DONE]"), "empty answer"),
        (events_of(piece(None, "stop"), "[DONE]"), "empty answer"),
        (events_of(piece("y")), "ended the stream"),
        (events_of(), "ended the stream"),
        (events_of(piece("y"), "{"), "does not follow OpenAI's schema"),
    ],
)
def test_a_streamed_answer_that_is_none_is_an_error(endpoint: Endpoint, says: str) -> None:
    with pytest.raises(ModelError, match=says):
        streamed_of(endpoint)
