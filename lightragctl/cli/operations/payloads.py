"""From operations to the Results of `operations`. Pure; the keys of each payload are stated here only."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Any

from lightragctl.core.errors import ExitStatus
from lightragctl.core.objects import KubernetesObject
from lightragctl.core.result import ErrorInfo, Result, Status
from lightragctl.operations.events import progress_text
from lightragctl.operations.model import Kept, KeptData, Operation, Phase, next_command


def listed(release: str, records: Sequence[Operation], kept: Sequence[KeptData], removed: Sequence[KeptData]) -> Result:
    """`operations list`: the open operation first, kept data by their expiry, and what has just been deleted."""
    ordered = sorted(records, key=lambda one: not one.is_open)
    data = {
        "release": release,
        "operations": [_brief(one) for one in ordered],
        "kept": [_kept(one) for one in kept],
        "removed": [_kept(one) for one in removed],
    }
    return Result("operations list", data)


def _brief(record: Operation) -> dict[str, Any]:
    names = ("id", "kind", "workspace", "phase", "who", "created_at", "ended_at", "cause")
    return {name: getattr(record, name) for name in names} | {"open": record.is_open}


def _kept(one: KeptData) -> dict[str, Any]:
    return {"operation": one.operation.id, "expired": one.is_expired, **_entry(one.kept)}


def _entry(kept: Kept) -> dict[str, Any]:
    names = ("name", "about", "size_bytes", "created_at", "expires_at")
    return {name: getattr(kept, name) for name in names}


class Shower(StrEnum):
    """The commands that end by showing one operation."""

    STATUS = "operations status"
    PAUSE = "operations pause"
    RESUME = "operations resume"
    ABORT = "operations abort"
    REHEARSE = "operations rehearse"
    RUN = "operations run"
    PROMOTE = "operations promote"


def shown(record: Operation, by: Shower, driver: str = "") -> Result:
    """An operation whole. 1 when it has failed, 9 when something could not be undone.

    Args:
        record: of the operation.
        by: whose result it is.
        driver: who drives it now; empty for no process.
    """
    command = str(by)
    names = ("workspace", "kind", "release", "version", "deadline", "parameters", "originals", "results", "request")
    data = {
        **_brief(record),
        **{name: getattr(record, name) for name in names},
        "driver": driver,
        "in_job": record.job is not None,
        "steps": [_step(record, one.name) for one in record.steps],
        "progress": _progress(record),
        "kept": [_entry(one) for one in record.kept],
        "next": next_command(record),
    }
    if record.phase not in (Phase.FAILED, Phase.NEEDS_ATTENTION):
        return Result(command, data)
    is_stuck = record.phase is Phase.NEEDS_ATTENTION
    error = ErrorInfo(f"operation-{'needs-attention' if is_stuck else 'failed'}", record.cause, next_command(record))
    status = ExitStatus.NEEDS_ATTENTION if is_stuck else ExitStatus.FAILED
    return Result(command, data, Status.FAILED, (error,), status)


def _step(record: Operation, name: str) -> dict[str, Any]:
    step = record.step(name)
    names = ("name", "title", "state", "began_at", "ended_at", "attempts", "message")
    holds = bool(step.hold_through)
    return {**{key: getattr(step, key) for key in names}, "holds": holds, "held": holds and step.is_begun}


def _progress(record: Operation) -> dict[str, Any] | None:
    progress = record.progress
    if progress is None:
        return None
    names = ("step", "done", "total", "unit", "message", "updated_at", "rate_per_s", "remaining_s")
    return {**{name: getattr(progress, name) for name in names}, "text": progress_text(progress)}


def cleaned(release: str, chosen: Sequence[KeptData], deleted: Sequence[KeptData], dry_run: bool) -> Result:
    """`operations cleanup`: what was chosen, and what of it was deleted; 1 when something could not be."""
    data = {
        "release": release,
        "dry_run": dry_run,
        "chosen": [_kept(one) for one in chosen],
        "deleted": [_kept(one) for one in deleted],
    }
    left = [one.kept.name for one in chosen if one not in deleted]
    if dry_run or not left:
        return Result("operations cleanup", data)
    error = ErrorInfo("not-deleted", f"not deleted: {', '.join(left)}", "fix the errors above, and run it again")
    return Result("operations cleanup", data, Status.PARTIAL, (error,), ExitStatus.FAILED)


def rbac(command: str, objects: Sequence[KubernetesObject]) -> Result:
    """The objects that an administrator creates, as manifests."""
    return Result(command, {"objects": list(objects)})
