"""A search of the best index and a rebuild with readers beside it: the same on Milvus Lite and on Milvus."""

import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lightragctl.backup.site import Site
from lightragctl.core.settings import EmbeddingModel, Index
from lightragctl.local.files import ReleaseFiles
from lightragctl.operations.control import begin, drive
from lightragctl.operations.desk import Clock, Crew
from lightragctl.operations.kind import Context, OperationKind, Started, new_operation
from lightragctl.operations.model import Operation, Phase
from lightragctl.operations.place import Place
from lightragctl.tune.kinds import rebuild_kind
from lightragctl.tune.ledger import pick_of
from lightragctl.tune.points import Targets
from lightragctl.tune.rebuild import Ground as Rebuilt
from lightragctl.tune.rebuild import rebuild_parameters
from lightragctl.tune.search import Found, Ground, Plan, search
from lightragctl.tune.space import Candidate, candidates, current_candidate
from lightragctl.tune.trials import PREFIX, Pace, Trials
from lightragctl.vectors.applied import AppliedIndex, read_applied
from lightragctl.vectors.ask import search_all
from lightragctl.vectors.collections import MilvusCollections
from lightragctl.vectors.fence import Clock as FenceClock
from lightragctl.vectors.indexing import IndexStore
from lightragctl.vectors.model import (
    CollectionMissingError,
    FloatArray,
    IndexSpec,
    NotLoadedError,
    SearchBatch,
    chunks_spec,
)
from tests.fakes.release import lock_holder

ROWS, DIMENSION = 600, 15
MODEL = EmbeddingModel(name="m", dimension=DIMENSION)
CURRENT = current_candidate(AppliedIndex("HNSW", "COSINE", {"M": 16, "efConstruction": 200}), Index())
WHERE = pytest.mark.parametrize("where", ["lite", pytest.param("milvus", marks=pytest.mark.milvus)])


@pytest.fixture
def uri(where: str, request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue(where).uri)


def vectors() -> FloatArray:
    random = np.random.default_rng(0)
    found: FloatArray = random.standard_normal((ROWS, DIMENSION)).astype(np.float32)
    return found


def filled(uri: str, workspace: str) -> str:
    """A workspace of ours; returns the physical name of its collection."""
    alias = f"{workspace}_chunks_m_{DIMENSION}d"
    physical = f"{alias}_g1"
    text = {"created_at": 0, "content": "c", "file_path": "f", "full_doc_id": "d"}
    with closing(MilvusCollections(uri, 60)) as store:
        store.create(chunks_spec(physical, DIMENSION, Index()))
        store.upsert(physical, [{"id": f"r{at:04d}", "vector": one, **text} for at, one in enumerate(vectors())])
        store.flush(physical)
        store.point_alias(alias, physical)
    return physical


def searched(uri: str, physical: str, ledger: Path) -> Found:
    with closing(IndexStore(uri, 60)) as store:
        plan = Plan("w", "chunks", physical, DIMENSION, CURRENT, Targets(), queries=40, share=1.0)
        ground = Ground(store, uri, False, lambda count: None, store.memory, ledger, few)
        return search(ground, plan, lambda event: None)


def few(rows: int, dimension: int, current: Candidate) -> list[Candidate]:
    """Some of the candidates, for a test that takes seconds."""
    chosen = ("current", "HNSW IP", "IVF_FLAT nlist=1", "IVF_RABITQ")
    return [one for one in candidates(rows, dimension, current) if one.name.startswith(chosen)]


@pytest.mark.slow
@WHERE
def test_a_search_measures_what_the_server_has_and_leaves_nothing(uri: str, where: str, tmp_path: Path) -> None:
    physical, ledger = filled(uri, f"tune_{where}"), tmp_path / "ledger.json"
    found = searched(uri, physical, ledger)
    assert found.verdict.pick is not None
    assert found.verdict.pick.point.recall >= 0.95
    assert "not built by this server" in found.dropped["IVF_RABITQ nlist=2*sqrt(rows)"]
    assert found.origins == {"row": 40}
    assert all(one.recall > 0.3 for one in found.points)
    pick = pick_of(ledger)
    assert pick is not None
    assert pick.collection == physical
    again = searched(uri, physical, ledger)
    assert again.continued
    assert len(again.points) == len(found.points)
    with closing(MilvusCollections(uri, 60)) as store:
        assert not [name for name in store.list_collections() if name.startswith(PREFIX)]
        store.drop(physical)


