"""Thresholds of a run: `p99<100ms,errors<0.1%,recall>=0.9`. Pure."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from lightragctl.bench.result import PERCENTILES, LoadReport, bad_share, charged_ms, fewest
from lightragctl.core.errors import UsageError
from lightragctl.quality.stats import nearest_rank

_FORM = re.compile(r"\s*([a-z0-9.-]+)\s*(<=|>=|<|>)\s*([0-9.]+)\s*(ms|s|%|/s|)\s*")
_SCALE = {"": Fraction(1), "ms": Fraction(1), "s": Fraction(1000), "%": Fraction(1, 100), "/s": Fraction(1)}
"""To milliseconds, to a share, to answers a second: exactly, so that 0.7 % is 7 of 1000."""

QUALITY = ("recall", "ndcg", "relevant-recall", "mrr", "map")
"""Figures of how good the answers are, 0 to 1."""


def _quality(name: str) -> Callable[[LoadReport], float]:
    """The mean of a figure of quality; no number when it was not measured, which keeps to no threshold."""

    def mean(report: LoadReport) -> float:
        figure = getattr(report.quality, name, None)
        return math.nan if figure is None else float(figure.mean)

    return mean


def _percentile(quantile: float) -> Callable[[LoadReport], float]:
    """Of all requests, with failed ones infinitely slow: otherwise a service that refuses quickly looks fast.

    No number where there are too few requests to tell.
    """

    def seen(report: LoadReport) -> float:
        told = report.requests >= fewest(quantile)
        return charged_ms(report, nearest_rank(report.requests, quantile)) if told else math.nan

    return seen


_FIGURES: Mapping[str, tuple[str, Callable[[LoadReport], float]]] = {
    "mean": ("ms s", lambda report: report.good.mean_ms if report.good.count else math.nan),
    **{name: ("ms s", _percentile(quantile)) for name, quantile in PERCENTILES.items()},
    "max": ("ms s", lambda report: charged_ms(report, max(1, report.requests))),
    "errors": ("%", lambda report: bad_share(report.requests, report.outcomes.get("ok", 0))),
    "good": ("/s", lambda report: report.good_per_s),
    **{name: ("share %", _quality(name.replace("-", "_"))) for name in QUALITY},
}

_HOLDS: Mapping[str, Callable[[float, float], bool]] = {
    "<": lambda seen, wanted: seen < wanted,
    "<=": lambda seen, wanted: seen <= wanted,
    ">": lambda seen, wanted: seen > wanted,
    ">=": lambda seen, wanted: seen >= wanted,
}


@dataclass(frozen=True)
class Threshold:
    """A threshold. `wanted`: in milliseconds, as a share of the requests, or per second."""

    text: str
    figure: str
    relation: str
    wanted: float

    def holds(self, report: LoadReport) -> bool:
        """Whether a run meets it."""
        return self.admits(self.seen(report))

    def seen(self, report: LoadReport) -> float:
        """The value of a run in the unit of `wanted`; NaN when not measured."""
        return _FIGURES[self.figure][1](report)

    def admits(self, seen: float) -> bool:
        """Whether a value meets it."""
        return _HOLDS[self.relation](seen, self.wanted)


def parse(text: str) -> tuple[Threshold, ...]:
    """Parse comma-separated thresholds.

    Raises:
        UsageError: one of them is not understood.
    """
    return tuple(_one(part) for part in text.split(",") if part.strip())


def broken(thresholds: Sequence[Threshold], report: LoadReport) -> list[str]:
    """The thresholds that a run did not meet, as given."""
    return [one.text for one in thresholds if not one.holds(report)]


def _one(part: str) -> Threshold:
    found = _FORM.fullmatch(part)
    if found is None or found[1] not in _FIGURES or (found[4] or "share") not in _FIGURES[found[1]][0].split():
        figures = ", ".join(f"{name} ({units.replace(' ', ' or ')})" for name, (units, _) in _FIGURES.items())
        raise UsageError(f"'{part.strip()}' is not a threshold", f"use p99<100ms or errors<0.1%; metrics: {figures}")
    try:
        wanted = float(Fraction(found[3]) * _SCALE[found[4]])
    except ValueError as error:
        raise UsageError(f"'{found[3]}' in '{part.strip()}' is not a number", "use a form such as p99<100ms") from error
    return Threshold(part.strip(), found[1], found[2], wanted)
