"""restore, clone: a workspace from a backup, or from another workspace."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from lightragctl.cli.backup.commands import DryRun, Id
from lightragctl.cli.deploy.commands import Timeout
from lightragctl.cli.operations.commands import Foreground
from lightragctl.cli.options import Session
from lightragctl.core.errors import ExitStatus, RefusedError, UsageError
from lightragctl.core.hint import Command, Hint
from lightragctl.core.result import Event, Result

if TYPE_CHECKING:
    from lightragctl.backup.examine import Examined
    from lightragctl.backup.origin import BackupOrigin, Origin
    from lightragctl.operations.kind import OperationKind
    from lightragctl.operations.model import JobSpec

AllowLossy = Annotated[
    bool, typer.Option("--allow-lossy", help="Continue even if the server or the release cannot hold all of the data.")
]


def restore(
    session: Session,
    id: Id,
    source: Annotated[
        str | None,
        typer.Option(
            "--source",
            metavar="URL",
            help="Location of the backup: file:///PATH, s3://BUCKET/PATH or pvc://CLAIM/PATH. "
            "(default: backup.destination)",
            show_default=False,
        ),
    ] = None,
    target_workspace: Annotated[
        str | None,
        typer.Option("--target-workspace", metavar="NAME", help="Workspace to restore. (default: that of the backup)"),
    ] = None,
    drill: Annotated[
        bool,
        typer.Option(
            "--drill", help="Restore drill: restore under temporary names, verify, measure the time, delete the copy."
        ),
    ] = False,
    allow_lossy: AllowLossy = False,
    foreground: Foreground = False,
    timeout_s: Timeout = 600.0,
    dry_run: DryRun = False,
) -> Result:
    """Restore a workspace from a backup; it is verified before readers switch. Previous data is kept for 7 days.

    The existing data stays in use until the switch, which takes seconds; queries during the switch get a 503.

    \b
    Examples:
      lightragctl restore latest --source file:///mnt/backups
      lightragctl restore 20261130T120000Z-0a1b2c3d --target-workspace manuals_of_may --yes
      lightragctl restore latest --profile dev --source pvc://backups/lightrag --yes
      lightragctl restore latest --drill -o json
    """
    from lightragctl.backup.kinds import DRILL, RESTORE
    from lightragctl.cli.backup import payloads

    url = source or session.release.loaded.profile.backup.destination
    given = {"backup": id, "source": url, "allow_lossy": allow_lossy, "timeout_s": timeout_s}
    kind, is_here = DRILL if drill else RESTORE, _is_here(session, foreground)
    origin = _backup(session, source, id, must=is_here or dry_run)
    if origin is None:
        target = _checked(target_workspace or session.release.loaded.profile.workspace)
        _agree_unexamined(session, target, drill)
        return _run(session, kind, {**given, "is_assumed": target_workspace is None}, target, is_here)
    target = _checked(target_workspace or origin.workspace)
    found = _examined(session, origin, target)
    if dry_run:
        return payloads.restore_planned(target, found, drill)
    _agree(session, found, target, allow_lossy, drill)
    return _run(session, kind, {**given, "backup": origin.chain.manifest.id}, target, is_here)


def clone(
    session: Session,
    workspace: Annotated[str, typer.Argument(metavar="WORKSPACE", help="Workspace to copy.", show_default=False)],
    new: Annotated[str, typer.Argument(metavar="NEW", help="Name of the copy.", show_default=False)],
    foreground: Foreground = False,
    timeout_s: Timeout = 600.0,
    dry_run: DryRun = False,
) -> Result:
    """Copy a workspace under another name. Writes to the original are blocked until the copy is verified.

    \b
    Examples:
      lightragctl clone default experiment
      lightragctl clone default experiment --dry-run
      lightragctl clone manuals manuals_of_may --profile dev
    """
    from lightragctl.backup.kinds import CLONE
    from lightragctl.cli.backup import payloads

    rows = _check_names(session, workspace, _checked(new))
    if dry_run:
        return payloads.clone_planned(workspace, new, rows)
    parameters = {"workspace": workspace, "timeout_s": timeout_s}
    return _run(session, CLONE, parameters, new, _is_here(session, foreground))


def _is_here(session: Session, foreground: bool) -> bool:
    """Whether the operation runs in this process, not in a Job."""
    from lightragctl.core.profile import Runtime

    return foreground or session.release.loaded.profile.runtime is Runtime.LOCAL


def _checked(workspace: str) -> str:
    import re

    from lightragctl.core.settings import WORKSPACE_PATTERN

    if not re.fullmatch(WORKSPACE_PATTERN, workspace):
        raise UsageError(f"'{workspace[:80]}' cannot name a workspace", "use 1 to 64 letters, digits and _")
    return workspace


def _check_names(session: Session, source: str, new: str) -> dict[str, int]:
    """Refuse a source that does not exist and a target that does, before an operation is begun.

    Returns the rows of each collection of the source.
    """
    from lightragctl.backup.site import open_site, source_collections
    from lightragctl.backup.steps import exists

    with session.out.live() as notify, open_site(session.release, new, notify) as site:
        collections = source_collections(site, source, session.release.name)
        if site.collections:
            raise exists(new)
        return {name: site.store.row_count(name) for name in collections}


def _backup(session: Session, source: str | None, id: str, must: bool) -> "BackupOrigin | None":
    """The backup; None if only the Job can read it, as on a volume claim or in a store inside the cluster.

    `must`: that is an error.
    """
    from types import SimpleNamespace

    from lightragctl.backup.site import open_backup
    from lightragctl.backup.storage import NotMountedError, Patience, StorageUnavailableError
    from lightragctl.cli.backup.commands import _now
    from lightragctl.core.profile import Runtime
    from lightragctl.kube.model import ForbiddenError

    is_local = session.release.loaded.profile.runtime is Runtime.LOCAL
    patience = None if is_local else Patience(request_s=10.0, stalled_s=10.0, retries=2, total_s=15.0)
    try:
        return open_backup(session.release, source, id, SimpleNamespace(now=_now), patience)
    except (StorageUnavailableError, NotMountedError, ForbiddenError) as error:
        if is_local:
            raise
        if must:
            hint = Hint("prove that it can be restored, in the cluster: ", Command("restore", f"{id} --drill"))
            raise RefusedError(f"the backup cannot be read from here: {error.message}", hint) from error
        session.out.notify(Event(f"the backup cannot be read from here, so the Job checks it: {error.message}"))
        return None


def _agree_unexamined(session: Session, target: str, drill: bool) -> None:
    """Ask before data are replaced by a backup that only the Job can read."""
    from lightragctl.backup.examine import replaced
    from lightragctl.backup.site import open_site

    with session.out.live() as notify, open_site(session.release, target, notify) as site:
        names = ", ".join(replaced(site))
    if names and not drill:
        session.confirm(f"Replace workspace '{target}' ({names})? Its current data is kept for 7 days.")


def _examined(session: Session, origin: "Origin", target: str) -> "Examined":
    """Refuse what cannot be restored, before an operation is begun."""
    from lightragctl.backup.examine import examine
    from lightragctl.backup.site import Work, open_site

    with session.out.live() as notify, open_site(session.release, target, notify) as site:
        return examine(Work(origin, site), "0")


def _agree(session: Session, found: "Examined", target: str, allow_lossy: bool, drill: bool) -> None:
    """Refuse losses that are not allowed, and ask before data are replaced."""
    from lightragctl.backup.steps import refuse_losses

    refuse_losses(found.losses, allow_lossy)
    if found.replaced and not drill:
        names = ", ".join(found.replaced)
        session.confirm(f"Replace workspace '{target}' ({names})? Its current data is kept for 7 days.")


def _run(session: Session, kind: "OperationKind", parameters: dict[str, Any], workspace: str, is_here: bool) -> Result:
    """Run the operation; one that failed in its check has changed nothing and is closed."""
    from dataclasses import replace

    from lightragctl.cli.backup import payloads
    from lightragctl.cli.operations.driving import operator, start, stay
    from lightragctl.cli.operations.steering import outcome
    from lightragctl.operations import control
    from lightragctl.operations.model import Phase, StepState

    spec = None if is_here else _job(session, parameters.get("source"))
    record = start(session, kind, parameters, workspace, spec)
    if record.phase is Phase.FAILED and record.steps[0].state is StepState.FAILED:
        cause, works = record.cause, operator(session)
        control.abort(works.place, record.id, works.clock.now())
        record = stay(works, record.id, foreground=True).changed(cause=cause)
        ended = replace(outcome(session.command, record, Phase.SUCCEEDED), exit_status=ExitStatus.FAILED)
    else:
        ended = outcome(session.command, record, Phase.SUCCEEDED)
    return payloads.copied(payloads.Copier(session.command), record, ended)


def _job(session: Session, source: str | None) -> "JobSpec":
    """What the Job mounts and knows; `source`: the URL of the backup, None for a clone."""
    from lightragctl.cli.backup.jobs import job_spec, volumes
    from lightragctl.operations.model import JobSpec

    release = session.release
    return job_spec(release, source) if source else JobSpec(**volumes(release, {}))
