"""The two halves of a backup: copies of rows, files and documents, and the manifest that makes them one. Does I/O.

Until the manifest is there, the folder is an incomplete backup, which nothing reads and `prune` deletes.
"""

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from numpy.typing import NDArray

from lightragctl import __version__
from lightragctl.backup import answers
from lightragctl.backup.archive import Archive
from lightragctl.backup.catalog import find_parent
from lightragctl.backup.chain import Chain, read_manifest
from lightragctl.backup.encryption import KEY_NAME, new_key
from lightragctl.backup.manifest import (
    DRAFT_NAME,
    FORMAT,
    MANIFEST_NAME,
    STARTED_NAME,
    Consistency,
    Encryption,
    FileEntry,
    Manifest,
    StoredFile,
)
from lightragctl.backup.scan import Pass, Scanner
from lightragctl.backup.source import Destination, Held, Source, World
from lightragctl.backup.storage import Storage
from lightragctl.core.errors import LightragctlError, RefusedError
from lightragctl.core.result import Event, Notify
from lightragctl.vectors.copying import loaded
from lightragctl.vectors.rows import Key
from lightragctl.vectors.schema import CollectionSchema

MOST_PASSES = 6


class UnstableError(LightragctlError):
    """The workspace was written to during every pass."""

    code = "unstable"


def copy(source: Source, destination: Destination, world: World, id: str) -> Manifest:
    """Copies everything; the manifest that makes it a backup, to be given to `commit`.

    Args:
        source: the workspace.
        destination: where it goes; its lock is held.
        world: time and progress.
        id: of the backup; objects that an earlier copy left under it are overwritten.

    Raises:
        UnstableError: without a fence, no two passes over the data agreed.
        StorageError, StorageUnavailableError, StorageFullError: the destination failed.
        LightragctlError: the store failed, or the fence was lost.
    """
    parent = find_parent(destination.storage, source.subject, destination, world.notify)
    return _Job(source, destination, world, parent, id).run()


@dataclass(frozen=True)
class Preview:
    """What a backup would be.

    Attributes:
        parent: id of the backup that it would hold the changes to; None: a full one.
        rows: of each collection.
        files: how many there are; None if their volume cannot be read.
        fence: whether writes would be blocked.
    """

    parent: str | None
    rows: Mapping[str, int]
    files: int | None
    fence: bool


def preview(source: Source, destination: Destination, fence: bool, notify: Notify) -> Preview:
    """What a backup would hold now, with or without a fence; writes nothing."""
    parent = find_parent(destination.storage, source.subject, destination, notify)
    rows = {}
    for name in source.collections():
        with loaded(source.store, name):
            rows[name] = source.store.row_count(name)
    try:
        files = sum(1 for _ in source.files())
    except RefusedError:
        files = None
    return Preview(parent.manifest.id if parent else None, rows, files, fence)


def commit(storage: Storage, manifest: Manifest) -> None:
    """Writes the manifest after all that it names, and deletes what earlier passes left.

    Raises:
        LightragctlError: an object is missing or has another size, or the backup that it is based on is gone.
    """
    if manifest.parent:
        read_manifest(storage, manifest.parent)
    named = {one.path: one.size_bytes for one in manifest.stored()}
    kept = {*named, STARTED_NAME, DRAFT_NAME, *([manifest.encryption.key] if manifest.encryption else [])}
    for path, size in storage.sizes(manifest.id).items():
        relative = path.removeprefix(f"{manifest.id}/")
        if relative not in kept:
            storage.delete(path)
        elif named.pop(relative, size) != size:
            raise LightragctlError(f"{storage.url} has {size} bytes of {path}, which are not those that were written")
    if named:
        raise LightragctlError(f"{storage.url} lost {next(iter(named))} of backup {manifest.id}")
    storage.settle(manifest.id)
    storage.write(f"{manifest.id}/{MANIFEST_NAME}", manifest.to_json())
    storage.settle(manifest.id)
    storage.delete(f"{manifest.id}/{DRAFT_NAME}")


def discard(storage: Storage, id: str) -> None:
    """Deletes a backup, or what there is of it; what cannot be deleted is an incomplete backup."""
    with contextlib.suppress(LightragctlError):
        storage.delete(f"{id}/{MANIFEST_NAME}")
        storage.delete_folder(id)


