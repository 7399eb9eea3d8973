"""The lock of a release: a Lease in its namespace, renewed while a command changes the release. Talks to the cluster.

Whether a holder is dead is never told by another machine's clock. On the machine where it ran, its process is asked
for; elsewhere the Lease must stand unchanged for its whole duration while we look on. The time in the Lease only says
whether looking on is worth while. Each holder has a higher number, the fence, than the one before.

The Lease orders those who behave; a holder that stood still may have a write on its way when the lock is another's.
Such a write is refused by what it says of the object that it was decided on: `deploy.conditional`, `deploy.fencing`.
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
from lightragctl.core.objects import KubernetesObject, ObjectRef
from lightragctl.core.result import Event, Notify
from lightragctl.kube.calls import CALL_S
from lightragctl.kube.labels import ABANDONED, COMMAND, MACHINE, MANAGED_BY, MANAGER
from lightragctl.kube.model import ChangedMeanwhileError, Cluster
from lightragctl.kube.objects import annotations_of, spec_of

DURATION_S = 60
"""A laptop on a bad line loses some calls; client-go's 15 s are for processes inside the cluster."""
RENEW_S = 15.0
MARGIN_S = CALL_S + 5.0
"""We stop so long before others may take over: a write that is under way has been answered or given up by then."""
_WATCH_S = 2.0
_TRIES = 5
_JOIN_S = MARGIN_S
"""A renewal that is under way has been answered or given up by then."""
_API = "coordination.k8s.io/v1"
_TIME = "%Y-%m-%dT%H:%M:%S.%fZ"


@dataclass(frozen=True)
class LockHolder:
    """Who changes a release and takes its lock for that, and the clocks of this machine.

    Attributes:
        who: `user@host`.
        pid: of this process.
        run: a word that no other run has.
        machine: marks the process table that `pid` is of; empty when it cannot be told.
        now: the time, in UTC.
        alive: whether a process of this machine lives.
        clock_s: seconds that only ever grow, and go on while the machine sleeps.
        pause: waits for some seconds.
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
        """What a Lease names it by, as `holderIdentity`."""
        return f"{self.who}/{self.pid}/{self.run}"


@dataclass(frozen=True)
class LeaseRecord:
    """What a Lease says. Times as it has them, by the holder's clock."""

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
        """Of the holder's process; 0 when the name has none."""
        parts = self.holder.split("/")
        return int(parts[1]) if len(parts) > 1 and parts[1].isdecimal() else 0


class LockState(StrEnum):
    """Whether a Lease may be taken."""

    FREE = "free"
    DEAD = "dead"
    FRESH = "fresh"
    OLD = "old"


def lock_state(held: LeaseRecord, by: LockHolder) -> LockState:
    """Whether the Lease is free; old means that only looking on can tell."""
    if not held.holder:
        return LockState.FREE
    if held.machine and held.machine == by.machine and not by.alive(held.pid):
        return LockState.DEAD
    fresh = held.renewed + timedelta(seconds=DURATION_S) > by.now()
    return LockState.FRESH if fresh else LockState.OLD


def lease_ref(release: str, namespace: str) -> ObjectRef:
    """Where the Lease of a release is kept."""
    return ObjectRef(_API, "Lease", namespace, f"{release}-lightragctl")


