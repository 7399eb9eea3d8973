"""What every runtime offers, so that commands need not know where a release runs. Pure types."""

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol, runtime_checkable

from lightragctl.core.component import Plan
from lightragctl.core.objects import KubernetesObject
from lightragctl.core.result import Notify


def way_to_a_release(wanted: str, there: Sequence[str], place: str = "") -> str:
    """What to do when a release is not there.

    Args:
        wanted: its name.
        there: the names of those that are.
        place: other places to look at.
    """
    start = f"start it: lightragctl up{place}"
    if near := difflib.get_close_matches(wanted, there, n=1):
        return f"did you mean --name {near[0]}? or {start}"
    return f"{start}; there are: {', '.join(there)}" if there else start


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
class ForeignField:
    """A field of one of our objects that somebody else has changed or holds.

    Attributes:
        subject: the object, `Kind/name`.
        path: such as `spec.template.spec.containers[name=api].image`; empty when the object itself is gone.
        manager: who; empty when the cluster does not tell.
        operation: how: `Apply` or `Update`; empty when the cluster does not tell.
        time: when, as the cluster writes it; empty when it does not tell.
        ours: the value that was applied, or would be; None when we set none.
        theirs: the value that is there; None when there is none.
    """

    subject: str
    path: str
    manager: str
    operation: str
    time: str
    ours: Any
    theirs: Any

    def __str__(self) -> str:
        if not self.path:
            return f"{self.subject} is gone, or somebody else's now"
        who = f"{self.manager} ({self.operation})" if self.manager else "somebody"
        when = f" at {self.time}" if self.time else ""
        ours, theirs = contrast(self.ours, self.theirs)
        return f"{self.subject} {self.path}: ours {ours}, theirs {theirs}, by {who}{when}"


def contrast(ours: Any, theirs: Any) -> tuple[str, str]:
    """Two values in few words, from a little before the place where they differ; nothing where there is none."""
    both = _flat(ours), _flat(theirs)
    same = next((at for at, (one, other) in enumerate(zip(*both, strict=False)) if one != other), min(map(len, both)))
    start = max(0, same - _BEFORE_CHARS) if max(map(len, both)) > _BRIEF_CHARS else 0
    return _cut(both[0], start), _cut(both[1], start)


def _flat(value: Any) -> str:
    return "nothing" if value is None else " ".join(str(value).split())


def _cut(text: str, start: int) -> str:
    if start >= len(text) or (start == 0 and len(text) <= _BRIEF_CHARS):
        return text if start == 0 else f"…{text[-_BEFORE_CHARS:]}"
    shown = text[start : start + _BRIEF_CHARS]
    return ("…" if start else "") + shown + ("…" if start + _BRIEF_CHARS < len(text) else "")


_BRIEF_CHARS = 80
_BEFORE_CHARS = 30


