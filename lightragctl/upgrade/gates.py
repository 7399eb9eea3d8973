"""Gates: the conditions that a canary must meet, as data, and their verdicts. Pure.

Each look at the pods adds one interval to the state of each gate; a verdict is read from the state at any time. A gate
that compares has two thresholds: it fails once the canary is shown to be above its limit, and passes if at the end the
canary is shown to be below limit and tolerance together. Between them it is undecided, and so it is without data.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from lightragctl.upgrade.samples import Flow, Interval, joined, quantile, share_above
from lightragctl.upgrade.sequential import LEAST_FINAL_BLOCKS, Sums, final_upper_bound, lower_bound

FALSE_ALARMS = 0.01
"""The probability that any gate fails on an identical version, over a whole watch."""
PASS_CONFIDENCE = 0.975
"""Of a gate that passes. It is asked twice at most, at the end of the observation and of its extension; so a canary
above limit and tolerance together passes in less than 5 % of cases."""
LOOK_S, _SHORTEST_LOOK_S, _LOOKS = 5.0, 2.0, 30
"""Between two samples of the pods, in seconds; less where that gives fewer looks than this many."""
_DISASTER_SHARE, _DISASTER_REQUESTS, _DISASTER_LOOKS = 0.2, 30, 3
_SLOW_SHARE = 0.01
"""A request is slow when it takes longer than the p99 of the stable pods in the same block, so that what slows all pods
at once, such as the backend, cancels out."""


class Verdict(StrEnum):
    """What a gate says. `no-data`: it has less than its minimum; `undecided`: it has that, and cannot tell yet."""

    PASSED = "passed"
    FAILED = "failed"
    UNDECIDED = "undecided"
    NO_DATA = "no-data"


UNSETTLED = frozenset({Verdict.UNDECIDED, Verdict.NO_DATA})
"""Verdicts that are no pass."""


class Rule(StrEnum):
    """How a gate judges.

    `compared`: the mean of a measure on the canary against `ratio` times that of the stable pods at the same time plus
    `limit`; a ratio of 0 makes it absolute. `sustained`: a measure stays above the limit for some time. `available`:
    the share of looks at which all of the canary's pods were ready. `restarts`: any restart fails.
    """

    COMPARED = "compared"
    SUSTAINED = "sustained"
    AVAILABLE = "available"
    RESTARTS = "restarts"


Measure = Callable[[Flow, Flow], tuple[float, float]]
"""The measure on the canary and on the stable pods, given what each did in a block."""


@dataclass(frozen=True)
class Gate:
    """One gate.

    Attributes:
        name: stable for scripts.
        title: for a person.
        rule: how it judges.
        limit: of the rule, in the measure's unit.
        ratio: of `compared`.
        tolerance: of `compared`: it passes when the canary is shown to be less than this above its limit.
        measure: of `compared`.
        block: requests that each side needs in a block.
        least: requests to the canary (`compared`) or looks (others) below which it has no data.
        for_s: of `sustained`.
        unit: of figures: `%` for shares, `ms` for seconds, or empty.
    """

    name: str
    title: str
    rule: Rule
    limit: float
    ratio: float = 0.0
    tolerance: float = 0.0
    measure: Measure | None = None
    block: int = 20
    least: int = 300
    for_s: float = 0.0
    unit: str = "%"


@dataclass(frozen=True)
class GateState:
    """What a gate knows after some looks; small and serialisable.

    Attributes:
        sums: of the differences.
        pending: what both tracks did in the block that is not complete yet.
        canary, stable: means of the measure so far, weighted by requests.
        requests, base: of the canary and the stable pods in complete blocks.
        looks, hits: of the other rules: looks, and those that count.
        since_s: `sustained`: since when the limit is exceeded; 0: it is not.
        longest_s: `sustained`: the longest time.
        shared: `sustained`: the stable pods exceed it too.
    """

    sums: Sums = field(default_factory=Sums)
    pending: tuple[Flow, Flow] = (Flow(), Flow())
    canary: float = 0.0
    stable: float = 0.0
    requests: float = 0.0
    base: float = 0.0
    looks: int = 0
    hits: int = 0
    since_s: float = 0.0
    longest_s: float = 0.0
    shared: bool = False


@dataclass(frozen=True)
class Judgement:
    """The verdict of a gate with what it rests on.

    Attributes:
        canary, stable: the measure on both; None where it has none.
        bound: the canary is more than this above its limit, with the confidence of the gate at every look.
        upper: and less than this, with the confidence of a pass at this look.
        samples: requests to the canary, or looks.
    """

    gate: str
    verdict: Verdict
    reason: str
    canary: float | None = None
    stable: float | None = None
    bound: float | None = None
    upper: float | None = None
    samples: float = 0.0


def look_seconds(observe_s: float) -> float:
    """Between two looks of a watch of this length."""
    return max(_SHORTEST_LOOK_S, min(LOOK_S, observe_s / _LOOKS))


def _per_request(name: str) -> Measure:
    """The mean of a figure for each request."""

    def measure(canary: Flow, stable: Flow) -> tuple[float, float]:
        ours, theirs = (getattr(flow, name) / flow.requests for flow in (canary, stable))
        return ours, theirs

    return measure


def _slow(canary: Flow, stable: Flow) -> tuple[float, float]:
    return share_above(canary, quantile(stable, _SLOW_SHARE)), _SLOW_SHARE


def _queue(canary: Flow, stable: Flow) -> tuple[float, float]:
    return canary.queue, stable.queue


GATES = (
    Gate("errors", "error rate", Rule.COMPARED, 0.005, 1.0, 0.005, _per_request("errors")),
    Gate("refused", "share of requests refused with 4xx", Rule.COMPARED, 0.02, 1.0, 0.02, _per_request("refused")),
    Gate("slow", "share of requests slower than the stable p99", Rule.COMPARED, 0.0005, 1.15, 0.015, _slow, 100, 1000),
    Gate("mean", "mean latency, compared", Rule.COMPARED, 0.002, 1.15, 0.01, _per_request("seconds"), unit="ms"),
    Gate("mean-absolute", "mean latency", Rule.COMPARED, 0.5, 0.0, 0.5, _per_request("seconds"), unit="ms"),
    Gate("shed", "share of rejected requests", Rule.COMPARED, 0.005, 1.0, 0.005, _per_request("shed")),
    Gate("queue", "queued items", Rule.COMPARED, 8.0, 2.0, 8.0, _queue, unit=""),
    Gate("cpu", "CPU, share of the limit", Rule.SUSTAINED, 0.85, least=1, for_s=300.0),
    Gate("memory", "memory, share of the limit", Rule.SUSTAINED, 0.85, least=1, for_s=300.0),
    Gate("ready", "canary pods ready", Rule.AVAILABLE, 0.95, least=12),
    Gate("restarts", "restarts of the canary", Rule.RESTARTS, 0.0, least=1, unit=""),
)
"""The built-in gates. Those that compare share `FALSE_ALARMS` between them."""

COMPARED = tuple(one for one in GATES if one.rule is Rule.COMPARED)
_SHARES = frozenset({"errors", "refused", "slow", "shed"})


@dataclass(frozen=True)
class Watch:
    """The states of all gates of a component, and the last looks, for a disaster.

    Attributes:
        latest: requests and errors of the canary at the last looks.
    """

    states: Mapping[str, GateState] = field(default_factory=dict)
    latest: tuple[tuple[float, float], ...] = ()


def look(watch: Watch, seen: Interval, warming_up: bool = False) -> Watch:
    """The states after one more interval.

    Args:
        watch: before it.
        seen: the interval.
        warming_up: the canary has just started: what compares it with the stable pods does not count yet.
    """
    states = dict(watch.states)
    for gate in GATES:
        if not (warming_up and gate.rule is Rule.COMPARED):
            states[gate.name] = _advanced(gate, states.get(gate.name, GateState()), seen)
    latest = (*watch.latest, (seen.canary.requests, seen.canary.errors))[-_DISASTER_LOOKS:]
    return Watch(states, latest)


def judge(watch: Watch, planned_looks: int, components: int = 1) -> list[Judgement]:
    """The verdicts, in the order of `GATES`, after the one of a disaster if there is one.

    Args:
        watch: of the component.
        planned_looks: of the whole watch.
        components: that are watched at once; they share the false alarms.
    """
    alpha = FALSE_ALARMS / len(COMPARED) / components
    found = [_judged(gate, watch.states.get(gate.name, GateState()), alpha, planned_looks) for gate in GATES]
    return [*_disaster(watch), *found]


def _disaster(watch: Watch) -> list[Judgement]:
    requests, errors = (sum(one[at] for one in watch.latest) for at in (0, 1))
    if requests < _DISASTER_REQUESTS or errors <= _DISASTER_SHARE * requests:
        return []
    reason = f"{errors:.0f} of the last {requests:.0f} requests to the canary failed"
    return [Judgement("disaster", Verdict.FAILED, reason, errors / requests, samples=requests)]


def _advanced(gate: Gate, state: GateState, seen: Interval) -> GateState:
    match gate.rule:
        case Rule.COMPARED:
            return _compared(gate, state, seen)
        case Rule.SUSTAINED:
            return _sustained(gate, state, seen)
        case Rule.AVAILABLE:
            if not seen.canary.watched:
                return state
            return replace(state, looks=state.looks + 1, hits=state.hits + (seen.canary.ready == seen.canary.watched))
        case Rule.RESTARTS:
            return replace(state, looks=state.looks + 1, hits=state.hits + seen.canary.restarts)


def _compared(gate: Gate, state: GateState, seen: Interval) -> GateState:
    more = (_needed(gate, seen.canary), _needed(gate, seen.stable))
    canary, stable = (joined(*pair) for pair in zip(state.pending, more, strict=True))
    state = replace(state, pending=(canary, stable))
    if min(canary.requests, stable.requests) < gate.block:
        return state
    assert gate.measure is not None
    ours, theirs = gate.measure(canary, stable)
    requests, base = state.requests + canary.requests, state.base + stable.requests
    mean = state.canary + (ours - state.canary) * canary.requests / requests
    other = state.stable + (theirs - state.stable) * stable.requests / base
    noise = 0.0
    if gate.name in _SHARES:
        noise = _noise(mean * requests + other * base, requests + base)
        noise *= 1 / canary.requests + gate.ratio**2 / stable.requests
    difference = ours - gate.ratio * theirs - gate.limit
    return replace(
        state,
        sums=state.sums.with_block(difference, noise),
        pending=(Flow(), Flow()),
        canary=mean,
        stable=other,
        requests=requests,
        base=base,
        looks=state.looks + 1,
    )


def _needed(gate: Gate, flow: Flow) -> Flow:
    """What the gate uses of a flow, so that states stay small."""
    return flow if gate.name == "slow" else replace(flow, slower={})


def _noise(hits: float, requests: float) -> float:
    """The variance of one request's outcome; one hit is added, so that none so far does not claim certainty."""
    share = min(0.5, (hits + 1) / (requests + 1))
    return share * (1 - share)


