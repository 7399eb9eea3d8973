"""Answer quality of a run: against relevance judgements and exact search. Pure."""

from collections.abc import Mapping, Sequence

from lightragctl.bench.questions import Question
from lightragctl.bench.result import Figure, LoadReport
from lightragctl.bench.targets import FoundHit, hits, kind_named, ranked
from lightragctl.quality.exact import Neighbours, recall
from lightragctl.quality.relevance import Qrels, Relevance, evaluate
from lightragctl.quality.stats import bootstrap_mean, mean_share

FoundHits = Mapping[int, tuple[FoundHit, ...]]
"""Hits, best first, by the question's place in the list."""

RECALL_QUESTIONS = 200
"""With this sample the interval of a recall of 0.95 is some 0.02 wide."""

_SEED = 1
"""Of the resampling behind an interval: the same answers give the same interval."""


def answers(report: LoadReport) -> FoundHits:
    """The hits of the first good answer to each question."""
    kind = kind_named(report.kind)
    return {at: hits(kind, body) for at, body in sorted(report.bodies.items())}


def finds(report: LoadReport) -> bool:
    """Whether answers of the target contain hits."""
    return kind_named(report.kind).finds


def relevance(found: FoundHits, questions: Sequence[Question], qrels: Qrels, k: int) -> Mapping[str, Figure]:
    """nDCG, recall, MRR and MAP at k over the judged questions, by their names in `Quality`.

    Judgements may name passages by id, or documents by source or by the source's file name. Of several passages of a
    document the best counts, and of several questions of one id the first. Questions without a good answer do not
    count: how many requests failed stands beside it.
    """
    judged = {name for grades in qrels.values() for name in grades}
    run: dict[str, dict[str, float]] = {}
    for at, given in found.items():
        run.setdefault(questions[at].id, ranked(given, judged))
    return _figures(list(evaluate(qrels, run, k).values())) if run.keys() & qrels.keys() else {}


def recall_figure(found: FoundHits, nearest: Mapping[int, Neighbours], k: int) -> Figure | None:
    """Mean recall at k of the questions whose exact neighbours are known; None when none was answered."""
    shares = [recall([hit.id for hit in found[at]], one, k) for at, one in nearest.items() if at in found]
    return _figure(shares) if shares else None


def sampled(found: FoundHits) -> list[int]:
    """The sample of answers for recall: at most `RECALL_QUESTIONS`, evenly spread over those with hits."""
    places = [at for at, given in found.items() if given]
    count = min(RECALL_QUESTIONS, len(places))
    return [places[at * len(places) // count] for at in range(count)]


def _figures(each: Sequence[Relevance]) -> Mapping[str, Figure]:
    return {
        "ndcg": _figure([one.ndcg for one in each]),
        "relevant_recall": _figure([one.recall for one in each]),
        "mrr": _figure([one.reciprocal_rank for one in each]),
        "map": _figure([one.average_precision for one in each]),
    }


def _figure(shares: Sequence[float]) -> Figure:
    interval = bootstrap_mean(shares, _SEED)
    return Figure(mean_share(shares), interval.low, interval.high, len(shares))
