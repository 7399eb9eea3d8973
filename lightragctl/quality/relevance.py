"""Relevance metrics of judged queries, as in trec_eval; relevance judgements. Reads files; no network.

Everything is as trec_eval 9 has it without options, so that figures can be laid beside published ones:

- a document with a judgement above 0 is relevant; 0, negative and unjudged all count as not relevant;
- a run is ranked by its scores, not by its rank column; equal scores by document id, the greater first;
- scores are compared as float32, so that two which differ by less are equal;
- a query without relevant documents has 0 in every figure, and counts.
"""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lightragctl.core.errors import UsageError

Qrels = Mapping[str, Mapping[str, int]]
"""Judgements: query id to document id to grade."""

Run = Mapping[str, Mapping[str, float]]
"""A run: query id to document id to score, finite, higher is better."""

_COLUMNS = ("query", "iteration", "document", "judgement")
_HINT = f"expected lines: {' '.join(_COLUMNS)}; ids without spaces"

_FIELD = re.compile(r"[^ \t\r\n\v\f]+")
"""trec_eval splits at ASCII white space alone; `str.split` would cut an id at an ideographic space."""


@dataclass(frozen=True)
class Relevance:
    """Metrics of one query; each 0 to 1.

    Attributes:
        ndcg: nDCG at k: gain is the grade, discount log2(rank + 1), the ideal is over all judged documents.
        recall: share of all relevant documents that are among the first k.
        reciprocal_rank: 1 / rank of the first relevant document, however far down; 0 without one. Its mean is MRR.
        average_precision: precision at each relevant document, summed, by all relevant documents. Its mean is MAP.
    """

    ndcg: float
    recall: float
    reciprocal_rank: float
    average_precision: float


_NOTHING = Relevance(0.0, 0.0, 0.0, 0.0)


def evaluate(qrels: Qrels, run: Run, k: int) -> dict[str, Relevance]:
    """Figures of every query that is judged and answered.

    Args:
        k: where `ndcg` and `recall` cut the ranking; at least 1.

    Raises:
        UsageError: there is no such query.

    Source:
        The measures `ndcg_cut`, `recall`, `recip_rank` and `map` of trec_eval (github.com/usnistgov/trec_eval).
    """
    queries = {query: _judge(qrels[query], scored, k) for query, scored in run.items() if query in qrels}
    if not queries:
        raise UsageError("the judgements contain no query of the run", "use judgements of the same queries")
    return queries


def read_qrels(path: Path) -> dict[str, dict[str, int]]:
    """Judgements from a file in UTF-8, of lines `query iteration document judgement`.

    Empty lines and those with # first are left out.

    Raises:
        UsageError: it cannot be read, or a line is not of that form or judges a document again; names the line.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="\n") as lines:
            return _parse(lines, str(path))
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}", "check the path and its permissions") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8", "convert it, for example with iconv") from error


def _judge(judgements: Mapping[str, int], scored: Mapping[str, float], k: int) -> Relevance:
    ideal = sorted((grade for grade in judgements.values() if grade > 0), reverse=True)
    if not ideal:
        return _NOTHING
    gains = [max(0, judgements.get(document, 0)) for document in _rank(scored)]
    ranks = [rank for rank, gain in enumerate(gains, start=1) if gain]
    return Relevance(
        ndcg=_discounted(gains[:k]) / _discounted(ideal[:k]),
        recall=sum(rank <= k for rank in ranks) / len(ideal),
        reciprocal_rank=1 / ranks[0] if ranks else 0.0,
        average_precision=sum(found / rank for found, rank in enumerate(ranks, start=1)) / len(ideal),
    )


def _rank(scored: Mapping[str, float]) -> list[str]:
    with np.errstate(over="ignore"):  # beyond float32 all are infinite, and so equal
        scores = np.fromiter(scored.values(), np.float64, len(scored)).astype(np.float32)
    # Python orders text by code points, which is the order of its UTF-8 bytes that strcmp has
    return [document for _, document in sorted(zip(scores.tolist(), scored, strict=True), reverse=True)]


def _discounted(gains: Sequence[int]) -> float:
    return sum(gain / math.log2(rank + 1) for rank, gain in enumerate(gains, start=1))


def _parse(lines: Iterable[str], source: str) -> dict[str, dict[str, int]]:
    parsed: dict[str, dict[str, int]] = {}
    for at, line in enumerate(lines, start=1):
        fields = _FIELD.findall(line)
        if not fields or fields[0].startswith("#"):
            continue
        where = f"{source}:{at}"
        if len(fields) != len(_COLUMNS):
            raise UsageError(f"{where}: {len(fields)} fields instead of {len(_COLUMNS)}", _HINT)
        query, _, document, judgement = fields
        documents = parsed.setdefault(query, {})
        if document in documents:
            raise UsageError(f"{where}: duplicate: document {document}, query {query}", "remove one of them")
        try:
            documents[document] = int(judgement)
        except ValueError as error:
            raise UsageError(f"{where}: judgement {judgement!r} is not a whole number", _HINT) from error
    return parsed
