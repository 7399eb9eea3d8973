"""A vector store in memory that keeps the promises of `vectors.store`: exact cosine search, filters `field == value`.

What a test may do to it: `down = True` (nothing answers), `error = E` (each read of rows raises it) and `release(name)`
(loaded no more).
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lightragctl.core.errors import RefusedError
from lightragctl.vectors.model import (
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

FILTER = re.compile(r'\s*(?P<field>[A-Za-z_]\w*)\s*==\s*(?P<value>"(?:[^"\\]|\\.)*"|-?\d+)\s*')


@dataclass
class FakeCollection:
    """One collection: its rows by id."""

    spec: CollectionSpec
    rows: dict[str, dict[str, Any]] = field(default_factory=dict)
    loaded: bool = True

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
    """A `VectorStore`."""

    def __init__(self) -> None:
        self.down = False
        self.error: Exception | None = None
        self.closed = False
        self.collections: dict[str, FakeCollection] = {}
        self.aliases: dict[str, str] = {}

    def release(self, name: str) -> None:
        """For tests: the collection is no longer loaded."""
        self._collection(name).loaded = False

    def list_collections(self) -> list[str]:
        self._answer()
        return sorted(self.collections)

    def resolve(self, name: str) -> str | None:
        self._answer()
        physical = self.aliases.get(name, name)
        return physical if physical in self.collections else None

    def create(self, spec: CollectionSpec) -> None:
        self._answer()
        there = self.collections.setdefault(self.aliases.get(spec.name, spec.name), FakeCollection(spec))
        if there.spec.dimension != spec.dimension:
            raise WrongDimensionError(f"{spec.name} has dimension {there.spec.dimension}, not {spec.dimension}")
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
            self._check(collection.spec, row)
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
    def _check(spec: CollectionSpec, row: Row) -> None:
        missing = {"id", "vector", "created_at", *(text.name for text in spec.text_fields)} - row.keys()
        if missing:
            raise InvalidRowError(f"row {row.get('id')} lacks {sorted(missing)}")
        if len(row["vector"]) != spec.dimension:
            raise WrongDimensionError(f"{spec.name} has dimension {spec.dimension}, not {len(row['vector'])}")
        for text in spec.text_fields:
            if len(row[text.name].encode()) > text.max_bytes:
                raise InvalidRowError(f"{text.name} of row {row['id']} has more than {text.max_bytes} bytes")


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
        if batch.vectors.shape[1] != collection.spec.dimension:
            given = batch.vectors.shape[1]
            raise WrongDimensionError(f"{batch.collection} has dimension {collection.spec.dimension}, not {given}")
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
