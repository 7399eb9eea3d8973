"""What a search has measured so far, in a file: a search that was interrupted continues with it. Does file I/O."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from lightragctl.core.errors import LightragctlError, LockedError
from lightragctl.tune.points import Built, Point
from lightragctl.vectors.applied import AppliedIndex

SCHEMA = 1


class Subject(msgspec.Struct, frozen=True):
    """What was searched: measurements of another subject are not continued.

    Attributes:
        collection: its physical name.
        rows: of it.
        k: of the recall.
        seed: of samples.
        queries: a digest of the queries.
        store: where trials were.
    """

    collection: str
    rows: int
    k: int
    seed: int
    queries: str
    store: str


class Pick(msgspec.Struct, frozen=True):
    """The conclusion of a finished search.

    Attributes:
        collection: its physical name.
        before: the index at that time.
        index: the one to use; None: none meets the targets.
        rebuilds: whether it must be built.
        keep: whether it is what was used already.
        reason: why.
        min_recall: that was required.
    """

    collection: str
    before: AppliedIndex
    index: AppliedIndex | None
    rebuilds: bool
    keep: bool
    reason: str
    min_recall: float


class _File(msgspec.Struct):
    schema: int
    subject: Subject
    built: list[Built] = []
    points: list[Point] = []
    pick: Pick | None = None


@dataclass
class Ledger:
    """The measurements of one subject; `record` and `note` write them to the file."""

    path: Path
    subject: Subject
    built: list[Built] = field(default_factory=list)
    points: list[Point] = field(default_factory=list)
    continued: bool = False

    def record(self, point: Point) -> None:
        """Add a measurement."""
        self.points.append(point)
        self._write()

    def note(self, built: Built) -> None:
        """Add a build, or why there is none; that of the same candidate and rows is replaced."""
        self.built = [one for one in self.built if (one.candidate, one.rows) != (built.candidate, built.rows)]
        self.built.append(built)
        self._write()

    def recalls(self, candidate: str, rows: int) -> dict[int, float]:
        """The recalls of a candidate, by the value of its knob."""
        return {one.value: one.recall for one in self.points if (one.candidate, one.rows) == (candidate, rows)}

    def close(self, pick: Pick) -> None:
        """Write the conclusion, which `tune apply` reads."""
        self._write(pick)

    def _write(self, pick: Pick | None = None) -> None:
        content = _File(SCHEMA, self.subject, self.built, self.points, pick)
        scratch = self.path.with_suffix(".new")
        try:
            scratch.write_bytes(msgspec.json.format(msgspec.json.encode(content), indent=1))
            os.replace(scratch, self.path)
        except OSError as error:
            raise LightragctlError(f"cannot write {self.path}: {error.strerror}", "free space on the disk") from error


def open_ledger(path: Path, subject: Subject, restart: bool) -> Ledger:
    """The ledger of a subject: continued when the file is of the same one, else new."""
    found = None if restart else _read(path)
    if found is None or found.subject != subject:
        return Ledger(path, subject)
    kept = [one for one in found.built if not one.trouble]
    return Ledger(path, subject, kept, found.points, continued=bool(found.points))


def pick_of(path: Path) -> Pick | None:
    """The conclusion of the last search; None when there is none, or it was interrupted."""
    found = _read(path)
    return found.pick if found else None


def _read(path: Path) -> _File | None:
    try:
        found = msgspec.json.decode(path.read_bytes(), type=_File)
    except (OSError, msgspec.DecodeError):
        return None
    return found if found.schema == SCHEMA else None


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock of a ledger: one search of a collection at a time.

    Raises:
        LockedError: another search runs.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path.with_suffix(".lock"), "w", encoding="ascii") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LockedError("another search of this collection is running", "wait until it has ended") from None
        yield
