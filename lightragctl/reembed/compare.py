"""How the answers of two models compare, by judged questions and by the golden set. Searches are handed in."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lightragctl.bench.targets import FoundHit, ranked
from lightragctl.core.errors import LightragctlError
from lightragctl.quality.relevance import Qrels, evaluate
from lightragctl.quality.stats import bootstrap_mean, mean_share

K = 10
_SEED = 1

Answers = Callable[[Sequence[str], int], list[tuple[FoundHit, ...]]]
"""Hits of each question, best first."""


class WorseAnswersError(LightragctlError):
    """The new model answers the judged questions worse than allowed."""

    code = "worse-answers"


@dataclass(frozen=True)
class Judged:
    """Questions with relevance judgements: each question's id and text, and the judgements by id."""

    questions: Sequence[tuple[str, str]]
    qrels: Qrels


@dataclass(frozen=True)
class Figures:
    """Of one model: the share of questions whose answer is first, is among the first five, and nDCG at 10."""

    hit_at_1: float
    hit_at_5: float
    ndcg: float


@dataclass(frozen=True)
class Comparison:
    """The comparison; None where there is nothing to compare by.

    Attributes:
        questions: judged ones that count.
        old, new: figures of the models.
        change: mean change of hit@5 with its 95 % interval.
        golden_queries: of the golden set.
        overlap: the mean share of equal passages among the first ten of both models. Not a quality: a better model
            finds others.
    """

    questions: int = 0
    old: Figures | None = None
    new: Figures | None = None
    change: tuple[float, float, float] | None = None
    golden_queries: int = 0
    overlap: float | None = None


def compare(judged: Judged | None, golden: Sequence[str], old: Answers, new: Answers) -> Comparison:
    """Compare two models by their answers.

    Args:
        judged: questions with judgements; None: there are none.
        golden: the texts of the golden set's queries.
        old, new: search with each model.
    """
    figures: dict[str, Any] = {}
    if judged is not None and judged.questions:
        texts = [text for _, text in judged.questions]
        before, after = (_relevance(judged, answers(texts, K)) for answers in (old, new))
        shared = sorted(before.keys() & after.keys())
        changes = [_hit(after[one], 5) - _hit(before[one], 5) for one in shared]
        interval = bootstrap_mean(changes, _SEED)
        figures |= {
            "questions": len(shared),
            "old": _figures([before[one] for one in shared]),
            "new": _figures([after[one] for one in shared]),
            "change": (mean_share(changes), interval.low, interval.high),
        }
    if golden:
        pairs = zip(old(golden, K), new(golden, K), strict=True)
        shares = [len({one.id for one in left} & {one.id for one in right}) / K for left, right in pairs]
        figures |= {"golden_queries": len(golden), "overlap": mean_share(shares)}
    return Comparison(**figures)


def refuse_worse(found: Comparison, max_drop: float) -> None:
    """Does nothing unless the new model answers judged questions worse than allowed.

    Raises:
        WorseAnswersError: its hit@5 is lower by more than `max_drop`.
    """
    if found.old is None or found.new is None or found.new.hit_at_5 >= found.old.hit_at_5 - max_drop:
        return
    message = f"hit@5 of {found.questions} judged questions falls from {found.old.hit_at_5:.3f} to "
    raise WorseAnswersError(
        f"{message}{found.new.hit_at_5:.3f}, by more than {max_drop:g}", "abort it, or allow more with --max-drop"
    )


def _relevance(judged: Judged, found: Sequence[tuple[FoundHit, ...]]) -> Mapping[str, tuple[float, float]]:
    """By question: reciprocal rank and nDCG at 10."""
    names = {name for grades in judged.qrels.values() for name in grades}
    run = {id: ranked(hits, names) for (id, _), hits in zip(judged.questions, found, strict=True)}
    return {id: (one.reciprocal_rank, one.ndcg) for id, one in evaluate(judged.qrels, run, K).items()}


def _hit(relevance: tuple[float, float], k: int) -> float:
    return float(relevance[0] >= 1 / k)


def _figures(each: Sequence[tuple[float, float]]) -> Figures:
    return Figures(
        mean_share([_hit(one, 1) for one in each]),
        mean_share([_hit(one, 5) for one in each]),
        mean_share([one[1] for one in each]),
    )
