"""How `backup create` runs: in this process, or in a Job of the cluster."""

from dataclasses import dataclass
from typing import Any

from lightragctl.backup import workspace as opened
from lightragctl.backup.backup_kind import BACKUP
from lightragctl.backup.create import preview as previewed
from lightragctl.backup.encryption import check_recipients
from lightragctl.cli.backup import payloads
from lightragctl.cli.operations.driving import start
from lightragctl.cli.operations.steering import outcome
from lightragctl.cli.options import Session
from lightragctl.core.backup import Backup, claim_mounts
from lightragctl.core.errors import UsageError
from lightragctl.core.profile import Runtime
from lightragctl.core.result import Result
from lightragctl.core.urls import shown
from lightragctl.operations.model import JobSpec, Phase
from lightragctl.release.release import Release
from lightragctl.release.workspace_files import MOUNT
from lightragctl.release.writers import WRITER


@dataclass(frozen=True)
class Wanted:
    """The options of `backup create`; None: as the profile has it."""

    destination: str | None
    workspace: str | None
    full: bool
    fence: bool
    include_secrets: bool
    timeout_s: float


def preview(session: Session, wanted: Wanted) -> Result:
    """What would be backed up."""
    settings = session.release.loaded.profile.backup
    environ = opened.environ_of(session.release, settings)
    storage = opened.open_destination(settings, wanted.destination, environ)
    target = opened.destination(settings, storage, environ, wanted.full)
    choice = opened.Choice(_workspace(session.release, wanted), include_secrets=False)
    with session.out.live() as notify, opened.open_source(session.release, choice) as source:
        found = previewed(source, target, wanted.fence, notify)
        return payloads.backup_create_preview(storage.url, found)


def create(session: Session, wanted: Wanted, foreground: bool, service_account: str) -> Result:
    """Make a backup, as an operation of the release."""
    release = session.release
    profile, workspace = release.loaded.profile, _workspace(release, wanted)
    url = wanted.destination or profile.backup.destination
    if wanted.include_secrets and not profile.backup.recipients:
        raise UsageError("--include-secrets needs encryption", "set backup.recipients in the profile")
    check_recipients(profile.backup.recipients)
    spec = None
    if foreground or profile.runtime is Runtime.LOCAL:
        _check_here(release, wanted, workspace)
    else:
        spec = job_spec(release, profile.backup, url, workspace, service_account)
    record = start(session, BACKUP, parameters(profile.backup, wanted), workspace, spec)
    ended = outcome(session.command, record, Phase.SUCCEEDED)
    return payloads.backup_create(shown(str(url)), record, ended.errors, ended.exit_status)


def parameters(settings: Backup, wanted: Wanted) -> dict[str, Any]:
    """The parameters of the operation."""
    return {
        "settings": settings.model_dump(mode="json"),
        "destination": wanted.destination,
        "full": wanted.full,
        "fence": wanted.fence,
        "include_secrets": wanted.include_secrets,
        "timeout_s": wanted.timeout_s,
    }


def job_spec(release: Release, settings: Backup, url: str | None, workspace: str, account: str) -> JobSpec:
    """What the Job mounts: the volume of lightrag-server and that of the destination; and the secrets that it gets.

    Raises:
        UsageError: the destination or a secret is of this machine, which the Job cannot reach.
    """
    if url is None or url.startswith("file:"):
        message = f"a Job in the cluster cannot write to {shown(url)}" if url else "no destination for backups is given"
        raise UsageError(message, "use s3://BUCKET/PATH or pvc://CLAIM/PATH, or keep it here with --foreground")
    if settings.not_in_pods:
        names = ", ".join(f"backup.{name}" for name in settings.not_in_pods)
        hint = "refer to a Kubernetes Secret: {secret: {name: NAME, key: KEY}}; or keep it here with --foreground"
        raise UsageError(f"a Job in the cluster cannot read {names} of this machine", hint)
    files = opened.served_files(release, workspace)
    claims = claim_mounts(url)
    if files and files.claim:
        claims[MOUNT] = files.claim
    return JobSpec(service_account=account, secrets=settings.secrets, claims=claims, beside=WRITER if files else "")


def _check_here(release: Release, wanted: Wanted, workspace: str) -> None:
    """Refuse what cannot be backed up by this process, before an operation is begun."""
    settings = release.loaded.profile.backup
    environ = opened.environ_of(release, settings)
    opened.destination(settings, opened.open_destination(settings, wanted.destination, environ), environ, wanted.full)
    with opened.open_source(release, opened.Choice(workspace, include_secrets=False)):
        files = opened.served_files(release, workspace)
        if files is not None:
            opened.mounted(files)


def _workspace(release: Release, wanted: Wanted) -> str:
    return wanted.workspace or release.loaded.profile.workspace
