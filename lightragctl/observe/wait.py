"""Waits until components are ready; fails early, with the cause, if they cannot become ready."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from lightragctl.core.errors import LightragctlError, WaitExpired
from lightragctl.core.hint import Command, Hint
from lightragctl.core.result import Event, EventType, Notify
from lightragctl.kube.scope import Scope
from lightragctl.observe.causes import Cause
from lightragctl.observe.kstatus import Status
from lightragctl.observe.snapshot import Snapshot, first_line, read_causes, read_snapshot, resource_status

POLL_S = 0.5
_WAIT_HINT = Hint("see: ", Command("status"), "; wait longer with --timeout SECONDS")
CAUSES_EVERY_S = 2.0
"""Interval of reading events, claims and logs: four calls per waiting component."""


class NotReadyError(LightragctlError):
    """A component cannot become ready without intervention; the message has the cause."""

    code = "not-ready"


@dataclass(frozen=True)
class Deadline:
    """The end of a wait on the monotonic clock, its total `timeout_s`, and where progress is reported."""

    until_s: float
    notify: Notify
    timeout_s: float = 0.0

    @classmethod
    def of(cls, timeout_s: float, notify: Notify) -> "Deadline":
        """The deadline `timeout_s` from now."""
        return cls(time.monotonic() + timeout_s, notify, timeout_s)


@dataclass
class WaitState:
    """The state of a component while waiting.

    Attributes:
        missing: what it waits for, by its own status.
        causes: why it is not ready, most likely first.
        first_seen_s: when each cause was first seen, by subject and code.
        next_check_s: when to read the causes next.
    """

    next_check_s: float
    missing: str = ""
    causes: Sequence[Cause] = ()
    first_seen_s: dict[tuple[str, str], float] = field(default_factory=dict)

    @property
    def reason(self) -> str:
        """Why it is not ready, in one line."""
        return first_line(self.causes[0].message) if self.causes else self.missing


def lasting_cause(watched: WaitState, causes: Sequence[Cause], now_s: float) -> Cause | None:
    """The first cause that has lasted for its grace period; updates `watched`."""
    keys = {(cause.subject, cause.code) for cause in causes}
    watched.first_seen_s = {key: watched.first_seen_s.get(key, now_s) for key in keys}
    watched.causes = causes
    return next((one for one in causes if now_s - watched.first_seen_s[one.subject, one.code] >= one.grace_s), None)


def wait_ready(
    scope: Scope, components: Sequence[str], deadline: Deadline, autoscaled_nodes: Sequence[Mapping[str, str]] = ()
) -> None:
    """Wait until every component is ready; missing nodes with the labels `autoscaled_nodes` are no error.

    Raises:
        NotReadyError: a component cannot become ready.
        WaitExpired: the deadline has passed; gives the last cause of each component.
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
            _check_causes(scope, snapshot, name, watched, now)
        if now >= deadline.until_s:
            for name, watched in waiting.items():
                watched.causes = read_causes(scope, snapshot, name)
            raise _expired(waiting, deadline.timeout_s or now - begin)
        reasons = "; ".join(f"{name}: {watched.reason}" for name, watched in waiting.items())
        deadline.notify(Event(reasons, "waiting", passing=True))
        time.sleep(POLL_S)


def _ready(snapshot: Snapshot, waiting: Mapping[str, WaitState]) -> list[str]:
    """The components that are ready; updates `missing` of the others."""
    ready = []
    for name, watched in waiting.items():
        seen = resource_status(snapshot, name)
        watched.missing = seen.message
        if seen.status is Status.CURRENT:
            ready.append(name)
    return ready


def _check_causes(scope: Scope, snapshot: Snapshot, name: str, watched: WaitState, now_s: float) -> None:
    if now_s < watched.next_check_s:
        return
    watched.next_check_s = now_s + CAUSES_EVERY_S
    if cause := lasting_cause(watched, read_causes(scope, snapshot, name), now_s):
        raise NotReadyError(f"{name} does not become ready: {cause}", cause.hint)


def _expired(waiting: Mapping[str, WaitState], waited_s: float) -> WaitExpired:
    lines = []
    hint: str = _WAIT_HINT
    for name, watched in waiting.items():
        cause = watched.causes[0] if watched.causes else None
        lines.append(f"    {name}: {cause or watched.missing}")
        hint = cause.hint if cause else hint
    return WaitExpired(f"not ready after {waited_s:.0f} s:\n" + "\n".join(lines), hint)


def wait_until(missing: Callable[[], str], deadline: Deadline) -> None:
    """Wait until `missing` returns an empty string.

    Raises:
        WaitExpired: the deadline has passed; has the last text of `missing`.
    """
    while reason := missing():
        if time.monotonic() >= deadline.until_s:
            raise WaitExpired(f"timed out: {reason}", _WAIT_HINT)
        deadline.notify(Event(reason, "waiting", passing=True))
        time.sleep(POLL_S)
