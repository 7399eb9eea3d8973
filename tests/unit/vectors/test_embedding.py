"""Vectors of questions: asked for as lightrag-api does, and what is wrong is told."""

import json
from collections.abc import Callable

import httpx
import pytest

from lightragctl.core.errors import LightragctlError, UnavailableError
from lightragctl.core.settings import EmbeddingModel
from lightragctl.vectors.embedding import QuestionEmbedder

MODEL = EmbeddingModel(name="m", dimension=2, query_prefix="ask: ")


def embedder(answer: Callable[[httpx.Request], httpx.Response]) -> QuestionEmbedder:
    return QuestionEmbedder("http://gateway:1/", MODEL, transport=httpx.MockTransport(answer))


def vectors(*given: tuple[int, list[float]]) -> httpx.Response:
    return httpx.Response(200, json={"data": [{"index": index, "embedding": one} for index, one in given]})


def test_questions_carry_the_prefix_and_come_back_in_their_order() -> None:
    asked: list[dict[str, object]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        assert str(request.url) == "http://gateway:1/v1/embeddings"
        asked.append(json.loads(request.content))
        texts = asked[-1]["input"]
        assert isinstance(texts, list)
        return vectors(*((at, [float(text.removeprefix("ask: ")), 1.0]) for at, text in reversed([*enumerate(texts)])))

    done: list[int] = []
    found = embedder(answer)([str(number) for number in range(40)], done.append)
    assert found[:, 0].tolist() == [float(number) for number in range(40)]
    assert (len(asked), done, asked[0]["model"]) == (2, [32, 40], "m")


def test_no_question_needs_no_endpoint() -> None:
    assert embedder(lambda request: httpx.Response(500))([]).shape == (0, 2)


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (vectors((0, [1.0])), "1 dimensions where 2"),
        (vectors(), "0 vectors for 1 texts"),
        (vectors((0, [0.0, 0.0])), "no direction"),
        (httpx.Response(200, text="<html>"), "OpenAI's shape"),
        (httpx.Response(429, text="slow down"), "responded with 429: slow down"),
    ],
)
def test_an_answer_that_cannot_be_used_is_told(answer: httpx.Response, told: str) -> None:
    with pytest.raises(LightragctlError, match=told):
        embedder(lambda request: answer)(["q"])


def test_an_endpoint_that_does_not_answer_is_unavailable() -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    with pytest.raises(UnavailableError, match="does not respond: refused"):
        embedder(refuse)(["q"])
