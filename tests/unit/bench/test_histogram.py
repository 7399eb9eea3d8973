"""Times as histograms: the same as HdrHistogram's own, merged and sent without loss."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hdrh.histogram import HdrHistogram

from lightragctl.bench.histogram import HIGHEST_US, Histogram

SECONDS = np.random.default_rng(1).lognormal(-6, 2, 5000).tolist()


def of(seconds: list[float]) -> Histogram:
    histogram = Histogram()
    histogram.record(seconds)
    return histogram


def test_counting_all_at_once_gives_what_hdrhistogram_counts_one_by_one() -> None:
    edges = [n / 1e6 for n in (0, 1, 2047, 2048, 2049, 4095, 4096, HIGHEST_US - 1, HIGHEST_US)]
    theirs = HdrHistogram(1, HIGHEST_US, 3)
    for second in SECONDS + edges:
        theirs.record_value(min(round(second * 1e6), HIGHEST_US))
    assert of(SECONDS + edges).encode() == theirs.encode().decode()


def test_percentiles_are_exact_to_three_digits() -> None:
    percents = (50, 90, 99, 99.9)
    exact_ms = [sorted(SECONDS)[round(percent * len(SECONDS) / 100) - 1] * 1000 for percent in percents]
    assert of(SECONDS).percentiles_ms(percents) == pytest.approx(exact_ms, rel=0.001, abs=0.001)
    assert of(SECONDS).max_ms == pytest.approx(max(SECONDS) * 1000, rel=0.001)
    assert of(SECONDS).mean_ms == pytest.approx(np.mean(SECONDS) * 1000, rel=0.001)


def test_merged_parts_are_the_whole() -> None:
    merged = Histogram()
    part: list[float]
    for part in (SECONDS[:10], SECONDS[10:3000], [], SECONDS[3000:]):
        merged.merge(Histogram.decode(of(part).encode()))
    assert merged.encode() == of(SECONDS).encode()
    assert merged.count == len(SECONDS)


def test_nothing_is_a_histogram_too() -> None:
    empty = Histogram.decode("")
    assert (empty.encode(), empty.count, empty.max_ms, empty.percentile_ms(99)) == ("", 0, 0.0, 0.0)


def test_what_is_out_of_range_counts_at_its_edge() -> None:
    assert of([-0.5]).percentile_ms(100) == 0.0
    assert of([300.0]).percentile_ms(100) == pytest.approx(300_000, rel=0.001), "an answer of five minutes is none"
    assert of([1e6]).percentile_ms(100) == pytest.approx(HIGHEST_US / 1000, rel=0.001)


@pytest.mark.parametrize("text", ["x", "####", "AAAA", "SElTVEZBQUFB", of([1.0]).encode()[:-12]])
def test_rubbish_is_no_histogram(text: str) -> None:
    with pytest.raises(ValueError, match="not a histogram"):
        Histogram.decode(text)


@pytest.mark.parametrize("count", [1, 2, 7, 14, 99, 100, 700, 1000])
def test_a_percentile_is_the_nearest_rank_for_any_number_of_times(count: int) -> None:
    """Of 7 times the p90 is the 7th, ceil(6.3); times of less than 2048 us are exact."""
    histogram = of([number / 1e6 for number in range(1, count + 1)])
    for percent in (0.1, 7, 50, 90, 95, 99, 99.9, 100):
        wanted = max(1, math.ceil(Fraction(str(percent)) * count / 100))
        assert histogram.percentile_ms(percent) * 1000 == pytest.approx(wanted), percent
    assert histogram.ranked_ms([1, count]) == pytest.approx([0.001, count / 1000])
