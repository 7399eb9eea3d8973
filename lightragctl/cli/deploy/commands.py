"""up, diff, status, logs, exec, port-forward, down, render."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

import typer

from lightragctl.cli.options import Session
from lightragctl.core.hint import Command, Hint
from lightragctl.core.result import Event, Notify, Result

Timeout = Annotated[
    float, typer.Option("--timeout", metavar="SECONDS", help="Seconds to wait before giving up.", min=1)
]

ComponentName = Annotated[str, typer.Argument(metavar="COMPONENT", help="Name of the component.", show_default=False)]
ForceConflicts = Annotated[
    bool, typer.Option("--force-conflicts", help="Take ownership of fields that another field manager owns.")
]
Adopt = Annotated[bool, typer.Option("--adopt", help="Take ownership of existing objects that no other tool owns.")]
PruneData = Annotated[
    bool,
    typer.Option("--prune-data", help="Also delete volume claims and Secrets that are no longer part of the release."),
]
AllowDataLoss = Annotated[
    bool, typer.Option("--allow-data-loss", help="Continue even if data would be lost (volumes, data formats).")
]
Events = Annotated[
    Literal["jsonl"] | None,
    typer.Option("--events", metavar="jsonl", help="Write progress to standard error as JSON, one event per line."),
]
Wait = Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until a search through the release succeeds.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would change without changing anything.")]


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
    """Install or update a release and wait until a search through it succeeds. Idempotent.

    On a cluster it shows the changes and, on a terminal, asks for confirmation. After an interruption, run it again to
    resume. Each run is recorded as a revision: see history and rollback.

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
    """A notifier that shows objects only in passing, as the plan has listed them; events for scripts stay complete."""
    from dataclasses import replace

    from lightragctl.core.result import EventType

    def shorten(event: Event) -> None:
        notify(replace(event, passing=True) if event.type is EventType.OBJECT else event)

    return notify if session.out.as_events else shorten


def diff(session: Session) -> Result:
    """Show what `up` would change. Exit status: 0 no difference, 1 differences, 2 or more an error.

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
    """Show the state of each component, warnings and drift. Exit status 3 when a component is not ready.

    \b
    Examples:
      lightragctl status
      lightragctl status --name two -o json
    """
    from lightragctl.cli.deploy import payloads

    status = session.release.runtime.status()
    if session.release.loaded.profile.backup.destination is None:
        return payloads.status(status, None)
    from lightragctl.backup.newest import newest
    from lightragctl.cli.operations.driving import operator

    works = operator(session)
    return payloads.status(status, newest(session.release, works.place.store.records, works.clock.now()))


def logs(
    session: Session,
    component: Annotated[
        str | None,
        typer.Argument(metavar="[COMPONENT]", help="Show the logs of this component only.", show_default=False),
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Keep streaming new lines.")] = False,
    tail: Annotated[
        int, typer.Option("--tail", metavar="LINES", help="Number of lines to show from the end of each log.", min=0)
    ] = 20,
) -> Result:
    """Print the logs of all components, or of one.

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
        list[str], typer.Argument(metavar="-- COMMAND...", help="Command and its arguments.", show_default=False)
    ],
) -> Result:
    """Run a command in a component's container or environment; returns the command's exit status.

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
        int,
        typer.Argument(
            metavar="[PORT]", help="Local port. (default: a free one)", min=0, max=65535, show_default=False
        ),
    ] = 0,
) -> Result:
    """Forward a local port to a component until interrupted.

    \b
    Examples:
      lightragctl port-forward lightrag-api 8080 --profile dev
      lightragctl port-forward vector-engine --profile dev
    """
    session.release.runtime.forward(component, port, session.out.notify)
    return Result.quiet(session.command)


def down(
    session: Session,
    purge: Annotated[bool, typer.Option("--purge", help="Also delete the release's data.")] = False,
    timeout: Timeout = 180.0,
    allow_data_loss: AllowDataLoss = False,
    events: Events = None,
) -> Result:
    """Stop a release. Its data is kept unless --purge is given.

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
        Path | None, typer.Option("--output-dir", metavar="FOLDER", help="Write one file per object into this folder.")
    ] = None,
) -> Result:
    """Print the Kubernetes manifests of a profile. Deterministic: the same input gives the same output.

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
