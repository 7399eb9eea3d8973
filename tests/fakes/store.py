"""A vector store in memory that keeps the promises of `vectors.store`: exact cosine search, filters `field == value`.

What a test may do to it: `down = True` (nothing answers), `error = E` (each read of rows raises it), `version` (what it
reports) and `batch_rows` (how many rows `read_rows` gives at a time).
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from lightragctl.core.errors import RefusedError
from lightragctl.vectors.model import (
    ID_BYTES,
    CollectionMissingError,
    CollectionSpec,
    Hit,
    InvalidFilterError,
    InvalidRowError,
    NotLoadedError,
    Page,
    Row,
    SearchBatch,
    StoreUnavailableError,
    WrongDimensionError,
)
from lightragctl.vectors.rows import NUMBERS, Key, RowBatch, filled
from lightragctl.vectors.schema import (
    BYTE_VECTORS,
    DEFAULT_PARTITION,
    CollectionSchema,
    FieldSchema,
    IndexSchema,
    fitted,
    lossy,
    server,
    uncopyable,
)

FILTER = re.compile(r'\s*(?P<field>[A-Za-z_]\w*)\s*==\s*(?P<value>"(?:[^"\\]|\\.)*"|-?\d+)\s*')


@dataclass
class FakeCollection:
    """One collection: its rows by key. `partition_of` holds the keys of rows in named partitions."""

    schema: CollectionSchema
    rows: dict[Any, dict[str, Any]] = field(default_factory=dict)
    loaded: bool = True
    partition_of: dict[Any, str] = field(default_factory=dict)

    @property
    def dimension(self) -> int:
        """Of the vectors that are searched."""
        return self.schema.vector_fields[0].dimension or 0

    def batch(self, keys: Sequence[Any], partition: str) -> RowBatch:
        """These rows in columns."""
        rows = [self.rows[key] for key in keys]
        columns, nulls = {}, {}
        for one in self.schema.fields:
            values = [row.get(one.name) for row in rows]
            if any(value is None for value in values):
                nulls[one.name] = np.array([value is None for value in values])
            columns[one.name] = column(one, values)
        known = {one.name for one in self.schema.fields}
        rest = [{name: value for name, value in row.items() if name not in known} for row in rows]
        dynamic = [json.dumps(one).encode() for one in rest] if self.schema.dynamic else None
        return RowBatch(self.schema.primary.name, columns, dynamic, nulls, partition)

    def take(self, batch: RowBatch) -> None:
        """Writes rows that fit the schema."""
        for place, key in enumerate(batch.keys):
            row = {
                one.name: value(one, batch.columns[one.name][place])
                for one in self.schema.fields
                if one.name not in batch.nulls or not batch.nulls[one.name][place]
            }
            self.rows[key] = row | (json.loads(batch.dynamic[place]) if batch.dynamic else {})
            self.partition_of[key] = batch.partition or DEFAULT_PARTITION

    def matching(self, filter_text: str) -> list[dict[str, Any]]:
        """The rows that fit, sorted by id."""
        rows = [row for _, row in sorted(self.rows.items())]
        if not filter_text.strip():
            return rows
        if not (parts := FILTER.fullmatch(filter_text)):
            raise InvalidFilterError(f"the filter {filter_text!r} is not understood")
        wanted = json.loads(parts["value"])
        return [row for row in rows if row.get(parts["field"]) == wanted]


class FakeStore:
    """A `CollectionStore`."""

    def __init__(self, version: str = "v2.3.5", batch_rows: int = 1000) -> None:
        self.version = version
        self.batch_rows = batch_rows
        self.down = False
        self.error: Exception | None = None
        self.closed = False
        self.collections: dict[str, FakeCollection] = {}
        self.aliases: dict[str, str] = {}

    def list_collections(self) -> list[str]:
        self._answer()
        return sorted(self.collections)

    def resolve(self, name: str) -> str | None:
        self._answer()
        physical = self.aliases.get(name, name)
        return physical if physical in self.collections else None

    def create(self, spec: CollectionSpec) -> None:
        self._answer()
        made = FakeCollection(schema_of(spec))
        there = self.collections.setdefault(self.aliases.get(spec.name, spec.name), made)
        if there.dimension != spec.dimension:
            raise WrongDimensionError(f"{spec.name} has dimension {there.dimension}, not {spec.dimension}")
        there.loaded = True

    def point_alias(self, alias: str, physical: str) -> None:
        self._collection(physical)
        self.aliases[alias] = physical

    def drop(self, physical: str) -> None:
        self._answer()
        if physical in self.aliases:
            raise RefusedError(f"{physical} is an alias of {self.aliases[physical]}")
        self.collections.pop(physical, None)
        self.aliases = {alias: target for alias, target in self.aliases.items() if target != physical}

    def load(self, name: str) -> None:
        self._collection(name).loaded = True

    def is_loaded(self, name: str) -> bool:
        return self._collection(name).loaded

    def upsert(self, name: str, rows: Sequence[Row]) -> None:
        collection = self._collection(name)
        for row in rows:
            self._check(collection, row)
        collection.rows.update({row["id"]: {**row, "vector": np.asarray(row["vector"], np.float32)} for row in rows})

    def delete(self, name: str, ids: Sequence[str]) -> None:
        rows = self._collection(name).rows
        for key in ids:
            rows.pop(key, None)

    def get(self, name: str, ids: Sequence[str], fields: Sequence[str]) -> dict[str, dict[str, Any]]:
        if self.error is not None:
            raise self.error
        rows = self.readable(name).rows
        return {key: pick(rows[key], ("id", *fields)) for key in ids if key in rows}

    def scan(self, name: str, fields: Sequence[str], page: Page) -> list[dict[str, Any]]:
        rows = self.readable(name).matching(page.filter)
        rows = [row for row in rows if not page.after or row["id"] > page.after]
        rows = [row for row in rows if not page.before or row["id"] < page.before]
        return [pick(row, ("id", *fields)) for row in rows[: page.limit]]

    def server_version(self) -> str:
        self._answer()
        return self.version

    def describe(self, name: str) -> CollectionSchema:
        found = self._collection(name)
        aliases = tuple(sorted(alias for alias, target in self.aliases.items() if target == found.schema.name))
        return replace(found.schema, aliases=aliases, loaded=found.loaded, replicas=int(found.loaded))

    def create_from(self, schema: CollectionSchema, name: str) -> None:
        self._answer()
        target = server(self.version)
        if losses := uncopyable(schema) + lossy(schema, target):
            raise RefusedError(f"{name} would not be a whole copy of {schema.name}: {'; '.join(losses)}")
        wanted = replace(fitted(schema, target), name=name, aliases=(), loaded=False, replicas=0)
        there = self.collections.setdefault(name, FakeCollection(wanted, loaded=False)).schema
        if name in self.aliases or there.fields != wanted.fields:
            raise RefusedError(f"{name} is there and has other fields than {schema.name}")

    def read_rows(
        self, name: str, schema: CollectionSchema, after: Key | None = None, partition: str = ""
    ) -> Iterator[RowBatch]:
        if reasons := uncopyable(schema):
            raise RefusedError(f"collection {name} cannot be read completely: {'; '.join(reasons)}")
        while True:
            if self.error is not None:
                raise self.error
            found = self.readable(name)
            keys = [key for key in sorted(found.rows) if after is None or key > after]
            keys = [key for key in keys if partition in ("", found.partition_of.get(key, DEFAULT_PARTITION))]
            if not keys:
                return
            batch = found.batch(keys[: self.batch_rows], partition)
            yield batch
            after = batch.last_key

    def write_rows(self, name: str, batches: Iterable[RowBatch], done: Callable[[RowBatch], None] | None = None) -> int:
        count = 0
        for batch in batches:
            found = self._collection(name)
            batch = filled(batch, found.schema)
            found.take(batch)
            count += len(batch)
            if done is not None:
                done(batch)
        return count

    def rename(self, old: str, new: str) -> None:
        found = self._collection(old)
        if old in self.aliases:
            raise RefusedError(f"{old} is an alias of {found.schema.name}, which has another name")
        if self.resolve(new) is not None:
            raise RefusedError(f"{old} cannot be renamed to {new}: there is a collection or an alias of that name")
        found.schema = replace(found.schema, name=new)
        self.collections[new] = self.collections.pop(old)
        self.aliases = {alias: new if target == old else target for alias, target in self.aliases.items()}

    def release(self, name: str) -> None:
        self._collection(name).loaded = False

    def drop_alias(self, alias: str) -> None:
        self._answer()
        self.aliases.pop(alias, None)

    def flush(self, name: str) -> None:
        self._collection(name)

    def row_count(self, name: str) -> int:
        return len(self.readable(name).rows)

    def close(self) -> None:
        self.closed = True

    def readable(self, name: str) -> FakeCollection:
        """The collection, if it is loaded."""
        collection = self._collection(name)
        if not collection.loaded:
            raise NotLoadedError(f"{name} is not loaded")
        return collection

    def _answer(self) -> None:
        if self.down:
            raise StoreUnavailableError("the vector store does not respond", "start it")

    def _collection(self, name: str) -> FakeCollection:
        physical = self.resolve(name)
        if physical is None:
            raise CollectionMissingError(f"there is no collection {name}")
        return self.collections[physical]

    @staticmethod
    def _check(collection: FakeCollection, row: Row) -> None:
        schema = collection.schema
        missing = {one.name for one in schema.fields} - row.keys()
        if missing:
            raise InvalidRowError(f"row {row.get('id')} lacks {sorted(missing)}")
        if len(row["vector"]) != collection.dimension:
            raise WrongDimensionError(f"{schema.name} has dimension {collection.dimension}, not {len(row['vector'])}")
        for one in schema.fields:
            if one.dtype == "VARCHAR" and len(row[one.name].encode()) > (one.max_length or 0):
                raise InvalidRowError(f"{one.name} of row {row['id']} has more than {one.max_length} bytes")


class FakeSearch:
    """A `SearchStore` on the collections of a `FakeStore`.

    `batches` are those that it was asked for; the next `failures` fail.
    """

    def __init__(self, store: FakeStore) -> None:
        self.store = store
        self.closed = False
        self.batches: list[SearchBatch] = []
        self.failures = 0

    async def search(self, batch: SearchBatch) -> list[list[Hit]]:
        self.batches.append(batch)
        if self.failures:
            self.failures -= 1
            raise StoreUnavailableError("the vector store broke the connection")
        collection = self.store.readable(batch.collection)
        if batch.vectors.shape[1] != collection.dimension:
            given = batch.vectors.shape[1]
            raise WrongDimensionError(f"{batch.collection} has dimension {collection.dimension}, not {given}")
        rows = collection.matching(batch.filter)
        if not rows:
            return [[] for _ in batch.vectors]
        scores = unit(batch.vectors) @ unit(np.stack([row["vector"] for row in rows])).T
        return [
            [Hit(rows[at]["id"], float(line[at]), pick(rows[at], batch.output_fields)) for at in best[: batch.top_k]]
            for line, best in zip(scores, np.argsort(-scores, axis=1, kind="stable"), strict=True)
        ]

    async def close(self) -> None:
        self.closed = True


def pick(row: Row, fields: Sequence[str]) -> dict[str, Any]:
    """Those of the fields that the row has."""
    return {name: row[name] for name in fields if name in row}


def unit(vectors: Any) -> Any:
    """The vectors with length 1; those without length stay as they are."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(lengths == 0, 1, lengths)