def read_lease(thing: KubernetesObject) -> LeaseRecord:
    """What the Lease says; what it lacks is empty, or long ago."""
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
    """A clock that goes on while the machine sleeps, where there is one: a holder that slept has lost its lock."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


class ReleaseLock:
    """The lock of one release, for one command. Use it as a context manager; `take` when the namespace is there.

    Args:
        cluster: where the release is.
        identity: of the Lease.
        holder: who takes it.
        command: what for, in a word: `up`.
        notify: told while an abandoned lock is looked at.
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
        """Whether the holder before may live, and not know yet that it lost the lock; so until `fenced` is said."""
        return self._is_abandoned

    def fenced(self) -> None:
        """Note that whatever the holder before may still send is refused by now."""
        self._is_abandoned = False

    @property
    def fence(self) -> int:
        """The number of this holder; 0 before `take`."""
        return read_lease(self._lease).fence if self._lease else 0

    def __enter__(self) -> "ReleaseLock":
        return self

    def __exit__(self, *error: object) -> None:
        """Give the lock back. When that fails it ends by itself, so it is no reason to fail."""
        if self._stop_renewing() and not self._lost:
            with suppress(LightragctlError):
                self._cluster.replace(self._wanted(self._lease, holder_identity=""))

    def take(self, after: int = 0) -> None:
        """Take the lock; nothing when it is ours already.

        Args:
            after: the highest fence that is known otherwise, for a Lease that somebody has deleted.

        Raises:
            LockedError: somebody else holds it, and may be alive.
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
        raise LockedError(f"several lightragctl want {self._name} at once", "run the command again")

    def hand_over(self, to: str) -> int:
        """Give the lock to the process that will call `take_over(to)`; the fence that it gets is higher than this one.

        Nothing more may be written under this lock. When nobody comes, the lock ends as one of a dead holder does.

        Args:
            to: a name that nobody else has.

        Raises:
            LockedError: the lock is not ours any more.
        """
        self.check()
        self._stop_renewing()
        self._lost = f"{to} holds it now"
        try:
            self._lease = self._cluster.replace(self._wanted(self._lease, to))
        except ChangedMeanwhileError as error:
            raise LockedError(f"{self._name} was taken over before it was handed over", _WHO) from error
        return self.fence

    def take_over(self, expected: str) -> None:
        """Take the lock that was handed over to the name `expected`.

        Raises:
            LockedError: it was not, or somebody else has it by now.
        """
        begin_s = self._holder.clock_s()
        there = self._cluster.get(self._identity)
        if there is None or read_lease(there).holder not in (expected, self._holder.identity):
            raise LockedError(f"{self._name} was not handed over to {expected}", _WHO)
        try:
            self._lease = self._cluster.replace(self._wanted(there, self._holder.identity))
        except ChangedMeanwhileError as error:
            raise LockedError(f"{self._name} was taken by somebody else", _WHO) from error
        self._begin(begin_s)

    def _begin(self, renewed_s: float) -> None:
        self._renewed_s = renewed_s
        self._thread = threading.Thread(target=self._keep, name="lease", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Stop when the lock is no longer ours; to be called before each write, as the Lease is read each time.

        Raises:
            LockedError: it was taken over, or could not be renewed.
        """
        if not self._lost and (self._thread is None or self._ending.is_set()):
            return
        if not self._lost:
            self._read_holder()
        if self._lost:
            raise LockedError(f"{self._name} was taken over: {self._lost}; nothing more was changed", _WHO)
        if self._silent_s > DURATION_S - MARGIN_S:
            self.renew()  # nobody has taken it while we were silent: so it may go on
        if self._silent_s > DURATION_S - MARGIN_S:
            reason = (
                f"the lock could not be renewed for {self._silent_s:.0f} s: {self._trouble or 'this machine slept'}"
            )
            raise LockedError(f"{reason}; nothing more was changed", "run the command again")

    @property
    def _silent_s(self) -> float:
        return self._holder.clock_s() - self._renewed_s

    def stop(self) -> None:
        """Renew no more and leave the Lease alone: it goes with its namespace."""
        self._stop_renewing()

    def forget(self) -> None:
        """Delete the Lease: what it stands for is gone."""
        if self._stop_renewing():
            self._cluster.delete(self._identity, self._lease["metadata"]["uid"])

    @property
    def _name(self) -> str:
        return f"the lock of release '{self._identity.name.removesuffix('-lightragctl')}'"

    def _stop_renewing(self) -> bool:
        """Whether it was ours until now."""
        if self._thread is None or self._ending.is_set():
            return False
        self._ending.set()
        self._thread.join(_JOIN_S)
        return True

    def _take_once(self, after: int) -> dict[str, Any]:
        there = self._cluster.get(self._identity)
        if there is None:
            return self._cluster.create(self._wanted({"spec": {"leaseTransitions": after}}, self._holder.identity))
        if read_lease(there).holder == self._holder.identity:  # an earlier try took effect, and its answer was lost
            return self._cluster.replace(self._wanted(there, self._holder.identity))
        state = lock_state(read_lease(there), self._holder)
        self._is_abandoned = state is LockState.OLD or ABANDONED in annotations_of(there)
        if state is LockState.FRESH:
            raise self._refusal(read_lease(there))
        if state is LockState.OLD:
            self._watch_abandoned(there)
        return self._cluster.replace(self._wanted(there, self._holder.identity))

    def _watch_abandoned(self, there: KubernetesObject) -> None:
        """Until the Lease has stood unchanged for its duration.

        Raises:
            LockedError: it changed.
        """
        begin_s = self._holder.clock_s()
        held = read_lease(there)
        while (waited_s := self._holder.clock_s() - begin_s) < DURATION_S:
            left = f"looks abandoned by {held.who}; it is ours in {DURATION_S - waited_s:.0f} s unless it is renewed"
            self._notify(Event(left, self._name, passing=True))
            self._holder.pause(_WATCH_S)
            now = self._cluster.get(self._identity)
            if now is None or now["metadata"]["resourceVersion"] != there["metadata"]["resourceVersion"]:
                if now is not None and read_lease(now).holder:
                    raise self._refusal(read_lease(now))
                raise ChangedMeanwhileError("the lock was given back")

    def _refusal(self, held: LeaseRecord) -> LockedError:
        age_s = (self._holder.now() - held.renewed).total_seconds()
        since = held.acquired.strftime("%Y-%m-%d %H:%M:%S")
        message = f"{held} has held {self._name} since {since} UTC and renewed it {max(0.0, age_s):.0f} s ago"
        return LockedError(message, f"wait until it is done, or if it is dead: {_WHO_COMMAND}")

    def _wanted(self, there: Mapping[str, Any], holder_identity: str) -> dict[str, Any]:
        """The Lease as this holder writes it; an empty identity gives it back."""
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
        """Renew once; what went wrong is told by `check`."""
        with self._renewing:
            self._renew()

    def _renew(self) -> None:
        begin_s = self._holder.clock_s()
        try:
            self._lease = self._cluster.replace(self._wanted(self._lease, self._holder.identity))
            self._renewed_s, self._trouble = begin_s, ""
        except ChangedMeanwhileError:
            there = self._read_holder()
            if there is not None:  # only its labels were changed, or the answer to a renewal was lost
                self._lease, self._trouble = there, "the Lease was changed"
        except LightragctlError as error:
            self._trouble = error.message

    def _read_holder(self) -> dict[str, Any] | None:
        """The Lease as long as it is ours; None when it is lost, or cannot be read just now."""
        try:
            there = self._cluster.get(self._identity)
        except LightragctlError as error:
            self._trouble = error.message
            return None
        held = read_lease(there) if there else None
        if there is not None and held is not None and held.holder == self._holder.identity:
            return there
        self._lost = f"{held.who if held and held.holder else 'nobody'} holds it now"
        return None


