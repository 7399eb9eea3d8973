"""A release on the fake cluster with a vector store in memory, and one beside it under the new version."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import numpy as np

from lightragctl.core.objects import KubernetesObject
from lightragctl.core.result import Event, Notify
from lightragctl.core.settings import Index
from lightragctl.operations.control import begin, drive
from lightragctl.operations.desk import Clock, Crew
from lightragctl.operations.kind import OperationKind, Started, new_operation
from lightragctl.operations.model import Operation
from lightragctl.operations.place import Place
from lightragctl.upgrade.compared import Asked
from lightragctl.upgrade.engine_site import Engine, EngineSite
from lightragctl.upgrade.site import Site
from lightragctl.vectors.model import FloatArray, StoreUnavailableError, chunks_spec
from lightragctl.vectors.schema import CollectionSchema
from tests.fakes.backup import CHUNKS, DIMENSION, row
from tests.fakes.release import lock_holder, plan, scope, up
from tests.fakes.store import FakeStore, unit
from tests.fakes.upgrading import START, PodCluster


@dataclass
class DataTown:
    """The world of one upgrade of the vector store.

    Attributes:
        kind: the operation.
        tag: the assignment that is upgraded to.
        base: of the release before.
        down_s: for how long the live store does not answer once its workload has changed.
        wrong_beside, wrong_after: the new version answers with the farthest rows.
    """

    kind: OperationKind
    tag: str
    base: tuple[str, ...] = ()
    down_s: float = 3.0
    wrong_beside: bool = False
    wrong_after: bool = False
    cluster: PodCluster = field(default_factory=PodCluster)
    store: FakeStore = field(default_factory=FakeStore)
    shadow: FakeStore = field(default_factory=FakeStore)
    now: datetime = START
    events: list[Event] = field(default_factory=list)
    searches: int = 0
    first: dict[str, str] = field(default_factory=dict)
    seen: tuple[dict[str, str], datetime] = field(default=({}, START))

    def __post_init__(self) -> None:
        self.store.create(chunks_spec(CHUNKS, DIMENSION, Index()))
        self.store.upsert(CHUNKS, [row(f"k{number:04d}") for number in range(300)])

    @property
    def site(self) -> EngineSite:
        site = Site(
            scope(self.cluster), lambda component: {}, lambda *ignored: [], lambda *ignored: None, dict, self.prove
        )
        return EngineSite(site, self.live, self.beside, lambda notify: {}, lambda context: None, self.pause)

    def prove(self, timeout_s: float, notify: Notify) -> None:
        self.searches += 1

    @contextmanager
    def live(self, probing: bool) -> Iterator[Engine]:
        images = self.images()
        self.first = self.first or images
        if images != self.seen[0]:
            self.seen = images, self.now if self.seen[0] else START
        if (self.now - self.seen[1]).total_seconds() < self.down_s and self.seen[1] != START:
            raise StoreUnavailableError("the server does not answer", "")
        yield engine(self.store, self.wrong_after and images != self.first)

    @contextmanager
    def beside(self, pod: KubernetesObject) -> Iterator[Engine]:
        yield engine(self.shadow, self.wrong_beside)

    def images(self) -> dict[str, str]:
        """Of the vector store's workloads, by their names."""
        return {
            one.name: thing["spec"]["template"]["spec"]["containers"][0]["image"]
            for one, thing in self.cluster.objects.items()
            if one.name.startswith("dev-vector-engine")
            and not one.name.endswith(("-shadow", "-canary"))
            and "template" in thing.get("spec", {})
        }

    def image(self, role: str = "") -> str:
        """Of one workload."""
        return self.images()["dev-vector-engine" + (f"-{role}" if role else "")]

    def left_over(self) -> list[str]:
        return [str(one) for one in self.cluster.objects if one.name.endswith(("-shadow", "-shadow-0", "-canary"))]

    def pause(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    def crew(self) -> Crew:
        return Crew((self.kind,), self, Clock(lambda: self.now, self.pause), "ann@laptop", self.events.append)

    @property
    def place(self) -> Place:
        return Place("dev", lock_holder(), scope(self.cluster))

    def begin(self, canary: bool, **more: Any) -> str:
        wanted = plan(*self.base, self.tag)
        parameters = {
            "profile_name": wanted.profile_name,
            "profile": wanted.profile.model_dump(mode="json"),
            "overrides": {},
            "components": ["vector-engine"],
            "canary": canary,
            "one_way": False,
            "backup": False,
            "downgrade": False,
            **more,
        }
        record = new_operation(self.kind, "dev", parameters, Started("ann@laptop", self.now, "1.0", "0001"), "default")
        begin(self.place, record, self.events.append)
        return record.id

    def run(self, canary: bool = True, **more: Any) -> Operation:
        up(self.cluster, *self.base)
        return drive(self.place, self.begin(canary, **more), self.crew())


def engine(store: FakeStore, wrong: bool = False) -> Engine:
    """An exact search; a wrong one finds the farthest rows."""

    def ask(name: str, schema: CollectionSchema, vectors: FloatArray, k: int) -> Sequence[Asked]:
        rows: Sequence[Mapping[str, Any]] = store.readable(name).matching("")
        scores = unit(vectors) @ unit(np.stack([one["vector"] for one in rows])).T
        order = np.argsort(scores if wrong else -scores, axis=1, kind="stable")[:, :k]
        return [
            Asked(tuple((rows[at]["id"], float(each[at])) for at in best), 1.0)
            for each, best in zip(scores, order, strict=True)
        ]

    return Engine(store, ask)
