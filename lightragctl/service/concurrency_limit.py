"""A bound on work that is under way at a time: what is over it is refused at once instead of waiting. No I/O."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from lightragctl.core.errors import LightragctlError
from lightragctl.service.batch import QueueFullError

_EWMA_WEIGHT = 0.2
"""Weight of the newest duration in the average: about the last ten count."""


class ConcurrencyLimitError(QueueFullError):
    """As many calls as are allowed are under way; `retry_after_s` is when one of them should have ended."""

    code = "too-many"

    def __init__(self, what: str, most: int, retry_after_s: float) -> None:
        seconds = max(1, math.ceil(retry_after_s))
        hint = f"try again in {seconds} s, with fewer calls at a time"
        LightragctlError.__init__(self, f"{most} {what} are under way already", hint)
        self.retry_after_s = retry_after_s


class ConcurrencyLimit:
    """At most `most` calls at a time; used from one event loop.

    Args:
        what: the calls' name in the plural, for messages.
        most: how many may be under way.
        clock: seconds that only grow.
    """

    def __init__(self, what: str, most: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._what = what
        self._most = most
        self._clock = clock
        self._mean_s = 0.0
        self.under_way = 0

    def admit(self) -> None:
        """Whether one more call would be taken; for callers who would do something else first.

        Raises:
            ConcurrencyLimitError: it would not.
        """
        if self.under_way >= self._most:
            raise ConcurrencyLimitError(self._what, self._most, self._mean_s / self._most)

    @contextmanager
    def place(self) -> Iterator[None]:
        """Hold a place inside the block.

        Raises:
            ConcurrencyLimitError: all are taken.
        """
        self.admit()
        self.under_way += 1
        begin_s = self._clock()
        try:
            yield
        finally:
            self.under_way -= 1
            self._mean_s += _EWMA_WEIGHT * (self._clock() - begin_s - self._mean_s)
