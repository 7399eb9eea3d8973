"""State of each workspace: its collection, who owns it, and whether its embedding model is the configured one.

Replicas are synchronized through one control collection per workspace (`vectors.control`). A replica polls its `epoch`
every second and re-reads the rest when it changes.
"""

import asyncio
import base64
import logging
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple, Protocol

import msgspec
import numpy as np

from lightragctl.core.errors import RefusedError
from lightragctl.core.hint import Command, Hint
from lightragctl.core.settings import ApiSettings
from lightragctl.service.background import Background
from lightragctl.service.collection_loader import CollectionLoader
from lightragctl.service.keyed_locks import KeyedLocks
from lightragctl.service.single_flight import SingleFlight
from lightragctl.service.threads import Threads
from lightragctl.service.write_guard import SwitchingError, WriteGuard, WriterPace
from lightragctl.vectors.applied import APPLIED, AppliedIndex, decoded
from lightragctl.vectors.control import (
    EPOCH,
    KINDS,
    NEWEST_BACKUP,
    ModelIdentity,
    chunks_alias,
    collection_name,
    control_name,
    control_row,
    epoch_row,
    is_ours,
    model_key,
    newest_backup,
    settings_difference,
)
from lightragctl.vectors.fence_rows import SWITCHING, SwitchingRow
from lightragctl.vectors.model import (
    CollectionMissingError,
    FloatArray,
    IndexSpec,
    chunks_spec,
    control_spec,
    index_spec,
)
from lightragctl.vectors.store import VectorStore

log = logging.getLogger(__name__)

PROBE_TEXT = (
    "lightragctl: the vector of this sentence tells one embedding model from another. 这句话的向量用来识别模型。"
)
"""Fixed for ever: its stored vector is compared with today's."""

SAME_MODEL_COSINE = 0.98
"""Below this, two vectors of PROBE_TEXT are of different models. The same model gives 1.0 here whatever the batch;
16-bit serving of the same weights moves a vector by less than 0.001."""

_GENERATION = re.compile(r"_g\d+$")
_READERS, _WATCHERS = 4, 4
"""Concurrent calls to the store: for requests, and for watching known workspaces."""


@dataclass(frozen=True)
class Intervals:
    """Intervals of watching workspaces, in seconds.

    Attributes:
        watch_s: polling interval of the epoch.
        reread_s: polling interval for missing collections, which lightrag-server creates without changing the epoch.
        lease_s: an epoch that was not confirmed for this long invalidates cached results. After a write, no replica
            returns older results once this has passed.
        lag_s: rows of another process may become visible this much later than its epoch; 0.5 s on Milvus 2.3.5.
        probe_s: polling interval of the model.
        writer: of the registration of a replica that writes.
    """

    watch_s: float = 1.0
    reread_s: float = 5.0
    lease_s: float = 2.0
    lag_s: float = 1.0
    probe_s: float = 30.0
    writer: WriterPace = field(default_factory=WriterPace)


DEFAULT_INTERVALS = Intervals()


class ModelMismatchError(RefusedError):
    """The data were embedded with another model than the configured one."""

    code = "model-mismatch"


class WorkspaceMissingError(RefusedError):
    """Nothing was ever loaded into the workspace."""

    code = "workspace-not-found"


class NotOursError(RefusedError):
    """The collection belongs to lightrag-server, which alone may write to it."""

    code = "owned-by-lightrag-server"


class EmbeddingBackend(Protocol):
    """Embeds texts as `(n, dimension)` vectors; implemented by `service.model_clients.EmbeddingClient`."""

    async def embed_queries(self, texts: Sequence[str]) -> FloatArray:
        """Vectors of queries."""

    async def embed_documents(self, texts: Sequence[str]) -> FloatArray:
        """Vectors of passages."""


