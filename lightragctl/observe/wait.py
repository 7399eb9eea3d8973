"""Waits until components are ready, and gives up as soon as waiting is pointless, with the cause."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from lightragctl.core.errors import LightragctlError, WaitExpired
from lightragctl.core.result import Event, EventType, Notify
from lightragctl.kube.scope import Scope
from lightragctl.observe.causes import Cause
from lightragctl.observe.kstatus import Status
from lightragctl.observe.snapshot import Snapshot, first_line, read_causes, read_snapshot, resource_status

POLL_S = 0.5
CAUSES_EVERY_S = 2.0
"""Events, claims and logs are read only so often: they cost four calls for each component that waits."""


class NotReadyError(LightragctlError):
    """A component will not become ready by waiting; the message holds the cause."""

    code = "not-ready"


@dataclass(frozen=True)
class Deadline:
    """Until when to wait, on the monotonic clock, and whom to tell meanwhile; `timeout_s` is the whole of it."""

    until_s: float
    notify: Notify
    timeout_s: float = 0.0

    @classmethod
    def of(cls, timeout_s: float, notify: Notify) -> "Deadline":
        """A deadline `timeout_s` from now."""
        return cls(time.monotonic() + timeout_s, notify, timeout_s)


@dataclass
class WaitState:
    """What has been seen of a component that is waited for.

    Attributes:
        missing: what it lacks, by its own state.
        causes: what holds it, the most telling first.
        first_seen_s: when each cause was first seen, by subject and code.
        look_at_s: when to look for causes next.
    """

    look_at_s: float
    missing: str = ""
    causes: Sequence[Cause] = ()
    first_seen_s: dict[tuple[str, str], float] = field(default_factory=dict)

    @property
    def reason(self) -> str:
        """Why it is not ready, in one line."""
        return first_line(self.causes[0].message) if self.causes else self.missing


def lasting_cause(watched: WaitState, causes: Sequence[Cause], now_s: float) -> Cause | None:
    """The first cause that has lasted longer than its grace; notes in `watched` what is seen."""
    keys = {(cause.subject, cause.code) for cause in causes}
    watched.first_seen_s = {key: watched.first_seen_s.get(key, now_s) for key in keys}
    watched.causes = causes
    return next((one for one in causes if now_s - watched.first_seen_s[one.subject, one.code] >= one.grace_s), None)


def wait_ready(
    scope: Scope, components: Sequence[str], deadline: Deadline, autoscaled_nodes: Sequence[Mapping[str, str]] = ()
) -> None:
    """Wait until each component's workload is as wanted; for nodes of the labels `autoscaled_nodes` until the deadline.

    Raises:
        NotReadyError: waiting any longer is pointless.
        WaitExpired: deadline ended first; says what held each component last.
    """
    begin = time.monotonic()
    waiting = {name: WaitState(begin) for name in components}
    while True:
        snapshot = read_snapshot(scope, autoscaled_nodes)
        for name in _ready(snapshot, waiting):
            del waiting[name]
            took_s = round(time.monotonic() - begin, 1)
            deadline.notify(Event(f"ready after {took_s:.1f} s", name, type=EventType.READY, data={"after_s": took_s}))
        if not waiting:
            return
        now = time.monotonic()
        for name, watched in waiting.items():
            _look(scope, snapshot, name, watched, now)
        if now >= deadline.until_s:
            for name, watched in waiting.items():
                watched.causes = read_causes(scope, snapshot, name)
            raise _expired(waiting, deadline.timeout_s or now - begin)
        reasons = "; ".join(f"{name}: {watched.reason}" for name, watched in waiting.items())
        deadline.notify(Event(reasons, "waiting", passing=True))
        time.sleep(POLL_S)


def _ready(snapshot: Snapshot, waiting: Mapping[str, WaitState]) -> list[str]:
    """The components that are ready; notes of the others what they lack."""
    ready = []
    for name, watched in waiting.items():
        seen = resource_status(snapshot, name)
        watched.missing = seen.message
        if seen.status is Status.CURRENT:
            ready.append(name)
    return ready


def _look(scope: Scope, snapshot: Snapshot, name: str, watched: WaitState, now_s: float) -> None:
    if now_s < watched.look_at_s:
        return
    watched.look_at_s = now_s + CAUSES_EVERY_S
    if cause := lasting_cause(watched, read_causes(scope, snapshot, name), now_s):
        raise NotReadyError(f"{name} does not become ready: {cause}", cause.hint)


def _expired(waiting: Mapping[str, WaitState], waited_s: float) -> WaitExpired:
    lines = []
    hint = "see: lightragctl status; wait longer with --timeout SECONDS"
    for name, watched in waiting.items():
        cause = watched.causes[0] if watched.causes else None
        lines.append(f"    {name}: {cause or watched.missing}")
        hint = cause.hint if cause else hint
    return WaitExpired(f"not ready after {waited_s:.0f} s:\n" + "\n".join(lines), hint)


def wait_until(missing: Callable[[], str], deadline: Deadline) -> None:
    """Wait until `missing` has nothing to say.

    Raises:
        WaitExpired: it still says what is missing when deadline ends.
    """
    while reason := missing():
        if time.monotonic() >= deadline.until_s:
            raise WaitExpired(f"still {reason}", "see: lightragctl status; wait longer with --timeout SECONDS")
        deadline.notify(Event(reason, "waiting", passing=True))
        time.sleep(POLL_S)
