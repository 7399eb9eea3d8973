"""A release in memory whose workspace is embedded again, and a death at any write to it or to the record."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, cast

import numpy as np

from lightragctl.core.result import Event
from lightragctl.core.runtime import ReleaseRuntime
from lightragctl.core.settings import EmbeddingModel, Index
from lightragctl.local.files import ReleaseFiles
from lightragctl.operations.cluster_store import ConfigMapStore
from lightragctl.operations.control import abort, begin, drive
from lightragctl.operations.desk import Clock, Crew
from lightragctl.operations.kind import Context, OperationKind, Started, new_operation
from lightragctl.operations.model import Operation
from lightragctl.operations.place import Place
from lightragctl.reembed.kinds import reembed_kind
from lightragctl.reembed.model import Model
from lightragctl.reembed.site import Site, Target, target_of
from lightragctl.release.writers import WriterClock, WriterControl
from lightragctl.service.hashed_embeddings import hashed_vectors
from lightragctl.vectors.control import control_name, control_row
from lightragctl.vectors.fence import Clock as FenceClock
from lightragctl.vectors.model import CollectionSpec, FloatArray, TextField, chunks_spec, control_spec, index_spec
from lightragctl.vectors.schema import CollectionSchema
from tests.fakes.backup import Workspace
from tests.fakes.cluster import FakeCluster
from tests.fakes.copied import START, DyingStore, Runtime
from tests.fakes.operations import Mortal, MortalStore
from tests.fakes.release import lock_holder
from tests.fakes.store import FakeStore

OLD, NEW = EmbeddingModel(name="old", dimension=8), EmbeddingModel(name="new", dimension=6)
CUT = "2.1:256:32:"
TOKEN = "0001"


def profile(model: EmbeddingModel) -> dict[str, Any]:
    """What matters here of a profile's values."""
    return {"models": {"embedding": model.model_dump(mode="json")}}


