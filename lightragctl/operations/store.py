"""Where the records of a release's operations are kept: the protocol, and the store of the local runtime."""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from lightragctl.core.errors import LockedError, UsageError
from lightragctl.core.hint import Command, Hint
from lightragctl.local.files import storage_errors, write_atomically
from lightragctl.operations.model import Operation, from_text, to_text

Change = Callable[[Operation], Operation]


class OperationStore(Protocol):
    """Records by id. Each write is atomic: readers see the record before or after it."""

    def create(self, record: Operation) -> None:
        """Store a new record.

        Raises:
            LockedError: there is one with this id.
        """

    def read(self, operation_id: str) -> Operation:
        """The record.

        Raises:
            UsageError: there is none.
            LightragctlError: another version of lightragctl wrote it, or it is damaged.
        """

    def records(self) -> list[Operation]:
        """Every record, the newest first.

        Raises:
            LightragctlError: another version of lightragctl wrote one, or it is damaged.
        """

    def update(self, operation_id: str, change: Change) -> Operation:
        """Replace the record by what `change` makes of it, and return that. No other write gets lost: `change` is
        called again with the new record when another process wrote it meanwhile.

        Raises:
            UsageError: there is none.
        """

    def delete(self, operation_id: str) -> None:
        """Delete the record, if it is there."""


def unknown(operation_id: str) -> UsageError:
    """The error that there is no such operation."""
    hint = Hint("list them: ", Command("operations list"))
    return UsageError(f"there is no operation {operation_id} of this release", hint)


def newest_first(records: list[Operation]) -> list[Operation]:
    """The records in the order in which they are listed."""
    return sorted(records, key=lambda one: (one.created_at, one.id), reverse=True)


class FileStore:
    """One file per record in `folder`. Each is replaced by a rename; a lock file orders the writers.

    Args:
        folder: created with the first record.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def create(self, record: Operation) -> None:
        """See `OperationStore`."""
        with storage_errors("make", self._folder):
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._lock():
            if self._path(record.id).exists():
                raise LockedError(f"operation {record.id} already exists", "run the command again")
            self._write(record)

    def read(self, operation_id: str) -> Operation:
        """See `OperationStore`."""
        path = self._path(operation_id)
        with storage_errors("read", path):
            try:
                text = path.read_text(encoding="utf-8")
            except FileNotFoundError as error:
                raise unknown(operation_id) from error
        return from_text(text, str(path))

    def records(self) -> list[Operation]:
        """See `OperationStore`."""
        return newest_first([self.read(path.stem) for path in self._folder.glob("*.json")])

    def update(self, operation_id: str, change: Change) -> Operation:
        """See `OperationStore`."""
        if not self._path(operation_id).exists():
            raise unknown(operation_id)
        with self._lock():
            made = change(self.read(operation_id))
            self._write(made)
            return made

    def delete(self, operation_id: str) -> None:
        """See `OperationStore`."""
        path = self._path(operation_id)
        with storage_errors("delete", path):
            path.unlink(missing_ok=True)

    def _write(self, record: Operation) -> None:
        path = self._path(record.id)
        with storage_errors("write", path):
            for draft in self._folder.glob(f".{path.name}.*"):  # of killed processes: only one writes at a time
                draft.unlink(missing_ok=True)
            write_atomically(path, to_text(record))

    def _path(self, operation_id: str) -> Path:
        if "/" in operation_id or operation_id.startswith("."):
            raise unknown(operation_id)
        return self._folder / f"{operation_id}.json"

    @contextmanager
    def _lock(self) -> Iterator[None]:
        """Held for one write; it ends with the process."""
        path = self._folder / "lock"
        with storage_errors("lock", path):
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        try:
            yield
        finally:
            os.close(descriptor)
