"""Repeating a request while the service is busy, restarting or out of reach. Waits; does no other I/O."""

import math
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from lightragctl.client.api import NOT_THERE_HINT, ApiError
from lightragctl.core.errors import LightragctlError, UnavailableError

PASSING_STATUSES = frozenset({429, 502, 503, 504})  # the service, or what stands behind it, is busy or not up yet
FIRST_DELAY_S = 0.5
FENCED_CODES = frozenset({"fenced", "switching"})  # a backup or a restore of the workspace is under way
FENCED_WAIT_S = 3600.0  # a backup of a large workspace takes minutes
LONGEST_DELAY_S = 8.0  # a restarted part is ready within seconds; a longer delay would only add to the wait

T = TypeVar("T")


class StoppedError(Exception):
    """Nobody waits for this any more: let go of what is in hand."""


@dataclass(frozen=True)
class Waiting:
    """The service does not take `source` now; the next try is in `next_try_s`."""

    source: str
    reason: str
    next_try_s: float


class _Life:
    """When the service last gave a sign of life, to whichever call."""

    last_s = -math.inf


@dataclass(frozen=True)
class Patience:
    """How long requests to one service are repeated.

    Args:
        wait_s: the longest time without a sign of life, delays included. A sign to one call counts for all: a service
            that gets on with another request is slow, not broken.
        clock: seconds that only grow.
        stop: ends every wait when it is set.
        notify: told before every delay.
    """

    wait_s: float
    clock: Callable[[], float]
    stop: threading.Event
    notify: Callable[[Waiting], None]
    _life: _Life = field(default_factory=_Life)

    def call(self, source: str, request: Callable[[Callable[[], None]], T]) -> T:
        """What `request` returns in the end. It is given a function to call at every sign of life.

        Raises:
            UnavailableError: `wait_s` passed, or `FENCED_WAIT_S` while the workspace is fenced; the message is the last
                reason.
            ApiError: the service says no.
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
                next_try_s = max(delay_s, _asked_s(error))
                if error.code in FENCED_CODES and self.clock() < fenced_until_s:
                    next_try_s = min(next_try_s, LONGEST_DELAY_S)  # the fence may be released long before it expires
                    self._sign()
                silent_s = self.clock() - max(begun_s, self._life.last_s)
                if silent_s + next_try_s > self.wait_s:
                    raise UnavailableError(error.message, error.hint or NOT_THERE_HINT) from error
                self.notify(Waiting(source, error.message, next_try_s))
            if self.stop.wait(next_try_s):
                raise StoppedError
            delay_s = min(delay_s * 2, LONGEST_DELAY_S)

    def _sign(self) -> None:
        self._life.last_s = self.clock()


def _asked_s(error: LightragctlError) -> float:
    """What `Retry-After` asks for; 0 without one."""
    return (error.retry_after_s or 0.0) if isinstance(error, ApiError) else 0.0
