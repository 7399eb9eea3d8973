"""The read path of lightrag-api: what is shared, kept, refused as too late, spared, and streamed."""

import asyncio
import dataclasses
import json
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from lightragctl.core.settings import ApiSettings, Batching, Caching, CircuitBreaking, Deadlines, Index
from lightragctl.service.hashed_embeddings import hashed_vectors
from lightragctl.service.workspaces import Intervals
from lightragctl.vectors.control import epoch_row
from lightragctl.vectors.model import chunks_spec
from tests.fakes.service import CONTROL, MODEL, SETTINGS, FakeEmbedding, Service
from tests.fakes.store import FakeStore

LONG_S = 300.0
QUICK = Intervals(watch_s=0.1, reread_s=0.5, lease_s=0.2, lag_s=0.1)


def service_with(**parts: Any) -> Service:
    """A service with some settings of its own, on an empty store."""
    return Service(FakeStore(), SETTINGS.model_copy(update=parts), intervals=QUICK)


def settle(service: Service) -> None:
    """Until answers may be kept: the last epoch was noticed, and what came with it is all in sight."""
    service.let_pass(0.25)


@pytest.fixture
def patient() -> Iterator[Service]:
    """A service that keeps answers for long."""
    with service_with(cache=Caching(staleness_s=LONG_S), deadlines=Deadlines(request_s=LONG_S)) as service:
        service.stored("cat.md", "The cat sleeps on the warm roof.")
        service.retrieve("cat")
        settle(service)
        yield service


def sources(answer: Any) -> list[str]:
    return [hit["source"] for hit in answer.json()["hits"]]


def test_a_thousand_equal_questions_at_once_are_one_embedding_and_one_search(patient: Service) -> None:
    patient.embedding.questions.clear()
    patient.search.batches.clear()
    answers = patient.together(*[{"query": "where does the cat sleep"}] * 1000)
    assert {answer.status for answer in answers} == {200}
    assert {answer.json()["hits"][0]["source"] for answer in answers} == {"cat.md"}
    assert (len(patient.embedding.questions), len(patient.search.batches)) == (1, 1)


def test_an_answer_is_kept_and_says_so(patient: Service) -> None:
    first = patient.retrieve("where is the cat").json()
    searches = len(patient.search.batches)
    second = patient.retrieve("where is the cat").json()
    assert (first["cached"], second["cached"], len(patient.search.batches)) == (False, True, searches)
    assert second["hits"] == first["hits"]
    assert set(second["timing_ms"]) == {"total"}


def test_what_is_asked_otherwise_is_another_answer(patient: Service) -> None:
    patient.retrieve("cat", top_k=2)
    for other in ({"top_k": 3}, {"filter": 'file_path == "cat.md"'}, {"min_score": 0.9}):
        assert not patient.retrieve("cat", **{"top_k": 2, **other}).json()["cached"]


def test_after_a_write_has_returned_no_answer_is_from_before(patient: Service) -> None:
    for number in range(5):
        patient.retrieve("the dog")
        patient.stored(f"dog{number}.md", "The dog barks in the yard.")
        answer = patient.retrieve("the dog", top_k=20)
        assert f"dog{number}.md" in sources(answer)
    patient.remove("/documents", source="dog0.md")
    assert "dog0.md" not in sources(patient.retrieve("the dog", top_k=20))


def test_a_change_by_another_replica_ends_what_was_kept(patient: Service) -> None:
    assert patient.retrieve("the dog").json()["cached"] is False
    with Service(patient.store, SETTINGS) as other:
        other.stored("dog.md", "The dog barks in the yard.")
    patient.let_pass(0.12)
    assert sources(patient.retrieve("the dog"))[0] == "dog.md"


def test_nothing_is_kept_while_rows_of_a_change_may_still_come_into_sight() -> None:
    settings = SETTINGS.model_copy(update={"cache": Caching(staleness_s=LONG_S)})
    with Service(FakeStore(), settings, intervals=replace(QUICK, lag_s=0.6)) as service:
        service.stored("cat.md", "The cat sleeps on the warm roof.")
        service.retrieve("cat")
        service.let_pass(0.75)
        service.store.upsert(CONTROL, [epoch_row(time.time_ns())])
        service.let_pass(0.11)
        assert [service.retrieve("cat", top_k=7).json()["cached"] for _ in range(2)] == [False, False]
        service.let_pass(0.75)
        assert [service.retrieve("cat", top_k=7).json()["cached"] for _ in range(2)] == [False, True]


def test_when_the_store_cannot_be_asked_what_was_kept_is_not_trusted_for_long(patient: Service) -> None:
    patient.retrieve("cat")
    assert patient.retrieve("cat").json()["cached"]
    patient.store.down = True
    patient.let_pass(0.25)
    assert patient.retrieve("cat").json().get("cached") is not True


