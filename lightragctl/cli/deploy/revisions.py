"""rollback, history, unlock: the life of a release on a cluster after its first up."""

from typing import Annotated, Any

import typer

from lightragctl.cli.deploy.commands import (
    UP_CONTINUES,
    Adopt,
    AllowDataLoss,
    DryRun,
    Events,
    ForceConflicts,
    PruneData,
    Timeout,
    Wait,
    after_plan,
    notice_on_interrupt,
)
from lightragctl.cli.options import OPTION_NAMES, GlobalOptions, Session
from lightragctl.core.errors import LightragctlError
from lightragctl.core.result import Result


def complete_revision(ctx: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Numbers of the release's revisions for shell completion; none when there is no answer."""
    outer = ctx.find_root().params
    given: dict[str, Any] = {name: ctx.params.get(name) or outer.get(name) for name in OPTION_NAMES}
    try:
        with Session("completion", GlobalOptions(**given)).release as release:
            revisions = release.revisions("history").history()
    except LightragctlError:
        return []
    known = [(str(one.number), f"{one.outcome}: {one.description}") for one in revisions]
    return [(number, about) for number, about in known if number.startswith(incomplete)]


Number = Annotated[
    int | None,
    typer.Argument(metavar="REVISION", help="Its number.", show_default=False, min=1, autocompletion=complete_revision),
]


def rollback(
    session: Session,
    revision: Number = None,
    wait: Wait = True,
    timeout: Timeout = 300.0,
    dry_run: DryRun = False,
    force_conflicts: ForceConflicts = False,
    adopt: Adopt = False,
    prune_data: PruneData = False,
    allow_data_loss: AllowDataLoss = False,
    events: Events = None,
) -> Result:
    """Take a release back to a revision: by default to the newest before the present one that was applied.

    The objects of that revision are applied as `up` would; that makes a new revision. Data stay as they are now.

    \b
    Examples:
      lightragctl rollback --profile dev
      lightragctl rollback 3 --profile dev --dry-run
    """
    from lightragctl.cli.deploy import payloads
    from lightragctl.core.runtime import UpOptions

    session.out.as_events = events is not None
    options = UpOptions(timeout, wait, force_conflicts, adopt, prune_data, allow_data_loss)
    if dry_run:
        return payloads.planned("rollback", session.release.revisions("rollback").rollback_diff(revision, options))
    from lightragctl.release.probe import prove_search

    with notice_on_interrupt(session, UP_CONTINUES), session.out.live() as notify:
        outcome = session.release.revisions("rollback").rollback(
            revision, options, session.approve, after_plan(session, notify)
        )
        search_ms = prove_search(session.release, outcome, timeout, notify) if wait else None
    return payloads.up("rollback", outcome, search_ms)


def history(session: Session, revision: Number = None) -> Result:
    """Show the revisions of a release, newest first; with a number that one whole.

    \b
    Examples:
      lightragctl history --profile dev
      lightragctl history 3 --profile dev -o yaml
    """
    from lightragctl.cli.deploy import payloads

    if revision is not None:
        return payloads.one_revision(session.release.name, session.release.revisions("history").revision(revision))
    return payloads.history(session.release.name, session.release.revisions("history").history())


def unlock(session: Session) -> Result:
    """Take the lock of a release away from a run that is dead; say who held it, and for how long.

    One that was renewed just now is only taken with --yes: its holder then stops before its next write.

    \b
    Examples:
      lightragctl unlock --profile dev
      lightragctl unlock --profile dev --yes
    """
    from lightragctl.cli.deploy import payloads

    unlocked = session.release.revisions("unlock").unlock(session.options.yes)
    if not unlocked.holder:
        session.release.runtime.components()  # refuses a release that is not there
    return payloads.unlock(session.release.name, unlocked)
