"""Who shares work, until when it may take, and when it ends."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from lightragctl.service.batch import Deadline
from lightragctl.service.flight import SingleFlight
from tests.unit.service.test_batch import run, turns


class Work:
    """Counts how often it is done; each time it waits until `finish`."""

    def __init__(self) -> None:
        self.begun = 0
        self.cancelled = 0
        self.deadlines: list[Deadline] = []
        self.finish = asyncio.Event()
        self.error: Exception | None = None

    async def __call__(self, deadline: Deadline) -> int:
        self.begun += 1
        self.deadlines.append(deadline)
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

    def ask(self, key: str, until_s: float = 1.0) -> "asyncio.Task[int]":
        return asyncio.create_task(self.flights.run(key, until_s, self.work))


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


def test_one_who_leaves_ends_nothing_and_the_last_ends_it() -> None:
    async def test(flights: Flights) -> None:
        first, second = flights.ask("same"), flights.ask("same")
        await turns()
        first.cancel()
        await turns()
        assert flights.work.cancelled == 0
        second.cancel()
        await turns()
        assert flights.work.cancelled == 1
        again = flights.ask("same")
        flights.work.finish.set()
        assert await again == 2

    on_flights(test)


def test_the_most_patient_says_how_long_it_may_take() -> None:
    async def test(flights: Flights) -> None:
        tasks = [flights.ask("same", until_s) for until_s in (1.0, 3.0, 2.0)]
        await turns()
        assert [deadline.at_s for deadline in flights.work.deadlines] == [3.0]
        flights.work.finish.set()
        await asyncio.gather(*tasks)

    on_flights(test)
