"""Columns of rows from Milvus's FieldData and back. Vectors are copied as bytes, not number by number. No I/O.

pymilvus turns each answer into one dict per row and each row back into columns: five sixths of the time of a copy
(docs/performance.md).
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from lightragctl.vectors.model import StoreError
from lightragctl.vectors.rows import NUMBERS, Column, Mask, RowBatch, in_order, zeros
from lightragctl.vectors.schema import BYTE_VECTORS, CollectionSchema, FieldSchema
from lightragctl.vectors.sdk import DataType, schema_pb2

DYNAMIC = "$meta"
"""The name of the dynamic field on every server."""
SCALAR_DATA = {
    "BOOL": "bool_data",
    "INT8": "int_data",
    "INT16": "int_data",
    "INT32": "int_data",
    "INT64": "long_data",
    "FLOAT": "float_data",
    "DOUBLE": "double_data",
    "VARCHAR": "string_data",
    "JSON": "json_data",
}
"""By type, the member of Milvus's messages that holds its values."""
_VECTOR_DATA = {
    "BINARY_VECTOR": "binary_vector",
    "FLOAT16_VECTOR": "float16_vector",
    "BFLOAT16_VECTOR": "bfloat16_vector",
    "INT8_VECTOR": "int8_vector",
}
_PACKED_TAG = b"\x0a"
"""Protobuf's tag of field 1 as bytes: how a packed list of floats starts."""


def decoded(fields_data: Iterable[Any], schema: CollectionSchema, partition: str) -> RowBatch:
    """The rows of an answer, sorted by key, each key once."""
    found = {one.field_name: one for one in fields_data if not one.is_dynamic}
    dynamic = next((list(one.scalars.json_data.data) for one in fields_data if one.is_dynamic), None)
    primary = schema.primary
    count = len(_scalars(found[primary.name], primary))
    columns, nulls = {}, {}
    for one in schema.fields:
        if (data := found.get(one.name)) is None:
            raise StoreError(f"the vector store omitted field {one.name} of {schema.name} from its response")
        columns[one.name], mask = _column(data, one, count)
        if mask is not None:
            nulls[one.name] = mask
    if schema.dynamic and dynamic is None:
        dynamic = [b"{}"] * count
    return in_order(RowBatch(primary.name, columns, dynamic if schema.dynamic else None, nulls, partition))


def encoded(batch: RowBatch, schema: CollectionSchema) -> list[Any]:
    """The rows as Milvus's FieldData, for a request that writes them into a collection of this schema."""
    fields = [_field_data(one, batch.columns[one.name], batch.nulls.get(one.name)) for one in schema.fields]
    if schema.dynamic:
        data = schema_pb2.FieldData(type=schema_pb2.JSON, field_name=DYNAMIC, is_dynamic=True)
        data.scalars.json_data.data.extend(batch.dynamic or [b"{}"] * len(batch))
        fields.append(data)
    return fields


def key_column(data: Any, primary: FieldSchema) -> list[Any]:
    """The keys of a response that contains only keys, in its order."""
    return list(_scalars(data, primary))


def _column(data: Any, one: FieldSchema, count: int) -> tuple[Column, Mask | None]:
    """The values, and which are null. Servers send either a value for each row, or only the non-null ones."""
    values = _values(data, one)
    if not data.valid_data:
        if len(values) != count:
            raise StoreError(f"the vector store sent {len(values)} values of field {one.name} for {count} rows")
        return values, None
    valid = np.fromiter(data.valid_data, np.bool_, len(data.valid_data))
    if len(values) != count:
        values = _spread(values, valid, one)
    return values, (None if valid.all() else ~valid)


def _spread(values: Column, valid: Mask, one: FieldSchema) -> Column:
    """The non-null values at the positions of their rows, zeros at the others."""
    spread = zeros(one, len(valid))
    for place, value in zip(np.flatnonzero(valid), values, strict=True):
        spread[place] = value
    return spread


