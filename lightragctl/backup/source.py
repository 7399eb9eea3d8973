"""Types of a backup: its source, its destination, and its environment."""

import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import IO, Protocol

from lightragctl.backup.answers import Search
from lightragctl.backup.lock import Subject
from lightragctl.backup.storage import Storage
from lightragctl.core.result import Notify
from lightragctl.release.workspace_tables import TableRows
from lightragctl.vectors.store import CollectionStore

Opener = Callable[[], AbstractContextManager[IO[bytes]]]
Files = Callable[[], Iterable[tuple[str, Opener]]]
"""The files of the workspace, each under its relative name; read once for each pass."""
Tables = Callable[[], AbstractContextManager[Iterable[TableRows]]]
"""The tables of the workspace as of one moment; opened once for each pass."""


def no_tables() -> AbstractContextManager[Iterable[TableRows]]:
    """The tables of a workspace that has none."""
    return contextlib.nullcontext(())


class Held(Protocol):
    """Writes to the workspace are blocked."""

    @property
    def writer_stopped_s(self) -> float:
        """How long lightrag-server has been stopped, in seconds; 0 where there is none."""

    def check(self) -> None:
        """Does nothing when no write was possible since the beginning.

        Raises:
            LightragctlError: the fence was lost.
        """


@dataclass(frozen=True)
class Source:
    """What to back up.

    Attributes:
        subject: whose it is.
        store: where its collections are.
        collections: their physical names now.
        files: those of the workspace.
        tables: those of the workspace in PostgreSQL.
        documents: configuration and versions, JSON by name.
        search: in the store.
        hold: blocks writes for the length of a block; None: two passes must agree.
    """

    subject: Subject
    store: CollectionStore
    collections: Callable[[], Sequence[str]]
    files: Files
    documents: Mapping[str, bytes]
    search: Search
    hold: Callable[[], AbstractContextManager[Held]] | None
    tables: Tables = no_tables


@dataclass(frozen=True)
class Destination:
    """Where the backup goes and how.

    Attributes:
        storage: takes it.
        recipients: public keys; when there are any, it is encrypted.
        identities: private keys, for the parent of an incremental one.
        full_every: every n-th backup is a full one.
        full: this one is, too.
    """

    storage: Storage
    recipients: Sequence[str] = ()
    identities: Sequence[str] = ()
    full_every: int = 7
    full: bool = False


@dataclass(frozen=True)
class World:
    """The outside world of a backup: time (UTC), seconds, the user, a sink of events."""

    now: Callable[[], datetime]
    clock: Callable[[], float]
    who: str
    notify: Notify
