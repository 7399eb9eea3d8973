"""The golden set: queries with known correct answers, and the check of a workspace against them. Pure.

A query is the stored vector of a passage (`row`) or a question (`recorded`, or from a `file`) with its vector. Its
right answer is the exact one over all rows when the set was built.

The passage that a `row` query was taken from is no part of its answer: an index that finds anything finds a vector by
itself, so that it would add 1/k to the recall of every such query and hide as much of what is missed. It is left out
of the exact answer and of what a search gives, and one more is searched for.
"""

import hashlib
import heapq
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, cast, get_args

from pydantic import BaseModel, ConfigDict

from lightragctl.core.errors import LightragctlError, RefusedError, UsageError
from lightragctl.core.hint import Command, Hint
from lightragctl.core.settings import EmbeddingModel
from lightragctl.quality.exact import Metric, Neighbours, recall
from lightragctl.quality.stats import Interval, bounded_mean, mean_share, queries_needed
from lightragctl.vectors.model import FloatArray

Origin = Literal["row", "recorded", "file"]

MOST_WORST = 5
_SEED = 0
"""Of the intervals, so that equal answers give equal figures."""


class GoldenMissingError(LightragctlError):
    """The workspace has no golden set."""

    code = "no-golden-set"


class StoredModel(BaseModel):
    """A model read from a store; unknown keys are ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class WorkspaceContent(StoredModel):
    """The content of a workspace at one time: its collection, its `epoch`, and its number of rows."""

    collection: str
    epoch: str
    rows: int


class Head(StoredModel):
    """The metadata of a golden set.

    Attributes:
        version: counts the sets of a workspace.
        built_at: unix seconds.
        tool: the version of lightragctl that built it.
        held: the workspace when the right answers were found.
        k: how many nearest rows of each query are known.
        model: what the vectors came from.
        seed: of the sample of rows.
        counts: queries by origin.
        digest: of all queries as they are stored, so that a set is whole or is not taken.
    """

    version: int
    built_at: int
    tool: str
    held: WorkspaceContent
    metric: Metric
    k: int
    model: EmbeddingModel
    seed: int
    counts: dict[Origin, int]
    digest: str

    @property
    def queries(self) -> int:
        """The number of queries."""
        return sum(self.counts.values())


@dataclass(frozen=True, eq=False)
class Query:
    """A query. `row`: the id of the row whose vector it is; None for a question."""

    origin: Origin
    text: str
    vector: FloatArray
    row: str | None = None


@dataclass(frozen=True, eq=False)
class KnownAnswer:
    """A query and its correct answer: the `Head.k` nearest rows and ties."""

    query: Query
    neighbours: Neighbours


@dataclass(frozen=True)
class GoldenSet:
    """A whole golden set, its queries in the order of their numbers from 1."""

    head: Head
    answers: tuple[KnownAnswer, ...]


@dataclass(frozen=True)
class Floors:
    """Minimum values, 0 to 1; None: reported only."""

    recall: float | None = 0.9
    overlap: float | None = None


class FloorStatus(StrEnum):
    """How a figure compares with its floor; `inconclusive` when its interval contains the floor."""

    REPORTED = "reported"
    MET = "met"
    BELOW = "below"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True)
class GoldenFigure:
    """A mean over queries with its 95 % interval.

    `needed`: about how many queries would decide which side of the floor it is on, if these do not; None where no
    number would.
    """

    name: Literal["recall", "end_to_end", "overlap"]
    mean: float
    interval: Interval
    queries: int
    floor: float | None
    verdict: FloorStatus
    needed: int | None = None


@dataclass(frozen=True)
class CurrentAnswers:
    """The present answers of a workspace, by query.

    Attributes:
        found: ids that the index gave, best first, without the row that is the query.
        exact: the right answer now.
        end_to_end: ids that lightrag-api gave, by place in the set; questions only.
    """

    found: Sequence[Sequence[str]]
    exact: Sequence[Neighbours]
    end_to_end: Mapping[int, Sequence[str]]


@dataclass(frozen=True)
class QueryFigures:
    """One query: recall of the index and of lightrag-api (None for a row), overlap with the answer when it was built.

    `missed`: ids of the right answer that the index did not give, nearest first.
    """

    number: int
    origin: Origin
    text: str
    recall: float
    end_to_end: float | None
    overlap: float
    missed: tuple[str, ...]

    @property
    def least_recall(self) -> float:
        """The lower recall of the two."""
        return self.recall if self.end_to_end is None else min(self.recall, self.end_to_end)


@dataclass(frozen=True)
class GoldenReport:
    """The result of a check.

    Attributes:
        held: the workspace now.
        scanned: whether the right answers were recomputed; else those of the set still hold.
        stale: why the set is not of what the workspace holds now; empty when it is.
        others: the number of queries whose right answer has changed.
        moving: the workspace was written to during the check, so that figures may be off.
        worst: the queries that lost most, worst first, at most `MOST_WORST`.
    """

    head: Head
    held: WorkspaceContent
    k: int
    scanned: bool
    stale: tuple[str, ...]
    others: int
    moving: bool
    figures: tuple[GoldenFigure, ...]
    worst: tuple[QueryFigures, ...]


def sample(ids: Iterable[str], count: int, seed: int) -> list[str]:
    """Some of the ids, any as likely as any other, whatever their order; takes memory for as many as are taken.

    They are those with the least hashes, so that the sample of a workspace changes only where its rows do.
    """
    return heapq.nsmallest(count, ids, key=lambda name: hashlib.sha256(f"{seed}:{name}".encode()).digest())


def questions(recorded: Iterable[str], given: Iterable[str], most_recorded: int) -> dict[str, Origin]:
    """Distinct questions and where each came from; the newest recorded ones, and all that were given."""
    found: dict[str, Origin] = dict.fromkeys(given, "file")
    for text in dict.fromkeys(recorded):
        if len([origin for origin in found.values() if origin == "recorded"]) == most_recorded:
            break
        found.setdefault(text, "recorded")
    return found


def metric_of(name: str) -> Metric:
    """A metric by Milvus' name.

    Raises:
        UsageError: we know no exact search by it.
    """
    if name not in get_args(Metric):
        raise UsageError(f"metric {name} is not supported by golden sets", f"use one of {', '.join(get_args(Metric))}")
    return cast(Metric, name)


def depth(k: int | None, head: Head) -> int:
    """The number of results to compare.

    Raises:
        UsageError: deeper than the right answers are known.
    """
    if k is not None and not 1 <= k <= head.k:
        raise UsageError(
            f"k is {k}, and the golden set knows the {head.k} nearest",
            Hint("build a deeper one: ", Command("golden build", f"-k {k}")),
        )
    return k or head.k


def refuse_other_model(head: Head, model: EmbeddingModel) -> None:
    """Reject a set of another embedding model.

    Raises:
        RefusedError: the set was built with another model than the profile's.
    """
    if head.model != model:
        raise RefusedError(
            f"the golden set was built with another embedding model ({head.model}) than the profile's ({model})",
            Hint(
                "pass the --set and --values that the release was started with, or rebuild the set: ",
                Command("golden build"),
            ),
        )


def staleness(head: Head, held: WorkspaceContent) -> tuple[str, ...]:
    """Why the set does not match the content of the workspace."""
    before = head.held
    reasons = []
    if before.collection != held.collection:
        reasons.append(f"the passages are in {held.collection}, previously in {before.collection}")
    if before.rows != held.rows:
        reasons.append(f"{held.rows} rows, previously {before.rows}")
    elif before.epoch != held.epoch:
        reasons.append("rows were written since then")
    return tuple(reasons)


def kept(found: Sequence[str], neighbours: Neighbours, k: int) -> float:
    """The share, 0 to 1, of an answer's first k ids that were right when the set was built; ties count as right.

    It is of the longer one of the two, so that an answer that is cut short does not look the same.
    """
    right = neighbours.admissible(k).intersection(found[:k])
    longer = max(len(found[:k]), min(k, len(neighbours.ids)))
    return len(right) / longer if longer else 1.0


def judged(golden: GoldenSet, answers: CurrentAnswers, k: int) -> list[QueryFigures]:
    """The metrics of each query, in the order of the set."""
    rows = []
    for at, (known, found, exact) in enumerate(zip(golden.answers, answers.found, answers.exact, strict=True)):
        through = answers.end_to_end.get(at)
        end_to_end = None if through is None else recall(through, exact, k)
        query, missed = known.query, [name for name in exact.ids[:k] if name not in found[:k]]
        figures = (recall(found, exact, k), end_to_end, kept(found, known.neighbours, k))
        rows.append(QueryFigures(at + 1, query.origin, query.text, *figures, tuple(missed)))
    return rows


def figures(rows: Sequence[QueryFigures], floors: Floors) -> tuple[GoldenFigure, ...]:
    """Recall of the index; recall through lightrag-api for questions; overlap with the set's answers."""
    through = [row.end_to_end for row in rows if row.end_to_end is not None]
    found = [_figure("recall", [row.recall for row in rows], floors.recall)]
    if through:
        found.append(_figure("end_to_end", through, floors.recall))
    found.append(_figure("overlap", [row.overlap for row in rows], floors.overlap))
    return tuple(found)


