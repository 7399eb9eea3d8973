"""What counts against a backend: who ended a call decides, not how old it was."""

import asyncio

import pytest
from pydantic import ValidationError

from lightragctl.components.api import ApiValues
from lightragctl.core.settings import Batching, CircuitBreaking, Deadlines
from lightragctl.service.backend_guard import BackendGuard
from lightragctl.service.batch import Batcher
from lightragctl.service.breaker import BreakerState
from lightragctl.service.deadline import SERVICE_DEADLINE, Deadline
from lightragctl.service.metrics import BackendSeries, Metrics
from tests.unit.service.test_batch import run, turns

SETTINGS = CircuitBreaking(calls=5, slow_s=1, retry_ratio=0)


class Subject:
    """A guard with a clock of its own, in front of a backend that never answers."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.guard = BackendGuard("the model", SETTINGS, BackendSeries(Metrics(), "model"), lambda: self.now_s)

    @property
    def state(self) -> BreakerState:
        return self.guard.breaker.state

    async def cut_off(self, reason: str | None, age_s: float) -> None:
        """A call of this age that somebody ends."""
        call = asyncio.create_task(self.guard.call(asyncio.Event().wait))
        await turns()
        self.now_s += age_s
        call.cancel(reason)
        await asyncio.gather(call, return_exceptions=True)


@pytest.mark.parametrize(
    ("reason", "age_s", "state"),
    [
        (SERVICE_DEADLINE, 0.0, BreakerState.OPEN),
        (SERVICE_DEADLINE, 1.5, BreakerState.OPEN),
        (None, 0.9, BreakerState.CLOSED),
        (None, 1.0, BreakerState.OPEN),
    ],
)
def test_a_call_that_is_ended_counts_by_who_ended_it(reason: str | None, age_s: float, state: BreakerState) -> None:
    async def test() -> None:
        subject = Subject()
        for _ in range(SETTINGS.calls):
            await subject.cut_off(reason, age_s)
        assert subject.state is state

    run(test)


@pytest.mark.parametrize(("ends", "state"), [("deadline", BreakerState.OPEN), ("client", BreakerState.CLOSED)])
def test_the_reason_goes_through_a_batch(ends: str, state: BreakerState) -> None:
    async def test() -> None:
        subject = Subject()

        async def ask(_: object) -> list[int]:
            await subject.guard.call(asyncio.Event().wait)
            return []

        batcher: Batcher[int, int] = Batcher(ask, Batching(batch_size=8, in_flight=1, queue=8))
        loop = asyncio.get_running_loop()

        async def wait(until_s: float) -> None:
            with Deadline(loop, until_s):
                await batcher.submit(1)

        for _ in range(SETTINGS.calls):
            until_s = loop.time() + (0.001 if ends == "deadline" else 60)
            members = [asyncio.create_task(wait(until_s)) for _ in range(2)]
            await turns()
            if ends == "client":
                for member in members:
                    member.cancel()
            await asyncio.gather(*members, return_exceptions=True)
            await turns()
            assert batcher.running == 0
        assert subject.state is state

    run(test)


def test_settings_in_which_no_call_could_ever_be_slow_are_refused() -> None:
    with pytest.raises(ValidationError, match=r"slow_s \(2\) must be below deadlines.request_s \(2\)"):
        ApiValues(breaking=CircuitBreaking(slow_s=2), deadlines=Deadlines(request_s=2))
    assert ApiValues(breaking=CircuitBreaking(slow_s=1.9), deadlines=Deadlines(request_s=2))
