"""Exact nearest neighbours, and recall of an index. Pure.

The vectors come in blocks, so that a collection may be larger than memory. Scores are computed in float64 and are what
Milvus means by its metrics: COSINE and IP, higher is nearer; L2 is the squared distance, lower is nearer (issue 7365 of
milvus-io/milvus; Milvus Lite 3.2 gives the distance itself, which has the same order).

A store computes in float32. Two rows that it cannot tell apart with certainty may stand in either order in a right
answer, so every score has a slack, and a row counts among the best k unless k others are better beyond all slack.
"""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lightragctl.core.errors import LightragctlError
from lightragctl.vectors.model import Block, FloatArray, WrongDimensionError

Metric = Literal["COSINE", "IP", "L2"]

_Doubles = NDArray[np.float64]
_Ids = NDArray[np.object_]

_SCORES = 1 << 20
"""Scores that are held at a time: 8 MiB for each of the few arrays of them."""

_FLOAT32_STEP = 2.0**-23
"""Distance of 1 from the next float32; rounding errs by half of it."""


@dataclass(frozen=True, eq=False)
class Neighbours:
    """The nearest rows of one query, nearest first, equal scores by id.

    Attributes:
        k: the requested number.
        ids: the best k, or all rows where there are fewer; then those that float32 could put among the best k.
        scores: `(len(ids),) float64`, as the metric gives them.
        slack: `(len(ids),) float64`, how far float32 may be off each score.
    """

    metric: Metric
    k: int
    ids: tuple[str, ...]
    scores: _Doubles
    slack: _Doubles

    def admissible(self, k: int) -> frozenset[str]:
        """The ids that a correct answer for k may contain, with k at most the one of this search.

        Raises:
            ValueError: k is greater than that, or below 1.
        """
        if not 1 <= k <= self.k:
            raise ValueError(f"k is {k}, but only the {self.k} nearest rows are known")
        closeness = -self.scores if self.metric == "L2" else self.scores
        reaching = closeness + self.slack >= _border(closeness, self.slack, k)
        return frozenset(name for name, reaches in zip(self.ids, reaching, strict=True) if reaches)

    def nearest(self, k: int, without: str | None = None) -> "Neighbours":
        """The k nearest of these and what ties with them, as if the row `without` were not in the collection.

        Raises:
            ValueError: k is not below the one of this search although a row is excluded.
        """
        if not 1 <= k <= self.k - (without in self.ids):
            raise ValueError(f"k is {k}, but only the {self.k} nearest rows are known")
        left = [at for at, name in enumerate(self.ids) if name != without]
        rest = Neighbours(self.metric, k, tuple(self.ids[at] for at in left), self.scores[left], self.slack[left])
        right = rest.admissible(k)
        kept = [at for at, name in enumerate(rest.ids) if name in right]
        return Neighbours(self.metric, k, tuple(rest.ids[at] for at in kept), rest.scores[kept], rest.slack[kept])


def exact_neighbours(queries: FloatArray, blocks: Iterable[Block], k: int, metric: Metric) -> list[Neighbours]:
    """The nearest rows of each query.

    Ties are all kept: a collection that repeats one vector many times takes that much memory.

    Args:
        queries: `(nq, dim) float32`.
        blocks: all rows of the collection, each once, in blocks of any size and order; consumed once.
        k: at least 1.

    Returns:
        One for each query, in their order.

    Raises:
        WrongDimensionError: queries and rows differ in dimension.
        LightragctlError: there are no rows, one of the nearest came twice, or a vector holds NaN or infinity.
    """
    wanted = _checked(queries, queries.shape[1])
    kept = [_BestRows() for _ in wanted]
    rows = 0
    for ids, vectors in _parts(blocks, len(wanted)):
        rows += len(ids)
        seen = _compare(wanted, _checked(vectors, wanted.shape[1]), metric)
        reaching = seen.closeness + seen.slack >= np.array([[one.border] for one in kept])
        for at in np.flatnonzero(reaching.any(axis=1)):
            chosen = reaching[at]
            kept[at].add(ids[chosen], seen.closeness[at][chosen], seen.slack[at][chosen], k)
    if not rows:
        raise LightragctlError("there are no rows to compare with", "load documents first")
    return [one.ranked(metric, k) for one in kept]


def recall(found: Sequence[str], neighbours: Neighbours, k: int) -> float:
    """Recall at k of one search, 0 to 1: the share of found ids as near as the k-th nearest row.

    So it is immaterial which of the rows that tie for the last places are found. Where more than these tie, one of
    them may also stand for a nearer row that was missed, as in the field's usual figure.

    Args:
        found: the ids that the search gave, best first; more than k are cut.
        neighbours: of the same query, for k or more.

    Source:
        ann-benchmarks (M. Aumüller, E. Bernhardsson, A. Faithfull, Information Systems 87, 2020).
    """
    most = min(k, len(neighbours.ids))
    if not most:
        return 1.0  # the passage that is the query is the only one, so that there is nothing to miss
    return len(neighbours.admissible(k).intersection(found[:k])) / most


