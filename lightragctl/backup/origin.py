"""Where a copy of a workspace comes from: a backup, or another workspace of the same release. Does I/O."""

import contextlib
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import IO, Any, Protocol

from lightragctl.backup import answers, restore
from lightragctl.backup.archive import Archive
from lightragctl.backup.belonging import is_control
from lightragctl.backup.chain import Chain
from lightragctl.backup.graph import GRAPH_FILE, sample_of_entities
from lightragctl.backup.manifest import StoredFile, TableEntry
from lightragctl.backup.parts import Tally
from lightragctl.backup.restore import Expected
from lightragctl.backup.switch import lasting
from lightragctl.core.stores import GRAPH_NODES
from lightragctl.release.workspace_files import INPUTS, WorkspaceFiles, list_files
from lightragctl.release.workspace_tables import Extent, TableRows, WorkspaceTables
from lightragctl.vectors.copying import loaded
from lightragctl.vectors.rows import RowBatch, row_hashes
from lightragctl.vectors.schema import CollectionSchema, lossy, server
from lightragctl.vectors.store import CollectionStore

SPOOLED_BYTES = 8 * 1024 * 1024
_PIECE_BYTES = 1024 * 1024

Files = Iterable[tuple[str, Callable[[], Iterable[bytes]]]]
"""Each file of a workspace: its relative name, and what reads its content."""
Tables = AbstractContextManager[Iterable[TableRows]]
"""The tables of a workspace in PostgreSQL as of one moment."""


class Origin(Protocol):
    """A workspace to copy."""

    @property
    def workspace(self) -> str:
        """Its name."""

    @property
    def schemas(self) -> Mapping[str, CollectionSchema]:
        """Its collections by their physical names."""

    @property
    def row_total(self) -> int:
        """How many rows there are, about."""

    @property
    def inputs(self) -> str:
        """The absolute path of the folder of its uploads; empty when there are no files."""

    def rows(self, name: str) -> Iterator[RowBatch]:
        """Every row of a collection once."""

    def expected(self, name: str) -> Expected:
        """What a copy must have; to be called when its rows have been read."""

    def losses(self, store: CollectionStore) -> Mapping[str, Sequence[str]]:
        """What a server cannot hold, by collection; those that lose nothing are omitted."""

    def files(self) -> Files:
        """The files of lightrag-server."""

    @property
    def table_columns(self) -> Mapping[str, Sequence[str]]:
        """The columns of the tables of PostgreSQL, by name; none where they are those of the target."""

    def tables(self) -> Tables:
        """The rows in PostgreSQL."""

    def entities(self) -> dict[str, str]:
        """Some entities of the graph: name by id; none when there is no graph."""

    def answers(self, search: answers.Search) -> answers.Answers | None:
        """Searches with known answers; None when there are none."""


@dataclass(frozen=True)
class BackupOrigin:
    """A backup with those that it is based on."""

    chain: Chain

    @property
    def workspace(self) -> str:
        """See `Origin`."""
        return self.chain.manifest.workspace

    @property
    def schemas(self) -> Mapping[str, CollectionSchema]:
        """See `Origin`."""
        return {one.name: self.chain.definition(one.name) for one in self.chain.manifest.collections}

    @property
    def row_total(self) -> int:
        """See `Origin`."""
        return sum(one.unique_keys for one in self.chain.manifest.collections)

    @property
    def inputs(self) -> str:
        """See `Origin`."""
        return str(self.document("files.json").get("inputs", ""))

    def document(self, name: str) -> dict[str, Any]:
        """A JSON document of the backup; empty when it has none of this name."""
        found = next((one for one in self.chain.manifest.documents if one.name == name), None)
        document: dict[str, Any] = self.chain.json(found.path) if found else {}
        return document

    def rows(self, name: str) -> Iterator[RowBatch]:
        """See `Origin`."""
        return self.chain.rows(name)

    def expected(self, name: str) -> Expected:
        """See `Origin`."""
        return restore.expected(self.chain, name)

    def losses(self, store: CollectionStore) -> Mapping[str, Sequence[str]]:
        """See `Origin`."""
        target = server(store.server_version())
        entries = {one.name: one for one in self.chain.manifest.collections}
        found = {name: lossy(schema, target, entries[name].nulls) for name, schema in self.schemas.items()}
        return {name: lost for name, lost in found.items() if lost}

    def files(self) -> Files:
        """See `Origin`. Content is checked before any of it is passed on."""
        for file in self.chain.manifest.files:
            yield file.name, partial(self._content, file)

    def _content(self, file: StoredFile) -> Iterator[bytes]:
        with tempfile.SpooledTemporaryFile(SPOOLED_BYTES) as spool:
            self.chain.links[0].archive.read_stream(file, spool)
            spool.seek(0)
            yield from _pieces(spool)

    @property
    def table_columns(self) -> Mapping[str, Sequence[str]]:
        """See `Origin`."""
        return {one.name: one.columns for one in self.chain.manifest.tables}

    def tables(self) -> Tables:
        """See `Origin`. Content is checked before any of it is passed on."""
        archive = self.chain.links[0].archive
        return contextlib.nullcontext(stored_table(archive, one) for one in self.chain.manifest.tables)

    def entities(self) -> dict[str, str]:
        """See `Origin`."""
        return restore.entities(self.chain)

    def answers(self, search: answers.Search) -> answers.Answers | None:
        """See `Origin`: the results that were stored in the backup."""
        return restore.known_answers(self.chain)