def worst(rows: Sequence[QueryFigures]) -> tuple[QueryFigures, ...]:
    """The queries with the lowest recall, then the lowest overlap."""
    lost = [row for row in rows if min(row.least_recall, row.overlap) < 1]
    return tuple(sorted(lost, key=lambda row: (row.least_recall, row.overlap))[:MOST_WORST])


def changed(golden: GoldenSet, exact: Sequence[Neighbours], k: int) -> int:
    """The number of queries whose correct answer has changed, ties aside."""
    pairs = zip(golden.answers, exact, strict=True)
    return sum(known.neighbours.admissible(k) != now.admissible(k) for known, now in pairs)


def _figure(
    name: Literal["recall", "end_to_end", "overlap"], values: Sequence[float], floor: float | None
) -> GoldenFigure:
    mean, interval = mean_share(values), bounded_mean(values, _SEED)
    verdict = FloorStatus.REPORTED if floor is None else _verdict(values, interval, floor)
    needed = queries_needed(values, floor) if floor is not None and verdict is FloorStatus.INCONCLUSIVE else None
    return GoldenFigure(name, mean, interval, len(values), floor, verdict, needed)


def _verdict(values: Sequence[float], interval: Interval, floor: float) -> FloorStatus:
    """How a metric compares with its floor.

    A floor of 1 asks that nothing is lost: one query that loses something is enough to know that it is not kept, and
    no number of them would raise the lower end of an interval to 1.
    """
    if floor == 1:
        return FloorStatus.MET if min(values) == 1 else FloorStatus.BELOW
    if interval.low >= floor:
        return FloorStatus.MET
    return FloorStatus.BELOW if interval.high < floor else FloorStatus.INCONCLUSIVE
