"""A workspace moves by its backups from Milvus 2.3.0 to 2.3.5, to Milvus Lite and back: equal bit for bit."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace

import pytest

from lightragctl.backup import restore
from lightragctl.backup.chain import Chain, open_chain
from lightragctl.backup.progress import Progress
from lightragctl.core.settings import Index
from lightragctl.vectors.collections import MilvusCollections
from lightragctl.vectors.control import control_row
from lightragctl.vectors.model import chunks_spec, control_spec
from lightragctl.vectors.schema import fitted, server
from lightragctl.vectors.store import CollectionStore
from tests.contract.conftest import CALL_S
from tests.contract.test_copy_rows import EVERY_TYPE, HOSTILE, PLAIN, every_type, rows_of, vector
from tests.fakes.backup import CHUNKS, CONTROL, Workspace, create, memory, row, to
from tests.milvus.fixtures import LiteServer
from tests.milvus.server import running_milvus

ODD, TYPED = "default_entities_m_4d", "default_relationships_m_4d"


def progress() -> Progress:
    return Progress(lambda event: None, lambda: 0.0, 0, "restored")


def fill(store: CollectionStore, count: int) -> None:
    """A workspace with chunks, a control collection, hostile keys, and every type that this server has."""
    store.create(chunks_spec(CHUNKS, 8, Index()))
    store.upsert(CHUNKS, [row(f"k{number:05d}", note=number) for number in range(count)])
    store.create(control_spec(CONTROL))
    store.upsert(CONTROL, [control_row(f"doc:{number}", {"number": number}, 1) for number in range(50)])
    store.create_from(PLAIN, ODD)
    store.write_rows(ODD, [rows_of(PLAIN, [{"id": key, "vector": vector(n), "n": n} for n, key in enumerate(HOSTILE)])])
    schema = fitted(EVERY_TYPE, server(store.server_version()))
    store.create_from(schema, TYPED)
    names = {one.name for one in schema.fields}
    dynamic = set(every_type("", 0)) - {one.name for one in EVERY_TYPE.fields}
    rows = [
        {name: value for name, value in every_type(f"k{n:03d}", n).items() if name in names | dynamic}
        for n in range(200)
    ]
    store.write_rows(TYPED, [rows_of(schema, rows)])
    for name in (CHUNKS, CONTROL, ODD, TYPED):
        store.flush(name)


def saved(store: CollectionStore) -> Chain:
    """A full backup of every collection."""
    workspace = Workspace()
    source = replace(workspace.source(), store=store, collections=lambda: sorted([CHUNKS, CONTROL, ODD, TYPED]))
    storage = memory()
    found = replace(source, search=lambda name, schema, vectors, k: [[]] * len(vectors))
    return open_chain(storage, create(found, to(storage), workspace.world()).id)


def moved(chain: Chain, store: CollectionStore) -> None:
    """Restored under the same names, each compared row by row."""
    for entry in chain.manifest.collections:
        restore.write_collection(chain.rows(entry.name), chain.definition(entry.name), store, entry.name, progress())
        assert restore.compare(store, entry.name, restore.expected(chain, entry.name), progress()) == []


def digests(chain: Chain) -> dict[str, tuple[int, str]]:
    return {one.name: (one.unique_keys, one.digest) for one in chain.manifest.collections}


@contextmanager
def milvus(version: str) -> Iterator[CollectionStore]:
    with running_milvus(version) as running, closing(MilvusCollections(running.uri, CALL_S)) as store:
        yield store


def test_from_lite_to_lite(lite: LiteServer) -> None:
    with closing(MilvusCollections(lite.uri, CALL_S)) as store:
        for name in (CHUNKS, CONTROL, ODD, TYPED):
            store.drop(name)
        fill(store, 500)
        chain = saved(store)
        for name in (CHUNKS, CONTROL, ODD, TYPED):
            store.drop(name)
        moved(chain, store)
        assert digests(saved(store)) == digests(chain)
        for name in (CHUNKS, CONTROL, ODD, TYPED):
            store.drop(name)


@pytest.mark.drill
@pytest.mark.milvus
@pytest.mark.timeout(900)
def test_through_every_version_and_back(lite: LiteServer) -> None:
    with milvus("2.3.0") as store:
        fill(store, 2000)
        first = saved(store)
    with milvus("2.3.5") as store:
        moved(first, store)
        second = saved(store)
    with closing(MilvusCollections(lite.uri, CALL_S)) as store:
        moved(second, store)
        third = saved(store)
    with milvus("2.3.5") as store:
        moved(third, store)
        last = saved(store)
    assert digests(first) == digests(second) == digests(third) == digests(last)
