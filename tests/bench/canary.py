"""False alarms and power of the gates of `upgrade --canary`, simulated from recorded latencies."""

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from lightragctl.service.metrics import REQUEST_BOUNDS_S
from lightragctl.upgrade.gate import BUILT_IN, Rule
from lightragctl.upgrade.gates import LOOK_S, Judgement, Verdict, Watch, judge, look
from lightragctl.upgrade.golden_gate import judge_answers
from lightragctl.upgrade.samples import Flow, Interval

SHARES = np.array([0, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999, 0.9999, 1])
QUANTILES_MS = np.array(
    [0.1, 1.87, 2.38, 2.77, 4.03, 8.81, 41.7, 226, 390, 695, 820, 1118, 1299, 1325, 1331]
)  # of lightrag-api: 6,000 requests at 100 requests/s on two cores that others used too, embedding cache 95 %
BOUNDS = np.array(REQUEST_BOUNDS_S)
PODS = 3
ANSWERS = [one for one in BUILT_IN if one.rule is Rule.ANSWERS]


@dataclass(frozen=True)
class World:
    """A simulated canary beside `PODS` stable pods.

    Attributes:
        rate: requests per second to all pods.
        wobble: standard deviation of the logarithm by which each pod is slower or faster for some time.
        common: the same for all pods at once: the backend.
        memory: correlation of both from one look to the next.
        bursts: share of looks at which errors come, all at once, to every pod alike.
        slower: factor of the canary's latencies.
        worse: added to the canary's error rate.
        errors: of every pod.
    """

    rate: float = 500.0
    wobble: float = 0.0
    common: float = 0.0
    memory: float = 0.0
    bursts: float = 0.0
    slower: float = 1.0
    worse: float = 0.0
    errors: float = 0.001


def flows(world: World, looks: int, random: np.random.Generator) -> Iterator[Interval]:
    """The looks of one canary."""
    state = np.zeros(PODS + 2)
    for at in range(looks):
        fresh = random.standard_normal(PODS + 2)
        state = world.memory * state + np.sqrt(1 - world.memory**2) * fresh
        burst = 0.05 if random.random() < world.bursts else 0.0
        made = []
        for pod in range(PODS + 1):
            factor = np.exp(world.wobble * state[pod] + world.common * state[-1])
            factor *= world.slower if pod == 0 else 1.0
            wrong = world.errors + burst + (world.worse if pod == 0 else 0.0)
            made.append(_pod(random.poisson(world.rate * LOOK_S / (PODS + 1)), factor, wrong, random))
        stable = made[1:]
        both = {bound: sum(one.slower[bound] for one in stable) for bound in REQUEST_BOUNDS_S}
        total = {name: sum(getattr(one, name) for one in stable) for name in ("requests", "errors", "seconds")}
        track = Flow(PODS, PODS, PODS, slower=both, cpu=0.5, memory=0.5, **total)
        yield Interval((at + 1) * LOOK_S, LOOK_S, made[0], track)


def _pod(requests: int, factor: float, wrong: float, random: np.random.Generator) -> Flow:
    seconds = np.interp(random.random(requests), SHARES, QUANTILES_MS) * factor / 1000
    above = requests - np.searchsorted(np.sort(seconds), BOUNDS, side="right")
    errors = float(random.binomial(requests, min(1.0, wrong)))
    return Flow(
        1, 1, 1, requests=float(requests), errors=errors, seconds=float(seconds.sum()),
        slower=dict(zip(REQUEST_BOUNDS_S, map(float, above), strict=True)), cpu=0.5, memory=0.5,
    )  # fmt: skip


def end_of(world: World, looks: int, seed: int) -> tuple[float, str, list[str]]:
    """Seconds until a gate failed, and which (empty: none); the gates without a verdict in the end."""
    watch, judged = Watch(), []
    for number, seen in enumerate(flows(world, looks, np.random.default_rng(seed)), 1):
        watch = look(watch, seen, BUILT_IN)
        judged = judge(watch, BUILT_IN, looks)
        if failed := first_failed(judged):
            return number * LOOK_S, failed.gate, []
    return looks * LOOK_S, "", [one.gate for one in judged if one.verdict is not Verdict.PASSED]


def first_failed(judgements: list[Judgement]) -> Judgement | None:
    """The first verdict that stops the upgrade at once."""
    return next((one for one in judgements if one.verdict is Verdict.FAILED), None)


ROUGH = {"wobble": 0.05, "common": 0.3, "memory": 0.7, "bursts": 0.02}
"""Each pod drifts by 5 %, all together by 30 %, for about 15 s; at one look in 50 the backend fails 5 % of requests."""


def canaries(name: str, world: World, count: int, minutes: float) -> None:
    """Print how many of the canaries were stopped, and how many had a gate without a verdict in the end."""
    looks = int(minutes * 60 / LOOK_S)
    found = [end_of(world, looks, seed) for seed in range(count)]
    hits = [one for one in found if one[1]]
    gates = sorted({gate for _, gate, _ in hits})
    median = f"{np.median([seconds for seconds, _, _ in hits]):.0f} s" if hits else "-"
    undecided = sum(bool(names) for _, _, names in found)
    print(f"{name:<58} {len(hits):>4} of {count:<4} {median:>7} {undecided:>6}  {', '.join(gates)}", flush=True)


def answers(name: str, loss: float, count: int, queries: int, spread: float) -> None:
    """Print how many upgrades did not pass the gate of recall."""
    random = np.random.default_rng(1)
    stops = 0
    for _ in range(count):
        stable = np.clip(random.normal(0.95, 0.05, queries), 0, 1)
        changed = random.random(queries) < spread
        canary = np.clip(stable - np.where(changed, random.normal(loss / max(spread, 1e-9), 0.1, queries), 0.0), 0, 1)
        overlap = [1.0] * queries
        found = judge_answers(ANSWERS, list(stable), list(canary), overlap)
        stops += any(one.verdict is not Verdict.PASSED for one in found)
    print(f"{name:<58} {stops:>4} of {count:<4}")


def main() -> None:
    """Print the table of docs/performance.md."""
    begin = time.monotonic()
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--count", type=int, default=200)
    count = parser.parse_known_args()[0].count
    print(f"{'500 requests/s, 3 stable pods':<58} stopped      median  open  by")
    canaries("identical, 30 minutes", World(), count, 30)
    canaries("identical, pods and backend drift, 30 minutes", World(**ROUGH), count, 30)
    canaries("identical, 20 requests/s, drift, 30 minutes", World(20.0, **ROUGH), count, 30)
    canaries("latencies + 20 %, 5 minutes", World(slower=1.2), count, 5)
    canaries("latencies + 20 %, drift, 5 minutes", World(slower=1.2, **ROUGH), count, 5)
    canaries("errors + 1 pp, 5 minutes", World(worse=0.01), count, 5)
    canaries("errors + 1 pp, drift, 5 minutes", World(worse=0.01, **ROUGH), count, 5)
    canaries("errors + 25 pp, 5 minutes", World(worse=0.25), count, 5)
    answers("recall, identical, 100 queries", 0.0, count, 100, 0.0)
    answers("recall - 5 pp, 100 queries, half of them lose", 0.05, count, 100, 0.5)
    answers("recall - 5 pp, 200 queries, each fifth loses", 0.05, count, 200, 0.2)
    print(f"in {time.monotonic() - begin:.0f} s")
