"""The lock of a release: a Lease in its namespace, renewed while a command changes the release. Talks to the cluster.

We never judge liveness by another machine's clock. On the holder's own machine we check its process; elsewhere we wait
until the Lease has stayed unchanged for its full duration. Its time only shows whether waiting makes sense. Each holder
has a higher number, the fence, than the previous one.

A Lease alone is not safe: a suspended holder may have a write in flight after the lock was taken over. Preconditions
make the API server reject such a write: `deploy.conditional`, `deploy.fencing`.
"""

import os
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from lightragctl.core.errors import LightragctlError, LockedError, RefusedError
from lightragctl.core.hint import Command, Hint
from lightragctl.core.objects import KubernetesObject, ObjectRef
from lightragctl.core.result import Event, Notify
from lightragctl.kube.calls import CALL_S
from lightragctl.kube.labels import ABANDONED, COMMAND, MACHINE, MANAGED_BY, MANAGER
from lightragctl.kube.model import ChangedMeanwhileError, Cluster
from lightragctl.kube.objects import annotations_of, spec_of

DURATION_S = 60
"""The lease duration; client-go's 15 s suit processes in the cluster, a laptop on a bad line loses some calls."""
RENEW_S = 15.0
MARGIN_S = CALL_S + 5.0
"""We stop this long before others may take over, so that a write in flight has ended by then."""
_WATCH_S = 2.0
_TRIES = 5
_JOIN_S = MARGIN_S
"""Time for a renewal in flight to end."""
_API = "coordination.k8s.io/v1"
_TIME = "%Y-%m-%dT%H:%M:%S.%fZ"


@dataclass(frozen=True)
class LockHolder:
    """The process that holds a release's lock, and the clocks of its machine.

    Attributes:
        who: `user@host`.
        pid: of this process.
        run: a unique name of this run.
        machine: identifies the process table of `pid`; empty if unknown.
        now: the time, in UTC.
        alive: whether a process of this machine is alive.
        clock_s: monotonic seconds that include suspended time.
        pause: sleeps for some seconds.
    """

    who: str
    pid: int
    run: str
    machine: str
    now: Callable[[], datetime]
    alive: Callable[[int], bool]
    clock_s: Callable[[], float]
    pause: Callable[[float], object]

    @property
    def identity(self) -> str:
        """The Lease's `holderIdentity`."""
        return f"{self.who}/{self.pid}/{self.run}"


@dataclass(frozen=True)
class LeaseRecord:
    """The content of a Lease; times are by the holder's clock."""

    holder: str
    command: str
    machine: str
    acquired: datetime
    renewed: datetime
    fence: int

    def __str__(self) -> str:
        return f"{self.who} (pid {self.pid}, {self.command or 'a command'})"

    @property
    def who(self) -> str:
        """`user@host`."""
        return self.holder.split("/")[0]

    @property
    def pid(self) -> int:
        """The holder's process; 0 if unknown."""
        parts = self.holder.split("/")
        return int(parts[1]) if len(parts) > 1 and parts[1].isdecimal() else 0


class LockState(StrEnum):
    """Whether a lock may be acquired."""

    FREE = "free"
    DEAD = "dead"
    FRESH = "fresh"
    OLD = "old"


def lock_state(held: LeaseRecord, by: LockHolder) -> LockState:
    """The state of the lock. `OLD`: only observing the Lease shows whether its holder is alive."""
    if not held.holder:
        return LockState.FREE
    if held.machine and held.machine == by.machine and not by.alive(held.pid):
        return LockState.DEAD
    fresh = held.renewed + timedelta(seconds=DURATION_S) > by.now()
    return LockState.FRESH if fresh else LockState.OLD


def lease_ref(release: str, namespace: str) -> ObjectRef:
    """The Lease of a release."""
    return ObjectRef(_API, "Lease", namespace, f"{release}-lightragctl")


