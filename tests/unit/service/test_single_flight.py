"""Who shares work, and who goes on when the one who did it leaves."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from lightragctl.service.single_flight import SingleFlight
from tests.unit.service.test_batch import run, turns


class Work:
    """Counts how often it is done; each time it waits until `finish`."""

    def __init__(self) -> None:
        self.begun = 0
        self.cancelled = 0
        self.finish = asyncio.Event()
        self.error: Exception | None = None

    async def __call__(self) -> int:
        self.begun += 1
        try:
            await self.finish.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.error:
            raise self.error
        return self.begun


class Flights:
    def __init__(self) -> None:
        self.joins = 0
        self.work = Work()
        self.flights: SingleFlight[str, int] = SingleFlight(self._joined)

    def _joined(self) -> None:
        self.joins += 1

    def ask(self, key: str) -> "asyncio.Task[int]":
        return asyncio.create_task(self.flights.run(key, self.work))


def on_flights(test: Callable[[Flights], Awaitable[None]]) -> None:
    async def inside() -> None:
        await test(Flights())

    run(inside)


def test_a_thousand_that_ask_the_same_are_one_piece_of_work() -> None:
    async def test(flights: Flights) -> None:
        tasks = [flights.ask("same") for _ in range(1000)] + [flights.ask("other")]
        await turns()
        assert (flights.work.begun, flights.joins) == (2, 999)
        flights.work.finish.set()
        assert set(await asyncio.gather(*tasks)) == {2}

    on_flights(test)


def test_what_is_done_is_done_again_for_the_next() -> None:
    async def test(flights: Flights) -> None:
        flights.work.finish.set()
        assert await flights.ask("same") == 1
        assert await flights.ask("same") == 2

    on_flights(test)


def test_an_error_goes_to_all_of_them() -> None:
    async def test(flights: Flights) -> None:
        tasks = [flights.ask("same") for _ in range(3)]
        await turns()
        flights.work.error = ValueError("no")
        flights.work.finish.set()
        for task in tasks:
            with pytest.raises(ValueError, match="no"):
                await task

    on_flights(test)


def test_one_who_waits_may_leave_and_nothing_ends() -> None:
    async def test(flights: Flights) -> None:
        first, second, third = (flights.ask("same") for _ in range(3))
        await turns()
        second.cancel()
        await turns()
        assert flights.work.cancelled == 0
        flights.work.finish.set()
        assert [await first, await third] == [1, 1]

    on_flights(test)


def test_when_the_one_who_did_it_leaves_one_of_those_who_wait_begins_anew() -> None:
    async def test(flights: Flights) -> None:
        first, *others = (flights.ask("same") for _ in range(4))
        await turns()
        first.cancel()
        await turns()
        assert (flights.work.cancelled, flights.work.begun) == (1, 2)
        flights.work.finish.set()
        assert await asyncio.gather(*others) == [2, 2, 2]

    on_flights(test)


def test_when_all_have_left_the_work_is_ended() -> None:
    async def test(flights: Flights) -> None:
        tasks = [flights.ask("same") for _ in range(2)]
        await turns()
        for task in reversed(tasks):
            task.cancel()
        await turns()
        assert flights.work.cancelled == flights.work.begun == 1
        flights.work.finish.set()
        assert await flights.ask("same") == 2

    on_flights(test)


class Impatient(Exception):
    """Concerns nobody but the one who did the work."""


def test_what_concerns_only_the_one_who_did_it_is_not_told_to_the_others() -> None:
    async def inside() -> None:
        flights: SingleFlight[str, str] = SingleFlight(lambda: None, (Impatient,))
        done: list[str] = []

        def ask(name: str, patient: bool) -> "asyncio.Task[str]":
            async def work() -> str:
                done.append(name)
                await turns()
                if not patient:
                    raise Impatient
                return name

            return asyncio.create_task(flights.run("same", work))

        leader, *followers = ask("leader", False), ask("b", True), ask("c", True), ask("d", False)
        with pytest.raises(Impatient):
            await leader
        assert await asyncio.gather(*followers) == ["b", "b", "b"]
        assert done == ["leader", "b"]

    run(inside)