class _OrientedScores(NamedTuple):
    """Scores turned so that higher is nearer, and their slack; both `(nq, n) float64`."""

    closeness: _Doubles
    slack: _Doubles


@dataclass
class _BestRows:
    """The best rows of one query so far. What does not reach the border now never will: it only rises."""

    ids: _Ids = field(default_factory=lambda: np.empty(0, object))
    closeness: _Doubles = field(default_factory=lambda: np.empty(0))
    slack: _Doubles = field(default_factory=lambda: np.empty(0))
    border: float = -math.inf

    def add(self, ids: _Ids, closeness: _Doubles, slack: _Doubles, k: int) -> None:
        closeness, slack = np.append(self.closeness, closeness), np.append(self.slack, slack)
        self.border = _border(closeness, slack, k)
        reaching = closeness + slack >= self.border
        self.ids = np.append(self.ids, ids)[reaching]
        self.closeness, self.slack = closeness[reaching], slack[reaching]

    def ranked(self, metric: Metric, k: int) -> Neighbours:
        order = sorted(range(len(self.ids)), key=lambda at: (-self.closeness[at], self.ids[at]))
        ids = tuple(self.ids[order])
        most, times = Counter(ids).most_common(1)[0]
        if times > 1:
            raise LightragctlError(f"row '{most}' occurs {times} times", "pass each row of the collection once")
        scores = self.closeness[order]
        return Neighbours(metric, k, ids, -scores if metric == "L2" else scores, self.slack[order])


def _border(closeness: _Doubles, slack: _Doubles, k: int) -> float:
    """What a row's closeness must reach with its slack: the k-th best closeness of all when theirs is taken off."""
    if len(closeness) < k:
        return -math.inf
    return float(np.partition(closeness - slack, -k)[-k])


def _parts(blocks: Iterable[Block], queries: int) -> Iterator[tuple[_Ids, FloatArray]]:
    """The blocks, cut so that no more scores than `_SCORES` come of one."""
    rows = max(1, _SCORES // max(1, queries))
    for ids, vectors in blocks:
        for begin in range(0, len(ids), rows):
            yield np.array(ids[begin : begin + rows], object), vectors[begin : begin + rows]


def _checked(vectors: FloatArray, dimension: int) -> _Doubles:
    if vectors.shape[1] != dimension:
        raise WrongDimensionError(
            f"queries have dimension {dimension} and rows {vectors.shape[1]}", "embed both with the same model"
        )
    if not np.isfinite(vectors).all():
        raise LightragctlError("a vector holds NaN or infinity", "check the embedding model")
    return vectors.astype(np.float64)


def _compare(queries: _Doubles, vectors: _Doubles, metric: Metric) -> _OrientedScores:
    """Closeness of every query to every row.

    A zero vector has COSINE 0 to everything, as in Milvus (knowhere pull request 803).
    """
    if metric == "COSINE":
        queries, vectors = _unit(queries), _unit(vectors)
    products = queries @ vectors.T
    squares = np.sum(queries**2, axis=1)[:, np.newaxis], np.sum(vectors**2, axis=1)
    match metric:
        case "COSINE":
            return _OrientedScores(products, _slack(np.ones_like(products), queries.shape[1]))
        case "IP":
            return _OrientedScores(products, _slack(np.sqrt(squares[0] * squares[1]), queries.shape[1]))
        case "L2":
            distances = np.maximum(0.0, squares[0] + squares[1] - 2 * products)
            size = (np.sqrt(squares[0]) + np.sqrt(squares[1])) ** 2
            return _OrientedScores(-distances, _slack(size, queries.shape[1]))


def _slack(size: _Doubles, dimension: int) -> _Doubles:
    """How far a score in float32 may be off.

    A sum of `dimension` rounded products is off by about sqrt(dimension) half steps of the product of the two norms;
    the norms that COSINE divides by, and the squares that L2 is put together from, are off by as much again. That sum,
    and two steps more for short vectors, was 1.4 times or more what float32 was off in 112,000 scores of four kinds
    of vectors (2 to 1536 dimensions, summed one by one, in pairs and by BLAS).

    Args:
        size: what products add up to at most: 1 for COSINE, |q||x| for IP. (|q| + |x|)^2 for L2, since Milvus may
            compute it as |q|^2 + |x|^2 - 2qx, where small distances lose most digits (milvus-io/knowhere issue 235).

    Source:
        N. Higham, T. Mary, "A new approach to probabilistic rounding error analysis", SIAM J. Sci. Comput. 41 (2019).
    """
    return size * ((math.sqrt(dimension) + 2) * _FLOAT32_STEP)


def _unit(vectors: _Doubles) -> _Doubles:
    norms: NDArray[Any] = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(norms == 0, 1.0, norms)
