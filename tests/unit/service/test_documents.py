"""Documents through lightrag-api in this process: what is stored, what is left behind, what a cut-off write leaves."""

import asyncio
import json
from collections.abc import AsyncGenerator, Iterator
from typing import Any

import pytest

from lightragctl.core.settings import Chunking
from lightragctl.service.adaptive_batch import AdaptiveBatch
from lightragctl.service.document_handlers import with_keep_alive
from lightragctl.service.documents import EMBED_CHUNKS, document_id
from tests.fakes.service import ALIAS, CONTROL, SETTINGS, Service
from tests.fakes.store import FakeStore


def text_of(paragraphs: int, word: str = "word") -> str:
    """A text whose paragraphs fill a chunk each."""
    return "\n\n".join(
        f"{word}{number} " + f"{word} of the matter number {number} stands here today" for number in range(paragraphs)
    )


@pytest.fixture
def service() -> Iterator[Service]:
    with Service(FakeStore()) as service:
        yield service


def rows(service: Service) -> dict[str, dict[str, Any]]:
    return service.store.readable(ALIAS).rows


def listed(service: Service, **query: Any) -> list[dict[str, Any]]:
    documents: list[dict[str, Any]] = service.get("/documents", **query).json()["documents"]
    return documents


def test_a_document_is_created_then_unchanged_then_updated(service: Service) -> None:
    first = service.stored("a.md", "The cat sleeps.")
    assert first == {"event": "document", "id": document_id("a.md"), "source": "a.md", "status": "created", "chunks": 1}
    embedded = len(service.embedding.texts)
    assert service.stored("a.md", "The cat sleeps.")["status"] == "unchanged"
    assert len(service.embedding.texts) == embedded
    assert service.stored("a.md", "The dog barks.")["status"] == "updated"
    assert [row["content"] for row in rows(service).values()] == ["The dog barks."]


def test_rows_have_lightrags_fields(service: Service) -> None:
    service.stored("中文.md", text_of(3))
    for order, (key, row) in enumerate(sorted(rows(service).items())):
        assert key == f"{document_id('中文.md')}-chunk-{order:03d}"
        assert (row["file_path"], row["full_doc_id"]) == ("中文.md", document_id("中文.md"))
        assert row["chunk_order_index"] == order
        assert row["tokens"] > 0
        assert row["created_at"] > 1_600_000_000


def test_a_shorter_version_leaves_no_stale_chunks(service: Service) -> None:
    before = service.stored("a.md", text_of(6))["chunks"]
    after = service.stored("a.md", text_of(2))["chunks"]
    assert after < before
    assert len(rows(service)) == after


def test_a_shorter_version_after_a_cut_off_longer_one_leaves_no_stale_chunks(service: Service) -> None:
    service.stored("a.md", text_of(1))
    service.embedding.calls_left = 1
    assert service.write("a.md", text_of(3 * EMBED_CHUNKS)).status == 503
    service.embedding.calls_left = None
    after = service.stored("a.md", text_of(2, "other"))["chunks"]
    assert len(rows(service)) == after
    assert all("other" in row["content"] for row in rows(service).values())


def test_a_write_that_was_cut_off_is_seen_and_completed_without_embedding_again_what_is_there(
    service: Service,
) -> None:
    text = text_of(2 * EMBED_CHUNKS + 4)
    service.stored("other.md", "Something else.")
    service.embedding.calls_left = 1
    assert service.write("a.md", text).status == 503
    assert {one["source"]: one["state"] for one in listed(service)} == {"other.md": "ready", "a.md": "writing"}
    assert len(rows(service)) == 1 + EMBED_CHUNKS
    service.embedding.calls_left = None
    service.embedding.texts.clear()
    done = service.stored("a.md", text)
    assert len(service.embedding.texts) == done["chunks"] - EMBED_CHUNKS
    assert len(rows(service)) == 1 + done["chunks"]
    assert {one["state"] for one in listed(service)} == {"ready"}


