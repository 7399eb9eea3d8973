"""Plans and starts an upgrade for its command."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from lightragctl.cli.options import Session
from lightragctl.core.errors import ExitStatus
from lightragctl.core.result import Event, Result

if TYPE_CHECKING:
    from lightragctl.operations.model import JobSpec
    from lightragctl.release.release import Release
    from lightragctl.upgrade.plan import Strategy, UpgradePlan

_BACKUP_WAIT_S = 1800.0
"""How long a backup waits until nothing writes any more."""


@dataclass(frozen=True)
class Wanted:
    """The options of an upgrade: with a canary, seconds to watch it, COMPONENT=TAG texts, URL of a webhook."""

    canary: bool
    observe_s: float
    images: tuple[str, ...]
    notify: str = ""


def planned(session: Session, wanted: Wanted) -> "tuple[UpgradePlan, Release]":
    """What the upgrade would do, and the release as it would be; closed with the session's.

    Raises:
        RefusedError: the release runs as local processes, or an earlier upgrade would be undone.
        NotRunningError: it is not up.
    """
    from lightragctl.deploy.up import wanted as desired_of
    from lightragctl.release.open import lock_holder
    from lightragctl.upgrade.read_plan import deployed, read_plan
    from lightragctl.upgrade.site import overrides_of, site_of

    release = session.release
    site = site_of(release)
    inventory = deployed(site)
    target = _target(session, wanted)
    overrides = overrides_of(inventory.profile, _assignments(release, wanted))
    desired = replace(desired_of(target.plan), overrides=overrides)
    with session.out.live() as notify:
        notify(Event("measuring the traffic", "plan", passing=True))
        return read_plan(site, desired, (wanted.observe_s, wanted.canary), lock_holder().pause), target


def upgrade(session: Session, wanted: Wanted, foreground: bool, service_account: str) -> Result:
    """Plan, ask, start the operation and stay with it."""
    from lightragctl.cli.operations.driving import start
    from lightragctl.cli.operations.steering import outcome
    from lightragctl.cli.upgrade import payloads
    from lightragctl.operations.model import Phase
    from lightragctl.operations.notification import PARAMETER
    from lightragctl.upgrade.kinds import BY_STRATEGY
    from lightragctl.upgrade.plan import refuse, the_strategy
    from lightragctl.upgrade.read_plan import deployed
    from lightragctl.upgrade.site import overrides_of, site_of

    found, target = planned(session, wanted)
    if not found.components and not found.others:
        return payloads.plan(session.release.name, found)
    refuse(found)
    strategy = the_strategy(found)
    names = [one.component for one in found.components if one.strategy is strategy]
    session.out.notify(Event(_headline(found), session.release.name))
    if session.out.interactive:
        session.confirm(f"Upgrade release '{session.release.name}'?")
    assignments = _assignments(session.release, wanted)
    parameters = {
        "profile_name": target.plan.profile_name,
        "profile": target.plan.profile.model_dump(mode="json"),
        "overrides": overrides_of(deployed(site_of(session.release)).profile, assignments),
        "components": names,
        "canary": wanted.canary and bool(names),
        "observe_s": wanted.observe_s,
        PARAMETER: wanted.notify,
    }
    data, spec, workspace = _of_data(session.release, found, strategy, foreground)
    if spec is not None:
        spec = spec.model_copy(update={"service_account": service_account})
    record = start(session, BY_STRATEGY[strategy], parameters | data, workspace, spec)
    return _with_lines(outcome(session.command, record, Phase.SUCCEEDED), assignments)


def _of_data(
    release: "Release", found: "UpgradePlan", strategy: "Strategy", foreground: bool
) -> "tuple[dict[str, Any], JobSpec | None, str]":
    """Further parameters of an upgrade of data, what its Job needs, and the workspace that it backs up.

    Raises:
        UsageError: it needs a backup, and there is no destination for it that can be reached.
    """
    from lightragctl.cli.backup.creating import Wanted as BackupWanted
    from lightragctl.cli.backup.creating import check_here, parameters
    from lightragctl.cli.backup.jobs import job_spec
    from lightragctl.core.versions import HopKind
    from lightragctl.operations.model import JobSpec
    from lightragctl.upgrade.plan import ALONE, Strategy

    spec = None if foreground else JobSpec()
    if strategy not in ALONE:
        return {}, spec, ""
    profile = release.loaded.profile
    one_way = found.components[0].kind is HopKind.ONE_WAY
    backup = one_way or strategy is Strategy.WRITER
    wanted = BackupWanted(None, None, full=False, fence=True, include_secrets=False, timeout_s=_BACKUP_WAIT_S)
    if backup and foreground:
        check_here(release, wanted, profile.workspace)
    elif backup:
        spec = job_spec(release, profile.backup.destination)
    data = {**parameters(profile.backup, wanted), "one_way": one_way, "backup": backup}
    return data | {"downgrade": found.components[0].downgrade}, spec, profile.workspace


def _assignments(release: "Release", wanted: Wanted) -> list[str]:
    """The assignments of profile keys that the images stand for."""
    from lightragctl.upgrade.plan import override

    return [override(release.plan, one) for one in wanted.images]


def _target(session: Session, wanted: Wanted) -> "Release":
    """The release with the images as overrides of its profile."""
    from lightragctl.release.release import Release

    options = session.release.options
    more = _assignments(session.release, wanted)
    return Release(
        replace(options, assignments=(*options.assignments, *more), name=session.release.name), session.environ
    )


def _headline(found: "UpgradePlan") -> str:
    """The plan in one line."""
    parts = [f"{one.component} ({one.strategy}, {one.kind})" for one in found.components]
    watched = f", canaries watched for {found.observe_s:.0f} s" if found.canary else ""
    return f"upgrading {', '.join(parts) or f'{len(found.others)} objects'}{watched}"


def _with_lines(result: Result, assignments: Sequence[str]) -> Result:
    """The result of an upgrade; of one with images, with the lines that its profile lacks."""
    lines = [one.replace("=", ": ", 1) for one in assignments] if result.exit_status == ExitStatus.DONE else []
    return replace(result, payload={**result.data, "profile_lines": lines})
