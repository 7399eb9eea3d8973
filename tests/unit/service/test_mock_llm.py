"""mock-llm quotes what it is given, says so when there is nothing, and misbehaves only as told."""

import asyncio
import json
from typing import Any

import pytest

from lightragctl.core.settings import Faults, MockLlmSettings
from lightragctl.service import http
from lightragctl.service.hashed_embeddings import hashed_vectors, terms
from lightragctl.service.mock_llm import NOTHING_FOUND, NOTHING_FOUND_ZH, answer, create_app
from lightragctl.service.openai_schema import CHAT_PATH, ChatMessage, prompt, vector_of
from tests.fakes.http import Answer, ask

PASSAGES = [
    {"source": "cats.txt", "text": "Cats sleep most of the day. They purr when content."},
    {"source": "apt (old).txt", "text": "To install a package, run apt install. It asks before it removes anything."},
    {"source": "安装.txt", "text": "软件包可以用 apt 安装。升级系统要先更新软件源。"},
]


def asked(question: str, passages: list[dict[str, str]] | None = None) -> list[ChatMessage]:
    return [ChatMessage(**message) for message in prompt(question, PASSAGES if passages is None else passages)]


def post(app: http.App, path: str, body: object) -> tuple[int, Any]:
    answer = ask(app, "POST", path, json.dumps(body).encode())
    return answer.status, answer.json()


def chat(app: http.App, question: str, model: str = "mock-llm") -> tuple[int, Any]:
    return post(app, "/v1/chat/completions", {"model": model, "messages": prompt(question, PASSAGES)})


def test_the_sentence_that_shares_most_with_the_question_is_quoted_with_its_number() -> None:
    assert answer(asked("How do I install a package?")) == "To install a package, run apt install. [2]"


def test_chinese_questions_find_chinese_sentences() -> None:
    assert answer(asked("升级系统之前要做什么？")) == "升级系统要先更新软件源。 [3]"


@pytest.mark.parametrize(
    ("question", "expected"),
    [("What is the capital of France?", NOTHING_FOUND), ("月亮离地球多远？", NOTHING_FOUND_ZH)],
)
def test_nothing_is_made_up(question: str, expected: str) -> None:
    assert answer(asked(question)) == expected


def test_no_passages_is_nothing_found() -> None:
    assert answer(asked("install", [])) == NOTHING_FOUND
    assert answer([]) == NOTHING_FOUND


def test_at_most_three_sentences_are_quoted_in_their_order() -> None:
    many = [{"source": str(n), "text": f"Number {n} is about apples."} for n in range(1, 6)]
    assert answer(asked("apples", many)) == (
        "Number 1 is about apples. [1] Number 2 is about apples. [2] Number 3 is about apples. [3]"
    )


def test_numbers_in_brackets_inside_a_passage_do_not_start_another() -> None:
    passages = [{"source": "a", "text": "See [7] for pears."}, {"source": "b", "text": "Plums [1] are blue."}]
    assert answer(asked("plums", passages)) == "Plums [1] are blue. [2]"


def test_the_answer_says_that_a_mock_gave_it() -> None:
    status, body = chat(create_app(MockLlmSettings(port=1, model="gpt-4o")), "install a package", "gpt-4o")
    assert (status, body["model"]) == (200, "gpt-4o (mock)")
    assert body["choices"][0]["message"]["content"].endswith("[2]")
    assert body["usage"]["total_tokens"] > 0


def test_an_unknown_model_is_404_in_openai_shape() -> None:
    status, body = chat(create_app(MockLlmSettings(port=1)), "install", "gpt-4o")
    assert (status, body["error"]["code"]) == (404, "model_not_found")


def test_a_streamed_answer_is_the_same_word_by_word() -> None:
    app = create_app(MockLlmSettings(port=1))
    messages = prompt("how is it installed", [{"source": "a.md", "text": "It is installed with pip, in a minute."}])
    _, completion = post(app, CHAT_PATH, {"model": "mock-llm", "messages": messages})
    whole = completion["choices"][0]["message"]["content"]
    body = {"model": "mock-llm", "messages": messages, "stream": True}
    streamed = ask(app, "POST", CHAT_PATH, json.dumps(body).encode())
    assert streamed.headers["content-type"] == "text/event-stream"
    *events, end, rest = streamed.body.decode().split("\n\n")
    assert (end, rest) == ("data: [DONE]", "")
    choices = [json.loads(event.removeprefix("data: "))["choices"][0] for event in events]
    assert choices[0]["delta"] == {"role": "assistant"}
    assert "".join(choice["delta"].get("content", "") for choice in choices) == whole
    assert [choice["finish_reason"] for choice in choices][-2:] == [None, "stop"]


