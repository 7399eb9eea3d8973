"""Verifies a backup: every object by size and SHA-256, rows by their hashes, the whole by its digests. Does I/O."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any

from lightragctl.backup import parquet
from lightragctl.backup.catalog import check_objects
from lightragctl.backup.chain import Chain, IndexRow, Link, definition, delta, read_rows
from lightragctl.backup.manifest import CollectionEntry, InvalidBackupError, StoredFile
from lightragctl.core.result import Event, Notify
from lightragctl.vectors.rows import row_hashes


@dataclass
class Verified:
    """What was verified.

    Attributes:
        id: of the backup.
        backups: ids of it and its parents, newest first.
        object_count: objects of the backup and its parents.
        read_objects, read_bytes: how many were read.
        rows: whose hashes were compared.
        contents: whether rows can be compared; False where there is no identity to decrypt them.
        problems: what is wrong, one sentence each.
    """

    id: str
    backups: tuple[str, ...]
    object_count: int
    contents: bool
    read_objects: int = 0
    read_bytes: int = 0
    rows: int = 0
    problems: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems


def verify(chain: Chain, share: float, random: Callable[[], float], notify: Notify) -> Verified:
    """What is wrong with a backup and those that it is based on.

    Sizes of all objects are compared always; rows and digests when all objects are read.

    Args:
        chain: the backup, with its keys when it is encrypted; without them, rows are not compared.
        share: of the objects to read, above 0 to 1.
        random: 0 to 1, for the choice of objects.
        notify: takes progress.
    """
    contents = all(link.manifest.encryption is None or link.archive.key for link in chain.links)
    objects = sum(len(link.manifest.stored()) for link in chain.links)
    backups = tuple(link.manifest.id for link in chain.links)
    verifying = _Verifying(Verified(chain.manifest.id, backups, objects, contents), notify)
    for link in chain.links:
        verifying.note(check_objects, link.archive.storage, link.manifest)
    if share >= 1 and contents:
        verifying.everything(chain)
    else:
        chosen = [(link, one) for link in chain.links for one in link.manifest.stored() if random() < share]
        for link, one in chosen:
            verifying.note(verifying.read, link, one)
    return verifying.found


def unreadable(id: str, error: InvalidBackupError) -> Verified:
    """The result for a backup whose manifest, or that of one that it is based on, is missing or damaged."""
    return Verified(id, (id,), 0, contents=False, problems=[error.message])


class _Verifying:
    """Checks, and notes what is wrong instead of stopping."""

    def __init__(self, found: Verified, notify: Notify) -> None:
        self.found = found
        self._notify = notify
        self._read: set[str] = set()

    def note(self, check: Callable[..., None], *arguments: Any) -> None:
        """Runs a check; what it finds is a problem, once."""
        try:
            check(*arguments)
        except InvalidBackupError as error:
            if error.message not in self.found.problems:
                self.found.problems.append(error.message)

    def read(self, link: Link, file: StoredFile) -> None:
        """Compares size and SHA-256 of an object."""
        link.archive.check(file)
        self._count(link, file)

    def everything(self, chain: Chain) -> None:
        """Reads all objects; then compares rows with their index, and the index of the whole chain with its digest."""
        for link in chain.links:
            for entry in link.manifest.collections:
                self.note(self._collection, link, entry)
            rows = {part.path for entry in link.manifest.collections for part in (*entry.parts, *entry.index)}
            for one in link.manifest.stored():
                if one.path not in rows or not self.found.ok:
                    self.note(self.read, link, one)
        if self.found.ok:
            for entry in chain.manifest.collections:
                self.note(_check_digest, chain, entry)

    def _collection(self, link: Link, entry: CollectionEntry) -> None:
        """The index has the hash of each row, and no other keys but deleted ones."""
        indexed = (row for row in delta(link, entry, definition(entry)) if row.hash is not None)
        for row, known in zip_longest(self._rows(link, entry), indexed):
            if row != known:
                key = (row or known).key
                raise InvalidBackupError(
                    f"backup {link.manifest.id}: the rows and the index of {entry.name} differ at key {key!r}"
                )
        for part in entry.index:
            self._count(link, part)

    def _rows(self, link: Link, entry: CollectionEntry) -> Iterator[IndexRow]:
        schema = definition(entry)
        for part in entry.parts:
            for table in read_rows(link.archive, part, schema):
                batch = parquet.rows_batch(table, schema, part.partition)
                for key, hash in zip(batch.keys, row_hashes(batch, schema), strict=True):
                    yield IndexRow(part.partition, key, hash)
            self.found.rows += part.rows
            self._count(link, part)

    def _count(self, link: Link, file: StoredFile) -> None:
        if (path := link.archive.path(file.path)) in self._read:
            return
        self._read.add(path)
        self.found.read_objects += 1
        self.found.read_bytes += file.size_bytes
        words = f"verified {self.found.read_objects} of {self.found.object_count} objects, {self.found.rows} rows"
        self._notify(Event(words, link.manifest.id, passing=True))


def _check_digest(chain: Chain, entry: CollectionEntry) -> None:
    """The index of the whole chain gives the digest and the number of rows that the manifest has."""
    seen, count = hashlib.sha256(), 0
    for row in chain.index(entry.name):
        seen.update(row.hash or b"")
        count += 1
    if (seen.hexdigest(), count) != (entry.digest, entry.unique_keys):
        raise InvalidBackupError(
            f"backup {chain.manifest.id}: {entry.name} has {count} rows whose digest is not that of the manifest, "
            f"which has {entry.unique_keys} rows"
        )
