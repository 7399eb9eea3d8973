"""Batches: who goes together, who is refused, who fails with whom. Ordered by events, never by time."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import pytest

from lightragctl.core.errors import UnavailableError
from lightragctl.core.settings import Batching
from lightragctl.service.batch import Batcher, BatchResult, DeadlineError, QueueFullError
from lightragctl.service.metrics import BatchSeries, Metrics


class BadInput(Exception):
    pass


class Backend:
    """Records batches; each call waits until `release` was called for it, then answers `item * 10`."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self._gates: list[asyncio.Event] = []
        self.poisoned: set[int] = set()

    async def __call__(self, items: Sequence[int]) -> list[int]:
        self.batches.append(list(items))
        gate = asyncio.Event()
        self._gates.append(gate)
        await gate.wait()
        if self.poisoned & set(items):
            raise BadInput(f"bad: {sorted(self.poisoned & set(items))}")
        return [item * 10 for item in items]

    def release(self, call: int) -> None:
        self._gates[call].set()


async def turns(count: int = 5) -> None:
    """Let everything that is ready run."""
    for _ in range(count):
        await asyncio.sleep(0)


def started(
    batcher: Batcher[int, int], items: Sequence[int], key: Callable[[int], object] = lambda _: None
) -> list["asyncio.Task[int]"]:
    async def one(item: int) -> int:
        return (await batcher.submit(item, key(item))).value

    return [asyncio.create_task(one(item)) for item in items]


def run(test: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 10))  # type: ignore[arg-type]


def test_one_item_leaves_at_once_and_alone() -> None:
    async def test() -> None:
        backend = Backend()
        batcher = Batcher(backend, Batching(batch_size=8, in_flight=1))
        (task,) = started(batcher, [1])
        await turns()
        assert backend.batches == [[1]]
        backend.release(0)
        assert await task == 10

    run(test)


def test_items_that_come_in_the_same_turn_share_a_batch() -> None:
    async def test() -> None:
        backend = Backend()
        batcher = Batcher(backend, Batching(batch_size=8, in_flight=2))
        tasks = started(batcher, [1, 2, 3])
        await turns()
        assert backend.batches == [[1, 2, 3]]
        backend.release(0)
        assert await asyncio.gather(*tasks) == [10, 20, 30]

    run(test)


def test_batches_grow_while_all_slots_are_busy_up_to_batch_size() -> None:
    async def test() -> None:
        backend = Backend()
        batcher = Batcher(backend, Batching(batch_size=3, in_flight=1))
        tasks = started(batcher, [1])
        await turns()
        for item in (2, 3, 4, 5):
            tasks += started(batcher, [item])
            await turns()
        assert backend.batches == [[1]]
        for call, so_far in enumerate(([[1], [2, 3, 4]], [[1], [2, 3, 4], [5]])):
            backend.release(call)
            await turns()
            assert backend.batches == so_far
        backend.release(2)
        assert await asyncio.gather(*tasks) == [10, 20, 30, 40, 50]

    run(test)


def test_no_more_than_in_flight_batches_run_at_a_time() -> None:
    async def test() -> None:
        backend = Backend()
        batcher = Batcher(backend, Batching(batch_size=1, in_flight=2))
        tasks = started(batcher, [1, 2, 3])
        await turns()
        assert backend.batches == [[1], [2]]
        backend.release(1)
        await turns()
        assert backend.batches == [[1], [2], [3]]
        backend.release(0)
        backend.release(2)
        assert await asyncio.gather(*tasks) == [10, 20, 30]

    run(test)


def test_items_of_one_batch_share_a_key_and_the_oldest_goes_first() -> None:
    async def test() -> None:
        backend = Backend()
        batcher = Batcher(backend, Batching(batch_size=8, in_flight=1))
        tasks = started(batcher, [1, 2, 3, 4, 5], key=lambda item: item % 2)
        await turns()
        assert backend.batches == [[1, 3, 5]]
        backend.release(0)
        await turns()
        assert backend.batches == [[1, 3, 5], [2, 4]]
        backend.release(1)
        assert await asyncio.gather(*tasks) == [10, 20, 30, 40, 50]

    run(test)


