"""Workspaces through lightrag-api in this process: whose collection it is, of which model, and which generation."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec
import numpy as np
import pytest

from lightragctl.core.errors import WaitExpired
from lightragctl.core.settings import ApiSettings
from lightragctl.service.model_clients import ModelInputError
from lightragctl.service.workspaces import Intervals, Workspaces
from lightragctl.vectors.control import NEWEST_BACKUP, NewestBackup, control_row, epoch_row
from lightragctl.vectors.model import StoreError, StoreUnavailableError, chunks_spec
from tests.fakes.service import ALIAS, CONTROL, MODEL, SETTINGS, FakeEmbedding, Service
from tests.fakes.store import FakeStore

WAIT_S = 10.0


@pytest.fixture
def service() -> Iterator[Service]:
    with Service(FakeStore()) as service:
        yield service


def with_model(**changes: Any) -> ApiSettings:
    return SETTINGS.model_copy(update={"embedding": MODEL.model_copy(update=changes)})


def until(service: Service, condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline
        service.let_pass(0.05)


def upstreams_store() -> FakeStore:
    """A store with a collection that lightrag-server made: it bears LightRAG's name itself; no control collection."""
    store = FakeStore()
    store.create(chunks_spec(ALIAS, MODEL.dimension, SETTINGS.index))
    vector = np.ones(MODEL.dimension, dtype=np.float32)
    row = {"id": "chunk-1", "vector": vector, "created_at": 1, "content": "Upstream's passage.", "full_doc_id": "doc-1"}
    store.upsert(ALIAS, [{**row, "file_path": "up.md"}])
    return store


def test_the_first_write_makes_a_generation_behind_lightrags_name(service: Service) -> None:
    assert service.store.list_collections() == []
    service.stored("a.md", "The cat sleeps.")
    assert service.store.list_collections() == [f"{ALIAS}_g1", CONTROL]
    assert service.store.resolve(ALIAS) == f"{ALIAS}_g1"


def test_an_empty_default_workspace_has_no_hits(service: Service) -> None:
    answer = service.retrieve("cat")
    assert (answer.status, answer.json()["hits"], answer.json()["collection"]) == (200, [], "")


def test_an_unknown_workspace_is_404_with_what_to_do(service: Service) -> None:
    answer = service.retrieve("cat", workspace="nowhere")
    assert (answer.status, answer.json()["type"]) == (404, "urn:lightragctl:workspace-not-found")
    assert "--workspace nowhere" in answer.json()["hint"]


def test_workspaces_do_not_see_each_other(service: Service) -> None:
    service.stored("a.md", "The cat sleeps.", workspace="one")
    service.stored("b.md", "The cat eats.", workspace="two")
    for workspace, source in (("one", "a.md"), ("two", "b.md")):
        hits = service.retrieve("cat", workspace=workspace).json()["hits"]
        assert [hit["source"] for hit in hits] == [source]


def test_a_workspace_is_found_as_soon_as_it_is_there(service: Service) -> None:
    assert service.retrieve("cat", workspace="one").status == 404
    service.stored("a.md", "The cat sleeps.", workspace="one")
    assert len(service.retrieve("cat", workspace="one").json()["hits"]) == 1


@pytest.mark.parametrize(
    ("changes", "salt", "says"),
    [
        ({"query_prefix": "search: "}, "", "query_prefix was 'query: ' and is 'search: '"),
        ({"document_prefix": ""}, "", "document_prefix was 'passage: ' and is ''"),
        ({}, "z", "returns different vectors"),
    ],
)
def test_another_model_is_409_and_says_the_difference(
    service: Service, changes: dict[str, Any], salt: str, says: str
) -> None:
    service.stored("a.md", "The cat sleeps.")
    with Service(service.store, with_model(**changes), FakeEmbedding(salt=salt)) as other:
        answer = other.retrieve("cat")
        assert (answer.status, answer.json()["type"]) == (409, "urn:lightragctl:model-mismatch")
        assert says in answer.json()["detail"]
        until(other, lambda: says in other.ready().json().get("detail", ""))


def test_a_model_of_another_name_is_ready_to_be_loaded_and_409_until_then(service: Service) -> None:
    service.stored("a.md", "The cat sleeps.")
    with Service(service.store, with_model(name="letters")) as other:
        answer = other.retrieve("cat")
        assert (answer.status, answer.json()["type"]) == (409, "urn:lightragctl:model-mismatch")
        assert ALIAS in answer.json()["detail"]
        until(other, lambda: other.ready().status == 200)


def test_another_model_cannot_write_among_the_datas(service: Service) -> None:
    service.stored("a.md", "The cat sleeps.")
    with Service(service.store, embedding=FakeEmbedding(salt="z")) as other:
        assert other.write("b.md", "The dog barks.").status == 409
    assert len(service.store.readable(ALIAS).rows) == 1


