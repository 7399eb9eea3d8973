"""Searches for the best index: rounds over more and more rows, the knob of each build bisected. Does network I/O."""

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from lightragctl.core.errors import LightragctlError, RefusedError
from lightragctl.core.result import Event, Notify
from lightragctl.quality.exact import Neighbours, exact_neighbours
from lightragctl.quality.golden import metric_of
from lightragctl.tune.bisect import least_value, next_value
from lightragctl.tune.ledger import Ledger, Pick, Subject, locked, open_ledger
from lightragctl.tune.points import Built, Option, Point, Targets, Verdict, conclude, rungs, survivors
from lightragctl.tune.queries import ROW, Queries, Questions, completed
from lightragctl.tune.space import GUIDE, LIVE, Candidate, Param, candidates
from lightragctl.tune.trials import Pace, Trials
from lightragctl.vectors.applied import AppliedIndex
from lightragctl.vectors.blocks import vector_blocks
from lightragctl.vectors.copying import loaded
from lightragctl.vectors.indexing import Patience, ServerMemory
from lightragctl.vectors.model import Block, FloatArray
from lightragctl.vectors.store import CollectionStore

STALL_S = 60.0
"""A build that indexes no row for this long is abandoned."""
_GUESS = {"ef": 32, "nprobe": 8}
_HEADROOM = 2.5
"""Memory that a trial needs: rows that are written, and the index while it is built, in vectors."""
_GROWTH = (1, 2, 10)
_PART = 4096


@dataclass(frozen=True)
class Plan:
    """What to search.

    Attributes:
        workspace, kind: of the collection.
        collection: its physical name.
        dimension: of its vectors.
        current: its index.
        targets: of the pick.
        queries: how many at most.
        rows: at most; None: all.
        budget_s: no further index is built after this time.
        share: of the time that a search may be in flight.
        seed: of samples.
        restart: do not continue an interrupted search.
    """

    workspace: str
    kind: str
    collection: str
    dimension: int
    current: Candidate
    targets: Targets
    queries: int = 200
    rows: int | None = None
    budget_s: float = 3600.0
    share: float = 0.5
    seed: int = 0
    restart: bool = False


@dataclass(frozen=True)
class Ground:
    """What a search works with.

    Attributes:
        store: of the workspace; it is only read.
        trial_uri: of the store for trials.
        separate: whether that is another store.
        questions: of users.
        memory: of the trial store; None where it is unknown.
        ledger: its file.
        candidates: what to try, for a number of rows, a dimension and the current index.
        clock: seconds.
    """

    store: CollectionStore
    trial_uri: str
    separate: bool
    questions: Questions
    memory: Callable[[], ServerMemory | None]
    ledger: Path
    candidates: Callable[[int, int, Candidate], Sequence[Candidate]] = candidates
    clock: Callable[[], float] = time.monotonic


@dataclass(frozen=True)
class Projection:
    """Bytes of the pick's index when the collection has grown."""

    times: int
    rows: int
    size_bytes: int


@dataclass(frozen=True)
class Found:
    """The result of a search.

    Attributes:
        rows: of the collection.
        measured_rows: of the round that the verdict is of.
        verdict: the conclusion.
        dropped: why candidates did not reach that round, by name.
        points, built: all measurements of the subject.
        origins: how many queries there are of each origin.
        projections: memory of the pick.
        warnings: what limits the result.
        took_s: of this run.
        continued: whether an earlier run was continued.
    """

    plan: Plan
    rows: int
    measured_rows: int
    verdict: Verdict
    dropped: dict[str, str]
    points: Sequence[Point]
    built: Sequence[Built]
    origins: dict[str, int]
    projections: Sequence[Projection]
    warnings: Sequence[str]
    took_s: float
    continued: bool


@dataclass
class _Data:
    """The rows of the workspace in a random order, and the queries."""

    ids: list[str]
    vectors: FloatArray
    queries: Queries


