"""A backup with those that it is based on, read as one: rows and hashes of a collection at its moment. Does I/O."""

import heapq
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from lightragctl.backup import parquet
from lightragctl.backup.archive import Archive
from lightragctl.backup.encryption import DataKey, open_key
from lightragctl.backup.manifest import (
    MANIFEST_NAME,
    MOST_MANIFEST_BYTES,
    CollectionEntry,
    InvalidBackupError,
    Manifest,
    Part,
    parse,
)
from lightragctl.backup.storage import MissingObjectError, Storage, at
from lightragctl.core.errors import UsageError
from lightragctl.core.hint import Hint
from lightragctl.vectors.rows import Key, RowBatch
from lightragctl.vectors.schema import SCALARS, CollectionSchema, from_plain, uncopyable

_MOST_DIMENSION = 32768
"""Of Milvus's vectors."""
_MOST_KEY_BYTES = 1024 * 1024


class IndexRow(NamedTuple):
    """A row as an index has it; `hash` is None for a deleted one."""

    partition: str
    key: Key
    hash: bytes | None


class MissingBackupError(UsageError):
    """There is no whole backup of that id."""

    code = "no-backup"


@dataclass(frozen=True)
class Link:
    """One backup of a chain."""

    archive: Archive
    manifest: Manifest


@dataclass(frozen=True)
class Chain:
    """A backup and its parents, newest first, down to a full one."""

    links: tuple[Link, ...]

    @property
    def manifest(self) -> Manifest:
        """Of the backup itself."""
        return self.links[0].manifest

    def definition(self, name: str) -> CollectionSchema:
        """Of a collection of the backup.

        Raises:
            InvalidBackupError: it has none of that name, or its definition is none.
        """
        return definition(_entry(self.manifest, name))

    def index(self, name: str) -> Iterator[IndexRow]:
        """Every row of a collection with its hash, by partition and key."""
        for row in _newest(self._deltas(name)):
            if row.hash is not None:
                yield row

    def rows(self, name: str) -> Iterator[RowBatch]:
        """Every row of a collection once, with bounded memory.

        Those of the newest backup come first; those of each backup are in the order of partition and key.
        """
        schema = self.definition(name)
        links = self._holding(name)
        for number, (link, entry) in enumerate(links):
            newer = _Newer(_newest([delta(one, of, schema) for one, of in links[:number]]))
            for part in entry.parts:
                for table in read_rows(link.archive, part, schema):
                    batch = parquet.rows_batch(table, schema, part.partition)
                    places = [at for at, key in enumerate(batch.keys) if not newer.has(part.partition, key)]
                    if places:
                        yield batch if len(places) == len(batch) else batch.taken(np.array(places, np.intp))

    def json(self, path: str) -> Any:
        """A document of the backup, or its known answers."""
        link = self.links[0]
        files = [one for one in link.manifest.stored() if one.path == path]
        if not files:
            raise InvalidBackupError(f"backup {link.manifest.id} has no {path}")
        try:
            return json.loads(link.archive.read(files[0]))
        except (ValueError, RecursionError) as error:
            raise InvalidBackupError(f"{path} of backup {link.manifest.id} is not JSON: {error}") from error

    def _deltas(self, name: str) -> list[Iterator[IndexRow]]:
        schema = self.definition(name)
        return [delta(link, entry, schema) for link, entry in self._holding(name)]

    def _holding(self, name: str) -> list[tuple[Link, CollectionEntry]]:
        """The backups whose rows count for a collection, newest first."""
        found = []
        for link in self.links:
            entry = _entry(link.manifest, name)
            found.append((link, entry))
            if not entry.incremental:
                return found
        raise InvalidBackupError(f"no backup of the chain of {self.manifest.id} has all rows of {name}")


def read_manifest(storage: Storage, id: str) -> Manifest:
    """The manifest of a whole backup.

    Raises:
        MissingBackupError: there is none.
        InvalidBackupError, RefusedError: as `manifest.parse`.
    """
    try:
        return parse(storage.read(f"{id}/{MANIFEST_NAME}", MOST_MANIFEST_BYTES), id)
    except MissingObjectError as error:
        raise MissingBackupError(
            f"there is no backup {id} in {storage.url}", Hint("list them: ", at("backup list", storage.url))
        ) from error


def open_chain(storage: Storage, id: str, identities: Sequence[str] | None = ()) -> Chain:
    """A backup with its parents.

    Args:
        storage: where it is.
        id: of the backup.
        identities: private keys, for encrypted ones; None: leave encrypted ones closed, as for a check of SHA-256.

    Raises:
        MissingBackupError: there is none.
        InvalidBackupError: a parent is missing or damaged.
        DecryptionError: it is encrypted, and not for these identities.
    """
    links: list[Link] = []
    wanted: str | None = id
    while wanted is not None:
        manifest = _parent(storage, wanted, links[-1].manifest) if links else read_manifest(storage, wanted)
        key = None if identities is None else data_key(storage, manifest, identities)
        links.append(Link(Archive(storage, wanted, key), manifest))
        wanted = manifest.parent
    return Chain(tuple(links))


