"""Golden sets on every store: what is built is whole and kept, what is checked is what was measured."""

import base64
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from lightragctl.core.errors import LightragctlError, RefusedError, UsageError
from lightragctl.core.result import Event
from lightragctl.core.settings import EmbeddingModel, Index
from lightragctl.quality import golden_store
from lightragctl.quality.golden import Floors, GoldenMissingError, GoldenReport, Origin
from lightragctl.quality.golden_store import BuildPlan, BuildResult, CheckOptions, GoldenWorkspace, Searchers
from lightragctl.vectors.control import (
    ModelIdentity,
    chunks_alias,
    control_name,
    control_row,
    epoch_row,
    model_key,
)
from lightragctl.vectors.model import (
    CollectionSpec,
    FloatArray,
    Hit,
    Row,
    SearchBatch,
    StoreUnavailableError,
    chunks_spec,
    control_spec,
    index_spec,
)
from lightragctl.vectors.store import VectorStore
from tests.contract.conftest import Subject
from tests.fakes.store import FakeSearch, FakeStore

MODEL = EmbeddingModel(name="m", dimension=16)
FLAT = Index(type="FLAT")
QUESTIONS: dict[str, Origin] = {"one": "file", "two": "recorded"}
PLAN = BuildPlan(rows=20, questions={}, k=5, seed=0, now_s=1_700_000_000, tool="0.1")
WANTED = CheckOptions(None, Floors())


def vectors(count: int, seed: int = 0, dimension: int = 16) -> FloatArray:
    return np.random.default_rng(seed).standard_normal((count, dimension)).astype(np.float32)


def embed(questions: Sequence[str]) -> FloatArray:
    return np.stack([vectors(1, seed=sum(question.encode()))[0] for question in questions])


def rows(given: FloatArray, first: int = 0) -> list[Row]:
    fixed = {"created_at": 1, "file_path": "a.md", "full_doc_id": "doc-1"}
    return [
        {**fixed, "id": f"r{at:05}", "vector": vector, "content": f"text {at}"}
        for at, vector in enumerate(given, first)
    ]


@dataclass
class Golden:
    """A workspace with passages, and the verbs on its golden set."""

    subject: Subject
    place: GoldenWorkspace

    @property
    def store(self) -> VectorStore:
        return self.subject.store

    def build(self, plan: BuildPlan = PLAN) -> BuildResult:
        return golden_store.build(self.store, self.place, plan, embed, lambda event: None)

    def check(self, wanted: CheckOptions = WANTED, told: list[Event] | None = None) -> GoldenReport:
        heard = [] if told is None else told
        return golden_store.check(self.store, self.place, Searchers(self.search, self.retrieve), wanted, heard.append)

    def search(self, batches: Sequence[SearchBatch]) -> list[list[Hit]]:
        return [hits for found in self.subject.search(*batches) for hits in found]

    def retrieve(self, question: str, k: int) -> list[str]:
        batch = SearchBatch(chunks_alias(self.place.workspace, MODEL), embed([question]), k, self.place.index, ())
        return [hit.id for hit in self.search([batch])[0]]

    def write(self, *given: Row) -> None:
        """Write passages as lightrag-api does."""
        self.store.upsert(self.physical, given)
        self.store.upsert(self.place.control, [epoch_row(len(self.control()["epoch"]) + 1)])

    @property
    def physical(self) -> str:
        return f"{chunks_alias(self.place.workspace, MODEL)}_g1"

    def control(self) -> dict[str, Any]:
        found = self.store.get(self.place.control, ["epoch", "golden", model_key(MODEL)], ["value"])
        return {key: row["value"] for key, row in found.items()}


def workspace(subject: Subject, given: FloatArray, index: Index = FLAT) -> Golden:
    """A workspace as lightrag-api makes it."""
    made = Golden(subject, GoldenWorkspace(subject.name, MODEL, index_spec(index)))
    probe = base64.b64encode(vectors(1).tobytes()).decode()
    identity = ModelIdentity(MODEL.name, MODEL.dimension, MODEL.query_prefix, MODEL.document_prefix, probe)
    subject.store.create(control_spec(control_name(subject.name)))
    subject.store.upsert(made.place.control, [control_row(model_key(MODEL), identity, 1), epoch_row(1)])
    subject.store.create(chunks_spec(made.physical, MODEL.dimension, index))
    subject.store.point_alias(chunks_alias(subject.name, MODEL), made.physical)
    subject.store.upsert(made.physical, rows(given))
    subject.store.flush(made.physical)
    return made


def fake(count: int = 100) -> Golden:
    store = FakeStore()
    return workspace(Subject(store, lambda: FakeSearch(store), "w"), vectors(count))