def search(ground: Ground, plan: Plan, notify: Notify) -> Found:
    """Search for the best index of a collection.

    Raises:
        LockedError: another search of the collection is running.
        RefusedError: there is too little memory for a trial.
        LightragctlError: the collection is empty.
    """
    begun_s = ground.clock()
    with locked(ground.ledger):
        data = _read(ground, plan, notify)
        _check_memory(ground, plan, len(data.ids))
        ledger = open_ledger(ground.ledger, _subject(ground, plan, data), plan.restart)
        if ledger.continued:
            notify(Event(f"continuing with {len(ledger.points)} measurements of an earlier run"))
        token = hashlib.sha256(str(ground.ledger).encode()).hexdigest()[:12]
        trials = Trials(ground.trial_uri, token, plan.dimension, Pace(plan.share))
        with trials.opened():
            rounds = _Rounds(ground, plan, data, ledger, trials, notify, begun_s + plan.budget_s)
            rounds.run()
        found = _found(ground, plan, data, rounds, begun_s)
        ledger.close(_pick(found))
        return found


@dataclass
class _Rounds:
    """The rounds of one search."""

    ground: Ground
    plan: Plan
    data: _Data
    ledger: Ledger
    trials: Trials
    notify: Notify
    until_s: float
    dropped: dict[str, str] = field(default_factory=dict)
    expired: bool = False
    _done: float = 0.0
    _spent_s: float = 0.0

    def run(self) -> None:
        """Measure the candidates on more and more rows."""
        entered = self._affordable(self.ground.candidates(len(self.data.ids), self.plan.dimension, self.plan.current))
        steps = rungs(len(self.data.ids))
        for step, rows in enumerate(steps):
            self._add(rows)
            exact = self._exact(rows)
            alive = []
            for at, candidate in enumerate(entered):
                left = self._left_s(steps[step + 1 :], len(entered) - at, rows)
                if self._measured(candidate, rows, exact, left):
                    alive.append(candidate)
                if self.expired:
                    return
            entered = self._next(alive, rows, step == len(steps) - 2) if rows != steps[-1] else alive

    def _affordable(self, all_of: Sequence[Candidate]) -> list[Candidate]:
        """Those that fit into the memory that is allowed; the current index is always measured."""
        most, found = self.plan.targets.max_bytes, []
        for one in all_of:
            size = one.size_bytes(len(self.data.ids), self.plan.dimension)
            if most is not None and size > most and not one.role:
                self.dropped[one.name] = f"would take {size / 2**20:.0f} Mi, more than {most / 2**20:.0f} Mi"
            else:
                found.append(one)
        return found

    def _add(self, rows: int) -> None:
        begin = self.trials.rows
        if rows <= begin:
            return
        written = 0

        def done(count: int) -> None:
            nonlocal written
            written += count
            self.notify(Event(f"writing trial rows: {begin + written} of {rows}", self.trials.name, passing=True))

        self.trials.add(self.data.ids[begin:rows], np.asarray(self.data.vectors[begin:rows]), done)

    def _exact(self, rows: int) -> list[Neighbours]:
        """The exact answers among the first rows, without a query's own row."""
        self.notify(Event(f"exact search over {rows} rows", self.trials.name, passing=True))
        queries, k = self.data.queries, self.plan.targets.k
        metric = metric_of(self.plan.current.metric)
        found = exact_neighbours(queries.vectors, _blocks(self.data, rows), k + 1, metric)
        return [near.nearest(k, without=own) for near, own in zip(found, queries.own, strict=True)]

    def _measured(self, candidate: Candidate, rows: int, exact: Sequence[Neighbours], left: str) -> bool:
        """Build a candidate and bisect its knob; False when it is out."""
        is_final = rows == len(self.data.ids) and not candidate.role
        ladder = candidate.ladder(rows, self.plan.targets.k, fine=is_final)
        guess = self._guess(candidate, rows)
        if self._next_value(candidate, rows, ladder, guess) is None:
            return True  # an earlier run has measured it
        if self.ground.clock() >= self.until_s:
            self.expired = True
            return False
        begun_s = self.ground.clock()
        self.notify(Event(f"building {candidate.name} on {rows} rows{left}", self.trials.name, passing=True))
        patience = Patience(max(STALL_S, self.until_s - begun_s), STALL_S)
        built = self.trials.build(candidate, patience)
        self.ledger.note(built)
        if built.trouble:
            self.dropped[candidate.name] = built.trouble
            return False
        while (value := self._next_value(candidate, rows, ladder, guess)) is not None:
            self.notify(Event(f"measuring {candidate.name} on {rows} rows{left}", self.trials.name, passing=True))
            self.ledger.record(self.trials.measure(candidate, value, self.data.queries, exact, self.plan.targets.k))
        self._done += rows
        self._spent_s += self.ground.clock() - begun_s
        return True

    def _next_value(self, candidate: Candidate, rows: int, ladder: Sequence[int], guess: int) -> int | None:
        """The value to measure next: first what the workspace is searched with, then by bisection."""
        recalls = self.ledger.recalls(candidate.name, rows)
        present = dict(candidate.search).get(candidate.knob)
        if present is not None and present not in recalls:
            return present
        if candidate.role == GUIDE and any(one >= self.plan.targets.min_recall for one in recalls.values()):
            return None  # a baseline: that it reaches the recall, and how fast, is enough
        return next_value(ladder, recalls, self.plan.targets.min_recall, guess)

    def _guess(self, candidate: Candidate, rows: int) -> int:
        """Where to begin: what reached the floor on fewer rows, else a usual value."""
        smaller = [one for one in self.ledger.points if one.candidate == candidate.name and one.rows < rows]
        if smaller:
            last = max(one.rows for one in smaller)
            found = least_value(
                sorted({one.value for one in smaller if one.rows == last}),
                self.ledger.recalls(candidate.name, last),
                self.plan.targets.min_recall,
            )
            if found is not None:
                return found
        return dict(candidate.search).get(candidate.knob) or _GUESS.get(candidate.knob, 0)

    def _next(self, alive: Sequence[Candidate], rows: int, last: bool) -> list[Candidate]:
        points = [one for one in self.ledger.points if one.rows == rows]
        floor = self.plan.targets.min_recall
        kept = survivors(alive, points, floor, last)
        best = max((one.rate for one in points if one.recall >= floor), default=0.0)
        for one in alive:
            if one not in kept:
                own = [point for point in points if point.candidate == one.name]
                rate = max((point.rate for point in own if point.recall >= floor), default=0.0)
                top = max((point.recall for point in own), default=0.0)
                slower = f"{best / rate:.1f} times slower than the best" if rate else f"recall {top:.3f} at most"
                self.dropped[one.name] = f"out on {rows} rows: {slower}"
        return kept

    def _left_s(self, later: Sequence[int], waiting: int, rows: int) -> str:
        """The remaining time, from what builds took so far."""
        if not self._done:
            return ""
        to_come = waiting * rows + sum(4 * one for one in later)
        left_s = min(self._spent_s / self._done * to_come, max(0.0, self.until_s - self.ground.clock()))
        return f", about {left_s / 60:.0f} min left" if left_s >= 60 else f", about {left_s:.0f} s left"


