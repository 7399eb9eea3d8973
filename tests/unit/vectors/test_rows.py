"""Rows in columns: their hashes, their order, and what stands for a null."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from lightragctl.vectors.model import InvalidRowError
from lightragctl.vectors.rows import RowBatch, canonical_json, filled, in_order, parts, row_hashes
from lightragctl.vectors.schema import CollectionSchema, FieldSchema

KEY = FieldSchema("id", "VARCHAR", max_length=64, primary=True)
VECTOR = FieldSchema("vector", "FLOAT_VECTOR", dimension=2)
SCHEMA = CollectionSchema("c", (KEY, VECTOR), dynamic=True)


def batch(keys: list[str], dynamic: list[bytes] | None = None, **columns: Any) -> RowBatch:
    vectors = np.arange(2 * len(keys), dtype=np.float32).reshape(-1, 2)
    return RowBatch("id", {"id": keys, "vector": vectors, **columns}, dynamic or [b"{}"] * len(keys))


def digest(one: RowBatch, *fields: FieldSchema) -> str:
    return row_hashes(one, replace(SCHEMA, fields=(KEY, VECTOR, *fields)))[0].hex()


def of_field(dtype: str, value: Any, **more: Any) -> str:
    return digest(batch(["a"], x=value), FieldSchema("x", dtype, **more))


def test_a_hash_is_the_same_in_every_release() -> None:
    """Backups hold them: a change here makes every older backup fail its verification."""
    one = RowBatch(
        "id",
        {"id": ["é"], "vector": np.array([[0.5, -1]], np.float32), "n": np.array([7], np.int64), "doc": [b'{"b":1}']},
        [b'{"z": 1.0, "a": null}'],
    )
    fields = (FieldSchema("n", "INT64"), FieldSchema("doc", "JSON"))
    assert digest(one, *fields) == "1a205c886c5fe31eb256a664d4a724cc"


def test_the_order_of_fields_and_json_keys_does_not_matter() -> None:
    fields = (FieldSchema("a", "INT64"), FieldSchema("b", "VARCHAR"))
    one = batch(["k"], [b'{"x":1,"y":[1,{"b":2,"a":3}]}'], a=np.array([1]), b=["t"])
    other = batch(["k"], [b' {"y": [1, {"a": 3, "b": 2}], "x": 1}'], b=["t"], a=np.array([1]))
    assert digest(one, *fields) == digest(other, *reversed(fields))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (b'{"x": 1}', b'{"x": 1.0}'),
        (b'{"x": null}', b"{}"),
        (b'{"x": true}', b'{"x": 1}'),
        (b'{"x": "1"}', b'{"x": 1}'),
        (b'{"x": 9007199254740993}', b'{"x": 9007199254740992}'),
        (b'{"x": [1, 2]}', b'{"x": [2, 1]}'),
    ],
)
def test_different_dynamic_fields_have_different_hashes(one: bytes, other: bytes) -> None:
    assert digest(batch(["a"], [one])) != digest(batch(["a"], [other]))


def test_a_null_is_a_missing_field_and_not_a_zero() -> None:
    text = FieldSchema("x", "VARCHAR", nullable=True)
    null = replace(batch(["a"], x=[""]), nulls={"x": np.array([True])})
    assert digest(null, text) == digest(batch(["a"]), text) == digest(batch(["a"]))
    assert digest(batch(["a"], x=[""]), text) != digest(null, text)
    assert of_field("JSON", [b" null"]) == digest(batch(["a"]))


def test_numbers_are_equal_by_value_and_floats_by_their_bits() -> None:
    assert of_field("INT8", np.array([5], np.int8)) == of_field("INT64", np.array([5], np.int64))
    zeros = [np.array([value], np.float64) for value in (0.0, -0.0)]
    assert of_field("DOUBLE", zeros[0]) != of_field("DOUBLE", zeros[1])
    assert of_field("FLOAT", np.array([0.1], np.float32)) != of_field("DOUBLE", np.array([0.1]))
    assert of_field("ARRAY", [[1, 2]], element_type="INT64") == of_field("ARRAY", [[1, 2]], element_type="INT8")
    assert of_field("ARRAY", [["ab", "c"]], element_type="VARCHAR") != of_field(
        "ARRAY", [["a", "bc"]], element_type="VARCHAR"
    )


def test_neighbouring_values_do_not_run_together() -> None:
    fields = (FieldSchema("a", "VARCHAR"), FieldSchema("b", "VARCHAR"))
    assert digest(batch(["k"], a=["x"], b=["yz"]), *fields) != digest(batch(["k"], a=["xy"], b=["z"]), *fields)


def test_json_that_is_none_stays_as_it_is() -> None:
    assert canonical_json(b"{broken") == b"{broken"
    assert canonical_json(b"[" * 100_000) == b"[" * 100_000
    assert (
        canonical_json(b'{"a": 12345678901234567890123, "b": 1e400}') == b'{"a":12345678901234567890123,"b":Infinity}'
    )


def test_rows_are_sorted_and_of_equal_keys_the_first_stays() -> None:
    one = in_order(batch(["b", "a", "b", ""], [b"1", b"2", b"3", b"4"]))
    assert (one.keys, one.dynamic, one.last_key) == (["", "a", "b"], [b"4", b"2", b"1"], "b")
    assert np.asarray(one.columns["vector"])[:, 0].tolist() == [6, 2, 0]


def test_parts_have_all_rows_with_their_nulls() -> None:
    one = replace(batch(list("abcde"), n=np.arange(5)), nulls={"n": np.array([False, True, False, False, True])})
    pieces = list(parts(one, 2))
    assert [piece.keys for piece in pieces] == [["a", "b"], ["c", "d"], ["e"]]
    assert [piece.nulls["n"].tolist() for piece in pieces] == [[False, True], [False, False], [True]]


def test_a_target_without_nulls_gets_defaults_and_zeros() -> None:
    null = np.array([True, False])
    columns = {"t": ["?", "t"], "n": np.array([5, 6]), "d": np.array([1, 2]), "arr": [[1], [2]], "gone": ["x", "y"]}
    one = replace(batch(["a", "b"], **columns), nulls=dict.fromkeys(("t", "n", "d", "arr", "vector"), null))
    fields = (
        FieldSchema("t", "VARCHAR"),
        FieldSchema("n", "INT64", nullable=True),
        FieldSchema("d", "INT64", default=7),
        FieldSchema("arr", "ARRAY", element_type="INT64"),
        FieldSchema("new", "DOUBLE", nullable=True),
    )
    got = filled(one, replace(SCHEMA, fields=(KEY, VECTOR, *fields), dynamic=False))
    assert set(got.columns) == {"id", "vector", "t", "n", "d", "arr", "new"}
    assert (got.columns["t"], got.columns["arr"], got.dynamic) == (["", "t"], [[], [2]], None)
    assert np.asarray(got.columns["d"]).tolist() == [7, 2]
    assert np.asarray(got.columns["vector"]).tolist() == [[0, 0], [2, 3]]
    assert {name: mask.tolist() for name, mask in got.nulls.items()} == {"n": [True, False], "new": [True, True]}


def test_dynamic_fields_are_not_dropped_silently() -> None:
    fixed = replace(SCHEMA, dynamic=False)
    assert filled(batch(["a"], [b" { } "]), fixed).dynamic is None
    with pytest.raises(InvalidRowError, match="dynamic"):
        filled(batch(["a", "b"], [b"{}", b'{"x": 1}']), fixed)


def test_a_field_without_any_value_is_named() -> None:
    with pytest.raises(InvalidRowError, match="field text of c"):
        filled(batch(["a"]), replace(SCHEMA, fields=(KEY, VECTOR, FieldSchema("text", "VARCHAR"))))
