"""Results of the commands that deploy and inspect a release.

Pure; the only place that defines the keys of their payloads.
"""

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightragctl.core.errors import ExitStatus, LightragctlError
from lightragctl.core.hint import Command, Hint
from lightragctl.core.result import ErrorInfo, Result, Status
from lightragctl.core.runtime import (
    ComponentStatus,
    Differences,
    ReleaseStatus,
    Revision,
    State,
    UnlockResult,
    UpOutcome,
)
from lightragctl.core.urls import shown

if TYPE_CHECKING:
    from lightragctl.core.objects import KubernetesObject


def _component(part: ComponentStatus) -> dict[str, Any]:
    values = asdict(part)
    values["state"] = str(part.state)
    values["endpoint"] = shown(part.endpoint)
    values["uptime_s"] = None if part.uptime_s is None else round(part.uptime_s, 1)
    return values


def _release(status: ReleaseStatus) -> dict[str, Any]:
    return {
        "release": status.release,
        "profile": status.profile,
        "runtime": status.runtime,
        "data": status.data,
        "message": status.message,
        "revision": status.revision,
        "drift": [asdict(one) for one in status.drift],
        "warnings": list(status.warnings),
        "components": [_component(part) for part in status.components],
    }


def _differences(differences: Differences) -> dict[str, Any]:
    changes = [asdict(one) | {"action": str(one.action)} for one in differences.changes]
    conflicts = [asdict(one) for one in differences.conflicts]
    drift = [asdict(one) for one in differences.drift]
    place = {"release": differences.release, "where": differences.where}
    warnings = list(differences.warnings)
    return {**place, "changes": changes, "conflicts": conflicts, "drift": drift, "warnings": warnings}


def planned(command: str, differences: Differences) -> Result:
    """`up --dry-run` and `rollback --dry-run`: what would change, and where."""
    return Result(command, _differences(differences))


def diff(differences: Differences) -> Result:
    """`diff`: exit status 1 when something differs."""
    differs = bool(differences.differing)
    return Result("diff", _differences(differences), exit_status=ExitStatus.FAILED if differs else ExitStatus.DONE)


def diff_failed(error: LightragctlError) -> Result:
    """`diff` that failed: never exit status 1, which means differences."""
    failure = Result.failure("diff", error)
    return replace(failure, exit_status=max(error.exit_status, ExitStatus.USAGE))


def up(command: str, outcome: UpOutcome, search_ms: float | None) -> Result:
    """`up` and `rollback`: what changed, the release's status, the duration of the search probe (None: not run)."""
    return Result(command, {**_release(outcome.status), "changed": list(outcome.changed), "search_ms": search_ms})


def _revision(revision: Revision) -> dict[str, Any]:
    return {
        "number": revision.number,
        "started_at": revision.at,
        "user": revision.who,
        "outcome": str(revision.outcome),
        "cause": revision.cause,
        "description": revision.description,
        "profile": revision.profile_name,
        "version": revision.version,
        "stopped_at": revision.stopped_at,
        "stopped_by": revision.stopped_by,
    }


def history(release: str, revisions: Sequence[Revision]) -> Result:
    """`history`: the revisions, newest first."""
    return Result("history", {"release": release, "revisions": [_revision(one) for one in revisions]})


def one_revision(release: str, revision: Revision) -> Result:
    """`history REVISION`: one revision in full."""
    whole = {"images": revision.images, "values": dict(revision.values), "objects": list(revision.objects)}
    return Result("history", {"release": release, "revision": {**_revision(revision), **whole}})


def unlock(release: str, unlocked: UnlockResult) -> Result:
    """`unlock`: who held the lock."""
    return Result("unlock", {"release": release, **asdict(unlocked)})


def status(release: ReleaseStatus) -> Result:
    """`status`: exit status 3 when a component is not ready, 4 with warnings."""
    if release.ready and not release.message:
        if not release.warnings:
            return Result("status", _release(release))
        warned = [ErrorInfo("warning", "all components are ready, with warnings")]
        return Result("status", _release(release), Status.PARTIAL, warned, ExitStatus.WARNINGS)
    if release.ready:
        errors = [ErrorInfo("unsupervised", release.message)]
        return Result("status", _release(release), Status.PARTIAL, errors, ExitStatus.WARNINGS)
    missing = [part.name for part in release.components if part.state is not State.READY]
    hint = release.message or Hint(Command("logs", "COMPONENT"))
    error = ErrorInfo("not-ready", f"not ready: {', '.join(missing)}", hint)
    return Result("status", _release(release), Status.FAILED, [error], ExitStatus.CHECKS_FAILED)


def down(release: str, stopped: bool, purged: bool, kept: Path | str) -> Result:
    """`down`: what was stopped and deleted, and where kept data is."""
    data = {"release": release, "stopped": stopped, "purged": purged, "kept": "" if purged else str(kept)}
    return Result("down", data)


def render(objects: "Sequence[KubernetesObject]", written: Sequence[Path] | None) -> Result:
    """`render`: the objects, or the files they were written to."""
    if written is not None:
        return Result("render", {"files": [str(path) for path in written]})
    return Result("render", {"objects": list(objects)})