def _read(ground: Ground, plan: Plan, notify: Notify) -> _Data:
    """All rows of the collection in a random order, and the queries."""
    ids: list[str] = []
    blocks: list[FloatArray] = []
    with loaded(ground.store, plan.collection):
        total = ground.store.row_count(plan.collection)
        for names, vectors in vector_blocks(ground.store, plan.collection, plan.dimension):
            ids += names
            blocks.append(vectors)
            notify(Event(f"reading vectors: {len(ids)} of {total}", plan.collection, passing=True))
            if plan.rows is not None and len(ids) >= plan.rows:
                break
    if len(ids) <= plan.targets.k:
        raise LightragctlError(f"collection {plan.collection} has {len(ids)} rows, too few to compare indexes")
    order = np.random.default_rng(plan.seed).permutation(len(ids))[: plan.rows]
    everything = np.concatenate(blocks)[order].astype(np.float32)
    named = [ids[at] for at in order]
    return _Data(named, everything, completed(ground.questions(plan.queries), named, everything, plan.queries))


def _blocks(data: _Data, rows: int) -> Iterator[Block]:
    for begin in range(0, rows, _PART):
        end = min(rows, begin + _PART)
        yield data.ids[begin:end], data.vectors[begin:end]


def _check_memory(ground: Ground, plan: Plan, rows: int) -> None:
    memory = ground.memory()
    needed = round(_HEADROOM * 4 * plan.dimension * rows)
    if memory is not None and needed > memory.free_bytes:
        raise RefusedError(
            f"a trial needs about {needed / 2**20:.0f} Mi, and the store has {memory.free_bytes / 2**20:.0f} Mi free",
            "use a separate store with --trial-store URI, or fewer rows with --rows N",
        )


