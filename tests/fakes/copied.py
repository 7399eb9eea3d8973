"""A release in memory into which a workspace is copied, and a death at any write to it or to the record."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import numpy as np

from lightragctl.backup.origin import BackupOrigin, Origin, WorkspaceOrigin
from lightragctl.backup.site import Site, Work
from lightragctl.backup.workspace import workspace_collections
from lightragctl.core.errors import NotRunningError
from lightragctl.core.result import Event, Notify
from lightragctl.core.runtime import ReleaseRuntime
from lightragctl.core.settings import EmbeddingModel
from lightragctl.local.files import ReleaseFiles
from lightragctl.operations.cluster_store import ConfigMapStore
from lightragctl.operations.control import begin, drive
from lightragctl.operations.desk import Clock, Crew
from lightragctl.operations.kind import Context, OperationKind, Started, new_operation
from lightragctl.operations.model import Operation
from lightragctl.operations.place import Place
from lightragctl.release.workspace_files import WorkspaceFiles, list_files
from lightragctl.release.writers import WRITER, WriterClock, WriterControl
from lightragctl.vectors.fence import Clock as FenceClock
from lightragctl.vectors.fence import switching
from lightragctl.vectors.schema import CollectionSchema
from tests.fakes.backup import Workspace
from tests.fakes.cluster import FakeCluster
from tests.fakes.operations import Mortal, MortalStore
from tests.fakes.release import lock_holder
from tests.fakes.store import FakeStore

MODEL = EmbeddingModel(name="m", dimension=8)
START = datetime(2026, 1, 1, tzinfo=UTC)
TOKEN = "0001"
_CHANGES = (
    "create", "point_alias", "drop", "upsert", "delete", "create_from", "write_rows", "rename", "release", "drop_alias",
)  # fmt: skip


class DyingStore:
    """A store whose changes are those of a process that may die."""

    def __init__(self, inner: FakeStore, mortal: Mortal) -> None:
        self._inner, self._mortal = inner, mortal

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if name not in _CHANGES:
            return found

        def change(*arguments: Any) -> Any:
            with self._mortal.write(f"{name} {arguments[0]}"):
                return found(*arguments)

        return change

    def close(self) -> None:
        """It stays open for the next driver."""


@dataclass
class Runtime:
    """A release with lightrag-server, which can be stopped."""

    mortal: Mortal
    running: bool = True
    stops: int = 0

    def components(self) -> tuple[str, ...]:
        return (WRITER,)

    def replicas(self, component: str) -> int:
        return int(self.running)

    def endpoint(self, component: str) -> str:
        raise NotRunningError("it is idle")

    def hold(self, component: str, reason: str, timeout_s: float, notify: Notify) -> None:
        if self.running:
            with self.mortal.write("stop"):
                self.running = False
                self.stops += 1

    def resume(self, component: str, replicas: int, timeout_s: float, notify: Notify) -> None:
        if bool(replicas) != self.running:
            with self.mortal.write("start"):
                self.running = bool(replicas)


@dataclass
class Copied:
    """The release, the operation and the process that drives it."""

    folder: Path
    store: FakeStore
    kind: Callable[["Copied"], OperationKind]
    origin: Callable[["Copied"], Origin]
    workspace: str
    mortal: Mortal = field(default_factory=Mortal)
    events: list[Event] = field(default_factory=list)
    now: datetime = START
    served: str = "default"

    def __post_init__(self) -> None:
        self.runtime = Runtime(self.mortal)
        self.place = Place("dev", lock_holder(), ReleaseFiles(self.folder / "release"))
        (self.folder / "release" / "operations").mkdir(parents=True)
        self.place.store = MortalStore(ConfigMapStore(FakeCluster(), "lightrag", "dev"), self.mortal)

    @property
    def files(self) -> WorkspaceFiles:
        return WorkspaceFiles(self.workspace, self.folder / "rag_storage", self.folder / "inputs")

    @contextmanager
    def open(self, context: Context | None) -> Iterator[Work]:
        writer = WriterControl(
            cast(ReleaseRuntime, self.runtime), self.events.append, WriterClock(pause=lambda s: None)
        )
        site = Site(
            store=cast(Any, DyingStore(self.store, self.mortal)),
            search=self.search,
            workspace=self.workspace,
            files=self.files,
            served=self.served,
            writer=writer,
            model=MODEL,
            clock=FenceClock(pause=lambda seconds: None),
        )
        yield Work(self.origin(self), site)

    def search(self, name: str, schema: CollectionSchema, vectors: Any, k: int) -> Sequence[Sequence[str]]:
        return Workspace.search(cast(Any, self), name, schema, vectors, k)

    def pause(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    def crew(self, kind: OperationKind) -> Crew:
        return Crew((kind,), self, Clock(lambda: self.now, self.pause), "ann@laptop", self.events.append)

    def run(self, **parameters: Any) -> Operation:
        """Begin the operation unless it is there, and drive it in a new process."""
        kind = self.kind(self)
        if not self.place.store.records():
            given = {"timeout_s": 60.0, **parameters}
            started = Started("ann@laptop", self.now, "1.0", TOKEN)
            begin(self.place, new_operation(kind, "dev", given, started, self.workspace), self.events.append)
        return drive(self.place, self.id, self.crew(kind))

    @property
    def id(self) -> str:
        return f"{self.kind(self).name}-{TOKEN}"

    @property
    def record(self) -> Operation:
        return self.place.store.read(self.id)

    def state(self) -> dict[str, Any]:
        """What users of the release would compare: rows, aliases, files, the writer, and who is refused."""
        rows = {
            name: {
                key: row.get("value") or np.asarray(row["vector"]).tobytes()
                for key, row in one.rows.items()
                if key != "epoch" and not key.startswith("fence")  # of a process that died, one stays until it expires
            }
            for name, one in self.store.collections.items()
        }
        tree = {entry.path: self.files.path(entry.path).read_bytes() for entry in list_files(self.files)}
        beside = sorted(path.name for path in self.folder.glob("*/.*"))
        return {
            "rows": rows,
            "aliases": dict(self.store.aliases),
            "loaded": {name: one.loaded for name, one in self.store.collections.items()},
            "files": tree,
            "beside": beside,
            "writer": self.runtime.running,
            "switching": switching(self.store, self.workspace),
        }


def of_backup(origin: BackupOrigin) -> Callable[[Copied], Origin]:
    return lambda copied: origin


def of_workspace(workspace: str) -> Callable[[Copied], Origin]:
    def opened(copied: Copied) -> Origin:
        store: Any = DyingStore(copied.store, copied.mortal)
        tree = copied.files.of(workspace) if copied.served == workspace else None
        return WorkspaceOrigin(store, workspace, workspace_collections(store, workspace), tree)

    return opened


def text(document: Any) -> bytes:
    """JSON as a file holds it."""
    return json.dumps(document).encode()