def test_a_replica_that_starts_afterwards_completes_a_cut_off_write(service: Service) -> None:
    text = text_of(2 * EMBED_CHUNKS)
    service.stored("other.md", "Something else.")
    service.embedding.calls_left = 1
    assert service.write("a.md", text).status == 503
    with Service(service.store) as second:
        assert second.write("a.md", text).status == 200
        assert {one["state"] for one in listed(second)} == {"ready"}


def test_a_changed_text_embeds_only_the_chunks_that_changed(service: Service) -> None:
    count = service.stored("a.md", text_of(6))["chunks"]
    service.embedding.texts.clear()
    assert service.stored("a.md", text_of(6).replace("number 5 ", "number five "))["status"] == "updated"
    assert 0 < len(service.embedding.texts) < count


def test_a_deleted_document_is_gone_with_all_its_chunks(service: Service) -> None:
    service.stored("keep.md", "The cat sleeps.")
    chunks = service.stored("a.md", text_of(5))["chunks"]
    answer = service.remove("/documents", source="a.md")
    assert answer.json()["deleted"] == {"id": document_id("a.md"), "source": "a.md", "chunks": chunks}
    assert {row["file_path"] for row in rows(service).values()} == {"keep.md"}
    assert [one["source"] for one in listed(service)] == ["keep.md"]
    again = service.remove("/documents", id=document_id("a.md"))
    assert (again.status, again.json()["type"]) == (404, "urn:lightragctl:document-not-found")


@pytest.mark.parametrize("query", [{}, {"source": "a", "id": "b"}])
def test_delete_wants_one_name(service: Service, query: dict[str, str]) -> None:
    assert service.remove("/documents", **query).status == 400


def test_the_list_comes_in_pages_and_misses_none(service: Service) -> None:
    for number in range(7):
        service.stored(f"{number}.md", f"Document number {number}.")
    seen: list[str] = []
    after: str | None = ""
    while after is not None:
        page = service.get("/documents", limit=3, after=after).json()
        assert len(page["documents"]) <= 3
        seen += [one["source"] for one in page["documents"]]
        after = page["next"]
    assert sorted(seen) == [f"{number}.md" for number in range(7)]


def test_the_list_tells_what_was_cut_otherwise(service: Service) -> None:
    service.stored("a.md", text_of(4))
    assert [one["current"] for one in listed(service)] == [True]
    other = SETTINGS.model_copy(update={"chunking": Chunking(size_tokens=64, overlap_tokens=0)})
    with Service(service.store, other) as second:
        assert [one["current"] for one in listed(second)] == [False]
        assert second.stored("a.md", text_of(4))["status"] == "updated"
        assert [one["current"] for one in listed(second)] == [True]


def test_a_workspace_that_is_not_there_has_no_documents(service: Service) -> None:
    assert service.get("/documents", workspace="nowhere").json()["documents"] == []


def lines(service: Service, *documents: tuple[str, str]) -> list[dict[str, Any]]:
    body = {"documents": [{"source": source, "text": text} for source, text in documents]}
    answer = service.post("/documents", body, accept="application/x-ndjson")
    assert (answer.status, answer.headers["content-type"]) == (200, "application/x-ndjson")
    return [json.loads(line) for line in answer.body.splitlines()]


def test_the_stream_tells_progress_and_each_document_and_its_end(service: Service) -> None:
    events = lines(service, ("a.md", text_of(EMBED_CHUNKS + 2)), ("b.md", "The cat sleeps."))
    assert [event["event"] for event in events] == ["progress", "progress", "document", "progress", "document", "done"]
    assert events[0]["chunks_done"] == EMBED_CHUNKS
    assert events[1]["chunks_done"] == events[1]["chunks"] == events[2]["chunks"]
    assert (events[2]["source"], events[2]["status"]) == ("a.md", "created")


def test_an_error_ends_the_stream_and_what_was_acknowledged_stands(service: Service) -> None:
    service.stored("first.md", "Something.")
    service.embedding.calls_left = 1
    events = lines(service, ("a.md", "The cat sleeps."), ("b.md", "The dog barks."), ("c.md", "The owl hoots."))
    assert [event["event"] for event in events] == ["progress", "document", "error"]
    assert events[-1]["problem"]["status"] == 503
    assert "the model is gone" in events[-1]["problem"]["detail"]
    states = {one["source"]: one["state"] for one in listed(service)}
    assert states == {"first.md": "ready", "a.md": "ready", "b.md": "writing"}


