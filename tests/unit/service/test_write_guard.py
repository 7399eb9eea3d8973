"""Writes of lightrag-api while a fence is taken and held, and reads while the collections are switched."""

import asyncio
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest

from lightragctl.core.result import Event
from lightragctl.service.collection_loader import CollectionLoader
from lightragctl.service.documents import EMBED_CHUNKS
from lightragctl.service.workspaces import Intervals
from lightragctl.service.write_guard import NotRegisteredError, WriteGuard, WriterPace
from lightragctl.vectors.fence import (
    Clock,
    Fence,
    FenceLostError,
    FenceTerms,
    begin_switch,
    end_switch,
    hold,
    take,
)
from lightragctl.vectors.model import Row, chunks_spec
from tests.fakes.http import Answer
from tests.fakes.service import ALIAS, CONTROL, MODEL, SETTINGS, FakeEmbedding, Service
from tests.fakes.store import FakeStore
from tests.unit.service.test_documents import text_of

TERMS = FenceTerms("t", "backup b1", valid_s=20.0)
BRISK = Clock(pause=lambda seconds: time.sleep(min(seconds, 0.02)))
"""The store in memory shows every write at once, so there is no lag to wait out."""

QUICK = Intervals(watch_s=0.02, reread_s=0.05, lease_s=0.1, lag_s=0.05, probe_s=60.0)


BEATS = Intervals(writer=WriterPace(beat_s=0.02))


@pytest.fixture
def service() -> Iterator[Service]:
    with Service(FakeStore(), intervals=BEATS) as service:
        service.stored("first.md", "Something.")
        rest(service)
        yield service


def rest(*replicas: Service) -> None:
    """Let the replicas remove their registrations; they go on only while they are asked."""
    deadline = time.monotonic() + 20
    while any(key.startswith("writer:") for key in replicas[0].store.collections[CONTROL].rows):
        assert time.monotonic() < deadline
        for replica in replicas:
            replica.let_pass(0.02)


def quiet(event: Event) -> None:
    """Nobody reads it."""


def rows(store: FakeStore) -> dict[str, Any]:
    return {key: row["content"] for key, row in store.readable(ALIAS).rows.items()}


def is_fenced(answer: Answer) -> bool:
    return (answer.status, answer.json()["type"]) == (503, "urn:lightragctl:fenced")


@contextmanager
def taking(store: FakeStore) -> Iterator[list[Any]]:
    """A fence is being taken in another thread; the list has it after the block, and not before."""
    outcome: list[Any] = []

    def run() -> None:
        outcome.append(take(store, "default", TERMS, quiet, BRISK))

    thread = threading.Thread(target=run)
    thread.start()
    yield outcome
    thread.join(30)


