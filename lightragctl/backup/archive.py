"""The objects of one backup: size and SHA-256 are noted when written and checked when read. Does I/O."""

import hashlib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any

from lightragctl.backup.encryption import SUFFIX, DataKey
from lightragctl.backup.manifest import InvalidBackupError, StoredFile
from lightragctl.backup.storage import MissingObjectError, Storage, StorageError, Writer

_COPY_BYTES = 1024 * 1024


@dataclass(frozen=True)
class Archive:
    """The folder of one backup.

    Attributes:
        storage: where backups are kept.
        id: of the backup, which is its folder's name.
        key: what its objects are encrypted with; None: they are not.
    """

    storage: Storage
    id: str
    key: DataKey | None = None

    def path(self, relative: str) -> str:
        """The object's name below the URL."""
        return f"{self.id}/{relative}"

    def write(self, name: str, data: bytes) -> StoredFile:
        """Writes a small object; a name ends with `.age` when it is encrypted."""
        stored = self.key.seal(data) if self.key else data
        relative = self._suffixed(name)
        self.storage.write(self.path(relative), stored)
        return StoredFile(path=relative, size_bytes=len(stored), sha256=hashlib.sha256(stored).hexdigest())

    def write_stream(self, name: str, source: IO[bytes]) -> tuple[StoredFile, str]:
        """Writes all that the source gives, with bounded memory; also the SHA-256 of what it gave."""
        relative = self._suffixed(name)
        reading = _Counted(source)
        with self.storage.writing(self.path(relative)) as target:
            writing = _Counted(target)
            if self.key:
                self.key.seal_stream(reading, writing)  # type: ignore[arg-type]
            else:
                while piece := reading.read(_COPY_BYTES):
                    writing.write(piece)
        stored = StoredFile(path=relative, size_bytes=writing.size_bytes, sha256=writing.hash.hexdigest())
        return stored, reading.hash.hexdigest()

    def read(self, file: StoredFile) -> bytes:
        """What was written; its size and SHA-256 are checked.

        Raises:
            InvalidBackupError: the object is missing, or its bytes were changed.
        """
        try:
            stored = self.storage.read(self.path(file.path), file.size_bytes)
        except (MissingObjectError, StorageError) as error:
            raise InvalidBackupError(f"backup {self.id} is damaged: {error.message}") from error
        self._check(file, len(stored), hashlib.sha256(stored).hexdigest())
        return self.key.open(stored, self.path(file.path)) if self.key else stored

    def read_stream(self, file: StoredFile, target: Writer) -> None:
        """Writes what was written to the target. What it got before an error is raised must not be used.

        Raises:
            InvalidBackupError: the object is missing, or its bytes were changed.
        """
        source = _Pieces(self._pieces(file))
        if self.key:
            self.key.open_stream(source, target, self.path(file.path))
        while piece := source.read(_COPY_BYTES):
            if self.key:
                raise InvalidBackupError(f"{self.path(file.path)} has bytes after its end")
            target.write(piece)

    def check(self, file: StoredFile) -> None:
        """Reads an object and compares size and SHA-256; needs no key.

        Raises:
            InvalidBackupError: the object is missing, or its bytes were changed.
        """
        for _ in self._pieces(file):
            pass

    def _pieces(self, file: StoredFile) -> Iterator[bytes]:
        """The stored bytes; the last step checks size and SHA-256 of all."""
        read, size = hashlib.sha256(), 0
        try:
            for piece in self.storage.chunks(self.path(file.path)):
                read.update(piece)
                size += len(piece)
                yield piece
        except MissingObjectError as error:
            raise InvalidBackupError(f"backup {self.id} is damaged: {error.message}") from error
        self._check(file, size, read.hexdigest())

    def _check(self, file: StoredFile, size_bytes: int, sha256: str) -> None:
        if (size_bytes, sha256) != (file.size_bytes, file.sha256):
            raise InvalidBackupError(
                f"backup {self.id} is damaged: {file.path} has {size_bytes} bytes with SHA-256 {sha256[:12]}..., "
                f"the manifest has {file.size_bytes} with {file.sha256[:12]}..."
            )

    def _suffixed(self, name: str) -> str:
        return name + SUFFIX if self.key else name


class _Counted:
    """A stream that counts and hashes what passes."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self.size_bytes = 0
        self.hash = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        data: bytes = self._inner.read(size)
        self._count(data)
        return data

    def write(self, data: bytes) -> int:
        self._inner.write(data)
        self._count(data)
        return len(data)

    def flush(self) -> None:
        """The end of the block flushes."""

    def _count(self, data: bytes) -> None:
        self.hash.update(data)
        self.size_bytes += len(data)


class _Pieces:
    """Pieces of bytes as a stream; all of them are taken before it says that it is at its end."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._buffer = io.BytesIO()

    def read(self, size: int = -1) -> bytes:
        if size < 0:
            return self._buffer.read() + b"".join(self._pieces)
        while not (data := self._buffer.read(size)) and size:
            piece = next(self._pieces, None)
            if piece is None:
                return b""
            self._buffer = io.BytesIO(piece)
        return data
