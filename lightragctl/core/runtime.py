"""The interfaces of runtimes, so that commands do not depend on where a release runs. Pure types."""

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol, runtime_checkable

from lightragctl.core.component import Plan
from lightragctl.core.hint import Command, Hint
from lightragctl.core.objects import KubernetesObject
from lightragctl.core.result import Notify
from lightragctl.core.settings import SecretKey


def missing_release_hint(name: str, existing: Sequence[str], elsewhere: str = "") -> Hint:
    """What to do when a release does not exist.

    Args:
        name: the missing release.
        existing: the names of those that exist.
        elsewhere: where else it may be, added to the command that starts it.
    """
    start = Hint("start it: ", Command("up"), elsewhere)
    if near := difflib.get_close_matches(name, existing, n=1):
        return Hint(f"did you mean --name {near[0]}? or ", start)
    return Hint(start, f"; existing releases: {', '.join(existing)}") if existing else start


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
    """A field of one of our objects that another field manager has changed or owns.

    Attributes:
        subject: the object, `Kind/name`.
        path: such as `spec.template.spec.containers[name=api].image`; empty when the object itself is gone.
        manager: the field manager; empty when unknown.
        operation: `Apply` or `Update`; empty when unknown.
        time: as the cluster writes it; empty when unknown.
        ours: the desired value; None when we set none.
        theirs: the live value; None when there is none.
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
            return f"{self.subject} is deleted, or owned by another manager"
        who = f"{self.manager} ({self.operation})" if self.manager else "an unknown manager"
        when = f" at {self.time}" if self.time else ""
        ours, theirs = contrast(self.ours, self.theirs)
        return f"{self.subject} {self.path}: desired {ours}, live {theirs}, set by {who}{when}"


def contrast(ours: Any, theirs: Any) -> tuple[str, str]:
    """Excerpts of two values around their first difference."""
    both = _flat(ours), _flat(theirs)
    same = next((at for at, (one, other) in enumerate(zip(*both, strict=False)) if one != other), min(map(len, both)))
    start = max(0, same - _BEFORE_CHARS) if max(map(len, both)) > _BRIEF_CHARS else 0
    return _cut(both[0], start), _cut(both[1], start)


def _flat(value: Any) -> str:
    return "unset" if value is None else " ".join(str(value).split())


def _cut(text: str, start: int) -> str:
    if start >= len(text) or (start == 0 and len(text) <= _BRIEF_CHARS):
        return text if start == 0 else f"…{text[-_BEFORE_CHARS:]}"
    shown = text[start : start + _BRIEF_CHARS]
    return ("…" if start else "") + shown + ("…" if start + _BRIEF_CHARS < len(text) else "")


_BRIEF_CHARS = 80
_BEFORE_CHARS = 30


@dataclass(frozen=True)
class ReleaseStatus:
    """The status of a release.

    Attributes:
        message: about the release as a whole.
        revision: the last applied one; None where there are no revisions.
        drift: fields that other managers have changed since.
        warnings: risks to the release or its data, even if it is ready.
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
    """What `up` does to one object or process."""

    CREATED = "created"
    CONFIGURED = "configured"
    UNCHANGED = "unchanged"
    REPLACED = "replaced"
    DELETED = "deleted"


@dataclass(frozen=True)
class Difference:
    """A pending change of one object or process; `text`: its diff with secrets masked, may be empty."""

    subject: str
    action: Action
    text: str = ""
    note: str = ""


@dataclass(frozen=True)
class Differences:
    """What `up` would change, and where.

    Attributes:
        conflicts: fields of other managers that it would take over.
        drift: fields that other managers have changed, whether they would be changed back or not.
        warnings: what may be unsafe about it.
    """

    release: str
    where: str
    changes: tuple[Difference, ...]
    conflicts: tuple[ForeignField, ...] = ()
    drift: tuple[ForeignField, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def differing(self) -> tuple[Difference, ...]:
        """The changes other than `unchanged`."""
        return tuple(change for change in self.changes if change.action is not Action.UNCHANGED)

    @property
    def deletes(self) -> bool:
        """Whether something would be deleted or recreated."""
        return any(change.action in (Action.DELETED, Action.REPLACED) for change in self.changes)


@dataclass(frozen=True)
class UpOptions:
    """Options of `up` and `rollback`.

    Attributes:
        force_conflicts: take ownership of fields that other managers own.
        adopt: take ownership of existing objects that no other tool owns.
        prune_data: also delete volume claims and Secrets that are no longer part of the release.
        allow_data_loss: continue even if data would be lost.
        operation: the open operation that this is a step of; empty: none may be open.
    """

    timeout_s: float
    wait: bool = True
    force_conflicts: bool = False
    adopt: bool = False
    prune_data: bool = False
    allow_data_loss: bool = False
    operation: str = ""


@dataclass(frozen=True)
class UpOutcome:
    """The result of `up`: the components or objects that it changed, and the status of the release."""

    changed: tuple[str, ...]
    status: ReleaseStatus


class RevisionOutcome(StrEnum):
    """The outcome of applying a revision."""

    APPLYING = "applying"
    APPLIED = "applied"
    FAILED = "failed"
    SUPERSEDED = "superseded"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True)
