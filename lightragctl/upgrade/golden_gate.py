"""The gate of retrieval quality: compares the results of the canary with those of the stable pods. Pure.

Every query goes to a pod of each track, so that differences are paired. Recall has to be shown not to be worse by more
than the margin (non-inferiority): a set that is too small to show that leaves the gate undecided.
"""

from collections.abc import Sequence

from lightragctl.quality.stats import bounded_mean, mean_share
from lightragctl.upgrade.gates import Judgement, Verdict

RECALL_MARGIN = 0.05
"""A loss of recall that is shown to be smaller is accepted."""
OVERLAP_FLOOR = 0.90
"""Of the results of a canary, as many must be those of the stable pods."""
CONFIDENCE = 0.98
"""Of two-sided intervals, so that each end errs in 1 % of cases."""
_SEED = 0


def overlap(one: Sequence[str], other: Sequence[str]) -> float:
    """The share of results that two answers have in common, of the longer one; 1 when both are empty."""
    longer = max(len(one), len(other))
    return len(set(one) & set(other)) / longer if longer else 1.0


def judge_answers(stable: Sequence[float], canary: Sequence[float], overlaps: Sequence[float]) -> list[Judgement]:
    """The verdicts on recall and overlap.

    Args:
        stable, canary: recall of each query with a known answer, in the same order.
        overlaps: of each query.
    """
    found = []
    if stable:
        found.append(_recall(stable, canary))
    if overlaps:
        found.append(_overlap(overlaps))
    return found


def _recall(stable: Sequence[float], canary: Sequence[float]) -> Judgement:
    """Differences are moved from [-1, 1] to [0, 1], for which the interval holds at any number of queries."""
    halved = [(1 + ours - theirs) / 2 for ours, theirs in zip(canary, stable, strict=True)]
    low, high = (2 * end - 1 for end in bounded_mean(halved, _SEED, CONFIDENCE))
    ours, theirs = mean_share(canary), mean_share(stable)
    figures = {"canary": ours, "stable": theirs, "bound": low, "samples": float(len(stable))}
    told = f"recall {ours:.3f}, stable pods {theirs:.3f}, difference {low:+.3f} to {high:+.3f}"
    if low > -RECALL_MARGIN:
        return Judgement("recall", Verdict.PASSED, told, **figures)
    if high < -RECALL_MARGIN or ours - theirs < -RECALL_MARGIN:
        return Judgement("recall", Verdict.FAILED, f"{told}; at most {RECALL_MARGIN} may be lost", **figures)
    reason = f"{told}: {len(stable)} queries do not show that at most {RECALL_MARGIN} is lost"
    return Judgement("recall", Verdict.UNDECIDED, reason, **figures)


def _overlap(overlaps: Sequence[float]) -> Judgement:
    low, high = bounded_mean(overlaps, _SEED, CONFIDENCE)
    mean = mean_share(overlaps)
    figures = {"canary": mean, "bound": low, "samples": float(len(overlaps))}
    told = f"{mean:.1%} of results as from the stable pods ({low:.1%} to {high:.1%})"
    if low >= OVERLAP_FLOOR:
        return Judgement("overlap", Verdict.PASSED, told, **figures)
    verdict = Verdict.FAILED if mean < OVERLAP_FLOOR else Verdict.UNDECIDED
    return Judgement("overlap", verdict, f"{told}; at least {OVERLAP_FLOOR:.0%} are needed", **figures)