def test_a_document_without_text_is_400_and_names_it(service: Service) -> None:
    answer = service.write("empty.md", " \n ")
    assert answer.status == 400
    assert "empty.md" in answer.json()["detail"]
    assert listed(service) == []


def test_flush_counts_the_rows_and_loads_what_is_not_loaded(service: Service) -> None:
    assert service.post("/documents/flush", {}).json()["rows"] == 0
    chunks = service.stored("a.md", text_of(4))["chunks"]
    service.store.release(ALIAS)
    service.store.release(CONTROL)
    assert service.post("/documents/flush", {}).json() == {"workspace": "default", "rows": chunks}


def test_a_store_that_forgot_what_was_loaded_takes_a_write(service: Service) -> None:
    service.stored("a.md", text_of(3))
    service.store.release(ALIAS)
    service.store.release(CONTROL)
    assert service.stored("a.md", text_of(2))["status"] == "updated"


HELD = {"source": "/a/b.md", "sha256": "0" * 64, "chunks": 2}


def test_documents_of_lightrag_server_are_listed_and_not_deleted_here() -> None:
    with Service(FakeStore()) as service:
        assert service.put("/documents/records", {"documents": [HELD | {"state": "writing"}]}).json()["recorded"] == 1
        (writing,) = service.get("/documents").json()["documents"]
        assert (writing["source"], writing["state"], writing["current"]) == ("/a/b.md", "writing", True)
        service.put("/documents/records", {"documents": [HELD]})
        assert service.get("/documents").json()["documents"][0]["state"] == "ready"
        refused = service.remove("/documents", source="/a/b.md")
        assert (refused.status, refused.json()["type"]) == (409, "urn:lightragctl:owned-by-lightrag-server")


def test_records_of_others_are_refused_in_a_workspace_of_ours() -> None:
    with Service(FakeStore()) as service:
        service.stored("a.md", "The cat sleeps.")
        answer = service.put("/documents/records", {"documents": [HELD]})
        assert answer.status == 409
        assert "belongs to lightrag-api" in answer.json()["detail"]


def test_a_record_with_a_malformed_checksum_is_400() -> None:
    with Service(FakeStore()) as service:
        assert service.put("/documents/records", {"documents": [HELD | {"sha256": "x"}]}).status == 400


def contents(service: Service) -> str:
    return " ".join(str(row["content"]) for row in rows(service).values())


def test_three_writers_of_one_document_follow_each_other(service: Service) -> None:
    texts = {word: text_of(4 * EMBED_CHUNKS, word) for word in ("alpha", "beta", "gamma")}

    def write(word: str) -> Any:
        return service.calling("POST", "/documents", {"documents": [{"source": "a.md", "text": texts[word]}]})

    async def overlapping() -> None:
        first, second = asyncio.create_task(write("alpha")), asyncio.create_task(write("beta"))
        await first
        await asyncio.gather(second, write("gamma"))

    service.run(overlapping())
    assert {word for word in texts if word in contents(service)} == {"gamma"}
    assert len(rows(service)) == listed(service)[0]["chunks"]


def test_loading_the_same_text_again_mends_what_is_stored(service: Service) -> None:
    """A mixture, a chunk that is missing and one that is left over, all noted as ready."""
    text = text_of(6)
    service.stored("other.md", "Something else.")
    chunks = service.stored("a.md", text)["chunks"]
    stored, document = rows(service), document_id("a.md")
    right = contents(service)
    stored[f"{document}-chunk-001"]["content"] = "of another version"
    stored[f"{document}-chunk-099"] = {**stored[f"{document}-chunk-000"], "id": f"{document}-chunk-099"}
    del stored[f"{document}-chunk-002"]
    assert service.stored("a.md", text)["status"] == "updated"
    assert len(rows(service)) == 1 + chunks
    assert sorted(contents(service).split()) == sorted(right.split())
    embedded = len(service.embedding.texts)
    assert service.stored("a.md", text)["status"] == "unchanged"
    assert len(service.embedding.texts) == embedded


