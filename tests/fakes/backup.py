"""A workspace in memory to back up, a clock, and storage that dies."""

import contextlib
import csv
import hashlib
import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import numpy as np
from obstore.store import MemoryStore

from lightragctl.backup.create import commit, copy, discard
from lightragctl.backup.lock import Holder, Lock, Subject
from lightragctl.backup.manifest import Manifest, backup_id
from lightragctl.backup.source import Destination, Held, Opener, Source, World
from lightragctl.backup.storage import Storage
from lightragctl.core.result import Event
from lightragctl.core.settings import Index
from lightragctl.release.workspace_tables import Extent, TableRows
from lightragctl.vectors.model import chunks_spec, control_spec
from lightragctl.vectors.schema import CollectionSchema
from tests.fakes.store import FakeStore, unit

CHUNKS = "default_chunks_m_8d"
CONTROL = "default_lightragctl"
DIMENSION = 8


def memory() -> Storage:
    """Objects in memory."""
    return Storage(MemoryStore(), "memory://")


def row(key: str, seed: int = 0, **dynamic: Any) -> dict[str, Any]:
    """A row of chunks; its vector follows from key and seed."""
    vector = np.random.default_rng([seed, *key.encode()]).standard_normal(DIMENSION).astype(np.float32)
    texts = {"content": f"text of {key}", "file_path": "a.md", "full_doc_id": "doc-1"}
    return {"id": key, "vector": vector, "created_at": seed, **texts, **dynamic}


class Clock:
    """UTC that goes on by a second each time it is read."""

    def __init__(self) -> None:
        self.at = datetime(2026, 11, 30, 12, 0, 0, tzinfo=UTC)

    def now(self) -> datetime:
        self.at += timedelta(seconds=1)
        return self.at


class Fence:
    """Writes blocked, until `lost` says why they were not."""

    def __init__(self) -> None:
        self.lost: Exception | None = None
        self.active = False
        self.times = 0

    @property
    def writer_stopped_s(self) -> float:
        return 1.5

    def check(self) -> None:
        if self.lost is not None:
            raise self.lost

    @contextmanager
    def hold(self) -> Iterator[Held]:
        self.active = True
        self.times += 1
        try:
            yield self
        finally:
            self.active = False


@dataclass
class Workspace:
    """A workspace: two collections in a fake store, files, and the CSV of tables by name."""

    store: FakeStore = field(default_factory=lambda: FakeStore(batch_rows=7))
    files: dict[str, bytes] = field(default_factory=lambda: {"kv_store_full_docs.json": b'{"a": 1}'})
    tables: dict[str, bytes] = field(default_factory=dict)
    documents: Mapping[str, bytes] = field(default_factory=lambda: {"profile.json": b"{}"})
    fence: Fence | None = field(default_factory=Fence)
    clock: Clock = field(default_factory=Clock)
    events: list[Event] = field(default_factory=list)
    subject: Subject = field(default_factory=lambda: Subject("local", "default"))

    def __post_init__(self) -> None:
        self.store.create(chunks_spec(CHUNKS, DIMENSION, Index()))
        self.store.create(control_spec(CONTROL))

    def fill(self, count: int) -> None:
        """Rows k0000 to k{count}."""
        self.store.upsert(CHUNKS, [row(f"k{number:04d}", note=number) for number in range(count)])

    def source(self) -> Source:
        return Source(
            self.subject,
            self.store,
            self.store.list_collections,
            self.open_files,
            self.documents,
            self.search,
            self.fence.hold if self.fence else None,
            self.open_tables,
        )

    def open_files(self) -> Iterator[tuple[str, Opener]]:
        for name, data in self.files.items():
            yield name, partial(io.BytesIO, data)

    @contextmanager
    def open_tables(self) -> Iterator[list[TableRows]]:
        yield [self.table(name, data) for name, data in self.tables.items()]

    def table(self, name: str, data: bytes) -> TableRows:
        rows = list(csv.reader(io.StringIO(data.decode(), newline="")))
        extent = Extent(len(rows) - 1, hashlib.sha256(data).hexdigest())
        return TableRows(name, rows[0], lambda: contextlib.nullcontext(io.BytesIO(data)), extent)

    def search(self, name: str, schema: CollectionSchema, vectors: Any, k: int) -> Sequence[Sequence[str]]:
        rows = self.store.readable(name).matching("")
        scores = unit(vectors) @ unit(np.stack([one["vector"] for one in rows])).T
        return [[rows[at]["id"] for at in best[:k]] for best in np.argsort(-scores, axis=1, kind="stable")]

    def world(self) -> World:
        return World(
            self.clock.now,
            lambda: 0.0,
            "ann@host",
            self.events.append,
        )


def create(source: Source, destination: Destination, world: World, number: int = 1) -> Manifest:
    """A new backup, without the operation around it."""
    id = backup_id(world.now(), f"{number:08x}")
    with Lock(destination.storage, source.subject, Holder(world.who, "backup create", id), world.now) as lock:
        try:
            manifest = copy(source, destination, world, id)
            lock.check()
            commit(destination.storage, manifest)
        except Exception:
            discard(destination.storage, id)
            raise
    return manifest


def to(storage: Storage, **options: Any) -> Destination:
    return Destination(storage, **options)


class Died(BaseException):
    """The process was killed."""


class DyingStorage(Storage):
    """Kills the process at its n-th write or deletion, before or after its effect; then it takes nothing any more."""

    def __init__(self, inner: Storage, at: int, after: bool) -> None:
        super().__init__(inner._store, inner.url, inner._folder)
        self.left = at
        self.after = after
        self.dead = False

    def write(self, path: str, data: bytes) -> None:
        with self._step():
            super().write(path, data)

    def create(self, path: str, data: bytes) -> bool:
        with self._step():
            return super().create(path, data)

    @contextmanager
    def writing(self, path: str) -> Iterator[Any]:
        with self._step(), super().writing(path) as target:
            yield target

    def delete(self, path: str) -> None:
        with self._step():
            super().delete(path)

    @contextmanager
    def _step(self) -> Iterator[None]:
        self.left -= 1
        if self.dead or (self.left < 0 and not self.after):
            self._die()
        yield
        if self.left < 0:
            self._die()

    def _die(self) -> None:
        self.dead = True
        raise Died
