"""rollback, history, unlock: revisions of a release on a cluster, and its lock."""

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
    """Revision numbers for shell completion; empty when the cluster does not answer."""
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
    typer.Argument(
        metavar="REVISION", help="Revision number.", show_default=False, min=1, autocompletion=complete_revision
    ),
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
    """Roll back to an earlier revision; by default to the last one that was applied before the current one.

    Applies the objects of that revision as `up` does and records a new revision. Data is not rolled back.

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
    """List the revisions of a release, newest first; with a number, show that revision in full.

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
    """Release the lock of a release after its holder has died; shows who held it and since when.

    A lock that was renewed recently is only released with --yes: its holder then stops before its next write.

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
