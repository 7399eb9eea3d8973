"""Rows of any collection by columns, and their hashes. Pure.

A column holds, by the type of its field:

| type | column |
| --- | --- |
| BOOL, INT8 to INT64, FLOAT, DOUBLE | array `(n,)` of that type |
| VARCHAR | list of `str` |
| JSON | list of `bytes`: the JSON text as the server sent it |
| ARRAY | list of lists |
| FLOAT_VECTOR | array `(n, dim) float32` |
| BINARY_VECTOR, FLOAT16_VECTOR, BFLOAT16_VECTOR, INT8_VECTOR | array `(n, bytes) uint8`, as on the wire |
| SPARSE_FLOAT_VECTOR | list of `bytes`: pairs of uint32 index and float32 value |
"""

import json
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightragctl.vectors.model import InvalidRowError
from lightragctl.vectors.schema import BYTE_VECTORS, CollectionSchema, FieldSchema

Key = str | int
Column = NDArray[Any] | list[Any]
Mask = NDArray[np.bool_]

HASH_BYTES = 16
INTEGERS = {"BOOL", "INT8", "INT16", "INT32", "INT64"}
NUMBERS: Mapping[str, str] = {
    "BOOL": "?",
    "INT8": "<i1",
    "INT16": "<i2",
    "INT32": "<i4",
    "INT64": "<i8",
    "FLOAT": "<f4",
    "DOUBLE": "<f8",
}
"""numpy's type of the column of a type."""


@dataclass(frozen=True)
class RowBatch:
    """Rows in the order of their primary key, each key once.

    `columns` are those of the schema's fields (see the module). Where `nulls` has a mask for a field, its column holds
    any value in the place of a null. `dynamic` holds one JSON object per row as UTF-8, None where the collection has no
    dynamic field. `partition` is the named partition of the rows, or `""`.
    """

    primary: str
    columns: Mapping[str, Column]
    dynamic: list[bytes] | None = None
    nulls: Mapping[str, Mask] = field(default_factory=dict)
    partition: str = ""

    def __len__(self) -> int:
        return len(self.columns[self.primary])

    @property
    def keys(self) -> list[Any]:
        """The primary keys, ascending: `str` by code points or `int`."""
        column = self.columns[self.primary]
        return column if isinstance(column, list) else column.tolist()

    @property
    def last_key(self) -> Key:
        """The greatest key: reading goes on after it."""
        key: Key = self.keys[-1]
        return key

    @property
    def size_bytes(self) -> int:
        """About what the rows take on the wire."""
        return sum(map(column_bytes, self.columns.values())) + sum(map(len, self.dynamic or ()))

    def taken(self, chosen: NDArray[np.intp] | slice) -> "RowBatch":
        """The rows at these places, in this order."""
        dynamic = None if self.dynamic is None else _taken(self.dynamic, chosen)
        columns = {name: _taken(column, chosen) for name, column in self.columns.items()}
        nulls = {name: mask[chosen] for name, mask in self.nulls.items()}
        return replace(self, columns=columns, dynamic=dynamic, nulls=nulls)


def column_bytes(column: Column) -> int:
    """About what a column takes on the wire."""
    if not isinstance(column, list):
        return column.nbytes
    return sum(8 * len(value) if isinstance(value, list) else len(value) for value in column)


def parts(batch: RowBatch, rows: int) -> Iterator[RowBatch]:
    """The batch in pieces of at most `rows` rows."""
    for start in range(0, len(batch), rows):
        yield batch.taken(slice(start, start + rows))


def in_order(batch: RowBatch) -> RowBatch:
    """The batch sorted by key; of several rows with one key, the first stays."""
    keys = batch.keys
    if all(one < other for one, other in pairwise(keys)):
        return batch
    places: dict[Any, int] = {}
    for place, key in enumerate(keys):
        places.setdefault(key, place)
    return batch.taken(np.array([places[key] for key in sorted(places)], np.intp))


def filled(batch: RowBatch, target: CollectionSchema) -> RowBatch:
    """The batch with the fields of the target, and its zero or default in the place of each null it cannot hold.

    `schema.lossy` names what this loses.

    Raises:
        InvalidRowError: a field of the target has neither values nor nulls nor a default; names it. Or rows have
            dynamic fields and the target takes none.
    """
    if not target.dynamic and any(canonical_json(value) != b"{}" for value in batch.dynamic or ()):
        raise InvalidRowError(f"the rows have dynamic fields, and collection {target.name} takes none")
    columns: dict[str, Column] = {}
    nulls: dict[str, Mask] = {}
    for one in target.fields:
        column = batch.columns.get(one.name)
        mask = batch.nulls.get(one.name)
        if column is None:
            if not one.nullable and one.default is None:
                raise InvalidRowError(f"the rows have no values for field {one.name} of {target.name}")
            column, mask = zeros(one, len(batch)), np.ones(len(batch), np.bool_)
        if mask is not None and mask.any():
            if one.nullable:
                nulls[one.name] = mask
            else:
                column = _replaced(column, mask, one)
        columns[one.name] = column
    return replace(batch, columns=columns, nulls=nulls, dynamic=batch.dynamic if target.dynamic else None)


