"""Batches formed when a slot is free, without a timer. No I/O of its own.

An item that finds a free slot leaves in the same turn of the event loop; while all slots are busy the queue grows and
the next batch is bigger by itself. So one client pays nothing for batching, and many clients get large batches.
"""

import asyncio
import math
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Generic, NamedTuple, TypeVar

from lightragctl.core.errors import LightragctlError, UnavailableError
from lightragctl.core.settings import Batching
from lightragctl.service.metrics import BatchSeries

T = TypeVar("T")
R = TypeVar("R")

_EWMA_WEIGHT = 0.2
"""Weight of the newest batch in the drain rate: about the last ten batches count."""


class QueueFullError(LightragctlError):
    """The queue has no room; `retry_after_s` is when it should have drained, from the measured rate."""

    code = "queue-full"

    def __init__(self, queue: int, retry_after_s: int) -> None:
        super().__init__(f"the queue of {queue} is full", f"try again in {retry_after_s} s, with fewer calls at a time")
        self.retry_after_s = retry_after_s


class Served(NamedTuple, Generic[R]):
    """A result and the seconds its item waited before its batch left."""

    value: R
    queue_s: float


@dataclass(eq=False, slots=True)
class _Waiting(Generic[T, R]):
    item: T
    key: Hashable
    future: "asyncio.Future[Served[R]]"
    queued_at: float
    alone: bool = False
    """Set after a batch failed on bad input: the item goes again by itself, so that it fails nobody else."""