class _Job:
    """One backup under way, until all but its manifest is written."""

    def __init__(self, source: Source, destination: Destination, world: World, parent: Chain | None, id: str) -> None:
        self._source = source
        self._world = world
        self._parent = parent
        self._recipients = tuple(destination.recipients)
        key, self._wrapped = new_key(self._recipients) if self._recipients else (None, b"")
        self._archive = Archive(destination.storage, id, key)
        self._scanner = Scanner(source, self._archive, parent, world)

    def run(self) -> Manifest:
        """Copies everything."""
        started = self._world.now()
        self._begin(started)
        documents = [self._document(name, data) for name, data in sorted(self._source.documents.items())]
        begun = self._world.now()
        with self._holding() as held:
            copied, passes = (self._scanner.run(writes=True), 1) if held else self._stable()
            known = self._answers(copied)
            if held:
                held.check()
            ended = self._world.now()
        consistency = Consistency(
            method="fence" if held else "stable-scan",
            passes=passes,
            from_time=_text(begun),
            to_time=_text(ended),
            writer_stopped_s=held.writer_stopped_s if held else 0.0,
        )
        return self._manifest(started, copied, documents, known, consistency)

    def _begin(self, started: datetime) -> None:
        subject, storage = self._source.subject, self._archive.storage
        about = {
            "release": subject.release,
            "workspace": subject.workspace,
            "started_at": _text(started),
            "who": self._world.who,
        }
        storage.write(self._archive.path(STARTED_NAME), json.dumps(about).encode())
        if self._wrapped:
            storage.write(self._archive.path(KEY_NAME), self._wrapped)

    @contextlib.contextmanager
    def _holding(self) -> Iterator[Held | None]:
        if self._source.hold is None:
            yield None
            return
        with self._source.hold() as held:
            yield held

    def _stable(self) -> tuple[Pass, int]:
        """A written pass with which another pass agrees, and how many passes that took."""
        written, passes = self._scanner.run(writes=True), 1
        while passes < MOST_PASSES:
            self._world.notify(Event(f"reading everything again to detect changes (pass {passes + 1})"))
            seen = self._scanner.run(writes=passes % 2 == 0)
            passes += 1
            if seen.agrees(written):
                return (seen if seen.wrote else written), passes
            written = seen
        raise UnstableError(
            f"workspace '{self._source.subject.workspace}' changed during each of {passes} passes",
            "stop its writers, or omit --no-fence",
        )

    def _document(self, name: str, data: bytes) -> FileEntry:
        stored = self._archive.write(f"documents/{name}", data)
        return FileEntry(**stored.model_dump(), name=name)

    def _answers(self, copied: Pass) -> StoredFile:
        known = answers.record(copied.schemas, copied.tallies, self._search)
        return self._archive.write("answers.json", known.model_dump_json().encode())

    def _search(self, name: str, schema: CollectionSchema, vectors: NDArray[Any], k: int) -> Sequence[Sequence[Key]]:
        with loaded(self._source.store, name):
            return self._source.search(name, schema, vectors, k)

    def _manifest(
        self,
        started: datetime,
        copied: Pass,
        documents: Sequence[FileEntry],
        known: StoredFile,
        consistency: Consistency,
    ) -> Manifest:
        subject, parent = self._source.subject, self._parent.manifest if self._parent else None
        encryption = Encryption(method="age", key=KEY_NAME, recipients=self._recipients) if self._recipients else None
        return Manifest(
            format=FORMAT,
            id=self._archive.id,
            tool=f"lightragctl {__version__}",
            release=subject.release,
            workspace=subject.workspace,
            server_version=self._source.store.server_version(),
            started_at=_text(started),
            finished_at=_text(self._world.now()),
            parent=parent.id if parent else None,
            parent_digest=parent.content_digest if parent else None,
            generation=parent.generation + 1 if parent else 0,
            consistency=consistency,
            encryption=encryption,
            collections=tuple(copied.entries),
            files=tuple(copied.files),
            tables=tuple(copied.tables),
            documents=tuple(documents),
            answers=known,
        )


def _text(at: datetime) -> str:
    return f"{at:%Y-%m-%dT%H:%M:%SZ}"
