"""A backup of any collection comes back row by row, vectors bit for bit: on the fake, Milvus Lite and Milvus."""

from dataclasses import replace

import numpy as np
import pytest

from lightragctl.backup import restore
from lightragctl.backup.chain import open_chain
from lightragctl.backup.progress import Progress
from lightragctl.backup.source import Source
from lightragctl.vectors.copying import loaded
from lightragctl.vectors.rows import RowBatch
from lightragctl.vectors.schema import CollectionSchema
from tests.contract.conftest import REPEATED, Subject
from tests.contract.test_copy_rows import EVERY_TYPE, HOSTILE, PLAIN, every_type, rows_of, vector
from tests.fakes.backup import Workspace, create, memory, to
from tests.unit.backup.test_create import verified


def progress() -> Progress:
    return Progress(lambda event: None, lambda: 0.0, 0, "restored")


def of(subject: Subject, names: list[str]) -> tuple[Workspace, Source]:
    """A workspace of these collections; its searches find nothing."""
    workspace = Workspace()
    source = workspace.source()
    found = replace(
        source, store=subject.store, collections=lambda: names, search=lambda _, __, rows, ___: [[]] * len(rows)
    )
    return workspace, found


def filled(subject: Subject, name: str, schema: CollectionSchema, batches: list[RowBatch]) -> None:
    subject.store.create_from(schema, name)
    for batch in batches:
        subject.store.write_rows(name, [batch])
    subject.store.flush(name)


def test_a_collection_comes_back_as_it_was(subject: Subject) -> None:
    store, odd, typed = subject.store, f"{subject.name}_odd", f"{subject.name}_typed"
    hostile = rows_of(PLAIN, [{"id": key, "vector": vector(at), "n": at} for at, key in enumerate(HOSTILE)])
    filled(subject, odd, PLAIN, [hostile])
    filled(subject, typed, EVERY_TYPE, [rows_of(EVERY_TYPE, [every_type(f"k{n:03d}", n) for n in range(50)])])
    workspace, source = of(subject, [odd, typed])
    storage = memory()
    create(source, to(storage), workspace.world())
    store.write_rows(odd, [hostile.taken(np.array([2, 5, 7]))])  # equal rows are no change
    with loaded(store, odd):
        store.delete(odd, [HOSTILE[3], HOSTILE[-1]])
    second = create(source, to(storage), workspace.world())
    entry = second.collection(odd)
    assert entry is not None
    assert (entry.changed_rows, entry.deleted_rows) == (0, 2)
    assert verified(storage, second.id).problems == []
    chain = open_chain(storage, second.id)
    for original in (odd, typed):
        copy = f"{original}_copy"
        restore.write_collection(chain.rows(original), chain.definition(original), store, copy, progress())
        assert restore.compare(store, copy, restore.expected(chain, original), progress()) == []
        assert store.describe(copy).fields == store.describe(original).fields


@REPEATED
def test_named_partitions_come_back(subject: Subject) -> None:
    store, name = subject.store, subject.name
    schema = replace(PLAIN, partitions=("_default", "east", "west"))
    rows = {
        part: rows_of(PLAIN, [{"id": f"{part}{n}", "vector": vector(n), "n": n} for n in range(5)], part)
        for part in schema.partitions
    }
    filled(subject, name, schema, list(rows.values()))
    workspace, source = of(subject, [name])
    storage = memory()
    made = create(source, to(storage), workspace.world())
    assert {part.partition for part in made.collections[0].parts} == set(schema.partitions)
    chain = open_chain(storage, made.id)
    restore.write_collection(chain.rows(name), chain.definition(name), store, f"{name}_copy", progress())
    assert restore.compare(store, f"{name}_copy", restore.expected(chain, name), progress()) == []
    copied = {
        batch.partition: batch.keys for batch in restore.copied_rows(store, f"{name}_copy", chain.definition(name))
    }
    assert copied == {part: batch.keys for part, batch in rows.items()}


@REPEATED
@pytest.mark.parametrize("count", [0, 1])
def test_an_almost_empty_collection_comes_back(subject: Subject, count: int) -> None:
    store, name = subject.store, subject.name
    batches = [rows_of(PLAIN, [{"id": "a", "vector": vector(1), "n": 1}])] if count else []
    filled(subject, name, PLAIN, batches)
    workspace, source = of(subject, [name])
    storage = memory()
    made = create(source, to(storage), workspace.world())
    chain = open_chain(storage, made.id)
    restore.write_collection(chain.rows(name), chain.definition(name), store, f"{name}_copy", progress())
    assert restore.compare(store, f"{name}_copy", restore.expected(chain, name), progress()) == []
    assert made.collections[0].unique_keys == count
