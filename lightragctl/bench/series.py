"""Several runs one after the other: the search for the highest rate, and two services in turn. Starts processes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgspec

from lightragctl.bench import compare, saturate
from lightragctl.bench.compare import CompareReport, Round
from lightragctl.bench.plan import LoadPlan, WarmUp
from lightragctl.bench.result import LoadReport, generator_faults
from lightragctl.bench.run import Progress, run
from lightragctl.bench.saturate import Saturation, Step
from lightragctl.bench.schedule import Closed, Poisson
from lightragctl.bench.thresholds import Threshold

Judge = Callable[[LoadReport], LoadReport]
"""Adds to a report how good its answers were."""
Tell = Callable[[str], None]

PROBE_S = 3.0
"""Of the closed loop that tells where to begin: some thousand answers of a fast service, and one of a very slow one."""
PROBE_CONNECTIONS = 32
WARM_UP_S = 1.0
"""Before each step and round, at its own rate: its processes are new, and so are their connections."""


@dataclass(frozen=True)
class Search:
    """What is looked for.

    Attributes:
        slo: the thresholds; at least one.
        step_s: how long a rate is measured at least.
        first_qps: where to begin; None: near what a closed loop reaches.
        judge: for thresholds on quality.
    """

    slo: Sequence[Threshold]
    step_s: float = 10.0
    first_qps: float | None = None
    judge: Judge = lambda report: report


@dataclass(frozen=True)
class Watch:
    """How the user sees what goes on: half seconds of a run, and words between the runs."""

    progress: Progress
    tell: Tell


def find_saturation(plan: LoadPlan, search: Search, watch: Watch) -> Saturation:
    """The highest rate at which the target keeps to all thresholds.

    Args:
        plan: what is asked, and from how many processes; its shape is not used.
        search: the thresholds, and how they are looked for.
        watch: told of each step.
    """
    slo = search.slo
    begin_qps = search.first_qps or _probe(plan, watch) * saturate.FIRST_SHARE
    steps: list[Step] = []
    while (rate_qps := saturate.next_rate(steps, max(begin_qps, saturate.LOWEST_QPS))) is not None:
        seconds = saturate.duration_s(rate_qps, search.step_s)
        watch.tell(f"step {len(steps) + 1}: {rate_qps:.1f}/s for {seconds:.0f} s")
        shape, warm_up = Poisson(rate_qps, seconds), WarmUp(WARM_UP_S, fixed=True)
        one = msgspec.structs.replace(plan, shape=shape, warm_up=warm_up, seed=plan.seed + len(steps))
        report = run(one, watch.progress, saturate.hopeless(rate_qps, slo))
        if report.interrupted:
            return msgspec.structs.replace(_saturation(plan, slo, steps), interrupted=True)
        steps.append(saturate.judge_step(search.judge(report), rate_qps, slo))
        watch.tell(_told(steps[-1]))
    return _saturation(plan, slo, steps)


def _saturation(plan: LoadPlan, slo: Sequence[Threshold], steps: Sequence[Step]) -> Saturation:
    holds, fails = saturate.ends(steps)
    text = ",".join(one.text for one in slo)
    return Saturation(plan.target.url, plan.target.kind, text, holds, fails, steps, saturate.limits(steps))


def compare_two(a: LoadPlan, b: LoadPlan, rounds: int, margin: float, watch: Watch) -> CompareReport:
    """Both plans measured in turn, `rounds` times.

    Raises:
        UsageError, UnavailableError, WaitExpired: as `run` does.
        KeyboardInterrupt: the user stopped it before there were two rounds; later, what there is comes back.
    """
    plans = {"A": a, "B": b}
    seen: list[Round] = []
    doubts: dict[str, None] = {}
    for number, first in enumerate(compare.order(rounds), 1):
        reports = {}
        for name in first, "B" if first == "A" else "A":
            watch.tell(f"round {number} of {rounds}: {name}")
            warm_up = WarmUp(WARM_UP_S, fixed=True)
            reports[name] = run(msgspec.structs.replace(plans[name], warm_up=warm_up), watch.progress)
            doubts.update(dict.fromkeys(_doubts(name, reports[name])))
            if reports[name].interrupted:
                return _comparison(a, b, seen, margin, (*doubts, "it was interrupted"))
        seen.append(Round(first, compare.values(reports["A"]), compare.values(reports["B"])))
    return _comparison(a, b, seen, margin, tuple(doubts))


def _comparison(
    a: LoadPlan, b: LoadPlan, rounds: Sequence[Round], margin: float, doubts: Sequence[str]
) -> CompareReport:
    if len(rounds) < 2:
        raise KeyboardInterrupt
    return CompareReport(a.target.url, b.target.url, margin, rounds, compare.compared(rounds, margin), doubts)


def _probe(plan: LoadPlan, watch: Watch) -> float:
    """Answers a second of a closed loop."""
    watch.tell("a closed loop tells where to begin")
    connections = max(plan.workers, min(PROBE_CONNECTIONS, plan.connections))
    shape, warm_up = Closed(PROBE_S), WarmUp(WARM_UP_S, fixed=True)
    probe = msgspec.structs.replace(plan, shape=shape, connections=connections, warm_up=warm_up)
    return run(probe, watch.progress).good_per_s


def _told(step: Step) -> str:
    how = "held" if step.held else f"failed: {', '.join(step.broken)}"
    return f"{step.rate_qps:.1f}/s {how} (p99 {step.p99_ms:.1f} ms, {step.good_per_s:.1f} good answers a second)"


def _doubts(name: str, report: LoadReport) -> list[str]:
    bad = report.requests - report.outcomes.get("ok", 0)
    errors = [f"{name}: some requests failed"] if bad else []
    return errors + [f"{name}: {reason.split(':')[0].split(';')[0]}" for reason in generator_faults(report)]