_WHO_COMMAND = "lightragctl unlock"
_WHO = f"see who holds it: {_WHO_COMMAND}"


def unlock(cluster: Cluster, identity: ObjectRef, by: LockHolder, even_if_fresh: bool) -> LeaseRecord | None:
    """Take the lock away from its holder, who stops before its next write; what was held, None when nobody did.

    Raises:
        RefusedError: it was renewed just now, and `even_if_fresh` is not set.
        ChangedMeanwhileError: it was renewed at this very moment.
    """
    there = cluster.get(identity)
    held = read_lease(there) if there else None
    if there is None or held is None or not held.holder:
        return None
    if lock_state(held, by) is LockState.FRESH and not even_if_fresh:
        age_s = (by.now() - held.renewed).total_seconds()
        message = f"{held} renewed the lock {age_s:.0f} s ago"
        hint = f"if you know that it is dead: {_WHO_COMMAND} --yes"
        raise RefusedError(f"{message}, so it is likely at work", hint)
    spec = {key: value for key, value in there["spec"].items() if key != "holderIdentity"}
    noted = {**annotations_of(there), ABANDONED: "true"}
    metadata = {**there["metadata"], "annotations": noted}
    cluster.replace({**there, "metadata": metadata, "spec": {**spec, "leaseTransitions": held.fence + 1}})
    return held


def this_process_lives(pid: int) -> bool:
    """Whether a process of this machine lives."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
