"""A circuit breaker and a retry budget: how lightrag-api spares what is behind it when that is in trouble. Pure.

The breaker is closed until, over the last `window_s` seconds, too many calls failed or were slow. Then it is open:
calls are refused at once. After `open_s` a few probes may pass; when they all succeed it closes, when one fails it is
open again for twice as long. What the backend itself asked for (`Retry-After`) goes before our own times.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from lightragctl.core.errors import UnavailableError
from lightragctl.core.settings import CircuitBreaking

_SLICES = 10
"""Parts of the window that are forgotten one by one."""
_LONGEST = 8
"""At most so many times `open_s`, however often the probes fail."""
_SAVED_RETRIES = 10.0
"""Retries that quiet times can save up."""


class BreakerOpenError(UnavailableError):
    """The call was not made, because the backend is in trouble; `retry_after_s` is when it will be tried again."""

    code = "breaker-open"

    def __init__(self, backend: str, why: str, retry_after_s: float) -> None:
        super().__init__(f"{backend} is not called for now: {why}", f"try again in {retry_after_s:.0f} s")
        self.retry_after_s = retry_after_s


class BreakerState(StrEnum):
    """`half-open`: probes are under way."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


@dataclass(frozen=True, slots=True)
class CallOutcome:
    """How a call ended. `retry_after_s` is what the backend asked for, 0 when it did not."""

    seconds: float
    failed: bool
    retry_after_s: float = 0.0


class Admission(NamedTuple):
    """A call that may be made. `round` counts the openings before it; a `probe` decides whether the breaker closes."""

    round: int
    probe: bool


@dataclass(slots=True)
class _Slice:
    """Calls that ended within one part of the window."""

    begin_s: float
    calls: int = 0
    failed: int = 0
    slow: int = 0


class CircuitBreaker:
    """The breaker of one backend; used from one event loop.

    Args:
        backend: its name, for messages.
        settings: when to open, and for how long.
        clock: seconds that only grow.
    """

    def __init__(self, backend: str, settings: CircuitBreaking, clock: Callable[[], float]) -> None:
        self._backend = backend
        self._settings = settings
        self._clock = clock
        self._slices: deque[_Slice] = deque()
        self._why = ""
        self._until_s = 0.0
        self._open_s = settings.open_s
        self._round = 0
        self._probes = 0
        self._passed = 0

    @property
    def state(self) -> BreakerState:
        """Where it stands now."""
        if not self._why:
            return BreakerState.CLOSED
        return BreakerState.OPEN if self._clock() < self._until_s else BreakerState.HALF_OPEN

    @property
    def why(self) -> str:
        """What opened it; empty while it is closed."""
        return self._why

    @property
    def retry_after_s(self) -> float:
        """Until it lets probes pass; 0 when it does."""
        return max(0.0, self._until_s - self._clock()) if self._why else 0.0

    def admit(self) -> Admission:
        """Ask to make a call, whose outcome must then be told.

        Raises:
            BreakerOpenError: it must not be made.
        """
        match self.state:
            case BreakerState.CLOSED:
                return Admission(self._round, False)
            case BreakerState.HALF_OPEN if self._probes < self._settings.probes:
                self._probes += 1
                return Admission(self._round, True)
        raise BreakerOpenError(self._backend, self._why, max(1.0, self.retry_after_s))

    def record(self, outcome: CallOutcome, admission: Admission) -> None:
        """Tell how an admitted call ended; one that was admitted before the breaker opened says nothing any more."""
        if admission.round != self._round:
            return
        if admission.probe:
            self._record_probe(outcome)
            return
        self._count(outcome)
        if outcome.failed and outcome.retry_after_s:
            self._open("it asked for a pause", outcome.retry_after_s)
        elif why := self._trouble():
            self._open(why, self._open_s)

    def abandon(self, admission: Admission) -> None:
        """Tell that nobody waited for an admitted call any more, so that it says nothing of the backend."""
        if admission.probe and admission.round == self._round:
            self._probes -= 1

    def _record_probe(self, outcome: CallOutcome) -> None:
        if not self._why:  # another probe has closed it meanwhile
            return
        if outcome.failed:
            self._open_s = min(2 * self._open_s, _LONGEST * self._settings.open_s)
            self._open(self._why, outcome.retry_after_s or self._open_s)
            return
        self._passed += 1
        if self._passed >= self._settings.probes:
            self._why, self._open_s = "", self._settings.open_s
            self._slices.clear()

    def _open(self, why: str, seconds: float) -> None:
        self._why, self._until_s = why, self._clock() + seconds
        self._round += 1
        self._probes = self._passed = 0

    def _count(self, outcome: CallOutcome) -> None:
        now, slice_s = self._clock(), self._settings.window_s / _SLICES
        while self._slices and self._slices[0].begin_s <= now - self._settings.window_s:
            self._slices.popleft()
        if not self._slices or now - self._slices[-1].begin_s >= slice_s:
            self._slices.append(_Slice(now))
        last = self._slices[-1]
        last.calls += 1
        last.failed += outcome.failed
        last.slow += outcome.seconds >= self._settings.slow_s

    def _trouble(self) -> str:
        """What is wrong with the calls of the window; empty when nothing is, or when they are too few to tell."""
        calls = sum(one.calls for one in self._slices)
        if calls < self._settings.calls:
            return ""
        failed, slow = sum(one.failed for one in self._slices), sum(one.slow for one in self._slices)
        if failed / calls >= self._settings.failure_ratio:
            return f"{failed} of its last {calls} calls failed"
        if slow / calls >= self._settings.slow_ratio:
            return f"{slow} of its last {calls} calls took {self._settings.slow_s:g} s or more"
        return ""


class RetryBudget:
    """Lets a share of the calls be repeated, so that retries do not multiply the load on what is failing already.

    Args:
        ratio: retries per call, 0.1 for one in ten.
    """

    def __init__(self, ratio: float) -> None:
        self._ratio = ratio
        self._tokens = _SAVED_RETRIES if ratio else 0.0

    def earn(self) -> None:
        """Note a first try."""
        self._tokens = min(self._tokens + self._ratio, _SAVED_RETRIES)

    def spend(self) -> bool:
        """Ask for a retry."""
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True
