"""Rows as zstd Parquet and back, bit for bit; docs/reference/backup-format.md has the types. No I/O.

A part is a whole Parquet file in memory: rows of one partition, ascending by primary key.
"""

import io
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lightragctl.backup.manifest import InvalidBackupError
from lightragctl.vectors.rows import HASH_BYTES, Key, RowBatch
from lightragctl.vectors.schema import BYTE_VECTORS, CollectionSchema, FieldSchema

PART_BYTES = 4 * 1024 * 1024
"""About what the rows of a part take in memory; a part itself is smaller."""
PIECE_BYTES = 2 * 1024 * 1024
"""About what the rows that are read from a part at a time take in memory; hashing them takes several times that."""
MOST_ROWS_BYTES = 1024 * 1024 * 1024
"""The most that the rows of a part may take in memory when it is read."""
DYNAMIC = "$meta"
"""The column of dynamic fields, one JSON object a row; no field of a collection can have this name."""
KEY, HASH = "key", "hash"
_SCALARS = {
    "BOOL": pa.bool_(),
    "INT8": pa.int8(),
    "INT16": pa.int16(),
    "INT32": pa.int32(),
    "INT64": pa.int64(),
    "FLOAT": pa.float32(),
    "DOUBLE": pa.float64(),
    "VARCHAR": pa.string(),
    "JSON": pa.string(),
    "SPARSE_FLOAT_VECTOR": pa.binary(),
}


def rows_schema(schema: CollectionSchema) -> pa.Schema:
    """The columns of a collection's parts."""
    columns = [pa.field(one.name, _type(one), nullable=not one.primary) for one in schema.fields]
    return pa.schema([*columns, *([pa.field(DYNAMIC, pa.string())] if schema.dynamic else [])])


def index_schema(schema: CollectionSchema) -> pa.Schema:
    """The columns of a collection's index: the primary key, and the row's hash, null for a deleted row."""
    return pa.schema([pa.field(KEY, _type(schema.primary), nullable=False), pa.field(HASH, pa.binary(HASH_BYTES))])


def rows_table(batch: RowBatch, schema: CollectionSchema) -> pa.Table:
    """The rows as columns of Arrow."""
    arrays = [_array(one, batch.columns[one.name], batch.nulls.get(one.name)) for one in schema.fields]
    if schema.dynamic:
        arrays.append(pa.array(batch.dynamic or [b"{}"] * len(batch), pa.string()))
    return pa.Table.from_arrays(arrays, schema=rows_schema(schema))


def index_table(keys: Sequence[Key], hashes: Sequence[bytes | None], schema: CollectionSchema) -> pa.Table:
    """Keys and hashes as columns of Arrow."""
    wanted = index_schema(schema)
    return pa.Table.from_arrays(
        [pa.array(keys, wanted.field(KEY).type), pa.array(hashes, wanted.field(HASH).type)], schema=wanted
    )


def rows_batch(table: pa.Table, schema: CollectionSchema, partition: str) -> RowBatch:
    """The rows that `rows_table` was given."""
    columns, nulls = {}, {}
    for one in schema.fields:
        array = table.column(one.name).combine_chunks()
        columns[one.name] = _column(one, array)
        if array.null_count:
            nulls[one.name] = np.asarray(array.is_null())
    dynamic = [one.as_py().encode() for one in table.column(DYNAMIC)] if schema.dynamic else None
    return RowBatch(schema.primary.name, columns, dynamic, nulls, partition)


def encode(tables: Sequence[pa.Table]) -> bytes:
    """A part with these rows."""
    table = pa.concat_tables(tables)
    texts = [one.name for one in table.schema if pa.types.is_string(one.type) and one.name != KEY]
    vectors = [f"{one.name}.list.element" for one in table.schema if pa.types.is_fixed_size_list(one.type)]
    target = io.BytesIO()
    pq.write_table(
        table, target, compression="zstd", use_dictionary=texts, use_byte_stream_split=vectors, write_statistics=False
    )
    return target.getvalue()


