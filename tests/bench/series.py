"""What `bench saturate` and `bench compare` find of what is known: a server's capacity, and shifts of latency."""

import sys
import time
from collections import Counter

import numpy as np

from lightragctl.bench.compare import ComparisonResult, Round, compared
from lightragctl.bench.experiments import Observer, SaturationSearch, compare_two, find_saturation
from lightragctl.bench.histogram import Histogram
from lightragctl.bench.plan import LoadPlan, WarmUp
from lightragctl.bench.result import LoadReport
from lightragctl.bench.run import run
from lightragctl.bench.saturate import judge_step
from lightragctl.bench.schedule import Closed, Poisson
from lightragctl.bench.targets import Target
from lightragctl.bench.thresholds import parse
from tests.bench.load import serving

CAPACITY_PER_S = 2000.0
"""High enough that chance decides little: in 10 s the queue of a server that is just full wanders by 0.07 s."""
SLO = parse("p99<100ms,errors<0.1%")
STEP_S, SCAN_STEP = 10.0, 0.05
PAIRS, ROUNDS, ROUND_S = 10, 8, 1.0
DELAY_S, SHIFT = 0.020, 1.05
TRIALS, ANSWERS = 1000, 2000
SILENT = Observer(lambda _: None, lambda words: print(f"  {words}", file=sys.stderr))


def main() -> None:
    """Print what was found."""
    saturation()
    comparison()


def plan(url: str) -> LoadPlan:
    """Questions for a server that answers all alike."""
    return LoadPlan(Target(url), [f"question {n}" for n in range(100)], Closed(ROUND_S), 16, spin=False)


def saturation() -> None:
    """The search beside a scan of rates in steps of 5 %, from a fifth of the capacity to two failures in a row."""
    with serving({"capacity_per_s": CAPACITY_PER_S}) as url:
        many = LoadPlan(Target(url), ["question"], Closed(1), 512, spin=False)
        begin_s = time.monotonic()
        found = find_saturation(many, SaturationSearch(SLO, STEP_S), SILENT)
        search_s = time.monotonic() - begin_s
        begin_s, best_qps, failed, rate_qps = time.monotonic(), 0.0, 0, CAPACITY_PER_S / 5
        while failed < 2:
            held = _holds(many, rate_qps)
            best_qps, failed = (rate_qps, 0) if held else (best_qps, failed + 1)
            rate_qps += CAPACITY_PER_S * SCAN_STEP
        scan_s = time.monotonic() - begin_s
    print(f"a server that answers {CAPACITY_PER_S:.0f}/s, one after the other; {found.slo}")
    print(f"search: holds {found.holds_qps:.1f}/s, fails {found.fails_qps:.1f}/s; {search_s:.0f} s")
    print(f"scan:   holds {best_qps:.1f}/s, {scan_s:.0f} s; time of the search / of the scan: {search_s / scan_s:.2f}")


def _holds(many: LoadPlan, rate_qps: float) -> bool:
    import msgspec

    shape, warm_up = Poisson(rate_qps, STEP_S), WarmUp(1, fixed=True)
    return judge_step(
        run(msgspec.structs.replace(many, shape=shape, warm_up=warm_up), lambda _: None), rate_qps, SLO
    ).held


def comparison() -> None:
    """Real pairs of equal servers and of servers 5 % apart, and simulated ones of what the real ones recorded."""
    recorded: list[Round] = []
    for name, shift in (("equal", 1.0), (f"B slower by {SHIFT - 1:.0%}", SHIFT)):
        told: Counter[str] = Counter()
        with serving({"delay_s": DELAY_S}) as a, serving({"delay_s": DELAY_S * shift}) as b:
            for _ in range(PAIRS):
                report = compare_two(plan(a), plan(b), ROUNDS, SHIFT - 1, SILENT)
                told[str(report.figure("p50").finding)] += 1
                recorded += report.rounds if shift == 1.0 else []
        print(f"{PAIRS} real pairs, {name}: {dict(told)}")
    latencies = _recorded()
    for name, shift in (("equal", 1.0), (f"B slower by {SHIFT - 1:.0%}", SHIFT)):
        seen = _simulated(latencies, shift)
        print(f"{TRIALS} simulated pairs, {name}: a difference was told in {seen:.1%}")


def _recorded() -> list[np.ndarray]:  # type: ignore[type-arg]
    """Latencies of runs one after the other, in milliseconds, so with what drifted meanwhile."""
    reports: list[LoadReport] = []
    with serving({"delay_s": DELAY_S}) as url:
        import msgspec

        for _ in range(2 * ROUNDS):
            reports.append(run(msgspec.structs.replace(plan(url), warm_up=WarmUp(0.5, fixed=True)), lambda _: None))
    return [_samples(report) for report in reports]


def _samples(report: LoadReport) -> np.ndarray:  # type: ignore[type-arg]
    histogram = Histogram.decode(report.latency.histogram)
    return np.array(histogram.percentiles_ms([float(percent) for percent in np.linspace(0.05, 99.95, 1000)]))


def _simulated(latencies: list[np.ndarray], shift: float) -> float:  # type: ignore[type-arg]
    random, told = np.random.default_rng(1), 0
    for _ in range(TRIALS):
        rounds = []
        for number in range(ROUNDS):
            source = latencies[random.integers(len(latencies))]  # what the machine was like in this round
            a, b = (float(np.median(random.choice(source, ANSWERS))) for _ in "AB")
            rounds.append(Round("AB"[number % 2], _figures(a), _figures(b * shift)))
        told += compared(rounds, SHIFT - 1)[0].finding in (ComparisonResult.BETTER, ComparisonResult.WORSE)
    return told / TRIALS


def _figures(p50: float) -> dict[str, float]:
    return dict.fromkeys(("p50", "mean", "p90", "p99", "good"), p50)