def test_others_changes_are_seen_when_an_answer_has_aged() -> None:
    with service_with(cache=Caching(staleness_s=0.2)) as service:
        service.stored("cat.md", "The cat sleeps.")
        service.retrieve("cat")
        settle(service)
        service.retrieve("cat")
        assert service.retrieve("cat").json()["cached"]
        service.let_pass(0.25)
        assert not service.retrieve("cat").json()["cached"]


def test_a_vector_is_kept_when_answers_are_not() -> None:
    with service_with(cache=Caching(result_bytes=0)) as service:
        service.stored("cat.md", "The cat sleeps.")
        service.embedding.questions.clear()
        answers = [service.retrieve("cat").json() for _ in range(3)]
        assert [answer["cached"] for answer in answers] == [False] * 3
        assert len(service.embedding.questions) == 1


def test_a_question_that_takes_longer_than_the_client_waits_is_504() -> None:
    with service_with(deadlines=Deadlines(request_s=5)) as service:
        service.stored("cat.md", "The cat sleeps.")
        service.embedding.delay_s = 1.0
        begin = time.monotonic()
        (answer,) = service.together({"query": "cat"}, **{"x-request-timeout": "0.2"})
        assert (answer.status, answer.json()["type"]) == (504, "urn:lightragctl:deadline-exceeded")
        assert 'lightragctl_abandoned_total{stage="embed"} 1.0' in service.get("/metrics").body.decode()
        assert time.monotonic() - begin < 0.8
        (answer,) = service.together({"query": "cat"}, **{"x-request-timeout": "3"})
        assert answer.status == 200


@pytest.mark.parametrize("given", ["soon", "-1", "0", "nan", "1e9"])
def test_a_deadline_that_is_none_is_400(patient: Service, given: str) -> None:
    (answer,) = patient.together({"query": "cat"}, **{"x-request-timeout": given})
    assert (answer.status, "x-request-timeout" in answer.json()["detail"]) == (400, True)


def test_when_the_queue_is_full_it_says_when_to_come_again() -> None:
    with service_with(batching=Batching(batch_size=1, in_flight=1, queue=4)) as service:
        service.stored("cat.md", "The cat sleeps.")
        service.embedding.delay_s = 0.3
        service.retrieve("to measure how long a call takes")
        answers = service.together(*[{"query": f"question {number}"} for number in range(10)])
        refused = [answer for answer in answers if answer.status == 429]
        assert len(refused) == 6, "four wait; none has left in the turn in which all came"
        assert all(answer.headers["retry-after"] == "2" for answer in refused)
        assert all(1000 <= int(answer.headers["retry-after-ms"]) <= 1500 for answer in refused)


def failing(**more: Any) -> Service:
    return service_with(breaking=CircuitBreaking(calls=4, open_s=0.3, probes=1, retry_ratio=0.0), **more)


def test_a_backend_that_fails_is_not_asked_any_more_and_found_again_when_it_is_back() -> None:
    with failing(cache=Caching(result_bytes=0, embedding_bytes=0)) as service:
        service.stored("cat.md", "The cat sleeps.")
        service.embedding.calls_left = 0
        codes = [service.retrieve(f"question {number}").json()["type"] for number in range(6)]
        assert codes == ["urn:lightragctl:model-unavailable"] * 4 + ["urn:lightragctl:breaker-open"] * 2
        asked = len(service.embedding.questions)
        answer = service.retrieve("cat")
        assert (answer.status, answer.headers["retry-after"], len(service.embedding.questions)) == (503, "1", asked)
        report = service.get("/debug/batches").json()["breakers"]["embedding"]
        assert (report["state"], report["reason"]) == ("open", "4 of its last 4 calls failed")
        metrics = service.get("/metrics").body.decode()
        assert 'lightragctl_backend_calls_total{backend="embedding",outcome="rejected"} 3.0' in metrics
        service.embedding.calls_left = None
        service.let_pass(0.35)
        assert sources(service.retrieve("cat")) == ["cat.md"]
        assert service.get("/debug/batches").json()["breakers"]["embedding"]["state"] == "closed"


def test_one_failure_in_a_while_is_tried_again_and_nobody_notices(patient: Service) -> None:
    patient.search.failures = 1
    assert sources(patient.retrieve("is the cat there")) == ["cat.md"]


def test_it_tells_why_requests_waited(patient: Service) -> None:
    patient.together(*[{"query": f"question {number}"} for number in range(3)])
    stage = patient.get("/debug/batches").json()["stages"]["search"]
    assert (stage["waiting"], stage["running"], stage["batches"][0]["items"]) == (0, 0, 3)
    assert "a slot was free" in stage["batches"][0]["reason"]