@dataclass(frozen=True)
class WorkspaceState:
    """A snapshot of a workspace.

    Attributes:
        epoch: the control collection's epoch row as text; empty when there is none.
        physical: the collection behind the alias; None when there is none.
        identity: the model of its vectors; None if it was not recorded (upstream's collections).
        others: chunk collections of the workspace that were made with other models.
        related: lightrag-server's collections of entities and relationships, by kind; only those that are there.
        switching: the operation that is replacing its collections; empty when none is.
        applied: how collections are searched whose index was tuned, by physical name.
    """

    epoch: str = ""
    physical: str | None = None
    identity: ModelIdentity | None = None
    others: tuple[str, ...] = ()
    related: Mapping[str, str] = field(default_factory=dict)
    switching: str = ""
    applied: Mapping[str, AppliedIndex] = field(default_factory=dict)

    @property
    def is_partial(self) -> bool:
        """Whether a collection is missing, which lightrag-server may create at any time."""
        return self.physical is None or len(self.related) < len(KINDS) - 1

    def collection(self, kind: str) -> str | None:
        """The collection of a kind; None when there is none."""
        return self.physical if kind == "chunks" else self.related.get(kind)


@dataclass
class _Freshness:
    """Freshness of a snapshot, in monotonic seconds.

    Attributes:
        confirmed_s: when the epoch was last read and found unchanged.
        changed_s: when the epoch was last found changed.
        own_writes: counts the writes of this process, including those in progress.
    """

    confirmed_s: float
    changed_s: float
    own_writes: int = 0


class WorkspaceVersion(NamedTuple):
    """Cache key of results: they are equal while the version is. `model` is the generation of the model."""

    collection: str
    epoch: str
    own_writes: int
    model: int


