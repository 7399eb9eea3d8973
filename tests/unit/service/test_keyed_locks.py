"""A lock per key: who may be inside, and what is left behind."""

import asyncio

import pytest

from lightragctl.service.keyed_locks import KeyedLocks
from tests.unit.service.test_batch import run, turns


def test_one_who_comes_while_a_waiter_is_woken_waits_too() -> None:
    async def test() -> None:
        locks: KeyedLocks[str] = KeyedLocks()
        inside: list[str] = []
        most = 0
        leave = {name: asyncio.Event() for name in "abc"}

        async def enter(name: str) -> None:
            nonlocal most
            async with locks.hold("doc"):
                inside.append(name)
                most = max(most, len(inside))
                await leave[name].wait()
                inside.remove(name)

        first = asyncio.create_task(enter("a"))
        second = asyncio.create_task(enter("b"))
        await turns()
        leave["a"].set()
        await first
        third = asyncio.create_task(enter("c"))
        await turns()
        assert inside == ["b"]
        leave["b"].set()
        leave["c"].set()
        await asyncio.gather(second, third)
        assert (most, len(locks)) == (1, 0)

    run(test)


def test_other_keys_do_not_wait() -> None:
    async def test() -> None:
        locks: KeyedLocks[str] = KeyedLocks()
        async with locks.hold("one"), locks.hold("two"):
            assert len(locks) == 2

    run(test)


def test_who_fails_or_leaves_while_waiting_keeps_no_lock() -> None:
    async def test() -> None:
        locks: KeyedLocks[int] = KeyedLocks()

        async def fail(key: int) -> None:
            async with locks.hold(key):
                raise ValueError

        for key in range(100):
            with pytest.raises(ValueError, match=r"^$"):
                await fail(key)
        async with locks.hold(1):
            waiting = asyncio.create_task(fail(1))
            await turns()
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
            assert len(locks) == 1
        assert len(locks) == 0

    run(test)
