"""Builds, reads and checks golden sets, with injected stores and models.

The set is in the control collection of the workspace, which is ours; collections of lightrag-server are only read. The
epoch stays, because no answer changes. A build that is killed leaves the set before it: the head is written last, and
what it leaves behind goes with the next build.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec
import numpy as np

from lightragctl.core.errors import LightragctlError, RefusedError, UsageError
from lightragctl.core.hint import Command, Hint
from lightragctl.core.result import Event, Notify
from lightragctl.core.settings import EmbeddingModel
from lightragctl.quality import golden, golden_rows
from lightragctl.quality.exact import Neighbours, exact_neighbours
from lightragctl.quality.golden import (
    CurrentAnswers,
    Floors,
    GoldenReport,
    GoldenSet,
    Head,
    KnownAnswer,
    Origin,
    Query,
    WorkspaceContent,
)
from lightragctl.vectors.applied import read_applied
from lightragctl.vectors.blocks import all_ids, vector_blocks
from lightragctl.vectors.control import (
    EPOCH,
    ModelIdentity,
    chunks_alias,
    control_name,
    control_row,
    is_ours,
    model_key,
    settings_difference,
    when_loaded,
)
from lightragctl.vectors.model import (
    Block,
    CollectionMissingError,
    FloatArray,
    Hit,
    IndexSpec,
    SearchBatch,
    control_spec,
)
from lightragctl.vectors.store import VectorStore

Search = Callable[[Sequence[SearchBatch]], list[list[Hit]]]
"""Hits of every vector of the batches, in their order."""

Embed = Callable[[Sequence[str]], FloatArray]
"""Vectors of questions, with the model's query prefix."""

Retrieve = Callable[[str, int], Sequence[str]]
"""The ids that lightrag-api gives for a question, best first, at most k."""

_Encoded = tuple[KnownAnswer, dict[str, Any]]

_SEARCHED_ROWS = 32
_WRITTEN_ROWS = 100


@dataclass(frozen=True)
class GoldenWorkspace:
    """A workspace, its embedding model, and its index settings."""

    workspace: str
    model: EmbeddingModel
    index: IndexSpec

    @property
    def control(self) -> str:
        """The control collection."""
        return control_name(self.workspace)


@dataclass(frozen=True)
class BuildPlan:
    """What to build from: a number of stored rows and questions. `now_s` in unix seconds, `tool`: our version."""

    rows: int
    questions: Mapping[str, Origin]
    k: int
    seed: int
    now_s: int
    tool: str


@dataclass(frozen=True)
class BuildResult:
    """The new set, and the number of queries omitted because they do not fit into a row."""

    golden: GoldenSet
    left_out: int


def held(store: VectorStore, place: GoldenWorkspace) -> WorkspaceContent:
    """The present content of the workspace.

    Raises:
        LightragctlError: it holds no passages of this model, or a single one.
    """
    alias = chunks_alias(place.workspace, place.model)
    physical = store.resolve(alias)
    if physical is None:
        raise LightragctlError(
            f"workspace '{place.workspace}' has no passages: collection {alias} does not exist",
            Hint("load documents first: ", Command("ingest", "PATH")),
        )
    # Asked, because Milvus Lite counts the rows of a collection that it does not read.
    if is_ours(place.workspace, physical, place.model) and not store.is_loaded(physical):
        store.load(physical)
    epoch = _control(store, place, [EPOCH]).get(EPOCH, "")
    rows = store.row_count(physical)
    if rows == 1:
        message = f"workspace '{place.workspace}' has a single passage, which has no neighbours"
        raise LightragctlError(message, Hint("load more documents: ", Command("ingest", "PATH")))
    return WorkspaceContent(collection=physical, epoch=epoch, rows=rows)


def current(store: VectorStore, place: GoldenWorkspace) -> Head:
    """The metadata of the current set.

    Raises:
        GoldenMissingError: the workspace has none.
    """
    text = _control(store, place, [golden_rows.HEAD]).get(golden_rows.HEAD)
    if text is None:
        message = f"workspace '{place.workspace}' has no golden set"
        raise golden.GoldenMissingError(message, Hint("build one: ", Command("golden build", f"-w {place.workspace}")))
    return golden_rows.head_of(text)


def load(store: VectorStore, place: GoldenWorkspace) -> GoldenSet:
    """The current set.

    Raises:
        GoldenMissingError: the workspace has none.
        LightragctlError: it is not whole.
    """
    head = current(store, place)
    keys = golden_rows.keys(head)
    texts = _control(store, place, keys)
    return golden_rows.golden_set(head, [texts.get(key) for key in keys])