def _values(data: Any, one: FieldSchema) -> Column:
    if one.dtype == "FLOAT_VECTOR":
        floats: Column = _floats(data.vectors.float_vector).reshape(-1, data.vectors.dim or one.dimension or 1)
        return floats
    if one.dtype == "SPARSE_FLOAT_VECTOR":
        return list(data.vectors.sparse_float_vector.contents)
    if one.dtype in BYTE_VECTORS:
        width = int((one.dimension or 0) * BYTE_VECTORS[one.dtype])
        return np.frombuffer(getattr(data.vectors, _VECTOR_DATA[one.dtype]), np.uint8).reshape(-1, width)
    if one.dtype == "ARRAY":
        slot = SCALAR_DATA[one.element_type or "INT64"]
        return [list(getattr(value, slot).data) for value in data.scalars.array_data.data]
    values = _scalars(data, one)
    return list(values) if one.dtype not in NUMBERS else np.array(values, NUMBERS[one.dtype])


def _scalars(data: Any, one: FieldSchema) -> Sequence[Any]:
    values: Sequence[Any] = getattr(data.scalars, SCALAR_DATA[one.dtype]).data
    return values


def _floats(array: Any) -> Any:
    """The numbers of a FloatArray: on the wire they are one packed field, `tag, length, little-endian floats`."""
    wire = array.SerializeToString()
    if not wire:
        return np.zeros(0, np.float32)
    start = 1
    while wire[start] & 0x80:
        start += 1
    return np.frombuffer(wire, "<f4", offset=start + 1)


def _field_data(one: FieldSchema, column: Column, nulls: Mask | None) -> Any:
    """FieldData of one column. A nullable field has a flag for each row, and values only for those with one."""
    data = schema_pb2.FieldData(type=int(DataType[one.dtype]), field_name=one.name)
    if one.nullable:
        valid = np.ones(len(column), np.bool_) if nulls is None else ~nulls
        data.valid_data.extend(valid.tolist())
        if nulls is not None:
            column = column[valid] if not isinstance(column, list) else _kept(column, valid)
    if one.dtype in _VECTOR_DATA or one.dtype in ("FLOAT_VECTOR", "SPARSE_FLOAT_VECTOR"):
        _set_vectors(data.vectors, one, column)
    elif one.dtype == "ARRAY":
        _set_arrays(data.scalars.array_data, one, column)
    else:
        getattr(data.scalars, SCALAR_DATA[one.dtype]).data.extend(
            column if isinstance(column, list) else column.tolist()
        )
    return data


def _kept(column: list[Any], valid: Mask) -> list[Any]:
    return [value for value, there in zip(column, valid.tolist(), strict=True) if there]


def _set_vectors(vectors: Any, one: FieldSchema, column: Any) -> None:
    if one.dtype == "SPARSE_FLOAT_VECTOR":
        vectors.sparse_float_vector.contents.extend(column)
        vectors.dim = vectors.sparse_float_vector.dim = max(map(_sparse_width, column), default=0)
        return
    vectors.dim = one.dimension or 0
    if one.dtype == "FLOAT_VECTOR":
        payload = np.ascontiguousarray(column, "<f4").tobytes()
        vectors.float_vector.MergeFromString(_PACKED_TAG + _varint(len(payload)) + payload)
    else:
        setattr(vectors, _VECTOR_DATA[one.dtype], np.ascontiguousarray(column).tobytes())


def _set_arrays(array: Any, one: FieldSchema, column: Iterable[Any]) -> None:
    element = one.element_type or "INT64"
    array.element_type = int(DataType[element])
    for value in column:
        getattr(array.data.add(), SCALAR_DATA[element]).data.extend(value)


def _sparse_width(vector: bytes) -> int:
    """One more than the greatest index of a sparse vector: pairs of uint32 and float32."""
    indexes = np.frombuffer(vector, "<u4")[::2]
    return int(indexes.max()) + 1 if len(indexes) else 0


def _varint(number: int) -> bytes:
    """Protobuf's encoding of a length."""
    encoded_number = bytearray()
    while number > 0x7F:
        encoded_number.append(number & 0x7F | 0x80)
        number >>= 7
    encoded_number.append(number)
    return bytes(encoded_number)
