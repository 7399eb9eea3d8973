"""Graph modes are lightrag-server's: passed on, labelled, and refused in words where there is none."""

import asyncio
from typing import Any

import aiohttp
import pytest

from lightragctl.core.errors import UnavailableError
from lightragctl.service.graph import GraphClient
from tests.fakes.service import FakeGraph, Service
from tests.fakes.store import FakeStore

DATA = {
    "data": {
        "chunks": [{"chunk_id": "doc-1-chunk-000", "content": "The cat sleeps.", "file_path": "%2Fa%2Fcat.md"}],
        "entities": [{"entity_name": "Cat", "entity_type": "Creature", "description": "It sleeps.", "file_path": "x"}],
        "relationships": [
            {"src_id": "Cat", "tgt_id": "Roof", "keywords": "on", "description": "Warm.", "file_path": "x"}
        ],
    }
}
ANSWER = {
    "response": "It sleeps. [1]",
    "references": [{"reference_id": "1", "file_path": "%2Fa%2Fcat.md", "content": ["The cat sleeps."]}],
}


def asked(answer: dict[str, Any], path: str, **body: Any) -> tuple[Any, FakeGraph]:
    graph = FakeGraph(answer)
    service = Service(FakeStore())
    service.graph = graph
    with service:
        return service.post(path, {"query": "the cat", **body}), graph


def test_a_retrieval_comes_back_as_upstreams_own() -> None:
    answer, graph = asked(DATA, "/retrieve", mode="mix", chunk_top_k=3)
    assert graph.asked == [("/query/data", {"query": "the cat", "mode": "mix", "chunk_top_k": 3})]
    told = answer.json()
    assert told["forwarded_to"] == "lightrag-server"
    assert told["hits"] == [
        {"id": "doc-1-chunk-000", "score": None, "text": "The cat sleeps.", "source": "/a/cat.md", "chunk_order": None}
    ]
    assert [one["name"] for one in told["entities"]] == ["Cat"]
    assert [one["ends"] for one in told["relationships"]] == [["Cat", "Roof"]]


def test_an_answer_cites_upstreams_references() -> None:
    answer, graph = asked(ANSWER, "/query", mode="hybrid")
    assert graph.asked[0][0] == "/query"
    told = answer.json()
    assert (told["answer"], told["forwarded_to"]) == ("It sleeps. [1]", "lightrag-server")
    assert [(one["marker"], one["source"], one["text"]) for one in told["citations"]] == [
        (1, "/a/cat.md", "The cat sleeps.")
    ]


@pytest.mark.parametrize(
    "body",
    [{"workspace": "other"}, {"filter": "id == 'x'"}, {"min_score": 0.5}, {"kind": "entities"}],
    ids=lambda body: next(iter(body)),
)
def test_what_a_graph_mode_does_not_know_is_400(body: dict[str, Any]) -> None:
    answer, graph = asked(DATA, "/retrieve", mode="local", **body)
    assert answer.status == 400
    assert next(iter(body)) in answer.json()["detail"]
    assert graph.asked == []


def test_a_graph_mode_does_not_stream() -> None:
    assert asked(ANSWER, "/query", mode="mix", stream=True)[0].status == 400


@pytest.mark.parametrize("path", ["/retrieve", "/query"])
def test_without_lightrag_server_the_problem_says_what_to_do(path: str) -> None:
    with Service(FakeStore()) as service:
        answer = service.post(path, {"query": "the cat", "mode": "mix"})
    assert answer.status == 409
    assert answer.json()["type"] == "urn:lightragctl:lightrag-server-disabled"
    assert "components.lightrag-server.enabled=true" in answer.json()["hint"]
    command = {"command": "up", "arguments": "--set components.lightrag-server.enabled=true"}
    assert command in answer.json()["hint_parts"]


def test_a_server_that_is_not_there_is_unavailable() -> None:
    async def ask() -> None:
        async with aiohttp.ClientSession() as session:
            await GraphClient(session, "http://127.0.0.1:1", "", 5.0).ask("/query/data", {})

    with pytest.raises(UnavailableError, match=r"lightrag-server at http://127\.0\.0\.1:1 does not respond"):
        asyncio.run(ask())