def _sustained(gate: Gate, state: GateState, seen: Interval) -> GateState:
    ours, theirs = (getattr(flow, gate.name) for flow in (seen.canary, seen.stable))
    if ours is None:
        return state
    exceeded = ours > gate.limit
    since_s = (state.since_s or seen.at_s - seen.seconds) if exceeded else 0.0
    return replace(
        state,
        looks=state.looks + 1,
        canary=max(state.canary, ours),
        stable=max(state.stable, theirs or 0.0),
        since_s=since_s,
        longest_s=max(state.longest_s, seen.at_s - since_s if exceeded else 0.0),
        shared=exceeded and theirs is not None and theirs > gate.limit,
    )


def _judged(gate: Gate, state: GateState, alpha: float, planned: int) -> Judgement:
    match gate.rule:
        case Rule.COMPARED:
            return _judged_difference(gate, state, alpha, planned)
        case Rule.SUSTAINED:
            return _judged_sustained(gate, state)
        case Rule.AVAILABLE:
            share = state.hits / state.looks if state.looks else 0.0
            failed = share < gate.limit
            reason = f"ready in {state.hits} of {state.looks} samples, at least {gate.limit:.0%} are required"
            return _counted(gate, state, failed, reason, share)
        case Rule.RESTARTS:
            return _counted(gate, state, state.hits > 0, f"{state.hits} restarts", float(state.hits))


