"""One writer per workspace and destination: `create` and `prune` exclude each other, across machines. Does I/O.

A lock is the object with the highest number in a folder. Taking it creates the next number, which a store does for one
caller only. A holder that stops leaves a lock that expires; one that wakes up later finds a higher number.
"""

import contextlib
import hashlib
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Self

from lightragctl.backup.storage import MissingObjectError, Storage
from lightragctl.core.errors import LightragctlError, LockedError

FOLDER = ".locks"
EXPIRY = timedelta(minutes=2)
RENEW_S = 20.0
_MOST_BYTES = 64 * 1024


@dataclass(frozen=True)
class Subject:
    """Whose backups are meant."""

    release: str
    workspace: str

    @property
    def folder(self) -> str:
        """Where the locks of its backups are."""
        digest = hashlib.sha256(f"{self.release}\0{self.workspace}".encode()).hexdigest()
        return f"{FOLDER}/{digest[:16]}"


@dataclass(frozen=True)
class Holder:
    """Who takes a lock, and for what, for another who finds it."""

    who: str
    command: str
    backup: str = ""


class Lock:
    """A lock that is held for the length of a block.

    Args:
        storage: where the backups are.
        subject: whose backups.
        holder: who takes it.
        now: the time, in UTC; also an attribute.
        after: a backup whose process is known to have ended; its lock is taken over.

    Raises:
        LockedError: another process holds it.
    """

    def __init__(
        self, storage: Storage, subject: Subject, holder: Holder, now: Callable[[], datetime], after: str = ""
    ) -> None:
        self._storage = storage
        self._subject = subject
        self._holder = holder
        self.now = now
        self._after = after
        self._number = 0
        self._renewed = now()
        self._ended = threading.Event()
        self._renewing = threading.Thread(target=self._renew, name="backup lock", daemon=True)

    def __enter__(self) -> Self:
        number, found = self._newest()
        is_left = found is not None and found.holder.backup == self._after != ""
        if found is not None and found.expires > self.now() and not is_left:
            raise self._held(found)
        self._number = number + 1
        if not self._storage.create(self._path(self._number), self._document(EXPIRY)):
            raise self._held(self._newest()[1])
        self._renewed = self.now()
        self._renewing.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        """Leaves the newest as expired, so that numbers only grow, and deletes older ones."""
        self._ended.set()
        self._renewing.join()
        with contextlib.suppress(LightragctlError):  # it expires by itself
            self._storage.write(self._path(self._number), self._document(timedelta()))
            for path in self._storage.sizes(self._subject.folder):
                if _number(path) < self._number:
                    self._storage.delete(path)

    def _renew(self) -> None:
        while not self._ended.wait(RENEW_S):
            started = self.now()
            with contextlib.suppress(LightragctlError):  # `check` tells when it was not renewed for too long
                if self._newest()[0] == self._number:
                    self._storage.write(self._path(self._number), self._document(EXPIRY))
                    self._renewed = started

    def check(self) -> None:
        """Does nothing when the lock is still held.

        Raises:
            LockedError: it expired, or another process has taken it.
        """
        number, found = self._newest()
        is_ours = number == self._number and found is not None and found.holder == self._holder
        if not is_ours or self.now() - self._renewed >= EXPIRY:
            raise LockedError(
                f"the lock of {self._storage.url} was lost: it was not renewed for {EXPIRY.seconds} s"
                + (f", and {found.holder.who} has taken it" if found and not is_ours else ""),
                "start the command again",
            )

    def _newest(self) -> "tuple[int, _Found | None]":
        return _newest(self._storage, self._subject.folder)

    def _path(self, number: int) -> str:
        return _path(self._subject.folder, number)

    def _document(self, expiry: timedelta) -> bytes:
        held = {"who": self._holder.who, "command": self._holder.command, "backup": self._holder.backup}
        return json.dumps({**held, "expires": (self.now() + expiry).isoformat()}).encode()

    def _held(self, found: "_Found | None") -> LockedError:
        who = f"{found.holder.who} ({found.holder.command})" if found else "another process"
        until = f"; its lock expires at {found.expires:%H:%M:%S} UTC unless renewed" if found else ""
        subject = f"backups of workspace '{self._subject.workspace}' in {self._storage.url}"
        return LockedError(f"{who} is working on the {subject}{until}", "wait until it has ended")


@dataclass(frozen=True)
class _Found:
    holder: Holder
    expires: datetime


_BROKEN = _Found(Holder("an unknown process", ""), datetime.max.replace(tzinfo=UTC))


def running(storage: Storage, now: datetime) -> set[str]:
    """The ids of backups that are being written."""
    folders = {path.rpartition("/")[0] for path in storage.sizes(FOLDER)}
    newest = [_newest(storage, folder)[1] for folder in folders]
    return {found.holder.backup for found in newest if found is not None and found.expires > now}


def _newest(storage: Storage, folder: str) -> "tuple[int, _Found | None]":
    newest = max((_number(path) for path in storage.sizes(folder)), default=0)
    if not newest:
        return 0, None
    try:
        return newest, _parsed(storage.read(_path(folder, newest), _MOST_BYTES))
    except MissingObjectError:  # the successor of its holder has deleted it in this moment
        return _newest(storage, folder)


def _path(folder: str, number: int) -> str:
    return f"{folder}/{number:012d}.json"


def _parsed(data: bytes) -> _Found:
    """What a lock says; one that cannot be read is taken as held."""
    try:
        found = json.loads(data)
        holder = Holder(str(found["who"]), str(found["command"]), str(found["backup"]))
        return _Found(holder, datetime.fromisoformat(found["expires"]))
    except (ValueError, LookupError, TypeError):
        return replace(_BROKEN)


def _number(path: str) -> int:
    name = path.rpartition("/")[2].removesuffix(".json")
    return int(name) if name.isdecimal() else 0
