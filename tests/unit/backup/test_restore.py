"""Restoring into new names: the same rows, or the difference is named."""

import io
import os
from typing import Any

import numpy as np
import pytest

from lightragctl.backup import restore
from lightragctl.backup.answers import Answer, Answers, compare
from lightragctl.backup.chain import Chain, open_chain
from lightragctl.backup.graph import entity_id, sample_of_entities, without_vectors
from lightragctl.backup.manifest import InvalidBackupError
from lightragctl.backup.nearest import Nearest
from lightragctl.backup.origin import BackupOrigin
from lightragctl.backup.progress import Progress
from lightragctl.backup.storage import Storage
from lightragctl.core.errors import RefusedError
from lightragctl.core.settings import EmbeddingModel, Index
from lightragctl.vectors.control import control_row
from lightragctl.vectors.model import chunks_spec
from lightragctl.vectors.schema import CollectionSchema, FieldSchema, IndexSchema
from tests.fakes.backup import CHUNKS, CONTROL, Workspace, memory, row
from tests.fakes.store import FakeStore
from tests.unit.backup.test_create import backed_up
from tests.unit.backup.test_verify import flipped


def progress() -> Progress:
    return Progress(lambda event: None, lambda: 0.0, 0, "restored")


def chain_of_three(workspace: Workspace, storage: Storage) -> Chain:
    workspace.fill(60)
    backed_up(workspace, storage)
    workspace.store.upsert(CHUNKS, [row("k0007", seed=2), row("zz", seed=2)])
    workspace.store.delete(CHUNKS, ["k0008"])
    backed_up(workspace, storage)
    workspace.store.delete(CHUNKS, ["k0007"])
    return open_chain(storage, backed_up(workspace, storage).id)


def restored(chain: Chain, store: FakeStore) -> dict[str, str]:
    names = restore.new_names([one.name for one in chain.manifest.collections], "t1")
    for original, name in names.items():
        restore.write_collection(chain.rows(original), chain.definition(original), store, name, progress())
    return names


def differences(chain: Chain, store: FakeStore, names: dict[str, str]) -> list[str]:
    found = [restore.compare(store, name, restore.expected(chain, one), progress()) for one, name in names.items()]
    return [difference for each in found for difference in each]


def test_a_restored_workspace_has_the_same_rows_and_answers() -> None:
    workspace, target = Workspace(), FakeStore()
    chain = chain_of_three(workspace, memory())
    names = restored(chain, target)
    assert sorted(names.values()) == ["restore_t1_1", "restore_t1_2"]
    assert differences(chain, target, names) == []
    known = restore.known_answers(chain)
    assert known is not None
    elsewhere = Workspace(store=target)
    found = restore.check_answers(BackupOrigin(chain).schemas, known, names, elsewhere.search)
    assert [(one.collection, one.overlap, one.ok) for one in found] == [(CHUNKS, 1.0, True)]
    assert target.describe(names[CHUNKS]).indexes == workspace.store.describe(CHUNKS).indexes


def test_a_clone_has_the_same_rows() -> None:
    workspace, target = Workspace(), FakeStore()
    workspace.fill(60)
    schema = workspace.store.describe(CHUNKS)
    rows = restore.copied_rows(workspace.store, CHUNKS, schema)
    restore.write_collection(rows, schema, target, "clone", progress())
    wanted = restore.measure(workspace.store, CHUNKS, schema, progress())
    assert wanted.unique_keys == 60
    assert restore.compare(target, "clone", wanted, progress()) == []


@pytest.mark.parametrize("change", ["lost", "added", "other"])
def test_a_difference_of_one_row_is_found(change: str) -> None:
    target = FakeStore()
    chain = chain_of_three(Workspace(), memory())
    names = restored(chain, target)
    rows = target.collections[names[CHUNKS]].rows
    if change == "lost":
        del rows["k0001"]
    elif change == "added":
        target.upsert(names[CHUNKS], [row("new")])
    else:
        rows["k0001"] = {**rows["k0001"], "vector": np.nextafter(rows["k0001"]["vector"], np.float32(2))}
    assert len(differences(chain, target, names)) == 1


def test_lost_answers_are_named() -> None:
    target = FakeStore()
    chain = chain_of_three(Workspace(), memory())
    names = restored(chain, target)
    known = restore.known_answers(chain)
    assert known is not None
    key = known.collections[CHUNKS][0].key
    target.delete(names[CHUNKS], [str(key)])
    found = restore.check_answers(BackupOrigin(chain).schemas, known, names, Workspace(store=target).search)
    assert found[0].lost == (key,)
    assert not found[0].ok


def test_a_damaged_part_is_not_restored() -> None:
    storage = memory()
    chain = chain_of_three(Workspace(), storage)
    part = chain.links[-1].manifest.collections[0].parts[0]
    flipped(storage, chain.links[-1].archive.path(part.path), 500)
    with pytest.raises(InvalidBackupError, match="is damaged"):
        restored(chain, FakeStore())


def test_what_an_older_server_cannot_hold_is_named() -> None:
    workspace = Workspace(store=FakeStore("v2.6.11"))
    fields = (
        FieldSchema("id", "VARCHAR", 64, primary=True),
        FieldSchema("vector", "FLOAT_VECTOR", dimension=4),
        FieldSchema("note", "VARCHAR", 64, nullable=True),
    )
    schema = CollectionSchema("x", fields, indexes=(IndexSchema("vector", "vector", "FLAT", "L2", {}),))
    workspace.store.create_from(schema, "default_entities_m_4d")
    workspace.store.load("default_entities_m_4d")
    chain = open_chain(storage := memory(), backed_up(workspace, storage).id)
    assert BackupOrigin(chain).losses(FakeStore("v2.6.11")) == {}
    assert BackupOrigin(chain).losses(FakeStore("v2.3.5")) == {}  # no row holds a null


