"""Stops and restarts lightrag-server, upstream's writer of a workspace: it does not know the write fence.

Every step is idempotent, also from another machine: it reads the current state. Only the number of
replicas is lost with the stop, so `find_writer` comes first and the caller saves what it returns.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

import httpx

from lightragctl.client.lightrag import LightragClient
from lightragctl.core.errors import NotRunningError, UnavailableError, WaitExpired
from lightragctl.core.hint import Command, Hint
from lightragctl.core.result import Event, Notify
from lightragctl.core.runtime import ReleaseRuntime

WRITER = "lightrag-server"
_ANSWER_S = 30.0
_POLL_S = 1.0
_UNANSWERED_S = 10.0
"""A writer that has not answered for so long is stopped all the same: it may be the one that is broken."""


@dataclass(frozen=True)
class Writer:
    """The other writer of the workspace, beside lightrag-api, and its number of replicas."""

    component: str
    replicas: int


@dataclass(frozen=True)
class WriterClock:
    """The time, and waiting for it; `now` is in UTC."""

    monotonic: Callable[[], float] = time.monotonic
    pause: Callable[[float], None] = time.sleep
    now: Callable[[], datetime] = lambda: datetime.now(UTC)


def find_writer(runtime: ReleaseRuntime) -> Writer | None:
    """The writer of the release; None when lightrag-api is the only one.

    Raises:
        NotRunningError: there is no such release.
    """
    return Writer(WRITER, runtime.replicas(WRITER)) if WRITER in runtime.components() else None


@dataclass(frozen=True)
class WriterControl:
    """Stops and starts the writer of a release; the caller holds the release's lock.

    `transport` is another way to send it requests, for tests.
    """

    runtime: ReleaseRuntime
    notify: Notify
    clock: WriterClock = field(default_factory=WriterClock)
    transport: httpx.BaseTransport | None = None

    def wait_idle(self, timeout_s: float) -> None:
        """Wait until the writer is idle. One that is stopped or does not answer counts as idle.

        Raises:
            WaitExpired: it is still busy after `timeout_s`.
        """
        begun_s = answered_s = self.clock.monotonic()
        while True:
            activity = self._activity()
            now_s = self.clock.monotonic()
            if activity is None:
                activity = "it does not answer" if now_s - answered_s <= _UNANSWERED_S else ""
            else:
                answered_s = now_s
            if not activity:
                return
            if now_s - begun_s > timeout_s:
                hint = Hint("wait longer with --timeout SECONDS; see its progress: ", Command("logs", WRITER))
                raise WaitExpired(f"{WRITER} is still busy after {timeout_s:g} s: {activity}", hint)
            self.notify(Event(f"waiting until it is idle: {activity}", WRITER, passing=True))
            self.clock.pause(_POLL_S)

    def stop(self, operation: str, timeout_s: float) -> datetime:
        """Stop the writer; returns the time at which it stopped answering. None of its processes is left on return.

        A document that came after `wait_idle` stays pending in its files, and is processed after the start.

        Args:
            operation: as `status` shows what holds it.

        Raises:
            WaitExpired: it still runs after `timeout_s`; it is kept from starting.
        """
        stopped_at = self.clock.now()
        self.runtime.hold(WRITER, operation, timeout_s, self.notify)
        return stopped_at

    def start(self, writer: Writer, stopped_at: datetime, timeout_s: float) -> float:
        """Start the writer; returns the seconds for which it was unavailable, until it answered queries again.

        When another machine stopped it, they are as exact as the two clocks agree.

        Raises:
            WaitExpired: it is not ready after `timeout_s`; it goes on starting.
        """
        self.runtime.resume(writer.component, writer.replicas, timeout_s, self.notify)
        return max(0.0, (self.clock.now() - stopped_at).total_seconds())

    def _activity(self) -> str | None:
        """What the writer is doing; empty when nothing or when it is stopped, None when it does not answer."""
        runtime = self.runtime
        try:
            url, key = runtime.endpoint(WRITER), runtime.api_key(WRITER)
            with LightragClient(url, _ANSWER_S, key, self.transport) as server:
                return (server.pipeline().latest_message or "it is processing documents") if server.is_active() else ""
        except NotRunningError:
            return ""
        except UnavailableError:
            return None