class Revision:
    """One recorded `up` or `rollback` of a release.

    Attributes:
        number: counts from 1.
        who: `user@host`.
        at: when it started, in UTC.
        version: of lightragctl.
        profile_name: the profile.
        values: that profile's values.
        outcome: of applying it.
        cause: why it failed; empty otherwise.
        description: a summary of what it changed.
        objects: as rendered, with a reference in place of each value of a Secret.
        requires: by component, what must be ready before it.
        stopped_at: when `down` stopped it, in UTC; empty when it was not stopped.
        stopped_by: `user@host`.
    """

    number: int
    who: str
    at: str
    version: str
    profile_name: str
    values: Mapping[str, Any]
    outcome: RevisionOutcome
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
class UnlockResult:
    """The holder of a released lock; empty when there was none. Times by the holder's clock."""

    holder: str = ""
    command: str = ""
    acquired_at: str = ""
    renewed_ago_s: float = 0.0


Approve = Callable[[Differences], None]
"""Shows pending changes and may ask for confirmation; raises to stop."""


class Lifecycle(Protocol):
    """Deploying, inspecting and stopping a release."""

    @property
    def data(self) -> str:
        """Where the release's data is, as text."""

    def diff(self, plan: Plan, options: UpOptions) -> Differences:
        """The changes that `up` would make; changes nothing."""

    def up(self, plan: Plan, options: UpOptions, approve: Approve, notify: Notify) -> UpOutcome:
        """Bring the release to the state of the plan; idempotent."""

    def down(self, purge: bool, timeout_s: float, notify: Notify, allow_data_loss: bool = False) -> bool:
        """Stop the release; with `purge` also delete its data. False when there was nothing to stop.

        Raises:
            RefusedError: data to be kept would be lost, and that is not allowed.
        """

    def status(self) -> ReleaseStatus:
        """The status of the release.

        Raises:
            NotRunningError: there is no such release.
        """


class Access(Protocol):
    """Connecting to the components of a running release."""

    def components(self) -> tuple[str, ...]:
        """The names of the release's components.

        Raises:
            NotRunningError: there is no such release.
        """

    def endpoint(self, component: str) -> str:
        """A URL of the component for this process, valid until `close`.

        Raises:
            NotRunningError: the release is not up.
        """

    def endpoints(self, component: str) -> Mapping[str, str]:
        """A URL of each ready replica, by its name; valid until `close`.

        Raises:
            NotRunningError: the release is not up.
        """

    def spread(self, component: str) -> str:
        """A URL whose connections are distributed over the ready replicas, as a Service does.

        Raises:
            NotRunningError: the release is not up.
        """

    def api_key(self, component: str = "lightrag-api") -> str | None:
        """A valid API key of the component; None when it requires none."""

    def secret(self, key: SecretKey) -> str | None:
        """The value of a key of a Kubernetes Secret beside the release; None when there is none.

        Raises:
            ForbiddenError: we may not read it.
        """

    def logs(self, component: str | None, follow: bool, tail_lines: int) -> Iterator[tuple[str, str]]:
        """Lines of the components' logs as (component, line)."""

    def exec(self, component: str, command: Sequence[str]) -> int:
        """Run a command in the component's environment, attached to this process's streams; its exit status."""

    def forward(self, component: str, port: int, notify: Notify) -> None:
        """Forward a local port (0: any free one) to the component until interrupted."""

    def close(self) -> None:
        """Close the connections to the release."""


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
    """Where a release runs: the capabilities of every runtime."""


@runtime_checkable
class Revisions(Protocol):
    """Recorded revisions and the lock of a release; only of runtimes that keep them."""

    def history(self) -> Sequence[Revision]:
        """The revisions, newest first.

        Raises:
            NotRunningError: there is no such release.
        """

    def revision(self, number: int) -> Revision:
        """One revision, with its objects.

        Raises:
            NotRunningError: there is none of this number.
        """

    def rollback_diff(self, revision: int | None, options: UpOptions) -> Differences:
        """The changes that `rollback` would make; changes nothing."""

    def rollback(self, revision: int | None, options: UpOptions, approve: Approve, notify: Notify) -> UpOutcome:
        """Apply an earlier revision; None: the last one that was applied before the current one."""

    def unlock(self, even_if_fresh: bool) -> UnlockResult:
        """Release the lock, regardless of its holder.

        Raises:
            RefusedError: it was renewed recently, and `even_if_fresh` is not set.
        """
