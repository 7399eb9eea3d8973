"""Calls to one backend through its circuit breaker, with a budget of retries. No I/O of its own."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from lightragctl.core.errors import UnavailableError, WaitExpired
from lightragctl.core.settings import CircuitBreaking
from lightragctl.service.breaker import (
    Admission,
    BreakerOpenError,
    BreakerState,
    CallOutcome,
    CircuitBreaker,
    RetryBudget,
)
from lightragctl.service.deadline import is_deadline
from lightragctl.service.metrics import BackendSeries

T = TypeVar("T")

_STATES = {BreakerState.CLOSED: 0, BreakerState.HALF_OPEN: 1, BreakerState.OPEN: 2}


class BackendGuard:
    """One backend's breaker and retry budget.

    A call counts as failed when it raises UnavailableError, when the service's own deadline cancels it (at any age,
    since it may have waited for its turn), or when its last caller gives up after `slow_s`. Other errors are responses
    of a working backend. A fast failure without Retry-After is retried once within the budget.

    Args:
        backend: its name, for messages.
        settings: when to open the breaker, and for how long.
        series: counts calls and states.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        backend: str,
        settings: CircuitBreaking,
        series: BackendSeries,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.breaker = CircuitBreaker(backend, settings, clock)
        self._settings = settings
        self._series = series
        self._clock = clock
        self._budget = RetryBudget(settings.retry_ratio)

    async def call(self, work: Callable[[], Awaitable[T]]) -> T:
        """The result of `work`.

        Raises:
            BreakerOpenError: the breaker is open.
            Exception: what `work` raised, on the retry if there was one.
        """
        self._budget.earn()
        begin = self._clock()
        admission = self._admit()
        try:
            return await self._watched(work, admission)
        except UnavailableError as error:
            if admission.probe or not self._may_repeat(error, self._clock() - begin):
                raise
        self._series.retried()
        return await self._watched(work, self._admit())

    def _admit(self) -> Admission:
        try:
            return self.breaker.admit()
        except BreakerOpenError:
            self._series.short_circuited()
            raise

    async def _watched(self, work: Callable[[], Awaitable[T]], admission: Admission) -> T:
        begin = self._clock()
        try:
            result = await work()
        except UnavailableError as error:
            pause_s = float(getattr(error, "retry_after_s", None) or 0.0)
            self._record(CallOutcome(self._clock() - begin, True, pause_s), admission)
            raise
        except asyncio.CancelledError as error:
            seconds = self._clock() - begin
            if is_deadline(error) or seconds >= self._settings.slow_s:
                self._record(CallOutcome(seconds, True), admission)
            else:
                self.breaker.abandon(admission)
            raise
        except Exception:
            self._record(CallOutcome(self._clock() - begin, False), admission)
            raise
        self._record(CallOutcome(self._clock() - begin, False), admission)
        return result

    def _record(self, outcome: CallOutcome, admission: Admission) -> None:
        self.breaker.record(outcome, admission)
        self._series.called(outcome.failed, _STATES[self.breaker.state])

    def _may_repeat(self, error: UnavailableError, seconds: float) -> bool:
        is_passing = not isinstance(error, WaitExpired) and not getattr(error, "retry_after_s", None)
        return is_passing and seconds < self._settings.slow_s and self._budget.spend()