def _subject(ground: Ground, plan: Plan, data: _Data) -> Subject:
    digest = hashlib.sha256(np.ascontiguousarray(data.queries.vectors).tobytes()).hexdigest()[:16]
    store = ground.trial_uri if ground.separate else "same"
    return Subject(plan.collection, len(data.ids), plan.targets.k, plan.seed, digest, store)


def _found(ground: Ground, plan: Plan, data: _Data, rounds: _Rounds, begun_s: float) -> Found:
    ledger, rows = rounds.ledger, len(data.ids)
    measured_rows = max((one.rows for one in ledger.points), default=0)
    known = {one.name: one for one in ground.candidates(rows, plan.dimension, plan.current)}
    builds = {one.candidate: one.build_s for one in ledger.built if one.rows == measured_rows}
    options = [
        Option(
            known[one.candidate],
            one,
            known[one.candidate].size_bytes(rows, plan.dimension),
            builds.get(one.candidate, 0.0),
        )
        for one in ledger.points
        if one.rows == measured_rows and one.candidate in known
    ]
    verdict = conclude(options, plan.targets, plan.current.metric)
    picked = verdict.pick
    projections = [
        Projection(times, times * rows, picked.candidate.size_bytes(times * rows, plan.dimension))
        for times in _GROWTH
        if picked
    ]
    return Found(
        plan,
        rows,
        measured_rows,
        verdict,
        rounds.dropped,
        ledger.points,
        ledger.built,
        data.queries.counts,
        projections,
        _warnings(plan, data, rounds, measured_rows),
        round(ground.clock() - begun_s, 1),
        ledger.continued,
    )


def _pick(found: Found) -> Pick:
    plan, picked = found.plan, found.verdict.pick
    before = _applied(plan.current, dict(plan.current.search), dict(plan.current.params))
    index = None
    if picked is not None:
        is_live = picked.candidate.role == LIVE
        build = before.build if is_live else picked.candidate.build(found.rows)
        index = _applied(picked.candidate, dict(picked.point.search), build)
    rebuilds = picked is not None and picked.candidate.role != LIVE
    reason = found.verdict.reason
    return Pick(plan.collection, before, index, rebuilds, found.verdict.keep, reason, plan.targets.min_recall)


def _applied(one: Candidate, search: dict[str, int], build: dict[str, Param]) -> AppliedIndex:
    return AppliedIndex(one.index_type, one.metric, build, search)


def _warnings(plan: Plan, data: _Data, rounds: _Rounds, measured_rows: int) -> list[str]:
    found = []
    if data.queries.counts.get(ROW):
        few = data.queries.counts[ROW]
        found.append(f"{few} queries are stored rows, not questions: questions of users may need other settings")
    if rounds.expired:
        found.append(f"the budget of {plan.budget_s:.0f} s was over: not every index was measured")
    if measured_rows < len(data.ids):
        found.append(f"the figures are of {measured_rows} rows, not of {len(data.ids)}")
    return found
