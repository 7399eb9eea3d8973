"""Relevance of answers to judged queries, with the figures of trec_eval; its two file formats. Reads files; no network.

Everything is as trec_eval 9 has it without options, so that figures can be laid beside published ones:

- a document with a judgement above 0 is relevant; 0, negative and unjudged all count as not relevant;
- a run is ranked by its scores, not by its rank column; equal scores by document id, the greater first;
- scores are compared as float32, so that two which differ by less are equal;
- a query without relevant documents has 0 in every figure, and counts in the mean.
"""

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

import numpy as np

from lightragctl.core.errors import UsageError

Qrels = Mapping[str, Mapping[str, int]]
"""Judgements: query id to document id to grade."""

Run = Mapping[str, Mapping[str, float]]
"""What a system answered: query id to document id to score, higher is better, finite."""

N = TypeVar("N", int, float)

_FIELD = re.compile(r"[^ \t\r\n\v\f]+")
"""trec_eval splits at ASCII white space alone; `str.split` would cut an id at an ideographic space."""


@dataclass(frozen=True)
class Relevance:
    """Figures of one query, or their means; each 0 to 1.

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


@dataclass(frozen=True)
class Evaluation:
    """A run held against judgements.

    Attributes:
        k: where `ndcg` and `recall` cut the ranking.
        queries: figures of the queries that are both judged and in the run.
        missing: judged queries that are not in the run.
    """

    k: int
    queries: Mapping[str, Relevance]
    missing: tuple[str, ...]

    @property
    def mean(self) -> Relevance:
        """Over `queries`: what trec_eval prints. It hides that a system left queries without an answer."""
        return _mean(list(self.queries.values()))

    @property
    def complete_mean(self) -> Relevance:
        """Over all judged queries, 0 for each missing one: what `trec_eval -c` prints."""
        return _mean([*self.queries.values(), *(_NOTHING for _ in self.missing)])


class _Format(NamedTuple, Generic[N]):
    """Columns of a file; the number that counts is in column `value`, from 0."""

    columns: tuple[str, ...]
    value: int
    number: Callable[[str], N]
    expected: str

    @property
    def hint(self) -> str:
        return f"a line is: {' '.join(self.columns)}; ids hold no spaces"


def evaluate(qrels: Qrels, run: Run, k: int) -> Evaluation:
    """Figures of every query that is judged and answered.

    Args:
        k: at least 1.

    Raises:
        UsageError: there is no such query.

    Source:
        The measures `ndcg_cut`, `recall`, `recip_rank` and `map` of trec_eval (github.com/usnistgov/trec_eval).
    """
    queries = {query: _judge(qrels[query], scored, k) for query, scored in run.items() if query in qrels}
    if not queries:
        raise UsageError("no query of the run is judged", "take judgements and a run of the same queries")
    return Evaluation(k, queries, tuple(query for query in qrels if query not in run))


def parse_qrels(text: str, source: str = "qrels") -> dict[str, dict[str, int]]:
    """Judgements from lines of `query iteration document judgement`; empty lines and those with # first are left out.

    Args:
        source: what errors call the text.

    Raises:
        UsageError: a line is not of that form, or judges a document again; names the line.
    """
    return _parse(text.split("\n"), source, _QRELS)


def parse_run(text: str, source: str = "run") -> dict[str, dict[str, float]]:
    """A run from lines of `query iteration document rank score tag`, read as `parse_qrels` reads; rank is not used.

    Raises:
        UsageError: a line is not of that form, or scores a document again; names the line.
    """
    return _parse(text.split("\n"), source, _RUN)


def read_qrels(path: Path) -> dict[str, dict[str, int]]:
    """Judgements from a file in UTF-8.

    Raises:
        UsageError: it cannot be read, or as for `parse_qrels`.
    """
    return _read(path, _QRELS)


def read_run(path: Path) -> dict[str, dict[str, float]]:
    """A run from a file in UTF-8.

    Raises:
        UsageError: it cannot be read, or as for `parse_run`.
    """
    return _read(path, _RUN)


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


def _mean(figures: Sequence[Relevance]) -> Relevance:
    count = len(figures)
    return Relevance(
        ndcg=math.fsum(one.ndcg for one in figures) / count,
        recall=math.fsum(one.recall for one in figures) / count,
        reciprocal_rank=math.fsum(one.reciprocal_rank for one in figures) / count,
        average_precision=math.fsum(one.average_precision for one in figures) / count,
    )


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(text)
    return number


_QRELS = _Format(("query", "iteration", "document", "judgement"), 3, int, "a whole number")
_RUN = _Format(("query", "iteration", "document", "rank", "score", "tag"), 4, _finite, "a finite number")


def _read(path: Path, form: _Format[N]) -> dict[str, dict[str, N]]:
    try:
        with path.open(encoding="utf-8-sig", newline="\n") as lines:
            return _parse(lines, str(path), form)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}", "check the path and its rights") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8", "convert it, for example with iconv") from error


def _parse(lines: Iterable[str], source: str, form: _Format[N]) -> dict[str, dict[str, N]]:
    parsed: dict[str, dict[str, N]] = {}
    for at, line in enumerate(lines, start=1):
        fields = _FIELD.findall(line)
        if not fields or fields[0].startswith("#"):
            continue
        where = f"{source}:{at}"
        if len(fields) != len(form.columns):
            raise UsageError(f"{where}: {len(fields)} fields instead of {len(form.columns)}", form.hint)
        query, document = fields[0], fields[2]
        documents = parsed.setdefault(query, {})
        if document in documents:
            raise UsageError(f"{where}: document {document} of query {query} is there already", "leave one of them out")
        documents[document] = _number(fields[form.value], where, form)
    return parsed


def _number(text: str, where: str, form: _Format[N]) -> N:
    try:
        return form.number(text)
    except ValueError as error:
        raise UsageError(f"{where}: {form.columns[form.value]} {text!r} is not {form.expected}", form.hint) from error
