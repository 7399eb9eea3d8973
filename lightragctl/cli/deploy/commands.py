"""up, diff, status, logs, exec, port-forward, down, render."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

import typer

from lightragctl.cli.options import Session
from lightragctl.core.hint import Command, Hint
from lightragctl.core.result import Event, Notify, Result

Timeout = Annotated[float, typer.Option("--timeout", metavar="SECONDS", help="How long to wait.", min=1)]

ComponentName = Annotated[str, typer.Argument(metavar="COMPONENT", help="The component.", show_default=False)]
ForceConflicts = Annotated[
    bool, typer.Option("--force-conflicts", help="Take fields over that another manager of the objects owns.")
]
Adopt = Annotated[bool, typer.Option("--adopt", help="Take objects over that are there and that no other tool owns.")]
PruneData = Annotated[
    bool, typer.Option("--prune-data", help="Delete volume claims and Secrets too that are not wanted any more.")
]
AllowDataLoss = Annotated[
    bool, typer.Option("--allow-data-loss", help="Go on although data would be lost: volumes, formats of versions.")
]
Events = Annotated[
    Literal["jsonl"] | None,
    typer.Option("--events", metavar="jsonl", help="On standard error one JSON document a line, and nothing else."),
]
Wait = Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until it can be searched.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would change; change nothing.")]


def up(
    session: Session,
    wait: Wait = True,
    timeout: Timeout = 300.0,
    dry_run: DryRun = False,
    force_conflicts: ForceConflicts = False,
    adopt: Adopt = False,
    prune_data: PruneData = False,
    allow_data_loss: AllowDataLoss = False,
    events: Events = None,
) -> Result:
    """Bring a release up until a search through it is answered; running it again changes nothing.

    On a cluster it shows what will change and, on a terminal, asks first. Killed in the middle, the next run goes on.
    What it did is a revision: see history and rollback.

    \b
    Examples:
      lightragctl up
      lightragctl up --profile dev
      lightragctl up --profile dev --dry-run
      lightragctl up --name two --set local.port_offset=100
    """
    from lightragctl.cli.deploy import payloads
    from lightragctl.core.runtime import UpOptions

    session.out.as_events = events is not None
    release = session.release
    options = UpOptions(timeout, wait, force_conflicts, adopt, prune_data, allow_data_loss)
    if dry_run:
        return payloads.planned("up", release.runtime.diff(release.plan, options))
    from lightragctl.release.probe import prove_search

    with notice_on_interrupt(session, UP_CONTINUES), session.out.live() as notify:
        outcome = release.runtime.up(release.plan, options, session.approve, after_plan(session, notify))
        search_ms = prove_search(release, outcome, timeout, notify) if wait else None
    return payloads.up("up", outcome, search_ms)


UP_CONTINUES = Hint(
    "what was applied rolls out without this command; see: ", Command("status"), "; finish it: ", Command("up")
)
_DOWN_CONTINUES = Hint("components continue to stop; see: ", Command("status"), "; finish it: ", Command("down"))


@contextmanager
def notice_on_interrupt(session: Session, notice: Hint) -> Iterator[None]:
    """On Ctrl-C, print what continues without the command."""
    try:
        yield
    except KeyboardInterrupt:
        session.out.notify(Event(notice.line(session.options.place, session.options.overrides)))
        raise


def after_plan(session: Session, notify: Notify) -> Notify:
    """Tells progress; of objects only in passing, as the plan has named each of them. Scripts are told everything."""
    from dataclasses import replace

    from lightragctl.core.result import EventType

    def tell(event: Event) -> None:
        notify(replace(event, passing=True) if event.type is EventType.OBJECT else event)

    return notify if session.out.as_events else tell


def diff(session: Session) -> Result:
    """Show what `up` would change; exit status 0: nothing, 1: something, 2 or more: an error.

    \b
    Examples:
      lightragctl diff --profile dev
      lightragctl diff --profile dev --set components.lightrag-api.replicas=2
    """
    from lightragctl.cli.deploy import payloads
    from lightragctl.core.errors import LightragctlError
    from lightragctl.core.runtime import UpOptions

    release = session.release
    try:
        return payloads.diff(release.runtime.diff(release.plan, UpOptions(timeout_s=0)))
    except LightragctlError as error:
        return payloads.diff_failed(error)


def status(session: Session) -> Result:
    """Show the release's components; exit status 3 when one is not ready.

    \b
    Examples:
      lightragctl status
      lightragctl status --name two -o json
    """
    from lightragctl.cli.deploy import payloads

    return payloads.status(session.release.runtime.status())


def logs(
    session: Session,
    component: Annotated[str | None, typer.Argument(help="Only this component.", show_default=False)] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what comes.")] = False,
    tail: Annotated[int, typer.Option("--tail", metavar="LINES", help="Last lines of each log.", min=0)] = 20,
) -> Result:
    """Print the components' logs.

    \b
    Examples:
      lightragctl logs
      lightragctl logs -f lightrag-api
    """
    session.out.lines(session.release.runtime.logs(component, follow, tail))
    return Result.quiet(session.command)


def exec_(
    session: Session,
    component: ComponentName,
    command: Annotated[
        list[str], typer.Argument(metavar="-- COMMAND...", help="The command and its words.", show_default=False)
    ],
) -> Result:
    """Run a command where a component runs; ends with the command's exit status.

    \b
    Examples:
      lightragctl exec vector-engine --profile dev -- ls /var/lib/milvus
      lightragctl exec lightrag-api --profile dev -- bash
    """
    return Result.ended(session.command, session.release.runtime.exec(component, command))


def port_forward(
    session: Session,
    component: ComponentName,
    port: Annotated[
        int, typer.Argument(metavar="[PORT]", help="Port of this machine. (default: a free one)", min=0, max=65535)
    ] = 0,
) -> Result:
    """Lead a port of this machine to a component until interrupted.

    \b
    Examples:
      lightragctl port-forward lightrag-api 8080 --profile dev
      lightragctl port-forward vector-engine --profile dev
    """
    session.release.runtime.forward(component, port, session.out.notify)
    return Result.quiet(session.command)


def down(
    session: Session,
    purge: Annotated[bool, typer.Option("--purge", help="Delete the release's data too.")] = False,
    timeout: Timeout = 180.0,
    allow_data_loss: AllowDataLoss = False,
    events: Events = None,
) -> Result:
    """Stop a release; its data stay unless --purge is given, and it says what it kept.

    \b
    Examples:
      lightragctl down
      lightragctl down --purge --yes
    """
    from lightragctl.cli.deploy import payloads

    session.out.as_events = events is not None
    release = session.release
    if purge:
        session.confirm(f"Delete release '{release.name}' and all its data?")
    with notice_on_interrupt(session, _DOWN_CONTINUES), session.out.live() as notify:
        stopped = release.runtime.down(purge, timeout, notify, allow_data_loss)
    if not stopped:
        release.runtime.components()  # refuses a release that is not there
    return payloads.down(release.name, stopped, purge and stopped, "" if stopped and purge else release.runtime.data)


def render(
    session: Session,
    output_dir: Annotated[
        Path | None, typer.Option("--output-dir", metavar="FOLDER", help="Write one file per object.")
    ] = None,
) -> Result:
    """Print the Kubernetes objects of a profile, sorted, the same for the same input.

    \b
    Examples:
      lightragctl render --profile dev
      lightragctl render --profile dev --output-dir manifests/
      lightragctl render --profile dev --set image.tag=v1 | kubectl apply -f -
    """
    from lightragctl.cli.deploy import payloads
    from lightragctl.core import assets
    from lightragctl.deploy.render import render_plan, write_objects

    objects = render_plan(session.release.plan, assets.root() / "templates")
    written = write_objects(objects, output_dir) if output_dir else None
    return payloads.render(objects, written)