def data_key(storage: Storage, manifest: Manifest, identities: Sequence[str]) -> DataKey | None:
    """The key of a backup; None when it is not encrypted.

    Raises:
        DecryptionError: it is not for these identities.
    """
    if manifest.encryption is None:
        return None
    return open_key(storage.read(f"{manifest.id}/{manifest.encryption.key}", _MOST_KEY_BYTES), identities)


def definition(entry: CollectionEntry) -> CollectionSchema:
    """The schema of a collection.

    Raises:
        InvalidBackupError: it is not a backup.
    """
    try:
        schema = from_plain(entry.definition)
    except ValueError as error:
        raise InvalidBackupError(f"collection {entry.name}: {error}") from error
    if reason := _unreadable(schema, entry.name):
        raise InvalidBackupError(f"collection {entry.name}: {reason}")
    return schema


def _unreadable(schema: CollectionSchema, name: str) -> str:
    """Why rows of a definition cannot be read; empty when they can."""
    names = [one.name for one in schema.fields]
    sized = [one for one in schema.vector_fields if one.dtype != "SPARSE_FLOAT_VECTOR"]
    if schema.name != name or len(set(names)) != len(names):
        return "its schema belongs to another collection, or has a duplicate field"
    if any(not 0 < (one.dimension or 0) <= _MOST_DIMENSION for one in sized):
        return f"a vector has no dimension up to {_MOST_DIMENSION}"
    if any(one.dtype == "ARRAY" and one.element_type not in SCALARS for one in schema.fields):
        return "an array has elements of an unknown type"
    return "; ".join(uncopyable(schema))


def read_rows(archive: Archive, part: Part, schema: CollectionSchema) -> Iterator[pa.Table]:
    """The rows of one part, checked."""
    return parquet.decode(archive.read(part), parquet.rows_schema(schema), part.rows, archive.path(part.path))


def read_index(archive: Archive, part: Part, schema: CollectionSchema) -> Iterator[IndexRow]:
    """The keys and hashes of one part of an index, checked."""
    for table in parquet.decode(archive.read(part), parquet.index_schema(schema), part.rows, archive.path(part.path)):
        columns: Mapping[str, Any] = table.to_pydict()
        for key, hash in zip(columns[parquet.KEY], columns[parquet.HASH], strict=True):
            yield IndexRow(part.partition, key, hash)


class _Newer:
    """Which rows, asked in order, are superseded by newer ones, given in order."""

    def __init__(self, newer: Iterator[IndexRow]) -> None:
        self._newer = newer
        self._at = next(newer, None)

    def has(self, partition: str, key: Key) -> bool:
        while self._at is not None and (self._at.partition, self._at.key) < (partition, key):
            self._at = next(self._newer, None)
        return self._at is not None and (self._at.partition, self._at.key) == (partition, key)


def _parent(storage: Storage, id: str, child: Manifest) -> Manifest:
    try:
        found = read_manifest(storage, id)
    except MissingBackupError as error:
        raise InvalidBackupError(f"backup {child.id} is based on {id}, which is missing") from error
    is_other = child.parent_digest not in (None, found.content_digest)
    if is_other or found.generation != child.generation - 1:
        raise InvalidBackupError(f"backup {id} is not the parent that {child.id} names: its manifest differs")
    return found


def _entry(manifest: Manifest, name: str) -> CollectionEntry:
    entry = manifest.collection(name)
    if entry is None:
        raise InvalidBackupError(f"backup {manifest.id} has no collection {name}")
    return entry


def delta(link: Link, entry: CollectionEntry, schema: CollectionSchema) -> Iterator[IndexRow]:
    """The index of one backup; its order is checked, as merging relies on it."""
    last: tuple[str, Key] | None = None
    for part in entry.index:
        for row in read_index(link.archive, part, schema):
            at = (row.partition, row.key)
            if last is not None and at <= last:
                raise InvalidBackupError(f"{link.archive.path(part.path)} is not in the order of its keys")
            last = at
            yield row


def _newest(deltas: Sequence[Iterator[IndexRow]]) -> Iterator[IndexRow]:
    """The row of each key that the first of these has."""
    merged = heapq.merge(*deltas, key=_place)  # stable: of equal keys, the newest comes first
    for _, rows in groupby(merged, key=_place):
        yield next(rows)


def _place(row: IndexRow) -> tuple[str, Key]:
    return row.partition, row.key
