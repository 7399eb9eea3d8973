"""Saturation search: the next rate to measure, and the evaluation of a step. Pure.

    probe (closed loop) -> grow or shrink until one rate holds and one fails -> halve the gap -> repeat both ends

A rate holds or fails by the majority of its steps, so that one stutter of a busy machine does not decide.
"""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

import msgspec

from lightragctl.bench import schedule
from lightragctl.bench.result import PERCENTILES, LiveSample, LoadReport, Positive, charged_ms, fewest, generator_faults
from lightragctl.bench.thresholds import Threshold
from lightragctl.quality.stats import quantile_ranks

SCHEMA = "lightragctl-saturate/1"

TOLERANCE = 0.05
"""The search ends when the rate that fails is less than 5 % above the one that holds."""
FIRST_SHARE = 0.8
"""Of what a closed loop reached: a saturated service is never idle, so an open loop with limits
on its latency holds somewhat less."""
GROWTH = 1.25
SHRINKAGE = 0.8
"""To the rate that is tried next while only one end is known; from the third time on by the square of that factor."""
STEPS_MOST = 24
"""More would only come of a service that holds and fails by chance."""
LOWEST_QPS = 0.5
FELL_BEHIND = "queue grows"
BEHIND_SHARE = 0.05
BEHIND_DEVIATIONS = 3.0
"""A service falls behind, whatever its latencies are so far, if its open requests grow in the second half of a step by
more than this share of those due, and by more than `BEHIND_DEVIATIONS` of the random variation of a constant number
(Poisson). In the first half they may grow, until a slow service has reached its steady state."""
REPEATS = 2
"""How often each end of the interval is measured at least."""
STEP_REQUESTS = 1000
"""Ten of them lie above a p99. A slow rate is measured for longer, up to `STEP_MOST_S`."""
STEP_MOST_S = 60.0
STEP_LONGEST_S = 300.0
"""Maximum length of a step if a percentile of the thresholds needs it: eight steps then take forty minutes."""
FEWEST_DEVIATIONS = 3.0
"""Deviations by which the number of requests must exceed what the bound of a percentile needs."""
REFUSED = 100
"""A step is cut short after this number of answers of which none was good."""
QUEUE_MOMENTS = 4
"""Half seconds in a row for which the queue must have grown, and be longer than the latency that is allowed, before a
step is broken off: what waits now will be answered too late."""


class RateStep(msgspec.Struct, frozen=True):
    """One measurement of a rate.

    Attributes:
        rate_qps: requests per second that were sent.
        held: whether it met all thresholds.
        broken: thresholds that it did not meet, and other failures.
        believed: whether the generator kept up; otherwise a failure may be due to the generator.
        good_per_s, p99_ms: what it reached.
        seen: of each threshold, what was held against it: of a percentile the upper 95 % bound, in its threshold's
            unit; None where there was nothing to tell it by. Empty in files from before it was saved.
    """

    rate_qps: Positive
    held: bool
    broken: Sequence[str]
    believed: bool
    good_per_s: float
    p99_ms: float
    seen: Mapping[str, float | None] = {}


class Saturation(msgspec.Struct, frozen=True):
    """The result of a saturation search.

    Attributes:
        slo: the thresholds as given.
        holds_qps: the highest rate that met them; None when none did.
        fails_qps: the lowest rate above it that failed; None when none did.
        steps: all measurements, in order.
        limited: why the true rate may differ, and what helps; empty otherwise.
        interrupted: the user stopped the search.
        ended_at: when it ended, as 2026-01-31T12:00:00Z; empty when unknown.
    """

    url: str
    kind: str
    slo: str
    holds_qps: Positive | None
    fails_qps: Positive | None
    steps: Sequence[RateStep]
    limited: str = ""
    interrupted: bool = False
    ended_at: str = ""
    schema: str = SCHEMA


def judge_step(report: LoadReport, rate_qps: float, slo: Sequence[Threshold]) -> RateStep:
    """Whether a run at this rate met the thresholds.

    A percentile must keep to its threshold with its upper 95 % bound (an order statistic), so that a lucky step does
    not pass; the other figures by themselves.
    """
    seen = {one: _seen(one, report) for one in slo}
    broken = [one.text for one, value in seen.items() if not one.admits(value)]
    if _fell_behind(report, rate_qps):
        broken.append(FELL_BEHIND)
    return RateStep(
        rate_qps=rate_qps,
        held=not broken,
        broken=broken,
        believed=not generator_faults(report),
        good_per_s=report.good_per_s,
        p99_ms=report.latency.p99_ms,
        seen={one.text: value if math.isfinite(value) else None for one, value in seen.items()},
    )


def next_rate(steps: Sequence[RateStep], first_qps: float, lowest_qps: float = LOWEST_QPS) -> float | None:
    """The next rate to measure; None when the search is finished.

    Args:
        steps: what was measured so far.
        first_qps: where to begin.
        lowest_qps: lower ones are not measured.
    """
    if not steps:
        return first_qps
    holds, fails = ends(steps)
    undecided = [rate for rate, totals in _tallies(steps).items() if totals[True] == totals[False]]
    if len(steps) >= STEPS_MOST:
        return None
    if undecided:
        return undecided[0]
    if holds is None:
        assert fails is not None
        if sum(not step.good_per_s for step in steps) >= REPEATS:  # a service that answers nothing is not only slow
            return None
        lower = fails * SHRINKAGE ** max(1, len(_tallies(steps)) - 1)
        return lower if lower >= lowest_qps else None
    if fails is None:
        return holds * GROWTH ** max(1, len(_tallies(steps)) - 1)
    if fails > holds * (1 + TOLERANCE):
        return math.sqrt(holds * fails)
    counts = Counter(step.rate_qps for step in steps)
    return next((rate for rate in (holds, fails) if counts[rate] < REPEATS), None)


