"""Retries with exponential back-off while a service is busy, restarting or unreachable. Waits; no other I/O."""

import math
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from lightragctl.client.api import NOT_THERE_HINT, ApiError
from lightragctl.core.errors import LightragctlError, UnavailableError

PASSING_STATUSES = frozenset({429, 502, 503, 504})  # the service or a backend is busy or not ready
FIRST_DELAY_S = 0.5  # doubled after each attempt; a choice, not a measurement
FENCED_CODES = frozenset({"fenced", "switching"})  # a backup or a restore of the workspace is in progress
FENCED_WAIT_S = 3600.0  # a backup of a large workspace takes minutes
LONGEST_DELAY_S = 8.0  # restarted components are ready within seconds

T = TypeVar("T")


class StoppedError(Exception):
    """The wait was cancelled; stop the work in progress."""


@dataclass(frozen=True)
class RetryWait:
    """A failed attempt for `source`; the next retry is in `next_try_s`."""

    source: str
    reason: str
    next_try_s: float


class _LastSign:
    """When any call last got a response from the service."""

    last_s = -math.inf


@dataclass(frozen=True)
class RetryPolicy:
    """How long requests to one service are retried.

    Args:
        wait_s: the longest time without a response, delays included. A response to one call counts for all: a service
            that makes progress on another request is slow, not down.
        clock: monotonic seconds.
        stop: cancels every wait when it is set.
        notify: called before every delay.
    """

    wait_s: float
    clock: Callable[[], float]
    stop: threading.Event
    notify: Callable[[RetryWait], None]
    _life: _LastSign = field(default_factory=_LastSign)

    def call(self, source: str, request: Callable[[Callable[[], None]], T]) -> T:
        """The result of `request`, which gets a function to call whenever the service responds.

        Raises:
            UnavailableError: `wait_s` has passed, or `FENCED_WAIT_S` while the workspace is fenced; the
                message is the last reason.
            ApiError: an error that retries do not help.
            StoppedError: `stop` was set.
        """
        begun_s, delay_s = self.clock(), FIRST_DELAY_S
        fenced_until_s = begun_s + FENCED_WAIT_S
        while True:
            tried_s = self.clock()
            try:
                return request(self._sign)
            except (UnavailableError, ApiError) as error:
                if isinstance(error, ApiError) and error.status not in PASSING_STATUSES:
                    raise
                if self._life.last_s >= tried_s:
                    delay_s = FIRST_DELAY_S
                next_try_s = max(delay_s, _retry_after_s(error))
                if error.code in FENCED_CODES and self.clock() < fenced_until_s:
                    next_try_s = min(next_try_s, LONGEST_DELAY_S)  # the fence may be released long before it expires
                    self._sign()
                silent_s = self.clock() - max(begun_s, self._life.last_s)
                if silent_s + next_try_s > self.wait_s:
                    raise UnavailableError(error.message, error.hint or NOT_THERE_HINT) from error
                self.notify(RetryWait(source, error.message, next_try_s))
            if self.stop.wait(next_try_s):
                raise StoppedError
            delay_s = min(delay_s * 2, LONGEST_DELAY_S)

    def _sign(self) -> None:
        self._life.last_s = self.clock()


def _retry_after_s(error: LightragctlError) -> float:
    """The `Retry-After` of an error; 0 without one."""
    return (error.retry_after_s or 0.0) if isinstance(error, ApiError) else 0.0