def read_lease(thing: KubernetesObject) -> LeaseRecord:
    """The content of the Lease; missing fields are empty, missing times the earliest."""
    spec, noted = spec_of(thing), annotations_of(thing)
    return LeaseRecord(
        holder=str(spec.get("holderIdentity") or ""),
        command=str(noted.get(COMMAND, "")),
        machine=str(noted.get(MACHINE, "")),
        acquired=_time(spec.get("acquireTime")),
        renewed=_time(spec.get("renewTime")),
        fence=int(spec.get("leaseTransitions") or 0),
    )


def _time(text: object) -> datetime:
    try:
        return datetime.strptime(str(text), _TIME).replace(tzinfo=UTC)
    except ValueError:
        return datetime.min.replace(tzinfo=UTC)


def since_boot_s() -> float:
    """A clock that includes suspended time, where available: a holder that was suspended has lost its lock."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


class ReleaseLock:
    """The lock of one release, for one command. A context manager; call `take` once the namespace exists.

    Args:
        cluster: where the release is.
        identity: of the Lease.
        holder: this process.
        command: for messages, such as `up`.
        notify: gets events while an abandoned lock is observed.
    """

    def __init__(self, cluster: Cluster, identity: ObjectRef, holder: LockHolder, command: str, notify: Notify) -> None:
        self._cluster, self._identity, self._holder = cluster, identity, holder
        self._command, self._notify = command, notify
        self._lease: dict[str, Any] = {}
        self._renewed_s = 0.0
        self._lost = ""
        self._trouble = ""
        self._ending = threading.Event()
        self._renewing = threading.Lock()
        self._thread: threading.Thread | None = None
        self._is_abandoned = False

    @property
    def was_abandoned(self) -> bool:
        """Whether the previous holder may be alive without knowing that it lost the lock; until `fenced` is called."""
        return self._is_abandoned

    def fenced(self) -> None:
        """State that writes of the previous holder are rejected from now on."""
        self._is_abandoned = False

    @property
    def fence(self) -> int:
        """The fence of this holder; 0 before `take`."""
        return read_lease(self._lease).fence if self._lease else 0

    def __enter__(self) -> "ReleaseLock":
        return self

    def __exit__(self, *error: object) -> None:
        """Release the lock. An error is ignored: the lock expires."""
        if self._stop_renewing() and not self._lost:
            with suppress(LightragctlError):
                self._cluster.replace(self._wanted(self._lease, holder_identity=""))

    def take(self, after: int = 0) -> None:
        """Acquire the lock, if it is not held already.

        Args:
            after: the highest known fence, in case the Lease was deleted.

        Raises:
            LockedError: another process holds it and may be alive.
        """
        if self._thread is not None:
            return
        for _ in range(_TRIES):
            try:
                begin_s = self._holder.clock_s()
                self._lease = self._take_once(after)
            except ChangedMeanwhileError:
                continue
            self._begin(begin_s)
            return
        raise LockedError(f"several processes compete for {self._name}", "retry")

    def hand_over(self, to: str) -> int:
        """Pass the lock to the process that will call `take_over(to)`; returns the fence, higher than ours.

        This process must not write any more. If no process takes over, the lock expires as that of a dead holder.

        Args:
            to: a unique name.

        Raises:
            LockedError: the lock was lost.
        """
        self.check()
        self._stop_renewing()
        self._lost = f"now held by {to}"
        try:
            self._lease = self._cluster.replace(self._wanted(self._lease, to))
        except ChangedMeanwhileError as error:
            raise LockedError(f"{self._name} was taken over before it was handed over", _WHO) from error
        return self.fence

    def take_over(self, expected: str) -> None:
        """Acquire the lock that was handed over to the name `expected`.

        Raises:
            LockedError: it was not handed over, or another process holds it.
        """
        begin_s = self._holder.clock_s()
        there = self._cluster.get(self._identity)
        if there is None or read_lease(there).holder not in (expected, self._holder.identity):
            raise LockedError(f"{self._name} was not handed over to {expected}", _WHO)
        try:
            self._lease = self._cluster.replace(self._wanted(there, self._holder.identity))
        except ChangedMeanwhileError as error:
            raise LockedError(f"{self._name} was acquired by another process", _WHO) from error
        self._begin(begin_s)

    def _begin(self, renewed_s: float) -> None:
        self._renewed_s = renewed_s
        self._thread = threading.Thread(target=self._keep, name="lease", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Check that the lock is still ours; reads the Lease. To be called before each write.

        Raises:
            LockedError: it was taken over, or could not be renewed.
        """
        if not self._lost and (self._thread is None or self._ending.is_set()):
            return
        if not self._lost:
            self._read_holder()
        if self._lost:
            raise LockedError(f"{self._name} was lost: {self._lost}; nothing more was changed", _WHO)
        if self._silent_s > DURATION_S - MARGIN_S:
            self.renew()  # not taken over while we did not renew it
        if self._silent_s > DURATION_S - MARGIN_S:
            reason = f"the lock could not be renewed for {self._silent_s:.0f} s: {self._trouble or 'machine suspended'}"
            raise LockedError(f"{reason}; nothing more was changed", "retry")

    @property
    def _silent_s(self) -> float:
        return self._holder.clock_s() - self._renewed_s

    def stop(self) -> None:
        """Stop renewing and keep the Lease, which is deleted with its namespace."""
        self._stop_renewing()

    def forget(self) -> None:
        """Delete the Lease: the release is gone."""
        if self._stop_renewing():
            self._cluster.delete(self._identity, self._lease["metadata"]["uid"])

    @property
    def _name(self) -> str:
        return f"the lock of release '{self._identity.name.removesuffix('-lightragctl')}'"

    def _stop_renewing(self) -> bool:
        """Stop the renewals; returns whether the lock was held."""
        if self._thread is None or self._ending.is_set():
            return False
        self._ending.set()
        self._thread.join(_JOIN_S)
        return True

    def _take_once(self, after: int) -> dict[str, Any]:
        there = self._cluster.get(self._identity)
        if there is None:
            return self._cluster.create(self._wanted({"spec": {"leaseTransitions": after}}, self._holder.identity))
        if read_lease(there).holder == self._holder.identity:  # an earlier attempt succeeded, but its response was lost
            return self._cluster.replace(self._wanted(there, self._holder.identity))
        state = lock_state(read_lease(there), self._holder)
        self._is_abandoned = state is LockState.OLD or ABANDONED in annotations_of(there)
        if state is LockState.FRESH:
            raise self._refusal(read_lease(there))
        if state is LockState.OLD:
            self._watch_abandoned(there)
        return self._cluster.replace(self._wanted(there, self._holder.identity))

    def _watch_abandoned(self, there: KubernetesObject) -> None:
        """Wait until the Lease has stayed unchanged for its duration.

        Raises:
            LockedError: it was renewed.
        """
        begin_s = self._holder.clock_s()
        held = read_lease(there)
        while (waited_s := self._holder.clock_s() - begin_s) < DURATION_S:
            message = f"not renewed by {held.who}; taken over in {DURATION_S - waited_s:.0f} s unless it is renewed"
            self._notify(Event(message, self._name, passing=True))
            self._holder.pause(_WATCH_S)
            now = self._cluster.get(self._identity)
            if now is None or now["metadata"]["resourceVersion"] != there["metadata"]["resourceVersion"]:
                if now is not None and read_lease(now).holder:
                    raise self._refusal(read_lease(now))
                raise ChangedMeanwhileError("the lock was released")

    def _refusal(self, held: LeaseRecord) -> LockedError:
        age_s = (self._holder.now() - held.renewed).total_seconds()
        since = held.acquired.strftime("%Y-%m-%d %H:%M:%S")
        message = f"{self._name} is held by {held} since {since} UTC, renewed {max(0.0, age_s):.0f} s ago"
        return LockedError(message, Hint("wait for it to finish; if it is dead: ", Command("unlock")))

    def _wanted(self, there: Mapping[str, Any], holder_identity: str) -> dict[str, Any]:
        """The Lease as this holder writes it; an empty identity releases the lock."""
        before = there.get("spec") or {}
        new = holder_identity and before.get("holderIdentity") != holder_identity
        now = self._holder.now().strftime(_TIME)
        spec = {
            **({"holderIdentity": holder_identity} if holder_identity else {}),
            "leaseDurationSeconds": DURATION_S,
            "acquireTime": now if new else before.get("acquireTime", now),
            "renewTime": now,
            "leaseTransitions": int(before.get("leaseTransitions") or 0) + (1 if new else 0),
        }
        metadata = {
            "name": self._identity.name,
            "namespace": self._identity.namespace,
            "labels": {MANAGED_BY: MANAGER},
            "annotations": {
                COMMAND: self._command,
                MACHINE: self._holder.machine if holder_identity == self._holder.identity else "",
                **({ABANDONED: "true"} if self._is_abandoned else {}),
            },
            **({"resourceVersion": there["metadata"]["resourceVersion"]} if "metadata" in there else {}),
        }
        return {"apiVersion": _API, "kind": "Lease", "metadata": metadata, "spec": spec}

    def _keep(self) -> None:
        """Renew until the command ends or the lock is lost."""
        while not self._ending.wait(_WATCH_S if self._trouble else RENEW_S) and not self._lost:
            self.renew()

    def renew(self) -> None:
        """Renew once; `check` reports errors."""
        with self._renewing:
            self._renew()

    def _renew(self) -> None:
        begin_s = self._holder.clock_s()
        try:
            self._lease = self._cluster.replace(self._wanted(self._lease, self._holder.identity))
            self._renewed_s, self._trouble = begin_s, ""
        except ChangedMeanwhileError:
            there = self._read_holder()
            if there is not None:  # its labels were changed, or the response to a renewal was lost
                self._lease, self._trouble = there, "the Lease was changed"
        except LightragctlError as error:
            self._trouble = error.message

    def _read_holder(self) -> dict[str, Any] | None:
        """The Lease if it is ours; None if it was taken over, or cannot be read now."""
        try:
            there = self._cluster.get(self._identity)
        except LightragctlError as error:
            self._trouble = error.message
            return None
        held = read_lease(there) if there else None
        if there is not None and held is not None and held.holder == self._holder.identity:
            return there
        self._lost = f"now held by {held.who}" if held and held.holder else "it was released"
        return None


