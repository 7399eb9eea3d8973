"""Writes the rows of one collection as parts, and its index: what changed since the parent, or all. Does I/O."""

import hashlib
import heapq
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from lightragctl.backup import parquet
from lightragctl.backup.archive import Archive
from lightragctl.backup.chain import IndexRow
from lightragctl.backup.manifest import Part, StoredFile
from lightragctl.vectors.rows import HASH_BYTES, Key, RowBatch
from lightragctl.vectors.schema import CollectionSchema

_INDEX_ROWS = 100_000
"""Keys of one table of an index; about 10 MB as Python objects."""


class PartWriter:
    """Collects rows of one partition after the other and writes them as parts of about the same size.

    One part is encoded and written while the next is collected.

    Args:
        archive: the backup.
        folder: where the parts go.
        worker: writes the parts.
    """

    def __init__(self, archive: Archive, folder: str, worker: ThreadPoolExecutor) -> None:
        self._archive = archive
        self._folder = folder
        self._worker = worker
        self._tables: list[pa.Table] = []
        self._partition = ""
        self._written: list[Future[Part]] = []

    def add(self, table: pa.Table, partition: str) -> None:
        """Takes rows that follow those before; waits while the part before is being written."""
        if self._tables and partition != self._partition:
            self._write()
        self._partition = partition
        self._tables.append(table)
        if sum(one.nbytes for one in self._tables) >= parquet.PART_BYTES:
            self._write()

    def finish(self) -> tuple[Part, ...]:
        """Writes what is left; all parts in order."""
        if self._tables:
            self._write()
        return tuple(one.result() for one in self._written)

    def _write(self) -> None:
        tables, self._tables = self._tables, []
        if self._written:
            self._written[-1].result()
        name = f"{self._folder}/{len(self._written):06d}.parquet"
        self._written.append(self._worker.submit(_written, self._archive, name, tables, self._partition))


def _written(archive: Archive, name: str, tables: Sequence[pa.Table], partition: str) -> Part:
    stored: StoredFile = archive.write(name, parquet.encode(tables))
    return Part(**stored.model_dump(), rows=sum(map(len, tables)), partition=partition)


class IndexWriter:
    """Collects keys and hashes in order and writes them as parts.

    Args:
        parts: takes them.
        schema: of the collection.
    """

    def __init__(self, parts: PartWriter, schema: CollectionSchema) -> None:
        self._parts = parts
        self._schema = schema
        self._keys: list[Key] = []
        self._hashes: list[bytes | None] = []
        self._partition = ""

    def add(self, partition: str, keys: Sequence[Key], hashes: Sequence[bytes | None]) -> None:
        """Takes rows that follow those before."""
        if partition != self._partition or len(self._keys) >= _INDEX_ROWS:
            self._flush()
            self._partition = partition
        self._keys += keys
        self._hashes += hashes

    def finish(self) -> tuple[Part, ...]:
        """Writes what is left; all parts in order."""
        self._flush()
        return self._parts.finish()

    def _flush(self) -> None:
        if self._keys:
            self._parts.add(parquet.index_table(self._keys, self._hashes, self._schema), self._partition)
            self._keys, self._hashes = [], []


class Changes:
    """Which of the rows, given in order, differ from the parent's.

    Args:
        parent: its rows in order.
    """

    def __init__(self, parent: Iterator[IndexRow]) -> None:
        self._parent = parent
        self._at = next(parent, None)

    def among(self, partition: str, keys: Sequence[Key], hashes: Sequence[bytes]) -> tuple[list[int], list[IndexRow]]:
        """Places of rows that are new or changed, and the parent's rows up to the last of these that are gone."""
        places: list[int] = []
        gone: list[IndexRow] = []
        for at, (key, hash) in enumerate(zip(keys, hashes, strict=True)):
            gone += self._before((partition, key))
            if self._at is None or (self._at.partition, self._at.key) != (partition, key):
                places.append(at)
                continue
            if self._at.hash != hash:
                places.append(at)
            self._at = next(self._parent, None)
        return places, gone

    def rest(self) -> Iterator[IndexRow]:
        """The parent's rows that come after all that were given: they are gone."""
        while self._at is not None:
            yield self._at
            self._at = next(self._parent, None)

    def _before(self, place: tuple[str, Any]) -> Iterator[IndexRow]:
        while self._at is not None and (self._at.partition, self._at.key) < place:
            yield self._at
            self._at = next(self._parent, None)