@pytest.mark.slow
@WHERE
def test_what_a_killed_search_left_is_deleted_by_the_next_one(uri: str) -> None:
    killed = Trials(uri, "killed", DIMENSION, Pace(1.0)).opened()
    killed.__enter__()
    with Trials(uri, "killed", DIMENSION, Pace(1.0)).opened() as trials:
        trials.add(["a"], vectors()[:1], lambda count: None)
        assert trials.name in trials.store.list_collections()
    with closing(MilvusCollections(uri, 60)) as store:
        assert not [name for name in store.list_collections() if name.startswith(f"{PREFIX}killed")]


class Reader(threading.Thread):
    """Searches as a replica of lightrag-api does: by the physical name that it has read within the last second."""

    def __init__(self, uri: str, alias: str) -> None:
        super().__init__(daemon=True)
        self.uri, self.alias = uri, alias
        self.stop, self.count, self.wrong, self.known = False, 0, list[str](), ""

    def run(self) -> None:
        with closing(MilvusCollections(self.uri, 60)) as store:
            known, read_s, workspace = "", -9.0, self.alias.split("_chunks_", 1)[0]
            specs: dict[str, AppliedIndex] = {}
            while not self.stop:
                if time.monotonic() - read_s > 1:
                    known, read_s = store.resolve(self.alias) or "", time.monotonic()
                    specs = read_applied(store, workspace)
                applied = specs.get(known)
                spec = applied.spec if applied else IndexSpec("HNSW", "COSINE", {}, {"ef": 64})
                self.search(known, spec, store)

    def search(self, known: str, spec: IndexSpec, store: MilvusCollections) -> None:
        at = self.count % ROWS
        self.count += 1
        batch = SearchBatch(known, vectors()[at : at + 1], 1, spec, [])
        try:
            hits = search_all(self.uri, [batch])
        except (CollectionMissingError, NotLoadedError):  # then it reads the alias again
            hits = search_all(self.uri, [replace(batch, collection=store.resolve(self.alias) or "")])
        except Exception as error:  # noqa: BLE001 - shown by the test
            self.wrong.append(repr(error))
            return
        if [hit.id for hit in hits[0]] != [f"r{at:04d}"]:
            self.wrong.append(f"{known}: {hits[0]}")


def kind(uri: str) -> OperationKind:
    @contextmanager
    def opened(context: Context) -> Iterator[Rebuilt]:
        with closing(MilvusCollections(uri, 60)) as store:
            workspace, unused = context.record.workspace, lambda *given: []
            site = Site(store, unused, workspace, None, "", None, MODEL, clock=FenceClock())
            yield Rebuilt(site, lambda batch: search_all(uri, [batch]))

    return rebuild_kind(opened)


def run(uri: str, folder: Path, workspace: str, token: str, parameters: dict[str, Any]) -> Operation:
    (folder / "operations").mkdir(parents=True, exist_ok=True)
    place, kinds = Place("dev", lock_holder(), ReleaseFiles(folder)), (kind(uri),)
    now = datetime.now(UTC)
    record = new_operation(kinds[0], "dev", parameters, Started("ann", now, "1.0", token), workspace)
    begin(place, record, lambda event: None)
    crew = Crew(kinds, None, Clock(lambda: datetime.now(UTC), time.sleep), "ann", lambda event: None)
    return drive(place, record.id, crew)


@pytest.mark.slow
@WHERE
def test_a_rebuild_and_its_undo_under_load_fail_no_search(uri: str, where: str, tmp_path: Path) -> None:
    workspace = f"apply_{where}"
    physical = filled(uri, workspace)
    alias = physical.removesuffix("_g1")
    reader = Reader(uri, alias)
    reader.start()
    index = AppliedIndex("IVF_FLAT", "COSINE", {"nlist": 8}, {"nprobe": 8})
    done = run(uri, tmp_path, workspace, "0001", rebuild_parameters(physical, index, 60.0))
    assert done.phase is Phase.SUCCEEDED, done.cause
    before = AppliedIndex(**done.results["before"])
    undone = run(uri, tmp_path, workspace, "0002", rebuild_parameters(f"{alias}_g2", before, 60.0, reuse="kept_0001_1"))
    reader.stop = True
    reader.join(60)
    assert undone.phase is Phase.SUCCEEDED, undone.cause
    assert undone.results["reused"] == "kept_0001_1"
    assert (reader.wrong, reader.count > 20) == ([], True)
    with closing(MilvusCollections(uri, 60)) as store:
        assert store.resolve(alias) == f"{alias}_g3"
        assert store.describe(alias).indexes[0].index_type == "HNSW"
        assert done.results["proof"]["recall"] >= 0.95
        for name in (f"{alias}_g3", "kept_0002_1"):
            store.drop(name)