_WHO = Hint("see who holds it: ", Command("unlock"))


def unlock(cluster: Cluster, identity: ObjectRef, by: LockHolder, even_if_fresh: bool) -> LeaseRecord | None:
    """Release the lock of another process, which stops before its next write; None if it was not held.

    Raises:
        RefusedError: it was renewed recently, and `even_if_fresh` is not set.
        ChangedMeanwhileError: it was renewed at the same time.
    """
    there = cluster.get(identity)
    held = read_lease(there) if there else None
    if there is None or held is None or not held.holder:
        return None
    if lock_state(held, by) is LockState.FRESH and not even_if_fresh:
        age_s = (by.now() - held.renewed).total_seconds()
        message = f"{held} renewed the lock {age_s:.0f} s ago and is probably running"
        raise RefusedError(message, Hint("if you know that it is dead: ", Command("unlock", "--yes")))
    spec = {key: value for key, value in there["spec"].items() if key != "holderIdentity"}
    noted = {**annotations_of(there), ABANDONED: "true"}
    metadata = {**there["metadata"], "annotations": noted}
    cluster.replace({**there, "metadata": metadata, "spec": {**spec, "leaseTransitions": held.fence + 1}})
    return held


def this_process_lives(pid: int) -> bool:
    """Whether a process of this machine is alive."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
