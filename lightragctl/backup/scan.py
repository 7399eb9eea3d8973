"""One pass over a workspace: reads rows and files, and optionally writes them. Does I/O."""

import hashlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import IO

import numpy as np

from lightragctl.backup.archive import Archive
from lightragctl.backup.belonging import is_control
from lightragctl.backup.chain import Chain, IndexRow, definition
from lightragctl.backup.manifest import CollectionEntry, FileEntry, TableEntry, check_file_name, object_path
from lightragctl.backup.parts import CollectionWriter, Tally
from lightragctl.backup.progress import Progress
from lightragctl.backup.source import Source, World
from lightragctl.core.errors import RefusedError
from lightragctl.core.result import Event
from lightragctl.vectors.copying import loaded
from lightragctl.vectors.fence_rows import is_transient
from lightragctl.vectors.rows import RowBatch, row_hashes
from lightragctl.vectors.schema import CollectionSchema, to_plain, uncopyable

_VECTOR = "vector"
"""The field that LightRAG searches."""
_READ_BYTES = 1024 * 1024


@dataclass(frozen=True)
class Pass:
    """What one pass saw, and what it wrote if it `wrote`. `file_digests` are those of files and of tables."""

    wrote: bool
    schemas: dict[str, CollectionSchema] = field(default_factory=dict)
    tallies: dict[str, Tally] = field(default_factory=dict)
    file_digests: dict[str, str] = field(default_factory=dict)
    entries: list[CollectionEntry] = field(default_factory=list)
    files: list[FileEntry] = field(default_factory=list)
    tables: list[TableEntry] = field(default_factory=list)

    def agrees(self, other: "Pass") -> bool:
        """Whether both saw the same rows, files and tables."""
        mine, others = ({name: one.digest.digest() for name, one in each.tallies.items()} for each in (self, other))
        return mine == others and self.file_digests == other.file_digests


class Scanner:
    """Passes over a workspace, all into one backup.

    Args:
        source: the workspace.
        archive: the backup.
        parent: what it is based on; None: it gets all rows.
        world: takes progress.
    """

    def __init__(self, source: Source, archive: Archive, parent: Chain | None, world: World) -> None:
        self._source = source
        self._archive = archive
        self._parent = parent
        self._world = world

    def run(self, writes: bool) -> Pass:
        """Reads everything once; rows and files of an earlier pass are overwritten.

        Raises:
            RefusedError: a collection has a field that cannot be copied, or a file a name that cannot be kept.
        """
        found = Pass(writes)
        store = self._source.store
        names = self._source.collections()
        progress = Progress(
            self._world.notify, self._world.clock, self._total(names), "copied" if writes else "compared"
        )
        with ThreadPoolExecutor(1, "backup parts") as worker:
            for name in names:
                schema = found.schemas[name] = store.describe(name)
                if reasons := uncopyable(schema):
                    raise RefusedError(f"collection {name} cannot be backed up: {'; '.join(reasons)}")
                writer = CollectionWriter(self._archive, schema, worker, self._parent_rows(schema)) if writes else None
                with loaded(store, name):
                    found.tallies[name] = self._read(schema, writer, progress)
                    if writer:
                        found.entries.append(self._entry(schema, found.tallies[name], writer))
        self._read_files(found, writes)
        self._read_tables(found, writes)
        return found

    def _total(self, names: Sequence[str]) -> int:
        """Rows of the collections that are loaded; loading one only to count its rows would take longer."""
        store = self._source.store
        return sum(store.row_count(name) for name in names if store.is_loaded(name))

    def _read(self, schema: CollectionSchema, writer: CollectionWriter | None, progress: Progress) -> Tally:
        tally = Tally()
        field = _searched(schema)
        for scope in sorted(schema.scopes):
            for read in self._source.store.read_rows(schema.name, schema, partition=scope):
                batch = _lasting(read) if is_control(schema.name) else read
                hashes = row_hashes(batch, schema)
                tally.see(batch, hashes, field)
                if writer:
                    writer.add(batch, hashes)
                progress.add(schema.name, len(read), read.size_bytes)
        return tally

    def _entry(self, schema: CollectionSchema, tally: Tally, writer: CollectionWriter) -> CollectionEntry:
        rows, index = writer.finish()
        return CollectionEntry(
            name=schema.name,
            definition=to_plain(schema),
            incremental=writer.incremental,
            rows=tally.unique_keys if is_control(schema.name) else self._source.store.row_count(schema.name),
            unique_keys=tally.unique_keys,
            digest=tally.digest.hexdigest(),
            parts=rows,
            index=index,
            changed_rows=writer.changed_rows,
            deleted_rows=writer.deleted_rows,
            nulls=tuple(sorted(tally.nulls)),
        )

    def _parent_rows(self, schema: CollectionSchema) -> Iterator[IndexRow] | None:
        """The rows that the parent has of a collection with the same fields."""
        entry = self._parent.manifest.collection(schema.name) if self._parent else None
        if self._parent is None or entry is None or not _same_fields(definition(entry), schema):
            return None
        return self._parent.index(schema.name)

    def _read_tables(self, found: Pass, writes: bool) -> None:
        with self._source.tables() as tables:
            for one in tables:
                self._world.notify(Event(f"reading table {one.name}", "PostgreSQL", passing=True))
                with one.open() as stream:
                    if writes:
                        stored, digest = self._archive.write_stream(f"tables/{one.name}.csv", stream)
                    else:
                        stored, digest = None, _digest(stream)
                found.file_digests[f"table {one.name}"] = digest
                if stored is not None and one.extent is not None:
                    found.tables.append(
                        TableEntry(
                            **stored.model_dump(),
                            name=one.name,
                            columns=tuple(one.columns),
                            rows=one.extent.rows,
                            digest=digest,
                        )
                    )

    def _read_files(self, found: Pass, writes: bool) -> None:
        for number, (name, opened) in enumerate(self._source.files()):
            try:
                check_file_name(name)
            except ValueError as error:
                raise RefusedError(f"a file of the workspace cannot be backed up: {error}", "rename it") from error
            with opened() as stream:
                if not writes:
                    found.file_digests[name] = _digest(stream)
                    continue
                stored, found.file_digests[name] = self._archive.write_stream(
                    object_path("files", name, number), stream
                )
                found.files.append(FileEntry(**stored.model_dump(), name=name))


def _searched(schema: CollectionSchema) -> str | None:
    """The field whose searches are known answers; none in our control collection, whose vectors mean nothing."""
    return None if is_control(schema.name) or schema.field(_VECTOR) is None else _VECTOR


def _lasting(batch: RowBatch) -> RowBatch:
    """The rows of a control collection but those that belong to running processes."""
    places = [at for at, key in enumerate(batch.keys) if not is_transient(str(key))]
    return batch if len(places) == len(batch) else batch.taken(np.array(places, np.intp))


def _same_fields(one: CollectionSchema, other: CollectionSchema) -> bool:
    return one.fields == other.fields and one.dynamic == other.dynamic


def _digest(stream: IO[bytes]) -> str:
    seen = hashlib.sha256()
    while piece := stream.read(_READ_BYTES):
        seen.update(piece)
    return seen.hexdigest()