def ends(steps: Sequence[RateStep]) -> tuple[float | None, float | None]:
    """The highest rate that passes below the lowest that fails, and the latter; None if unknown."""
    tallies = _tallies(steps)
    failing = [rate for rate, totals in tallies.items() if totals[False] > totals[True]]
    fails = min(failing, default=None)
    holding = [rate for rate, totals in tallies.items() if totals[True] > totals[False]]
    return max((rate for rate in holding if fails is None or rate < fails), default=None), fails


def duration_s(rate_qps: float, step_s: float, slo: Sequence[Threshold] = ()) -> float:
    """The duration of a step, so that its thresholds can be evaluated; at least `step_s`."""
    return max(step_s, min(STEP_MOST_S, STEP_REQUESTS / rate_qps), _needed(slo) / rate_qps)


def lowest_qps(step_s: float, slo: Sequence[Threshold]) -> float:
    """The lowest rate that can be evaluated: at lower ones even the longest step has too few requests."""
    return max(LOWEST_QPS, _needed(slo) / max(step_s, STEP_LONGEST_S))


def _needed(slo: Sequence[Threshold]) -> float:
    """How many requests are to be sent, on average, so that each percentile very likely has an upper bound."""
    quantiles = [PERCENTILES[one.figure] for one in slo if _is_bounded(one)]
    bound = max(map(fewest, quantiles), default=0)
    return bound + FEWEST_DEVIATIONS * math.sqrt(bound)


def hopeless(rate_qps: float, slo: Sequence[Threshold]) -> Callable[[LiveSample], bool]:
    """A callback that ends a step early when it cannot pass any more."""
    allowed_ms = min((one.wanted for one in slo if _is_bounded(one)), default=0)
    outstanding: list[int] = []

    def seen(sample: LiveSample) -> bool:
        outstanding.append(sample.under_way + sample.waiting)
        last = outstanding[-QUEUE_MOMENTS - 1 :]
        grown = len(last) > QUEUE_MOMENTS and all(one < other for one, other in pairwise(last))
        refused = sample.answered >= REFUSED and not sample.ok
        return refused or (bool(allowed_ms) and grown and last[-1] / rate_qps * 1000 > 2 * allowed_ms)

    return seen


def limits(steps: Sequence[RateStep], lowest_qps: float = LOWEST_QPS) -> str:
    """Why the result may be wrong, and what helps; empty otherwise.

    Args:
        steps: all of them.
        lowest_qps: as for `next_rate`.
    """
    holds, fails = ends(steps)
    doubted = [step for step in steps if step.rate_qps == fails and not step.held and not step.believed]
    if doubted and len(doubted) == sum(step.rate_qps == fails and not step.held for step in steps):
        reason = "at the failing rate the generator was late or out of CPU: the service may sustain more"
        return f"{reason}; use more --workers, or a separate machine for the load"
    if len(steps) >= STEPS_MOST:
        return f"{STEPS_MOST} steps were inconclusive: the service passes and fails at random"
    if holds is None and lowest_qps > LOWEST_QPS and any(step.good_per_s for step in steps):
        reason = f"no rate from {lowest_qps:.1f}/s passed, and lower ones have too few requests for a percentile"
        return f"{reason}; use a longer --step, or a lower percentile such as p95"
    return ""


def _tallies(steps: Sequence[RateStep]) -> dict[float, Counter[bool]]:
    tallies: dict[float, Counter[bool]] = {}
    for step in steps:
        tallies.setdefault(step.rate_qps, Counter())[step.held] += 1
    return tallies


def _is_bounded(one: Threshold) -> bool:
    """Whether the threshold applies to the upper bound of a percentile."""
    return one.figure in PERCENTILES and one.relation in ("<", "<=")


def _seen(one: Threshold, report: LoadReport) -> float:
    """The value to compare with a threshold; an upper bound is infinite with too few requests."""
    if not _is_bounded(one):
        return one.seen(report)
    rank = quantile_ranks(report.requests, PERCENTILES[one.figure]).upper
    return math.inf if rank is None else charged_ms(report, rank)


def _fell_behind(report: LoadReport, rate_qps: float) -> bool:
    """Whether the queue grows without bound; always so in a step that was ended early."""
    if report.duration_s < schedule.duration_s(report.shape):
        return bool(report.good.count)
    whole = [second for second in report.seconds if second.number < math.floor(report.duration_s)]
    if not whole:
        return False
    middle, last = whole[(len(whole) - 1) // 2], whole[-1]
    before, after = middle.under_way + middle.waiting, last.under_way + last.waiting
    due = rate_qps * (last.number - middle.number)
    return after - before > max(BEHIND_SHARE * due, BEHIND_DEVIATIONS * math.sqrt(before + after))