def _counted(gate: Gate, state: GateState, failed: bool, reason: str, value: float) -> Judgement:
    verdict = Verdict.FAILED if failed else Verdict.PASSED
    if state.looks < gate.least:
        verdict, reason = Verdict.NO_DATA, f"{state.looks} of {gate.least} samples"
    return Judgement(gate.name, verdict, reason, value, samples=state.looks)


def _judged_difference(gate: Gate, state: GateState, alpha: float, planned: int) -> Judgement:
    bound, upper = lower_bound(state.sums, alpha, planned), final_upper_bound(state.sums, PASS_CONFIDENCE)
    told = f"{gate.title} {shown(state.canary, gate.unit)}"
    told += f", stable pods {shown(state.stable, gate.unit)}" if gate.ratio else ""
    stable = state.stable if gate.ratio else None
    found = Judgement(gate.name, Verdict.PASSED, told, state.canary, stable, bound, upper, state.requests)
    if bound > 0:
        above = f"{gate.ratio:g} x stable + " if gate.ratio else ""
        return replace(found, verdict=Verdict.FAILED, reason=f"{told}: above {above}{shown(gate.limit, gate.unit)}")
    if missing := _missing(gate, state):
        return replace(found, verdict=Verdict.NO_DATA, reason=missing, bound=None, upper=None)
    if upper >= gate.tolerance:
        limit = gate.ratio * state.stable + gate.limit
        highest, needed = (shown(limit + more, gate.unit) for more in (upper, gate.tolerance))
        reason = f"{told}: may be as high as {highest}, and has to be shown below {needed}"
        return replace(found, verdict=Verdict.UNDECIDED, reason=reason)
    return found


