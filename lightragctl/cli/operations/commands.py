"""operations list, status, pause, resume, abort, cleanup, rehearse, run."""

from typing import Annotated

import typer

from lightragctl.cli.options import Session
from lightragctl.core.result import Result

Id = Annotated[str, typer.Argument(metavar="ID", help="The operation's id.", show_default=False)]
Foreground = Annotated[
    bool, typer.Option("--foreground", help="Drive it in this process instead of in a Job of the cluster.")
]


def list_(session: Session) -> Result:
    """List the operations of a release, the open one first, and the data that closed ones kept.

    \b
    Examples:
      lightragctl operations list
      lightragctl operations list --profile dev -o json
    """
    from lightragctl.cli.operations import payloads
    from lightragctl.cli.operations.cleaning import clean_expired
    from lightragctl.cli.operations.driving import operator
    from lightragctl.operations.control import kept_data

    works = operator(session)
    removed = clean_expired(works)
    records = works.place.store.records()
    return payloads.listed(session.release.name, records, kept_data(works.place, works.clock.now()), removed)


def status(
    session: Session,
    operation_id: Annotated[
        str | None, typer.Argument(metavar="ID", help="Its id. (default: the open one, else the newest)")
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Report until it needs no driver any more.")] = False,
) -> Result:
    """Show an operation: its phase, its steps, what it holds, its progress and what to run next.

    Exits with 1 when it has failed, with 9 when something could not be undone.

    \b
    Examples:
      lightragctl operations status
      lightragctl operations status backup-3f9a1c --watch
    """
    from lightragctl.cli.operations import payloads
    from lightragctl.cli.operations.cleaning import clean_expired
    from lightragctl.cli.operations.driving import operator
    from lightragctl.operations.control import newest
    from lightragctl.operations.follow import follow

    works = operator(session)
    chosen = operation_id or newest(works.place).id
    if watch:
        with session.out.live() as notify:
            follow(works.place.store, chosen, works.clock, notify, lambda record: "")
    clean_expired(works)
    record = works.place.store.read(chosen)
    return payloads.shown(record, payloads.Shower.STATUS, works.place.driver(chosen))


def pause(session: Session, operation_id: Id, foreground: Foreground = False) -> Result:
    """Pause an operation after its present step, or inside it where the step allows; what it holds is given back.

    The release stays reserved until the operation is resumed or aborted.

    \b
    Examples:
      lightragctl operations pause backup-3f9a1c
    """
    from lightragctl.cli.operations.driving import operator
    from lightragctl.cli.operations.steering import steer
    from lightragctl.operations import control
    from lightragctl.operations.model import Phase

    works = operator(session)
    control.pause(works.place, operation_id)
    return steer(works, operation_id, Phase.PAUSED, foreground)


def resume(session: Session, operation_id: Id, foreground: Foreground = False) -> Result:
    """Continue an operation that was paused, has failed, or lost its driver, and stay with it.

    Steps that are done are not repeated. One that another process drives is watched.

    \b
    Examples:
      lightragctl operations resume backup-3f9a1c
      lightragctl operations resume backup-3f9a1c --foreground
    """
    from lightragctl.cli.operations.driving import operator
    from lightragctl.cli.operations.steering import steer
    from lightragctl.operations import control
    from lightragctl.operations.model import Phase

    works = operator(session)
    control.resume(works.place, operation_id, works.clock.now())
    return steer(works, operation_id, Phase.SUCCEEDED, foreground)


def abort(
    session: Session,
    operation_id: Id,
    foreground: Foreground = False,
    force: Annotated[
        bool, typer.Option("--force", help="Close it as it is, without undoing anything; what it holds stays held.")
    ] = False,
) -> Result:
    """Undo an operation: its steps in reverse order, as far as they can be undone.

    \b
    Examples:
      lightragctl operations abort restore-3f9a1c
      lightragctl operations abort restore-3f9a1c --force --yes
    """
    from lightragctl.cli.operations import payloads
    from lightragctl.cli.operations.driving import operator
    from lightragctl.cli.operations.steering import steer
    from lightragctl.operations import control
    from lightragctl.operations.model import Phase

    works = operator(session)
    if force:
        session.confirm(f"Close operation {operation_id} without undoing its steps?")
        record = control.abandon(works.place, operation_id, works.crew(session.out.notify))
        return payloads.shown(record, payloads.Shower.ABORT)
    control.abort(works.place, operation_id, works.clock.now())
    return steer(works, operation_id, Phase.ABORTED, foreground)


def cleanup(
    session: Session,
    operation_id: Annotated[
        str | None, typer.Argument(metavar="ID", help="Only what this operation kept. (default: what has expired)")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Also what has not expired yet.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be deleted.")] = False,
) -> Result:
    """Delete data that closed operations kept, such as the collections from before a restore.

    \b
    Examples:
      lightragctl operations cleanup --dry-run
      lightragctl operations cleanup restore-3f9a1c --yes
      lightragctl operations cleanup --all --yes
    """
    from lightragctl.cli.operations.cleaning import clean
    from lightragctl.cli.operations.driving import operator

    return clean(operator(session), operation_id, everything, dry_run)


def rehearse(
    session: Session,
    seconds: Annotated[int, typer.Option("--seconds", metavar="N", help="Time that it takes.", min=0, max=3000)] = 5,
    foreground: Foreground = False,
    print_rbac: Annotated[
        bool, typer.Option("--print-rbac", help="Only print the account of the Job, for an administrator to create.")
    ] = False,
    service_account: Annotated[
        str, typer.Option("--service-account", metavar="NAME", help="Account of the Job. (default: one of its own)")
    ] = "",
) -> Result:
    """Run an operation that changes nothing, to see whether operations can run here: image, rights and network.

    \b
    Examples:
      lightragctl operations rehearse --profile dev
      lightragctl operations rehearse --profile dev --print-rbac
    """
    from lightragctl.cli.operations import payloads
    from lightragctl.cli.operations.driving import start
    from lightragctl.cli.operations.steering import outcome, rbac
    from lightragctl.operations.model import JobSpec, Phase
    from lightragctl.operations.rehearsal import REHEARSAL

    if print_rbac:
        return payloads.rbac("operations rehearse", rbac(session, REHEARSAL))
    spec = None if foreground else JobSpec(service_account=service_account)
    record = start(session, REHEARSAL, {"seconds": seconds}, "", spec)
    return outcome("operations rehearse", record, Phase.SUCCEEDED)


def run(
    session: Session,
    operation_id: Id,
    in_cluster: Annotated[
        bool, typer.Option("--in-cluster", help="Take the profile from the release's record in this cluster.")
    ] = False,
) -> Result:
    """Drive an operation in this process until it needs no driver: what its Job runs.

    Exits with 0 whatever became of the operation, as a Job starts another pod after any other status.
    """
    from lightragctl.cli.operations import payloads
    from lightragctl.cli.operations.driving import operator
    from lightragctl.cli.operations.steering import in_pod
    from lightragctl.operations.control import drive

    with in_pod(session, in_cluster) as pod:
        works = operator(pod)
        record = drive(works.place, operation_id, works.crew(session.out.notify), in_job=in_cluster)
    return Result(session.command, payloads.shown(record, payloads.Shower.RUN).data)
