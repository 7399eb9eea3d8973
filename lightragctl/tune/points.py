"""What a search measured, and what it concludes: survivors, Pareto frontier, pick, and why each other lost. Pure."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from lightragctl.tune.space import GUIDE, LIVE, Candidate

FASTER = 0.10
"""A change pays if it is this much faster than what is there; less is within what repetitions differ by."""
SMALLER = 0.20
"""Or if it takes this much less memory."""
_EQUAL = 0.03
"""Rates that differ by less are equal: then the smaller index wins."""
_ETA = 4
_LEAST_RUNG = 2_000
"""Rows of the first round at least: with fewer, a search costs the same with every index."""
_FINALISTS = 2
"""Indexes that reach the last round by their rate, beside the best graph, the best lists and the baselines."""


@dataclass(frozen=True)
class Point:
    """One measurement of an index with a search parameter.

    Attributes:
        candidate: its name.
        rows: of the trial.
        value: of the knob; 0 where there is none.
        search: the parameters of a search.
        recall, low, high: mean recall at k with its 95 % interval.
        p50_ms, p95_ms: of searches one after the other.
        rate: queries per second in batches of 32.
    """

    candidate: str
    rows: int
    value: int
    search: Mapping[str, int]
    recall: float
    low: float
    high: float
    p50_ms: float
    p95_ms: float
    rate: float


@dataclass(frozen=True)
class Built:
    """How a trial was built: `trouble` says why it was not; empty when it was."""

    candidate: str
    rows: int
    build_s: float = 0.0
    trouble: str = ""


@dataclass(frozen=True)
class Targets:
    """What is required; None: not required."""

    k: int = 10
    min_recall: float = 0.95
    max_p95_ms: float | None = None
    max_bytes: int | None = None


@dataclass(frozen=True)
class Option:
    """A measured index of all rows, with its parameters."""

    candidate: Candidate
    point: Point
    size_bytes: int
    build_s: float

    @property
    def is_live(self) -> bool:
        """Whether it is exactly what is used now."""
        return self.candidate.role == LIVE and dict(self.candidate.search) == dict(self.point.search)


@dataclass(frozen=True)
class Verdict:
    """The conclusion.

    Attributes:
        options: everything that was measured on all rows, fastest first.
        frontier: those that no other beats in recall, rate and bytes.
        pick: the one to use; None: none meets the targets.
        keep: whether the pick is what is used now.
        reason: why the pick.
        lost: why each other candidate is not the pick, by name.
    """

    options: tuple[Option, ...]
    frontier: tuple[Option, ...]
    pick: Option | None
    keep: bool
    reason: str
    lost: Mapping[str, str] = field(default_factory=dict)


def rungs(rows: int) -> tuple[int, ...]:
    """The numbers of rows of each round, ascending; the last has all rows.

    The first has a sixteenth where that is enough, else an eighth or a quarter; then each has four times as many.
    """
    first = next((rows // part for part in (16, 8, 4) if rows // part >= _LEAST_RUNG), rows)
    return tuple(sorted({first, *([rows // _ETA] if rows // first == _ETA**2 else []), rows}))


def survivors(
    entered: Sequence[Candidate], points: Sequence[Point], floor: float, last: bool = True
) -> list[Candidate]:
    """Those that go on to the next round: the fastest, the best of graphs and of lists, and both baselines.

    Args:
        entered: the round.
        points: of this round.
        floor: of the recall.
        last: whether the next round is the last; then two go on by their rate, else a quarter.
    """
    best = {one.candidate: one for one in sorted(points, key=lambda one: one.rate) if one.recall >= floor}
    ranked = sorted((one for one in entered if one.name in best), key=lambda one: -best[one.name].rate)
    others = [one for one in ranked if not one.role]
    kept = set(others[: _FINALISTS if last else max(_FINALISTS, math.ceil(len(entered) / _ETA))])
    for is_graph in (True, False):
        kept.update([one for one in others if one.is_graph is is_graph][:1])
    return [one for one in entered if one in kept or one.role in (LIVE, GUIDE)]


def frontier(options: Sequence[Option]) -> tuple[Option, ...]:
    """The options that no other beats in recall, rate and bytes at once, fastest first."""

    def beats(one: Option, other: Option) -> bool:
        mine = (one.point.recall, one.point.rate, -one.size_bytes)
        theirs = (other.point.recall, other.point.rate, -other.size_bytes)
        return mine != theirs and all(a >= b for a, b in zip(mine, theirs, strict=True))

    found = [one for one in options if not any(beats(other, one) for other in options)]
    return tuple(sorted(found, key=lambda one: -one.point.rate))


def misses(option: Option, targets: Targets, metric: str) -> str:
    """Why an option cannot be picked; empty when it can."""
    point = option.point
    if option.candidate.metric != metric:
        return f"compares by {option.candidate.metric}: the workspace's scores would change"
    if point.recall < targets.min_recall:
        return f"recall {point.recall:.3f} is below {targets.min_recall:g}"
    if targets.max_p95_ms is not None and point.p95_ms > targets.max_p95_ms:
        return f"p95 {point.p95_ms:.1f} ms is above {targets.max_p95_ms:g} ms"
    if targets.max_bytes is not None and option.size_bytes > targets.max_bytes:
        return f"takes {option.size_bytes / 2**20:.0f} Mi, more than {targets.max_bytes / 2**20:.0f} Mi"
    return ""


def conclude(options: Sequence[Option], targets: Targets, metric: str) -> Verdict:
    """The pick and the reasons: the fastest that meets the targets, the smallest of those that are equally fast.

    What is used now is kept unless another is `FASTER`, or as fast and `SMALLER`.
    """
    ordered = tuple(sorted(options, key=lambda one: -one.point.rate))
    good = [one for one in ordered if not misses(one, targets, metric)]
    if not good:
        lost = {one.candidate.name: misses(one, targets, metric) for one in _representatives(ordered, good)}
        return Verdict(ordered, frontier(ordered), None, False, "no configuration meets the targets", lost)
    fastest = good[0].point.rate
    pick = min((one for one in good if one.point.rate >= fastest * (1 - _EQUAL)), key=lambda one: one.size_bytes)
    live = next((one for one in good if one.is_live), None)
    reason = _reason(pick, live, targets)
    keep = live is not None and not _pays(pick, live)
    if keep and live is not None:
        reason = f"no gain: {_gain(pick, live)}" if pick is not live else "it is the fastest that meets the targets"
        pick = live
    lost = {
        one.candidate.name: misses(one, targets, metric) or _slower(one, pick)
        for one in _representatives(ordered, good)
        if one.candidate.name != pick.candidate.name
    }
    return Verdict(ordered, frontier(ordered), pick, keep, reason, lost)


def _representatives(ordered: Sequence[Option], good: Sequence[Option]) -> list[Option]:
    """One option of each candidate: the fastest that meets the targets, else that with the highest recall."""
    found: dict[str, Option] = {}
    for one in (*sorted(ordered, key=lambda one: one.point.recall), *reversed(good)):
        found[one.candidate.name] = one
    return list(found.values())


def _pays(pick: Option, live: Option) -> bool:
    faster = pick.point.rate >= live.point.rate * (1 + FASTER)
    smaller = pick.size_bytes <= live.size_bytes * (1 - SMALLER)
    return faster or (smaller and pick.point.rate >= live.point.rate * (1 - _EQUAL))


def _gain(pick: Option, live: Option) -> str:
    change = pick.point.rate / live.point.rate - 1
    return f"{pick.candidate.name} is {abs(change):.0%} {'faster' if change >= 0 else 'slower'}, less than {FASTER:.0%}"


def _reason(pick: Option, live: Option | None, targets: Targets) -> str:
    if live is None:
        return f"the fastest with a recall of at least {targets.min_recall:g}; the current setting misses the targets"
    change = pick.point.rate / live.point.rate - 1
    memory = pick.size_bytes / live.size_bytes
    return f"{change:+.0%} queries/s and {memory:.0%} of the memory of the current setting"


def _slower(one: Option, pick: Option) -> str:
    ratio = pick.point.rate / one.point.rate
    if ratio >= 1 + _EQUAL:
        return f"{ratio:.1f} times slower at a recall of {one.point.recall:.3f}"
    if one.size_bytes > pick.size_bytes:
        return f"as fast, and takes {one.size_bytes / pick.size_bytes:.1f} times the memory"
    return "not enough faster to be worth a change"