def decode(data: bytes, wanted: pa.Schema, rows: int, name: str) -> Iterator[pa.Table]:
    """The rows of a part, some at a time.

    Args:
        data: the part.
        wanted: its columns.
        rows: how many it has.
        name: of the file, for messages.

    Raises:
        InvalidBackupError: it has other columns, another number of rows, or is no Parquet.
    """
    try:
        opened = pq.ParquetFile(pa.BufferReader(data))
        _check(opened, wanted, rows, name)
        for number in range(opened.num_row_groups):
            table = opened.read_row_group(number).cast(wanted)
            table.validate(full=True)
            rows_at_once = max(1, PIECE_BYTES * len(table) // max(1, table.nbytes))
            for start in range(0, len(table), rows_at_once):
                yield table.slice(start, rows_at_once)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise InvalidBackupError(f"{name} cannot be read as Parquet: {error}") from error


def _check(opened: Any, wanted: pa.Schema, rows: int, name: str) -> None:
    found, metadata = opened.schema_arrow, opened.metadata
    if not found.equals(wanted, check_metadata=False):
        raise InvalidBackupError(f"{name} has the columns {found.names}, not those of its collection: {wanted.names}")
    if metadata.num_rows != rows:
        raise InvalidBackupError(f"{name} has {metadata.num_rows} rows, the manifest has {rows}")
    size = sum(metadata.row_group(number).total_byte_size for number in range(opened.num_row_groups))
    if size > MOST_ROWS_BYTES:
        raise InvalidBackupError(f"{name} would take {size} bytes in memory, more than {MOST_ROWS_BYTES}")


def _type(one: FieldSchema) -> pa.DataType:
    if one.dtype == "FLOAT_VECTOR":
        return pa.list_(pa.field("element", pa.float32()), one.dimension or 0)
    if one.dtype in BYTE_VECTORS:
        return pa.binary(int((one.dimension or 0) * BYTE_VECTORS[one.dtype]))
    if one.dtype == "ARRAY":
        return pa.list_(pa.field("element", _SCALARS[one.element_type or "INT64"]))
    return _SCALARS[one.dtype]


def _array(one: FieldSchema, column: Any, mask: Any) -> pa.Array:
    wanted = _type(one)
    if one.dtype == "FLOAT_VECTOR":
        flat = pa.array(np.ascontiguousarray(column, np.float32).reshape(-1))
        return pa.FixedSizeListArray.from_arrays(flat, type=wanted, mask=None if mask is None else pa.array(mask))
    if one.dtype in BYTE_VECTORS:
        column = [value.tobytes() for value in column]
    if isinstance(column, list) and mask is not None:
        column = [None if null else value for value, null in zip(column, mask.tolist(), strict=True)]
        mask = None
    return pa.array(column, wanted, mask=mask)


def _column(one: FieldSchema, array: Any) -> Any:
    """A column of a RowBatch; in the place of a null there is a zero of the type."""
    if one.dtype == "FLOAT_VECTOR":
        values = array.values.slice(array.offset * (one.dimension or 0), len(array) * (one.dimension or 0))
        return np.asarray(values.fill_null(0.0)).reshape(-1, one.dimension or 1)
    if one.dtype in BYTE_VECTORS:
        width = array.type.byte_width
        return np.frombuffer(b"".join(value or bytes(width) for value in array.to_pylist()), np.uint8).reshape(
            -1, width
        )
    if one.dtype == "VARCHAR":
        return [value or "" for value in array.to_pylist()]
    if one.dtype == "JSON":
        return [b"null" if value is None else value.encode() for value in array.to_pylist()]
    if one.dtype == "ARRAY":
        return [value or [] for value in array.to_pylist()]
    if one.dtype == "SPARSE_FLOAT_VECTOR":
        return [value or b"" for value in array.to_pylist()]
    return np.asarray(array.fill_null(False if one.dtype == "BOOL" else 0)).astype(array.type.to_pandas_dtype())
