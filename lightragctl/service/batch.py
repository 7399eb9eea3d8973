"""Dynamic batching without a timer: a batch is formed when a slot is free. No I/O of its own.

An item that finds a free slot is dispatched in the same turn of the event loop; while all slots are busy the queue
grows, and so does the next batch. A single client pays nothing for batching, and many clients get large batches.

An item that would miss its deadline, judged by recent batch durations, is rejected when its turn comes; a batch without
waiters is cancelled.
"""

import asyncio
import math
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Generic, NamedTuple, TypeVar

from lightragctl.core.errors import LightragctlError, UnavailableError, WaitExpired
from lightragctl.core.settings import Batching
from lightragctl.service.deadline import SERVICE_DEADLINE, is_deadline
from lightragctl.service.metrics import BatchSeries

T = TypeVar("T")
R = TypeVar("R")

_EWMA_WEIGHT = 0.2
"""Weight of the newest batch in the moving average: about the last ten batches count."""
_HALF_LIFE_S = 1.0
"""Half-life of the predicted duration without new batches, so that one slow batch does not reject calls for ever."""
_KEPT = 100
"""Recent batches kept to explain why a request waited."""


class QueueFullError(LightragctlError):
    """The queue is full; `retry_after_s` estimates when it will have drained, from the measured rate."""

    code = "queue-full"

    def __init__(self, queue: int, retry_after_s: float) -> None:
        seconds = math.ceil(retry_after_s)
        super().__init__(f"the queue of {queue} is full", f"retry in {seconds} s, with fewer concurrent calls")
        self.retry_after_s = retry_after_s


class DeadlineError(WaitExpired):
    """The response would come after the client's deadline, so the request is dropped."""

    code = "deadline-exceeded"


class BatchResult(NamedTuple, Generic[R]):
    """A result, and the seconds that its item was queued."""

    value: R
    queue_s: float


class BatchRecord(NamedTuple):
    """A finished batch, to explain why a request waited.

    Attributes:
        left_s: the time of dispatch, on the event loop's clock.
        items: the number of items.
        queue_s: the longest time in the queue.
        behind: calls in flight when the oldest item was queued; below `in_flight` it did not wait for a slot.
        waiting: items still queued after the dispatch.
        seconds: the duration of the call.
        error: its error; empty on success.
    """

    left_s: float
    items: int
    queue_s: float
    behind: int
    waiting: int
    seconds: float
    error: str


@dataclass(eq=False, slots=True)
class _Waiting(Generic[T, R]):
    item: T
    key: Hashable
    until_s: float
    future: "asyncio.Future[BatchResult[R]]"
    queued_at: float
    behind: int
    alone: bool = False
    """Set after a batch failed on bad input: the item is retried by itself, so that it fails no other."""
    batch: "_Batch[T, R] | None" = None


@dataclass(eq=False, slots=True)
class _Batch(Generic[T, R]):
    """A call in flight.

    `wanted` counts its waiters; `too_late`: a waiter was cancelled by the service's own deadline.
    """

    members: "list[_Waiting[T, R]]"
    began_at: float
    waiting: int
    wanted: int
    too_late: bool = False
    task: "asyncio.Task[Sequence[R]] | None" = None


