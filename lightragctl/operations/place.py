"""Where a release's operations are kept and driven: its store and its locks, on either runtime.

Two locks: that of the release orders the start of an operation with `up`, `down` and `rollback`, which refuse while the
record of an operation is open; that of the operation says which process drives it. So a step may itself take the lock
of the release, and the driver is followed by another one as soon as its own lock has ended.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from lightragctl.core.errors import LightragctlError, LockedError
from lightragctl.core.hint import Command, Hint
from lightragctl.core.objects import ObjectRef
from lightragctl.core.result import Notify
from lightragctl.core.runtime import ReleaseRuntime
from lightragctl.deploy.fencing import take_lock
from lightragctl.deploy.rollout import locked
from lightragctl.deploy.rollout_plan import read_inventory
from lightragctl.deploy.runtime import KubernetesRuntime
from lightragctl.kube.lease import LockHolder, LockState, ReleaseLock, lease_ref, lock_state, read_lease
from lightragctl.kube.scope import Scope
from lightragctl.local.files import ReleaseFiles, file_lock
from lightragctl.local.runtime import LocalRuntime
from lightragctl.operations.cluster_store import ConfigMapStore, object_name
from lightragctl.operations.store import FileStore, OperationStore

_PROBES = 3
_PROBE_S = 0.1


@dataclass(frozen=True)
class Guard:
    """The lock of a driver.

    Attributes:
        check: raises LockedError when the lock was lost.
        fence: higher than that of every driver before.
        forget: removes the lock, of an operation that is closed.
    """

    check: Callable[[], None]
    fence: int
    forget: Callable[[], None]


class Place:
    """The operations of one release.

    Attributes:
        release: its name.
        store: the records.
        scope: of the release on a cluster; None on this machine.
    """

    def __init__(self, release: str, holder: LockHolder, where: Scope | ReleaseFiles) -> None:
        self.release, self._holder, self._where = release, holder, where
        self.scope = where if isinstance(where, Scope) else None
        self.store: OperationStore = (
            ConfigMapStore(where.cluster, where.namespace, release)
            if isinstance(where, Scope)
            else FileStore(where.operations)
        )

    def reserve(self, command: str, notify: Notify) -> AbstractContextManager[object]:
        """Hold the lock of the release, to start an operation.

        Args:
            command: what for.
            notify: told while an abandoned lock is waited for.

        Raises:
            LockedError: another process changes the release.
        """
        if isinstance(self._where, Scope):
            return _release_lock(self._where, command, notify)
        return self._where.lock()

    def hold_driver(self, operation_id: str, after: int, notify: Notify) -> AbstractContextManager[Guard]:
        """Hold the lock of an operation, to drive it.

        Args:
            operation_id: of the operation.
            after: the highest fence that its record knows.
            notify: told while an abandoned lock is waited for: at most 60 s on a cluster.

        Raises:
            LockedError: another process drives it, and may be alive.
        """
        if isinstance(self._where, Scope):
            return _lease(self._where, operation_id, after, notify)
        path = self._where.operations / f"{operation_id}.lock"
        for _ in range(_PROBES):  # `driver` of another process holds it for an instant
            with file_lock(path) as holder:
                if holder is None:
                    break
            self._holder.pause(_PROBE_S)
        return _file_lock(path, operation_id, after)

    def driver(self, operation_id: str) -> str:
        """Who drives the operation now; empty when no process does, as far as is visible from here."""
        if isinstance(self._where, Scope):
            found = self._where.cluster.get(_driver_lease(self._where, operation_id))
            held = read_lease(found) if found else None
            return held.who if held and lock_state(held, self._holder) is LockState.FRESH else ""
        path = self._where.operations / f"{operation_id}.lock"
        if not path.exists():
            return ""
        with file_lock(path) as pid:
            return "" if pid is None else f"process {pid}"


def place_of(runtime: ReleaseRuntime, release: str, holder: LockHolder) -> Place:
    """The operations of a release.

    Args:
        runtime: where it runs.
        release: its name.
        holder: this process.
    """
    if isinstance(runtime, KubernetesRuntime):
        return Place(release, holder, runtime.scope)
    if isinstance(runtime, LocalRuntime):
        return Place(release, holder, runtime.files)
    raise TypeError(f"no operations are kept in a {type(runtime).__name__}")


@contextmanager
def _release_lock(scope: Scope, command: str, notify: Notify) -> Iterator[None]:
    lock, scope = locked(scope, command, notify)
    with lock:
        take_lock(scope, lock, read_inventory(scope))
        yield


def _driver_lease(scope: Scope, operation_id: str) -> ObjectRef:
    return lease_ref(object_name(scope.release, operation_id), scope.namespace)


@contextmanager
def _lease(scope: Scope, operation_id: str, after: int, notify: Notify) -> Iterator[Guard]:
    identity = _driver_lease(scope, operation_id)
    lock = ReleaseLock(scope.cluster, identity, scope.holder, f"operations run {operation_id}", notify)
    with lock:
        try:
            lock.take(after)
        except LockedError as error:
            held = read_lease(scope.cluster.get(identity) or {})
            raise _driven(operation_id, str(held)) from error
        yield Guard(lock.check, lock.fence, lock.forget)


@contextmanager
def _file_lock(path: Path, operation_id: str, after: int) -> Iterator[Guard]:
    with file_lock(path) as holder:
        if holder is not None:
            raise _driven(operation_id, f"process {holder}" if holder else "another process")
        yield Guard(lambda: None, after + 1, lambda: path.unlink(missing_ok=True))


def _driven(operation_id: str, by: str) -> LightragctlError:
    message = f"{by} drives operation {operation_id}"
    return LockedError(message, Hint("watch it: ", Command("operations status", f"{operation_id} --watch")))
