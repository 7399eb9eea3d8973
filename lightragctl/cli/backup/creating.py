"""How `backup create` runs: in this process, or in a Job of the cluster."""

from dataclasses import dataclass, replace
from typing import Any

from pydantic import ValidationError

from lightragctl.backup import workspace as opened
from lightragctl.backup.backup_kind import BACKUP
from lightragctl.backup.create import preview as previewed
from lightragctl.backup.encryption import check_recipients
from lightragctl.backup.manifest import Summary
from lightragctl.cli.backup import payloads
from lightragctl.cli.backup.jobs import job_spec
from lightragctl.cli.operations.driving import operator, start
from lightragctl.cli.operations.payloads import rbac as rbac_payload
from lightragctl.cli.operations.steering import in_pod, outcome
from lightragctl.cli.options import Session
from lightragctl.core import assets
from lightragctl.core.backup import Backup
from lightragctl.core.errors import UsageError
from lightragctl.core.profile import Runtime
from lightragctl.core.result import Result
from lightragctl.core.urls import shown
from lightragctl.deploy.render import render_plan
from lightragctl.operations.control import begin, drive
from lightragctl.operations.kind import new_operation
from lightragctl.operations.model import Operation, Phase
from lightragctl.release.release import Release

SCHEDULED_TIMEOUT_S = 1800.0
"""How long a scheduled backup waits until nothing writes any more."""


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
    storage = opened.open_destination(settings, wanted.destination, environ, missing="empty")
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
        check_here(release, wanted, workspace)
    else:
        spec = job_spec(release, url, service_account)
    record = start(session, BACKUP, parameters(profile.backup, wanted), workspace, spec)
    return _ended(session, url, record)


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


def _ended(session: Session, url: str | None, record: Operation) -> Result:
    ended = outcome(session.command, record, Phase.SUCCEEDED)
    made = Summary.of(record.results["made"]) if "made" in record.results else None
    return payloads.backup_create(shown(str(url)), made, record, ended)


def check_here(release: Release, wanted: Wanted, workspace: str) -> None:
    """Refuse what cannot be backed up by this process, before an operation is begun."""
    settings = release.loaded.profile.backup
    environ = opened.environ_of(release, settings)
    opened.open_destination(settings, wanted.destination, environ, missing="empty")
    with opened.open_source(release, opened.Choice(workspace, include_secrets=False)):
        files = opened.served_files(release, workspace)
        if files is not None:
            opened.mounted(files)
        tables = opened.served_tables(release, workspace)
        if tables is not None:
            tables.check()
    opened.destination(settings, opened.open_destination(settings, wanted.destination, environ), environ, wanted.full)


def _workspace(release: Release, wanted: Wanted) -> str:
    return wanted.workspace or release.loaded.profile.workspace


def create_scheduled(session: Session) -> Result:
    """What the pod of a CronJob does: continue the backup that a pod before it began, else make one.

    Exits with 7 when the backup failed and everything was undone, so that its Job does not try it again at once.
    """
    with in_pod(session, True) as pod:
        works = operator(pod)
        profile = pod.release.loaded.profile
        records = works.place.store.records()
        found = next((one for one in records if one.is_open and one.parameters.get("scheduled")), None)
        if found is None:
            wanted = Wanted(None, None, full=False, fence=True, include_secrets=False, timeout_s=SCHEDULED_TIMEOUT_S)
            given = {**parameters(profile.backup, wanted), "scheduled": True}
            spec = job_spec(pod.release, profile.backup.destination, "")
            made = new_operation(BACKUP, pod.release.name, given, works.started(), profile.workspace)
            found = begin(works.place, made.changed(job=spec), session.out.notify)
        record = drive(works.place, found.id, works.crew(session.out.notify), in_job=True)
    return _ended(session, profile.backup.destination, record)


def schedule(session: Session, cron: str | None) -> Result:
    """The CronJob with its account, as `up` applies it when the profile has `backup.schedule`."""
    plan = session.release.plan
    given = plan.profile.backup.model_dump()
    try:
        settings = Backup.model_validate({**given, "schedule": cron or given["schedule"]})
    except ValidationError as error:
        raise UsageError(f"backup.schedule: {error.errors()[0]['msg'].removeprefix('Value error, ')}") from error
    if settings.schedule is None:
        raise UsageError("there is no schedule", "set backup.schedule in the profile, or --cron '0 3 * * *'")
    scheduled = replace(plan, profile=plan.profile.model_copy(update={"backup": settings}))
    objects = render_plan(scheduled, assets.root() / "templates")
    mine = [one for one in objects if one["metadata"]["name"].startswith(f"{plan.release}-backup")]
    return rbac_payload(session.command, mine)