def test_what_an_earlier_version_wrote_is_compared_once_and_not_embedded_again(service: Service) -> None:
    service.stored("a.md", "The cat sleeps.")
    row = service.store.readable(CONTROL).rows[f"doc:{document_id('a.md')}"]
    row["value"] = json.dumps({**json.loads(row["value"]), "cut": "1:16:0:words_64d"})
    assert not listed(service)[0]["current"], "so that a client that looks at the list sends it"
    embedded = len(service.embedding.texts)
    assert service.stored("a.md", "The cat sleeps.")["status"] == "unchanged"
    assert listed(service)[0]["current"]
    assert len(service.embedding.texts) == embedded


def test_writers_that_wait_for_one_document_leave_the_others_alone(service: Service) -> None:
    """The places for writers are for those who write, not for those who wait for a document."""
    release = asyncio.Event()

    async def test() -> int:
        service.embedding.gates["slow"] = release
        slow = [
            asyncio.create_task(
                service.calling("POST", "/documents", {"documents": [{"source": "s.md", "text": f"slow {number}"}]})
            )
            for number in range(10)
        ]
        await asyncio.sleep(0.02)
        other = await service.calling("POST", "/documents", {"documents": [{"source": "o.md", "text": "quick"}]})
        release.set()
        await asyncio.gather(*slow)
        return other.status

    assert service.run(test()) == 200


@pytest.mark.parametrize("text", ["\u200b", "\0", " \n\t", "\ufeff\u00ad", "\x07\x1b"])
@pytest.mark.parametrize("accept", ["application/json", "application/x-ndjson"])
def test_a_document_without_text_is_refused_and_nothing_is_written(service: Service, text: str, accept: str) -> None:
    body = {"documents": [{"source": "good.md", "text": "The cat sleeps."}, {"source": "bad.md", "text": text}]}
    answer = service.post("/documents", body, accept=accept)
    assert (answer.status, answer.json()["detail"]) == (400, "bad.md has no text")
    assert listed(service) == []


def test_a_text_is_stored_as_ingest_would_store_it(service: Service) -> None:
    service.stored("a.md", "cafe\u0301\0\r\nsleeps\u200b\x1b[2J\u2028here")
    assert contents(service) == "caf\u00e9\nsleeps[2J\nhere"
    assert service.stored("a.md", "caf\u00e9\nsleeps[2J\nhere")["status"] == "unchanged"


def test_a_source_with_nul_is_refused(service: Service) -> None:
    assert service.write("a\0.md", "The cat sleeps.").status == 400


def test_two_replicas_that_write_one_document_leave_no_mixture_that_looks_whole(service: Service) -> None:
    """Who finds another record in place of its own says 503; whoever sends again has the document whole."""
    texts = {word: text_of(3 * EMBED_CHUNKS, word) for word in ("alpha", "beta")}
    service.stored("a.md", "Something else.")
    with Service(service.store) as other:
        gate = asyncio.Event()
        service.embedding.gates["alpha40 "] = gate

        async def begin() -> "asyncio.Task[Any]":
            body = {"documents": [{"source": "a.md", "text": texts["alpha"]}]}
            writing = asyncio.create_task(service.calling("POST", "/documents", body))
            while not any("alpha" in text for text in service.embedding.texts):
                await asyncio.sleep(0.001)
            return writing

        writing = service.run(begin())
        assert other.write("a.md", texts["beta"]).status == 200
        gate.set()

        async def end() -> Any:
            return await writing

        answer = service.run(end())
        assert (answer.status, answer.json()["type"]) == (503, "urn:lightragctl:write-conflict")
        assert listed(service)[0]["state"] == "writing"
        assert service.stored("a.md", texts["alpha"])["status"] == "updated"
    assert ("alpha" in contents(service), "beta" in contents(service)) == (True, False)
    assert (listed(service)[0]["state"], len(rows(service))) == ("ready", listed(service)[0]["chunks"])


