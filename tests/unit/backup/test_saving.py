"""A backup as an operation: whatever kills it, lightrag-server runs again, and it is whole or absent."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from lightragctl.backup.backup_kind import backup_kind
from lightragctl.backup.catalog import listed, newest
from lightragctl.backup.lock import Holder, Lock, Subject
from lightragctl.backup.manifest import Manifest
from lightragctl.backup.saving import Hold
from lightragctl.backup.source import Destination, Source
from lightragctl.backup.storage import StorageFullError
from lightragctl.cli.operations.steering import outcome
from lightragctl.core.errors import LightragctlError, NotRunningError
from lightragctl.core.result import Event, Notify
from lightragctl.core.runtime import ReleaseRuntime
from lightragctl.kube.model import ForbiddenError
from lightragctl.local.files import ReleaseFiles
from lightragctl.operations.cluster_store import ConfigMapStore
from lightragctl.operations.control import abort, begin, drive, pause, resume
from lightragctl.operations.desk import Clock, Crew
from lightragctl.operations.kind import Context, Started, new_operation
from lightragctl.operations.model import Operation, Phase, next_command
from lightragctl.operations.place import Place
from lightragctl.release.writers import WRITER, WriterClock, WriterControl
from lightragctl.vectors import fence as fences
from lightragctl.vectors.control import epoch_row
from tests.fakes.backup import CONTROL, Workspace, memory
from tests.fakes.cluster import DiedError, FakeCluster
from tests.fakes.operations import START, Mortal, MortalStore
from tests.fakes.release import lock_holder

ID = "backup-0001"
SUBJECT = Subject("local", "default")
GIVEN = {"fence": True, "timeout_s": 60, "full": False, "include_secrets": False, "destination": None, "settings": {}}


@dataclass
class Server:
    """lightrag-server, idle."""

    mortal: Mortal
    running: bool = True
    stops: int = 0
    broken: Exception | None = None
    forbidden: Exception | None = None

    def components(self) -> tuple[str, ...]:
        return (WRITER,)

    def replicas(self, component: str) -> int:
        return int(self.running)

    def endpoint(self, component: str) -> str:
        raise NotRunningError("it is idle")

    def hold(self, component: str, reason: str, timeout_s: float, notify: Notify) -> None:
        if self.running:
            with self.mortal.write("stop"):
                self.running, self.stops = False, self.stops + 1

    def resume(self, component: str, replicas: int, timeout_s: float, notify: Notify) -> None:
        if self.forbidden:
            raise self.forbidden
        if bool(replicas) != self.running:
            with self.mortal.write("start"):
                self.running = bool(replicas)
        if self.broken:
            raise self.broken


@dataclass
class Made:
    """A workspace, a destination, and the process that makes a backup; implements `Site`."""

    folder: Path
    workspace: Workspace = field(default_factory=Workspace)
    mortal: Mortal = field(default_factory=Mortal)
    given: dict[str, Any] = field(default_factory=lambda: dict(GIVEN))
    events: list[Event] = field(default_factory=list)
    problem: Exception | None = None
    recorded: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.workspace.fill(20)
        self.storage, self.server, self.now = memory(), Server(self.mortal), START
        self.place = Place("local", lock_holder(), ReleaseFiles(self.folder / "release"))
        (self.folder / "release" / "operations").mkdir(parents=True)
        self.place.store = MortalStore(ConfigMapStore(FakeCluster(), "lightrag", "local"), self.mortal)

    def destination(self, context: Context) -> Destination:
        return Destination(self.storage)

    @contextmanager
    def source(self, context: Context, hold: Hold | None) -> Iterator[Source]:
        if self.problem:
            raise self.problem
        made = self.workspace.source()
        yield Source(SUBJECT, made.store, made.collections, made.files, made.documents, made.search, hold)

    @contextmanager
    def fence(self, context: Context) -> Iterator[fences.Fence]:
        """Without a thread that renews it, which would outlive the process that dies here."""
        fence = fences.take(self.workspace.store, "default", fences.FenceTerms(ID, ID), self.events.append, self.clock)
        try:
            yield fence
        finally:
            fence.release()

    @property
    def clock(self) -> fences.Clock:
        return fences.Clock(lambda: self.now.timestamp(), self.pause, lambda: int(self.now.timestamp() * 1e9))

    def pause(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    def writer(self, context: Context) -> WriterControl:
        clock = WriterClock(lambda: self.now.timestamp(), self.pause, lambda: self.now)
        return WriterControl(cast(ReleaseRuntime, self.server), self.events.append, clock)

    def record(self, context: Context, manifest: Manifest) -> None:
        self.recorded.append(manifest.id)

    def versions(self, context: Context) -> dict[str, str]:
        return {"lightrag": "1.5.7"}

    def drive(self, in_job: bool = False) -> Operation:
        """What a new process does: begin the operation unless it is there, and drive it."""
        self.mortal.revive()
        self.kind = backup_kind(self)
        if not self.place.store.records():
            made = new_operation(self.kind, "local", self.given, Started("ann@host", START, "1.0", "0001"), "default")
            begin(self.place, made, self.events.append)
        return self.on(in_job)

    def on(self, in_job: bool = False) -> Operation:
        clock = Clock(lambda: self.now, self.pause)
        return drive(self.place, ID, Crew((self.kind,), None, clock, "ann@host", self.events.append), in_job)

    def die(self, at: int, after: bool) -> bool:
        """Drive it until the n-th write; False when it has ended before."""
        self.kind = backup_kind(self)
        self.mortal.writes.clear()
        made = new_operation(self.kind, "local", self.given, Started("ann@host", START, "1.0", "0001"), "default")
        begin(self.place, made, self.events.append)
        self.mortal.writes.clear()
        self.mortal.die_at, self.mortal.after = at, after
        try:
            self.on(in_job=True)
        except DiedError:
            return True
        return False

    def given_back(self) -> None:
        """What a user notices afterwards: writes are possible once a dead fence expires, and so is another backup."""
        assert self.server.running
        terms = fences.FenceTerms("other", "other")
        fences.take(self.workspace.store, "default", terms, self.events.append, self.clock).release()
        with Lock(self.storage, SUBJECT, Holder("bob@host", "backup prune"), lambda: self.now):
            pass

    def states(self) -> list[str]:
        return [one.state for one in listed(self.storage, self.now)]


@pytest.fixture
def made(tmp_path: Path) -> Made:
    return Made(tmp_path)


def test_a_backup_is_made_while_the_server_is_stopped(made: Made) -> None:
    record = made.drive()
    assert (record.phase, made.states(), made.server.stops) == (Phase.SUCCEEDED, ["complete"], 1)
    made.given_back()
    told = record.results["made"]
    assert (told["rows"], told["file_count"], told["consistency"]["method"]) == (20, 1, "fence")
    found = newest(made.storage, SUBJECT)
    assert found is not None
    assert found.id == told["id"]
    assert made.recorded == [told["id"]]


def test_without_a_fence_nothing_is_stopped(made: Made) -> None:
    made.given["fence"] = False
    record = made.drive()
    assert (record.phase, made.server.stops) == (Phase.SUCCEEDED, 0)
    assert record.results["made"]["consistency"]["method"] == "stable-scan"


def test_a_failure_gives_everything_back_and_leaves_no_backup(made: Made) -> None:
    made.problem = StorageFullError("it is full")
    record = made.drive()
    assert (record.phase, made.states()) == (Phase.ABORTED, [])
    assert "it is full" in record.cause
    made.given_back()


def test_a_write_in_spite_of_the_fence_makes_it_invalid(made: Made) -> None:
    opened = made.workspace.open_files

    def written() -> Iterator[Any]:
        made.workspace.store.upsert(CONTROL, [epoch_row(123)])
        yield from opened()

    made.workspace.open_files = written  # type: ignore[method-assign]
    record = made.drive()
    assert (record.phase, made.states()) == (Phase.ABORTED, [])
    assert "a write was accepted" in record.cause
    made.given_back()


@pytest.mark.parametrize(
    ("then", "after"),
    [("drive", False), *(pytest.param(then, True, marks=pytest.mark.slow) for then in ("drive", "abort", "resume"))],
    ids=str,
)
def test_death_at_every_write_is_followed_by_a_whole_backup_or_none(tmp_path: Path, then: str, after: bool) -> None:
    for at in range(1, 100):
        made = Made(tmp_path / str(at))
        if not made.die(at, after):
            break
        made.mortal.revive()
        made.now += timedelta(seconds=40)  # the fence of the dead process expires; its lock of the backups does not
        if then == "abort" and made.place.store.read(ID).is_open:
            abort(made.place, ID, made.now)
        if then == "resume" and made.place.store.read(ID).is_open:
            pause(made.place, ID)
            made.drive()
            made.given_back()
            if made.place.store.read(ID).is_open:
                resume(made.place, ID, made.now)
        record = made.drive()
        assert record.phase in ((Phase.ABORTED, Phase.SUCCEEDED) if then == "abort" else (Phase.SUCCEEDED,)), at
        assert made.states() == (["complete"] if record.results.get("made") else []), at
        made.given_back()
    assert at > 20


def test_a_backup_is_kept_when_lightrag_server_is_not_ready_again(made: Made) -> None:
    made.server.broken = LightragctlError("lightrag-server exits again and again")
    record = made.drive()
    assert (record.phase, made.states(), made.server.running) == (Phase.SUCCEEDED, ["complete"], True)
    ended = outcome("backup create", record, Phase.SUCCEEDED)
    assert (ended.exit_status, ended.errors[0].message) == (9, "lightrag-server exits again and again")
    made.given_back()


def test_a_backup_is_kept_when_lightrag_server_cannot_be_started(made: Made) -> None:
    made.server.forbidden = ForbiddenError("may not scale")
    record = made.drive()
    assert (record.phase, made.states(), made.server.running) == (Phase.NEEDS_ATTENTION, ["complete"], False)
    assert record.cause == "stop lightrag-server, if it serves the workspace: not undone: may not scale"
    assert f"operations resume {ID}" in next_command(record)
    made.server.forbidden = None
    resume(made.place, ID, made.now)
    assert made.drive().phase is Phase.SUCCEEDED
    made.given_back()


def test_an_abort_leaves_a_committed_backup(made: Made) -> None:
    made.server.forbidden = ForbiddenError("may not scale")
    made.drive()
    made.server.forbidden = None
    abort(made.place, ID, made.now)
    assert (made.drive().phase, made.states()) == (Phase.ABORTED, ["complete"])
    made.given_back()
