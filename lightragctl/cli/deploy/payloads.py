"""The Results of the commands that run a release, from what the packages return.

Pure; the keys of each payload are stated here only.
"""

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightragctl.core.errors import ExitStatus, LightragctlError
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
    """`diff`: 1 when something differs."""
    differs = bool(differences.differing)
    return Result("diff", _differences(differences), exit_status=ExitStatus.FAILED if differs else ExitStatus.DONE)


def diff_failed(error: LightragctlError) -> Result:
    """`diff` that could not compare: never 1, which says that something differs."""
    failure = Result.failure("diff", error)
    return replace(failure, exit_status=max(error.exit_status, ExitStatus.USAGE))


def up(command: str, outcome: UpOutcome, search_ms: float | None) -> Result:
    """`up` and `rollback`: what changed, the release as it is, how long a search took; None when none was tried."""
    return Result(command, {**_release(outcome.status), "changed": list(outcome.changed), "search_ms": search_ms})


def _revision(revision: Revision) -> dict[str, Any]:
    return {
        "number": revision.number,
        "at": revision.at,
        "who": revision.who,
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
    """`history REVISION`: one of them whole."""
    whole = {"images": revision.images, "values": dict(revision.values), "objects": list(revision.objects)}
    return Result("history", {"release": release, "revision": {**_revision(revision), **whole}})


def unlock(release: str, unlocked: UnlockResult) -> Result:
    """`unlock`: who held the lock."""
    return Result("unlock", {"release": release, **asdict(unlocked)})


def status(release: ReleaseStatus) -> Result:
    """`status`: fails its check when a component is not ready; warns of what threatens the release."""
    if release.ready and not release.message:
        if not release.warnings:
            return Result("status", _release(release))
        warned = [ErrorInfo("warning", "ready, with the warnings above")]
        return Result("status", _release(release), Status.PARTIAL, warned, ExitStatus.WARNINGS)
    if release.ready:
        errors = [ErrorInfo("unsupervised", release.message)]
        return Result("status", _release(release), Status.PARTIAL, errors, ExitStatus.WARNINGS)
    missing = [part.name for part in release.components if part.state is not State.READY]
    error = ErrorInfo("not-ready", f"not ready: {', '.join(missing)}", release.message or "lightragctl logs COMPONENT")
    return Result("status", _release(release), Status.FAILED, [error], ExitStatus.CHECKS_FAILED)


def down(release: str, stopped: bool, purged: bool, kept: Path | str) -> Result:
    """`down`: what was done, and what was kept."""
    data = {"release": release, "stopped": stopped, "purged": purged, "kept": "" if purged else str(kept)}
    return Result("down", data)


def render(objects: "Sequence[KubernetesObject]", written: Sequence[Path] | None) -> Result:
    """`render`: the objects, or the files that they were written to."""
    if written is not None:
        return Result("render", {"files": [str(path) for path in written]})
    return Result("render", {"objects": list(objects)})