def test_naive_mode_asks_as_lightrag_does(patient: Service) -> None:
    for number in range(30):
        patient.stored(f"{number}.md", f"The cat of number {number}.")
    patient.stored("far.md", "Quite another matter.")
    hits = patient.retrieve("The cat of number 3", mode="naive").json()["hits"]
    assert len(hits) == 20
    assert min(hit["score"] for hit in hits) >= 0.2
    assert len(patient.retrieve("The cat of number 3", mode="naive", chunk_top_k=4).json()["hits"]) == 4
    assert len(sources(patient.retrieve("上海明天的天气", mode="naive"))) <= 1


@pytest.mark.parametrize("body", [{"chunk_top_k": 3}, {"mode": "naive", "kind": "entities"}, {"mode": "deep"}])
def test_what_the_naive_mode_does_not_have_is_400(patient: Service, body: dict[str, Any]) -> None:
    assert patient.retrieve("cat", **body).status == 400


def graph_collection(store: FakeStore, kind: str, **fields: str) -> None:
    """A collection of lightrag-server with one row, found by its content."""
    name = f"default_{kind}_{MODEL.suffix}"
    store.create(chunks_spec(name, MODEL.dimension, Index()))
    (vector,) = hashed_vectors([fields["content"]], MODEL.dimension)
    fixed = {"id": f"{kind}-1", "vector": np.asarray(vector), "created_at": 1, "file_path": "a.md", "full_doc_id": ""}
    store.upsert(name, [{**fixed, **fields}])


def test_entities_and_relationships_of_lightrag_are_found() -> None:
    with Service(FakeStore(), intervals=QUICK) as service:
        assert service.retrieve("Ada", kind="entities").json()["hits"] == []
        graph_collection(service.store, "entities", content="Ada Lovelace wrote programs", entity_name="Ada Lovelace")
        graph_collection(service.store, "relationships", content="Ada knew Charles", src_id="Ada", tgt_id="Charles")
        service.let_pass(0.8)
        (entity,) = service.retrieve("Ada Lovelace", kind="entities").json()["hits"]
        assert (entity["entity"], entity["text"], entity["source"]) == (
            "Ada Lovelace",
            "Ada Lovelace wrote programs",
            "a.md",
        )
        (relation,) = service.retrieve("Ada Charles", kind="relationships").json()["hits"]
        assert relation["relation"] == ["Ada", "Charles"]
        assert service.retrieve("Ada").json() | {"timing_ms": {}} == {
            "workspace": "default",
            "collection": "",
            "hits": [],
            "cached": False,
            "timing_ms": {},
        }


def events(answer: Any) -> list[Any]:
    assert answer.headers["content-type"] == "text/event-stream"
    return [json.loads(part.removeprefix("data: ")) for part in answer.body.decode().split("\n\n")[:-2]]


def test_an_answer_streams_with_its_passages_first_and_its_citations_last(patient: Service) -> None:
    patient.chat.text = "It sleeps on the roof [1]."
    answer = patient.post("/query", {"query": "where is the cat", "stream": True})
    assert answer.body.endswith(b"data: [DONE]\n\n")
    first, *_, last = parts = events(answer)
    said = "".join(choice["delta"].get("content", "") for part in parts for choice in part["choices"])
    assert said == patient.chat.text
    assert first["lightragctl"]["hits"][0]["source"] == "cat.md"
    assert [cited["source"] for cited in last["lightragctl"]["citations"]] == ["cat.md"]
    assert {part["object"] for part in parts} == {"chat.completion.chunk"}


def test_a_model_that_breaks_off_is_told_in_the_stream(patient: Service) -> None:
    patient.chat.breaks_after = 1
    answer = patient.post("/query", {"query": "where is the cat", "stream": True})
    parts = answer.body.decode().split("\n\n")
    assert "the model is gone" in json.loads(parts[1].removeprefix("data: "))["error"]["message"]
    assert "[DONE]" not in answer.body.decode()


def test_a_model_that_is_down_from_the_start_is_told_by_the_status(patient: Service) -> None:
    patient.chat.breaks_after = 0
    assert patient.post("/query", {"query": "where is the cat", "stream": True}).status == 503


def test_a_model_that_streams_nothing_is_told_by_the_status(patient: Service) -> None:
    patient.chat.is_silent = True
    answer = patient.post("/query", {"query": "where is the cat", "stream": True})
    assert (answer.status, answer.json()["type"]) == (503, "urn:lightragctl:model-unavailable")
    assert "empty answer" in answer.json()["detail"]


