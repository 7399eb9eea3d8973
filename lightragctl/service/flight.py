"""Identical work that is asked for while it is under way is done once. No I/O of its own."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

from lightragctl.service.batch import Deadline

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


@dataclass(eq=False, slots=True)
class _Flight(Generic[V]):
    task: "asyncio.Task[V]"
    deadline: Deadline
    passengers: int = 0


class SingleFlight(Generic[K, V]):
    """Lets callers with an equal key share one piece of work; used from one event loop.

    The work may take as long as the most patient caller allows; it is cancelled when the last has gone.

    Args:
        joined: called for each caller that found the work under way.
    """

    def __init__(self, joined: Callable[[], None]) -> None:
        self._joined = joined
        self._flights: dict[K, _Flight[V]] = {}

    async def run(self, key: K, until_s: float, work: Callable[[Deadline], Awaitable[V]]) -> V:
        """What `work` gives, or raises; `until_s` is this caller's deadline on the event loop's clock."""
        flight = self._flights.get(key)
        if flight is None:
            flight = self._begin(key, Deadline(until_s), work)
        else:
            flight.deadline.at_s = max(flight.deadline.at_s, until_s)
            self._joined()
        flight.passengers += 1
        try:
            return await asyncio.shield(flight.task)
        finally:
            flight.passengers -= 1
            if not flight.passengers and not flight.task.done():
                self._end(key, flight.task)
                flight.task.cancel()

    def _begin(self, key: K, deadline: Deadline, work: Callable[[Deadline], Awaitable[V]]) -> _Flight[V]:
        task: asyncio.Task[V] = asyncio.ensure_future(work(deadline))
        task.add_done_callback(partial(self._end, key))
        flight = self._flights[key] = _Flight(task, deadline)
        return flight

    def _end(self, key: K, task: "asyncio.Task[V]") -> None:
        """Nobody joins it any more; a later flight under the same key stays."""
        flight = self._flights.get(key)
        if flight is not None and flight.task is task:
            del self._flights[key]