def _missing(gate: Gate, state: GateState) -> str:
    """Which minimum the data of a gate that compares do not reach; empty: none."""
    if state.requests < gate.least:
        return f"{state.requests:.0f} of {gate.least} requests to the canary"
    blocks = state.sums.blocks
    return f"{blocks} of {LEAST_FINAL_BLOCKS} intervals to compare" if blocks < LEAST_FINAL_BLOCKS else ""


def _judged_sustained(gate: Gate, state: GateState) -> Judgement:
    figures = {"canary": state.canary, "stable": state.stable, "samples": float(state.looks)}
    if not state.looks:
        return Judgement(gate.name, Verdict.NO_DATA, "no metrics of a container with a limit", samples=0.0)
    if state.longest_s < gate.for_s:
        return Judgement(gate.name, Verdict.PASSED, f"{gate.title}: at most {state.canary:.0%}", **figures)
    reason = f"{gate.title} above {gate.limit:.0%} for {state.longest_s:.0f} s"
    if state.shared:
        return Judgement(gate.name, Verdict.UNDECIDED, f"{reason}, that of the stable pods too", **figures)
    return Judgement(gate.name, Verdict.FAILED, reason, **figures)


def shown(value: float, unit: str) -> str:
    """A figure for a person."""
    if unit == "%":
        return f"{value * 100:.2f} %"
    return f"{value * 1000:.1f} ms" if unit == "ms" else f"{value:.1f}"


def to_data(watch: Watch) -> dict[str, Any]:
    """The watch as JSON values."""
    return {"latest": [list(one) for one in watch.latest], "states": {k: _plain(v) for k, v in watch.states.items()}}


def _plain(state: GateState) -> dict[str, Any]:
    flows = [{**vars(one), "slower": [[*pair] for pair in one.slower.items()]} for one in state.pending]
    return {**vars(state), "sums": vars(state.sums), "pending": flows}


def from_data(data: Mapping[str, Any]) -> Watch:
    """The watch that `to_data` described."""
    states = {}
    for name, one in data["states"].items():
        flows = [Flow(**{**flow, "slower": dict(map(tuple, flow["slower"]))}) for flow in one["pending"]]
        states[name] = GateState(**{**one, "sums": Sums(**one["sums"]), "pending": (flows[0], flows[1])})
    return Watch(states, tuple((one[0], one[1]) for one in data["latest"]))