def clashing_names(batch: RowBatch) -> list[str]:
    """The dynamic fields that have the name of a field, sorted. Milvus keeps both, Milvus Lite only one of them."""
    names = {name for value in batch.dynamic or () if value != b"{}" for name in json.loads(value)}
    return sorted(names & batch.columns.keys())


def row_hashes(batch: RowBatch, schema: CollectionSchema) -> list[bytes]:
    """The hash of each row: BLAKE2b with 16 bytes over its fields in the order of their names.

    Equal for equal rows on any server. A null counts as a missing field, as does `null` in a JSON field; a missing
    dynamic column counts as `{}`, but a dynamic field that is null is not missing. Integers of any width are equal when
    their values are; FLOAT, DOUBLE and vectors are equal when their bits are. JSON and dynamic fields are equal when
    their values are, whatever the order of keys and the white space; 1 and 1.0 differ.
    The partition is not part of it.
    """
    count = len(batch)
    parts_of: list[list[bytes]] = []
    for one in sorted(schema.fields, key=lambda one: one.name):
        if (column := batch.columns.get(one.name)) is not None:
            prefix = _framed(one.name.encode())
            values = [prefix + value for value in _encoded(column, one)]
            mask = _absent(column, one, batch.nulls.get(one.name))
            parts_of.append(values if mask is None else _without(values, mask))
    parts_of.append([b"\x00" + canonical_json(value) for value in batch.dynamic or [b"{}"] * count])
    return [blake2b(b"".join(values), digest_size=HASH_BYTES).digest() for values in zip(*parts_of, strict=True)]


def canonical_json(text: bytes) -> bytes:
    """JSON with sorted keys and without white space, ASCII; the text itself where it is no JSON or nested too deep."""
    if text == b"{}":
        return text
    try:
        value = json.loads(text)
        return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
    except (ValueError, RecursionError):
        return text


def _encoded(column: Column, one: FieldSchema) -> list[bytes]:
    """Each value of a column as bytes that carry their own length."""
    if one.dtype in INTEGERS:
        return [struct.pack("<cq", b"i", value) for value in _plain(column)]
    if one.dtype == "JSON":
        return [_framed(canonical_json(value)) for value in column]
    if one.dtype == "VARCHAR":
        return [_framed(value.encode("utf-8", "surrogatepass")) for value in column]
    if one.dtype == "ARRAY":
        element = FieldSchema("", one.element_type or "INT64")
        return [_framed(b"".join(_encoded(value, element))) for value in column]
    if isinstance(column, list) and one.dtype in NUMBERS:
        column = np.array(column, NUMBERS[one.dtype])
    return [_framed(value if isinstance(value, bytes) else value.tobytes()) for value in column]


def _absent(column: Column, one: FieldSchema, mask: Mask | None) -> Mask | None:
    """Where the field is null: also where a JSON field holds `null`, which Milvus Lite does not tell apart."""
    if one.dtype != "JSON":
        return mask
    null_text = np.fromiter((value.strip() == b"null" for value in column), np.bool_, len(column))
    return null_text if mask is None else null_text | mask


def _plain(column: Column) -> list[Any]:
    return column if isinstance(column, list) else column.tolist()


def _framed(value: bytes) -> bytes:
    return len(value).to_bytes(4, "little") + value


def _without(values: list[bytes], mask: Mask) -> list[bytes]:
    return [b"" if null else value for value, null in zip(values, mask.tolist(), strict=True)]


def _taken(column: Column, chosen: NDArray[np.intp] | slice) -> Any:
    if isinstance(column, list):
        return column[chosen] if isinstance(chosen, slice) else [column[place] for place in chosen]
    return column[chosen]


def zeros(one: FieldSchema, count: int) -> Column:
    """A column of what stands for a null: the default, or the zero of the type."""
    if one.dtype in NUMBERS:
        return np.full(count, one.default or 0, NUMBERS[one.dtype])
    if one.dtype == "FLOAT_VECTOR":
        return np.zeros((count, one.dimension or 0), np.float32)
    if one.dtype in BYTE_VECTORS:
        return np.zeros((count, int((one.dimension or 0) * BYTE_VECTORS[one.dtype])), np.uint8)
    kinds: dict[str, Any] = {"VARCHAR": "", "JSON": b"null", "ARRAY": [], "SPARSE_FLOAT_VECTOR": b""}
    zero = kinds[one.dtype] if one.default is None else one.default
    return [zero] * count


def _replaced(column: Column, mask: Mask, one: FieldSchema) -> Column:
    blanks: Any = zeros(one, len(column))
    if isinstance(column, list):
        return [zero if null else value for value, zero, null in zip(column, blanks, mask.tolist(), strict=True)]
    copied: NDArray[Any] = column.copy()
    copied[mask] = blanks[mask]
    return copied
