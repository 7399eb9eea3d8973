"""Statistics: confidence intervals, comparison of two systems, required sample sizes. Pure.

Nothing here assumes a distribution of latencies. Randomness comes in as a seed, so that a report is reproducible.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from statistics import NormalDist, fmean, stdev
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

CONFIDENCE = 0.95
"""How often an interval holds the true figure, unless another level is requested; a test is significant at the
rest, 0.05: the field's usual values."""

POWER = 0.95
"""How often a shift of the size that is looked for must be seen."""

LEAST_ROUNDS = 8
"""Fewer pairs have too few sign flips. Of 4,000 simulated comparisons that a t test sees in 95 % of cases, the test
of flips saw 83 % at 6 rounds, 93 % at 7, 94 % at 8 and 95 % at 10; at 5 it can see none."""

_EXACT_ROUNDS = 12
"""Up to here all 4,096 flips are tried."""

_RESAMPLES = 10_000
"""The ends of a 95 % interval then move by 1 % of its width from seed to seed."""

_SHARE_DIGITS = 12
"""What a sum of binary fractions gets wrong lies beyond, what a floor is given with before."""

_DRAWS = 1 << 20
"""Numbers that are drawn at a time: 8 MiB."""

_SERIES_FREEDOM = 1000
"""Up to here Student's t is computed from its finite series, beyond from its expansion, which is off by about
1e-8 there."""


class Interval(NamedTuple):
    """A confidence interval."""

    low: float
    high: float


class Ranks(NamedTuple):
    """Which of n sorted figures, from 1, bound a quantile from below and from above; None: n is too small for one."""

    lower: int | None
    upper: int | None


@dataclass(frozen=True)
class Comparison:
    """The comparison of a candidate with a baseline, both measured in every round.

    Attributes:
        ratio: candidate by baseline, the geometric mean over the rounds.
        interval: of that ratio, 95 %, by Student's t.
        p_value: how often chance alone gives a mean as far from 1 as this one or farther.
        deviation: standard deviation of the natural logarithm of a round's ratio.
    """

    rounds: int
    ratio: float
    interval: Interval
    p_value: float
    deviation: float


def nearest_rank(samples: int, quantile: float | Fraction) -> int:
    """Which of n sorted figures, from 1, is the quantile: the first that so large a share does not exceed.

    The quantile counts as the decimal number that it is written as: in binary 0.07 of 100 is above 7.
    """
    return max(1, math.ceil(Fraction(str(quantile)) * samples))


def mean_share(shares: Sequence[float]) -> float:
    """The mean of shares, so that one that is a short decimal number compares as that: 0.7 and 0.1 give 0.4.

    Raises:
        StatisticsError: there are none.
    """
    return round(fmean(shares), _SHARE_DIGITS)


def quantile_ranks(samples: int, quantile: float, confidence: float = CONFIDENCE) -> Ranks:
    """Which sorted figures bound a quantile of what they are a sample of, whatever its distribution.

    Each bound holds by itself with `confidence`; both together hold with 2 * confidence - 1.

    Args:
        samples: how many figures there are, independent of each other.
        quantile: between 0 and 1, 0.99 for p99.

    Source:
        H. A. David, H. N. Nagaraja, "Order Statistics", 3rd edition (2003), section 7.1: as many figures are at or
        below the quantile as a binomial variable says.
    """
    first, below = _binomial(samples, quantile)
    lower = first + int(np.searchsorted(below, 1 - confidence, side="right"))
    upper = first + int(np.searchsorted(below, confidence, side="left")) + 1
    return Ranks(lower or None, upper if upper <= samples else None)


