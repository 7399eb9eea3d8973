"""A world that a scripted kind of operation changes, and a death at any write to it or to the record."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from lightragctl.core.errors import LightragctlError
from lightragctl.core.result import Event
from lightragctl.local.files import ReleaseFiles
from lightragctl.operations.cluster_store import ConfigMapStore
from lightragctl.operations.control import begin, drive
from lightragctl.operations.desk import Clock, Crew
from lightragctl.operations.kind import Context, Hold, OperationKind, Started, Step, Wait, new_operation
from lightragctl.operations.model import Kept, Operation
from lightragctl.operations.place import Place
from lightragctl.operations.store import Change, OperationStore
from tests.fakes.cluster import DiedError, FakeCluster
from tests.fakes.release import lock_holder

START = datetime(2026, 1, 1, tzinfo=UTC)
ID = "move-0001"


@dataclass
class Mortal:
    """Counts writes; the process dies at the write `die_at`, and with `after` once that took effect."""

    die_at: int = 0
    after: bool = False
    writes: list[str] = field(default_factory=list)
    dead: bool = False

    @contextmanager
    def write(self, what: str) -> Iterator[None]:
        if self.dead:
            raise DiedError
        self.writes.append(what)
        if len(self.writes) == self.die_at and not self.after:
            self.dead = True
            raise DiedError
        yield
        if len(self.writes) == self.die_at:
            self.dead = True
            raise DiedError

    def revive(self) -> None:
        self.dead, self.die_at = False, 0


@dataclass
class World:
    """What the scripted kind changes. `problems` are raised one by one by the act or undo of that name."""

    mortal: Mortal = field(default_factory=Mortal)
    facts: dict[str, Any] = field(default_factory=lambda: {"fence": False, "replicas": 3, "rows": 0, "live": "old"})
    problems: dict[str, list[LightragctlError | Exception]] = field(default_factory=dict)
    now: datetime = START
    events: list[Event] = field(default_factory=list)
    on_pause: Callable[[float], None] = lambda seconds: None

    def set(self, name: str, value: Any) -> None:
        if self.facts.get(name) != value:
            with self.mortal.write(f"{name}={value}"):
                self.facts[name] = value

    def fail(self, name: str) -> None:
        if self.problems.get(name):
            raise self.problems[name].pop(0)

    def pause(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)
        self.on_pause(seconds)

    @property
    def clock(self) -> Clock:
        return Clock(lambda: self.now, self.pause)


class MortalStore:
    """A store whose writes are those of a process that may die."""

    def __init__(self, inner: OperationStore, mortal: Mortal) -> None:
        self._inner, self._mortal = inner, mortal

    def create(self, record: Operation) -> None:
        with self._mortal.write("create"):
            self._inner.create(record)

    def read(self, operation_id: str) -> Operation:
        return self._inner.read(operation_id)

    def records(self) -> list[Operation]:
        return self._inner.records()

    def update(self, operation_id: str, change: Change) -> Operation:
        with self._mortal.write("update"):
            return self._inner.update(operation_id, change)

    def delete(self, operation_id: str) -> None:
        self._inner.delete(operation_id)


def _fence(on: bool) -> Callable[[Context], None]:
    def act(context: Context) -> None:
        context.resources.fail("fence" if on else "unfence")
        context.resources.set("fence", on)

    return act


def _stop_writers(context: Context) -> None:
    context.save_original("replicas", context.resources.facts["replicas"])
    context.resources.fail("writers")
    context.resources.set("replicas", 1)  # a part of the effect, which must not be taken for the original
    context.resources.set("replicas", 0)


def _start_writers(context: Context) -> None:
    context.resources.fail("start writers")
    if "replicas" in context.record.originals:
        context.resources.set("replicas", context.record.originals["replicas"])


def _copy(context: Context) -> Wait | None:
    world: World = context.resources
    while world.facts["rows"] < 3:
        world.fail("copy")
        world.set("rows", world.facts["rows"] + 1)
        world.now += timedelta(seconds=3)
        context.report(world.facts["rows"], 3, "rows")
    return None


def _switch(context: Context) -> None:
    world: World = context.resources
    context.keep(Kept(name="old", about="the old rows", created_at=START, expires_at=START + timedelta(days=7)))
    world.fail("switch")
    world.set("live", "new")


def _verify(context: Context) -> Wait | None:
    world: World = context.resources
    if "looked_at" not in context.record.results:
        context.save_result("looked_at", True)
        return Wait(10.0, "searches settle")
    world.fail("verify")
    context.save_result("verified", True)
    return None


STEPS = (
    Step(
        "fence", "hold the write fence", 60.0, _fence(True), lambda c: bool(c.resources.facts["fence"]),
        _fence(False), Hold("switch"),
    ),
    Step(
        "writers", "stop writers", 60.0, _stop_writers, lambda c: c.resources.facts["replicas"] == 0,
        _start_writers, Hold("switch"),
    ),
    Step(
        "copy", "copy rows", 60.0, _copy, lambda c: c.resources.facts["rows"] == 3,
        lambda c: c.resources.set("rows", 0),
    ),
    Step(
        "switch", "switch readers", 60.0, _switch, lambda c: c.resources.facts["live"] == "new",
        lambda c: c.resources.set("live", "old"),
    ),
    Step("verify", "verify", 60.0, _verify, lambda c: "verified" in c.record.results),
)  # fmt: skip
MOVE = OperationKind("move", 1, STEPS, 3600.0, cleanup=lambda kept, world: world.set("rows", 0))
DONE = {"fence": False, "replicas": 3, "rows": 3, "live": "new"}
UNTOUCHED = {"fence": False, "replicas": 3, "rows": 0, "live": "old"}


def local_place(tmp_path: Path, world: World) -> Place:
    """A release on this machine whose process may die."""
    files = ReleaseFiles(tmp_path / "release")
    files.operations.mkdir(parents=True)
    place = Place("dev", lock_holder(), files)
    place.store = MortalStore(ConfigMapStore(FakeCluster(), "lightrag", "dev"), world.mortal)  # writes no disk
    return place


def crew(world: World, kind: OperationKind = MOVE) -> Crew:
    return Crew((kind,), world, world.clock, "ann@laptop", world.events.append)


def move(kind: OperationKind = MOVE, operation_id: str = "0001", world: World | None = None) -> Operation:
    now = world.now if world else START
    return new_operation(kind, "dev", {"rows": 3}, Started("ann@laptop", now, "1.0", operation_id), "manuals")


def run(place: Place, world: World, kind: OperationKind = MOVE, **options: Any) -> Operation:
    """Begin the operation unless it is there, and drive it."""
    if not place.store.records():
        begin(place, move(kind), world.events.append)
    return drive(place, ID, crew(world, kind), **options)
