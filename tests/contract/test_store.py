"""What every vector store promises: Milvus Lite, the real Milvus and the fake keep the same contract."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import numpy as np
import pytest

from lightragctl.core.errors import RefusedError
from lightragctl.core.settings import Index
from lightragctl.vectors.milvus import MilvusStore
from lightragctl.vectors.model import (
    CollectionMissingError,
    FloatArray,
    InvalidFilterError,
    InvalidRowError,
    NotLoadedError,
    Page,
    Row,
    SearchBatch,
    StoreUnavailableError,
    WrongDimensionError,
    chunks_spec,
    control_spec,
    index_spec,
)
from lightragctl.vectors.search import MilvusSearch
from lightragctl.vectors.store import VectorStore
from tests.contract.conftest import CALL_S, Subject
from tests.milvus.fixtures import LiteServer, free_port

DIMENSION = 8
ODD_IDS = ['quo"te', "back\\slash", "new\nline", "carriage\rreturn", "tab\t", "apo'strophe", "中文 编号", "é"]


def vectors(count: int, seed: int = 0) -> FloatArray:
    return np.random.default_rng(seed).standard_normal((count, DIMENSION)).astype(np.float32)


def row(key: str, vector: Any, content: str = "text", source: str = "a.md", **dynamic: Any) -> Row:
    fixed = {"id": key, "vector": vector, "created_at": 1, "content": content, "file_path": source}
    return {**fixed, "full_doc_id": "doc-1", **dynamic}


def fill(store: VectorStore, name: str, rows: list[Row]) -> None:
    store.create(chunks_spec(name, DIMENSION, Index()))
    store.upsert(name, rows)


def filled(subject: Subject, rows: list[Row]) -> str:
    fill(subject.store, subject.name, rows)
    return subject.name


def batch(name: str, asked: FloatArray, top_k: int = 3, filter_text: str = "") -> SearchBatch:
    return SearchBatch(name, asked, top_k, index_spec(Index()), ["content", "chunk_order_index"], filter_text)


def all_pages(subject: Subject, name: str, limit: int) -> list[str]:
    ids: list[str] = []
    page = Page(limit=limit)
    while True:
        rows = subject.store.scan(name, ["content"], page)
        ids += [one["id"] for one in rows]
        if len(rows) < limit:
            return ids
        page = Page(after=ids[-1], limit=limit)


def test_creating_twice_keeps_the_rows(subject: Subject) -> None:
    name = filled(subject, [row("a", vectors(1)[0])])
    subject.store.create(chunks_spec(name, DIMENSION, Index()))
    assert subject.store.row_count(name) == 1
    assert subject.store.is_loaded(name)


def test_creating_with_another_dimension_is_refused(subject: Subject) -> None:
    name = filled(subject, [])
    with pytest.raises(WrongDimensionError, match=r"8.*16"):
        subject.store.create(chunks_spec(name, 16, Index()))


def test_a_control_collection_keeps_json(subject: Subject) -> None:
    value = '{"模型": "e5", "quote": "\\"", "n": [1, 2]}'
    subject.store.create(control_spec(subject.name))
    subject.store.upsert(subject.name, [{"id": "epoch", "vector": [0.0, 0.0], "created_at": 1, "value": value}])
    assert subject.store.get(subject.name, ["epoch", "none"], ["value"]) == {"epoch": {"id": "epoch", "value": value}}


def test_an_alias_stands_for_its_collection_and_can_be_switched(subject: Subject) -> None:
    first, second, alias = f"{subject.name}_g1", f"{subject.name}_g2", f"{subject.name}_alias"
    subject.store.create(chunks_spec(first, DIMENSION, Index()))
    subject.store.create(chunks_spec(second, DIMENSION, Index()))
    assert subject.store.resolve(alias) is None
    for physical in (first, first, second):
        subject.store.point_alias(alias, physical)
        subject.store.upsert(alias, [row(f"in {physical}", vectors(1)[0])])
        assert subject.store.resolve(alias) == physical
        assert all_pages(subject, alias, 10) == [f"in {physical}"]
    assert subject.store.resolve(first) == first
    listed = subject.store.list_collections()
    assert {first, second} <= set(listed)
    assert alias not in listed


def test_an_alias_is_never_dropped_and_a_dropped_collection_frees_it(subject: Subject) -> None:
    first, second, alias = f"{subject.name}_g1", f"{subject.name}_g2", f"{subject.name}_alias"
    subject.store.create(chunks_spec(first, DIMENSION, Index()))
    subject.store.point_alias(alias, first)
    with pytest.raises(RefusedError, match=first):
        subject.store.drop(alias)
    assert subject.store.resolve(first) == first
    subject.store.drop(first)
    subject.store.drop(first)
    assert subject.store.resolve(alias) is None
    subject.store.create(chunks_spec(second, DIMENSION, Index()))
    subject.store.point_alias(alias, second)
    assert subject.store.resolve(alias) == second


def test_an_upsert_replaces_the_row(subject: Subject) -> None:
    name = filled(subject, [row("a", vectors(1)[0], content="old", chunk_order_index=1), row("b", vectors(1)[0])])
    subject.store.upsert(name, [row("a", vectors(1, seed=1)[0], content="新的", chunk_order_index=2)])
    assert subject.store.row_count(name) == 2
    got = subject.store.get(name, ["a"], ["content", "vector", "chunk_order_index"])["a"]
    assert (got["content"], got["chunk_order_index"]) == ("新的", 2)
    np.testing.assert_allclose(got["vector"], vectors(1, seed=1)[0], rtol=1e-6)


def test_a_field_that_a_row_lacks_is_left_out(subject: Subject) -> None:
    name = filled(subject, [row("a", vectors(1)[0], tokens=7), row("b", vectors(1)[0])])
    rows = subject.store.get(name, ["a", "b", "absent"], ["tokens"])
    assert rows == {"a": {"id": "a", "tokens": 7}, "b": {"id": "b"}}


@pytest.mark.parametrize("limit", [1, 3, 100])
def test_pages_give_every_id_once_and_in_order(subject: Subject, limit: int) -> None:
    name = filled(subject, [row(key, vectors(1)[0], content=key) for key in ODD_IDS])
    assert all_pages(subject, name, limit) == sorted(ODD_IDS)
    got = subject.store.get(name, ODD_IDS, ["content"])
    assert {key: one["content"] for key, one in got.items()} == {key: key for key in ODD_IDS}


def test_pages_stay_in_order_over_flushed_and_fresh_rows(subject: Subject) -> None:
    keys = [f"doc-{number:04d}" for number in np.random.default_rng(3).permutation(2000)]
    rows = [row(key, vector) for key, vector in zip(keys, vectors(2000), strict=True)]
    name = filled(subject, rows[:1200])
    subject.store.flush(name)
    subject.store.upsert(name, rows[1000:])
    subject.store.delete(name, keys[:50])
    assert all_pages(subject, name, 300) == sorted(keys[50:])


def test_a_page_ends_before_an_id(subject: Subject) -> None:
    name = filled(subject, [row(key, vectors(1)[0]) for key in ("doc", "doc:1", "doc:é", "doc;", "epoch")])
    rows = subject.store.scan(name, [], Page(after="doc:", before="doc;", limit=10))
    assert [one["id"] for one in rows] == ["doc:1", "doc:é"]


def test_a_page_keeps_to_its_filter(subject: Subject) -> None:
    name = filled(subject, [row(f"r{n}", vectors(1)[0], source="中.md" if n % 2 else "b.md") for n in range(6)])
    rows = subject.store.scan(name, [], Page(after="r1", limit=10, filter='file_path == "中.md"'))
    assert rows == [{"id": "r3"}, {"id": "r5"}]


def test_deleted_rows_are_gone(subject: Subject) -> None:
    name = filled(subject, [row(key, vectors(1)[0]) for key in [*ODD_IDS, "stays"]])
    subject.store.delete(name, [*ODD_IDS, "never was"])
    assert all_pages(subject, name, 10) == ["stays"]
    assert subject.store.row_count(name) == 1
    assert [hit.id for hit in subject.search(batch(name, vectors(1)))[0][0]] == ["stays"]


def test_a_search_gives_the_best_first_and_sees_the_last_write(subject: Subject) -> None:
    stored = vectors(50)
    name = filled(subject, [row(f"r{n:02d}", stored[n], content=str(n), chunk_order_index=n) for n in range(50)])
    hits = subject.search(batch(name, stored[7:8], top_k=5))[0][0]
    unit = stored / np.linalg.norm(stored, axis=1, keepdims=True)
    expected = np.argsort(-(unit @ unit[7]))[:5]
    assert [hit.id for hit in hits] == [f"r{n:02d}" for n in expected]
    assert hits[0].score == pytest.approx(1.0, abs=1e-5)
    assert hits[0].fields == {"content": "7", "chunk_order_index": 7}
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)


def test_a_search_may_ask_for_no_field(subject: Subject) -> None:
    name, stored = subject.name, vectors(5)
    fill(subject.store, name, [row(f"r{n}", vector) for n, vector in enumerate(stored)])
    asked = SearchBatch(name, stored[3:4], 2, index_spec(Index()), ())
    assert subject.search(asked)[0][0][0].id == "r3"


def test_a_batch_gives_what_single_searches_give(subject: Subject) -> None:
    name = filled(subject, [row(f"r{n:02d}", vector) for n, vector in enumerate(vectors(50))])
    asked = vectors(6, seed=9)
    together, *alone = subject.search(batch(name, asked), *(batch(name, asked[n : n + 1]) for n in range(6)))
    assert [[hit.id for hit in hits] for hits in together] == [[hit.id for hit in one[0]] for one in alone]
    assert all(len(hits) == 3 for hits in together)


def test_more_hits_than_rows_and_more_than_ef_can_be_asked_for(subject: Subject) -> None:
    rows = [row(f"r{n:04d}", vector) for n, vector in enumerate(vectors(1200))]
    name = filled(subject, rows)
    subject.store.flush(name)
    assert len(subject.search(batch(name, vectors(1), top_k=200))[0][0]) == 200
    assert len(subject.search(batch(name, vectors(1), top_k=2000))[0][0]) == 1200


def test_an_empty_collection_has_no_hits(subject: Subject) -> None:
    name = filled(subject, [])
    assert subject.search(batch(name, vectors(2))) == [[[], []]]
    assert subject.store.scan(name, [], Page()) == []
    assert subject.store.get(name, ["a"], []) == {}
    assert subject.store.get(name, [], []) == {}


def test_a_search_keeps_to_its_filter(subject: Subject) -> None:
    rows = [row(f"r{n}", vector, source=f"目录/{n % 2}.md") for n, vector in enumerate(vectors(10))]
    name = filled(subject, rows)
    hits = subject.search(batch(name, vectors(1), top_k=10, filter_text='file_path == "目录/1.md"'))[0][0]
    assert sorted(hit.id for hit in hits) == ["r1", "r3", "r5", "r7", "r9"]


@pytest.mark.parametrize("text", ["bad ===", "content == 3 and", "(", "deep"])
def test_a_filter_that_is_not_understood_is_named(subject: Subject, text: str) -> None:
    name = filled(subject, [row("a", vectors(1)[0])])
    text = "(" * subject.deep if text == "deep" else text
    with pytest.raises(InvalidFilterError, match="not understood"):
        subject.search(batch(name, vectors(1), filter_text=text))
    with pytest.raises(InvalidFilterError, match="not understood"):
        subject.store.scan(name, [], Page(filter=text))


@pytest.mark.parametrize(
    "ask",
    [
        lambda subject, name: subject.store.load(name),
        lambda subject, name: subject.store.is_loaded(name),
        lambda subject, name: subject.store.upsert(name, [row("a", vectors(1)[0])]),
        lambda subject, name: subject.store.delete(name, ["a"]),
        lambda subject, name: subject.store.get(name, ["a"], []),
        lambda subject, name: subject.store.scan(name, [], Page()),
        lambda subject, name: subject.store.flush(name),
        lambda subject, name: subject.store.row_count(name),
        lambda subject, name: subject.store.point_alias("contract_alias", name),
        lambda subject, name: subject.search(batch(name, vectors(1))),
    ],
    ids=["load", "is_loaded", "upsert", "delete", "get", "scan", "flush", "row_count", "point_alias", "search"],
)
def test_a_missing_collection_is_named(subject: Subject, ask: Callable[[Subject, str], object]) -> None:
    with pytest.raises(CollectionMissingError, match="contract_missing"):
        ask(subject, "contract_missing")


def test_vectors_of_another_dimension_are_refused(subject: Subject) -> None:
    name = filled(subject, [row(f"r{n:04d}", vector) for n, vector in enumerate(vectors(1100))])
    for flushed in (False, True):
        if flushed:
            subject.store.flush(name)
        for other in (5, 16):
            wrong = np.ones((1, other), np.float32)
            with pytest.raises(WrongDimensionError, match=f"8.*{other}"):
                subject.store.upsert(name, [row("w", wrong[0])])
            with pytest.raises(WrongDimensionError, match=f"8.*{other}"):
                subject.search(batch(name, wrong))
    assert subject.store.row_count(name) == 1100


def test_a_row_that_does_not_fit_is_refused(subject: Subject) -> None:
    name = filled(subject, [])
    fits = row("a", vectors(1)[0])
    for wrong in ({**fits, "content": "x" * 65536}, {key: fits[key] for key in ("id", "vector")}):
        with pytest.raises(InvalidRowError):
            subject.store.upsert(name, [fits, wrong])
    assert subject.store.row_count(name) == 0


def test_own_deletes_are_read_at_once(subject: Subject) -> None:
    name = filled(subject, [row("stays", vectors(1)[0])])
    for number in range(10):
        key = f"d{number}"
        subject.store.upsert(name, [row(key, vectors(1)[0])])
        subject.store.delete(name, [key])
        assert subject.store.get(name, [key], []) == {}
        assert subject.store.row_count(name) == 1


def test_what_is_deleted_while_unloaded_is_gone_after_the_load(subject: Subject) -> None:
    name = filled(subject, [row(key, vectors(1)[0]) for key in ("a", "stays")])
    subject.release(name)
    with pytest.raises(NotLoadedError):
        subject.store.get(name, ["a"], [])
    subject.store.delete(name, ["a"])
    subject.store.load(name)
    assert all_pages(subject, name, 10) == ["stays"]
    assert subject.store.row_count(name) == 1


def test_own_writes_are_read_at_once(subject: Subject) -> None:
    name = filled(subject, [])
    for number, vector in enumerate(vectors(5)):
        key = f"w{number}"
        subject.store.upsert(name, [row(key, vector, content=key)])
        assert subject.search(batch(name, vector[None], top_k=1))[0][0][0].id == key
        assert subject.store.get(name, [key], ["content"]) == {key: {"id": key, "content": key}}
        subject.store.upsert(name, [row(key, vector, content="again")])
        assert subject.store.scan(name, ["content"], Page(limit=1)) == [{"id": "w0", "content": "again"}]
        assert subject.store.row_count(name) == number + 1


def test_writers_and_flushes_at_the_same_time_lose_nothing(subject: Subject) -> None:
    name = filled(subject, [])

    def write(writer: int) -> None:
        for number, vector in enumerate(vectors(40, seed=writer)):
            subject.store.upsert(name, [row(f"w{writer}-{number:02d}", vector)])
            if number % 20 == 10 and writer == 0:
                subject.store.flush(name)

    with ThreadPoolExecutor(4) as writers:
        list(writers.map(write, range(4)))
    assert subject.store.row_count(name) == 160
    assert len(all_pages(subject, name, 50)) == 160


def test_a_flush_keeps_and_indexes_every_row(subject: Subject) -> None:
    stored = vectors(3000)
    name = filled(subject, [row(f"r{n:04d}", vector) for n, vector in enumerate(stored)])
    subject.store.flush(name)
    subject.store.flush(name)
    assert subject.store.row_count(name) == 3000
    found = subject.search(batch(name, stored[:100], top_k=1))[0]
    assert [hits[0].id for hits in found] == [f"r{n:04d}" for n in range(100)]


def test_closing_twice_is_harmless(subject: Subject) -> None:
    async def close_twice() -> None:
        door = subject.open_search()
        await door.close()
        await door.close()

    asyncio.run(close_twice())
    subject.store.close()
    subject.store.close()


def test_acknowledged_rows_outlive_a_crash_and_the_same_client_goes_on(lite: LiteServer) -> None:
    name, stored = "contract_crash", vectors(10)
    store = MilvusStore(lite.uri, CALL_S)
    fill(store, name, [row(f"r{n}", vector, content="flushed") for n, vector in enumerate(stored[:5])])
    store.flush(name)
    store.upsert(name, [row(f"r{n}", vector, content="fresh") for n, vector in enumerate(stored) if n >= 5])
    lite.kill()
    with pytest.raises(StoreUnavailableError):
        store.get(name, ["r1"], [])
    lite.start()
    assert not store.is_loaded(name)
    with pytest.raises(NotLoadedError, match=name):
        store.get(name, ["r1"], [])
    store.load(name)
    rows = store.scan(name, ["content"], Page())
    assert [one["content"] for one in rows] == ["flushed"] * 5 + ["fresh"] * 5
    store.drop(name)
    store.close()


def test_rows_that_several_clients_write_first_thing_after_a_crash_are_all_there(lite: LiteServer) -> None:
    name, wide = "contract_crash_writers", np.ones((3000, 384), np.float32)  # so much that opening it takes a while
    store = MilvusStore(lite.uri, CALL_S)
    store.create(chunks_spec(name, 384, Index()))
    store.upsert(name, [row(f"r{n}", vector) for n, vector in enumerate(wide)])
    lite.kill()
    lite.start()
    writers = [MilvusStore(lite.uri, CALL_S) for _ in range(8)]
    for writer in writers:
        writer.resolve("none")  # connects, and opens no collection
    together = Barrier(len(writers))

    def write(number: int) -> None:
        together.wait(CALL_S)
        time.sleep(0.01 * number)
        writers[number].upsert(name, [row(f"w{number}", wide[0])])

    with ThreadPoolExecutor(len(writers)) as threads:
        list(threads.map(write, range(len(writers))))
    store.load(name)
    assert store.row_count(name) == len(wide) + len(writers)
    store.drop(name)
    for client in (store, *writers):
        client.close()


def test_searching_goes_on_with_the_same_client_after_a_crash(lite: LiteServer) -> None:
    name, stored = "contract_search_crash", vectors(3)
    store = MilvusStore(lite.uri, CALL_S)
    fill(store, name, [row(f"r{n}", vector) for n, vector in enumerate(stored)])

    async def run() -> None:
        door = MilvusSearch(lite.uri, CALL_S)
        assert (await door.search(batch(name, stored[:1])))[0][0].id == "r0"
        lite.kill()
        with pytest.raises(StoreUnavailableError):
            await door.search(batch(name, stored[:1]))
        await asyncio.to_thread(lite.start)
        await asyncio.sleep(1)  # the connection is tried again twice a second
        with pytest.raises(NotLoadedError, match=name):
            await door.search(batch(name, stored[:1]))
        await asyncio.to_thread(store.load, name)
        assert (await door.search(batch(name, stored[:1])))[0][0].id == "r0"
        await door.close()

    asyncio.run(run())
    store.drop(name)
    store.close()


def test_a_store_that_is_not_there_is_reported_within_the_deadline() -> None:
    uri = f"http://127.0.0.1:{free_port()}"
    started = time.monotonic()
    with pytest.raises(StoreUnavailableError, match="does not respond"):
        MilvusStore(uri, 2.0).list_collections()
    assert time.monotonic() - started < 3

    async def run() -> None:
        door = MilvusSearch(uri, 2.0)
        with pytest.raises(StoreUnavailableError):
            await door.search(batch("any", vectors(1)))
        await door.close()

    started = time.monotonic()
    asyncio.run(run())
    assert time.monotonic() - started < 3


def test_a_store_that_hangs_is_reported_within_the_deadline(lite: LiteServer) -> None:
    store = MilvusStore(lite.uri, 1.0)
    store.list_collections()
    lite.freeze()
    try:
        started = time.monotonic()
        with pytest.raises(StoreUnavailableError, match="does not respond"):
            store.list_collections()
        assert time.monotonic() - started < 3
    finally:
        lite.thaw()
    store.list_collections()
    store.close()
