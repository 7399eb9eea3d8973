"""From what the packages return to the Results of `backup`. Pure; the keys of each payload are stated here only."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from lightragctl.core.errors import ExitStatus
from lightragctl.core.hint import Command, Hint
from lightragctl.core.result import ErrorInfo, Result, Status

if TYPE_CHECKING:
    from lightragctl.backup.catalog import Listed, Pruning
    from lightragctl.backup.create import Preview
    from lightragctl.backup.examine import Examined
    from lightragctl.backup.manifest import Manifest, Summary
    from lightragctl.backup.verify import Verified
    from lightragctl.operations.model import Operation, StepRecord


def backup_create(url: str, made: "Summary | None", record: "Operation", ended: Result) -> Result:
    """`backup create`: the new backup, and the operation that made it; without the former when that failed.

    `ended`: how the operation did.
    """
    ran = {"operation": record.id, "phase": record.phase, "seconds": {one.name: _seconds(one) for one in record.steps}}
    data = {"destination": url, **ran, **(made.model_dump(mode="json") if made else {})}
    return Result("backup create", data, ended.status, ended.errors, ended.exit_status)


def backup_create_preview(url: str, preview: "Preview") -> Result:
    """`backup create --dry-run`."""
    return Result("backup create", {"destination": url, "dry_run": True, **asdict(preview)})


def backup_show(url: str, manifest: "Manifest") -> Result:
    """`backup show`."""
    from lightragctl.backup.manifest import summary

    about = {
        "tool": manifest.tool,
        "server_version": manifest.server_version,
        "recipients": list(manifest.encryption.recipients) if manifest.encryption else [],
        "documents": [one.name for one in manifest.documents],
        "files": [{"name": one.name, "size_bytes": one.size_bytes} for one in manifest.files],
    }
    return Result("backup show", {"destination": url, **summary(manifest).model_dump(mode="json"), **about})


def backup_list(url: str, found: Sequence["Listed"]) -> Result:
    """`backup list`: 4 when a manifest cannot be read."""
    data = {"destination": url, "backups": [_listed(one) for one in found]}
    problems = [ErrorInfo("invalid-backup", one.problem) for one in found if one.problem]
    if problems:
        return Result("backup list", data, Status.PARTIAL, problems, ExitStatus.WARNINGS)
    return Result("backup list", data)


def _listed(one: "Listed") -> dict[str, Any]:
    manifest = one.manifest
    return {
        "id": one.id,
        "state": one.state,
        "release": one.subject.release if one.subject else None,
        "workspace": one.subject.workspace if one.subject else None,
        "started_at": one.started_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "parent": manifest.parent if manifest else None,
        "rows": sum(each.unique_keys for each in manifest.collections) if manifest else None,
        "size_bytes": manifest.size_bytes if manifest else None,
        "encrypted": manifest.encryption is not None if manifest else None,
    }


def backup_verify(url: str, found: "Verified") -> Result:
    """`backup verify`: 3 when something is wrong, 4 when rows could not be compared."""
    data = {"destination": url, **asdict(found)}
    if found.problems:
        errors = [ErrorInfo("invalid-backup", problem, _instead()) for problem in found.problems]
        return Result("backup verify", data, Status.FAILED, errors, ExitStatus.CHECKS_FAILED)
    if not found.contents:
        message = "the backup is encrypted, and rows were not compared: no identity is given"
        unread = ErrorInfo("not-decrypted", message, "set backup.identity in the profile to its private key")
        return Result("backup verify", data, Status.PARTIAL, [unread], ExitStatus.WARNINGS)
    return Result("backup verify", data)


def _instead() -> str:
    return Hint("do not restore it; create another one: ", Command("backup create", "--full"))


def backup_rekey(url: str, id: str, changed: Sequence[str]) -> Result:
    """`backup rekey`: the backups whose keys were encrypted again; none when they are not encrypted."""
    return Result("backup rekey", {"destination": url, "id": id, "rekeyed": list(changed)})


def backup_prune(url: str, planned: "Pruning", deleted: Sequence[str]) -> Result:
    """`backup prune`: what is kept and why, what can be deleted, and what was."""
    data = {
        "destination": url,
        "keep": [{"id": id, "reasons": list(reasons)} for id, reasons in planned.choice.keep.items()],
        "delete": [
            {"id": id, "incomplete": id in planned.incomplete, "size_bytes": planned.sizes[id]}
            for id in planned.deleted
        ],
        "deleted": list(deleted),
    }
    return Result("backup prune", data)


class Copier(StrEnum):
    """The commands that end with a copy of a workspace."""

    RESTORE = "restore"
    CLONE = "clone"


def restore_planned(workspace: str, found: "Examined", drill: bool) -> Result:
    """`restore --dry-run`: what would be copied, replaced and lost, and which secrets must be recreated."""
    return Result("restore", {"dry_run": True, "workspace": workspace, "drill": drill, **asdict(found)})


def clone_planned(source: str, workspace: str, rows: Mapping[str, int]) -> Result:
    """`clone --dry-run`: the collections that would be copied, with their rows."""
    return Result("clone", {"dry_run": True, "source": source, "workspace": workspace, "rows": dict(rows)})


def copied(by: Copier, record: "Operation", ended: Result) -> Result:
    """`restore` and `clone`: what was copied, and how the operation ended."""
    results = record.results
    data = {
        "operation": record.id,
        "kind": record.kind,
        "phase": record.phase,
        "workspace": record.workspace,
        "backup": results.get("backup"),
        "proof": results.get("proof"),
        "losses": results.get("losses", []),
        "secrets": results.get("secrets", []),
        "writer_stopped_s": results.get("writer_stopped_s"),
        "seconds": {one.name: _seconds(one) for one in record.steps},
        "kept": [
            {"name": one.name, "about": one.about, "size_bytes": one.size_bytes, "expires_at": one.expires_at}
            for one in record.kept
        ],
    }
    return Result(str(by), data, ended.status, ended.errors, ended.exit_status)


def _seconds(step: "StepRecord") -> float | None:
    """How long a step took; None when it did not end."""
    if step.began_at is None or step.ended_at is None:
        return None
    return round((step.ended_at - step.began_at).total_seconds(), 1)