class Workspaces:
    """The workspaces in use, kept up to date by `watch`.

    `model_generation` counts how often the embedding model was found to give different vectors.
    """

    def __init__(
        self,
        settings: ApiSettings,
        store: VectorStore,
        embedding: EmbeddingBackend,
        intervals: Intervals = DEFAULT_INTERVALS,
    ) -> None:
        self._intervals = intervals
        self.store = store
        self.loads = CollectionLoader(store)
        self.guard = WriteGuard(self.loads, store, settings.deadlines.write_s, intervals.writer)
        self.model_generation = 0
        self.backups: dict[str, int] = {}
        """When the newest backup of each known workspace was finished, in unix seconds."""
        self._settings = settings
        self._embedding = embedding
        self._states: dict[str, WorkspaceState] = {}
        self._profile_index = index_spec(settings.index)
        self._indexes: dict[str, IndexSpec] = {}
        self._freshness: dict[str, _Freshness] = {}
        self._read_at_s: dict[str, float] = {}
        self._agreed: dict[str, tuple[WorkspaceState, float]] = {}
        self._probe: FloatArray | None = None
        self._probed_at = 0.0
        self._locks: KeyedLocks[str] = KeyedLocks()
        self._confirming: SingleFlight[str, WorkspaceState] = SingleFlight(lambda: None)
        self._readers, self._watchers = Threads("read", _READERS), Threads("watch", _WATCHERS)
        self._background = Background()
        self._following: dict[str, asyncio.Task[None]] = {}

    def close(self) -> None:
        """Start no further call to the store."""
        for task in list(self._following.values()):
            task.cancel()
        self.guard.close()
        self.loads.close()
        self._readers.close()
        self._watchers.close()

    async def watch(self) -> None:
        """Poll the epochs and the model until cancelled; errors are logged, retried, and stop nothing else."""
        await asyncio.gather(
            self._background.forever("watching the workspaces", self._follow_all, self._intervals.watch_s),
            self._background.forever("probing the embedding model", self._follow_model, self._intervals.watch_s),
        )

    async def _follow_all(self) -> None:
        """Poll each workspace in its own task: one that hangs delays no other."""
        for name, state in self._states.items():
            if name not in self._following:
                self._following[name] = asyncio.create_task(self._follow_one(name, state))

    async def _follow_one(self, name: str, state: WorkspaceState) -> None:
        try:
            await self._background.attempt(f"workspace '{name}'", partial(self._follow, name, state))
        finally:
            del self._following[name]

    async def _follow(self, name: str, state: WorkspaceState) -> None:
        begin = time.monotonic()
        is_due = state.is_partial and begin - self._read_at_s.get(name, begin) > self._intervals.reread_s
        read = partial(self._read_epoch, name)
        if is_due or await self.loads.when_loaded(self._watchers, control_name(name), read) != state.epoch:
            await self._refresh(name, self._watchers)
        elif freshness := self._freshness.get(name):
            freshness.confirmed_s = begin

    async def _follow_model(self) -> None:
        if time.monotonic() - self._probed_at > self._intervals.probe_s:
            await self._take_probe()

    async def refresh(self, name: str) -> WorkspaceState:
        """Read a new snapshot of the workspace.

        Raises:
            UnavailableError: the store does not respond, or is loading the control collection.
        """
        return await self._refresh(name, self._readers)

    async def _refresh(self, name: str, threads: Threads) -> WorkspaceState:
        begin = self._read_at_s[name] = time.monotonic()
        state = await self.loads.when_loaded(threads, control_name(name), partial(self._read, name))
        before, freshness = self._states.get(name), self._freshness.setdefault(name, _Freshness(begin, begin))
        if before and freshness.confirmed_s > begin:
            return before  # a later read has finished earlier
        if before and before.epoch != state.epoch:
            freshness.changed_s = time.monotonic()
        freshness.confirmed_s = begin
        self._states[name] = state
        self._indexes.update({physical: one.spec for physical, one in state.applied.items()})
        for physical in before.applied.keys() - state.applied.keys() if before else ():
            self._indexes.pop(physical, None)
        return state

    def index_of(self, collection: str) -> IndexSpec:
        """How a collection is searched: as it was tuned, else as the profile says."""
        return self._indexes.get(collection, self._profile_index)

    def is_confirmed(self, name: str) -> bool:
        """Whether what is known of the workspace was confirmed within the lease."""
        freshness = self._freshness.get(name)
        return freshness is not None and time.monotonic() - freshness.confirmed_s <= self._intervals.lease_s

    async def confirmed(self, name: str) -> WorkspaceState:
        """A snapshot within its lease: read again unless it was confirmed recently.

        Raises:
            UnavailableError: it cannot be read.
        """
        state = self._states.get(name)
        if state is not None and self.is_confirmed(name):
            return state
        return await self._confirming.run(name, partial(self.refresh, name))

    def version(self, name: str, kind: str) -> WorkspaceVersion | None:
        """The version that results depend on; None if the snapshot is missing or its lease has expired."""
        state, freshness = self._states.get(name), self._freshness.get(name)
        if state is None or freshness is None or not self.is_confirmed(name):
            return None
        collection = state.collection(kind)
        return (
            WorkspaceVersion(collection, state.epoch, freshness.own_writes, self.model_generation)
            if collection
            else None
        )

    def settled(self, name: str, since_s: float) -> bool:
        """Whether a read that began at `since_s` (monotonic) includes all writes of the current epoch."""
        freshness = self._freshness.get(name)
        return freshness is not None and since_s >= freshness.changed_s + self._intervals.lag_s

    def note_write(self, name: str) -> None:
        """Invalidate cached results after a write of this process. May be called in a thread."""
        if freshness := self._freshness.get(name):
            freshness.own_writes += 1

    async def readable(self, name: str, kind: str = "chunks") -> str | None:
        """The collection to search; None if it does not exist yet.

        Raises:
            WorkspaceMissingError: the workspace is not the default one, and nothing was ever loaded into it.
            ModelMismatchError: the data were embedded with another model.
            UnavailableError: there is no snapshot with data, and a new one cannot be read.
            SwitchingError: its collections are being replaced.
        """
        state = self._states.get(name)
        if state is None or state.collection(kind) is None:
            state = await self.confirmed(name)
        _refuse_switching(name, state)
        if state.physical is None:
            if state.others:
                raise self._other_model(name, state)
            if state.related:
                return state.collection(kind)
            if name != self._settings.workspace:
                self._states.pop(name, None)  # requests for arbitrary names must not add to the watched workspaces
                self._freshness.pop(name, None)
                self._read_at_s.pop(name, None)
                self._background.forget(f"workspace '{name}'")
                hint = Hint("load documents into it: ", Command("ingest", f"PATH --workspace {name}"))
                raise WorkspaceMissingError(f"workspace '{name}' does not exist", hint)
            return None
        await self._check_identity(name, state)
        return state.collection(kind)

    async def writable(self, name: str) -> str:
        """The collection to write to; created with its control collection if missing.

        Raises:
            NotOursError: it belongs to lightrag-server.
            ModelMismatchError: its data were embedded with another model.
            SwitchingError: its collections are being replaced.
        """
        alias = chunks_alias(name, self._settings.embedding)
        state = self._states.get(name)
        if state is None or state.physical is None:
            state = await self._made(name, alias)
        _refuse_switching(name, state)
        if state.physical is None or not self.is_ours(name, state.physical):
            message = f"collection {alias} belongs to lightrag-server, which must write to it"
            raise NotOursError(message, "load documents through lightrag-server, or use another workspace")
        await self._check_identity(name, state)
        return state.physical

    async def _made(self, name: str, alias: str) -> WorkspaceState:
        """The workspace with its collections, created by the first caller."""
        async with self._locks.hold(name):
            state = await self.refresh(name)
            if state.physical is None and not state.switching:
                identity = self._identity(await self._take_probe())
                await self._change(name, partial(self._create, name, alias, identity))
                state = await self.refresh(name)
            return state

    async def _change(self, name: str, change: Callable[[], None]) -> None:
        """Change the workspace unless it is fenced; its control collection is made before."""
        await self.loads.threads.run(self.store.create, control_spec(control_name(name)))
        async with self.guard.writing(name):
            await self.loads.threads.run(change)

    async def adopt(self, name: str) -> None:
        """Record the model of a workspace that lightrag-server writes to, if it is not recorded yet.

        Raises:
            ModelMismatchError: its data were embedded with another model.
        """
        async with self._locks.hold(name):
            state = await self.refresh(name)
            if state.identity is not None:
                return await self._check_identity(name, state)
            identity = self._identity(await self._take_probe())
            await self._change(name, partial(self._note_model, name, identity))
            await self.refresh(name)

    def is_ours(self, name: str, physical: str) -> bool:
        """Whether the collection is ours: LightRAG's own collections have its name directly, ours through an alias."""
        return is_ours(name, physical, self._settings.embedding)

    async def check_probe(self) -> None:
        """Embed the probe text again."""
        await self._take_probe()

    async def _check_identity(self, name: str, state: WorkspaceState) -> None:
        if state.identity is None or self._agrees(name, state):
            return
        probe = self._probe if self._probe is not None else await self._take_probe()
        difference = _difference(state.identity, self._identity(probe), probe)
        if difference:
            raise ModelMismatchError(
                f"the documents of workspace '{name}' were embedded with another model: {difference}",
                "set models.embedding back, or load the documents into a new workspace",
            )
        self._agreed[name] = (state, self._probed_at)

    def _agrees(self, name: str, state: WorkspaceState) -> bool:
        """Whether these very two were compared already."""
        before = self._agreed.get(name)
        return before is not None and before[0] is state and before[1] == self._probed_at

    def _other_model(self, name: str, state: WorkspaceState) -> ModelMismatchError:
        model = self._settings.embedding
        return ModelMismatchError(
            f"workspace '{name}' has no documents for {model.name} with {model.dimension} dimensions; "
            f"it was loaded with another model: {', '.join(state.others)}",
            Hint("set models.embedding back to that model, or load the documents again: ", Command("ingest", "PATH")),
        )

    async def _take_probe(self) -> FloatArray:
        probe: FloatArray = (await self._embedding.embed_documents([PROBE_TEXT]))[0]
        if self._probe is not None and (cosine := _cosine(self._probe, probe)) < SAME_MODEL_COSINE:
            self.model_generation += 1
            log.warning("the vectors of the embedding model have changed (cosine %.3f on a fixed text)", cosine)
        self._probe, self._probed_at = probe, time.monotonic()
        return probe

    def _identity(self, probe: FloatArray) -> ModelIdentity:
        model = self._settings.embedding
        encoded = base64.b64encode(probe.astype("<f4").tobytes()).decode()
        return ModelIdentity(model.name, model.dimension, model.query_prefix, model.document_prefix, encoded)

    def _read_epoch(self, name: str) -> str:
        found = self._read_control(name, [EPOCH, NEWEST_BACKUP])
        if backup := newest_backup(found.get(NEWEST_BACKUP)):
            self.backups[name] = backup.finished_at_s
        else:
            self.backups.pop(name, None)
        return str(found.get(EPOCH, ""))

    def _read(self, name: str) -> WorkspaceState:
        """What there is; read again if a switch began or ended meanwhile, so that its middle is not taken for empty."""
        state = self._read_once(name)
        while state.physical is None and self._read_epoch(name) != state.epoch:
            state = self._read_once(name)
        return state

    def _read_once(self, name: str) -> WorkspaceState:
        model = self._settings.embedding
        alias = chunks_alias(name, model)
        key = model_key(model)
        control = self._read_control(name, [EPOCH, key, SWITCHING, APPLIED])
        identity = msgspec.json.decode(control[key], type=ModelIdentity) if key in control else None
        related = {kind: self.store.resolve(collection_name(name, kind, model)) for kind in KINDS[1:]}
        there = {kind: collection for kind, collection in related.items() if collection}
        marker = control.get(SWITCHING)
        return WorkspaceState(
            control.get(EPOCH, ""),
            self.store.resolve(alias),
            identity,
            self._others(name, alias),
            there,
            msgspec.json.decode(marker, type=SwitchingRow).operation if marker else "",
            decoded(control.get(APPLIED)),
        )

    def _read_control(self, name: str, keys: Sequence[str]) -> dict[str, str]:
        try:
            rows = self.store.get(control_name(name), keys, ["value"])
        except CollectionMissingError:
            return {}
        return {key: str(row["value"]) for key, row in rows.items()}

    def ours(self, name: str) -> list[str]:
        """Every chunk collection of the workspace that we made, of any model and generation. Blocks."""
        return [one for one in self._collections(name) if _GENERATION.search(one)]

    def _others(self, name: str, alias: str) -> tuple[str, ...]:
        return tuple(one for one in self._collections(name) if _GENERATION.sub("", one) != alias)

    def _collections(self, name: str) -> list[str]:
        """Chunk collections of the workspace, without those of a workspace whose name contains `_chunks_`."""
        start = f"{name}_chunks_"
        names = self.store.list_collections()
        return [one for one in names if one.startswith(start) and "_chunks_" not in one.removeprefix(start)]

    def _create(self, name: str, alias: str, identity: ModelIdentity) -> None:
        """The alias is created last: a reader that resolves it finds everything else in place."""
        physical = f"{alias}_g1"
        self._note_model(name, identity)
        self.store.create(chunks_spec(physical, self._settings.embedding.dimension, self._settings.index))
        self.store.point_alias(alias, physical)

    def _note_model(self, name: str, identity: ModelIdentity) -> None:
        model, control, now_ns = self._settings.embedding, control_name(name), time.time_ns()
        self.store.create(control_spec(control))
        rows = [control_row(model_key(model), identity, now_ns // 1_000_000_000), epoch_row(now_ns)]
        self.store.upsert(control, rows)


def _refuse_switching(name: str, state: WorkspaceState) -> None:
    if state.switching:
        raise SwitchingError(name, state.switching)


def _difference(stored: ModelIdentity, present: ModelIdentity, probe: FloatArray) -> str:
    """How two identities differ, in words; empty when they are of one model."""
    if difference := settings_difference(stored, present):
        return difference
    known = np.frombuffer(base64.b64decode(stored.probe), dtype="<f4")
    cosine = _cosine(known, probe)
    if cosine < SAME_MODEL_COSINE:
        return f"{present.name!r} returns different vectors (cosine {cosine:.3f} on a fixed text)"
    return ""


def _cosine(one: FloatArray, other: FloatArray) -> float:
    return float(one @ other / (np.linalg.norm(one) * np.linalg.norm(other)))
