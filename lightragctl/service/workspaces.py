"""What lightrag-api knows of each workspace: its collection, whose it is, and whether the model is the data's.

All replicas agree through one control collection per workspace (`vectors.control`). A replica looks at its `epoch` each
second and reads the rest again when it has changed.
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
from lightragctl.core.settings import ApiSettings
from lightragctl.service.background import Background
from lightragctl.service.flight import SingleFlight
from lightragctl.service.loads import Loads
from lightragctl.service.locks import KeyedLocks
from lightragctl.service.threads import Threads
from lightragctl.service.write_guard import SwitchingError, WriteGuard, WriterPace
from lightragctl.vectors.control import (
    EPOCH,
    KINDS,
    ModelIdentity,
    chunks_alias,
    collection_name,
    control_name,
    control_row,
    epoch_row,
    is_ours,
    model_key,
    settings_difference,
)
from lightragctl.vectors.fence_rows import SWITCHING, SwitchingRow
from lightragctl.vectors.model import CollectionMissingError, FloatArray, chunks_spec, control_spec
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
_LOOKS, _WATCHERS = 4, 4
"""Calls to the store at a time: for those who ask for a workspace, and for following the known ones."""


@dataclass(frozen=True)
class Pace:
    """The times of looking after workspaces, in seconds.

    Attributes:
        watch_s: between two looks at an epoch.
        look_s: between two looks for collections that are not there, which others make without telling.
        lease_s: an epoch that was not confirmed for so long vouches for nothing. Whoever has changed something waits so
            long until no replica gives out what it kept from before.
        lag_s: rows that another process wrote may come into sight so much later than its epoch; 0.5 s on Milvus 2.3.5.
        probe_s: between two looks at the model.
        writer: of the registration of a replica that writes.
    """

    watch_s: float = 1.0
    look_s: float = 5.0
    lease_s: float = 2.0
    lag_s: float = 1.0
    probe_s: float = 30.0
    writer: WriterPace = field(default_factory=WriterPace)


USUAL = Pace()


class ModelMismatchError(RefusedError):
    """The data were made with another embedding model than the one that is asked with."""

    code = "model-mismatch"


class WorkspaceMissingError(RefusedError):
    """Nothing was ever loaded into the workspace."""

    code = "no-workspace"


class NotOursError(RefusedError):
    """The collection belongs to lightrag-server, which alone may write to it."""

    code = "not-ours"


class Embeds(Protocol):
    """Turns texts into `(n, dimension)` vectors; `service.models.EmbeddingClient` does."""

    async def embed_queries(self, texts: Sequence[str]) -> FloatArray:
        """Vectors of questions."""

    async def embed_documents(self, texts: Sequence[str]) -> FloatArray:
        """Vectors of passages."""


@dataclass(frozen=True)
class Seen:
    """A workspace as it was when it was last looked at.

    Attributes:
        epoch: the control collection's epoch row as text; empty when there is none.
        physical: the collection behind the alias; None when there is none.
        identity: the model of its vectors; None when nobody has noted it (upstream's collections).
        others: chunk collections of the workspace that were made with other models.
        related: lightrag-server's collections of entities and relationships, by kind; only those that are there.
        switching: the operation that is replacing its collections; empty when none is.
    """

    epoch: str = ""
    physical: str | None = None
    identity: ModelIdentity | None = None
    others: tuple[str, ...] = ()
    related: Mapping[str, str] = field(default_factory=dict)
    switching: str = ""

    @property
    def is_partial(self) -> bool:
        """Whether a collection is not there yet, which lightrag-server may make without telling anybody."""
        return self.physical is None or len(self.related) < len(KINDS) - 1

    def collection(self, kind: str) -> str | None:
        """The collection of a kind; None when there is none."""
        return self.physical if kind == "chunks" else self.related.get(kind)


@dataclass
class _Trust:
    """How fresh what is known of a workspace is, in monotonic seconds.

    Attributes:
        confirmed_s: when the epoch was last read and found as it is known.
        changed_s: when another epoch was last found.
        own_writes: counts the changes that this process made or is making.
    """

    confirmed_s: float
    changed_s: float
    own_writes: int = 0


class Version(NamedTuple):
    """Equal versions of a workspace give equal answers, as far as our own writers tell. `model` is its generation."""

    collection: str
    epoch: str
    own_writes: int
    model: int


class Workspaces:
    """The workspaces that were asked for, kept up to date by `watch`.

    `model_generation` counts how often the embedding model was seen to give other vectors than before.
    """

    def __init__(self, settings: ApiSettings, store: VectorStore, embedding: Embeds, pace: Pace = USUAL) -> None:
        self._pace = pace
        self.store = store
        self.loads = Loads(store)
        self.guard = WriteGuard(self.loads, store, settings.deadlines.write_s, pace.writer)
        self.model_generation = 0
        self._settings = settings
        self._embedding = embedding
        self._seen: dict[str, Seen] = {}
        self._trust: dict[str, _Trust] = {}
        self._looked_s: dict[str, float] = {}
        self._agreed: dict[str, tuple[Seen, float]] = {}
        self._probe: FloatArray | None = None
        self._probed_at = 0.0
        self._locks: KeyedLocks[str] = KeyedLocks()
        self._confirming: SingleFlight[str, Seen] = SingleFlight(lambda: None)
        self._looks, self._watchers = Threads("look", _LOOKS), Threads("watch", _WATCHERS)
        self._background = Background()
        self._following: dict[str, asyncio.Task[None]] = {}

    def close(self) -> None:
        """Start no further call to the store."""
        for task in list(self._following.values()):
            task.cancel()
        self.guard.close()
        self.loads.close()
        self._looks.close()
        self._watchers.close()

    async def watch(self) -> None:
        """Follow the epochs and the model without end; what fails is logged and done again, and stops nothing else."""
        await asyncio.gather(
            self._background.forever("following the workspaces", self._follow_all, self._pace.watch_s),
            self._background.forever("probing the embedding model", self._follow_model, self._pace.watch_s),
        )

    async def _follow_all(self) -> None:
        """Each by itself: one that hangs delays no other."""
        for name, seen in self._seen.items():
            if name not in self._following:
                self._following[name] = asyncio.create_task(self._follow_one(name, seen))

    async def _follow_one(self, name: str, seen: Seen) -> None:
        try:
            await self._background.attempt(f"workspace '{name}'", partial(self._follow, name, seen))
        finally:
            del self._following[name]

    async def _follow(self, name: str, seen: Seen) -> None:
        begin = time.monotonic()
        is_due = seen.is_partial and begin - self._looked_s.get(name, begin) > self._pace.look_s
        read = partial(self._read_epoch, name)
        if is_due or await self.loads.when_loaded(self._watchers, control_name(name), read) != seen.epoch:
            await self._look(name, self._watchers)
        elif trust := self._trust.get(name):
            trust.confirmed_s = begin

    async def _follow_model(self) -> None:
        if time.monotonic() - self._probed_at > self._pace.probe_s:
            await self._take_probe()

    async def look(self, name: str) -> Seen:
        """Read what there is of the workspace now.

        Raises:
            UnavailableError: the store does not answer, or is loading the control collection.
        """
        return await self._look(name, self._looks)

    async def _look(self, name: str, threads: Threads) -> Seen:
        begin = self._looked_s[name] = time.monotonic()
        seen = await self.loads.when_loaded(threads, control_name(name), partial(self._read, name))
        before, trust = self._seen.get(name), self._trust.setdefault(name, _Trust(begin, begin))
        if before and trust.confirmed_s > begin:
            return before  # a look that began later has ended earlier
        if before and before.epoch != seen.epoch:
            trust.changed_s = time.monotonic()
        trust.confirmed_s = begin
        self._seen[name] = seen
        return seen

    def is_confirmed(self, name: str) -> bool:
        """Whether the workspace was lately seen to be as it is known."""
        trust = self._trust.get(name)
        return trust is not None and time.monotonic() - trust.confirmed_s <= self._pace.lease_s

    async def confirmed(self, name: str) -> Seen:
        """The workspace as it surely is: looked at again unless it was confirmed lately.

        Raises:
            UnavailableError: it cannot be looked at.
        """
        seen = self._seen.get(name)
        if seen is not None and self.is_confirmed(name):
            return seen
        return await self._confirming.run(name, partial(self.look, name))

    def version(self, name: str, kind: str) -> Version | None:
        """What answers about the workspace depend on; None when it is not known, or not surely known any more."""
        seen, trust = self._seen.get(name), self._trust.get(name)
        if seen is None or trust is None or not self.is_confirmed(name):
            return None
        collection = seen.collection(kind)
        return Version(collection, seen.epoch, trust.own_writes, self.model_generation) if collection else None

    def settled(self, name: str, since_s: float) -> bool:
        """Whether what was read since then (monotonic) holds everything that came with the present epoch."""
        trust = self._trust.get(name)
        return trust is not None and since_s >= trust.changed_s + self._pace.lag_s

    def note_write(self, name: str) -> None:
        """This process changes the workspace: answers from before are not those of now. May be called in a thread."""
        if trust := self._trust.get(name):
            trust.own_writes += 1

    async def readable(self, name: str, kind: str = "chunks") -> str | None:
        """The collection to search; None when it is not there: nothing was loaded yet, or no lightrag-server at work.

        Raises:
            WorkspaceMissingError: another workspace is asked for, and nothing was ever loaded into it.
            ModelMismatchError: what was loaded came from another model.
            UnavailableError: it is not known, or was last seen empty, and cannot be looked at now.
            SwitchingError: its collections are being replaced.
        """
        seen = self._seen.get(name)
        if seen is None or seen.collection(kind) is None:
            seen = await self.confirmed(name)
        _refuse_switching(name, seen)
        if seen.physical is None:
            if seen.others:
                raise self._other_model(name, seen)
            if seen.related:
                return seen.collection(kind)
            if name != self._settings.workspace:
                self._seen.pop(name, None)  # whoever asks for any name shall not make us watch them all
                self._trust.pop(name, None)
                self._looked_s.pop(name, None)
                self._background.forget(f"workspace '{name}'")
                hint = f"load documents into it: lightragctl ingest PATH --workspace {name}"
                raise WorkspaceMissingError(f"there is no workspace '{name}'", hint)
            return None
        await self._check_identity(name, seen)
        return seen.collection(kind)

    async def writable(self, name: str) -> str:
        """The collection to write to; made with its control collection when there is none.

        Raises:
            NotOursError: it belongs to lightrag-server.
            ModelMismatchError: what is in it came from another model.
            SwitchingError: its collections are being replaced.
        """
        alias = chunks_alias(name, self._settings.embedding)
        seen = self._seen.get(name)
        if seen is None or seen.physical is None:
            seen = await self._made(name, alias)
        _refuse_switching(name, seen)
        if seen.physical is None or not self.is_ours(name, seen.physical):
            message = f"collection {alias} was made by lightrag-server, which alone may write to it"
            raise NotOursError(message, "load documents through lightrag-server, or use another workspace")
        await self._check_identity(name, seen)
        return seen.physical

    async def _made(self, name: str, alias: str) -> Seen:
        """The workspace with its collections, which the first of those who need them makes."""
        async with self._locks.hold(name):
            seen = await self.look(name)
            if seen.physical is None and not seen.switching:
                identity = self._identity(await self._take_probe())
                await self._change(name, partial(self._create, name, alias, identity))
                seen = await self.look(name)
            return seen

    async def _change(self, name: str, change: Callable[[], None]) -> None:
        """Change the workspace unless it is fenced; its control collection is made before."""
        await self.loads.threads.run(self.store.create, control_spec(control_name(name)))
        async with self.guard.writing(name):
            await self.loads.threads.run(change)

    async def adopt(self, name: str) -> None:
        """Note the model of a workspace that lightrag-server writes to, where nobody has noted it yet.

        Raises:
            ModelMismatchError: what is in it came from another model.
        """
        async with self._locks.hold(name):
            seen = await self.look(name)
            if seen.identity is not None:
                return await self._check_identity(name, seen)
            identity = self._identity(await self._take_probe())
            await self._change(name, partial(self._note_model, name, identity))
            await self.look(name)

    def is_ours(self, name: str, physical: str) -> bool:
        """Whether we made the collection; lightrag-server's bears LightRAG's name itself, ours only as an alias."""
        return is_ours(name, physical, self._settings.embedding)

    async def check_probe(self) -> None:
        """Ask the model for the probe's vector again."""
        await self._take_probe()

    async def _check_identity(self, name: str, seen: Seen) -> None:
        if seen.identity is None or self._agrees(name, seen):
            return
        probe = self._probe if self._probe is not None else await self._take_probe()
        difference = _difference(seen.identity, self._identity(probe), probe)
        if difference:
            raise ModelMismatchError(
                f"the documents of workspace '{name}' were embedded otherwise than the service does now: {difference}",
                "set models.embedding back, or load the documents into a new workspace",
            )
        self._agreed[name] = (seen, self._probed_at)

    def _agrees(self, name: str, seen: Seen) -> bool:
        """Whether these very two were compared already."""
        before = self._agreed.get(name)
        return before is not None and before[0] is seen and before[1] == self._probed_at

    def _other_model(self, name: str, seen: Seen) -> ModelMismatchError:
        model = self._settings.embedding
        return ModelMismatchError(
            f"workspace '{name}' holds no documents for {model.name} with {model.dimension} dimensions; "
            f"it was loaded with another model: {', '.join(seen.others)}",
            "set models.embedding back to that model, or load the documents again: lightragctl ingest PATH",
        )

    async def _take_probe(self) -> FloatArray:
        probe: FloatArray = (await self._embedding.embed_documents([PROBE_TEXT]))[0]
        if self._probe is not None and (cosine := _cosine(self._probe, probe)) < SAME_MODEL_COSINE:
            self.model_generation += 1
            log.warning("the embedding model gives other vectors than before (cosine %.3f on a fixed text)", cosine)
        self._probe, self._probed_at = probe, time.monotonic()
        return probe

    def _identity(self, probe: FloatArray) -> ModelIdentity:
        model = self._settings.embedding
        encoded = base64.b64encode(probe.astype("<f4").tobytes()).decode()
        return ModelIdentity(model.name, model.dimension, model.query_prefix, model.document_prefix, encoded)

    def _read_epoch(self, name: str) -> str:
        return str(self._read_control(name, [EPOCH]).get(EPOCH, ""))

    def _read(self, name: str) -> Seen:
        """What there is; read again if a switch began or ended meanwhile, so that its middle is not taken for empty."""
        seen = self._read_once(name)
        while seen.physical is None and self._read_epoch(name) != seen.epoch:
            seen = self._read_once(name)
        return seen

    def _read_once(self, name: str) -> Seen:
        model = self._settings.embedding
        alias = chunks_alias(name, model)
        key = model_key(model)
        control = self._read_control(name, [EPOCH, key, SWITCHING])
        identity = msgspec.json.decode(control[key], type=ModelIdentity) if key in control else None
        related = {kind: self.store.resolve(collection_name(name, kind, model)) for kind in KINDS[1:]}
        there = {kind: collection for kind, collection in related.items() if collection}
        marker = control.get(SWITCHING)
        return Seen(
            control.get(EPOCH, ""),
            self.store.resolve(alias),
            identity,
            self._others(name, alias),
            there,
            msgspec.json.decode(marker, type=SwitchingRow).operation if marker else "",
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
        """Chunk collections of the workspace; a workspace whose name goes on with `_chunks_` is another one."""
        start = f"{name}_chunks_"
        names = self.store.list_collections()
        return [one for one in names if one.startswith(start) and "_chunks_" not in one.removeprefix(start)]

    def _create(self, name: str, alias: str, identity: ModelIdentity) -> None:
        """The alias comes last: who sees it finds everything else in its place."""
        physical = f"{alias}_g1"
        self._note_model(name, identity)
        self.store.create(chunks_spec(physical, self._settings.embedding.dimension, self._settings.index))
        self.store.point_alias(alias, physical)

    def _note_model(self, name: str, identity: ModelIdentity) -> None:
        model, control, now_ns = self._settings.embedding, control_name(name), time.time_ns()
        self.store.create(control_spec(control))
        rows = [control_row(model_key(model), identity, now_ns // 1_000_000_000), epoch_row(now_ns)]
        self.store.upsert(control, rows)


def _refuse_switching(name: str, seen: Seen) -> None:
    if seen.switching:
        raise SwitchingError(name, seen.switching)


def _difference(stored: ModelIdentity, present: ModelIdentity, probe: FloatArray) -> str:
    """How two identities differ, in words; empty when they are of one model."""
    if difference := settings_difference(stored, present):
        return difference
    known = np.frombuffer(base64.b64decode(stored.probe), dtype="<f4")
    cosine = _cosine(known, probe)
    if cosine < SAME_MODEL_COSINE:
        return f"the model called {present.name!r} gives other vectors (cosine {cosine:.3f} on a fixed text)"
    return ""


def _cosine(one: FloatArray, other: FloatArray) -> float:
    return float(one @ other / (np.linalg.norm(one) * np.linalg.norm(other)))
