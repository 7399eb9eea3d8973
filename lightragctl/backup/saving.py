"""The steps of a backup: lock, fence, stop of lightrag-server, copy, commit. Each may be repeated, by any process.

The manifest that `copy` returns is a draft beside the data until `commit`: the fence and lightrag-server are released
in between.
"""

import contextlib
import hashlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from typing import Protocol

from lightragctl.backup.chain import read_manifest
from lightragctl.backup.create import commit, copy, discard
from lightragctl.backup.fences import Fences
from lightragctl.backup.lock import Holder, Lock, Subject
from lightragctl.backup.manifest import DRAFT_NAME, MOST_MANIFEST_BYTES, Manifest, backup_id, parse, summary
from lightragctl.backup.source import Destination, Held, Source, World
from lightragctl.backup.steps import rest, start
from lightragctl.backup.storage import MissingObjectError, Storage
from lightragctl.core.errors import LightragctlError, LockedError
from lightragctl.core.result import Event
from lightragctl.operations.kind import Context
from lightragctl.release.writers import WriterControl
from lightragctl.vectors.fence import Fence

Hold = Callable[[], AbstractContextManager[Held]]


class Site(Protocol):
    """What a backup works on."""

    def destination(self, context: Context) -> Destination:
        """Where it goes."""

    def source(self, context: Context, hold: Hold | None) -> AbstractContextManager[Source]:
        """The workspace."""

    def fence(self, context: Context) -> AbstractContextManager[Fence]:
        """The write fence of the workspace, held for the length of a block."""

    def writer(self, context: Context) -> WriterControl | None:
        """The control of lightrag-server; None when it does not write to the workspace."""

    def record(self, context: Context, manifest: Manifest) -> None:
        """Note the new backup in the workspace, for the metric of its age."""

    def versions(self, context: Context) -> dict[str, str]:
        """Of LightRAG, as its server reports it; empty when there is none, or it is stopped."""


@dataclass(frozen=True)
class _HeldFence:
    """Writes that a step blocks; for how long lightrag-server was stopped is known at `commit`."""

    fence: Fence
    writer_stopped_s: float = 0.0

    def check(self) -> None:
        """See `Held`."""
        self.fence.confirm()


