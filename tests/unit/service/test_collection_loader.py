"""Collections that load for long: one load each, in threads of its own, and nobody who asks waits for it."""

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from lightragctl.core.settings import Deadlines
from tests.fakes.service import ALIAS, CONTROL, SETTINGS, Service
from tests.fakes.store import FakeStore


class SlowStore(FakeStore):
    """Loading a collection that `blocked` names does not end before `go`; `loads` are those begun."""

    def __init__(self) -> None:
        super().__init__()
        self.blocked = ""
        self.go = threading.Event()
        self.loads: list[str] = []

    def load(self, name: str) -> None:
        self.loads.append(name)
        if self.blocked and self.blocked in name:
            assert self.go.wait(20)
        super().load(name)


@pytest.fixture
def service() -> Iterator[Service]:
    store = SlowStore()
    with Service(store, SETTINGS.model_copy(update={"deadlines": Deadlines(request_s=2)})) as service:
        service.stored("cat.md", "The cat sleeps.")
        service.stored("dog.md", "The dog barks.", workspace="big")
        yield service
        store.go.set()


def asked(service: Service, count: int, workspace: str) -> list[Any]:
    bodies = [{"query": f"question {number}", "workspace": workspace} for number in range(count)]
    return service.together(*bodies)


def slow(service: Service) -> SlowStore:
    assert isinstance(service.store, SlowStore)
    return service.store


def test_many_who_ask_for_a_collection_that_loads_for_long_take_one_thread(service: Service) -> None:
    store = slow(service)
    store.blocked = "big_chunks"
    store.release("big_chunks_words_64d")
    answers = asked(service, 40, "big")
    assert {(answer.status, answer.json()["type"], answer.headers["retry-after"]) for answer in answers} == {
        (503, "urn:lightragctl:loading", "2")
    }
    assert len(store.loads) == 1
    assert sum(thread.name.startswith("load") for thread in threading.enumerate()) == 1
    assert service.get("/documents").status == service.retrieve("cat").status == 200
    store.go.set()
    while service.retrieve("dog", workspace="big").status == 503:
        service.let_pass(0.01)
    assert service.retrieve("dog", workspace="big").json()["hits"][0]["source"] == "dog.md"
    assert len(store.loads) == 1


def test_so_it_is_with_a_control_collection(service: Service) -> None:
    store = slow(service)
    store.blocked = "big_lightragctl"
    store.release("big_lightragctl")

    async def all_at_once() -> list[Any]:
        path = "/documents?workspace=big"
        body = {"documents": [{"source": "a.md", "text": "x"}], "workspace": "big"}
        asks = [service.calling("GET", path) for _ in range(20)]
        return await asyncio.gather(*asks, *(service.calling("POST", "/documents", body) for _ in range(20)))

    assert {answer.status for answer in service.run(all_at_once())} == {503}
    assert len(store.loads) == 1
    assert service.get("/documents").status == service.write("b.md", "The bird sings.").status == 200


def test_a_collection_that_is_loaded_at_once_is_not_noticed(service: Service) -> None:
    for name in (ALIAS, CONTROL):
        service.store.release(name)
    assert service.retrieve("cat").json()["hits"][0]["source"] == "cat.md"
    assert [one["source"] for one in service.get("/documents").json()["documents"]] == ["cat.md"]


def test_a_load_that_fails_is_tried_again_by_the_next(service: Service) -> None:
    store = slow(service)
    store.release(ALIAS)
    store.down = True
    assert service.retrieve("cat").status == 503
    store.down = False
    assert service.retrieve("cat").status == 200
