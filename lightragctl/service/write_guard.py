"""What every write of lightrag-api passes: refused while the workspace is fenced, and seen by who takes a fence.

A replica registers as a writer of the workspace before it reads the fences (docs/concepts/consistency.md). The
registration is a row that is renewed while writes are under way, and removed when there have been none for `beat_s`.
"""

import asyncio
import logging
import time
import uuid
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import ParamSpec, TypeVar

from lightragctl.core.errors import LightragctlError, UnavailableError
from lightragctl.core.hint import Command, Hint
from lightragctl.service.background import Background
from lightragctl.service.collection_loader import CollectionLoader
from lightragctl.service.threads import Threads
from lightragctl.vectors.control import control_name, control_row, epoch_row
from lightragctl.vectors.fence import read_rows
from lightragctl.vectors.fence_rows import FENCE_CHANGE, FENCES, FENCES_END, WRITERS, FenceRow, Sightings, WriterRow
from lightragctl.vectors.model import CollectionMissingError
from lightragctl.vectors.store import VectorStore

P = ParamSpec("P")
T = TypeVar("T")

log = logging.getLogger(__name__)

SWITCH_RETRY_S = 2.0
KNOWN_S = 1.0
"""For a check that only spares work, as the one that counts follows."""
_MARGIN_S = 5.0
_CALLS = 4
_LEAVE_S = 3.0


class FencedError(UnavailableError):
    """Writes to the workspace are refused for now."""

    code = "fenced"

    def __init__(self, workspace: str, reason: str, retry_after_s: float) -> None:
        hint = Hint("send it again later; what holds it: ", Command("operations list"))
        super().__init__(f"writes to workspace '{workspace}' are refused for now: {reason}", hint)
        self.retry_after_s = retry_after_s


class SwitchingError(UnavailableError):
    """The collections of the workspace are being replaced."""

    code = "switching"
    retry_after_s = SWITCH_RETRY_S

    def __init__(self, workspace: str, operation: str) -> None:
        hint = Hint("ask again; if it stays so: ", Command("operations status", operation))
        super().__init__(f"operation {operation} is replacing the collections of workspace '{workspace}'", hint)


class NotRegisteredError(UnavailableError):
    """The registration as a writer was not renewed in time, so that a fence may have been taken meanwhile."""

    code = "writer-expired"


@dataclass(frozen=True)
class WriterPace:
    """Seconds between two renewals of a registration, and after which it no longer permits a write."""

    beat_s: float = 2.0
    lapse_s: float = 10.0


@dataclass
class _Registration:
    """This replica's as a writer of one workspace. `generation` changes when it had lapsed and is renewed."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    writes: int = 0
    renewed_s: float | None = None
    generation: int = 0
    task: "asyncio.Task[None] | None" = None


@dataclass(frozen=True)
class _Known:
    """The fences of one workspace as they were read at a time, after the last change of one."""

    read_s: float
    change: str = ""
    fences: Mapping[str, FenceRow] = field(default_factory=dict)


class Turn:
    """One write that is under way."""

    def __init__(self, guard: "WriteGuard", workspace: str, generation: int) -> None:
        self._guard = guard
        self._workspace = workspace
        self.generation = generation

    def require(self) -> None:
        """Called before each change of the store, also in its thread.

        Raises:
            NotRegisteredError: this replica may have been taken for dead meanwhile.
        """
        if not self._guard.is_registered(self._workspace, self.generation):
            message = f"writing to workspace '{self._workspace}' was interrupted: the vector store answered too slowly"
            raise NotRegisteredError(message, "send the document again")

    async def commit(self) -> None:
        """Called before the write is acknowledged. A fence whose holder still waits for this write lets it pass.

        Raises:
            FencedError: the holder of a fence did not wait for this write.
            NotRegisteredError: as `require`.
        """
        self.require()
        try:
            await self._guard.refuse(self._workspace, settled_only=True)
        except FencedError:
            await self._guard.confess(self._workspace)
            raise


def permitted(turn: Turn, change: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What `change` returns, if the write may still change the store; for its thread."""
    turn.require()
    return change(*args, **kwargs)


