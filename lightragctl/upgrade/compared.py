"""Whether two vector stores answer the same searches alike: overlap, scores, errors, latency. Pure.

One of them is the release's, the other one a copy of it under the new version, or the same store after its upgrade.
"""

from bisect import bisect_left
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from statistics import median

from lightragctl.backup.answers import TIE
from lightragctl.quality.stats import bounded_mean, mean_share
from lightragctl.upgrade.gate import OVERLAP_FLOOR
from lightragctl.upgrade.gates import Judgement, Verdict
from lightragctl.upgrade.golden_gate import CONFIDENCE

COMPARED_GATES = ("errors", "overlap", "score-drift", "latency")
TOP_K = 10
"""Results of each search."""
DRIFT = 0.01
"""The mean difference of the scores of common hits, as a share of their mean: rounding differs by 1e-6, indexes that
quantize vectors by less than 1e-2, another metric or normalization by more than 1e-1."""
SLOWER, SLOWER_MS = 2.0, 10.0
"""A median latency up to this factor and this time above passes: the copy has other neighbours and no load."""
_SEED = 0


@dataclass(frozen=True)
class Asked:
    """One search: ids with scores, best first, and milliseconds; or its error."""

    hits: tuple[tuple[str, float], ...] = ()
    ms: float = 0.0
    error: str = ""


def judge(before: Sequence[Asked], after: Sequence[Asked], changed: Collection[str], is_all: bool) -> list[Judgement]:
    """The verdicts on the same searches in two stores.

    Args:
        before, after: of the old and of the new version, in the same order.
        changed: ids that only one of the stores has, as they were written or deleted meanwhile.
        is_all: every stored row was searched for, so that no interval is needed.
    """
    if not before:
        return [Judgement("overlap", Verdict.UNDECIDED, "there was nothing to search for")]
    pairs = [(one, other) for one, other in zip(before, after, strict=True) if not one.error]
    if not pairs:
        return [Judgement("errors", Verdict.UNDECIDED, f"the present version does not answer: {before[0].error}")]
    answered = [(_without(one, changed), _without(other, changed)) for one, other in pairs if not other.error]
    found = [_errors([other.error for _, other in pairs])]
    if not answered:
        return found
    shares = [_overlap(one, other) for one, other in answered]
    latency = _latency([one.ms for one, _ in answered], [other.ms for _, other in answered])
    return [*found, _judge_overlap(shares, is_all), _drift(answered), latency]


def failures(judgements: Sequence[Judgement]) -> list[str]:
    """The reasons of the gates that did not pass; no data is never a pass."""
    return [f"{one.gate}: {one.reason}" for one in judgements if one.verdict is not Verdict.PASSED]


def smallest_loss(queries: int, is_all: bool) -> float:
    """The share of searches with wrong results that fails the gate of overlap with a probability of 95 %.

    Args:
        queries: how many are sent.
        is_all: as for `judge`.
    """
    wrong = bisect_left(range(1, queries + 1), True, key=lambda count: _is_stopped(count, queries, is_all)) + 1
    low, high = 0.0, 1.0
    while high - low > 1e-3:
        share = (low + high) / 2
        low, high = (low, share) if _at_least(wrong, queries, share) >= 0.95 else (share, high)
    return high


def _is_stopped(wrong: int, queries: int, is_all: bool) -> bool:
    if is_all:
        return (queries - wrong) / queries < OVERLAP_FLOOR
    shares = [0.0] * wrong + [1.0] * (queries - wrong)
    return bounded_mean(shares, _SEED, CONFIDENCE).low < OVERLAP_FLOOR


def _at_least(count: int, of: int, share: float) -> float:
    """The probability that a binomial variable is at least `count`."""
    term, below = (1 - share) ** of, 0.0
    for number in range(count):
        below += term
        term *= (of - number) / (number + 1) * share / (1 - share)
    return 1 - below


def _without(one: Asked, changed: Collection[str]) -> Asked:
    return Asked(tuple(hit for hit in one.hits if hit[0] not in changed), one.ms)


def _overlap(one: Asked, other: Asked) -> float:
    """The share of results found again; those that tie with the last of `TOP_K` may be others of the same score."""
    if not one.hits or not other.hits:
        return 1.0 if one.hits == other.hits else 0.0
    last = one.hits[-1][1] if len(one.hits) >= TOP_K else None
    clear = {id for id, score in one.hits if last is None or abs(score - last) > TIE}
    found = {id for id, _ in other.hits}
    return len(clear & found) / len(clear) if clear else 1.0


def _errors(errors: Sequence[str]) -> Judgement:
    failed = [one for one in errors if one]
    told = f"{len(failed)} of {len(errors)} searches failed"
    figures = {"canary": len(failed) / len(errors), "samples": float(len(errors))}
    if failed:
        return Judgement("errors", Verdict.FAILED, f"{told}: {failed[0]}", **figures)
    return Judgement("errors", Verdict.PASSED, told, **figures)


def _judge_overlap(shares: Sequence[float], is_all: bool) -> Judgement:
    low, high = bounded_mean(shares, _SEED, CONFIDENCE)
    mean = mean_share(shares)
    figures = {"canary": mean, "bound": low, "samples": float(len(shares))}
    told = f"{mean:.1%} of results as before ({low:.1%} to {high:.1%}, {len(shares)} searches)"
    if low >= OVERLAP_FLOOR or (is_all and mean >= OVERLAP_FLOOR):
        return Judgement("overlap", Verdict.PASSED, told, **figures)
    verdict = Verdict.FAILED if mean < OVERLAP_FLOOR else Verdict.UNDECIDED
    return Judgement("overlap", verdict, f"{told}; at least {OVERLAP_FLOOR:.0%} are needed", **figures)


def _drift(pairs: Sequence[tuple[Asked, Asked]]) -> Judgement:
    common = [
        (score, scores[id])
        for one, other in pairs
        for scores in [dict(other.hits)]
        for id, score in one.hits
        if id in scores
    ]
    if not common:
        return Judgement("score-drift", Verdict.UNDECIDED, "no result in common")
    size = sum(abs(score) for score, _ in common)
    drift = sum(abs(score - now) for score, now in common) / size if size else 0.0
    figures = {"canary": drift, "samples": float(len(common))}
    told = f"scores of {len(common)} common results differ by {drift:.2%} on average"
    if drift > DRIFT:
        return Judgement("score-drift", Verdict.FAILED, f"{told}; at most {DRIFT:.0%} is allowed", **figures)
    return Judgement("score-drift", Verdict.PASSED, told, **figures)


def _latency(before: Sequence[float], after: Sequence[float]) -> Judgement:
    was, now = median(before), median(after)
    limit = SLOWER * was + SLOWER_MS
    told = f"median {now:.1f} ms, before {was:.1f} ms"
    figures = {"canary": now, "stable": was, "samples": float(len(after))}
    if now > limit:
        return Judgement("latency", Verdict.FAILED, f"{told}; at most {limit:.1f} ms is allowed", **figures)
    return Judgement("latency", Verdict.PASSED, told, **figures)
