"""Two services measured in turn, and what the rounds say of them. Pure.

Each round measures both, in the order AB, BA, AB, ...: what drifts in the machine then hits both alike. Of 10 % drift
and a true shift of 5 %, rounds in turn saw the shift in every simulated trial, one long run of each in 28 %.
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum

import msgspec

from lightragctl.bench.result import LoadReport, Positive
from lightragctl.quality.stats import CONFIDENCE, Comparison, compare_rounds, rounds_needed

SCHEMA = "lightragctl-compare/1"

FIGURES: Mapping[str, tuple[bool, str]] = {
    "p50": (False, "ms"),
    "mean": (False, "ms"),
    "p90": (False, "ms"),
    "p99": (False, "ms"),
    "good": (True, "/s"),
}
"""What is compared: whether more is better, and its unit."""

_SEED = 1


class Finding(StrEnum):
    """What the rounds say of B against A in one figure."""

    BETTER = "better"
    WORSE = "worse"
    SAME = "same"
    """The true ratio is within the margin, with 95 % confidence."""
    UNKNOWN = "not enough data"


class Round(msgspec.Struct, frozen=True):
    """Both services in one round: the value of each figure, and which came first."""

    first: str
    a: Mapping[str, float]
    b: Mapping[str, float]


class Compared(msgspec.Struct, frozen=True):
    """One figure.

    Attributes:
        ratio, low, high: B by A over all rounds, with its 95 % interval.
        p_value: how often chance alone gives a ratio as far from 1.
        finding: what to make of it.
        rounds_needed: how many rounds would show a shift of the margin in 95 of 100 cases; told where it is unknown.
    """

    figure: str
    ratio: Positive
    low: Positive
    high: Positive
    p_value: float
    finding: Finding
    rounds_needed: int | None = None


class CompareReport(msgspec.Struct, frozen=True):
    """Two services compared.

    Attributes:
        margin: the relative shift that matters.
        doubts: what may have spoilt it.
        ended_at: when it ended, as 2026-01-31T12:00:00Z; empty in files that do not tell.
    """

    a: str
    b: str
    margin: Positive
    rounds: Sequence[Round]
    figures: Sequence[Compared]
    doubts: Sequence[str] = ()
    ended_at: str = ""
    schema: str = SCHEMA

    def figure(self, name: str) -> Compared:
        """The figure of that name."""
        return next(one for one in self.figures if one.figure == name)


def order(rounds: int) -> list[str]:
    """Which service comes first in each round."""
    return ["AB"[number % 2] for number in range(rounds)]


def values(report: LoadReport) -> dict[str, float]:
    """The figures of a run, of its good answers; 0 where there are none."""
    times = report.good
    return {"p50": times.p50_ms, "mean": times.mean_ms, "p90": times.p90_ms, "p99": times.p99_ms} | {
        "good": report.good_per_s
    }


def compared(rounds: Sequence[Round], margin: float) -> list[Compared]:
    """What the rounds say of each figure; figures that were 0 in a round are left out.

    Raises:
        ValueError: there are fewer than two rounds.
    """
    found = []
    for name, (more_is_better, _) in FIGURES.items():
        a, b = [one.a[name] for one in rounds], [one.b[name] for one in rounds]
        if min(a + b) > 0:
            found.append(_judged(name, compare_rounds(a, b, _SEED), margin, more_is_better))
    return found


def _judged(name: str, seen: Comparison, margin: float, more_is_better: bool) -> Compared:
    """A shift that is surely below the margin does not matter, however sure it is that there is one."""
    finding, needed = Finding.UNKNOWN, None
    if seen.interval.low >= 1 / (1 + margin) and seen.interval.high <= 1 + margin:
        finding = Finding.SAME
    elif seen.p_value <= 1 - CONFIDENCE:
        finding = Finding.BETTER if (seen.ratio > 1) == more_is_better else Finding.WORSE
    else:
        needed = max(seen.rounds + 1, rounds_needed(seen.deviation, margin))  # these rounds did not tell
    return Compared(name, seen.ratio, *seen.interval, seen.p_value, finding, needed)
