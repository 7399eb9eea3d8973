"""The clients of OpenAI-compatible endpoints, against a small server whose answers are given."""

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import numpy as np
import pytest
from aiohttp import web

from lightragctl.core.settings import EmbeddingModel
from lightragctl.service.models import (
    ChatClient,
    EmbeddingClient,
    ModelError,
    ModelInputError,
    ModelTimeoutError,
    open_session,
    prompt,
)
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
        (given("!!!"), "cannot be read"),
        (lambda _: web.json_response({"data": [{"index": 5, "embedding": [1, 2]}]}), "1 vectors for 1 texts"),
        (lambda _: web.Response(text="<html>"), "not in OpenAI's shape"),
    ],
)
def test_a_wrong_answer_is_refused_and_named(answer: Callable[[Any], web.Response], says: str) -> None:
    with pytest.raises(ModelError, match=says):
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
    with pytest.raises(ModelError, match=f"answered {status}") as error:
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

    with pytest.raises(ModelTimeoutError, match=r"did not answer within 0\.05 s"):
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
