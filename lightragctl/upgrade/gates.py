"""The verdicts of gates. Pure.

Each look at the pods adds one interval to the state of each gate; a verdict is read from the state at any time. A gate
that compares has two thresholds: it fails once the canary is shown to be above its limit, and passes if at the end the
canary is shown to be below limit and tolerance together. Between them it is undecided, and so it is without data.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from lightragctl.core.gates import Comparison, Missing
from lightragctl.upgrade.gate import Gate, Rule, share_of_alarms, shown
from lightragctl.upgrade.samples import Flow, Interval, flow_data, flow_from, joined
from lightragctl.upgrade.sequential import LEAST_FINAL_BLOCKS, Sums, final_upper_bound, lower_bound

FALSE_ALARMS = 0.01
"""The probability that any gate fails on an identical version, over a whole watch."""
PASS_CONFIDENCE = 0.975
"""Of a gate that passes. It is asked twice at most, at the end of the observation and of its extension; so a canary
above limit and tolerance together passes in less than 5 % of cases."""
LOOK_S, _SHORTEST_LOOK_S, _LOOKS = 5.0, 2.0, 30
"""Between two samples of the pods, in seconds; less where that gives fewer looks than this many."""
_DISASTER_SHARE, _DISASTER_REQUESTS, _DISASTER_LOOKS = 0.2, 30, 3


class Verdict(StrEnum):
    """What a gate says. `no-data`: it has less than its minimum; `undecided`: it has that, and cannot tell yet."""

    PASSED = "passed"
    FAILED = "failed"
    UNDECIDED = "undecided"
    NO_DATA = "no-data"


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


@dataclass(frozen=True)
class Watch:
    """The states of all gates of a component, and the last looks, for a disaster.

    Attributes:
        latest: requests and errors of the canary at the last looks.
    """

    states: Mapping[str, GateState] = field(default_factory=dict)
    latest: tuple[tuple[float, float], ...] = ()


def look(watch: Watch, seen: Interval, gates: Sequence[Gate], warming_up: bool = False) -> Watch:
    """The states after one more interval.

    Args:
        watch: before it.
        seen: the interval.
        gates: of the component.
        warming_up: the canary has just started: what compares it with other pods does not count yet.
    """
    states = dict(watch.states)
    for gate in gates:
        if not (warming_up and gate.rule is Rule.COMPARED):
            states[gate.name] = _advanced(gate, states.get(gate.name, GateState()), seen)
    latest = (*watch.latest, (seen.canary.requests, seen.canary.errors))[-_DISASTER_LOOKS:]
    return Watch(states, latest)


def judge(
    watch: Watch, gates: Sequence[Gate], planned_looks: int, components: int = 1, is_last: bool = False
) -> list[Judgement]:
    """The verdicts, in the order of the gates, after the one of a disaster if there is one.

    Args:
        watch: of the component.
        gates: of the component; those on answers are judged elsewhere.
        planned_looks: of the whole watch.
        components: that are watched at once; they share the false alarms.
        is_last: the observation ends with this look, so that missing data may count as a failure.
    """
    alpha = FALSE_ALARMS / share_of_alarms(gates) / components
    found = [
        _without_data(gate, _judged(gate, watch.states.get(gate.name, GateState()), alpha, planned_looks), is_last)
        for gate in gates
        if gate.rule is not Rule.ANSWERS
    ]
    return [*_disaster(watch), *found]


def _without_data(gate: Gate, found: Judgement, is_last: bool) -> Judgement:
    """The judgement, where there is no data with the verdict that the gate has for that."""
    if found.verdict is not Verdict.NO_DATA:
        return found
    if gate.missing is Missing.PASS:
        return replace(found, verdict=Verdict.PASSED, reason=f"no data, which passes: {found.reason}")
    if gate.missing is Missing.FAIL and is_last:
        return replace(found, verdict=Verdict.FAILED, reason=f"no data, which fails: {found.reason}")
    return found


def _disaster(watch: Watch) -> list[Judgement]:
    requests, errors = (sum(one[at] for one in watch.latest) for at in (0, 1))
    if requests < _DISASTER_REQUESTS or errors <= _DISASTER_SHARE * requests:
        return []
    reason = f"{errors:.0f} of the last {requests:.0f} requests to the canary failed"
    return [Judgement("disaster", Verdict.FAILED, reason, errors / requests, samples=requests)]


def _advanced(gate: Gate, state: GateState, seen: Interval) -> GateState:
    match gate.rule:
        case Rule.COMPARED:
            return _compared(gate, state, seen) if gate.of.block else _compared_look(gate, state, seen)
        case Rule.SUSTAINED:
            return _sustained(gate, state, seen)
        case Rule.AVAILABLE:
            if not seen.canary.watched:
                return state
            return replace(state, looks=state.looks + 1, hits=state.hits + (seen.canary.ready == seen.canary.watched))
        case Rule.RESTARTS:
            return replace(state, looks=state.looks + 1, hits=state.hits + seen.canary.restarts)
        case Rule.ANSWERS:
            return state


def _compared(gate: Gate, state: GateState, seen: Interval) -> GateState:
    """The state after a look, whose requests are added to the block until that is complete."""
    metric = gate.of
    assert metric.measure is not None
    canary = joined(state.pending[0], _needed(gate, seen.canary))
    other = joined(state.pending[1], _needed(gate, seen.stable))
    state = replace(state, pending=(canary, other))
    if gate.compare is Comparison.BEFORE:
        other = seen.before
    if canary.requests < metric.block or (gate.factor and other.requests < metric.block):
        return state
    ours, theirs = metric.measure(canary, other)
    noise = 0.0
    if metric.is_share:
        requests, base = state.requests + canary.requests, state.base + other.requests
        hits = state.canary * state.requests + ours * canary.requests
        hits += state.stable * state.base + theirs * other.requests
        noise = _noise(hits, requests + base) * (1 / canary.requests + gate.factor**2 / max(1.0, other.requests))
    state = replace(state, pending=(Flow(), Flow()))
    return _with_block(gate, state, (ours, theirs), (canary.requests, other.requests), noise)


def _compared_look(gate: Gate, state: GateState, seen: Interval) -> GateState:
    """The state after a look of which each is a block: a value for each side, or nothing."""
    ours, theirs = seen.values.get(gate.name, (None, None)) if gate.query else _measured(gate, seen)
    if ours is None or (gate.factor and theirs is None):
        return state
    return _with_block(gate, state, (ours, theirs or 0.0), (1.0, 1.0), 0.0)


def _measured(gate: Gate, seen: Interval) -> tuple[float | None, float | None]:
    assert gate.of.measure is not None
    return gate.of.measure(seen.canary, seen.before if gate.compare is Comparison.BEFORE else seen.stable)


def _with_block(
    gate: Gate, state: GateState, values: tuple[float, float], weights: tuple[float, float], noise: float
) -> GateState:
    """The state with one more difference; the means are weighted by requests, or by looks."""
    requests, base = state.requests + weights[0], state.base + weights[1]
    return replace(
        state,
        sums=state.sums.with_block(values[0] - gate.factor * values[1] - gate.limit, noise),
        canary=state.canary + (values[0] - state.canary) * weights[0] / requests,
        stable=state.stable + (values[1] - state.stable) * weights[1] / base if base else 0.0,
        requests=requests,
        base=base,
        looks=state.looks + 1,
    )


def _needed(gate: Gate, flow: Flow) -> Flow:
    """What the gate uses of a flow, so that states stay small."""
    return flow if gate.of.needs_bounds else replace(flow, slower={})


def _noise(hits: float, requests: float) -> float:
    """The variance of one request's outcome; one hit is added, so that none so far does not claim certainty."""
    share = min(0.5, (hits + 1) / (requests + 1))
    return share * (1 - share)