SAMPLE_ROWS = 20
"""Stored rows of a collection whose searches become known answers."""


@dataclass
class Tally:
    """What one pass over a collection saw.

    Attributes:
        unique_keys: how many rows.
        digest: of their hashes, in order.
        sample: the rows with the smallest hashes, as (hash, key, vector): a choice that a second pass makes again.
        nulls: fields that are null in some row.
    """

    unique_keys: int = 0
    digest: Any = field(default_factory=hashlib.sha256)
    sample: list[tuple[bytes, Key, Any]] = field(default_factory=list)
    nulls: set[str] = field(default_factory=set)

    def see(self, batch: RowBatch, hashes: Sequence[bytes], vector_field: str | None) -> None:
        """Counts the rows of a batch, which follow those before."""
        self.unique_keys += len(hashes)
        self.digest.update(b"".join(hashes))
        self.nulls |= {name for name, mask in batch.nulls.items() if mask.any()}
        if vector_field is None:
            return
        bound = self.sample[-1][0] if len(self.sample) == SAMPLE_ROWS else b"\xff" * HASH_BYTES
        keys, vectors = batch.keys, batch.columns[vector_field]
        new = [(hash, keys[at], np.array(vectors[at])) for at, hash in enumerate(hashes) if hash < bound]
        self.sample = heapq.nsmallest(SAMPLE_ROWS, [*self.sample, *new], key=lambda one: one[0])


class CollectionWriter:
    """Writes the rows of one collection as they come, in order.

    Args:
        archive: the backup.
        schema: of the collection.
        worker: writes the parts.
        parent: the parent's rows in order; None: all rows are written.
    """

    def __init__(
        self, archive: Archive, schema: CollectionSchema, worker: ThreadPoolExecutor, parent: Iterator[IndexRow] | None
    ) -> None:
        folder = f"collections/{schema.name}"
        self._schema = schema
        self._rows = PartWriter(archive, f"{folder}/rows", worker)
        self._index = IndexWriter(PartWriter(archive, f"{folder}/index", worker), schema)
        self._changes = None if parent is None else Changes(parent)
        self.incremental = parent is not None
        self.changed_rows = 0
        self.deleted_rows = 0

    def add(self, batch: RowBatch, hashes: Sequence[bytes]) -> None:
        """Takes rows that follow those before."""
        if self._changes is None:
            self._take(batch, batch.keys, hashes, ())
            return
        keys = batch.keys
        places, gone = self._changes.among(batch.partition, keys, hashes)
        changed = batch if len(places) == len(keys) else batch.taken(np.array(places, np.intp))
        self._take(changed, [keys[at] for at in places], [hashes[at] for at in places], gone)

    def finish(self) -> tuple[tuple[Part, ...], tuple[Part, ...]]:
        """Writes what is left: the parts of the rows, and those of the index."""
        if self._changes is not None:
            for row in self._changes.rest():
                self._delete(row)
        return self._rows.finish(), self._index.finish()

    def _take(self, batch: RowBatch, keys: Sequence[Key], hashes: Sequence[bytes], gone: Sequence[IndexRow]) -> None:
        if keys:
            self._rows.add(parquet.rows_table(batch, self._schema), batch.partition)
            self.changed_rows += len(keys)
        if not gone:
            self._index.add(batch.partition, keys, hashes)
            return
        present = (IndexRow(batch.partition, key, hash) for key, hash in zip(keys, hashes, strict=True))
        deleted = (IndexRow(row.partition, row.key, None) for row in gone)
        self.deleted_rows += len(gone)
        for row in heapq.merge(present, deleted, key=lambda row: (row.partition, row.key)):
            self._index.add(row.partition, [row.key], [row.hash])

    def _delete(self, row: IndexRow) -> None:
        self._index.add(row.partition, [row.key], [None])
        self.deleted_rows += 1