def test_upstreams_collection_is_searched() -> None:
    with Service(upstreams_store()) as service:
        answer = service.retrieve("passage").json()
        assert answer["collection"] == ALIAS
        assert [(hit["text"], hit["source"], hit["chunk_order"]) for hit in answer["hits"]] == [
            ("Upstream's passage.", "up.md", None)
        ]
        until(service, lambda: service.ready().status == 200)


def test_upstreams_collection_is_never_written_to() -> None:
    store = upstreams_store()
    with Service(store) as service:
        answer = service.write("a.md", "The cat sleeps.")
        assert (answer.status, answer.json()["type"]) == (409, "urn:lightragctl:owned-by-lightrag-server")
        assert service.remove("/documents", source="a.md").status == 404
        assert service.post("/documents/flush", {}).json()["rows"] == 1
    assert store.list_collections() == [ALIAS]
    assert list(store.readable(ALIAS).rows) == ["chunk-1"]


def test_upstreams_collection_is_never_loaded() -> None:
    store = upstreams_store()
    store.release(ALIAS)
    with Service(store) as service:
        answer = service.retrieve("passage")
        assert (answer.status, answer.headers["retry-after"]) == (503, "1")
        assert "lightrag-server" in answer.json()["hint"]
        assert service.ready().status == 503
        service.post("/documents/flush", {})
        assert not store.is_loaded(ALIAS)


def test_a_collection_of_ours_that_is_not_loaded_is_loaded(service: Service) -> None:
    service.stored("a.md", "The cat sleeps.")
    service.store.release(ALIAS)
    assert len(service.retrieve("cat").json()["hits"]) == 1


def second_generation(store: FakeStore) -> None:
    """A collection with the same rows, and the alias on it."""
    store.create(chunks_spec(f"{ALIAS}_g2", MODEL.dimension, SETTINGS.index))
    store.upsert(f"{ALIAS}_g2", list(store.readable(f"{ALIAS}_g1").rows.values()))
    store.point_alias(ALIAS, f"{ALIAS}_g2")


def test_a_dropped_generation_is_followed_at_once(service: Service) -> None:
    service.stored("a.md", "The cat sleeps.")
    assert service.retrieve("cat").json()["collection"] == f"{ALIAS}_g1"
    second_generation(service.store)
    service.store.drop(f"{ALIAS}_g1")
    answer = service.retrieve("cat")
    assert (answer.status, answer.json()["hits"][0]["source"]) == (200, "a.md")
    assert service.retrieve("cat").json()["collection"] == f"{ALIAS}_g2"


def test_the_answer_names_the_collection_that_was_searched(service: Service) -> None:
    service.stored("a.md", "The cat sleeps.")
    service.retrieve("cat")
    second_generation(service.store)
    service.store.drop(f"{ALIAS}_g1")
    assert service.retrieve("cat").json()["collection"] == f"{ALIAS}_g2"


def test_another_replicas_writing_is_followed_by_the_epoch(service: Service) -> None:
    assert service.retrieve("cat").json()["hits"] == []
    with Service(service.store) as other:
        other.stored("a.md", "The cat sleeps.")
    until(service, lambda: len(service.retrieve("cat").json()["hits"]) == 1)


def test_a_written_generation_follows_the_alias(service: Service) -> None:
    service.stored("a.md", "The cat sleeps.")
    second_generation(service.store)
    service.stored("b.md", "The dog barks.")
    service.let_pass(1.5)
    assert service.retrieve("dog").json()["collection"] == f"{ALIAS}_g2"


def test_documents_loaded_again_with_another_model_are_stored_for_it(service: Service) -> None:
    service.stored("a.md", "The cat sleeps.")
    with Service(service.store, with_model(name="letters")) as other:
        assert [one["current"] for one in other.get("/documents").json()["documents"]] == [False]
        assert other.stored("a.md", "The cat sleeps.")["status"] == "updated"
        hits = other.retrieve("cat").json()["hits"]
        assert [hit["source"] for hit in hits] == ["a.md"]


def test_a_model_that_comes_back_finds_no_stale_chunks(service: Service) -> None:
    service.stored("a.md", "\n\n".join(f"Paragraph {number} of a long text about one cat." for number in range(20)))
    with Service(service.store, with_model(name="letters")) as other:
        other.stored("a.md", "The cat sleeps.")
        other.stored("a.md", "The cat eats.")
    with Service(service.store) as again:
        assert again.stored("a.md", "The cat eats.")["status"] == "updated"
        assert [hit["text"] for hit in again.retrieve("cat").json()["hits"]] == ["The cat eats."]


def test_a_deleted_document_does_not_come_back_with_the_model_before() -> None:
    store = FakeStore()
    with Service(store) as service:
        service.stored("a.md", "The cat sleeps.")
    with Service(store, with_model(name="letters")) as service:
        service.stored("a.md", "The cat sleeps.")
        assert service.remove("/documents", source="a.md").status == 200
    with Service(store) as service:
        assert service.retrieve("cat").json()["hits"] == []