def _sustained(gate: Gate, state: GateState, seen: Interval) -> GateState:
    ours, theirs = (getattr(flow, gate.metric) for flow in (seen.canary, seen.stable))
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
        case Rule.SUSTAINED:
            return _judged_sustained(gate, state)
        case Rule.AVAILABLE:
            share = state.hits / state.looks if state.looks else 0.0
            failed = share < gate.limit
            reason = f"ready in {state.hits} of {state.looks} samples, at least {gate.limit:.0%} are required"
            return _counted(gate, state, failed, reason, share)
        case Rule.RESTARTS:
            return _counted(gate, state, state.hits > gate.limit, f"{state.hits} restarts", float(state.hits))
        case _:
            return _judged_difference(gate, state, alpha, planned)


def _counted(gate: Gate, state: GateState, failed: bool, reason: str, value: float) -> Judgement:
    verdict = Verdict.FAILED if failed else Verdict.PASSED
    if state.looks < gate.minimum:
        verdict, reason = Verdict.NO_DATA, f"{state.looks} of {gate.minimum} samples"
    return Judgement(gate.name, verdict, reason, value, samples=state.looks)


def _judged_difference(gate: Gate, state: GateState, alpha: float, planned: int) -> Judgement:
    unit, title = gate.of.unit, gate.of.title
    bound, upper = lower_bound(state.sums, alpha, planned), final_upper_bound(state.sums, PASS_CONFIDENCE)
    figures = f"{title} {shown(state.canary, unit)}"
    figures += f", {_OTHER[gate.compare]} {shown(state.stable, unit)}" if gate.factor else ""
    other = state.stable if gate.factor else None
    found = Judgement(gate.name, Verdict.PASSED, figures, state.canary, other, bound, upper, state.requests)
    limit = gate.factor * state.stable + gate.limit
    if bound > 0:
        return replace(found, verdict=Verdict.FAILED, reason=f"{figures}: above {shown(limit, unit)}")
    if missing := _missing(gate, state):
        return replace(found, verdict=Verdict.NO_DATA, reason=missing, bound=None, upper=None)
    if upper >= gate.tolerance:
        highest, needed = (shown(limit + more, unit) for more in (upper, gate.tolerance))
        reason = f"{figures}: may be as high as {highest}, and has to be shown below {needed}"
        return replace(found, verdict=Verdict.UNDECIDED, reason=reason)
    return found