def until(service: Service, condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        service.let_pass(0.02)


def test_every_kind_of_write_is_refused_while_the_workspace_is_fenced_and_reads_go_on(service: Service) -> None:
    service.stored("a.md", "The cat sleeps.")
    rest(service)
    with hold(service.store, "default", TERMS, quiet, BRISK) as fence:
        before = rows(service.store)
        refused = [
            service.write("a.md", "The dog barks."),
            service.write("a.md", "The cat sleeps."),
            service.remove("/documents", source="a.md"),
            service.post("/documents/flush", {}),
            service.post("/documents", {"documents": [{"source": "b.md", "text": "b"}]}, accept="application/x-ndjson"),
        ]
        assert all(map(is_fenced, refused))
        assert all(1 <= int(answer.headers["retry-after"]) <= 20 for answer in refused)
        assert "backup b1" in refused[0].json()["detail"]
        assert service.retrieve("cat").json()["hits"]
        assert service.get("/documents").status == 200
        assert rows(service.store) == before
        fence.confirm()
    assert service.stored("a.md", "The dog barks.")["status"] == "updated"


def test_another_workspace_is_not_fenced(service: Service) -> None:
    with hold(service.store, "default", TERMS, quiet, BRISK):
        assert service.write("a.md", "The cat sleeps.", workspace="other").status == 200


def test_a_workspace_is_neither_made_nor_adopted_while_it_is_fenced() -> None:
    store = FakeStore()
    with Service(store, intervals=BEATS) as service, hold(store, "default", TERMS, quiet, BRISK) as fence:
        assert is_fenced(service.write("a.md", "The cat sleeps."))
        assert store.list_collections() == [CONTROL]
        store.create(chunks_spec(ALIAS, MODEL.dimension, SETTINGS.index))  # lightrag-server's
        held = {"documents": [{"source": "a.md", "sha256": "0" * 64}]}
        assert is_fenced(service.put("/documents/records", held))
        assert set(store.collections[CONTROL].rows) == {"fence", "fence:t"}
        fence.confirm()


def test_what_lightrag_server_holds_is_not_noted_while_the_workspace_is_fenced() -> None:
    store = FakeStore()
    store.create(chunks_spec(ALIAS, MODEL.dimension, SETTINGS.index))
    held = {"documents": [{"source": "a.md", "sha256": "0" * 64}]}
    with Service(store, intervals=BEATS) as service:
        assert service.put("/documents/records", held).status == 200
        rest(service)
        with hold(store, "default", TERMS, quiet, BRISK) as fence:
            assert is_fenced(service.put("/documents/records", held))
            fence.confirm()


def test_writes_under_way_on_two_replicas_end_before_the_fence_is_had_and_the_next_are_refused() -> None:
    store, texts = FakeStore(), [text_of(EMBED_CHUNKS + 4, word) for word in ("north", "south")]
    with Service(store, intervals=BEATS) as one, Service(store, intervals=BEATS) as two:
        one.stored("first.md", "Something.")
        loads = [one.begin_load("n.md", texts[0]), two.begin_load("s.md", texts[1])]
        with taking(store) as outcome:
            until(one, lambda: "fence:t" in store.collections[CONTROL].rows)
            assert is_fenced(one.write("late.md", "Too late."))
            assert is_fenced(two.write("late.md", "Too late."))
            two.let_pass(0.2)
            assert outcome == []  # two writes are under way
            ends = [replica.rest_of(load)[-1]["event"] for replica, load in zip((one, two), loads, strict=True)]
            assert ends == ["done", "done"]
            rest(one, two)
        fence: Fence = outcome[0]
        at_once = rows(store)
        assert {one["state"] for one in two.get("/documents").json()["documents"]} == {"ready"}
        assert is_fenced(two.write("later.md", "Too late."))
        assert rows(store) == at_once
        fence.confirm()
        fence.release()
        assert one.write("later.md", "In time.").status == 200


def test_a_replica_that_stands_still_cannot_commit_after_it_was_counted_dead_and_the_holder_learns_of_it() -> None:
    """A virtual machine that is paused in the middle of a write, for longer than its registration is valid."""
    store, clock = FakeStore(), [0.0]
    with Service(store, intervals=BEATS) as service:
        service.stored("first.md", "Something.")
        rest(service)

        fences: list[Fence] = []

        async def paused_write() -> None:
            guard = WriteGuard(CollectionLoader(store), store, 1.0, WriterPace(100.0, 10.0), lambda: clock[0])
            async with guard.writing("default") as turn:
                turn.require()
                clock[0] += 30.0
                fences.append(await asyncio.to_thread(_take_from_dead, store))
                await turn.commit()

        with pytest.raises(NotRegisteredError, match="interrupted"):
            service.run(paused_write())
        with pytest.raises(FenceLostError, match="a write was accepted"):
            fences[0].confirm()


def _take_from_dead(store: FakeStore) -> Fence:
    """Taken by a process for which the registered replica's validity passes at once."""
    now = [0.0]

    def pause(seconds: float) -> None:
        now[0] += seconds

    return take(store, "default", FenceTerms("t", "backup b1"), quiet, Clock(lambda: now[0], pause))


def test_a_fence_whose_holder_is_gone_expires_for_a_replica_by_its_own_clock(service: Service) -> None:
    take(service.store, "default", FenceTerms("t", "backup b1", valid_s=0.5), quiet, BRISK)
    assert is_fenced(service.write("a.md", "The cat sleeps."))
    service.let_pass(0.6)
    assert service.write("a.md", "The cat sleeps.").status == 200


class InterveningStore(FakeStore):
    """A store in which, once, something happens just before a replica's registration arrives."""

    intervene: Callable[[], object] | None = None

    def upsert(self, name: str, rows: Sequence[Row]) -> None:
        if self.intervene and any(str(row["id"]).startswith("writer:") for row in rows):
            intervene, self.intervene = self.intervene, None
            intervene()
        super().upsert(name, rows)


def test_a_fence_that_is_taken_just_before_a_replica_registers_is_seen_by_it() -> None:
    store = InterveningStore()
    with Service(store, intervals=BEATS) as service:
        service.stored("first.md", "Something.")
        rest(service)
        fences: list[Fence] = []
        store.intervene = lambda: fences.append(take(store, "default", TERMS, quiet, BRISK))
        before = rows(store)
        assert is_fenced(service.write("a.md", "The cat sleeps."))
        assert rows(store) == before
        fences[0].confirm()


class SlowStore(FakeStore):
    """A store whose every call takes a while, so that calls of several threads interleave."""

    def _answer(self) -> None:
        time.sleep(random.random() * 0.002)
        super()._answer()


def test_rows_never_change_under_a_fence_however_writes_and_fences_interleave() -> None:
    """Two replicas load without pause, each in its own thread, while a fence is taken again and again."""
    store, ended = SlowStore(), threading.Event()
    acknowledged: list[dict[str, int]] = [{}, {}]

    def load(number: int) -> None:
        with Service(store, intervals=BEATS) as replica:
            for turn in range(1_000_000):
                if ended.is_set():
                    return
                source, count = f"{number}-{turn % 5}.md", 1 + turn % 7
                answer = replica.write(source, text_of(count, f"w{turn}"))
                if answer.status == 200:
                    acknowledged[number][source] = turn
                else:
                    assert is_fenced(answer), answer.body

    with Service(store) as first:
        first.stored("first.md", "Something.")
    threads = [threading.Thread(target=load, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    pause = Clock(pause=lambda seconds: time.sleep(min(seconds, 0.005)))
    for number in range(12):
        with hold(store, "default", FenceTerms(f"t{number}", "backup"), quiet, pause) as fence:
            before = rows(store)
            time.sleep(0.02)
            assert rows(store) == before
            fence.confirm()
        time.sleep(random.random() * 0.05)
    ended.set()
    for thread in threads:
        thread.join(30)
    assert all(len(one) == 5 for one in acknowledged)
    with Service(store) as last:
        assert {one["state"] for one in last.get("/documents").json()["documents"]} == {"ready"}


def test_readers_get_503_and_never_an_empty_answer_while_collections_are_swapped_by_two_renames() -> None:
    """Two replicas that poll; one of them has never read the workspace before."""
    store = FakeStore()
    store.create(chunks_spec(ALIAS, MODEL.dimension, SETTINGS.index))
    store.create(chunks_spec("restored", MODEL.dimension, SETTINGS.index))
    embedding = FakeEmbedding()
    for name, text in ((ALIAS, "The cat sleeps."), ("restored", "The cat wakes.")):
        row = {"id": "c", "vector": embedding.vectors_of([text])[0], "created_at": 1, "content": text}
        store.upsert(name, [{**row, "full_doc_id": "d", "file_path": "a.md"}])

    def rename(old: str, new: str) -> None:
        store.collections[new] = store.collections.pop(old)

    with Service(store, intervals=QUICK) as known, Service(store, intervals=QUICK) as fresh:

        def ask(service: Service) -> str:
            answer = service.retrieve("cat")
            if answer.status == 503:
                assert answer.json()["type"] == "urn:lightragctl:switching"
                assert int(answer.headers["retry-after"]) >= 1
                return "503"
            assert answer.status == 200
            return str(answer.json()["hits"][0]["text"])

        assert ask(known) == "The cat sleeps."
        real = Clock(pause=lambda seconds: known.let_pass(0.3))
        begin_switch(store, "default", "restore-1", real)
        assert (ask(known), ask(fresh)) == ("503", "503")
        assert known.write("a.md", "x").status == 503
        rename(ALIAS, "kept")
        assert (ask(known), ask(fresh)) == ("503", "503")
        known.let_pass(0.3)
        assert (ask(known), ask(fresh)) == ("503", "503")
        rename("restored", ALIAS)
        assert (ask(known), ask(fresh)) == ("503", "503")
        end_switch(store, "default", "restore-1", real)
        for service in (known, fresh):
            service.let_pass(0.3)
            assert ask(service) == "The cat wakes."


def test_a_replica_that_has_not_heard_of_the_switch_does_not_answer_empty_either() -> None:
    """It could not poll, as when its store hung; it searches a collection that is not there."""
    store = FakeStore()
    store.create(chunks_spec(ALIAS, MODEL.dimension, SETTINGS.index))
    row = {"id": "c", "vector": FakeEmbedding().vectors_of(["cat"])[0], "created_at": 1, "content": "cat"}
    store.upsert(ALIAS, [{**row, "full_doc_id": "d", "file_path": "a.md"}])
    with Service(store, intervals=Intervals(watch_s=1000.0)) as service:
        assert service.retrieve("cat").json()["hits"]
        begin_switch(store, "default", "restore-1", Clock(pause=lambda seconds: None))
        store.collections["kept"] = store.collections.pop(ALIAS)
        answer = service.retrieve("a cat")
        assert (answer.status, answer.json()["type"]) == (503, "urn:lightragctl:switching")


def test_a_replica_that_ends_leaves_no_registration_that_a_taker_would_wait_for() -> None:
    store = FakeStore()
    with Service(store) as service:
        service.stored("a.md", "The cat sleeps.")
        assert any(key.startswith("writer:") for key in store.collections[CONTROL].rows)
    assert not any(key.startswith("writer:") for key in store.collections[CONTROL].rows)