@dataclass(frozen=True)
class ReleaseStatus:
    """One screen of `status`.

    Attributes:
        message: what to know about the release as a whole.
        revision: the number of what was last applied; None where there are no revisions.
        drift: what somebody else has changed since.
        warnings: what threatens the release or its data, although it may run.
    """

    release: str
    profile: str
    runtime: str
    components: tuple[ComponentStatus, ...]
    data: str
    message: str = ""
    revision: int | None = None
    drift: tuple[ForeignField, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def ready(self) -> bool:
        """Whether every component is ready."""
        return bool(self.components) and all(part.state is State.READY for part in self.components)


class Action(StrEnum):
    """What bringing a release up does to one object or process."""

    CREATED = "created"
    CONFIGURED = "configured"
    UNCHANGED = "unchanged"
    REPLACED = "replaced"
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
    """What bringing the release up would do, and where.

    Attributes:
        conflicts: fields that it would take over from others.
        drift: what others have changed since the last time, whether it would be changed back or not.
        warnings: of what may be unsafe about it.
    """

    release: str
    where: str
    changes: tuple[Difference, ...]
    conflicts: tuple[ForeignField, ...] = ()
    drift: tuple[ForeignField, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def differing(self) -> tuple[Difference, ...]:
        """Those that would do something."""
        return tuple(change for change in self.changes if change.action is not Action.UNCHANGED)

    @property
    def deletes(self) -> bool:
        """Whether something would be deleted, for good or to make it anew."""
        return any(change.action in (Action.DELETED, Action.REPLACED) for change in self.changes)


@dataclass(frozen=True)
class UpOptions:
    """How to bring a release up.

    Attributes:
        force_conflicts: take fields over from other managers of the same objects.
        adopt: take over objects of the wanted names that nobody else's tool looks after.
        prune_data: delete volume claims and Secrets too when they are not wanted any more.
        allow_data_loss: go on although data would be lost.
    """

    timeout_s: float
    wait: bool = True
    force_conflicts: bool = False
    adopt: bool = False
    prune_data: bool = False
    allow_data_loss: bool = False


@dataclass(frozen=True)
class UpOutcome:
    """What `up` changed: the components or objects that it touched, and the release as it is now."""

    changed: tuple[str, ...]
    status: ReleaseStatus


class Outcome(StrEnum):
    """What became of a revision."""

    APPLYING = "applying"
    APPLIED = "applied"
    FAILED = "failed"
    SUPERSEDED = "superseded"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True)
class Revision:
    """What one `up` or `rollback` made of a release.

    Attributes:
        number: counts from 1.
        who: `user@host`.
        at: when it began, in UTC.
        version: of lightragctl.
        profile_name: the profile.
        values: that profile's values.
        outcome: what became of it.
        cause: why it failed; empty when it did not.
        description: what it changed, in words.
        objects: as they were rendered, in place of each value of a Secret where to find it.
        requires: by component, what must be ready before it.
        stopped_at: when `down` stopped it, in UTC; empty when it did not.
        stopped_by: who did, `user@host`.
    """

    number: int
    who: str
    at: str
    version: str
    profile_name: str
    values: Mapping[str, Any]
    outcome: Outcome
    description: str
    cause: str = ""
    objects: tuple[KubernetesObject, ...] = field(default=(), repr=False)
    requires: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    stopped_at: str = ""
    stopped_by: str = ""

    @property
    def images(self) -> dict[str, list[str]]:
        """The images of each workload, by `Kind/name`."""
        return images_of(self.objects)


@dataclass(frozen=True)
class Unlocked:
    """Who held the lock of a release; `holder` is empty when nobody did. Times by the holder's own clock."""

    holder: str = ""
    command: str = ""
    acquired: str = ""
    renewed_s_ago: float = 0.0


Approve = Callable[[Differences], None]
"""Shows what is about to change and may ask; raises to stop."""


class Lifecycle(Protocol):
    """Bringing a release up, looking at it, taking it down."""

    @property
    def data(self) -> str:
        """Where the release's data are, in words for a person."""

    def diff(self, plan: Plan, options: UpOptions) -> Differences:
        """What `up` would do; changes nothing."""

    def up(self, plan: Plan, options: UpOptions, approve: Approve, notify: Notify) -> UpOutcome:
        """Make the release what the plan says; harmless when it is already."""

    def down(self, purge: bool, timeout_s: float, notify: Notify, allow_data_loss: bool = False) -> bool:
        """Stop the release; with `purge` its data are deleted too. False when there was nothing to stop.

        Raises:
            RefusedError: data that shall be kept would be lost, and that is not allowed.
        """

    def status(self) -> ReleaseStatus:
        """The release as it is.

        Raises:
            NotRunningError: there is no such release here.
        """


class Access(Protocol):
    """Reaching the components of a release that is up."""

    def components(self) -> tuple[str, ...]:
        """The names of the release's components.

        Raises:
            NotRunningError: there is no such release here.
        """

    def endpoint(self, component: str) -> str:
        """An address at which this process reaches the component, until `close`.

        Raises:
            NotRunningError: the release is not up.
        """

    def endpoints(self, component: str) -> Mapping[str, str]:
        """Such an address for each ready replica of the component, by the replica's name.

        Raises:
            NotRunningError: the release is not up.
        """

    def spread(self, component: str) -> str:
        """Such an address whose connections go to the ready replicas in turn, as those of a Service do.

        Raises:
            NotRunningError: the release is not up.
        """

    def api_key(self, component: str = "lightrag-api") -> str | None:
        """A key that the component takes; None when it asks for none."""

    def logs(self, component: str | None, follow: bool, tail_lines: int) -> Iterator[tuple[str, str]]:
        """Lines of the components' logs as (component, line)."""

    def exec(self, component: str, command: Sequence[str]) -> int:
        """Run a command where the component runs, joined to this process's streams; its exit status."""

    def forward(self, component: str, port: int, notify: Notify) -> None:
        """Lead a port of this machine (0: any) to the component until interrupted."""

    def close(self) -> None:
        """Close what this process holds open to reach the release."""


class Writers(Protocol):
    """Stopping one component of a release and starting it again; the caller holds the release's lock.

    All may be repeated, from any machine: they look at what is there.
    """

    def replicas(self, component: str) -> int:
        """How many of the component are meant to run; `resume` needs it, so that it is saved before `hold`.

        Raises:
            NotRunningError: the release has no such component.
        """

    def hold(self, component: str, reason: str, timeout_s: float, notify: Notify) -> None:
        """Stop the component, and keep it stopped until `resume`; returns when none of its processes is left.

        Args:
            reason: what holds it, as `status` shows it.

        Raises:
            WaitExpired: it still runs after `timeout_s`; it is kept from starting again.
        """

    def resume(self, component: str, replicas: int, timeout_s: float, notify: Notify) -> None:
        """Start the component again and wait until it is ready.

        Raises:
            WaitExpired: it is not ready after `timeout_s`; it goes on starting.
        """


def images_of(objects: Iterable[KubernetesObject]) -> dict[str, list[str]]:
    """The images of each workload among the objects, by `Kind/name`."""
    found = {}
    for thing in objects:
        containers = ((thing.get("spec") or {}).get("template") or {}).get("spec", {}).get("containers")
        if containers:
            found[f"{thing['kind']}/{thing['metadata']['name']}"] = [str(one.get("image")) for one in containers]
    return found


@dataclass(frozen=True)
class NeededSecret:
    """A secret that the release reads, without its value.

    Attributes:
        name: of the Secret, or of the environment variable of `up`.
        keys: those of a Secret that are read; empty when all of them, or when it is a variable.
        generated: keys that `up` makes when the Secret is missing.
    """

    name: str
    keys: tuple[str, ...] = ()
    generated: tuple[str, ...] = ()


@dataclass(frozen=True)
class AppliedRelease:
    """A release as it was last applied, whatever profile the command names now.

    Attributes:
        profile_name: the profile.
        values: that profile's values; never a secret.
        settings: what the process of each component was started with, by the component's name.
        objects: as they were rendered, without values of Secrets; none on this machine.
        secrets: what must be there before the release is brought up elsewhere.
        secret_values: by name and key, base64; only when requested.
    """

    profile_name: str
    values: Mapping[str, Any]
    settings: Mapping[str, Mapping[str, Any]]
    objects: tuple[KubernetesObject, ...] = field(default=(), repr=False)
    secrets: tuple[NeededSecret, ...] = ()
    secret_values: Mapping[str, Mapping[str, str]] = field(default_factory=dict, repr=False)


class Applied(Protocol):
    """What a release was last made."""

    def applied(self, include_secrets: bool = False) -> AppliedRelease:
        """The release as it was last applied.

        Raises:
            NotRunningError: there is no such release here.
        """


class ReleaseRuntime(Lifecycle, Access, Writers, Applied, Protocol):
    """A place where a release runs: what every one of them offers."""


@runtime_checkable
class Revisions(Protocol):
    """The recorded revisions of a release and its lock: what only a runtime that keeps them offers."""

    def history(self) -> Sequence[Revision]:
        """What was made of the release, newest first.

        Raises:
            NotRunningError: there is no such release here.
        """

    def revision(self, number: int) -> Revision:
        """One of them, with its objects.

        Raises:
            NotRunningError: there is none of this number.
        """

    def rollback_diff(self, revision: int | None, options: UpOptions) -> Differences:
        """What `rollback` would do; changes nothing."""

    def rollback(self, revision: int | None, options: UpOptions, approve: Approve, notify: Notify) -> UpOutcome:
        """Make the release what it was in a revision; None: in the last that was applied before the present one."""

    def unlock(self, even_if_fresh: bool) -> Unlocked:
        """Take the lock of the release away from whoever holds it.

        Raises:
            RefusedError: it was renewed just now, and `even_if_fresh` is not set.
        """