class Batcher(Generic[T, R]):
    """Collects single items into calls of `run`.

    Args:
        run: takes the items of a batch and returns as many results in the same order.
        batching: up to `batch_size` items per call, `in_flight` concurrent calls, `queue` queued items.
        poison: errors that mean a bad item. A batch of several that fails with one is retried item by item. Any other
            error goes to every waiter of the batch.
        series: metrics of sizes, queueing times and rejections.

    Created and used inside one running event loop.
    """

    def __init__(
        self,
        run: Callable[[Sequence[T]], Awaitable[Sequence[R]]],
        batching: Batching,
        poison: tuple[type[Exception], ...] = (),
        series: BatchSeries | None = None,
    ) -> None:
        self._run = run
        self._loop = asyncio.get_running_loop()  # looked up once: costs a system call before Python 3.12
        self._batching = batching
        self._poison = poison
        self._series = series
        self._queue: deque[_Waiting[T, R]] = deque()
        self._running: set[asyncio.Task[Sequence[R]]] = set()
        self._in_flight = 0
        self._dispatch_planned = False
        self._closed = False
        self._batch_s = _Average()
        self.recent: deque[BatchRecord] = deque(maxlen=_KEPT)

    @property
    def waiting(self) -> int:
        """Items in the queue."""
        return len(self._queue)

    @property
    def pending(self) -> int:
        """Items in the queue and in calls in flight."""
        return len(self._queue) + self._in_flight

    @property
    def running(self) -> int:
        """Calls in flight."""
        return len(self._running)

    async def submit(self, item: T, key: Hashable = None, until_s: float = math.inf) -> BatchResult[R]:
        """Wait for the result of one item; only items with an equal key share a batch.

        `until_s` is the deadline, on the event loop's clock. A cancelled caller leaves the queue, and cancels a call
        without other waiters.

        Raises:
            QueueFullError: at once, if the queue is full.
            DeadlineError: when its turn comes and it would finish too late.
            UnavailableError: after `close`.
            Exception: what `run` raised.
        """
        self.admit(1)
        waiting = self._enqueue(item, key, until_s)
        try:
            return await waiting.future
        except asyncio.CancelledError as error:
            self._forget([waiting], is_deadline(error))
            raise

    async def submit_all(self, items: Sequence[T], key: Hashable = None) -> list[BatchResult[R]]:
        """Like `submit` for several items, accepted all or none; the first error ends the wait for all of them."""
        self.admit(len(items))
        waiting = [self._enqueue(item, key, math.inf) for item in items]
        try:
            return await asyncio.gather(*(one.future for one in waiting))
        finally:
            self._forget(waiting)

    async def close(self) -> None:
        """Reject new items, fail queued ones with UnavailableError and let running batches finish."""
        self._closed = True
        while self._queue:
            self._fail([self._queue.popleft()], UnavailableError("the service is stopping"))
        while self._running:
            await asyncio.wait(self._running)

    def drain_s(self) -> float:
        """Estimated seconds until the current queue has drained, from recent batch durations.

        0 before the first measurement.
        """
        calls = math.ceil(len(self._queue) / self._batching.batch_size)
        return calls * self._batch_s.value / self._batching.in_flight

    def admit(self, items: int, ahead: int = 0) -> None:
        """Check that `items` would be accepted, for callers with other work to do first.

        `ahead` items are on their way here: what remains of them after all calls are full must fit into the queue.

        Raises:
            QueueFullError: the queue has no room.
            UnavailableError: after `close`.
        """
        if self._closed:
            raise UnavailableError("the service is stopping")
        waiting = len(self._queue)
        if ahead:
            waiting = self.pending + ahead - self._batching.in_flight * self._batching.batch_size
        if waiting + items > self._batching.queue:
            if self._series:
                self._series.rejected()
            raise QueueFullError(self._batching.queue, self.drain_s())

    def _enqueue(self, item: T, key: Hashable, until_s: float) -> _Waiting[T, R]:
        future, now = self._loop.create_future(), self._loop.time()
        waiting: _Waiting[T, R] = _Waiting(item, key, until_s, future, now, behind=len(self._running))
        self._queue.append(waiting)
        self._plan_dispatch()
        return waiting

    def _plan_dispatch(self) -> None:
        """Dispatch once at the end of this turn of the loop, so that items queued together leave together."""
        if not self._dispatch_planned and len(self._running) < self._batching.in_flight:
            self._dispatch_planned = True
            self._loop.call_soon(self._dispatch)

    def _dispatch(self) -> None:
        self._dispatch_planned = False
        now = self._loop.time()
        while self._queue and len(self._running) < self._batching.in_flight:
            members = self._take(now)
            if members:
                self._start(members, now)
        if self._series:
            self._series.depth(len(self._queue), len(self._running))

    def _start(self, members: list[_Waiting[T, R]], now: float) -> None:
        if self._series:
            self._series.dispatched([now - one.queued_at for one in members])
        batch = _Batch(members, now, len(self._queue), len(members))
        for waiting in members:
            waiting.batch = batch
        self._in_flight += len(members)
        batch.task = self._loop.create_task(self._call([one.item for one in members]))
        self._running.add(batch.task)
        batch.task.add_done_callback(partial(self._finished, batch))

    async def _call(self, items: Sequence[T]) -> Sequence[R]:
        results = await self._run(items)
        if len(results) != len(items):
            raise RuntimeError(f"{len(results)} results for a batch of {len(items)}")
        return results

    def _take(self, now: float) -> list[_Waiting[T, R]]:
        """The oldest item and, oldest first, items that may share its batch; those that would be late are rejected."""
        first = self._queue[0]
        if first.alone:
            return self._in_time([self._queue.popleft()], now)
        batch: list[_Waiting[T, R]] = []
        rest: deque[_Waiting[T, R]] = deque()
        for waiting in self._queue:
            fits = len(batch) < self._batching.batch_size and not waiting.alone and waiting.key == first.key
            (batch if fits else rest).append(waiting)
        self._queue = rest
        return self._in_time(batch, now)

    def _in_time(self, members: list[_Waiting[T, R]], now: float) -> list[_Waiting[T, R]]:
        predicted_s = self._batch_s.at(now)
        late = [one for one in members if now + predicted_s > one.until_s]
        for waiting in late:
            waited_s = now - waiting.queued_at
            message = f"deadline exceeded: queued for {waited_s:.2f} s, and a call takes {predicted_s:.2f} s"
            self._fail([waiting], DeadlineError(message, "set a longer timeout, or send fewer concurrent calls"))
            if self._series:
                self._series.late()
        return [one for one in members if one not in late] if late else members

    def _finished(self, batch: _Batch[T, R], task: "asyncio.Task[Sequence[R]]") -> None:
        self._running.discard(task)
        self._in_flight -= len(batch.members)
        now = self._loop.time()
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        self._note(batch, now, error)
        if error is None:
            for waiting, value in zip(batch.members, task.result(), strict=True):
                if not waiting.future.done():
                    waiting.future.set_result(BatchResult(value, batch.began_at - waiting.queued_at))
        elif isinstance(error, self._poison) and len(batch.members) > 1:
            self._retry_alone(batch.members)
        else:
            self._fail(batch.members, error)
        if self._queue:
            self._plan_dispatch()

    def _retry_alone(self, members: list[_Waiting[T, R]]) -> None:
        alive = [waiting for waiting in members if not waiting.future.done()]
        for waiting in alive:
            waiting.alone, waiting.batch = True, None
        if self._closed:
            self._fail(alive, UnavailableError("the service is stopping"))
        else:
            self._queue.extendleft(reversed(alive))

    def _fail(self, members: Sequence[_Waiting[T, R]], error: BaseException) -> None:
        for waiting in members:
            if waiting.future.done():
                continue
            if isinstance(error, asyncio.CancelledError):
                waiting.future.cancel()
            else:
                waiting.future.set_exception(error)

    def _forget(self, gone: Sequence[_Waiting[T, R]], too_late: bool = False) -> None:
        """Remove abandoned items from the queue, and cancel calls without waiters.

        The cancellation message shows whether the service's own deadline had a part in it (see `deadline`).
        """
        left = False
        for waiting in gone:
            waiting.future.cancel()
            if not waiting.future.cancelled():
                continue
            if self._series:
                self._series.abandoned()
            batch = waiting.batch
            if batch is None:
                left = True
                continue
            batch.wanted -= 1
            batch.too_late |= too_late
            if batch.wanted == 0 and batch.task is not None:
                batch.task.cancel(SERVICE_DEADLINE if batch.too_late else None)
        if left:
            self._queue = deque(waiting for waiting in self._queue if not waiting.future.done())
            if self._series:
                self._series.depth(len(self._queue), len(self._running))

    def _note(self, batch: _Batch[T, R], now: float, error: BaseException | None) -> None:
        """Record a finished batch; a cancelled one does not count for the average duration."""
        seconds, members = now - batch.began_at, batch.members
        first = members[0]
        text = "" if error is None else f"{type(error).__name__}: {error}".rstrip(": ")
        queue_s = batch.began_at - first.queued_at
        self.recent.append(
            BatchRecord(batch.began_at, len(members), queue_s, first.behind, batch.waiting, seconds, text)
        )
        if not isinstance(error, asyncio.CancelledError):
            self._batch_s.add(seconds, now)


class _Average:
    """A moving average that decays with time."""

    __slots__ = ("_at_s", "value")

    def __init__(self) -> None:
        self.value = 0.0
        self._at_s: float | None = None

    def add(self, value: float, now: float) -> None:
        self.value = value if self._at_s is None else self.value + _EWMA_WEIGHT * (value - self.value)
        self._at_s = now

    def at(self, now: float) -> float:
        """The average, halved for every `_HALF_LIFE_S` since the last value."""
        if self._at_s is None:
            return 0.0
        return float(self.value * 0.5 ** ((now - self._at_s) / _HALF_LIFE_S))