def test_errors_come_as_often_as_told_and_the_same_for_the_same_seed() -> None:
    def codes(seed: int) -> list[int]:
        app = create_app(MockLlmSettings(port=1, faults=Faults(error_ratio=0.5), seed=seed))
        return [chat(app, "install")[0] for _ in range(40)]

    first = codes(1)
    assert first == codes(1) != codes(2)
    assert 10 <= first.count(500) <= 30
    assert set(first) == {200, 500}


def test_latency_is_added() -> None:
    async def test() -> float:
        app = create_app(MockLlmSettings(port=1, faults=Faults(latency_ms=50)))
        loop = asyncio.get_running_loop()
        started = loop.time()
        await asyncio.to_thread(chat, app, "install")
        return loop.time() - started

    assert asyncio.run(test()) >= 0.05


@pytest.mark.parametrize("encoding", ["float", "base64"])
def test_embeddings_are_hashed(encoding: str) -> None:
    body = {"model": "any", "input": ["apple pie", "apple tart"], "encoding_format": encoding}
    status, got = post(create_app(MockLlmSettings(port=1, embedding_dimension=64)), "/v1/embeddings", body)
    vectors = [vector_of(item["embedding"]) for item in got["data"]]
    assert status == 200
    assert (vectors == hashed_vectors(["apple pie", "apple tart"], 64)).all()


def test_terms_are_words_and_pairs_of_chinese_characters() -> None:
    assert terms("用apt安装软件! Ａpt-get v2") == ["用", "apt", "安装", "装软", "软件", "apt", "get", "v2"]


def test_hashed_vectors_are_units_alike_for_like_texts_and_never_zero() -> None:
    vectors = hashed_vectors(["install the package", "the package is installed", "猫在睡觉", "", "!!!"], 256)
    assert abs((vectors * vectors).sum(axis=1) - 1).max() < 1e-6
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2]


def faults(app: http.App, **told: object) -> Answer:
    return ask(app, "PUT", "/faults", json.dumps(told).encode(), content_type="application/json")


def chatted(app: http.App, text: str) -> Answer:
    body = {"model": "mock-llm", "messages": [{"role": "user", "content": text}]}
    return ask(app, "POST", "/v1/chat/completions", json.dumps(body).encode(), content_type="application/json")


def test_a_limit_of_the_rate_says_when_to_come_again() -> None:
    app = create_app(MockLlmSettings(port=1, faults=Faults(rate_limit_ratio=1.0, retry_after_s=7)))
    answer = chatted(app, "install")
    assert (answer.status, answer.headers["retry-after"]) == (429, "7")
    assert answer.json()["error"]["type"] == "rate_limit_error"


def test_a_prompt_that_is_too_long_is_refused_as_openai_does() -> None:
    app = create_app(MockLlmSettings(port=1, faults=Faults(context_tokens=3)))
    assert chatted(app, "one two").status == 200
    answer = chatted(app, "one two three four")
    assert (answer.status, answer.json()["error"]["code"]) == (400, "context_length_exceeded")
    assert "maximum context length is 3 tokens" in answer.json()["error"]["message"]


def test_it_misbehaves_and_behaves_again_as_it_is_told_while_it_runs() -> None:
    app = create_app(MockLlmSettings(port=1))
    told = faults(app, outage_s=60)
    assert 59 < told.json()["outage_s"] <= 60
    assert chatted(app, "install").status == 503
    assert ask(app, "GET", "/faults").json()["outage_s"] > 0
    faults(app)
    assert chatted(app, "install").status == 200


def test_a_fault_out_of_bounds_is_named() -> None:
    answer = faults(create_app(MockLlmSettings(port=1)), error_ratio=2)
    assert answer.status == 400
    assert "error_ratio" in answer.json()["error"]["message"]
