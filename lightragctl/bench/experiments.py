"""Experiments of several runs: saturation search and A/B comparison. Starts processes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from lightragctl.bench import compare, saturate
from lightragctl.bench.bad_answers import words
from lightragctl.bench.compare import CompareReport, Round
from lightragctl.bench.plan import LoadPlan, WarmUp, repeated
from lightragctl.bench.result import LoadReport, generator_faults
from lightragctl.bench.run import OnSample, StopEarly, run
from lightragctl.bench.saturate import RateStep, Saturation
from lightragctl.bench.schedule import Closed, Poisson
from lightragctl.bench.thresholds import Threshold
from lightragctl.bench.worker_protocol import QuestionCursor
from lightragctl.core.errors import LightragctlError, UsageError
from lightragctl.core.hint import Command, Hint

JudgeReport = Callable[[LoadReport], LoadReport]
"""Adds the answer quality to a report."""
NotifyText = Callable[[str], None]
Measure = Callable[[LoadPlan, OnSample, StopEarly], LoadReport]
"""Measures one run, as `run` does."""

PROBE_S = 3.0
"""Duration of the probe: thousands of answers of a fast service, and one of a very slow one."""
PROBE_CONNECTIONS = 32
WARM_UP_S = 1.0
"""Before each step and round, at its own rate: its processes are new, and so are their connections."""


@dataclass(frozen=True)
class SaturationSearch:
    """Parameters of a saturation search.

    Attributes:
        slo: the thresholds; at least one.
        step_s: how long a rate is measured at least.
        first_qps: where to begin; None: near what a closed loop reaches.
        judge: for thresholds on quality.
    """

    slo: Sequence[Threshold]
    step_s: float = 10.0
    first_qps: float | None = None
    judge: JudgeReport = lambda report: report


@dataclass(frozen=True)
class Observer:
    """Callbacks of an experiment: samples of a run, messages between runs, and the function that runs one."""

    progress: OnSample
    tell: NotifyText
    measure: Measure = run


def find_saturation(plan: LoadPlan, search: SaturationSearch, watch: Observer) -> Saturation:
    """Find the highest rate at which the target meets all thresholds; partial when interrupted.

    Args:
        plan: target, questions and workers; its shape is not used.
        search: the thresholds, and how they are looked for.
        watch: called with each step.

    Raises:
        UsageError: at so slow a first rate the thresholds cannot be decided, or as `run` does.
        UnavailableError, WaitExpired, LightragctlError, KeyboardInterrupt: before the end of the first step.
    """
    slo, lowest_qps = search.slo, saturate.lowest_qps(search.step_s, search.slo)
    if search.first_qps is not None and search.first_qps < lowest_qps:
        message = f"at {search.first_qps:g}/s a step has too few requests for a percentile of the thresholds"
        raise UsageError(message, f"use --from {lowest_qps:.2f} or more, a longer --step or a lower percentile")
    steps: list[RateStep] = []
    runs = _RunSeries(watch)
    cut = _cut_short(lambda: _search(plan, search, runs, steps), lambda: bool(steps))
    holds, fails = saturate.ends(steps)
    limits = (_early(cut) or saturate.limits(steps, lowest_qps), repeated(plan, runs.place))
    return Saturation(
        url=plan.target.shown,
        kind=plan.target.kind,
        slo=",".join(one.text for one in slo),
        holds_qps=holds,
        fails_qps=fails,
        steps=steps,
        limited="; ".join(filter(None, limits)),
        interrupted=isinstance(cut, KeyboardInterrupt),
    )


class _RunSeries:
    """The runs of an experiment. Distinct questions continue where the previous run ended.

    Attributes:
        place: the position in the list of questions.
    """

    def __init__(self, watch: Observer) -> None:
        self.tell = watch.tell
        self.place = QuestionCursor()
        self._watch = watch

    def measure(self, plan: LoadPlan, enough: StopEarly = lambda _: False, **changes: Any) -> LoadReport:
        """One run of a modified plan; an interrupted run ends the experiment."""
        place = self.place if plan.distinct else plan.place
        warm_up = WarmUp(WARM_UP_S, fixed=True)
        one = msgspec.structs.replace(plan, warm_up=warm_up, place=place, **changes)
        report = self._watch.measure(one, self._watch.progress, enough)
        self.place = report.place
        if report.interrupted:
            raise KeyboardInterrupt
        return report


def _search(plan: LoadPlan, search: SaturationSearch, runs: _RunSeries, steps: list[RateStep]) -> None:
    """Add steps until the search ends."""
    lowest_qps = saturate.lowest_qps(search.step_s, search.slo)
    begin_qps = max(lowest_qps, search.first_qps or _probe(plan, runs) * saturate.FIRST_SHARE)
    while (rate_qps := saturate.next_rate(steps, begin_qps, lowest_qps)) is not None:
        seconds = saturate.duration_s(rate_qps, search.step_s, search.slo)
        runs.tell(f"step {len(steps) + 1}: {rate_qps:.1f}/s for {seconds:.0f} s")
        enough = saturate.hopeless(rate_qps, search.slo)
        report = runs.measure(plan, enough, shape=Poisson(rate_qps, seconds), seed=plan.seed + len(steps))
        steps.append(saturate.judge_step(search.judge(report), rate_qps, search.slo))
        runs.tell(_told(steps[-1]))


def compare_two(a: LoadPlan, b: LoadPlan, rounds: int, margin: float, watch: Observer) -> CompareReport:
    """Measure both plans in alternation, `rounds` times; partial when interrupted.

    Raises:
        UsageError: as `run` does.
        UnavailableError, WaitExpired, LightragctlError, KeyboardInterrupt: before there were two rounds.
    """
    plans = {"A": a, "B": b}
    seen: list[Round] = []
    doubts: dict[str, None] = {}
    runs = _RunSeries(watch)

    def measure() -> None:
        for number, first in enumerate(compare.order(rounds), 1):
            reports = {}
            for name in first, "B" if first == "A" else "A":
                watch.tell(f"round {number} of {rounds}: {name}")
                reports[name] = runs.measure(plans[name])
                doubts.update(dict.fromkeys(_doubts(name, reports[name])))
            seen.append(compare.round_of(first, reports["A"], reports["B"]))

    cut = _cut_short(measure, lambda: len(seen) >= 2)
    early = "interrupted" if isinstance(cut, KeyboardInterrupt) else _early(cut)
    told = [*doubts, *filter(None, [repeated(a, runs.place), early])]
    return compare.report((a.target.shown, b.target.shown), seen, margin, doubts=told, cut_short=bool(early))


def _cut_short(series: Callable[[], None], is_any: Callable[[], bool]) -> BaseException | None:
    """Run an experiment; the exception that ended it early, raised when there are no results yet."""
    try:
        series()
    except (KeyboardInterrupt, LightragctlError) as cut:
        if not is_any():
            raise
        return cut
    return None


def _early(cut: BaseException | None) -> str:
    return f"ended early: {cut.message}" if isinstance(cut, LightragctlError) else ""


def _probe(plan: LoadPlan, runs: _RunSeries) -> float:
    """Answers a second of a closed loop; of a service that needs longer than the loop lasts, as many as they would be.

    Raises:
        LightragctlError: none was good.
    """
    runs.tell("probing with a closed loop for the first rate")
    connections = max(plan.workers, min(PROBE_CONNECTIONS, plan.connections))
    report = runs.measure(plan, shape=Closed(PROBE_S), connections=connections)
    if not report.good.count:
        ends = ", ".join(f"{name} {count}" for name, count in report.outcomes.items())
        answers = "; ".join((ends, *map(words, report.bad_answers)))
        raise LightragctlError(f"all requests failed: {answers}", Hint("see: ", Command("bench run")))
    return report.good_per_s or connections / report.good.mean_ms * 1000


def _told(step: RateStep) -> str:
    how = "passed" if step.held else f"failed: {', '.join(step.broken)}"
    return f"{step.rate_qps:.1f}/s {how} (p99 {step.p99_ms:.1f} ms, {step.good_per_s:.1f} good answers per second)"


def _doubts(name: str, report: LoadReport) -> list[str]:
    bad = report.requests - report.outcomes.get("ok", 0)
    errors = [f"{name}: some requests failed"] if bad else []
    return errors + [f"{name}: {reason.split(':')[0].split(';')[0]}" for reason in generator_faults(report)]
