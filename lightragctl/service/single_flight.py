"""Single flight: concurrent calls with the same key share one execution. No I/O of its own."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class _Abandoned(Exception):
    """The caller that did the work was cancelled before its end."""


class _Flight(Generic[V]):
    """Work in flight. The future is created when a second caller joins, which is rare."""

    __slots__ = ("future",)

    def __init__(self) -> None:
        self.future: asyncio.Future[V] | None = None

    def fail(self, error: Exception) -> None:
        if self.future is not None and not self.future.done():
            self.future.set_exception(error)
            self.future.exception()  # mark it as retrieved: all waiters may have been cancelled

    def succeed(self, value: V) -> None:
        if self.future is not None and not self.future.done():
            self.future.set_result(value)


class SingleFlight(Generic[K, V]):
    """Lets callers with equal keys share one execution; used from one event loop.

    The first caller does the work; if it is cancelled or fails for a reason of its own, the next waiter starts over.

    Args:
        joined: called for each caller that joins work in flight.
        personal: errors that concern only the caller that did the work, such as its deadline.
    """

    def __init__(self, joined: Callable[[], None], personal: tuple[type[Exception], ...] = ()) -> None:
        self._joined = joined
        self._personal = personal
        self._flights: dict[K, _Flight[V]] = {}

    def __contains__(self, key: K) -> bool:
        """Whether work with this key is in flight."""
        return key in self._flights

    async def run(self, key: K, work: Callable[[], Awaitable[V]]) -> V:
        """The result of `work`, or its error."""
        while (flight := self._flights.get(key)) is not None:
            self._joined()
            if flight.future is None:
                flight.future = asyncio.get_running_loop().create_future()
            try:
                return await asyncio.shield(flight.future)
            except _Abandoned:
                continue
        flight = self._flights[key] = _Flight()
        try:
            value = await work()
        except asyncio.CancelledError:
            self._flights.pop(key)
            flight.fail(_Abandoned())
            raise
        except Exception as error:
            self._flights.pop(key)
            flight.fail(_Abandoned() if isinstance(error, self._personal) else error)
            raise
        self._flights.pop(key)
        flight.succeed(value)
        return value
