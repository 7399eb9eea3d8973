"""The gate of retrieval quality: compares the results of the canary with those of the stable pods. Pure.

Every query goes to a pod of each track, so that differences are paired. Recall has to be shown not to be worse by more
than the margin (non-inferiority): a set that is too small to show that leaves the gate undecided.
"""

from collections.abc import Sequence

from lightragctl.core.gates import Missing
from lightragctl.quality.stats import bounded_mean, mean_share
from lightragctl.upgrade.gate import Gate
from lightragctl.upgrade.gates import Judgement, Verdict

CONFIDENCE = 0.98
"""Of two-sided intervals, so that each end errs in 1 % of cases."""
_SEED = 0


def overlap(one: Sequence[str], other: Sequence[str]) -> float:
    """The share of results that two answers have in common, of the longer one; 1 when both are empty."""
    longer = max(len(one), len(other))
    return len(set(one) & set(other)) / longer if longer else 1.0


def judge_answers(
    gates: Sequence[Gate], stable: Sequence[float], canary: Sequence[float], overlaps: Sequence[float]
) -> list[Judgement]:
    """The verdicts of the gates on answers.

    Args:
        gates: with the metrics `recall`, whose limit may be lost, and `overlap`, of which the limit is required.
        stable, canary: recall of each query with a known answer, in the same order.
        overlaps: of each query.
    """
    found = []
    for gate in gates:
        samples = len(stable) if gate.metric == "recall" else len(overlaps)
        if samples < gate.minimum:
            verdict = _WITHOUT_DATA[gate.missing]
            found.append(Judgement(gate.name, verdict, f"{samples} of {gate.minimum} queries", samples=samples))
        elif gate.metric == "recall":
            found.append(_recall(gate, stable, canary))
        else:
            found.append(_overlap(gate, overlaps))
    return found


_WITHOUT_DATA = {
    Missing.UNDECIDED: Verdict.NO_DATA,
    Missing.PASS: Verdict.PASSED,
    Missing.FAIL: Verdict.FAILED,
}


def _recall(gate: Gate, stable: Sequence[float], canary: Sequence[float]) -> Judgement:
    """Differences are moved from [-1, 1] to [0, 1], for which the interval holds at any number of queries."""
    halved = [(1 + ours - theirs) / 2 for ours, theirs in zip(canary, stable, strict=True)]
    low, high = (2 * end - 1 for end in bounded_mean(halved, _SEED, CONFIDENCE))
    ours, theirs = mean_share(canary), mean_share(stable)
    figures = {"canary": ours, "stable": theirs, "bound": low, "samples": float(len(stable))}
    told = f"recall {ours:.3f}, stable pods {theirs:.3f}, difference {low:+.3f} to {high:+.3f}"
    if low > -gate.limit:
        return Judgement(gate.name, Verdict.PASSED, told, **figures)
    if high < -gate.limit or ours - theirs < -gate.limit:
        return Judgement(gate.name, Verdict.FAILED, f"{told}; at most {gate.limit} may be lost", **figures)
    reason = f"{told}: {len(stable)} queries do not show that at most {gate.limit} is lost"
    return Judgement(gate.name, Verdict.UNDECIDED, reason, **figures)


def _overlap(gate: Gate, overlaps: Sequence[float]) -> Judgement:
    low, high = bounded_mean(overlaps, _SEED, CONFIDENCE)
    mean = mean_share(overlaps)
    figures = {"canary": mean, "bound": low, "samples": float(len(overlaps))}
    told = f"{mean:.1%} of results as from the stable pods ({low:.1%} to {high:.1%})"
    if low >= gate.limit:
        return Judgement(gate.name, Verdict.PASSED, told, **figures)
    verdict = Verdict.FAILED if mean < gate.limit else Verdict.UNDECIDED
    return Judgement(gate.name, verdict, f"{told}; at least {gate.limit:.0%} are needed", **figures)
