"""An index that was applied: lightrag-api searches by it within a second, lightrag-server starts with it; its undo."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lightragctl.bench.report.html import html
from lightragctl.core.errors import RefusedError
from lightragctl.service.lightrag_environment import tuned_environment
from lightragctl.tune.apply import apply_search, picked, previous, refuse_without_memory
from lightragctl.tune.ledger import Pick
from lightragctl.tune.points import Built, Targets, conclude
from lightragctl.tune.report import page
from lightragctl.tune.search import Found, Plan, Projection
from lightragctl.vectors.applied import AppliedIndex, read_applied, write_applied
from lightragctl.vectors.indexing import ServerMemory
from tests.fakes.service import ALIAS, SETTINGS, Service
from tests.fakes.store import FakeStore
from tests.unit.tune.test_search_parts import CURRENT, option, point

WORKSPACE, PHYSICAL = SETTINGS.workspace, f"{ALIAS}_g1"
GRAPH = {"M": SETTINGS.index.m, "efConstruction": SETTINGS.index.ef_construction}


@pytest.fixture
def service() -> Iterator[Service]:
    with Service(FakeStore()) as service:
        service.stored("a.md", "The cat sleeps.")
        yield service


def present() -> AppliedIndex:
    return AppliedIndex("HNSW", "COSINE", dict(GRAPH), {"ef": 128})


def pick(index: AppliedIndex | None, **more: bool) -> Pick:
    before = AppliedIndex("HNSW", "COSINE", dict(GRAPH), {"ef": 64})
    return Pick(PHYSICAL, before, index, more.get("rebuilds", False), more.get("keep", False), "because", 0.95)


def searched_with(service: Service) -> dict[str, int]:
    service.retrieve(f"cat {time.monotonic()}")  # not from the cache
    return dict(service.search.batches[-1].index.search)


def test_every_search_uses_what_was_applied_and_again_the_profile_after_the_undo(service: Service) -> None:
    assert searched_with(service) == {"ef": SETTINGS.index.ef}
    change = picked(service.store, WORKSPACE, PHYSICAL, pick(present()))
    assert change is not None
    assert (change.rebuilds, change.before.search) == (False, {})
    apply_search(service.store, change)
    end = time.monotonic() + 10
    while searched_with(service) != {"ef": 128}:
        assert time.monotonic() < end
        service.let_pass(0.05)
    undone = previous(service.store, WORKSPACE, PHYSICAL, [])
    apply_search(service.store, undone, undo=True)
    assert read_applied(service.store, WORKSPACE) == {}
    while searched_with(service) != {"ef": SETTINGS.index.ef}:
        assert time.monotonic() < end
        service.let_pass(0.05)
    with pytest.raises(RefusedError, match="nothing to undo"):
        previous(service.store, WORKSPACE, PHYSICAL, [])


def test_what_does_not_fit_the_collection_is_refused(service: Service) -> None:
    for wrong in (None, pick(None)):
        with pytest.raises(RefusedError):
            picked(service.store, WORKSPACE, PHYSICAL, wrong)
    with pytest.raises(RefusedError, match="no finished search"):
        picked(service.store, WORKSPACE, f"{ALIAS}_g2", pick(present()))
    assert picked(service.store, WORKSPACE, PHYSICAL, pick(present(), keep=True)) is None
    rebuild = picked(service.store, WORKSPACE, PHYSICAL, pick(AppliedIndex("FLAT", "COSINE"), rebuilds=True))
    assert rebuild is not None
    assert rebuild.parameters(60.0)["least_recall"] == 0.95


def test_a_rebuild_is_refused_where_the_server_has_no_room_for_it() -> None:
    refuse_without_memory(None, 10**9, 384, present())
    refuse_without_memory(ServerMemory(8 << 30, 1 << 30), 10**6, 384, present())
    with pytest.raises(RefusedError, match="free"):
        refuse_without_memory(ServerMemory(8 << 30, 7 << 30), 10**6, 384, present())


def test_entries_of_collections_that_are_gone_are_deleted(service: Service) -> None:
    for name in ("gone", PHYSICAL):
        write_applied(service.store, WORKSPACE, {name: present()}, 1)
    assert set(read_applied(service.store, WORKSPACE)) == {PHYSICAL}


def test_lightrag_server_starts_with_what_was_applied() -> None:
    assert tuned_environment(AppliedIndex("IVF_FLAT", "IP", {"nlist": 64}, {"nprobe": 8})) == {
        "MILVUS_INDEX_TYPE": "IVF_FLAT",
        "MILVUS_METRIC_TYPE": "IP",
        "MILVUS_IVF_NLIST": "64",
        "MILVUS_IVF_NPROBE": "8",
    }
    assert tuned_environment(present())["MILVUS_HNSW_EF"] == "128"


def test_the_page_of_a_search_loads_nothing_and_names_the_pick(tmp_path: Path) -> None:
    options = [option("HNSW a", 0.97, 200.0), option("IVF b", 0.99, 100.0, size=50), option("low", 0.6, 400.0)]
    found = Found(
        Plan("w", "chunks", "w_chunks", 8, CURRENT, Targets()),
        1000, 1000, conclude(options, Targets(), "COSINE"), {"SCANN": "not built"}, [point("HNSW a", 0.97, 200.0)],
        [Built("HNSW a", 1000, 1.0)], {"row": 40}, [Projection(2, 2000, 200)], ["few"], 3.0, False,
    )  # fmt: skip
    text = html(page(found))
    assert "use HNSW a ef=32" in text
    assert "<svg" in text
    assert "SCANN" in text
    assert "src=" not in text
    assert "http" not in text.replace("http-equiv", "").replace("http://www.w3.org", "")