def test_clients_that_read_nothing_of_their_loads_hold_up_nobody(service: Service) -> None:
    unread = [service.begin_load(f"{number}.md", text_of(200)) for number in range(5)]
    assert service.stored("other.md", "The cat sleeps.")["status"] == "created"
    assert service.stored("0.md", text_of(200))["status"] in ("unchanged", "updated"), "the same document too"
    for pieces in unread:
        events = service.rest_of(pieces)
        assert [event["event"] for event in events if event["event"] != "progress"] == ["document", "done"]


def test_progress_that_is_not_read_is_left_out_and_what_is_acknowledged_is_not(service: Service) -> None:
    pieces = service.begin_load("a.md", text_of(EMBED_CHUNKS * 100))
    service.let_pass(0.5)
    while len(rows(service)) < EMBED_CHUNKS * 100:
        service.let_pass(0.1)
    service.let_pass(0.1)
    events = service.rest_of(pieces)
    assert len(events) < 80
    assert [event["event"] for event in events[-2:]] == ["document", "done"]


def test_a_load_whose_client_leaves_ends(service: Service) -> None:
    service.leave(service.begin_load("a.md", text_of(EMBED_CHUNKS * 100)))
    before = len(rows(service))
    service.let_pass(0.05)
    assert len(rows(service)) == before < EMBED_CHUNKS * 100
    assert service.stored("a.md", text_of(3))["status"] == "updated"


def test_a_model_that_is_too_slow_for_a_batch_gets_smaller_ones(service: Service) -> None:
    service.stored("first.md", "The model is known by now.")
    service.embedding.sizes.clear()
    service.embedding.manages = 3
    chunks = service.stored("a.md", text_of(EMBED_CHUNKS + 4))["chunks"]
    assert len(rows(service)) == 1 + chunks
    assert service.embedding.sizes[:2] == [EMBED_CHUNKS, EMBED_CHUNKS // 4]
    service.embedding.sizes.clear()
    service.stored("b.md", text_of(EMBED_CHUNKS, "other"))
    assert service.embedding.sizes[0] < EMBED_CHUNKS


def test_a_model_that_does_not_manage_one_chunk_is_an_error(service: Service) -> None:
    service.embedding.manages = 0
    assert service.write("a.md", text_of(EMBED_CHUNKS)).status == 504


def test_calls_get_smaller_when_they_are_slow_and_larger_again_when_they_are_quick() -> None:
    batch = AdaptiveBatch(16, deadline_s=60)
    for chunks, seconds, size in [(16, 10, 16), (16, 30, 8), (8, 30, 4), (4, 30, 2), (2, 50, 1), (1, 50, 1)]:
        batch.succeeded(chunks, seconds)
        assert batch.size == size
    for size in (2, 4, 8, 16, 16):
        batch.succeeded(batch.size, 1)
        assert batch.size == size
    assert batch.timed_out(16)
    assert batch.size == 4
    batch.succeeded(3, 1)  # the last of a document: says nothing of a full call
    assert batch.size == 4
    assert not batch.timed_out(1)


def test_a_stream_that_waits_says_so() -> None:
    async def events() -> AsyncGenerator[int, None]:
        yield 1
        await asyncio.sleep(0.05)
        yield 2

    async def heard() -> list[int | None]:
        return [event async for event in with_keep_alive(events(), 0.02)]

    got = asyncio.run(heard())
    assert got[0] == 1
    assert got[-1] == 2
    assert None in got[1:-1]


def test_a_stream_that_is_left_ends_what_it_waits_for() -> None:
    ended: list[bool] = []

    async def events() -> AsyncGenerator[int, None]:
        try:
            yield 1
            await asyncio.sleep(60)
        finally:
            ended.append(True)

    async def leave() -> None:
        stream = with_keep_alive(events(), 0.01)
        assert [await anext(stream), await anext(stream)] == [1, None]
        await stream.aclose()

    asyncio.run(leave())
    assert ended == [True]
