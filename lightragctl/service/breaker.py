"""A circuit breaker and a retry budget, which protect a failing backend from more load. Pure.

The breaker opens when, over the last `window_s` seconds, too many calls failed or were slow. While open it rejects
calls at once. After `open_s` it is half-open and lets a few probes pass: if all succeed it closes, if one fails it
opens again for twice as long. The backend's `Retry-After` overrides our own intervals.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from lightragctl.core.errors import UnavailableError
from lightragctl.core.settings import CircuitBreaking

_SLICES = 10
"""Number of slices of the sliding window."""
_LONGEST = 8
"""Upper limit of the open interval, as a multiple of `open_s`."""
_SAVED_RETRIES = 10.0
"""The most retries that can accumulate."""


class BreakerOpenError(UnavailableError):
    """The breaker is open, so the call was not made; `retry_after_s` is the time until the next probe."""

    code = "breaker-open"

    def __init__(self, backend: str, reason: str, retry_after_s: float) -> None:
        super().__init__(f"circuit breaker open for {backend}: {reason}", f"retry in {retry_after_s:.0f} s")
        self.retry_after_s = retry_after_s


class BreakerState(StrEnum):
    """`half-open`: only probes pass."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


@dataclass(frozen=True, slots=True)
class CallOutcome:
    """The outcome of a call. `retry_after_s` is the backend's Retry-After, 0 without one."""

    seconds: float
    failed: bool
    retry_after_s: float = 0.0


class Admission(NamedTuple):
    """Permission for one call. `round` counts the openings before it; a `probe` decides whether the breaker closes."""

    round: int
    probe: bool


@dataclass(slots=True)
class _Slice:
    """Calls that ended within one slice of the window."""

    begin_s: float
    calls: int = 0
    failed: int = 0
    slow: int = 0


class CircuitBreaker:
    """The breaker of one backend; used from one event loop.

    Args:
        backend: its name, for messages.
        settings: when to open, and for how long.
        clock: monotonic seconds.
    """

    def __init__(self, backend: str, settings: CircuitBreaking, clock: Callable[[], float]) -> None:
        self._backend = backend
        self._settings = settings
        self._clock = clock
        self._slices: deque[_Slice] = deque()
        self._reason = ""
        self._until_s = 0.0
        self._open_s = settings.open_s
        self._round = 0
        self._probes = 0
        self._passed = 0

    @property
    def state(self) -> BreakerState:
        """The current state."""
        if not self._reason:
            return BreakerState.CLOSED
        return BreakerState.OPEN if self._clock() < self._until_s else BreakerState.HALF_OPEN

    @property
    def reason(self) -> str:
        """Why it opened; empty while it is closed."""
        return self._reason

    @property
    def retry_after_s(self) -> float:
        """Seconds until it lets probes pass; 0 if it does."""
        return max(0.0, self._until_s - self._clock()) if self._reason else 0.0

    def admit(self) -> Admission:
        """Permission for a call, whose outcome the caller must `record` or `abandon`.

        Raises:
            BreakerOpenError: the breaker is open.
        """
        match self.state:
            case BreakerState.CLOSED:
                return Admission(self._round, False)
            case BreakerState.HALF_OPEN if self._probes < self._settings.probes:
                self._probes += 1
                return Admission(self._round, True)
        raise BreakerOpenError(self._backend, self._reason, max(1.0, self.retry_after_s))

    def record(self, outcome: CallOutcome, admission: Admission) -> None:
        """Record the outcome of an admitted call; one admitted before the breaker opened is ignored."""
        if admission.round != self._round:
            return
        if admission.probe:
            self._record_probe(outcome)
            return
        self._count(outcome)
        if outcome.failed and outcome.retry_after_s:
            self._open("it sent Retry-After", outcome.retry_after_s)
        elif reason := self._trouble():
            self._open(reason, self._open_s)

    def abandon(self, admission: Admission) -> None:
        """Release an admitted call that was cancelled, and so shows nothing about the backend."""
        if admission.probe and admission.round == self._round:
            self._probes -= 1

    def _record_probe(self, outcome: CallOutcome) -> None:
        if not self._reason:  # another probe has closed it
            return
        if outcome.failed:
            self._open_s = min(2 * self._open_s, _LONGEST * self._settings.open_s)
            self._open(self._reason, outcome.retry_after_s or self._open_s)
            return
        self._passed += 1
        if self._passed >= self._settings.probes:
            self._reason, self._open_s = "", self._settings.open_s
            self._slices.clear()

    def _open(self, reason: str, seconds: float) -> None:
        self._reason, self._until_s = reason, self._clock() + seconds
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
        """Why the breaker must open; empty if the calls of the window are good enough or too few."""
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
    """Limits retries to a share of the calls, so that they do not multiply the load on a failing backend.

    Args:
        ratio: retries per call, 0.1 for one in ten.
    """

    def __init__(self, ratio: float) -> None:
        self._ratio = ratio
        self._tokens = _SAVED_RETRIES if ratio else 0.0

    def earn(self) -> None:
        """Count a first attempt."""
        self._tokens = min(self._tokens + self._ratio, _SAVED_RETRIES)

    def spend(self) -> bool:
        """Take a retry from the budget; False if it is used up."""
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True