def test_a_full_queue_refuses_at_once_with_a_time_from_the_drain_rate() -> None:
    async def test() -> None:
        now = [0.0]
        asyncio.get_running_loop().time = lambda: now[0]  # type: ignore[method-assign]
        backend = Backend()
        batcher = Batcher(backend, Batching(batch_size=1, in_flight=1, queue=4))
        tasks = started(batcher, [0])
        await turns()
        now[0] = 2.5  # one item took 2.5 s
        backend.release(0)
        await turns()
        tasks += started(batcher, [1])
        await turns()
        tasks += started(batcher, [2, 3, 4, 5])
        await turns()
        with pytest.raises(QueueFullError, match="queue of 4 is full") as refused:
            await batcher.submit(6)
        assert refused.value.retry_after_s == 10
        for call in range(1, 6):
            backend.release(call)
            await turns()
        assert await asyncio.gather(*tasks) == [0, 10, 20, 30, 40, 50]

    asyncio.run(test())


def test_several_items_are_admitted_all_or_none() -> None:
    async def test() -> None:
        backend = Backend()
        batcher = Batcher(backend, Batching(batch_size=2, in_flight=1, queue=3))
        with pytest.raises(QueueFullError):
            await batcher.submit_all([1, 2, 3, 4])
        assert batcher.waiting == 0
        task = asyncio.create_task(batcher.submit_all([1, 2, 3]))
        await turns()
        backend.release(0)
        await turns()
        backend.release(1)
        assert [one.value for one in await task] == [10, 20, 30]
        assert backend.batches == [[1, 2], [3]]

    run(test)


def test_a_cancelled_waiter_leaves_the_queue_before_dispatch() -> None:
    async def test() -> None:
        backend = Backend()
        batcher = Batcher(backend, Batching(batch_size=8, in_flight=1, queue=2))
        tasks = started(batcher, [1])
        await turns()
        tasks += started(batcher, [2, 3])
        await turns()
        tasks[1].cancel()
        await turns()
        assert batcher.waiting == 1
        tasks += started(batcher, [4])  # there is room again
        await turns()
        backend.release(0)
        await turns()
        assert backend.batches == [[1], [3, 4]]
        backend.release(1)
        assert await asyncio.gather(*(tasks[i] for i in (0, 2, 3))) == [10, 30, 40]

    run(test)


def test_a_waiter_cancelled_while_its_batch_runs_harms_nobody() -> None:
    async def test() -> None:
        backend = Backend()
        batcher = Batcher(backend, Batching(batch_size=8, in_flight=1))
        tasks = started(batcher, [1, 2])
        await turns()
        tasks[0].cancel()
        backend.release(0)
        assert await tasks[1] == 20
        assert tasks[0].cancelled()

    run(test)


def test_one_bad_input_fails_alone() -> None:
    async def test() -> None:
        backend = Backend()
        backend.poisoned = {2}
        batcher = Batcher(backend, Batching(batch_size=8, in_flight=1), poison=(BadInput,))
        tasks = started(batcher, [1, 2, 3])
        await turns()
        for call in range(4):
            backend.release(call)
            await turns()
        assert backend.batches == [[1, 2, 3], [1], [2], [3]]
        assert await tasks[0] == 10
        assert await tasks[2] == 30
        with pytest.raises(BadInput, match=r"bad: \[2\]"):
            await tasks[1]

    run(test)


def test_another_error_fails_the_whole_batch_once() -> None:
    async def test() -> None:
        backend = Backend()
        backend.poisoned = {2}
        batcher = Batcher(backend, Batching(batch_size=8, in_flight=1))
        tasks = started(batcher, [1, 2])
        await turns()
        backend.release(0)
        assert all(isinstance(got, BadInput) for got in await asyncio.gather(*tasks, return_exceptions=True))
        assert backend.batches == [[1, 2]]

    run(test)


def test_a_backend_that_loses_results_is_an_error_not_a_mix_up() -> None:
    async def short(items: Sequence[int]) -> list[int]:
        return list(items)[1:]

    async def test() -> None:
        batcher = Batcher(short, Batching())
        with pytest.raises(RuntimeError, match="1 results for a batch of 2"):
            await batcher.submit_all([1, 2])

    run(test)


def test_time_in_queue_is_told() -> None:
    async def test() -> None:
        now = [0.0]
        asyncio.get_running_loop().time = lambda: now[0]  # type: ignore[method-assign]
        backend = Backend()
        batcher = Batcher(backend, Batching(batch_size=1, in_flight=1))
        first = asyncio.create_task(batcher.submit(1))
        second = asyncio.create_task(batcher.submit(2))
        await turns()
        now[0] = 0.25
        backend.release(0)
        await turns()
        backend.release(1)
        assert (await first).queue_s == 0.0
        assert (await second).queue_s == 0.25

    asyncio.run(test())


