"""A bound on calls under way: who is refused, with what, and that a place is always given back."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest

from lightragctl.service.concurrency_limit import ConcurrencyLimit, ConcurrencyLimitError
from lightragctl.service.model_clients import CONNECTIONS
from tests.fakes.service import FakeGraph, Service
from tests.fakes.store import FakeStore


def test_what_is_over_the_bound_is_refused_with_the_time_until_a_place_is_free() -> None:
    now_s = 0.0
    bound = ConcurrencyLimit("answers", 2, lambda: now_s)
    for _ in range(100):
        with bound.place():
            now_s += 8.0
    with (
        bound.place(),
        bound.place(),
        pytest.raises(ConcurrencyLimitError, match="the limit of 2 concurrent answers is reached") as error,
    ):
        bound.admit()
    assert error.value.retry_after_s == pytest.approx(4.0)
    with pytest.raises(ZeroDivisionError), bound.place():
        raise ZeroDivisionError
    assert bound.in_flight == 0


@pytest.fixture
def service() -> Iterator[Service]:
    with Service(FakeStore()) as service:
        service.stored("cat.md", "The cat sleeps.")
        yield service


@pytest.mark.parametrize("stream", [False, True])
def test_slow_answers_leave_the_search_alone_and_more_of_them_are_refused(service: Service, stream: bool) -> None:
    async def test() -> None:
        service.chat.gate = asyncio.Event()
        asks = [service.calling("POST", "/query", {"query": "cat", "stream": stream}) for _ in range(CONNECTIONS + 5)]
        tasks = [asyncio.create_task(ask) for ask in asks]
        while sum(task.done() for task in tasks) < 5:
            await asyncio.sleep(0.01)
        found = await service.calling("POST", "/retrieve", {"query": "dog"})
        assert found.status == 200
        service.chat.gate.set()
        answers = await asyncio.gather(*tasks)
        refused = [answer for answer in answers if answer.status == 429]
        assert len(refused) == 5
        assert refused[0].json()["type"] == "urn:lightragctl:concurrency-limit"
        assert refused[0].headers["retry-after"] == "1"
        assert [answer.status for answer in answers].count(200) == CONNECTIONS
        assert (await service.calling("POST", "/query", {"query": "cat"})).status == 200

    service.run(test())


def test_a_stream_that_is_left_gives_its_place_back(service: Service) -> None:
    async def test() -> None:
        service.chat.gate = asyncio.Event()
        for _ in range(3):
            asks = [service.calling("POST", "/query", {"query": "cat", "stream": True}) for _ in range(CONNECTIONS)]
            tasks = [asyncio.create_task(ask) for ask in asks]
            await asyncio.sleep(0.2)
            assert not any(task.done() for task in tasks)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        service.chat.gate.set()
        assert (await service.calling("POST", "/query", {"query": "cat", "stream": True})).status == 200

    service.run(test())


def test_questions_in_graph_modes_are_bounded_too(service: Service) -> None:
    class SlowGraph(FakeGraph):
        async def ask(self, path: str, body: Any) -> Any:
            await gate.wait()
            return await super().ask(path, body)

    gate = asyncio.Event()
    slow = Service(FakeStore())
    slow.graph = SlowGraph({"response": "yes"})

    async def test() -> list[int]:
        asks = [slow.calling("POST", "/query", {"query": "cat", "mode": "mix"}) for _ in range(CONNECTIONS + 3)]
        tasks = [asyncio.create_task(ask) for ask in asks]
        await asyncio.sleep(0)
        gate.set()
        return sorted(answer.status for answer in await asyncio.gather(*tasks))

    with slow:
        assert slow.run(test()) == [200] * CONNECTIONS + [429] * 3


def test_an_answer_that_was_cut_off_says_so(service: Service) -> None:
    service.chat.truncated = True
    assert service.post("/query", {"query": "cat"}).json()["truncated"] is True
    streamed = service.post("/query", {"query": "cat", "stream": True}).body.decode().split("\n\n")
    last = [json.loads(one.removeprefix("data: ")) for one in streamed if one and "[DONE]" not in one][-1]
    assert (last["choices"][0]["finish_reason"], last["lightragctl"]["truncated"]) == ("length", True)