def test_an_exact_index_answers_all_queries_and_the_epoch_stays(subject: Subject) -> None:
    made = workspace(subject, vectors(300))
    before = made.control()["epoch"]
    built = made.build(replace(PLAN, questions=QUESTIONS))
    assert (built.golden.head.version, built.left_out) == (1, 0)
    assert built.golden.head.counts == {"row": 20, "file": 1, "recorded": 1}
    back = golden_store.load(made.store, made.place)
    assert back.head == built.golden.head
    assert [one.neighbours.ids for one in back.answers] == [one.neighbours.ids for one in built.golden.answers]
    report = made.check()
    assert [(one.name, one.mean, one.queries) for one in report.figures] == [
        ("recall", 1.0, 22),
        ("end_to_end", 1.0, 2),
        ("overlap", 1.0, 22),
    ]
    assert (report.scanned, report.stale, report.others, report.moving, report.worst) == (False, (), 0, False, ())
    assert made.control()["epoch"] == before


def test_a_query_is_no_part_of_its_own_answer(subject: Subject) -> None:
    made = workspace(subject, vectors(30))
    for one in made.build().golden.answers:
        assert one.query.row
        assert one.query.row not in one.neighbours.ids
        assert len(one.neighbours.ids) == 5


def test_deleted_and_new_rows_make_the_set_stale_and_the_overlap_drop(subject: Subject) -> None:
    made = workspace(subject, vectors(100))
    nearest = {name for one in made.build().golden.answers for name in one.neighbours.ids[:2]}
    made.store.delete(made.physical, sorted(nearest))
    told: list[Event] = []
    report = made.check(told=told)
    figures = {one.name: one.mean for one in report.figures}
    assert figures["recall"] == 1.0
    assert figures["overlap"] <= 0.6
    assert report.scanned
    assert report.stale == (f"{100 - len(nearest)} rows, previously 100",)
    assert report.others == 20
    assert "exact search: compared" in told[-1].message
    made.store.upsert(made.physical, rows(vectors(100)))
    assert {one.name: one.mean for one in made.check().figures}["overlap"] == 1.0


@pytest.mark.parametrize("subject", ["lite", pytest.param("milvus", marks=pytest.mark.milvus)], indirect=True)
def test_a_missed_neighbour_is_found_out(subject: Subject) -> None:
    """IVF that looks into one of 16 lists misses much; the figure is that of comparing everything by hand.

    Milvus builds no index below 1,024 rows of a segment, and spreads rows over two.
    """
    index = Index(type="IVF_FLAT", nlist=16, nprobe=1)
    made = workspace(subject, given := vectors(6000), index)
    subject.until_indexed(made.physical)
    subject.release(made.physical)  # loaded again, Milvus searches by the index at once and not some seconds later
    made.build(replace(PLAN, rows=50))
    report = made.check(CheckOptions(5, Floors(recall=0.95)))
    recall = report.figures[0]
    lengths = np.linalg.norm(given, axis=1, keepdims=True)
    scores = (given / lengths) @ (given / lengths).T
    np.fill_diagonal(scores, -1)
    right = np.argsort(-scores, axis=1)[:, :5]
    asked = [int(str(one.query.row)[1:]) for one in golden_store.load(made.store, made.place).answers]
    batches = [SearchBatch(made.physical, given[[at]], 6, made.place.index, ()) for at in asked]
    found = [
        [int(hit.id[1:]) for hit in hits if int(hit.id[1:]) != at][:5]
        for at, hits in zip(asked, made.search(batches), strict=True)
    ]
    by_hand = np.mean([len(set(right[at]) & set(some)) / 5 for at, some in zip(asked, found, strict=True)])
    assert recall.mean == pytest.approx(by_hand)
    assert recall.mean < 0.8
    assert recall.verdict == "below"
    assert report.worst[0].missed


def test_the_set_of_another_build_is_kept_and_older_ones_go() -> None:
    made = fake()
    for version in (1, 2, 3):
        assert made.build().golden.head.version == version
    assert golden_store.versions(made.store, made.place) == [2, 3]