def schema_of(spec: CollectionSpec) -> CollectionSchema:
    """What a server would describe after `create`."""
    texts = [FieldSchema(text.name, "VARCHAR", max_length=text.max_bytes) for text in spec.text_fields]
    key = FieldSchema("id", "VARCHAR", max_length=ID_BYTES, primary=True)
    fields = (key, FieldSchema("vector", "FLOAT_VECTOR", dimension=spec.dimension), FieldSchema("created_at", "INT64"))
    index = IndexSchema("vector", "vector", spec.index.index_type, spec.index.metric_type, dict(spec.index.build))
    return CollectionSchema(spec.name, (*fields, *texts), dynamic=True, indexes=(index,))


def column(one: FieldSchema, values: Sequence[Any]) -> Any:
    """The values of a field as `vectors.rows` holds them; None becomes a zero."""
    if one.dtype == "FLOAT_VECTOR":
        blank = np.zeros(one.dimension or 0, np.float32)
        return np.stack([blank if value is None else np.asarray(value, np.float32) for value in values])
    if one.dtype in BYTE_VECTORS:
        blank = np.zeros(int((one.dimension or 0) * BYTE_VECTORS[one.dtype]), np.uint8)
        return np.stack([blank if value is None else value for value in values])
    if one.dtype in NUMBERS:
        return np.array([value or 0 for value in values], NUMBERS[one.dtype])
    if one.dtype == "JSON":
        return [json.dumps(value).encode() for value in values]
    blanks: dict[str, Any] = {"VARCHAR": "", "ARRAY": [], "SPARSE_FLOAT_VECTOR": b""}
    return [blanks[one.dtype] if value is None else value for value in values]


def value(one: FieldSchema, stored: Any) -> Any:
    """One value of a column as a row of the fake holds it."""
    if one.dtype == "JSON":
        return json.loads(stored)
    return stored.item() if one.dtype in NUMBERS else stored
