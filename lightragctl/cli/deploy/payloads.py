"""Results of the commands that deploy and inspect a release.

Pure; the only place that defines the keys of their payloads.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightragctl.core.errors import ExitStatus, LightragctlError
from lightragctl.core.hint import Command, Hint
from lightragctl.core.objects import KubernetesObject
from lightragctl.core.result import ErrorInfo, Result, Status
from lightragctl.core.runtime import (
    Differences,
    ReleaseStatus,
    Revision,
    RevisionOutcome,
    State,
    UnlockResult,
    UpOutcome,
)
from lightragctl.core.urls import shown

if TYPE_CHECKING:
    from lightragctl.backup.newest import Newest


@dataclass(frozen=True)
class UpPayload(ReleaseStatus):
    """The status of the release after `up`, what changed, and the duration of the search probe (None: not run)."""

    changed: tuple[str, ...] = ()
    search_ms: float | None = None


@dataclass(frozen=True)
class RevisionSummary:
    """A revision in a list."""

    number: int
    started_at: str
    user: str
    outcome: RevisionOutcome
    cause: str
    description: str
    profile: str
    version: str
    stopped_at: str
    stopped_by: str


@dataclass(frozen=True)
class RevisionDetails(RevisionSummary):
    """A revision in full."""

    images: Mapping[str, Sequence[str]]
    values: Mapping[str, Any]
    objects: Sequence[KubernetesObject]


@dataclass(frozen=True)
class HistoryPayload:
    """The revisions of a release, newest first."""

    release: str
    revisions: Sequence[RevisionSummary]


@dataclass(frozen=True)
class RevisionPayload:
    """One revision of a release."""

    release: str
    revision: RevisionDetails


@dataclass(frozen=True)
class UnlockPayload:
    """The former holder of a release's lock, as in `UnlockResult`."""

    release: str
    holder: str
    command: str
    acquired_at: str
    renewed_ago_s: float


@dataclass(frozen=True)
class DownPayload:
    """What `down` did; `kept`: where the data is, empty when it was deleted."""

    release: str
    stopped: bool
    purged: bool
    kept: str


@dataclass(frozen=True)
class RenderedObjects:
    """Kubernetes manifests."""

    objects: Sequence[KubernetesObject]


@dataclass(frozen=True)
class RenderedFiles:
    """The files that manifests were written to."""

    files: Sequence[str]


def _shown(status: ReleaseStatus) -> ReleaseStatus:
    """The status with redacted URLs and rounded times."""
    components = tuple(
        replace(
            part,
            endpoint=shown(part.endpoint),
            uptime_s=None if part.uptime_s is None else round(part.uptime_s, 1),
        )
        for part in status.components
    )
    return replace(status, components=components)


def planned(command: str, differences: Differences) -> Result:
    """`up --dry-run` and `rollback --dry-run`: what would change, and where."""
    return Result(command, differences)


def diff(differences: Differences) -> Result:
    """`diff`: exit status 1 when something differs."""
    differs = bool(differences.differing)
    return Result("diff", differences, exit_status=ExitStatus.FAILED if differs else ExitStatus.DONE)


def diff_failed(error: LightragctlError) -> Result:
    """`diff` that failed: never exit status 1, which means differences."""
    failure = Result.failure("diff", error)
    return replace(failure, exit_status=max(error.exit_status, ExitStatus.USAGE))


def up(command: str, outcome: UpOutcome, search_ms: float | None) -> Result:
    """`up` and `rollback`: what changed, the release's status, the duration of the search probe (None: not run)."""
    return Result(command, UpPayload(**vars(_shown(outcome.status)), changed=outcome.changed, search_ms=search_ms))


def _summary(revision: Revision) -> RevisionSummary:
    return RevisionSummary(
        number=revision.number,
        started_at=revision.at,
        user=revision.who,
        outcome=revision.outcome,
        cause=revision.cause,
        description=revision.description,
        profile=revision.profile_name,
        version=revision.version,
        stopped_at=revision.stopped_at,
        stopped_by=revision.stopped_by,
    )


def history(release: str, revisions: Sequence[Revision]) -> Result:
    """`history`: the revisions, newest first."""
    return Result("history", HistoryPayload(release, [_summary(one) for one in revisions]))


def one_revision(release: str, revision: Revision) -> Result:
    """`history REVISION`: one revision in full."""
    details = RevisionDetails(
        **vars(_summary(revision)),
        images=revision.images,
        values=dict(revision.values),
        objects=list(revision.objects),
    )
    return Result("history", RevisionPayload(release, details))


def unlock(release: str, unlocked: UnlockResult) -> Result:
    """`unlock`: who held the lock."""
    return Result("unlock", UnlockPayload(release, **asdict(unlocked)))


def status(release: ReleaseStatus, backup: "Newest | None") -> Result:
    """`status`: exit status 3 when a component is not ready, 4 with warnings."""
    data = {**asdict(_shown(release)), "backup": asdict(backup) if backup else None}
    if release.ready and not release.message:
        if not release.warnings:
            return Result("status", data)
        warned = [ErrorInfo("warning", "all components are ready, with warnings")]
        return Result("status", data, Status.PARTIAL, warned, ExitStatus.WARNINGS)
    if release.ready:
        errors = [ErrorInfo("unsupervised", release.message)]
        return Result("status", data, Status.PARTIAL, errors, ExitStatus.WARNINGS)
    missing = [part.name for part in release.components if part.state is not State.READY]
    hint = release.message or Hint(Command("logs", "COMPONENT"))
    error = ErrorInfo("not-ready", f"not ready: {', '.join(missing)}", hint)
    return Result("status", data, Status.FAILED, [error], ExitStatus.CHECKS_FAILED)


def down(release: str, stopped: bool, purged: bool, kept: Path | str) -> Result:
    """`down`: what was stopped and deleted, and where kept data is."""
    return Result("down", DownPayload(release, stopped, purged, "" if purged else str(kept)))


def render(objects: Sequence[KubernetesObject], written: Sequence[Path] | None) -> Result:
    """`render`: the objects, or the files they were written to."""
    if written is not None:
        return Result("render", RenderedFiles([str(path) for path in written]))
    return Result("render", RenderedObjects(list(objects)))