class Dying(FakeStore):
    """Dies at a write, after it was done in part; then it lives again."""

    left = -1

    def _write(self) -> bool:
        self.left -= 1
        return self.left == 0

    def create(self, spec: CollectionSpec) -> None:
        super().create(spec)
        self._die(self._write())

    def upsert(self, name: str, given: Sequence[Row]) -> None:
        dies = self._write()
        super().upsert(name, given[: len(given) // 2] if dies else given)
        self._die(dies)

    def delete(self, name: str, ids: Sequence[str]) -> None:
        dies = self._write()
        super().delete(name, ids[: len(ids) // 2] if dies else ids)
        self._die(dies)

    def _die(self, now: bool) -> None:
        if now:
            raise StoreUnavailableError("killed")


def deaths() -> Iterator[tuple[Golden, Dying, bool]]:
    """A workspace with two sets whose third build dies, at its first write, at its second, and so on to its last."""
    for number in range(1, 100):
        store = Dying()
        made = workspace(Subject(store, lambda: FakeSearch(store), "w"), vectors(300))  # noqa: B023
        made.build(replace(PLAN, rows=10))
        made.build(replace(PLAN, rows=250, seed=1))
        store.left = number
        try:
            made.build(replace(PLAN, rows=250, seed=2))
        except StoreUnavailableError:
            store.left = -1
            yield made, store, number > 5
        else:
            assert number == 7, "create, three writes of queries, one of the head, one delete"
            return


def test_a_build_that_is_killed_at_any_write_leaves_a_whole_set() -> None:
    seen = []
    for made, _, has_head in deaths():
        known = golden_store.load(made.store, made.place)
        seen.append(known.head.version)
        assert known.head.seed == (2 if has_head else 1)
        assert made.check().figures[0].mean == 1.0
        made.build(replace(PLAN, seed=3))
        assert golden_store.load(made.store, made.place).head.seed == 3
        assert len(golden_store.versions(made.store, made.place)) == 2
    assert seen == [2, 2, 2, 2, 2, 3]


def test_a_head_that_cannot_be_read_is_told_and_built_over() -> None:
    made = fake()
    made.build()
    made.store.upsert(made.place.control, [control_row("golden", {"version": "next"}, 1)])
    with pytest.raises(LightragctlError, match="head cannot be read"):
        made.check()
    assert made.build().golden.head.version == 2
    assert made.check().figures[0].mean == 1.0


def test_two_builds_at_once_never_leave_a_mixture_that_is_taken() -> None:
    made = fake()
    made.build(replace(PLAN, seed=1))
    other = golden_store.load(made.store, made.place).answers[0]
    key = "golden:1:00002"
    text = made.store.get(made.place.control, ["golden:1:00001"], ["value"])["golden:1:00001"]["value"]
    made.store.upsert(made.place.control, [{"id": key, "vector": [0, 0], "created_at": 1, "value": text}])
    assert other.query.row
    with pytest.raises(LightragctlError, match="not those of the set"):
        made.check()


def test_a_workspace_of_lightrag_server_gets_a_control_collection_and_keeps_its_own(subject: Subject) -> None:
    place = GoldenWorkspace(subject.name, MODEL, index_spec(FLAT))
    theirs = chunks_alias(subject.name, MODEL)
    subject.store.create(chunks_spec(theirs, MODEL.dimension, FLAT))
    subject.store.upsert(theirs, rows(vectors(50)))
    made = Golden(subject, place)
    with pytest.raises(GoldenMissingError) as missing:
        made.check()
    assert "lightragctl golden build" in missing.value.hint
    assert made.build().golden.head.held.epoch == ""
    assert made.check().figures[0].mean == 1.0
    assert subject.store.row_count(theirs) == 50
    assert subject.store.row_count(place.control) == 21


class Busy(FakeStore):
    """Is written to whenever its vectors are read."""

    busy = False

    def scan(self, name: str, fields: Sequence[str], page: Any) -> list[dict[str, Any]]:
        found = super().scan(name, fields, page)
        if self.busy and "vector" in fields:
            self.upsert(name, rows(vectors(1, seed=9), first=900))
        return found


def test_rows_that_change_meanwhile_fail_a_build_and_are_told_by_a_check() -> None:
    store = Busy()
    made = workspace(Subject(store, lambda: FakeSearch(store), "w"), vectors(50))
    store.busy = True
    with pytest.raises(LightragctlError, match="modified while"):
        made.build()
    assert golden_store.versions(store, made.place) == []
    store.busy = False
    store.delete(made.physical, ["r00900"])
    made.build()
    store.delete(made.physical, ["r00001"])
    store.busy = True
    assert made.check().moving


def test_another_model_is_refused() -> None:
    made = fake()
    made.build()
    made.place = GoldenWorkspace("w", EmbeddingModel(name="m", dimension=16, query_prefix="other: "), made.place.index)
    with pytest.raises(RefusedError, match="query_prefix was"):
        made.build()
    with pytest.raises(RefusedError, match="another embedding model"):
        made.check()


def test_what_holds_nothing_or_asks_nothing_is_no_success() -> None:
    made = fake()
    with pytest.raises(UsageError, match="no queries"):
        made.build(replace(PLAN, rows=0))
    made.build()
    made.store.delete(made.physical, [f"r{at:05}" for at in range(100)])
    with pytest.raises(LightragctlError, match="no rows"):
        made.check()
    made.place = GoldenWorkspace("nowhere", MODEL, made.place.index)
    with pytest.raises(LightragctlError, match="has no passages"):
        made.build()


def test_a_released_collection_of_ours_is_loaded(subject: Subject) -> None:
    made = workspace(subject, vectors(50))
    made.build()
    made.subject.release(made.physical)
    made.subject.release(made.place.control)
    assert made.check().figures[0].mean == 1.0


def test_a_single_passage_has_no_neighbours_and_is_no_success() -> None:
    with pytest.raises(LightragctlError, match="single passage, which has no neighbours") as told:
        fake(1).build()
    assert "ingest" in told.value.hint
