"""Statistical comparison of two services measured in alternating rounds. Pure.

Each round measures both, in the order AB, BA, AB, ...: what drifts in the machine then hits both alike. Of 10 % drift
and a true shift of 5 %, rounds in turn saw the shift in every simulated trial, one long run of each in 28 %.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from enum import StrEnum

import msgspec

from lightragctl.bench import quality
from lightragctl.bench.result import LoadReport, Positive
from lightragctl.bench.targets import RequestOutcome
from lightragctl.quality.stats import CONFIDENCE, Comparison, compare_rounds, rounds_needed, shares_p_value

SCHEMA = "lightragctl-compare/1"

FIGURES: Mapping[str, tuple[bool, str]] = {
    "p50": (False, "ms"),
    "mean": (False, "ms"),
    "p90": (False, "ms"),
    "p99": (False, "ms"),
    "good": (True, "/s"),
}
"""What is compared: whether more is better, and its unit."""

SHARE_MARGIN = 0.001
"""Shares of failed requests, or of empty answers, that differ by less do not matter: the usual objective is 99.9 %."""

_SEED = 1


class ComparisonResult(StrEnum):
    """The result of comparing B with A in one metric."""

    BETTER = "better"
    WORSE = "worse"
    SAME = "same"
    """The true ratio is within the margin, with 95 % confidence."""
    UNKNOWN = "not enough data"
    UNLIKE = "not comparable"
    """The answers differ: one side failed more often, or found fewer hits."""


class RequestCounts(msgspec.Struct, frozen=True):
    """Outcomes of the requests of one service, and the hits of its good answers.

    Attributes:
        requests: all of them.
        failed: those without a good answer, by what was wrong: `http 5xx`, `timeout`, `connection`, `bad-body`.
        answers: of how many questions the hits of the first good answer are known; 0 of targets that find nothing.
        empty: how many of these held no hit.
        hits: how many all of them held.
    """

    requests: int = 0
    failed: Mapping[str, int] = {}
    answers: int = 0
    empty: int = 0
    hits: int = 0

    @property
    def bad(self) -> int:
        """How many failed."""
        return sum(self.failed.values())

    def plus(self, other: "RequestCounts") -> "RequestCounts":
        """Both together."""
        return RequestCounts(
            self.requests + other.requests,
            dict(Counter(self.failed) + Counter(other.failed)),
            self.answers + other.answers,
            self.empty + other.empty,
            self.hits + other.hits,
        )


class Round(msgspec.Struct, frozen=True):
    """Both services in one round: the value of each figure, how requests ended, and which came first."""

    first: str
    a: Mapping[str, float]
    b: Mapping[str, float]
    a_ends: RequestCounts = RequestCounts()
    b_ends: RequestCounts = RequestCounts()


class ComparedFigure(msgspec.Struct, frozen=True):
    """One figure.

    Attributes:
        ratio, low, high: B by A over all rounds, with its 95 % interval.
        p_value: how often chance alone gives a ratio as far from 1.
        finding: what to make of it.
        rounds_needed: how many rounds would show a shift of the margin in 95 of 100 cases; set when inconclusive.
    """

    figure: str
    ratio: Positive
    low: Positive
    high: Positive
    p_value: float
    finding: ComparisonResult
    rounds_needed: int | None = None


class CompareReport(msgspec.Struct, frozen=True):
    """Two services compared.

    Attributes:
        margin: the relative shift that matters.
        doubts: what may have distorted it.
        fails_more: `A` or `B`, if one fails significantly more requests; else empty.
        unlike: differences in outcomes that make the times incomparable.
        cut_short: it ended before the last round.
        ended_at: when it ended, as 2026-01-31T12:00:00Z; empty when unknown.
    """

    a: str
    b: str
    margin: Positive
    rounds: Sequence[Round]
    figures: Sequence[ComparedFigure]
    doubts: Sequence[str] = ()
    ended_at: str = ""
    fails_more: str = ""
    unlike: Sequence[str] = ()
    cut_short: bool = False
    schema: str = SCHEMA

    def figure(self, name: str) -> ComparedFigure:
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


def round_of(first: str, a: LoadReport, b: LoadReport) -> Round:
    """What a run of each says in one round."""
    return Round(first, values(a), values(b), ends(a), ends(b))


def report(
    sides: tuple[str, str], rounds: Sequence[Round], margin: float, doubts: Sequence[str] = (), cut_short: bool = False
) -> CompareReport:
    """The report over all rounds; `sides` are the addresses of A and B.

    Raises:
        ValueError: there are fewer than two rounds.
    """
    a, b = together(rounds)
    return CompareReport(
        a=sides[0],
        b=sides[1],
        margin=margin,
        rounds=rounds,
        figures=compared(rounds, margin),
        doubts=doubts,
        fails_more=fails_more(a, b),
        unlike=unlike(a, b, margin),
        cut_short=cut_short,
    )


def ends(report: LoadReport) -> RequestCounts:
    """How the requests of a run ended."""
    failed = Counter(
        {name: count for name, count in report.outcomes.items() if name not in (RequestOutcome.OK, RequestOutcome.HTTP)}
    )
    for status, count in report.statuses.items():
        failed[f"code {status}" if report.kind == "milvus" else f"http {status // 100}xx"] += count
    found = [len(hits) for hits in quality.answers(report).values()] if quality.finds(report) else []
    return RequestCounts(report.requests, dict(failed), len(found), found.count(0), sum(found))


def fails_more(a: RequestCounts, b: RequestCounts) -> str:
    """Which side surely fails more of its requests, by a share that matters; empty when neither does."""
    if not _differ((a.bad, a.requests), (b.bad, b.requests)):
        return ""
    return "A" if a.bad / a.requests > b.bad / b.requests else "B"


def unlike(a: RequestCounts, b: RequestCounts, margin: float) -> list[str]:
    """In which ways the requests of A and B ended differently, so that their times are of unlike answers.

    Args:
        a, b: the ends of all rounds together.
        margin: the relative difference of the number of hits that matters.
    """
    return [*_unlike_failures(a, b), *_unlike_hits(a, b, margin)]


def together(rounds: Sequence[Round]) -> tuple[RequestCounts, RequestCounts]:
    """The ends of A and of B over all rounds."""
    a = b = RequestCounts()
    for one in rounds:
        a, b = a.plus(one.a_ends), b.plus(one.b_ends)
    return a, b


def compared(rounds: Sequence[Round], margin: float) -> list[ComparedFigure]:
    """The comparison of each metric; metrics that were 0 in a round are omitted.

    A side that fails more is charged for it: it is never better or the same by the times of the answers that are left.
    Where the two find differently many hits, no time is comparable.

    Raises:
        ValueError: there are fewer than two rounds.
    """
    a_ends, b_ends = together(rounds)
    spoilt, finds_unlike = _spoilt(a_ends, b_ends, margin), bool(_unlike_hits(a_ends, b_ends, margin))
    found = []
    for name, (more_is_better, _) in FIGURES.items():
        a, b = [one.a[name] for one in rounds], [one.b[name] for one in rounds]
        if min(a + b) > 0:
            one = _judged(name, compare_rounds(a, b, _SEED), margin, more_is_better)
            is_spoilt = one.finding in spoilt and (name != "good" or finds_unlike)
            unlike = msgspec.structs.replace(one, finding=ComparisonResult.UNLIKE, rounds_needed=None)
            found.append(unlike if is_spoilt else one)
    return found


def _spoilt(a: RequestCounts, b: RequestCounts, margin: float) -> set[ComparisonResult]:
    """Findings about times that mean nothing for the way in which requests ended."""
    more = fails_more(a, b)
    if _unlike_hits(a, b, margin) or (not more and _unlike_failures(a, b)):
        return set(ComparisonResult)
    if more == "B":
        return {ComparisonResult.BETTER, ComparisonResult.SAME, ComparisonResult.UNKNOWN}
    return {ComparisonResult.WORSE, ComparisonResult.UNKNOWN} if more else set()


def _unlike_failures(a: RequestCounts, b: RequestCounts) -> list[str]:
    kinds = sorted({*a.failed, *b.failed})
    shares = [(kind, (a.failed.get(kind, 0), a.requests), (b.failed.get(kind, 0), b.requests)) for kind in kinds]
    return [
        f"{kind}: {_percent(of_a)} of the requests to A, {_percent(of_b)} to B"
        for kind, of_a, of_b in shares
        if _differ(of_a, of_b)
    ]


def _unlike_hits(a: RequestCounts, b: RequestCounts, margin: float) -> list[str]:
    found = []
    if _differ((a.empty, a.answers), (b.empty, b.answers)):
        of_a, of_b = _percent((a.empty, a.answers)), _percent((b.empty, b.answers))
        found.append(f"no hits in {of_a} of the answers of A, {of_b} of B")
    if a.answers and b.answers:
        mean_a, mean_b = a.hits / a.answers, b.hits / b.answers
        if max(mean_a, mean_b) > (1 + margin) * min(mean_a, mean_b):
            found.append(f"{mean_a:.1f} hits per answer of A, {mean_b:.1f} of B")
    return found


def _differ(one: tuple[int, int], other: tuple[int, int]) -> bool:
    """Whether two shares, each as (hits, of how many), surely differ, and by what matters."""
    if not (one[1] and other[1]) or abs(one[0] / one[1] - other[0] / other[1]) <= SHARE_MARGIN:
        return False
    return shares_p_value(one, other) <= 1 - CONFIDENCE


def _percent(share: tuple[int, int]) -> str:
    return f"{share[0] / share[1]:.2%}" if share[1] else "none"


def _judged(name: str, seen: Comparison, margin: float, more_is_better: bool) -> ComparedFigure:
    """A shift that is surely below the margin does not matter, however sure it is that there is one."""
    finding, needed = ComparisonResult.UNKNOWN, None
    if seen.interval.low >= 1 / (1 + margin) and seen.interval.high <= 1 + margin:
        finding = ComparisonResult.SAME
    elif seen.p_value <= 1 - CONFIDENCE:
        finding = ComparisonResult.BETTER if (seen.ratio > 1) == more_is_better else ComparisonResult.WORSE
    else:
        needed = max(seen.rounds + 1, rounds_needed(seen.deviation, margin))  # these rounds did not tell
    return ComparedFigure(name, seen.ratio, *seen.interval, seen.p_value, finding, needed)
