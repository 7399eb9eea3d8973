"""lightrag-api in this process: what a question is answered with, what is refused, and what readiness says."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lightragctl.core.settings import RequestLimits
from lightragctl.service.documents import document_id
from lightragctl.service.query_handlers import citations
from lightragctl.service.schemas import ApiHit
from tests.fakes.service import SETTINGS, FakeEmbedding, Service
from tests.fakes.store import FakeStore

WAIT_S = 10.0
LIMITS = RequestLimits(body_bytes=8192, query_chars=100, filter_chars=50, top_k=20, documents=2)


@pytest.fixture
def service() -> Iterator[Service]:
    with Service(FakeStore(), SETTINGS.model_copy(update={"limits": LIMITS})) as service:
        yield service


@pytest.fixture
def filled(service: Service) -> Service:
    service.stored("cat.md", "The cat sleeps on the warm roof.")
    service.stored("rain.md", "明天上海有大雨，请带伞出门。")
    service.stored("dog.md", "A dog barks in the yard.")
    return service


def wait_ready(service: Service) -> None:
    deadline = time.monotonic() + WAIT_S
    while service.ready().status != 200:
        assert time.monotonic() < deadline, service.ready().body
        service.let_pass(0.05)


@pytest.mark.parametrize(("query", "source"), [("where does the cat sleep", "cat.md"), ("上海明天有雨吗", "rain.md")])
def test_the_best_passage_comes_first_with_all_its_fields(filled: Service, query: str, source: str) -> None:
    answer = filled.retrieve(query).json()
    assert answer["workspace"] == "default"
    assert answer["collection"].endswith("_g1")
    first = answer["hits"][0]
    assert first["id"] == f"{document_id(source)}-chunk-000"
    assert (first["source"], first["chunk_order"]) == (source, 0)
    assert first["text"]
    assert [hit["score"] for hit in answer["hits"]] == sorted((hit["score"] for hit in answer["hits"]), reverse=True)


def test_times_are_told_by_stage(filled: Service) -> None:
    timing_ms = filled.retrieve("cat").json()["timing_ms"]
    assert set(timing_ms) == {"queue", "embed", "search", "total"}
    assert all(value >= 0 for value in timing_ms.values())
    assert timing_ms["total"] >= timing_ms["embed"] + timing_ms["search"]


def test_top_k_is_what_comes(filled: Service) -> None:
    assert [len(filled.retrieve("cat", top_k=k).json()["hits"]) for k in (1, 2, 20)] == [1, 2, 3]


def test_a_filter_chooses(filled: Service) -> None:
    hits = filled.retrieve("cat", filter='file_path == "dog.md"').json()["hits"]
    assert [hit["source"] for hit in hits] == ["dog.md"]


@pytest.mark.parametrize("path", ["/retrieve", "/query"])
def test_a_filter_that_is_not_understood_is_400(filled: Service, path: str) -> None:
    answer = filled.post(path, {"query": "cat", "filter": "file_path ~~ 1"})
    assert (answer.status, answer.json()["type"]) == (400, "urn:lightragctl:invalid-filter")
    assert answer.json()["detail"].startswith("filter: ")


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"query": "cat", "top_k": 0}, "top_k"),
        ({"query": "cat", "top_k": 21}, "top_k: 21 is over the limit of 20"),
        ({"query": "cat", "top_k": 10**30}, ""),
        ({"query": "cat", "top_k": "many"}, "top_k"),
        ({"query": ""}, "query"),
        ({"query": " \n\u3000"}, "query: it has no text"),
        ({"query": "\0"}, "query: it has no text"),
        ({"query": "x" * 101}, "query: 101 characters"),
        ({"query": 5}, "query"),
        ({}, "query"),
        ({"query": "cat", "filter": "x" * 51}, "filter: 51 characters"),
        ({"query": "cat", "workspace": "a-b"}, "workspace"),
        ({"query": "cat", "workspace": "x" * 65}, "workspace"),
        ({"query": "cat", "workspace": ""}, "workspace"),
        ({"query": "cat", "nonsense": 1}, "nonsense"),
    ],
)
@pytest.mark.parametrize("path", ["/retrieve", "/query"])
def test_a_bad_question_is_a_400_problem(service: Service, path: str, body: dict[str, Any], says: str) -> None:
    answer = service.post(path, body)
    assert (answer.status, answer.headers["content-type"]) == (400, "application/problem+json")
    assert says in answer.json()["detail"]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"documents": []},
        {"documents": [{"source": "a"}]},
        {"documents": [{"source": "", "text": "a"}]},
        {"documents": [{"source": "a", "text": ""}]},
        {"documents": [{"source": "a" * 4097, "text": "a"}]},
        {"documents": [{"source": "a", "text": "a"}] * 3},
        {"documents": [{"source": "a", "text": "a"}], "workspace": "../a"},
    ],
)
def test_a_bad_write_is_a_400_problem_and_makes_nothing(service: Service, body: dict[str, Any]) -> None:
    answer = service.post("/documents", body, accept="application/x-ndjson")
    assert (answer.status, answer.headers["content-type"]) == (400, "application/problem+json")
    assert service.store.list_collections() == []


def test_a_body_over_the_limit_is_413(service: Service) -> None:
    answer = service.write("a.md", "x" * 9000)
    assert (answer.status, answer.headers["content-type"]) == (413, "application/problem+json")
    assert "8192 bytes" in answer.json()["detail"]


@pytest.mark.parametrize("query", [{"limit": 0}, {"limit": 1001}, {"limit": "x"}, {"workspace": "a b"}, {"no": 1}])
def test_a_bad_listing_is_400(service: Service, query: dict[str, Any]) -> None:
    assert service.get("/documents", **query).status == 400


def test_an_answer_cites_the_passages_it_was_made_from(filled: Service) -> None:
    filled.chat.text = "It sleeps [2], and so [1]; not [9] or [2]."
    answer = filled.post("/query", {"query": "where does the cat sleep", "top_k": 2}).json()
    assert (answer["answer"], answer["model"]) == (filled.chat.text, "fake-chat")
    hits = answer["hits"]
    assert answer["citations"] == [
        {"marker": marker, **{key: hits[marker - 1][key] for key in ("id", "source", "text")}} for marker in (2, 1)
    ]
    assert hits[0]["text"] in str(filled.chat.messages)
    assert set(answer["timing_ms"]) == {"queue", "embed", "search", "total", "chat"}


def test_citations_are_the_markers_that_have_a_passage_once_each() -> None:
    hits = [ApiHit(str(number), 0.5, f"text {number}", "s", number) for number in range(3)]
    assert [one.marker for one in citations("[3] [1][3] [0] [4] [99999] [x] 2", hits)] == [3, 1]
    assert citations("nothing", hits) == []


def test_a_store_that_is_down_is_503_and_readiness_stays(filled: Service) -> None:
    wait_ready(filled)
    filled.store.down = True
    for answer in (filled.retrieve("cat"), filled.get("/documents"), filled.write("a.md", "New.")):
        assert (answer.status, answer.headers["retry-after"]) == (503, "1")
        assert answer.json()["type"] == "urn:lightragctl:store-unavailable"
    assert filled.ready().status == 200
    filled.let_pass(1.2)  # the watch meets the outage
    filled.store.down = False
    assert filled.retrieve("cat").json()["hits"][0]["source"] == "cat.md"


def test_a_model_that_is_down_is_503(filled: Service) -> None:
    wait_ready(filled)
    filled.embedding.calls_left = 0
    answer = filled.retrieve("cat")
    assert (answer.status, answer.headers["retry-after"]) == (503, "1")
    assert "the model is gone" in answer.json()["detail"]


def test_it_is_not_ready_while_the_store_is_down_at_start_and_says_why() -> None:
    store = FakeStore()
    store.down = True
    with Service(store) as service:
        service.let_pass(0.1)
        answer = service.ready()
        assert (answer.status, answer.json()["detail"]) == (503, "the vector store does not respond")
        assert service.get("/healthz").status == 200
        store.down = False
        wait_ready(service)


def test_it_is_not_ready_before_the_model_answers() -> None:
    embedding = FakeEmbedding()
    embedding.calls_left = 0
    with Service(FakeStore(), embedding=embedding) as service:
        service.let_pass(0.1)
        assert service.ready().json()["detail"] == "the model is gone"


def test_a_filled_workspace_is_ready_after_a_restart(filled: Service) -> None:
    with Service(filled.store) as second:
        wait_ready(second)
        assert second.search.batches, "nothing was searched before it said ready"


def test_openapi_names_every_path(service: Service) -> None:
    paths = service.get("/openapi.json").json()["paths"]
    documents = {"/documents", "/documents/flush", "/documents/records"}
    assert set(paths) == {"/retrieve", "/query", *documents, "/debug/batches", "/recordings"}


def test_with_a_file_of_keys_only_who_has_one_is_answered(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("k1\nk2\n")
    settings = SETTINGS.model_copy(update={"api_keys_file": str(tmp_path / "keys")})
    with Service(FakeStore(), settings) as service:
        body = {"query": "cat"}
        assert service.post("/retrieve", body).status == 401
        assert (
            service.post("/retrieve", body, authorization="Bearer k").json()["type"] == "urn:lightragctl:unauthorized"
        )
        assert [service.post("/retrieve", body, authorization=f"Bearer {key}").status for key in ("k1", "k2")] == [
            200
        ] * 2
        wait_ready(service)