_OTHER = {Comparison.STABLE: "stable pods", Comparison.BEFORE: "before", Comparison.ABSOLUTE: ""}


def _missing(gate: Gate, state: GateState) -> str:
    """Which minimum the data of a gate that compares do not reach; empty: none."""
    if state.requests < gate.minimum:
        unit = "requests to the canary" if gate.of.block else "samples"
        return f"{state.requests:.0f} of {gate.minimum} {unit}"
    blocks = state.sums.blocks
    return f"{blocks} of {LEAST_FINAL_BLOCKS} intervals to compare" if blocks < LEAST_FINAL_BLOCKS else ""


def _judged_sustained(gate: Gate, state: GateState) -> Judgement:
    title, figures = gate.of.title, {"canary": state.canary, "stable": state.stable, "samples": float(state.looks)}
    if state.looks < gate.minimum:
        return Judgement(gate.name, Verdict.NO_DATA, "no metrics of a container with a limit", samples=0.0)
    if state.longest_s < gate.for_s or state.canary <= gate.limit:
        return Judgement(gate.name, Verdict.PASSED, f"{title}: at most {state.canary:.0%}", **figures)
    reason = f"{title} above {gate.limit:.0%} for {state.longest_s:.0f} s"
    if state.shared:
        return Judgement(gate.name, Verdict.UNDECIDED, f"{reason}, that of the stable pods too", **figures)
    return Judgement(gate.name, Verdict.FAILED, reason, **figures)


def to_data(watch: Watch) -> dict[str, Any]:
    """The watch as JSON values."""
    return {"latest": [list(one) for one in watch.latest], "states": {k: _plain(v) for k, v in watch.states.items()}}


def _plain(state: GateState) -> dict[str, Any]:
    return {**vars(state), "sums": vars(state.sums), "pending": [flow_data(one) for one in state.pending]}


def from_data(data: Mapping[str, Any]) -> Watch:
    """The watch that `to_data` described."""
    states = {}
    for name, one in data["states"].items():
        flows = [flow_from(flow) for flow in one["pending"]]
        states[name] = GateState(**{**one, "sums": Sums(**one["sums"]), "pending": (flows[0], flows[1])})
    return Watch(states, tuple((one[0], one[1]) for one in data["latest"]))