class Batcher(Generic[T, R]):
    """Gathers single items into calls of `run`.

    Args:
        run: takes the items of a batch and returns as many results in the same order.
        batching: up to `batch_size` items per call, `in_flight` calls at a time, `queue` items waiting.
        poison: errors that say an item is bad. A batch of several that fails so is run again item by item. Any other
            error goes to every waiter of the batch.
        series: where sizes, waiting times and refusals are counted.

    To be made and used inside one running event loop.
    """

    def __init__(
        self,
        run: Callable[[Sequence[T]], Awaitable[Sequence[R]]],
        batching: Batching,
        poison: tuple[type[Exception], ...] = (),
        series: BatchSeries | None = None,
    ) -> None:
        self._run = run
        self._batching = batching
        self._poison = poison
        self._series = series
        self._queue: deque[_Waiting[T, R]] = deque()
        self._running: set[asyncio.Task[Sequence[R]]] = set()
        self._dispatch_planned = False
        self._closed = False
        self._item_s: float | None = None

    @property
    def waiting(self) -> int:
        """Items in the queue."""
        return len(self._queue)

    async def submit(self, item: T, key: Hashable = None) -> Served[R]:
        """Wait for the result of one item; only items with an equal key share a batch.

        Raises QueueFullError at once when there is no room, UnavailableError after `close`, or what `run` raised.
        A cancelled caller leaves the queue.
        """
        self._admit(1)
        waiting = self._enqueue(item, key)
        try:
            return await waiting.future
        except asyncio.CancelledError:
            self._forget([waiting])
            raise

    async def submit_all(self, items: Sequence[T], key: Hashable = None) -> list[Served[R]]:
        """Like `submit` for several items, admitted all or none; the first error ends the wait for all of them."""
        self._admit(len(items))
        waiting = [self._enqueue(item, key) for item in items]
        try:
            return await asyncio.gather(*(one.future for one in waiting))
        finally:
            self._forget(waiting)

    async def close(self) -> None:
        """Refuse new items, fail those that wait with UnavailableError and let running batches end."""
        self._closed = True
        while self._queue:
            self._fail([self._queue.popleft()], UnavailableError("the service is stopping"))
        while self._running:
            await asyncio.wait(self._running)

    def retry_after_s(self) -> int:
        """Whole seconds until the present queue is drained at the measured rate; 1 while nothing was measured."""
        return max(1, math.ceil(len(self._queue) * (self._item_s or 0.0)))

    def _admit(self, items: int) -> None:
        if self._closed:
            raise UnavailableError("the service is stopping")
        if len(self._queue) + items > self._batching.queue:
            if self._series:
                self._series.rejected()
            raise QueueFullError(self._batching.queue, self.retry_after_s())

    def _enqueue(self, item: T, key: Hashable) -> _Waiting[T, R]:
        loop = asyncio.get_running_loop()
        waiting: _Waiting[T, R] = _Waiting(item, key, loop.create_future(), loop.time())
        self._queue.append(waiting)
        self._plan_dispatch()
        return waiting

    def _plan_dispatch(self) -> None:
        """Dispatch once at the end of this turn of the loop, so that items that come together leave together."""
        if not self._dispatch_planned and len(self._running) < self._batching.in_flight:
            self._dispatch_planned = True
            asyncio.get_running_loop().call_soon(self._dispatch)

    def _dispatch(self) -> None:
        self._dispatch_planned = False
        now = asyncio.get_running_loop().time()
        while self._queue and len(self._running) < self._batching.in_flight:
            batch = self._take()
            if self._series:
                self._series.dispatched([now - one.queued_at for one in batch])
            task = asyncio.ensure_future(self._call([one.item for one in batch]))
            self._running.add(task)
            task.add_done_callback(partial(self._finished, batch, now))
        if self._series:
            self._series.depth(len(self._queue))

    async def _call(self, items: Sequence[T]) -> Sequence[R]:
        results = await self._run(items)
        if len(results) != len(items):
            raise RuntimeError(f"{len(results)} results for a batch of {len(items)}")
        return results

    def _take(self) -> list[_Waiting[T, R]]:
        """The oldest item and, oldest first, those that may go with it."""
        first = self._queue[0]
        if first.alone:
            return [self._queue.popleft()]
        batch: list[_Waiting[T, R]] = []
        rest: deque[_Waiting[T, R]] = deque()
        for waiting in self._queue:
            fits = len(batch) < self._batching.batch_size and not waiting.alone and waiting.key == first.key
            (batch if fits else rest).append(waiting)
        self._queue = rest
        return batch

    def _finished(self, batch: list[_Waiting[T, R]], started: float, task: "asyncio.Task[Sequence[R]]") -> None:
        self._running.discard(task)
        self._measure(asyncio.get_running_loop().time() - started, len(batch))
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        if error is None:
            for waiting, value in zip(batch, task.result(), strict=True):
                if not waiting.future.done():
                    waiting.future.set_result(Served(value, started - waiting.queued_at))
        elif isinstance(error, self._poison) and len(batch) > 1:
            self._again_alone(batch)
        else:
            self._fail(batch, error)
        if self._queue:
            self._plan_dispatch()

    def _again_alone(self, batch: list[_Waiting[T, R]]) -> None:
        alive = [waiting for waiting in batch if not waiting.future.done()]
        for waiting in alive:
            waiting.alone = True
        if self._closed:
            self._fail(alive, UnavailableError("the service is stopping"))
        else:
            self._queue.extendleft(reversed(alive))

    def _fail(self, batch: Sequence[_Waiting[T, R]], error: BaseException) -> None:
        for waiting in batch:
            if waiting.future.done():
                continue
            if isinstance(error, asyncio.CancelledError):
                waiting.future.cancel()
            else:
                waiting.future.set_exception(error)

    def _forget(self, gone: Sequence[_Waiting[T, R]]) -> None:
        """Take abandoned items out of the queue: they shall neither cost a call nor count as waiting."""
        for waiting in gone:
            if not waiting.future.done():
                waiting.future.cancel()
        if any(waiting.future.cancelled() for waiting in gone):
            self._queue = deque(waiting for waiting in self._queue if not waiting.future.done())

    def _measure(self, seconds: float, items: int) -> None:
        """Update the seconds per item, all slots taken as busy, which they are whenever the queue is full."""
        item_s = seconds / items / self._batching.in_flight
        self._item_s = item_s if self._item_s is None else self._item_s + _EWMA_WEIGHT * (item_s - self._item_s)