def versions(store: VectorStore, place: GoldenWorkspace) -> list[int]:
    """Stored versions, complete or not, oldest first."""
    try:
        return sorted({version for version, _ in _stored(store, place)})
    except CollectionMissingError:
        return []


def build(store: VectorStore, place: GoldenWorkspace, plan: BuildPlan, embed: Embed, notify: Notify) -> BuildResult:
    """Build the workspace's golden set from a sample and questions.

    Raises:
        UsageError: there is nothing to ask.
        RefusedError: the workspace's vectors came from another model.
        LightragctlError: there are no rows, or they changed meanwhile.
    """
    _refuse_other_model(store, place)
    before = held(store, place)
    queries = [*_sampled(store, before, plan, notify), *_embedded(plan.questions, embed, notify)]
    if not queries:
        raise UsageError("there are no queries", "set --sample N or --questions FILE")
    exact = _exact(place, queries, plan.k, _blocks(store, place, before, notify))
    if held(store, place) != before:
        message = f"workspace '{place.workspace}' was modified while its golden set was built"
        raise LightragctlError(message, Hint("build it while nothing is being loaded: ", Command("golden build")))
    known = [KnownAnswer(query, near) for query, near in zip(queries, exact, strict=True)]
    encoded = [(answer, value) for answer in known if (value := golden_rows.encoded(answer)) is not None]
    if not encoded:
        raise LightragctlError("no query fits into a row of the control collection", "store fewer neighbours: -k 10")
    head = _write(store, place, plan, before, encoded)
    return BuildResult(GoldenSet(head, tuple(answer for answer, _ in encoded)), len(known) - len(encoded))


@dataclass(frozen=True)
class Searchers:
    """How a check searches: the index directly, and lightrag-api."""

    search: Search
    retrieve: Retrieve


@dataclass(frozen=True)
class CheckOptions:
    """The number of results to compare (None: all known ones), and the minimum values."""

    k: int | None
    floors: Floors


def check(
    store: VectorStore, place: GoldenWorkspace, doors: Searchers, wanted: CheckOptions, notify: Notify
) -> GoldenReport:
    """Check how well the workspace answers the queries of its golden set. Writes nothing.

    Where collection, rows, epoch and metric are those of the build, its right answers still hold; else all rows are
    compared again.

    Raises:
        GoldenMissingError: there is no golden set.
        UsageError: `wanted.k` is more than are known.
        RefusedError: it was built with another model.
        LightragctlError: the set is not whole, the workspace is empty, or a backend does not respond.
    """
    known = load(store, place)
    head, k = known.head, golden.depth(wanted.k, known.head)
    golden.refuse_other_model(head, place.model)
    now = held(store, place)
    stale = golden.staleness(head, now)
    queries = [answer.query for answer in known.answers]
    scanned = bool(stale) or head.metric != place.index.metric_type
    kept = [answer.neighbours for answer in known.answers]
    exact = _exact(place, queries, head.k, _blocks(store, place, now, notify)) if scanned else kept
    tuned = read_applied(store, place.workspace).get(now.collection)
    searched = place if tuned is None else replace(place, index=tuned.spec)
    answers = CurrentAnswers(_found(doors, searched, now, queries, k), exact, _through(doors, queries, k, notify))
    rows = golden.judged(known, answers, k)
    return GoldenReport(
        head,
        now,
        k,
        scanned,
        stale,
        golden.changed(known, exact, k),
        held(store, place) != now,
        golden.figures(rows, wanted.floors),
        golden.worst(rows),
    )


def _control(store: VectorStore, place: GoldenWorkspace, keys: Sequence[str]) -> dict[str, str]:
    """Values of the control collection by key; those that are there."""
    try:
        rows = when_loaded(store, place.control, lambda: store.get(place.control, keys, ["value"]))
    except CollectionMissingError:
        return {}
    return {key: str(row["value"]) for key, row in rows.items()}


def _stored(store: VectorStore, place: GoldenWorkspace) -> list[tuple[int, str]]:
    """Version and id of every query that is stored."""
    ends = (golden_rows.FIRST, golden_rows.LAST)
    ids = when_loaded(store, place.control, lambda: list(all_ids(store, place.control, *ends)))
    return [(version, name) for name in ids if (version := golden_rows.version_of(name)) is not None]