class WriteGuard:
    """Guards the writes of one replica; used from one event loop.

    Args:
        loads: of the store.
        call_s: the deadline of a call to the store.
    """

    def __init__(
        self,
        loads: CollectionLoader,
        store: VectorStore,
        call_s: float,
        pace: WriterPace,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._loads, self._store, self._pace, self._clock = loads, store, pace, clock
        self._valid_s = pace.lapse_s + call_s + _MARGIN_S
        self._key = WRITERS + uuid.uuid4().hex
        self._threads = Threads("fence", _CALLS)
        self._known: dict[str, _Known] = {}
        self._sightings: dict[str, Sightings] = {}
        self._registrations: dict[str, _Registration] = {}
        self._background = Background()

    async def leave(self) -> None:
        """Remove this replica's registrations, so that who takes a fence need not wait until they expire."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_LEAVE_S):
                for workspace, registration in self._registrations.items():
                    if registration.task is not None:
                        registration.task.cancel()
                        registration.writes = 0
                        await self._background.attempt("leaving", partial(self._keep_once, workspace, registration))

    def close(self) -> None:
        """Start no further call to the store."""
        self._threads.close()

    async def refuse(self, workspace: str, settled_only: bool = False, age_s: float = 0.0) -> None:
        """Refuse when the workspace is fenced.

        Args:
            settled_only: let fences pass whose holder still waits for writes that are under way.
            age_s: that there was no fence so long ago at most is enough.

        Raises:
            FencedError: with the time until the fence expires if it is not renewed.
        """
        known = self._known.get(workspace)
        if known is None or known.fences or self._clock() - known.read_s > age_s:
            control = control_name(workspace)
            known = await self._loads.when_loaded(self._threads, control, partial(self._read, control, known))
            self._known[workspace] = known
        sightings = self._sightings.setdefault(workspace, Sightings())
        ages_s = sightings.ages_s({key: row.beat for key, row in known.fences.items()}, self._clock())
        for key, row in known.fences.items():
            if ages_s[key] < row.valid_s and (row.settled or not settled_only):
                raise FencedError(workspace, row.reason, row.valid_s - ages_s[key])

    def _read(self, control: str, before: _Known | None) -> _Known:
        """The fences, read again only if one has changed. Blocks."""
        begun_s = self._clock()
        try:
            row = self._store.get(control, [FENCE_CHANGE], ["value"]).get(FENCE_CHANGE)
        except CollectionMissingError:
            row = None
        change = str(row["value"]) if row else ""
        if before is not None and before.change == change:
            return replace(before, read_s=begun_s)
        fences = read_rows(self._store, control, FENCES, FENCES_END, FenceRow) if change else {}
        return _Known(begun_s, change, fences)

    @asynccontextmanager
    async def writing(self, workspace: str) -> AsyncGenerator[Turn, None]:
        """A write to the workspace, whose control collection must be there.

        Raises:
            FencedError: writes are refused for now.
        """
        registration = self._registrations.setdefault(workspace, _Registration())
        if self._lapsed(registration):
            await self.refuse(
                workspace, age_s=KNOWN_S
            )  # before a row is written that the holder of a fence would wait for
        async with registration.lock:
            if self._lapsed(registration):
                await self._renew(workspace, registration)
            registration.writes += 1
            if registration.task is None:
                registration.task = asyncio.create_task(self._keep(workspace, registration))
        turn = Turn(self, workspace, registration.generation)
        try:
            await self.refuse(workspace)
            yield turn
        finally:
            if not self.is_registered(workspace, turn.generation):
                await self.confess(workspace)
            registration.writes -= 1

    def is_registered(self, workspace: str, generation: int) -> bool:
        """Whether this replica has been registered without interruption since that generation. Any thread."""
        registration = self._registrations[workspace]
        return registration.generation == generation and not self._lapsed(registration)

    async def confess(self, workspace: str) -> None:
        """Change the epoch: the holder of a fence that did not wait for a write learns of it by that."""
        try:
            row = epoch_row(time.time_ns())
            await self._threads.run(self._store.upsert, control_name(workspace), [row])
        except LightragctlError as error:
            log.warning("workspace '%s': an interrupted write could not be noted: %s", workspace, error.message)

    def _lapsed(self, registration: _Registration) -> bool:
        renewed_s = registration.renewed_s
        return renewed_s is None or self._clock() - renewed_s > self._pace.lapse_s

    async def _renew(self, workspace: str, registration: _Registration) -> None:
        begun_s, now_ns = self._clock(), time.time_ns()
        row = control_row(self._key, WriterRow(str(now_ns), self._valid_s), now_ns // 1_000_000_000)
        await self._threads.run(self._store.upsert, control_name(workspace), [row])
        if self._lapsed(registration):
            registration.generation += 1
        registration.renewed_s = begun_s

    async def _keep(self, workspace: str, registration: _Registration) -> None:
        """Renew the registration while writes are under way, then remove it."""
        while registration.task is not None:
            await asyncio.sleep(self._pace.beat_s)
            step = partial(self._keep_once, workspace, registration)
            await self._background.attempt(f"the registration as a writer of workspace '{workspace}'", step)

    async def _keep_once(self, workspace: str, registration: _Registration) -> None:
        async with registration.lock:
            if registration.writes:
                return await self._renew(workspace, registration)
            registration.task = registration.renewed_s = None
            await self._threads.run(self._store.delete, control_name(workspace), [self._key])