ERRORS = [
    StoreError("the vector store refused (code 65535)"),
    ModelInputError("the budget is spent"),
    WaitExpired("not in time"),
    msgspec.DecodeError("not JSON"),
    ValueError("odd"),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_no_error_of_the_model_or_the_store_ends_the_watch(error: Exception) -> None:
    """A replica that saw a workspace empty finds what another one loaded, whatever happened in between."""
    intervals = Intervals(watch_s=0.01, reread_s=0.02, lease_s=0.5, lag_s=0.0, probe_s=0.0)
    with Service(FakeStore(), intervals=intervals) as service:
        assert service.retrieve("cat").json()["hits"] == []
        service.embedding.error = service.store.error = error
        service.let_pass(0.05)
        service.embedding.error = service.store.error = None
        with Service(service.store) as other:
            other.stored("cat.md", "The cat sleeps.")
        until(service, lambda: bool(service.retrieve("cat").json()["hits"]))


def test_an_error_in_one_workspace_does_not_keep_the_watch_from_the_others() -> None:
    intervals = Intervals(watch_s=0.01, reread_s=60.0, lease_s=60.0, lag_s=0.0)
    with Service(FakeStore(), intervals=intervals) as service:
        for name in ("bad", "default"):
            service.stored("a.md", "The dog barks.", workspace=name)
            service.retrieve("dog", workspace=name)
        service.store.collections["bad_lightragctl"].rows["epoch"] = {}
        with Service(service.store) as other:
            other.stored("cat.md", "The cat sleeps.")
        until(service, lambda: service.retrieve("cat").json()["hits"][0]["source"] == "cat.md")


def test_a_workspace_that_hangs_does_not_keep_the_watch_from_the_others() -> None:
    store, go = FakeStore(), threading.Event()
    workspaces = Workspaces(SETTINGS, store, FakeEmbedding(), Intervals(watch_s=0.01, reread_s=60.0))
    get = store.get

    def hang(name: str, ids: Sequence[str], fields: Sequence[str]) -> dict[str, dict[str, Any]]:
        if name.startswith("bad"):
            assert go.wait(20)
        return get(name, ids, fields)

    async def test() -> None:
        for name in ("bad", "default"):
            await workspaces.writable(name)
        store.get = hang  # type: ignore[method-assign]
        watching = asyncio.create_task(workspaces.watch())
        for number in range(3):
            store.upsert(CONTROL, [epoch_row(number)])
            wanted = store.readable(CONTROL).rows["epoch"]["value"]
            while (version := workspaces.version("default", "chunks")) is None or version.epoch != wanted:
                await asyncio.sleep(0.005)
        watching.cancel()
        go.set()
        workspaces.close()

    asyncio.run(asyncio.wait_for(test(), 10))


@pytest.mark.parametrize("seen", ["empty", "with documents that do not match"])
def test_an_empty_answer_is_not_given_while_the_workspace_cannot_be_confirmed(seen: str) -> None:
    intervals = Intervals(watch_s=0.01, reread_s=60.0, lease_s=0.1, lag_s=0.0)
    with Service(FakeStore(), intervals=intervals) as service:
        if seen != "empty":
            service.stored("a.md", "The dog barks.")
        asked = {"filter": 'file_path == "b.md"'}
        assert service.retrieve("cat", **asked).json()["hits"] == []
        service.store.error = StoreUnavailableError("the vector store does not respond")
        service.let_pass(0.15)
        answer = service.retrieve("cat", **asked)
        assert (answer.status, "hits" in answer.json()) == (503, False)


def test_a_look_that_began_earlier_does_not_replace_what_a_later_one_saw() -> None:
    store = FakeStore()
    workspaces = Workspaces(SETTINGS, store, FakeEmbedding())
    slow, held = store.resolve, threading.Event()

    def resolve(name: str) -> str | None:
        seen = slow(name)
        if threading.current_thread().name.startswith("watch"):
            assert held.wait(5)
        return seen

    store.resolve = resolve  # type: ignore[method-assign]

    async def test() -> str | None:
        earlier = asyncio.create_task(workspaces._refresh("default", workspaces._watchers))
        await asyncio.sleep(0.02)
        made = await workspaces.writable("default")
        held.set()
        await earlier
        assert await workspaces.readable("default") == made
        workspaces.close()
        return made

    assert asyncio.run(test()) == f"{ALIAS}_g1"


def test_the_age_of_the_newest_backup_is_a_metric(service: Service) -> None:
    def ages() -> list[float]:
        lines = service.get("/metrics").body.decode().splitlines()
        return [float(one.rpartition(" ")[2]) for one in lines if one.startswith("lightragctl_backup_age_seconds{")]

    service.stored("a.md", "The cat sleeps.")
    assert ages() == []
    newest = NewestBackup("20261130T120000Z-0a1b2c3d", int(time.time()) - 3600)
    service.store.upsert(CONTROL, [control_row(NEWEST_BACKUP, newest, 0)])
    until(service, lambda: bool(ages()))
    assert 3600 <= ages()[0] < 3700