@dataclass(frozen=True)
class WorkspaceOrigin:
    """A workspace that nothing writes to meanwhile.

    Attributes:
        store: where its collections are.
        workspace: its name.
        collections: their physical names.
        tree: its files; None when lightrag-server does not serve it.
        postgres: its tables; None when lightrag-server does not serve it, or has only files.
    """

    store: CollectionStore
    workspace: str
    collections: Sequence[str]
    tree: WorkspaceFiles | None
    postgres: WorkspaceTables | None = None
    _read: dict[str, Tally] = field(default_factory=dict, compare=False)

    @property
    def schemas(self) -> Mapping[str, CollectionSchema]:
        """See `Origin`."""
        return {name: self.store.describe(name) for name in self.collections}

    @property
    def row_total(self) -> int:
        """See `Origin`. Those of collections that are not loaded are not counted."""
        return sum(self.store.row_count(name) for name in self.collections if self.store.is_loaded(name))

    @property
    def inputs(self) -> str:
        """See `Origin`."""
        return str(self.tree.roots[INPUTS].absolute()) if self.tree else ""

    def rows(self, name: str) -> Iterator[RowBatch]:
        """See `Origin`."""
        schema, tally = self.store.describe(name), Tally()
        with loaded(self.store, name):
            for read in restore.copied_rows(self.store, name, schema):
                batch = lasting(read) if is_control(name) else read
                tally.see(batch, row_hashes(batch, schema), None)
                yield batch
        self._read[name] = tally

    def expected(self, name: str) -> Expected:
        """See `Origin`."""
        tally = self._read[name]
        return Expected(self.store.describe(name), tally.unique_keys, tally.digest.hexdigest())

    def losses(self, store: CollectionStore) -> Mapping[str, Sequence[str]]:
        """See `Origin`: none, as the server is the same."""
        return {}

    def files(self) -> Files:
        """See `Origin`."""
        tree = self.tree
        if tree is None:
            return

        for entry in list_files(tree):
            yield entry.path, partial(_content, tree.path(entry.path))

    @property
    def table_columns(self) -> Mapping[str, Sequence[str]]:
        """See `Origin`."""
        return {one.name: () for one in self.postgres.tables} if self.postgres else {}

    def tables(self) -> Tables:
        """See `Origin`."""
        return self.postgres.snapshot() if self.postgres else contextlib.nullcontext(())

    def entities(self) -> dict[str, str]:
        """See `Origin`."""
        if GRAPH_NODES in self.table_columns:
            with self.tables() as tables:
                return restore.entities_of_rows(tables)
        names = [one.path for one in list_files(self.tree)] if self.tree else []
        graph = next((one for one in names if one.rpartition("/")[2] == GRAPH_FILE), None)
        if graph is None or self.tree is None:
            return {}
        with open(self.tree.path(graph), "rb") as file:
            return sample_of_entities(file)

    def answers(self, search: answers.Search) -> answers.Answers | None:
        """See `Origin`: what searches for some of its rows find now."""
        schemas = {name: one for name, one in self.schemas.items() if not is_control(name) and one.field("vector")}
        tallies = {name: self._sample(name, schema) for name, schema in schemas.items()}
        return answers.record(schemas, tallies, search)

    def _sample(self, name: str, schema: CollectionSchema) -> Tally:
        tally = Tally()
        with loaded(self.store, name), contextlib.suppress(StopIteration):
            batch = next(restore.copied_rows(self.store, name, schema))
            tally.see(batch, row_hashes(batch, schema), "vector")
        return tally


def stored_table(archive: Archive, entry: TableEntry) -> TableRows:
    """The rows of a table of a backup; their extent is compared with that of the manifest."""

    @contextlib.contextmanager
    def opened() -> Iterator[IO[bytes]]:
        with tempfile.SpooledTemporaryFile(SPOOLED_BYTES) as spool:
            archive.read_stream(entry, spool)
            spool.seek(0)
            yield spool

    return TableRows(entry.name, entry.columns, opened, Extent(entry.rows, entry.digest))


def _content(path: Path) -> Iterator[bytes]:
    with open(path, "rb") as file:
        yield from _pieces(file)


def _pieces(file: IO[bytes]) -> Iterator[bytes]:
    while piece := file.read(_PIECE_BYTES):
        yield piece
