"""Waits until components are ready, and gives up as soon as waiting is pointless, with the cause."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from lightragctl.core.errors import LightragctlError, WaitExpired
from lightragctl.core.result import Event, EventType, Notify
from lightragctl.kube.scope import Scope
from lightragctl.observe.causes import Cause
from lightragctl.observe.kstatus import Progress
from lightragctl.observe.snapshot import View, first_line, progress, read_causes, read_view

POLL_S = 0.5
CAUSES_EVERY_S = 2.0
"""Events, claims and logs are read only so often: they cost four calls for each component that waits."""


class NotReadyError(LightragctlError):
    """A component will not become ready by waiting; the message holds the cause."""

    code = "not-ready"


@dataclass(frozen=True)
class Patience:
    """Until when to wait, on the monotonic clock, and whom to tell meanwhile; `timeout_s` is the whole of it."""

    until_s: float
    notify: Notify
    timeout_s: float = 0.0

    @classmethod
    def of(cls, timeout_s: float, notify: Notify) -> "Patience":
        """Patience that ends `timeout_s` from now."""
        return cls(time.monotonic() + timeout_s, notify, timeout_s)


@dataclass
class Watched:
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


def hopeless(watched: Watched, causes: Sequence[Cause], now_s: float) -> Cause | None:
    """The first cause that has lasted longer than its grace; notes in `watched` what is seen."""
    keys = {(cause.subject, cause.code) for cause in causes}
    watched.first_seen_s = {key: watched.first_seen_s.get(key, now_s) for key in keys}
    watched.causes = causes
    return next((one for one in causes if now_s - watched.first_seen_s[one.subject, one.code] >= one.grace_s), None)


def wait_components(
    scope: Scope, components: Sequence[str], patience: Patience, growing: Sequence[Mapping[str, str]] = ()
) -> None:
    """Wait until each component's workload is as wanted; for nodes of the labels `growing` as long as patience lasts.

    Raises:
        NotReadyError: waiting any longer is pointless.
        WaitExpired: patience ended first; says what held each component last.
    """
    begin = time.monotonic()
    waiting = {name: Watched(begin) for name in components}
    while True:
        view = read_view(scope, growing)
        for name in _ready(view, waiting):
            del waiting[name]
            took_s = round(time.monotonic() - begin, 1)
            patience.notify(Event(f"ready after {took_s:.1f} s", name, type=EventType.READY, data={"after_s": took_s}))
        if not waiting:
            return
        now = time.monotonic()
        for name, watched in waiting.items():
            _look(scope, view, name, watched, now)
        if now >= patience.until_s:
            for name, watched in waiting.items():
                watched.causes = read_causes(scope, view, name)
            raise _expired(waiting, patience.timeout_s or now - begin)
        reasons = "; ".join(f"{name}: {watched.reason}" for name, watched in waiting.items())
        patience.notify(Event(reasons, "waiting", passing=True))
        time.sleep(POLL_S)


def _ready(view: View, waiting: Mapping[str, Watched]) -> list[str]:
    """The components that are ready; notes of the others what they lack."""
    ready = []
    for name, watched in waiting.items():
        seen = progress(view, name)
        watched.missing = seen.message
        if seen.progress is Progress.CURRENT:
            ready.append(name)
    return ready


def _look(scope: Scope, view: View, name: str, watched: Watched, now_s: float) -> None:
    if now_s < watched.look_at_s:
        return
    watched.look_at_s = now_s + CAUSES_EVERY_S
    if cause := hopeless(watched, read_causes(scope, view, name), now_s):
        raise NotReadyError(f"{name} does not become ready: {cause}", cause.hint)


def _expired(waiting: Mapping[str, Watched], waited_s: float) -> WaitExpired:
    lines = []
    hint = "see: lightragctl status; wait longer with --timeout SECONDS"
    for name, watched in waiting.items():
        cause = watched.causes[0] if watched.causes else None
        lines.append(f"    {name}: {cause or watched.missing}")
        hint = cause.hint if cause else hint
    return WaitExpired(f"not ready after {waited_s:.0f} s:\n" + "\n".join(lines), hint)


def wait_until(missing: Callable[[], str], patience: Patience) -> None:
    """Wait until `missing` has nothing to say.

    Raises:
        WaitExpired: it still says what is missing when patience ends.
    """
    while reason := missing():
        if time.monotonic() >= patience.until_s:
            raise WaitExpired(f"still {reason}", "see: lightragctl status; wait longer with --timeout SECONDS")
        patience.notify(Event(reason, "waiting", passing=True))
        time.sleep(POLL_S)
