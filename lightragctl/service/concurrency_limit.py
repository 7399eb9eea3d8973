"""A limit on calls in flight: calls over the limit are rejected at once instead of queued. No I/O."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from lightragctl.core.errors import LightragctlError
from lightragctl.service.batch import QueueFullError

_EWMA_WEIGHT = 0.2
"""Weight of the newest duration in the moving average: about the last ten count."""


class ConcurrencyLimitError(QueueFullError):
    """The limit of calls in flight is reached; `retry_after_s` is when one of them is expected to end."""

    code = "concurrency-limit"

    def __init__(self, what: str, most: int, retry_after_s: float) -> None:
        seconds = max(1, math.ceil(retry_after_s))
        hint = f"retry in {seconds} s, with fewer concurrent calls"
        LightragctlError.__init__(self, f"the limit of {most} concurrent {what} is reached", hint)
        self.retry_after_s = retry_after_s


class ConcurrencyLimit:
    """At most `most` calls in flight; used from one event loop.

    Args:
        what: what the calls are, in the plural, for messages.
        most: the limit.
        clock: monotonic seconds.
    """

    def __init__(self, what: str, most: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._what = what
        self._most = most
        self._clock = clock
        self._mean_s = 0.0
        self.in_flight = 0

    def admit(self) -> None:
        """Check that another call would be accepted, for callers with other work to do first.

        Raises:
            ConcurrencyLimitError: the limit is reached.
        """
        if self.in_flight >= self._most:
            raise ConcurrencyLimitError(self._what, self._most, self._mean_s / self._most)

    @contextmanager
    def place(self) -> Iterator[None]:
        """Count one call in flight inside the block.

        Raises:
            ConcurrencyLimitError: the limit is reached.
        """
        self.admit()
        self.in_flight += 1
        begin_s = self._clock()
        try:
            yield
        finally:
            self.in_flight -= 1
            self._mean_s += _EWMA_WEIGHT * (self._clock() - begin_s - self._mean_s)
