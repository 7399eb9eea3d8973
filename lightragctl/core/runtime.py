"""What every runtime offers, so that commands need not know where a release runs. Pure types."""

from collections.abc import Callable, Iterator, Sequence
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
    """One line of `status`. `restarts` counts since the release came up; `message` says why when it is not ready.

    `pid` is of a local process; `replicas` of a component on Kubernetes, as `ready/wanted`.
    """

    name: str
    state: State
    endpoint: str
    restarts: int = 0
    pid: int | None = None
    uptime_s: float | None = None
    message: str = ""
    replicas: str | None = None


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


class Action(StrEnum):
    """What bringing a release up does to one object or process."""

    CREATED = "created"
    CONFIGURED = "configured"
    UNCHANGED = "unchanged"
    DELETED = "deleted"


@dataclass(frozen=True)
class Difference:
    """What would be done to one object or process; `text` shows it to a person, secrets masked, and may be empty."""

    subject: str
    action: Action
    text: str = ""
    note: str = ""


@dataclass(frozen=True)
class Differences:
    """What bringing the release up would do, and where; `warnings` are of what may be unsafe about it."""

    release: str
    where: str
    changes: tuple[Difference, ...]
    warnings: tuple[str, ...] = ()

    @property
    def differing(self) -> tuple[Difference, ...]:
        """Those that would do something."""
        return tuple(change for change in self.changes if change.action is not Action.UNCHANGED)

    @property
    def deletes(self) -> bool:
        """Whether something would be deleted."""
        return any(change.action is Action.DELETED for change in self.changes)


@dataclass(frozen=True)
class UpOptions:
    """How to bring a release up. `force_conflicts` takes fields over from other managers of the same objects."""

    timeout_s: float
    wait: bool = True
    force_conflicts: bool = False


@dataclass(frozen=True)
class UpOutcome:
    """What `up` changed: the components or objects that it touched, and the release as it is now."""

    changed: tuple[str, ...]
    status: ReleaseStatus


Approve = Callable[[Differences], None]
"""Shows what is about to change and may ask; raises to stop."""


class ReleaseRuntime(Protocol):
    """A place where a release runs."""

    @property
    def data(self) -> str:
        """Where the release's data are, in words for a person."""

    def diff(self, plan: Plan) -> Differences:
        """What `up` would do; changes nothing."""

    def up(self, plan: Plan, options: UpOptions, approve: Approve, notify: Notify) -> UpOutcome:
        """Make the release what the plan says; harmless when it is already."""

    def down(self, purge: bool, timeout_s: float, notify: Notify) -> bool:
        """Stop the release; with `purge` its data are deleted too. False when there was nothing to stop."""

    def status(self) -> ReleaseStatus:
        """The release as it is.

        Raises:
            NotRunningError: there is no such release here.
        """

    def endpoint(self, component: str) -> str:
        """An address at which this process reaches the component, for as long as it lives.

        Raises:
            NotRunningError: the release is not up.
        """

    def api_key(self) -> str | None:
        """A key that lightrag-api takes; None when it asks for none."""

    def logs(self, component: str | None, follow: bool, tail_lines: int) -> Iterator[tuple[str, str]]:
        """Lines of the components' logs as (component, line)."""

    def exec(self, component: str, command: Sequence[str]) -> int:
        """Run a command where the component runs, joined to this process's streams; its exit status."""

    def forward(self, component: str, port: int, notify: Notify) -> None:
        """Lead a port of this machine (0: any) to the component until interrupted."""