def test_close_fails_the_waiting_lets_the_running_end_and_takes_nothing_new() -> None:
    async def test() -> None:
        backend = Backend()
        batcher = Batcher(backend, Batching(batch_size=1, in_flight=1))
        tasks = started(batcher, [1, 2])
        await turns()
        closing = asyncio.create_task(batcher.close())
        await turns()
        with pytest.raises(UnavailableError, match="stopping"):
            await tasks[1]
        with pytest.raises(UnavailableError, match="stopping"):
            await batcher.submit(3)
        assert not closing.done()
        backend.release(0)
        await closing
        assert await tasks[0] == 10
        assert backend.batches == [[1]]

    run(test)


def test_sizes_waits_and_refusals_are_counted() -> None:
    async def test() -> None:
        metrics = Metrics()
        backend = Backend()
        batcher = Batcher(backend, Batching(batch_size=8, in_flight=1, queue=2), series=BatchSeries(metrics, "embed"))
        task = asyncio.create_task(batcher.submit_all([1, 2]))
        await turns()
        with pytest.raises(QueueFullError):
            await batcher.submit_all([3, 4, 5])
        backend.release(0)
        await task
        text = metrics.text().decode()
        assert 'lightragctl_batch_size_sum{stage="embed"} 2.0' in text
        assert 'lightragctl_queue_seconds_count{stage="embed"} 2.0' in text
        assert 'lightragctl_queue_rejected_total{stage="embed"} 1.0' in text

    run(test)


def test_a_call_that_nobody_waits_for_any_more_is_ended() -> None:
    async def test() -> None:
        backend = Backend()
        batcher = Batcher(backend, Batching(batch_size=8, in_flight=1))
        first = started(batcher, [1, 2])
        await turns()
        second = started(batcher, [3])
        await turns()
        first[0].cancel()
        await turns()
        assert backend.batches == [[1, 2]], "one of the two still waits"
        first[1].cancel()
        await turns()
        assert backend.batches == [[1, 2], [3]], "the slot is free for those who wait"
        backend.release(1)
        assert await second[0] == 30

    run(test)


class Timed:
    """A batcher whose clock the test moves; its first batch took `call_s`."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.backend = Backend()
        self.batcher = Batcher(self.backend, Batching(batch_size=8, in_flight=1))
        asyncio.get_running_loop().time = lambda: self.now_s  # type: ignore[method-assign]

    async def measured(self, call_s: float) -> "Timed":
        (task,) = started(self.batcher, [0])
        await turns()
        self.now_s += call_s
        self.backend.release(0)
        await task
        return self

    def submit(self, item: int, within_s: float) -> "asyncio.Task[BatchResult[int]]":
        return asyncio.create_task(self.batcher.submit(item, until_s=self.now_s + within_s))


def test_what_would_be_too_late_is_refused_when_its_turn_comes_and_costs_no_call() -> None:
    async def test() -> None:
        timed = await Timed().measured(call_s=1.0)
        hurried, patient = timed.submit(1, within_s=0.9), timed.submit(2, within_s=1.1)
        await turns()
        with pytest.raises(DeadlineError, match=r"a call takes 1\.00 s"):
            await hurried
        assert timed.backend.batches == [[0], [2]]
        timed.backend.release(1)
        assert (await patient).value == 20

    asyncio.run(test())


def test_a_prediction_is_forgotten_when_nothing_confirms_it() -> None:
    async def test() -> None:
        timed = await Timed().measured(call_s=8.0)
        refused = timed.submit(1, within_s=2)
        await turns()
        with pytest.raises(DeadlineError):
            await refused
        timed.now_s += 3
        tried = timed.submit(2, within_s=2)
        await turns()
        timed.backend.release(1)
        assert (await tried).value == 20

    asyncio.run(test())


def test_it_is_remembered_why_an_item_waited() -> None:
    async def test() -> None:
        timed = Timed()
        tasks = started(timed.batcher, [1])
        await turns()
        tasks += started(timed.batcher, [2, 3])
        await turns()
        timed.now_s = 0.5
        timed.backend.release(0)
        await turns()
        timed.now_s = 0.7
        timed.backend.release(1)
        await asyncio.gather(*tasks)
        first, second = timed.batcher.recent
        assert (first.items, first.queue_s, first.behind, first.seconds) == (1, 0.0, 0, 0.5)
        assert (second.items, second.queue_s, second.behind, second.error) == (2, 0.5, 1, "")

    asyncio.run(test())
