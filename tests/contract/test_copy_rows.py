"""What every store promises about whole collections: any schema is described, created, read, written and renamed."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from lightragctl.core.errors import RefusedError
from lightragctl.vectors.collections import MilvusCollections
from lightragctl.vectors.copying import loaded
from lightragctl.vectors.model import CollectionMissingError, InvalidRowError, NotLoadedError, StoreUnavailableError
from lightragctl.vectors.rows import RowBatch, row_hashes
from lightragctl.vectors.schema import CollectionSchema, FieldSchema, IndexSchema, fitted, lossy, server
from lightragctl.vectors.sdk import MilvusClient
from tests.contract.conftest import CALL_S, Subject
from tests.fakes.store import FakeCollection
from tests.milvus.fixtures import LiteServer
from tests.milvus.server import MilvusServer

DIMENSION = 4
HOSTILE = [
    *(
        "",
        " ",
        "'",
        '"',
        'quo"te',
        "back\\slash",
        "end\\",
        "\\n",
        "new\nline",
        "carriage\rreturn",
        "tab\t",
        "\x01",
        "%",
    ),
    *('" or id != "', "id in [", "中文 编号", "é", "e\u0301", "👩‍👩‍👧", "𝒳", "\uffff", "x" * 64, "é" * 32),
]
KEY = FieldSchema("id", "VARCHAR", max_length=64, primary=True)
NUMBER_KEY = FieldSchema("id", "INT64", primary=True)
VECTOR = FieldSchema("vector", "FLOAT_VECTOR", dimension=DIMENSION)
INDEX = IndexSchema("vector", "vector", "FLAT", "L2", {})
PLAIN = CollectionSchema("plain", (KEY, VECTOR), dynamic=True, indexes=(INDEX,))
EVERY_TYPE = replace(
    PLAIN,
    name="every_type",
    fields=(
        KEY,
        VECTOR,
        FieldSchema("flag", "BOOL"),
        *(FieldSchema(f"int{bits}", f"INT{bits}") for bits in (8, 16, 32, 64)),
        FieldSchema("single", "FLOAT"),
        FieldSchema("double", "DOUBLE"),
        FieldSchema("text", "VARCHAR", max_length=200),
        FieldSchema("document", "JSON"),
        FieldSchema("numbers", "ARRAY", element_type="INT64", max_capacity=4),
        FieldSchema("words", "ARRAY", element_type="VARCHAR", max_length=20, max_capacity=4),
    ),
)
CLASHING = RowBatch("id", {"id": ["a"], "vector": np.ones((1, DIMENSION), np.float32)}, [b'{"id":"b","n":1}'])
Row = Mapping[str, Any]


def rows_of(schema: CollectionSchema, rows: Sequence[Row], partition: str = "") -> RowBatch:
    """Rows in columns; a field that a row lacks is null."""
    key = schema.primary.name
    return FakeCollection(schema, {row[key]: dict(row) for row in rows}).batch(
        sorted(row[key] for row in rows), partition
    )


def vector(seed: int) -> Any:
    return np.random.default_rng(seed).standard_normal(DIMENSION).astype(np.float32)


def plain_rows(keys: Sequence[Any]) -> RowBatch:
    return rows_of(PLAIN, [{"id": key, "vector": vector(at), "n": at} for at, key in enumerate(keys)])


def every_type(key: str, seed: int) -> Row:
    return {
        "id": key,
        "vector": vector(seed),
        "flag": bool(seed % 2),
        "int8": -128,
        "int16": 32767,
        "int32": -(2**31),
        "int64": 2**63 - 1 - seed,
        "single": 0.1,
        "double": 0.1,
        "text": 'quo"te\n中文\\',
        "document": {"b": [1, 1.0, None, {"é": "👩"}], "a": {}},
        "numbers": [seed, -(2**63)],
        "words": ["", 'a"b', "中"],
        "order": seed,
        "nested": {"deep": {"null": None, "list": [1, "x", False]}},
        "nothing": None,
        "big": 2**60,
        "ratio": 1.0,
        "vector2": "a name that starts as a field's",
    }


def read(subject: Subject, name: str, **options: Any) -> list[RowBatch]:
    return list(subject.store.read_rows(name, subject.store.describe(name), **options))


def keys(batches: Sequence[RowBatch]) -> list[Any]:
    return [key for batch in batches for key in batch.keys]


def hashes(batches: Sequence[RowBatch], schema: CollectionSchema) -> dict[Any, str]:
    pairs = [zip(batch.keys, row_hashes(batch, schema), strict=True) for batch in batches]
    return {key: value.hex() for pair in pairs for key, value in pair}


def made(subject: Subject, schema: CollectionSchema, *batches: RowBatch) -> str:
    """A loaded collection of this schema with these rows."""
    subject.store.create_from(schema, subject.name)
    assert subject.store.write_rows(subject.name, batches) == sum(map(len, batches))
    subject.store.load(subject.name)
    return subject.name


def is_lite(subject: Subject) -> bool:
    return server(subject.store.server_version()).lite


def test_every_type_comes_back_bit_for_bit(subject: Subject) -> None:
    schema = fitted(EVERY_TYPE, server(subject.store.server_version()))  # Milvus 2.3.0 has no arrays
    written = rows_of(schema, [every_type(key, seed) for seed, key in enumerate(HOSTILE)])
    name = made(subject, schema, written)
    for flushed in (False, True):
        if flushed:
            subject.store.flush(name)
        got = read(subject, name)
        assert keys(got) == sorted(HOSTILE)
        assert hashes(got, schema) == hashes([written], schema)
        stored = np.concatenate([batch.columns["vector"] for batch in got])
        assert stored.tobytes() == np.asarray(written.columns["vector"]).tobytes()


def test_keys_may_be_any_integer(subject: Subject) -> None:
    numbers = [-(2**63), -(2**63) + 1, -1, 0, 1, 2**53 + 1, 2**63 - 2]  # no query of Milvus 2.3.5 finds 2**63 - 1
    schema = replace(PLAIN, fields=(NUMBER_KEY, VECTOR))
    written = rows_of(schema, [{"id": key, "vector": vector(0), "n": key} for key in numbers])
    name = made(subject, schema, written)
    assert keys(read(subject, name)) == numbers
    for at, key in enumerate(numbers):
        assert keys(read(subject, name, after=key)) == numbers[at + 1 :]


def test_reading_goes_on_after_any_key(subject: Subject) -> None:
    name = made(subject, PLAIN, plain_rows(HOSTILE))
    ordered = sorted(HOSTILE)
    for at, key in list(enumerate(ordered))[:: 1 if is_lite(subject) else 4]:  # Milvus takes 0.2 s for each
        assert keys(read(subject, name, after=key)) == ordered[at + 1 :]


def test_growing_sealed_replaced_and_deleted_rows_are_read_as_they_are_now(subject: Subject) -> None:
    all_keys = [f"r{number:05d}" for number in np.random.default_rng(1).permutation(3000)]
    name = made(subject, PLAIN, plain_rows(sorted(all_keys[:2000])))
    subject.store.flush(name)
    fresh = plain_rows(sorted(all_keys[1000:]))
    subject.store.write_rows(name, [fresh])
    subject.store.delete(name, all_keys[1500:1600])
    got = read(subject, name)
    assert keys(got) == sorted({*all_keys} - {*all_keys[1500:1600]})
    expected = hashes([plain_rows(sorted(all_keys[:2000]))], PLAIN) | hashes([fresh], PLAIN)
    found = hashes(got, PLAIN)
    assert found == {key: value for key, value in expected.items() if key in found}
    assert subject.store.row_count(name) >= len(found)


def test_an_empty_collection_has_no_batches(subject: Subject) -> None:
    name = made(subject, PLAIN)
    assert read(subject, name) == []
    assert subject.store.write_rows(name, []) == 0


def test_rows_stay_in_their_partitions(subject: Subject) -> None:
    schema = replace(PLAIN, partitions=("_default", "north", "south"))
    rows = {
        scope: rows_of(schema, [{"id": f"{scope}{n}", "vector": vector(n)} for n in range(3)], scope)
        for scope in schema.partitions
    }
    name = made(subject, schema, *rows.values())
    described = subject.store.describe(name)
    assert described.scopes == ("_default", "north", "south")
    for scope in described.scopes:
        got = read(subject, name, partition=scope)
        assert keys(got) == rows[scope].keys
        assert {batch.partition for batch in got} == {scope}
    assert len(keys(read(subject, name))) == 9


def test_a_partition_key_partitions_the_copy(subject: Subject) -> None:
    region = FieldSchema("region", "VARCHAR", max_length=20, partition_key=True)
    schema = replace(PLAIN, fields=(KEY, VECTOR, region), partitions=(), partition_count=4)
    written = rows_of(schema, [{"id": f"k{n}", "vector": vector(n), "region": f"r{n % 3}"} for n in range(12)])
    name = made(subject, schema, written)
    described = subject.store.describe(name)
    assert (described.partitions, described.scopes) == ((), ("",))
    assert described.fields[2].partition_key
    assert is_lite(subject) or described.partition_count == 4
    assert hashes(read(subject, name), schema) == hashes([written], schema)


def test_milvus_lite_is_not_given_a_dynamic_field_with_the_name_of_a_field(lite: LiteServer) -> None:
    store, name = MilvusCollections(lite.uri, CALL_S), "copy_clash"
    store.create_from(PLAIN, name)
    with pytest.raises(InvalidRowError, match=r"\(id\)"):
        store.write_rows(name, [CLASHING])
    store.drop(name)
    store.close()


@pytest.mark.milvus
def test_milvus_keeps_a_dynamic_field_with_the_name_of_a_field(milvus: MilvusServer) -> None:
    store, name = MilvusCollections(milvus.uri, CALL_S), "copy_clash"
    store.create_from(PLAIN, name)
    store.write_rows(name, [CLASHING])
    store.load(name)
    assert hashes(list(store.read_rows(name, PLAIN)), PLAIN) == hashes([CLASHING], PLAIN)
    store.drop(name)
    store.close()


def test_without_a_dynamic_field_there_are_no_dynamic_values(subject: Subject) -> None:
    schema = replace(PLAIN, dynamic=False)
    name = made(subject, schema, rows_of(schema, [{"id": "a", "vector": vector(0)}]))
    (got,) = read(subject, name)
    assert got.dynamic is None
    assert hashes([got], schema) == hashes([got], PLAIN)


def test_what_is_written_again_replaces_all_of_the_row(subject: Subject) -> None:
    name = made(subject, PLAIN, rows_of(PLAIN, [{"id": "a", "vector": vector(0), "old": 1}]))
    again = rows_of(PLAIN, [{"id": "a", "vector": vector(1), "new": 2}])
    subject.store.write_rows(name, [again])
    assert subject.store.get(name, ["a"], ["old", "new"]) == {"a": {"id": "a", "new": 2}}
    assert hashes(read(subject, name), PLAIN) == hashes([again], PLAIN)


def test_batches_are_reported_in_order_when_they_are_written(subject: Subject) -> None:
    subject.store.create_from(PLAIN, subject.name)
    batches = [plain_rows([f"{part}-{n:03d}" for n in range(100)]) for part in "abcdefgh"]
    reported: list[Any] = []
    subject.store.write_rows(subject.name, batches, lambda batch: reported.append(batch.last_key))
    assert reported == [batch.last_key for batch in batches]


def test_a_collection_that_is_not_loaded_is_read_and_left_so(subject: Subject) -> None:
    subject.store.create_from(PLAIN, subject.name)
    subject.store.write_rows(subject.name, [plain_rows(["a"])])
    subject.store.release(subject.name)
    with pytest.raises(NotLoadedError):
        read(subject, subject.name)
    with loaded(subject.store, subject.name):
        assert keys(read(subject, subject.name)) == ["a"]
    assert not subject.store.is_loaded(subject.name)
    subject.store.load(subject.name)
    with loaded(subject.store, subject.name):
        assert keys(read(subject, subject.name)) == ["a"]
    assert subject.store.is_loaded(subject.name)


def test_a_copy_has_the_schema_of_its_source(subject: Subject) -> None:
    index = IndexSchema("vector", "vector_index", "HNSW", "COSINE", {"M": 8, "efConstruction": 40})
    more = () if is_lite(subject) else (IndexSchema("int64", "by_int64", "STL_SORT", "", {}),)
    properties = {"collection.ttl.seconds": "86400"}
    schema = replace(EVERY_TYPE, indexes=(index, *more), properties=properties, consistency="Session")
    subject.store.create_from(schema, subject.name)
    subject.store.create_from(schema, subject.name)
    described = subject.store.describe(subject.name)
    subject.store.create_from(described, f"{subject.name}_copy")
    again = subject.store.describe(f"{subject.name}_copy")
    assert replace(again, name=subject.name) == described
    indexes = [sorted((replace(one, name="") for one in it.indexes), key=str) for it in (described, schema)]
    assert indexes[0] == indexes[1]
    assert is_lite(subject) or (described.loaded, described.replicas) == (False, 0)
    assert described.properties["collection.ttl.seconds"] == "86400"
    assert {(one.name, one.dtype, one.dimension) for one in described.fields} == {
        (one.name, one.dtype, one.dimension) for one in schema.fields
    }
    with pytest.raises(RefusedError, match="other fields"):
        subject.store.create_from(PLAIN, subject.name)


def test_aliases_are_described_and_dropped(subject: Subject) -> None:
    alias = f"{subject.name}_alias"
    subject.store.create_from(PLAIN, subject.name)
    subject.store.point_alias(alias, subject.name)
    assert subject.store.describe(alias).name == subject.name
    assert subject.store.describe(alias).aliases == (alias,)
    subject.store.drop_alias(alias)
    subject.store.drop_alias(alias)
    assert subject.store.describe(subject.name).aliases == ()


@pytest.mark.parametrize("is_loaded", [True, False])
def test_a_renamed_collection_keeps_rows_aliases_and_load_state(subject: Subject, is_loaded: bool) -> None:
    new, alias = f"{subject.name}_new", f"{subject.name}_alias"
    name = made(subject, PLAIN, plain_rows(["a", "b"]))
    subject.store.point_alias(alias, name)
    if not is_loaded:
        subject.store.release(name)
    subject.store.rename(name, new)
    assert (subject.store.resolve(name), subject.store.resolve(alias)) == (None, new)
    assert subject.store.is_loaded(new) == is_loaded
    subject.store.load(new)
    assert keys(read(subject, alias)) == ["a", "b"]
    subject.store.create_from(PLAIN, name)
    for old, taken in ((new, name), (name, alias), (alias, f"{name}_x")):
        with pytest.raises(RefusedError):
            subject.store.rename(old, taken)
    with pytest.raises(CollectionMissingError):
        subject.store.rename(f"{name}_x", f"{name}_y")


def test_keys_that_the_server_made_are_kept_and_the_loss_is_named(subject: Subject) -> None:
    schema = replace(PLAIN, fields=(replace(NUMBER_KEY, auto_id=True), VECTOR))
    target = server(subject.store.server_version())
    assert "auto_id" in lossy(schema, target)[0]
    with pytest.raises(RefusedError, match="auto_id"):
        subject.store.create_from(schema, subject.name)
    written = rows_of(schema, [{"id": 2**60, "vector": vector(0)}])
    name = made(subject, fitted(schema, target), written)
    assert keys(read(subject, name)) == [2**60]


def test_nulls_are_kept_or_the_loss_is_named(subject: Subject) -> None:
    text = FieldSchema("text", "VARCHAR", max_length=20, nullable=True)
    more = (FieldSchema("n", "INT64", nullable=True), FieldSchema("doc", "JSON", nullable=True))
    schema = replace(PLAIN, fields=(KEY, VECTOR, text, *more))
    rows = [{"id": "a", "vector": vector(0)}, {"id": "b", "vector": vector(1), "text": "", "n": 0, "doc": {}}]
    written = rows_of(schema, rows)
    target = server(subject.store.server_version())
    losses = lossy(schema, target, written.nulls)
    name = made(subject, schema, written)
    got = read(subject, name)
    if target.lite:
        assert losses == []
        assert hashes(got, schema) == hashes([written], schema)
    else:
        assert [line.split(":")[0] for line in losses] == ["field text", "field n", "field doc"]
        (only,) = got
        assert (only.columns["text"], only.columns["n"].tolist()) == (["", ""], [0, 0])  # type: ignore[union-attr]


def test_rows_without_a_field_of_the_collection_are_refused(subject: Subject) -> None:
    subject.store.create_from(EVERY_TYPE, subject.name)
    with pytest.raises(InvalidRowError, match="flag"):
        subject.store.write_rows(subject.name, [plain_rows(["a"])])


def test_a_type_that_cannot_be_copied_is_named(subject: Subject) -> None:
    schema = replace(PLAIN, fields=(KEY, VECTOR, FieldSchema("shape", "GEOMETRY")))
    with pytest.raises(RefusedError, match="field shape has the type GEOMETRY"):
        subject.store.create_from(schema, subject.name)
    with pytest.raises(RefusedError, match="field shape"):
        next(subject.store.read_rows("any", schema))


def test_binary_and_sparse_vectors_are_copied_where_the_server_stores_them(subject: Subject) -> None:
    sparse = np.array([3], "<u4").tobytes() + np.array([0.5], "<f4").tobytes()
    kinds = {
        "BINARY_VECTOR": (FieldSchema("vector", "BINARY_VECTOR", dimension=16), "BIN_FLAT", "HAMMING", b"\x01\xff"),
        "SPARSE_FLOAT_VECTOR": (FieldSchema("vector", "SPARSE_FLOAT_VECTOR"), "SPARSE_INVERTED_INDEX", "IP", sparse),
    }
    target = server(subject.store.server_version())
    for dtype, (field, index_type, metric, value) in kinds.items():
        schema = replace(PLAIN, fields=(KEY, field), indexes=(IndexSchema("vector", "vector", index_type, metric, {}),))
        if not target.stores(dtype):
            with pytest.raises(RefusedError, match=f"field vector: this server does not store {dtype}"):
                subject.store.create_from(schema, f"{subject.name}_{dtype}")
            continue
        column = np.frombuffer(value, np.uint8) if dtype == "BINARY_VECTOR" else value
        written = rows_of(schema, [{"id": "a", "vector": column}])
        name = f"{subject.name}_{dtype}"
        subject.store.create_from(schema, name)
        subject.store.write_rows(name, [written])
        subject.store.load(name)
        assert hashes(read(subject, name), schema) == hashes([written], schema)


def test_reading_goes_on_after_a_crash_of_the_server(lite: LiteServer) -> None:
    store, name = MilvusCollections(lite.uri, CALL_S), "copy_crash"
    store.create_from(PLAIN, name)
    written = plain_rows([f"k{n:04d}" for n in range(2500)])
    store.write_rows(name, [written])
    schema = store.describe(name)
    batches = store.read_rows(name, schema)
    got = [next(batches)]
    lite.kill()
    with pytest.raises(StoreUnavailableError):
        got += list(batches)
    with pytest.raises(StoreUnavailableError):
        store.write_rows(name, [written])
    lite.start()
    time.sleep(1)  # the connection is tried again twice a second
    store.load(name)
    got += list(store.read_rows(name, schema, got[-1].last_key))
    assert hashes(got, schema) == hashes([written], schema)
    store.drop(name)
    store.close()


@pytest.mark.milvus
def test_a_collection_that_is_loaded_in_part_is_not_read_in_part(milvus: MilvusServer) -> None:
    store, name = MilvusCollections(milvus.uri, CALL_S), "copy_partial"
    store.create_from(replace(PLAIN, partitions=("_default", "north", "south")), name)
    client = MilvusClient(milvus.uri, timeout=CALL_S, dedicated=True)
    client.load_partitions(name, ["north"])
    client.close()
    schema = store.describe(name)
    assert schema.loaded
    assert list(store.read_rows(name, schema, partition="north")) == []
    with pytest.raises(NotLoadedError, match="partition _default"):
        next(store.read_rows(name, schema))
    store.drop(name)
    store.close()


@pytest.mark.milvus
def test_rows_are_the_same_after_a_round_trip_over_another_server(lite: LiteServer, milvus: MilvusServer) -> None:
    real, small = MilvusCollections(milvus.uri, CALL_S), MilvusCollections(lite.uri, CALL_S)
    written = rows_of(EVERY_TYPE, [every_type(key, seed) for seed, key in enumerate(HOSTILE)])
    real.create_from(EVERY_TYPE, "copy_trip")
    real.write_rows("copy_trip", [written])
    real.load("copy_trip")
    for source, target, name in ((real, small, "copy_trip"), (small, real, "copy_trip_back")):
        schema = source.describe("copy_trip")
        target.create_from(schema, name)
        target.write_rows(name, source.read_rows("copy_trip", schema))
        target.load(name)
    got = list(real.read_rows("copy_trip_back", real.describe("copy_trip_back")))
    assert hashes(got, EVERY_TYPE) == hashes([written], EVERY_TYPE)
    for store in (real, small):
        for name in ("copy_trip", "copy_trip_back"):
            store.drop(name)
        store.close()


@pytest.mark.milvus
def test_duplicates_of_a_key_are_read_once_and_counted_apart(milvus: MilvusServer) -> None:
    """Milvus drops the duplicates after it has cut each segment's rows, so pages with a limit would lose rows."""
    store, name = MilvusCollections(milvus.uri, CALL_S), "copy_duplicates"
    store.create_from(PLAIN, name)
    client = MilvusClient(milvus.uri, timeout=CALL_S, dedicated=True)
    numbers = [f"k{n:04d}" for n in range(1000)]
    for part in (numbers, numbers[:300] * 2, numbers[::2]):
        client.insert(name, [{"id": key, "vector": vector(0)} for key in part])
        if part is numbers:
            client.flush(name)
    client.close()
    store.load(name)
    assert [key for batch in store.read_rows(name, store.describe(name)) for key in batch.keys] == numbers
    assert store.row_count(name) == 2100
    store.drop(name)
    store.close()