def test_another_model_is_refused() -> None:
    workspace = Workspace()
    model = EmbeddingModel(name="m", dimension=8)
    identity = {"name": "m", "dimension": 8, "query_prefix": "query: ", "document_prefix": "passage: ", "probe": ""}
    workspace.store.upsert(CONTROL, [control_row("model:m_8d", identity, 1)])
    chain = open_chain(storage := memory(), backed_up(workspace, storage).id)
    restore.check_model(chain, model)
    for other in (EmbeddingModel(name="m", dimension=8, query_prefix=""), EmbeddingModel(name="n", dimension=8)):
        with pytest.raises(RefusedError, match="another embedding model"):
            restore.check_model(chain, other)


def test_rows_of_running_processes_are_not_backed_up() -> None:
    workspace = Workspace()
    rows = [control_row(key, {}, 1) for key in ("epoch", "fence:x", "writer:y", "switching", "switching2", "golden")]
    workspace.store.upsert(CONTROL, rows)
    chain = open_chain(storage := memory(), backed_up(workspace, storage).id)
    kept = [key for batch in chain.rows(CONTROL) for key in batch.keys]
    assert kept == ["epoch", "golden", "switching2"]


def files(chain: Chain) -> dict[str, bytes]:
    return {name: b"".join(read()) for name, read in BackupOrigin(chain).files()}


def test_files_come_back_as_they_were() -> None:
    workspace = Workspace()
    odd = {"new\nline": b"1", "inputs/报告 1.pdf": os.urandom(3_000_000), "_000000": b"", "a/b/.c": b"x"}
    workspace.files = odd
    storage = memory()
    assert files(open_chain(storage, backed_up(workspace, storage).id)) == odd


def test_nothing_of_a_damaged_file_is_passed_on() -> None:
    storage = memory()
    chain = open_chain(storage, backed_up(Workspace(), storage).id)
    flipped(storage, chain.links[0].archive.path(chain.manifest.files[0].path), 3)
    ((_, read),) = BackupOrigin(chain).files()
    with pytest.raises(InvalidBackupError, match="is damaged"):
        next(iter(read()))


def test_a_graph_is_compared_with_the_vectors_of_its_entities() -> None:
    workspace, target = Workspace(), FakeStore()
    space = b'xmlns="http://graphml.graphdrawing.org/xmlns"'
    nodes = b'<graphml %s><graph><node id="A"/><node id="B"/></graph></graphml>' % space
    workspace.files = {"rag_storage/graph_chunk_entity_relation.graphml": nodes}
    chain = open_chain(storage := memory(), backed_up(workspace, storage).id)
    target.create(chunks_spec("entities", 8, Index()))
    target.upsert("entities", [row(entity_id("A"))])
    assert restore.entities_without_vectors(restore.entities(chain), target, "entities") == ["B"]
    target.upsert("entities", [row(entity_id("B"))])
    assert restore.entities_without_vectors(restore.entities(chain), target, "entities") == []


def test_entities_of_a_graph_without_vectors_are_named() -> None:
    space = b'xmlns="http://graphml.graphdrawing.org/xmlns"'
    graph = b'<graphml %s><graph><node id="A"/><node id="B &amp; C"/></graph></graphml>' % space
    entities = sample_of_entities(io.BytesIO(graph))
    assert without_vectors(entities, {entity_id("A")}) == ["B & C"]
    assert without_vectors(entities, set(entities)) == []
    with pytest.raises(InvalidBackupError):
        sample_of_entities(io.BytesIO(b"<graphml><graph>"))


def test_an_index_that_misses_near_rows_is_found() -> None:
    target = FakeStore()
    chain = chain_of_three(Workspace(), memory())
    names = restored(chain, target)
    known, schema = restore.known_answers(chain), chain.definition(CHUNKS)
    assert known is not None
    passing = Nearest(known, schema)
    assert restore.compare(target, names[CHUNKS], restore.expected(chain, CHUNKS), progress(), passing.watch) == []
    assert passing.found is not None
    exact = {CHUNKS: passing.found}
    search = Workspace(store=target).search

    def missing(name: str, schema: CollectionSchema, vectors: Any, k: int) -> list[list[Any]]:
        return [list(hits)[:5] for hits in search(name, schema, vectors, k)]

    works, broken = (
        restore.check_answers(BackupOrigin(chain).schemas, known, names, each, exact)[0] for each in (search, missing)
    )
    assert (works.recall, works.recall_before, works.ok) == (1.0, 1.0, True)
    assert broken.recall is not None
    assert broken.recall < 0.7
    assert (broken.lost, broken.ok) == ((), False)


def test_another_index_of_the_same_recall_is_as_good() -> None:
    hits = tuple(f"k{number}" for number in range(10))
    known = Answers(top_k=10, collections={"c": (Answer(key="k0", vector="", hits=(*hits[:7], "x", "y", "z")),)})
    other = compare(known, "c", [[*hits[:4], *hits[7:], "u", "v", "w"]], [hits])
    assert (other.overlap, other.recall, other.recall_before, other.ok) == (0.4, 0.7, 0.7, True)


def test_searches_of_a_collection_that_is_not_there_are_refused() -> None:
    known = Answers(top_k=10, collections={"other": (Answer(key="k0", vector="", hits=()),)})
    with pytest.raises(InvalidBackupError, match="collection other, which the backup does not have"):
        restore.check_answers({}, known, {}, Workspace().search)
