"""Histograms of times: mergeable, exact to three digits. A thin layer on HdrHistogram. Pure."""

import binascii
import zlib
from array import array
from collections.abc import Sequence
from fractions import Fraction
from typing import Self

import numpy as np
from hdrh.codec import HdrCookieException, HdrLengthException
from hdrh.histogram import HdrHistogram

from lightragctl.quality.stats import nearest_rank

LOWEST_US = 1
HIGHEST_US = 36_000_000_000
"""10 hours: longer than any answer is waited for, with all that a request may wait before it is sent; what is longer
counts as this. A histogram takes 213 KB of memory; as text it is as long as it has different times."""
DIGITS = 3

_SUB_BUCKET_BITS = 11
"""HdrHistogram takes the power of two above 2 * 10**DIGITS as the size of its first bucket: 2048."""


class Histogram:
    """A histogram of request times."""

    def __init__(self) -> None:
        self._counts = HdrHistogram(LOWEST_US, HIGHEST_US, DIGITS)

    @property
    def count(self) -> int:
        """The number of recorded times."""
        return int(self._counts.get_total_count())

    @property
    def max_ms(self) -> float:
        """The maximum; 0 when empty."""
        return float(self._counts.get_max_value()) / 1000

    @property
    def mean_ms(self) -> float:
        """The mean, weighed as HdrHistogram does, by the middle of each bucket; 0 when there is none."""
        return float(self._counts.get_mean_value()) / 1000

    def record(self, seconds: "Sequence[float] | array[float]") -> None:
        """Count times; negative ones count as 0.

        All at once, in numpy: one by one they cost 0.9 us each in HdrHistogram's Python, more than anything else that
        a worker does for a request; together 0.03 us.
        """
        if not seconds:
            return
        micros = (np.asarray(seconds, dtype=np.float64) * 1e6).round().clip(0, HIGHEST_US).astype(np.int64)
        # frexp's exponent is the number of bits: exact, as doubles hold integers of 53 bits.
        buckets = np.maximum(np.frexp(micros.astype(np.float64))[1] - _SUB_BUCKET_BITS, 0)
        slots = (buckets.astype(np.int64) << (_SUB_BUCKET_BITS - 1)) + (micros >> buckets)
        view = np.frombuffer(self._counts.counts, dtype=np.uint64)
        view += np.bincount(slots, minlength=len(view)).astype(view.dtype)
        self._counts.total_count += len(seconds)
        self._counts.min_value = min(self._counts.min_value, int(micros.min()))
        self._counts.max_value = max(self._counts.max_value, int(micros.max()))

    def merge(self, other: "Histogram") -> None:
        """Add another histogram."""
        self._counts.add(other._counts)

    def percentile_ms(self, percent: float) -> float:
        """A percentile (nearest rank), rounded up to three digits; 0 when empty."""
        return self.percentiles_ms([percent])[0]

    def percentiles_ms(self, percents: Sequence[float]) -> list[float]:
        """Like `percentile_ms` for several at once, in their order."""
        return self.ranked_ms([nearest_rank(self.count, Fraction(str(percent)) / 100) for percent in percents])

    def ranked_ms(self, ranks: Sequence[int]) -> list[float]:
        """The times at these places, from 1, of all in ascending order, to three digits upwards; 0 when empty.

        By exact counts: HdrHistogram's own percentiles round the rank, so that its p90 of 7 times is the 6th.
        """
        if not self.count:
            return [0.0] * len(ranks)
        below = np.cumsum(np.frombuffer(self._counts.counts, dtype=np.uint64))
        slots = np.searchsorted(below, np.asarray(ranks, dtype=np.uint64), side="left")
        return [self._highest_us(int(slot)) / 1000 for slot in slots]

    def _highest_us(self, slot: int) -> float:
        value = self._counts.get_value_from_index(slot)
        return float(self._counts.get_highest_equivalent_value(value))

    def encode(self) -> str:
        """HdrHistogram's own text, as its tools of every language read it; empty when there is nothing in it."""
        return str(self._counts.encode(), "ascii") if self.count else ""

    @classmethod
    def decode(cls, text: str) -> Self:
        """The histogram that `encode` gave.

        Raises:
            ValueError: the text is none.
        """
        histogram = cls()
        if text:
            try:
                histogram._counts.decode_and_add(text)
            except (binascii.Error, HdrCookieException, HdrLengthException, zlib.error, IndexError) as error:
                raise ValueError(f"not a histogram: {text[:40]!r}") from error
        return histogram
