"""What every runtime offers, so that commands need not know where a release runs. Pure types."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from lightragctl.core.component import Plan
from lightragctl.core.result import Notify


class State(StrEnum):
    """The state of one component."""

    READY = "ready"
    STARTING = "starting"
    BACKING_OFF = "backing off"
    STOPPED = "stopped"
    NOT_READY = "not ready"


@dataclass(frozen=True)
class ComponentStatus:
    """One line of `status`. `restarts` counts since the release came up; `message` says why when it is not ready."""

    name: str
    state: State
    endpoint: str
    restarts: int = 0
    pid: int | None = None
    uptime_s: float | None = None
    message: str = ""


@dataclass(frozen=True)
class ReleaseStatus:
    """One screen of `status`. `message` says what to know about the release as a whole."""

    release: str
    profile: str
    runtime: str
    components: tuple[ComponentStatus, ...]
    data: str
    message: str = ""

    @property
    def ready(self) -> bool:
        """Whether every component is ready."""
        return bool(self.components) and all(part.state is State.READY for part in self.components)


@dataclass(frozen=True)
class UpOutcome:
    """What `up` changed: the components that it started or restarted, and the release as it is now."""

    changed: tuple[str, ...]
    status: ReleaseStatus


class ReleaseRuntime(Protocol):
    """A place where a release runs."""

    @property
    def data(self) -> str:
        """Where the release's data are, in words for a person."""

    def up(self, plan: Plan, timeout_s: float, wait: bool, notify: Notify) -> UpOutcome:
        """Make the release what the plan says; harmless when it is already."""

    def down(self, purge: bool, timeout_s: float, notify: Notify) -> bool:
        """Stop the release; with `purge` its data are deleted too. False when there was nothing to stop."""

    def status(self) -> ReleaseStatus:
        """The release as it is.

        Raises:
            NotRunningError: there is no such release here.
        """

    def endpoint(self, component: str) -> str:
        """An address at which this process reaches the component.

        Raises:
            NotRunningError: the release is not up.
        """

    def logs(self, component: str | None, follow: bool, tail_lines: int) -> Iterator[tuple[str, str]]:
        """Lines of the components' logs as (component, line)."""