def _refuse_other_model(store: VectorStore, place: GoldenWorkspace) -> None:
    key = model_key(place.model)
    text = _control(store, place, [key]).get(key)
    if text is None:
        return  # lightrag-server notes no model
    if difference := settings_difference(msgspec.json.decode(text, type=ModelIdentity), place.model):
        message = f"the vectors of workspace '{place.workspace}' are of another model than the profile's: {difference}"
        raise RefusedError(message, "pass the --set and --values that the release was started with")


def _sampled(store: VectorStore, before: WorkspaceContent, plan: BuildPlan, notify: Notify) -> list[Query]:
    """Queries of stored rows, in the order of the sample."""
    notify(Event(f"sampling {min(plan.rows, before.rows)} of {before.rows} rows", passing=True))
    ids = golden.sample(all_ids(store, before.collection), plan.rows, plan.seed)
    rows: Mapping[str, Mapping[str, Any]] = store.get(before.collection, ids, ["vector", "content"]) if ids else {}
    return [Query("row", rows[name]["content"], rows[name]["vector"], name) for name in ids if name in rows]


def _embedded(questions: Mapping[str, Origin], embed: Embed, notify: Notify) -> list[Query]:
    if not questions:
        return []
    notify(Event(f"embedding {len(questions)} questions", passing=True))
    vectors = embed(list(questions))
    return [Query(origin, text, vector) for (text, origin), vector in zip(questions.items(), vectors, strict=True)]


def _exact(place: GoldenWorkspace, queries: Sequence[Query], k: int, blocks: Iterator[Block]) -> list[Neighbours]:
    """The exact answer of each query over all rows, without the query's own row."""
    metric = golden.metric_of(place.index.metric_type)
    found = exact_neighbours(np.stack([query.vector for query in queries]), blocks, k + 1, metric)
    return [near.nearest(k, without=query.row) for query, near in zip(queries, found, strict=True)]


def _blocks(store: VectorStore, place: GoldenWorkspace, now: WorkspaceContent, notify: Notify) -> Iterator[Block]:
    """All rows, with progress as they are compared."""
    done = 0
    for ids, vectors in vector_blocks(store, now.collection, place.model.dimension):
        yield ids, vectors
        done += len(ids)
        notify(Event(f"exact search: compared {done} of {now.rows} rows", passing=True))


def _found(
    doors: Searchers, place: GoldenWorkspace, now: WorkspaceContent, queries: Sequence[Query], k: int
) -> list[list[str]]:
    """The results of the index for each query, without the query's own row."""
    vectors = np.stack([query.vector for query in queries])
    parts = [vectors[begin : begin + _SEARCHED_ROWS] for begin in range(0, len(vectors), _SEARCHED_ROWS)]
    hits = doors.search([SearchBatch(now.collection, part, k + 1, place.index, ()) for part in parts])
    return [[hit.id for hit in some if hit.id != query.row] for query, some in zip(queries, hits, strict=True)]


def _through(doors: Searchers, queries: Sequence[Query], k: int, notify: Notify) -> dict[int, Sequence[str]]:
    """The results of lightrag-api for each question, by index."""
    asked = [at for at, query in enumerate(queries) if query.row is None]
    found = {}
    for done, at in enumerate(asked, 1):
        found[at] = doors.retrieve(queries[at].text, k)
        notify(Event(f"queried lightrag-api: {done} of {len(asked)} questions", passing=True))
    return found


def _write(
    store: VectorStore, place: GoldenWorkspace, plan: BuildPlan, before: WorkspaceContent, encoded: Sequence[_Encoded]
) -> Head:
    """Write the queries, then the head; then delete versions older than the previous one."""
    store.create(control_spec(place.control))
    stored = _stored(store, place)
    previous = golden_rows.version_in(_control(store, place, [golden_rows.HEAD]).get(golden_rows.HEAD))
    version = max([previous, *(version for version, _ in stored)]) + 1
    rows = [
        control_row(golden_rows.key(version, number), value, plan.now_s)
        for number, (_, value) in enumerate(encoded, start=1)
    ]
    for begin in range(0, len(rows), _WRITTEN_ROWS):
        store.upsert(place.control, rows[begin : begin + _WRITTEN_ROWS])
    head = Head(
        version=version,
        built_at=plan.now_s,
        tool=plan.tool,
        held=before,
        metric=golden.metric_of(place.index.metric_type),
        k=plan.k,
        model=place.model,
        seed=plan.seed,
        counts=Counter(answer.query.origin for answer, _ in encoded),
        digest=golden_rows.digest(value for _, value in encoded),
    )
    store.upsert(place.control, [control_row(golden_rows.HEAD, head.model_dump(mode="json"), plan.now_s)])
    if old := [key for one, key in stored if one != previous]:
        store.delete(place.control, old)
    return head
