"""operations list, status, pause, resume, abort, cleanup, rehearse, run."""

from typing import Annotated

import typer

from lightragctl.cli.options import Session
from lightragctl.core.result import Result

Id = Annotated[str, typer.Argument(metavar="ID", help="Operation ID.", show_default=False)]
OpenId = Annotated[
    str | None, typer.Argument(metavar="ID", help="Operation ID. (default: the open one)", show_default=False)
]
Foreground = Annotated[
    bool, typer.Option("--foreground", help="Run the operation in this process instead of in a Job on the cluster.")
]
PrintRbac = Annotated[
    bool, typer.Option("--print-rbac", help="Only print the RBAC objects of the Job, for an administrator to create.")
]
ServiceAccount = Annotated[
    str,
    typer.Option("--service-account", metavar="NAME", help="Service account of the Job. (default: a dedicated one)"),
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
        str | None, typer.Argument(metavar="ID", help="Operation ID. (default: the open one, else the newest)")
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Show progress until the operation pauses or ends.")] = False,
) -> Result:
    """Show an operation: phase, steps, held resources, progress and the next command.

    Exit status 1 when it has failed, 9 when something could not be undone.

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


def pause(session: Session, operation_id: OpenId = None, foreground: Foreground = False) -> Result:
    """Pause an operation after its current step, or within it if the step supports it; held resources are released.

    The release stays reserved until the operation is resumed or aborted.

    \b
    Examples:
      lightragctl operations pause
      lightragctl operations pause backup-3f9a1c
    """
    from lightragctl.cli.operations.driving import operator
    from lightragctl.cli.operations.steering import steer
    from lightragctl.operations import control
    from lightragctl.operations.model import Phase

    works = operator(session)
    chosen = operation_id or control.the_open(works.place).id
    control.pause(works.place, chosen)
    return steer(works, chosen, Phase.PAUSED, foreground)


def resume(session: Session, operation_id: OpenId = None, foreground: Foreground = False) -> Result:
    """Resume an operation that is paused, has failed or lost its driver process, and show its progress.

    Completed steps are not repeated. If another process runs the operation, this command only shows its progress.

    \b
    Examples:
      lightragctl operations resume
      lightragctl operations resume backup-3f9a1c
      lightragctl operations resume backup-3f9a1c --foreground
    """
    from lightragctl.cli.operations.driving import operator
    from lightragctl.cli.operations.steering import steer
    from lightragctl.operations import control
    from lightragctl.operations.model import Phase

    works = operator(session)
    chosen = operation_id or control.the_open(works.place).id
    control.resume(works.place, chosen, works.clock.now())
    return steer(works, chosen, Phase.SUCCEEDED, foreground)


def promote(session: Session, operation_id: OpenId = None, foreground: Foreground = False) -> Result:
    """Continue an upgrade without the verdicts that it waits for: the rest of the observation is skipped.

    Gates that have failed still undo it; those that are undecided, or have no data, no longer stop it.

    \b
    Examples:
      lightragctl operations promote
      lightragctl operations promote upgrade-3f9a1c
    """
    from lightragctl.cli.operations.driving import operator
    from lightragctl.cli.operations.kinds import KINDS
    from lightragctl.cli.operations.steering import steer
    from lightragctl.operations import control
    from lightragctl.operations.model import Phase

    works = operator(session)
    chosen = operation_id or control.the_open(works.place).id
    control.promote(works.place, chosen, KINDS, works.who, works.clock.now())
    return steer(works, chosen, Phase.SUCCEEDED, foreground)


def abort(
    session: Session,
    operation_id: OpenId = None,
    foreground: Foreground = False,
    force: Annotated[
        bool,
        typer.Option("--force", help="Close the operation without undoing its steps; held resources are not released."),
    ] = False,
) -> Result:
    """Abort an operation: undo its steps in reverse order, as far as possible.

    \b
    Examples:
      lightragctl operations abort
      lightragctl operations abort restore-3f9a1c
      lightragctl operations abort restore-3f9a1c --force --yes
    """
    from lightragctl.cli.operations import payloads
    from lightragctl.cli.operations.driving import operator
    from lightragctl.cli.operations.steering import steer
    from lightragctl.operations import control
    from lightragctl.operations.model import Phase

    works = operator(session)
    chosen = operation_id or control.the_open(works.place).id
    if force:
        session.confirm(f"Close operation {chosen} without undoing its steps?")
        record = control.abandon(works.place, chosen, works.crew(session.out.notify))
        return payloads.shown(record, payloads.Shower.ABORT)
    control.abort(works.place, chosen, works.clock.now())
    return steer(works, chosen, Phase.ABORTED, foreground)


def cleanup(
    session: Session,
    operation_id: Annotated[
        str | None,
        typer.Argument(metavar="ID", help="Operation whose retained data to delete. (default: all expired data)"),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Also delete data that has not expired yet.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be deleted without deleting it.")] = False,
) -> Result:
    """Delete data that closed operations retained, such as the collections from before a restore.

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
    seconds: Annotated[
        int, typer.Option("--seconds", metavar="N", help="Duration of the rehearsal, in seconds.", min=0, max=3000)
    ] = 5,
    foreground: Foreground = False,
    print_rbac: PrintRbac = False,
    service_account: ServiceAccount = "",
) -> Result:
    """Run a no-op operation to check that operations can run here: image, permissions and network.

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
        bool, typer.Option("--in-cluster", help="Read the profile from the release's record on this cluster.")
    ] = False,
) -> Result:
    """Run an operation in this process until it pauses or ends; this is the command of its Job.

    Always exits with 0, because a Job restarts its pod after any other status; see operations status for the result.
    """
    from lightragctl.cli.operations import payloads
    from lightragctl.cli.operations.driving import operator
    from lightragctl.cli.operations.steering import in_pod
    from lightragctl.operations.control import drive

    with in_pod(session, in_cluster) as pod:
        works = operator(pod)
        record = drive(works.place, operation_id, works.crew(session.out.notify), in_job=in_cluster)
    return Result(session.command, payloads.shown(record, payloads.Shower.RUN).data)