def test_every_setting_of_the_read_path_is_one_of_the_profile() -> None:
    from lightragctl.components.api import ApiValues

    elsewhere = {"host", "port", "api_keys_file", "shared", "workspace", "vector_engine_uri", "gateway_url"}
    elsewhere |= {"lightrag", "embedding", "chat_model", "chunking", "index", "recording_folder"}
    assert set(ApiSettings.model_fields) - elsewhere <= set(ApiValues.model_fields)


def test_the_deadline_of_one_is_not_that_of_those_who_ask_the_same() -> None:
    with service_with(deadlines=Deadlines(request_s=5)) as service:
        service.stored("cat.md", "The cat sleeps.")
        service.embedding.delay_s = 0.2
        service.retrieve("to measure how long a call takes")

        async def ask(seconds: str) -> Any:
            return await service.calling("POST", "/retrieve", {"query": "cat"}, **{"x-request-timeout": seconds})

        async def together() -> list[Any]:
            return await asyncio.gather(ask("0.05"), ask("4"), ask("4"), ask("0.05"), ask("4"))

        assert [answer.status for answer in service.run(together())] == [504, 200, 200, 504, 200]


def test_vectors_of_another_model_are_not_used_after_it_is_gone() -> None:
    probing = dataclasses.replace(QUICK, probe_s=0.02)
    with Service(FakeStore(), SETTINGS, intervals=probing) as service:
        for animal in ("cat", "dog"):
            service.stored(f"{animal}.md", f"{animal} {animal}")
        wrong = FakeEmbedding(salt="z")
        right, service.embedding.vectors_of = service.embedding.vectors_of, wrong.vectors_of
        assert service.retrieve("dog").status == 200, "before the next probe it cannot be known"
        service.let_pass(0.25)
        assert service.retrieve("dog").status == 409
        service.embedding.vectors_of = right
        service.let_pass(0.25)
        hit = service.retrieve("dog").json()["hits"][0]
        assert (hit["source"], round(hit["score"], 3)) == ("dog.md", 1.0)


def test_a_model_that_hangs_is_not_waited_for_by_everybody_for_long() -> None:
    parts = {"deadlines": Deadlines(request_s=0.05), "breaking": CircuitBreaking(slow_s=0.04, open_s=60)}
    with service_with(**parts) as service:
        service.stored("cat.md", "The cat sleeps.")
        service.embedding.delay_s = 60
        statuses = [service.retrieve(f"question {number}").status for number in range(20)]
        assert statuses == [504] * 5 + [503] * 15
        report = service.get("/debug/batches").json()["breakers"]["embedding"]
        assert (report["state"], report["reason"]) == ("open", "5 of its last 5 calls failed")


def test_clients_with_little_time_do_not_make_a_backend_look_broken() -> None:
    with service_with() as service:
        service.stored("cat.md", "The cat sleeps.")
        service.embedding.delay_s = 0.05
        hasty = service.together(*[{"query": f"q {number}"} for number in range(20)], **{"x-request-timeout": "0.01"})
        assert {answer.status for answer in hasty} == {504}
        assert service.get("/debug/batches").json()["breakers"]["embedding"]["state"] == "closed"
        assert service.retrieve("cat").status == 200


@pytest.mark.parametrize(
    "body",
    [
        b'{"query": "cat", "filter": "chunk_order_index < 99999999999999999999"}',
        b'{"query": "cat", "filter": "chunk_order_index / 0 == 1"}',
        b'{"query": "cat", "filter": "created_at == NaN"}',
        b'{"query": "cat", "filter": "' + b"(" * 2000 + b'"}',
        b'{"query": "cat", "filter": "' + b"x" * 3000 + b'"}',
        b'{"query": "cat", "filter": "bad ==="}',
        b'{"query": "cat", "filter": 5}',
        b'{"query": "cat", "top_k": 99999999999999999999999}',
        b'{"query": "cat", "top_k": 1e300}',
        b'{"query": "cat", "top_k": -1}',
        b'{"query": "cat", "top_k": NaN}',
        b'{"query": "cat", "min_score": NaN}',
        b'{"query": "cat", "min_score": 1e999}',
        b'{"query": "cat", "min_score": "high"}',
        b'{"query": "' + b"x" * 9000 + b'"}',
        b'{"query": "cat", "filter": ' + b"[" * 100_000,
        b'{"query": "\\ud800"}',
    ],
    ids=lambda body: body[:60].decode(),
)
@pytest.mark.parametrize("path", ["/retrieve", "/query"])
def test_values_out_of_range_are_400_whatever_they_are(patient: Service, path: str, body: bytes) -> None:
    assert patient.run(patient.sending("POST", path, body)).status == 400