def bootstrap_mean(values: Sequence[float], seed: int, confidence: float = CONFIDENCE) -> Interval:
    """Interval of a mean by percentiles of resampled means, for figures of many queries.

    For few values it is too narrow; for rounds there is `compare_rounds`.

    Raises:
        ValueError: there are no values.

    Source:
        B. Efron, R. Tibshirani, "An Introduction to the Bootstrap" (1993), chapter 13.
    """
    if not len(values):
        raise ValueError("a mean needs values")
    known, source = np.asarray(values, np.float64), np.random.default_rng(seed)
    means = [known[source.integers(len(known), size=shape)].mean(axis=1) for shape in _shapes(_RESAMPLES, len(known))]
    low, high = np.quantile(np.concatenate(means), [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(float(low), float(high))


def bounded_mean(values: Sequence[float], seed: int, confidence: float = CONFIDENCE) -> Interval:
    """Interval of a mean of figures between 0 and 1, such as the recall of queries; holds for few and equal ones too.

    Where `bootstrap_mean` sees no spread it claims certainty: three queries that went well give 1 to 1. Here each end
    is a quantile of means weighted at random (Dirichlet) of the values and one more at that end of the range. For
    zeros and ones this is the exact interval of C. Clopper and E. Pearson: three ones give 0.29 to 1.

    Raises:
        ValueError: there are no values.

    Source:
        N. Gaffke, "Three test statistics for a nonparametric one-sided hypothesis on the mean of a nonnegative
        variable", Math. Methods of Statistics 14 (2005); E. Learned-Miller, P. Thomas, "A new confidence interval for
        the mean of a bounded random variable" (2019), arXiv 1905.06208.
    """
    if not len(values):
        raise ValueError("a mean needs values")
    known, source = np.asarray(values, np.float64), np.random.default_rng(seed)
    drawn = [source.standard_exponential(shape) for shape in _shapes(_RESAMPLES, len(known) + 1)]
    weights = np.concatenate([part[:, :-1] @ known / part.sum(axis=1) for part in drawn])
    spare = np.concatenate([part[:, -1] / part.sum(axis=1) for part in drawn])
    low = np.quantile(weights, (1 - confidence) / 2) if known.any() else 0.0
    high = np.quantile(weights + spare, (1 + confidence) / 2) if (known < 1).any() else 1.0
    return Interval(float(low), float(high))


def queries_needed(values: Sequence[float], floor: float, confidence: float = CONFIDENCE) -> int | None:
    """The approximate number of values that decide on which side of a floor their mean is.

    It is what the normal approximation asks for, and where the mean is above the floor at least as many as would do
    if all were 1. None: no number does, for the mean is the floor.
    """
    mean = mean_share(values)
    if mean == floor:
        return None
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    spread = stdev(values) if len(values) > 1 else 0.0
    by_spread = (z * spread / (mean - floor)) ** 2
    at_best = math.log((1 - confidence) / 2) / math.log(floor) if 0 < floor < mean else 1.0
    return max(math.ceil(max(by_spread, at_best)), len(values) + 1)


def compare_rounds(baseline: Sequence[float], candidate: Sequence[float], seed: int) -> Comparison:
    """Compare two systems that were measured in turn, so that what drifts in the machine hits both of a round.

    Args:
        baseline: a figure of each round, above 0: a latency, a rate.
        candidate: of the same rounds, in the same order and unit.
        seed: for the test of more than 12 rounds.

    Raises:
        ValueError: there are fewer than two rounds, not as many of each, or a figure is not above 0.

    Source:
        R. A. Fisher, "The Design of Experiments" (1935), section 21: were both equal, each round's log ratio could
        as well have the other sign.
    """
    ratios = [math.log(new / old) for old, new in zip(baseline, candidate, strict=True)]
    if len(ratios) < 2:
        raise ValueError("at least two rounds are needed")
    mean, deviation = fmean(ratios), stdev(ratios)
    reach = t_value(CONFIDENCE, len(ratios) - 1) * deviation / math.sqrt(len(ratios))
    interval = Interval(math.exp(mean - reach), math.exp(mean + reach))
    return Comparison(len(ratios), math.exp(mean), interval, _sign_flip(np.array(ratios), seed), deviation)


def shares_p_value(one: tuple[int, int], other: tuple[int, int]) -> float:
    """The p-value of the difference of two shares, each as (hits, total).

    Source:
        R. A. Fisher's exact test of a two by two table, two-sided: tables that are no likelier than this one count.
    """
    (hits, drawn), (rest, others) = one, other
    marked, everything = hits + rest, drawn + others
    counts = range(max(0, marked - others), min(marked, drawn) + 1)
    logs = [
        _log_choose(drawn, at) + _log_choose(others, marked - at) - _log_choose(everything, marked) for at in counts
    ]
    seen = logs[hits - counts.start] + 1e-7  # equal ones round otherwise
    return min(1.0, math.fsum(math.exp(log) for log in logs if log <= seen))


def rounds_needed(deviation: float, shift: float) -> int:
    """The number of rounds that detect a difference with a power of 95 %, at a significance of 0.05.

    Args:
        deviation: that of a `Comparison`; from few rounds it is itself a guess.
        shift: relative, above -1 and not 0: 0.05 for 5 % more.

    Source:
        The usual sample size of a paired t test, solved for the least n, and `LEAST_ROUNDS`.
    """
    effect = abs(math.log1p(shift))
    z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2) + NormalDist().inv_cdf(POWER)
    rounds = max(LEAST_ROUNDS, math.ceil((z * deviation / effect) ** 2))  # t wants a few more, as it is above z
    while rounds < (_t_sum(rounds - 1) * deviation / effect) ** 2:
        rounds += 1
    return rounds


def t_value(probability: float, freedom: int) -> float:
    """The bound that Student's t, with these degrees of freedom, stays within on both sides of 0 with a probability.

    Source:
        M. Abramowitz, I. Stegun, "Handbook of Mathematical Functions" (1964), 26.7.3, 26.7.4 and 26.7.5.
    """
    if freedom > _SERIES_FREEDOM:
        z = NormalDist().inv_cdf((1 + probability) / 2)
        return z + (z**3 + z) / (4 * freedom) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
    low, high = 0.0, math.pi / 2  # t is sqrt(freedom) times the tangent of such an angle
    while low < (middle := (low + high) / 2) < high:
        if _within(middle, freedom) < probability:
            low = middle
        else:
            high = middle
    return math.sqrt(freedom) * math.tan(middle)


def _within(angle: float, freedom: int) -> float:
    """Probability that Student's t is within the angle on both sides."""
    odd, cosine = freedom % 2, math.cos(angle)
    term, total = cosine if odd else 1.0, 0.0
    for step in range(1, (freedom - odd) // 2 + 1):
        total += term
        term *= cosine**2 * (2 * step - 1 + odd) / (2 * step + odd)
    share = math.sin(angle) * total
    return 2 / math.pi * (angle + share) if odd else share


def _binomial(trials: int, ratio: float) -> tuple[int, NDArray[np.float64]]:
    """The least count that ever comes, and the probabilities of at most that count, of at most one more, and so on.

    Each weight follows from its neighbour, outwards from the most likely count, so that nothing overflows. What lies
    12 deviations and 40 counts away is less than rounding.
    """
    mode, odds = min(trials, int((trials + 1) * ratio)), ratio / (1 - ratio)
    span = math.ceil(12 * math.sqrt(trials * ratio * (1 - ratio))) + 40
    above = np.arange(mode, min(trials, mode + span))
    under = np.arange(mode, max(0, mode - span), -1)
    rising = np.cumprod((trials - above) / (above + 1) * odds)
    falling = np.cumprod(under / (trials - under + 1) / odds)
    weights = np.concatenate([falling[::-1], [1.0], rising])
    return mode - len(falling), np.cumsum(weights) / weights.sum()


def _shapes(draws: int, width: int) -> Iterator[tuple[int, int]]:
    """The requested number of draws of `width` numbers, in parts of at most `_DRAWS` numbers."""
    rows = max(1, _DRAWS // width)
    for begin in range(0, draws, rows):
        yield min(rows, draws - begin), width


def _sign_flip(ratios: NDArray[np.float64], seed: int) -> float:
    """Share of sign flips whose sum is as far from 0 as the true one or farther.

    Drawn flips count the true signs as one more, so that p is never 0 (B. Phipson, G. Smyth, "Permutation p-values
    should never be zero", 2010).
    """
    least = abs(ratios.sum()) - 1e-12 * np.abs(ratios).sum()  # sums in another order round otherwise
    if len(ratios) <= _EXACT_ROUNDS:
        flips = np.arange(1 << len(ratios))[:, np.newaxis] >> np.arange(len(ratios)) & 1
        return float(np.mean(_flipped(ratios, flips) >= least))
    source = np.random.default_rng(seed)
    farther = sum(
        int(np.sum(_flipped(ratios, source.integers(2, size=shape)) >= least))
        for shape in _shapes(_RESAMPLES, len(ratios))
    )
    return (farther + 1) / (_RESAMPLES + 1)


def _flipped(ratios: NDArray[np.float64], flips: NDArray[np.int64]) -> NDArray[np.float64]:
    sums: NDArray[np.float64] = np.abs((2.0 * flips - 1.0) @ ratios)
    return sums


def _log_choose(whole: int, part: int) -> float:
    return math.lgamma(whole + 1) - math.lgamma(part + 1) - math.lgamma(whole - part + 1)


def _t_sum(freedom: int) -> float:
    """What a test at our confidence leaves out on both sides, and our power on one."""
    return t_value(CONFIDENCE, freedom) + t_value(2 * POWER - 1, freedom)