@dataclass
class Reembedded:
    """The release, the operation and the process that drives it; `texts` counts how often the copy embeds each text."""

    folder: Path
    rows: int = 5
    upstream: bool = False
    workspace: str = "default"
    store: Any = field(default_factory=lambda: FakeStore(batch_rows=7))
    mortal: Mortal = field(default_factory=Mortal)
    events: list[Event] = field(default_factory=list)
    texts: Counter[str] = field(default_factory=Counter)
    golden: list[str] = field(default_factory=list)
    served: dict[str, Any] = field(default_factory=lambda: profile(OLD))
    now: datetime = START

    def __post_init__(self) -> None:
        self.runtime = Runtime(self.mortal)
        self.place = Place("dev", lock_holder(), ReleaseFiles(self.folder / "release"))
        (self.folder / "release" / "operations").mkdir(parents=True)
        self.place.store = MortalStore(ConfigMapStore(FakeCluster(), "lightrag", "dev"), self.mortal)
        self.store.create(control_spec(control_name(self.workspace)))
        chunks = f"{self.workspace}_chunks_old_8d" + ("" if self.upstream else "_g1")
        self.store.create(chunks_spec(chunks, 8, Index()))
        self.write(chunks, range(self.rows))
        if self.upstream:
            fields = (TextField("content", 65535), TextField("file_path", 32768), TextField("entity_name", 512))
            self.store.create(CollectionSpec(f"{self.workspace}_entities_old_8d", 8, fields, index_spec(Index())))
            self.write(f"{self.workspace}_entities_old_8d", range(3), entity_name="Ada")
        else:
            self.store.point_alias(f"{self.workspace}_chunks_old_8d", chunks)
            record = {"id": "doc-1", "cut": CUT + OLD.suffix, "state": "ready"}
            self.store.upsert(control_name(self.workspace), [control_row("doc:doc-1", record, 1)])

    def write(self, name: str, numbers: Sequence[int], **more: Any) -> None:
        """Rows with texts, as a writer with the old model leaves them."""
        kind = "entities" if "_entities_" in name else "chunks"
        texts = [f"{kind} text {number}" for number in numbers]
        rows = [
            {"id": f"k{number:03d}", "vector": vector, "created_at": 1, "content": text, "file_path": f"{number}.md"}
            | {"full_doc_id": "doc-1", **more}
            for number, text, vector in zip(numbers, texts, hashed_vectors(texts, 8), strict=True)
        ]
        self.store.upsert(name, rows)

    def embed(self, asked: Sequence[str]) -> FloatArray:
        """Vectors of the new model."""
        if any(
            name.startswith("reembed_") for name in self.store.list_collections()
        ):  # before, only the rate is measured
            self.texts.update(asked)
        return hashed_vectors(asked, NEW.dimension)

    def search(self, name: str, schema: CollectionSchema, vectors: Any, k: int) -> Sequence[Sequence[str]]:
        return Workspace.search(cast(Any, self), name, schema, vectors, k)

    @contextmanager
    def open(self, context: Context) -> Iterator[Site]:
        control = WriterControl(
            cast(ReleaseRuntime, self.runtime), self.events.append, WriterClock(pause=lambda s: None)
        )

        @contextmanager
        def model() -> Iterator[Model]:
            yield Model(self.embed, self.embed)

        def apply(wanted: Target, operation: str) -> None:
            with self.mortal.write("apply"):
                self.served = dict(wanted.profile)

        given = context.record.parameters
        yield Site(
            store=cast(Any, DyingStore(self.store, self.mortal)),
            search=self.search,
            workspace=self.workspace,
            old=EmbeddingModel.model_validate(given["old"]),
            new=EmbeddingModel.model_validate(target_of(context).profile["models"]["embedding"]),
            ask_old=lambda asked: hashed_vectors(asked, OLD.dimension),
            open_new=model,
            golden=lambda: self.golden,
            writer=control if self.upstream else None,
            applied=lambda: Target("local", self.served),
            apply=apply,
            prove=lambda collection: None,
            clock=FenceClock(pause=lambda seconds: None),
        )

    @property
    def kind(self) -> OperationKind:
        return reembed_kind(self.open)

    def crew(self) -> Crew:
        return Crew((self.kind,), self, Clock(lambda: self.now, self.pause), "ann@laptop", self.events.append)

    def pause(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    def run(self, **parameters: Any) -> Operation:
        """Begin the operation unless it is there, and drive it in a new process."""
        if not self.place.store.records():
            given = {"old": OLD.model_dump(mode="json"), "profile_name": "local", "profile": profile(NEW)}
            given |= {
                "cost": {"texts": {"chunks": self.rows}},
                "timeout_s": 60.0,
                "max_drop": 0.05,
                "max_rate": None,
                "seeds": {},
                "questions": [],
                "qrels": {},
            }
            started = Started("ann@laptop", self.now, "1.0", TOKEN)
            begin(
                self.place,
                new_operation(self.kind, "dev", given | parameters, started, self.workspace),
                self.events.append,
            )
        return drive(self.place, f"reembed-{TOKEN}", self.crew())

    def abort(self) -> Operation:
        abort(self.place, f"reembed-{TOKEN}", self.now)
        return drive(self.place, f"reembed-{TOKEN}", self.crew())

    def state(self) -> dict[str, Any]:
        """What users of the release would compare: rows, aliases, what is served, and the writer."""
        rows = {
            name: {
                key: row.get("value") or np.asarray(row["vector"]).tobytes()
                for key, row in one.rows.items()
                if key != "epoch" and not key.startswith("fence")  # of a process that died, one stays until it expires
            }
            for name, one in self.store.collections.items()
        }
        loaded = {name: one.loaded for name, one in self.store.collections.items()}
        return {
            "rows": rows,
            "aliases": dict(self.store.aliases),
            "loaded": loaded,
            "served": self.served,
            "writer": self.runtime.running,
        }
