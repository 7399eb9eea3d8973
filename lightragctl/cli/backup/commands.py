"""backup create, list, show, verify, prune, rekey."""

from typing import Annotated, Any

import typer

from lightragctl.cli.data.commands import Workspace
from lightragctl.cli.deploy.commands import Timeout
from lightragctl.cli.operations.commands import Foreground, PrintRbac, ServiceAccount
from lightragctl.cli.options import Session
from lightragctl.core.errors import UsageError
from lightragctl.core.result import Event, Result

Place = Annotated[
    str | None,
    typer.Option(
        "--destination",
        metavar="URL",
        help="file:///PATH, s3://BUCKET/PATH or pvc://CLAIM/PATH. (default: backup.destination of the profile)",
        show_default=False,
    ),
]
Id = Annotated[
    str,
    typer.Argument(
        metavar="ID",
        help="Backup ID, or latest for the newest complete backup of the profile's workspace.",
        show_default=False,
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would be done without changing anything.")]


def create(
    session: Session,
    destination: Place = None,
    workspace: Workspace = None,
    full: Annotated[
        bool, typer.Option("--full", help="Create a full backup even if an incremental one is possible.")
    ] = False,
    fence: Annotated[
        bool,
        typer.Option(
            "--fence/--no-fence", help="Block writes during the backup; --no-fence: read until two passes agree."
        ),
    ] = True,
    include_secrets: Annotated[
        bool, typer.Option("--include-secrets", help="Include the values of Secrets; requires encryption.")
    ] = False,
    foreground: Foreground = False,
    print_rbac: PrintRbac = False,
    service_account: ServiceAccount = "",
    in_cluster: Annotated[bool, typer.Option("--in-cluster", hidden=True)] = False,
    timeout_s: Timeout = 600.0,
    dry_run: DryRun = False,
) -> Result:
    """Back up a workspace: vectors, LightRAG's files, configuration. A backup appears only when it is complete.

    Incremental by default: stores the rows that have changed; every seventh backup (backup.full_every) is full.
    On a cluster a Job copies the data inside the cluster. It is an operation: lightragctl operations status.

    \b
    Examples:
      lightragctl backup create --destination file:///mnt/backups
      lightragctl backup create --profile dev --destination s3://bucket/lightrag -w manuals --full
      lightragctl backup create --profile dev --destination pvc://backups/lightrag
      lightragctl backup create --dry-run -o json
    """
    from lightragctl.backup.backup_kind import BACKUP
    from lightragctl.cli.backup import creating
    from lightragctl.cli.operations import payloads
    from lightragctl.cli.operations.steering import rbac

    if print_rbac:
        return payloads.rbac("backup create", rbac(session, BACKUP))
    if in_cluster:
        return creating.create_scheduled(session)
    wanted = creating.Wanted(destination, workspace, full, fence, include_secrets, timeout_s)
    if dry_run:
        return creating.preview(session, wanted)
    return creating.create(session, wanted, foreground, service_account)


def schedule(
    session: Session,
    cron: Annotated[
        str | None,
        typer.Option(
            "--cron", metavar="CRON", help="Cron schedule, in UTC. (default: backup.schedule)", show_default=False
        ),
    ] = None,
) -> Result:
    """Print the CronJob of scheduled backups and its RBAC objects. `up` applies them if backup.schedule is set.

    \b
    Examples:
      lightragctl backup schedule --profile prod --cron '0 3 * * *'
      lightragctl up --profile dev --set 'backup.schedule=0 3 * * *'
    """
    from lightragctl.cli.backup import creating

    return creating.schedule(session, cron)


def list_(session: Session, destination: Place = None) -> Result:
    """List the backups of a destination, newest first, including interrupted ones.

    \b
    Examples:
      lightragctl backup list --destination s3://bucket/lightrag
      lightragctl backup list -o json
    """
    from lightragctl.backup.catalog import listed
    from lightragctl.cli.backup import payloads

    storage = _storage(session, destination)
    return payloads.backup_list(storage.url, listed(storage, _now()))


def show(session: Session, id: Id, destination: Place = None) -> Result:
    """Show the contents of a backup: collections, files, the backups it is based on, how consistency was ensured.

    \b
    Examples:
      lightragctl backup show latest
      lightragctl backup show 20261130T120000Z-0a1b2c3d -o json
    """
    from lightragctl.backup.chain import read_manifest
    from lightragctl.cli.backup import payloads

    storage = _storage(session, destination)
    return payloads.backup_show(storage.url, read_manifest(storage, _chosen(session, storage, id)))


def verify(
    session: Session,
    id: Id = "latest",
    read_data: Annotated[
        str, typer.Option("--read-data", metavar="SHARE", help="Percentage of the objects to read, such as 10%.")
    ] = "100%",
    destination: Place = None,
) -> Result:
    """Verify a backup and those it is based on: sizes, SHA-256, row hashes, digests. Exit status 3 if one is damaged.

    Below 100%, objects are chosen at random, and rows are not compared with their hashes.

    \b
    Examples:
      lightragctl backup verify
      lightragctl backup verify 20261130T120000Z-0a1b2c3d --read-data 10%
    """
    import random

    from lightragctl.backup.chain import open_chain
    from lightragctl.backup.manifest import InvalidBackupError
    from lightragctl.backup.verify import unreadable
    from lightragctl.backup.verify import verify as check
    from lightragctl.backup.workspace import environ_of, identities
    from lightragctl.cli.backup import payloads

    share = _share(read_data)
    storage = _storage(session, destination)
    settings = session.release.loaded.profile.backup
    keys = identities(settings, environ_of(session.release, settings))
    with session.out.live() as notify:
        found = _chosen(session, storage, id)
        try:
            chain = open_chain(storage, found, keys or None)
        except InvalidBackupError as error:
            return payloads.backup_verify(storage.url, unreadable(found, error))
        return payloads.backup_verify(storage.url, check(chain, share, random.random, notify))


def prune(session: Session, destination: Place = None, workspace: Workspace = None, dry_run: DryRun = False) -> Result:
    """Delete old backups of a workspace as set by backup.retention, and remains of interrupted ones.

    A backup that a kept one is based on is kept too.

    \b
    Examples:
      lightragctl backup prune --dry-run
      lightragctl backup prune --yes --set backup.retention.last=3
    """
    from lightragctl.backup import catalog
    from lightragctl.backup.lock import Holder, Lock, Subject
    from lightragctl.cli.backup import payloads
    from lightragctl.release.open import this_user

    profile = session.release.loaded.profile
    policy, storage = profile.backup.retention, _storage(session, destination)
    subject = Subject(session.release.name, workspace or profile.workspace)
    planned = catalog.pruning(storage, subject, policy, _now())
    if dry_run or not planned.deleted:
        return payloads.backup_prune(storage.url, planned, ())
    for id in planned.deleted:
        session.out.notify(Event(f"to be deleted, {planned.sizes[id] / 1e6:.1f} MB", id))
    session.confirm(f"Delete {len(planned.deleted)} backups of workspace '{subject.workspace}' in {storage.url}?")
    with Lock(storage, subject, Holder(this_user(), "backup prune"), _now) as held:
        return payloads.backup_prune(
            storage.url, planned, catalog.prune(storage, subject, planned.deleted, policy, held)
        )


def rekey(session: Session, id: Id = "latest", destination: Place = None) -> Result:
    """Re-encrypt the data key of a backup, and of those it is based on, for backup.recipients of the profile.

    The data is not rewritten. Requires backup.identity, a private key that can decrypt the backup now.

    \b
    Examples:
      lightragctl backup rekey latest --set 'backup.recipients=[age1...]'
    """
    from lightragctl.backup import catalog
    from lightragctl.backup.chain import open_chain
    from lightragctl.backup.lock import Holder, Lock, Subject
    from lightragctl.backup.workspace import environ_of, identities
    from lightragctl.cli.backup import payloads
    from lightragctl.release.open import this_user

    settings = session.release.loaded.profile.backup
    if not settings.recipients:
        raise UsageError("there are no recipients to encrypt for", "set backup.recipients in the profile")
    storage = _storage(session, destination)
    found = _chosen(session, storage, id)
    chain = open_chain(storage, found, identities(settings, environ_of(session.release, settings)))
    subject = Subject(chain.manifest.release, chain.manifest.workspace)
    with Lock(storage, subject, Holder(this_user(), "backup rekey"), _now) as held:
        return payloads.backup_rekey(storage.url, found, catalog.rekey(storage, chain, settings.recipients, held))


def _storage(session: Session, destination: str | None) -> Any:
    from lightragctl.backup.workspace import environ_of, open_destination

    settings = session.release.loaded.profile.backup
    return open_destination(settings, destination, environ_of(session.release, settings), missing="refuse")


def _chosen(session: Session, storage: Any, id: str) -> str:
    from lightragctl.backup.catalog import chosen
    from lightragctl.backup.workspace import subject_of

    return chosen(storage, id, subject_of(session.release), _now())


def _share(text: str) -> float:
    number, percent, _ = text.strip().partition("%")
    try:
        share = float(number) / 100
    except ValueError:
        share = 0.0
    if not percent or not 0 < share <= 1:
        raise UsageError(f"--read-data {text} is not a percentage", "such as 10% or 100%")
    return share


def _now() -> Any:
    from datetime import UTC, datetime

    return datetime.now(UTC)
