"""Work in the background: an error ends one step and never the loop; what is logged."""

import asyncio
import logging

import pytest

from lightragctl.core.errors import LightragctlError
from lightragctl.service.background import Background
from tests.unit.service.test_batch import run

ERRORS = [LightragctlError("refused"), ValueError("odd"), KeyError("gone"), TimeoutError()]


def test_no_error_ends_the_loop() -> None:
    async def test() -> int:
        errors, done = list(ERRORS), asyncio.Event()
        steps = 0

        async def step() -> None:
            nonlocal steps
            steps += 1
            if errors:
                raise errors.pop()
            done.set()

        loop = asyncio.create_task(Background().forever("work", step, 0))
        await done.wait()
        loop.cancel()
        with pytest.raises(asyncio.CancelledError):
            await loop
        return steps

    assert asyncio.run(asyncio.wait_for(test(), 5)) == len(ERRORS) + 1


def test_an_error_is_logged_once_and_so_is_its_end(caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        background, error = Background(), ValueError("odd")

        async def fail() -> None:
            raise error

        async def succeed() -> None:
            return

        for step in (fail, fail, succeed, succeed, fail):
            await background.attempt("work", step)

    with caplog.at_level(logging.WARNING):
        run(test)
    assert [record.getMessage() for record in caplog.records] == ["work failed", "work: recovered", "work failed"]
    assert caplog.records[0].exc_info