class Saving:
    """The steps; `fences` and locks are held by the process that has taken them."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.fences = Fences()
        self._locks: dict[str, tuple[Lock, ExitStack]] = {}

    def lock(self, context: Context) -> None:
        """Keep other commands away from the backups of the workspace; what another driver began to copy is deleted."""
        before = _id(context)
        id = before if self.is_copied(context) else backup_id(context.now(), _digits(context))
        storage = self.site.destination(context).storage
        self._release_lock(context)
        with ExitStack() as stack:
            lock = stack.enter_context(self._lock(context, storage, id, before))
            if before not in ("", id):
                discard(storage, before)
            context.save_result("backup", id)
            self._locks[context.record.id] = lock, stack.pop_all()

    @staticmethod
    def _lock(context: Context, storage: Storage, id: str, before: str) -> Lock:
        subject = Subject(context.record.release, context.record.workspace)
        return Lock(storage, subject, Holder(context.record.who, "backup create", id), context.now, after=before)

    def is_locked(self, context: Context) -> bool:
        """Whether this process holds the lock."""
        if context.record.id not in self._locks:
            return False
        try:
            self._locks[context.record.id][0].check()
        except LockedError:
            return False
        return True

    def unlock(self, context: Context) -> None:
        """Let others work on the backups, also when a process that has ended took the lock."""
        if context.record.id in self._locks:
            self._release_lock(context)
        elif id := _id(context):
            storage = self.site.destination(context).storage
            with contextlib.suppress(LockedError), self._lock(context, storage, id, id):
                pass

    def _release_lock(self, context: Context) -> None:
        if context.record.id in self._locks:
            self._locks.pop(context.record.id)[1].close()

    def fence(self, context: Context) -> None:
        """Block writes through lightrag-api, unless the backup is one without a fence."""
        if not self.is_fenced(context):
            self.fences.take(context.record.id, self.site.fence(context))

    def is_fenced(self, context: Context) -> bool:
        """Whether this process holds the fence, or none is wanted."""
        return not _has_fence(context) or self.fences.holds(context.record.id)

    def unfence(self, context: Context) -> None:
        """Let writes through again."""
        self.fences.release(context.record.id)

    def stop_writer(self, context: Context) -> None:
        """Stop lightrag-server, when it writes to the workspace; its version is read first."""
        control = self.site.writer(context) if _has_fence(context) else None
        if "versions" not in context.record.originals:
            context.save_original("versions", self.site.versions(context))
        if control is not None:
            rest(context, control)
        else:
            context.notify(Event("skipped: no lightrag-server has to stop", "writer"))
        context.save_result("writer_at_rest", True)

    def is_at_rest(self, context: Context) -> bool:
        """Whether lightrag-server was stopped, and not started since."""
        return bool(context.record.results.get("writer_at_rest"))

    def start_writer(self, context: Context) -> None:
        """Start lightrag-server again, as it was."""
        control = self.site.writer(context) if _has_fence(context) else None
        if control is not None:
            start(context, control)
        context.save_result("writer_at_rest", False)

    def copy(self, context: Context) -> None:
        """Copy rows, files and documents; the manifest is a draft."""
        id, destination = _id(context), self.site.destination(context)
        world = World(context.now, lambda: context.now().timestamp(), context.record.who, _reporting(context))
        with self.site.source(context, self._hold(context) if _has_fence(context) else None) as source:
            manifest = copy(source, destination, world, id)
        self._check_lock(context)
        destination.storage.write(f"{id}/{DRAFT_NAME}", manifest.to_json())
        context.save_result("copied", True)

    def _hold(self, context: Context) -> Hold:
        @contextmanager
        def held() -> Iterator[Held]:
            yield _HeldFence(self.fences.held(context.record.id))

        return held

    def is_copied(self, context: Context) -> bool:
        """Whether all but the manifest is written."""
        return bool(context.record.results.get("copied"))

    def discard(self, context: Context) -> None:
        """Delete what was written; a committed backup stays."""
        if self.is_committed(context):
            return
        if id := _id(context):
            discard(self.site.destination(context).storage, id)
        context.save_result("copied", False)

    def commit(self, context: Context) -> None:
        """Compare sizes of what was written, and write the manifest, which makes it a backup."""
        storage = self.site.destination(context).storage
        self._check_lock(context)
        manifest = _draft(storage, _id(context))
        if manifest is None:  # a driver before this one has written it
            manifest = read_manifest(storage, _id(context))
        else:
            stopped_s = float(context.record.results.get("writer_stopped_s", 0.0))
            consistency = manifest.consistency.model_copy(update={"writer_stopped_s": stopped_s})
            manifest = manifest.model_copy(update={"consistency": consistency})
            commit(storage, manifest)
        context.save_result("made", summary(manifest).model_dump(mode="json"))
        try:
            self.site.record(context, manifest)
        except LightragctlError as error:  # the backup is there all the same
            context.notify(Event(f"its time is not in the metric of lightrag-api: {error.message}", "commit"))

    def is_committed(self, context: Context) -> bool:
        """Whether there is a backup."""
        return bool(context.record.results.get("made"))

    def _check_lock(self, context: Context) -> None:
        if context.record.id not in self._locks:
            raise LightragctlError("the lock of the backups is not held by this process", "run the command again")
        self._locks[context.record.id][0].check()
        context.check()


def _draft(storage: Storage, id: str) -> Manifest | None:
    try:
        return parse(storage.read(f"{id}/{DRAFT_NAME}", MOST_MANIFEST_BYTES), id)
    except MissingObjectError:
        return None


def _id(context: Context) -> str:
    return str(context.record.results.get("backup", ""))


def _digits(context: Context) -> str:
    """Eight hexadecimal digits that no other driver of an operation has."""
    return hashlib.blake2s(f"{context.record.id}/{context.record.turn}".encode(), digest_size=4).hexdigest()


def _has_fence(context: Context) -> bool:
    return bool(context.record.parameters["fence"])


def _reporting(context: Context) -> Callable[[Event], None]:
    """Takes the progress of a copy as that of the operation."""

    def notify(event: Event) -> None:
        if not event.data:
            context.notify(event)
            return
        done, total = event.data["rows"], event.data["total_rows"]
        context.report(done, max(total, done), "rows", str(event.subject))

    return notify
