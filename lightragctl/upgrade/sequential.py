"""Tests that may be evaluated after every look without raising their rate of false alarms. Pure.

A fixed-sample test that is repeated at each look fails sooner or later on identical versions. A confidence sequence
holds at all times at once: the probability that it is ever wrong is at most alpha.

Source:
    I. Waudby-Smith, D. Arbour, R. Sinha, E. H. Kennedy, A. Ramdas, "Time-uniform central limit theory and asymptotic
    confidence sequences", Annals of Statistics 52 (2024), arXiv 2103.06476: the one-sided sequence of appendix B, and
    the choice of rho for a time at which the sequence is tightest.
"""

import math
from dataclasses import dataclass, replace
from functools import cache
from statistics import NormalDist

from lightragctl.quality.stats import t_value

LEAST_BLOCKS = 8
"""Below this the variance of the differences is a guess, and the sequence says nothing."""
LEAST_FINAL_BLOCKS = 4
"""The same for the test at the end, whose quantile of Student's t allows for it."""


@dataclass(frozen=True)
class Sums:
    """Sums over the blocks of a comparison; one block has one difference between canary and stable pods.

    Attributes:
        blocks: their number.
        total, squares: of the differences and of their squares.
        noise: sum of the variances that chance alone gives a difference; a lower limit of the measured variance.
    """

    blocks: int = 0
    total: float = 0.0
    squares: float = 0.0
    noise: float = 0.0

    def with_block(self, difference: float, noise: float) -> "Sums":
        """The sums with one more block."""
        return replace(
            self,
            blocks=self.blocks + 1,
            total=self.total + difference,
            squares=self.squares + difference * difference,
            noise=self.noise + noise,
        )

    @property
    def mean(self) -> float:
        """The mean difference; 0 without blocks."""
        return self.total / self.blocks if self.blocks else 0.0

    @property
    def variance(self) -> float:
        """The variance of a difference: as measured, but at least what chance alone gives."""
        if self.blocks < 2:
            return math.inf
        measured = (self.squares - self.total * self.total / self.blocks) / (self.blocks - 1)
        return max(measured, self.noise / self.blocks)


def lower_bound(sums: Sums, alpha: float, planned: int) -> float:
    """A value that the true mean difference is above, at all looks at once with probability 1 - alpha.

    Args:
        sums: of the blocks so far.
        alpha: the probability of a false alarm over the whole watch.
        planned: number of blocks of the whole watch; the sequence is tightest at half of it, so that a
            regression that is far from its limit is found early.

    Returns:
        minus infinity below `LEAST_BLOCKS` blocks.
    """
    if sums.blocks < LEAST_BLOCKS:
        return -math.inf
    return sums.mean - math.sqrt(sums.variance) * radius(sums.blocks, alpha, planned)


def final_upper_bound(sums: Sums, confidence: float) -> float:
    """A value that the true mean difference is below with this confidence, at one look that was chosen beforehand.

    Returns:
        infinity below `LEAST_FINAL_BLOCKS` blocks.
    """
    if sums.blocks < LEAST_FINAL_BLOCKS:
        return math.inf
    return sums.mean + _quantile(confidence, sums.blocks - 1) * math.sqrt(sums.variance / sums.blocks)


@cache
def _quantile(confidence: float, freedom: int) -> float:
    """One-sided, of Student's t; remembered, as every gate asks for it at every look."""
    return t_value(2 * confidence - 1, freedom)


def radius(blocks: int, alpha: float, planned: int) -> float:
    """Half the width of the sequence after this number of blocks, in standard deviations of a block."""
    wanted = -2 * math.log(2 * alpha)
    rho_squared = (wanted + math.log(wanted + 1)) / max(LEAST_BLOCKS, planned / 2)
    scale = blocks * rho_squared + 1
    return math.sqrt(2 * scale / (blocks * blocks * rho_squared) * math.log1p(math.sqrt(scale) / (2 * alpha)))


def smallest_share(base: float, limit: float, requests: tuple[float, float], watch: tuple[int, float]) -> float:
    """The smallest share on the canary that a watch detects with a probability of 95 %; may be above 1.

    Args:
        base: the share on the stable pods.
        limit: the share above which the gate fails.
        requests: in a block, to the canary and to all stable pods.
        watch: number of blocks, and alpha.
    """
    (canary, stable), (blocks, alpha) = requests, watch
    if canary <= 0 or stable <= 0 or blocks < LEAST_BLOCKS:
        return math.inf
    factor = radius(blocks, alpha, blocks) + NormalDist().inv_cdf(0.95) / math.sqrt(blocks)
    found = limit
    for _ in range(20):  # the noise depends on the share itself; this converges
        share = min(found, 1.0)
        noise = share * (1 - share) / canary + base * (1 - base) / stable
        found = limit + factor * math.sqrt(noise)
    return found
