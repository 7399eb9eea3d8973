"""Columns as Milvus's FieldData and back."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from lightragctl.vectors.columns import decoded, encoded
from lightragctl.vectors.model import StoreError
from lightragctl.vectors.rows import RowBatch, row_hashes
from lightragctl.vectors.schema import CollectionSchema, FieldSchema

KEY = FieldSchema("id", "VARCHAR", primary=True)
SPARSE = [np.array([n], "<u4").tobytes() + np.array([0.5], "<f4").tobytes() for n in (0, 7, 2)]
VALUES: dict[str, Any] = {
    "BOOL": np.array([True, False, True]),
    "INT8": np.array([-128, 0, 127], np.int8),
    "INT16": np.array([-1, 0, 1], np.int16),
    "INT32": np.array([-1, 0, 1], np.int32),
    "INT64": np.array([-(2**63), 0, 2**63 - 1]),
    "FLOAT": np.array([0.1, np.nan, -0.0], np.float32),
    "DOUBLE": np.array([0.1, np.inf, 5e-324]),
    "VARCHAR": ["", "é\n\0", "👩"],
    "JSON": [b"{}", b'{"a": 1}', b"[1.0]"],
    "ARRAY": [[], ["a", ""], ["中"]],
    "FLOAT_VECTOR": np.array([[1, -0.0], [np.nan, 2], [3e-45, 4]], np.float32),
    "BINARY_VECTOR": np.array([[1, 2], [3, 4], [5, 255]], np.uint8),
    "FLOAT16_VECTOR": np.arange(12, dtype=np.uint8).reshape(3, 4),
    "BFLOAT16_VECTOR": np.arange(12, dtype=np.uint8).reshape(3, 4),
    "INT8_VECTOR": np.array([[1, 2], [3, 4], [5, 255]], np.uint8),
    "SPARSE_FLOAT_VECTOR": SPARSE,
}
DIMENSIONS = {"BINARY_VECTOR": 16}


def case(dtype: str, nulls: list[bool] | None) -> tuple[RowBatch, CollectionSchema]:
    dimension = DIMENSIONS.get(dtype, 2)
    field = FieldSchema("x", dtype, dimension=dimension, element_type="VARCHAR", nullable=nulls is not None)
    masks = {} if nulls is None or not any(nulls) else {"x": np.array(nulls)}
    batch = RowBatch("id", {"id": ["a", "b", "c"], "x": VALUES[dtype]}, [b"{}", b'{"y":1}', b"{}"], masks)
    return batch, CollectionSchema("c", (KEY, field), dynamic=True)


@pytest.mark.parametrize("nulls", [None, [False] * 3, [False, True, False], [True] * 3], ids=str)
@pytest.mark.parametrize("dtype", VALUES)
def test_every_type_and_its_nulls_survive_the_wire(dtype: str, nulls: list[bool] | None) -> None:
    batch, schema = case(dtype, nulls)
    got = decoded(encoded(batch, schema), schema, "north")
    assert row_hashes(got, schema) == row_hashes(batch, schema)
    assert (got.keys, got.dynamic, got.partition) == (batch.keys, batch.dynamic, "north")
    assert {name: mask.tolist() for name, mask in got.nulls.items()} == {
        name: mask.tolist() for name, mask in batch.nulls.items()
    }
    if not isinstance(batch.columns["x"], list):
        assert np.asarray(got.columns["x"]).dtype == batch.columns["x"].dtype


def test_a_value_for_each_row_beside_the_nulls_is_read_too() -> None:
    batch, schema = case("VARCHAR", [False, True, False])
    data = encoded(replace(batch, nulls={}), schema)
    del data[1].valid_data[:]
    data[1].valid_data.extend([True, False, True])
    got = decoded(data, schema, "")
    assert row_hashes(got, schema) == row_hashes(batch, schema)


def test_an_empty_answer_has_no_rows() -> None:
    batch, schema = case("FLOAT_VECTOR", None)
    assert len(decoded(encoded(batch.taken(slice(0, 0)), schema), schema, "")) == 0


def test_an_answer_without_a_field_or_with_too_few_values_is_refused() -> None:
    batch, schema = case("INT64", None)
    data = encoded(batch, schema)
    with pytest.raises(StoreError, match="field x of c"):
        decoded([data[0], data[2]], schema, "")
    del data[1].scalars.long_data.data[2:]
    with pytest.raises(StoreError, match="2 values of field x for 3 rows"):
        decoded(data, schema, "")
