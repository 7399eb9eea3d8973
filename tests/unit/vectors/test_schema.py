"""Schemas as plain data, and what a server would lose of them."""

import json
from dataclasses import replace

import pytest

from lightragctl.vectors.schema import (
    CollectionSchema,
    FieldSchema,
    IndexSchema,
    fitted,
    from_plain,
    lossy,
    server,
    to_plain,
    uncopyable,
)

KEY = FieldSchema("id", "VARCHAR", max_length=64, primary=True)
VECTOR = FieldSchema("vector", "FLOAT_VECTOR", dimension=2)
TEXT = FieldSchema("text", "VARCHAR", max_length=10, nullable=True, default="none")
INDEX = IndexSchema("vector", "vector", "HNSW", "COSINE", {"M": 8, "nested": {"a": [1.5, True]}})
SCHEMA = CollectionSchema(
    "c", (KEY, VECTOR, TEXT), aliases=("a",), indexes=(INDEX,), properties={"collection.ttl.seconds": "1"}
)
OLD, NEW, NEWEST, LITE = map(server, ("v2.3.5-lite", "v2.5.4", "2.6.1", "milvus_lite-3.2.2"))


def test_a_schema_survives_json() -> None:
    assert from_plain(json.loads(json.dumps(to_plain(SCHEMA)))) == SCHEMA


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"fields": "id"}, r"\$\.fields"),
        ({"fields": [{"name": "id"}]}, "dtype"),
        ({"fields": [{"name": "id", "dtype": 5}]}, "dtype"),
        ({"shards": "many"}, "shards"),
        ({"fields": [{"name": "id", "dtype": "INT64"}]}, "primary"),
        ({"fields": [to_plain(SCHEMA)["fields"][0]] * 2}, "primary"),
    ],
)
def test_what_is_no_schema_is_named(change: dict[str, object], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        from_plain({**to_plain(SCHEMA), **change})


def test_servers_are_told_apart_by_their_version() -> None:
    assert (OLD.lite, OLD.version) == (False, (2, 3, 5))
    assert (LITE.lite, LITE.version) == (True, (3, 2, 2))
    assert server("v2.4.0-rc.1-dev").version == (2, 4, 0)


@pytest.mark.parametrize(("target", "stores"), [(OLD, False), (NEW, True), (LITE, False)])
def test_a_type_that_the_server_does_not_store_is_a_loss(target: object, stores: bool) -> None:
    half = replace(SCHEMA, fields=(KEY, VECTOR, FieldSchema("half", "FLOAT16_VECTOR", dimension=2)))
    losses = lossy(half, target)  # type: ignore[arg-type]
    assert losses == ([] if stores else ["field half: this server does not store FLOAT16_VECTOR"])
    assert ("half" in [one.name for one in fitted(half, target).fields]) == stores  # type: ignore[arg-type]


def test_nulls_and_defaults_are_lost_before_2_5() -> None:
    assert lossy(SCHEMA, OLD, ["text"]) == ["field text: nulls become 'none'", "field text: no default value"]
    assert lossy(replace(SCHEMA, fields=(KEY, VECTOR, replace(TEXT, default=None))), OLD) == []
    assert lossy(SCHEMA, NEW, ["text"]) == lossy(SCHEMA, LITE, ["text"]) == []
    fields = fitted(SCHEMA, OLD).fields
    assert (fields[2].nullable, fields[2].default) == (False, None)
    assert fitted(SCHEMA, NEW) == SCHEMA


def test_keys_of_auto_id_are_kept_by_turning_it_off_or_by_a_property() -> None:
    auto = replace(SCHEMA, fields=(replace(KEY, auto_id=True), VECTOR))
    for target in (OLD, NEW, LITE):
        assert len(lossy(auto, target)) == 1
        assert not fitted(auto, target).primary.auto_id
    assert lossy(auto, NEWEST) == []
    assert fitted(auto, NEWEST).properties["allow_insert_auto_id"] == "true"


def test_an_index_that_the_server_does_not_build_is_named_and_a_vector_keeps_one() -> None:
    diskann = replace(INDEX, index_type="DISKANN")
    inverted = IndexSchema("text", "by_text", "INVERTED", "", {})
    schema = replace(SCHEMA, fields=(KEY, VECTOR, replace(TEXT, default=None)), indexes=(diskann, inverted))
    assert lossy(schema, LITE) == ["index vector: this server does not build DISKANN"]
    assert lossy(schema, OLD) == ["index by_text: this server does not build INVERTED"]
    assert [(one.name, one.index_type) for one in fitted(schema, LITE).indexes] == [
        ("vector", "AUTOINDEX"),
        ("by_text", "INVERTED"),
    ]
    assert fitted(schema, OLD).indexes == (diskann,)
    assert lossy(schema, NEW) == []


def test_a_text_without_a_greatest_length_gets_the_greatest_there_is() -> None:
    words = FieldSchema("words", "ARRAY", element_type="VARCHAR", max_capacity=4)
    numbers = FieldSchema("numbers", "ARRAY", element_type="INT64", max_capacity=4)
    fields = fitted(replace(SCHEMA, fields=(KEY, words, numbers)), OLD).fields
    assert [one.max_length for one in fields] == [64, 65535, None]


def test_what_no_copy_can_hold_is_named() -> None:
    computed = FieldSchema("sparse", "SPARSE_FLOAT_VECTOR", computed=True)
    assert uncopyable(SCHEMA) == []
    assert [line.split()[1] for line in uncopyable(replace(SCHEMA, fields=(KEY, computed)))] == ["sparse"]
    assert "GEOMETRY" in uncopyable(replace(SCHEMA, fields=(KEY, FieldSchema("g", "GEOMETRY"))))[0]


def test_named_partitions_are_read_one_by_one() -> None:
    assert SCHEMA.scopes == ("",)
    assert replace(SCHEMA, partitions=("_default", "p")).scopes == ("_default", "p")
    assert replace(SCHEMA, partitions=()).scopes == ("",)
