"""What the Job of a backup or a restore needs: volumes, and the secrets of the destination."""

from typing import Any

from lightragctl.core.backup import claim_mounts
from lightragctl.core.errors import UsageError
from lightragctl.core.urls import shown
from lightragctl.operations.model import JobSpec
from lightragctl.release.release import Release
from lightragctl.release.workspace_files import MOUNT, find_files
from lightragctl.release.writers import WRITER


def job_spec(release: Release, url: str | None, account: str = "") -> JobSpec:
    """The Job of an operation on the backups at a URL.

    Args:
        release: whose volume of lightrag-server it mounts.
        url: where the backups are.
        account: that an administrator made; empty: one is made.

    Raises:
        UsageError: the backups or a secret are of this machine, which the Job cannot reach.
    """
    if url is None or url.startswith("file:"):
        message = f"a Job in the cluster cannot reach {shown(url)}" if url else "no backup destination is set"
        raise UsageError(message, "use s3://BUCKET/PATH or pvc://CLAIM/PATH, or keep it here with --foreground")
    settings = release.loaded.profile.backup
    if settings.not_in_pods:
        names = ", ".join(f"backup.{name}" for name in settings.not_in_pods)
        hint = "refer to a Kubernetes Secret: {secret: {name: NAME, key: KEY}}; or keep it here with --foreground"
        raise UsageError(f"a Job in the cluster cannot read {names} of this machine", hint)
    return JobSpec(service_account=account, secrets=settings.secrets, **volumes(release, claim_mounts(url)))


def volumes(release: Release, claims: dict[str, str]) -> dict[str, Any]:
    """The claims with that of lightrag-server, and beside what the Job runs therefore."""
    files = find_files(release.runtime, release.name)
    if files is None or files.claim is None:
        return {"claims": claims}
    return {"claims": {**claims, MOUNT: files.claim}, "beside": WRITER}
