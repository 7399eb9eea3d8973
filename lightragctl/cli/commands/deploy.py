"""up, status, logs, down, render."""

from pathlib import Path
from typing import Annotated

import typer

from lightragctl.cli.options import Session
from lightragctl.core.result import Result

Timeout = Annotated[float, typer.Option("--timeout", metavar="SECONDS", help="How long to wait.", min=1)]


def up(
    session: Session,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until every component is ready.")] = True,
    timeout: Timeout = 180.0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would run; change nothing.")] = False,
) -> Result:
    """Bring a release up; running it again changes nothing.

    \b
    Examples:
      lightragctl up
      lightragctl up --set components.lightrag-api.port=9080
      lightragctl up --name two --set local.port_offset=100
    """
    from lightragctl.cli import results

    if dry_run:
        return results.planned(session.plan)
    outcome = session.runtime.up(session.plan, timeout, wait, session.out.notify)
    return results.up(outcome)


def status(session: Session) -> Result:
    """Show the release's components; exit status 3 when one is not ready.

    \b
    Examples:
      lightragctl status
      lightragctl status --name two -o json
    """
    from lightragctl.cli import results

    return results.status(session.runtime.status())


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
    session.out.lines(session.runtime.logs(component, follow, tail))
    return Result.quiet(session.command)


def down(
    session: Session,
    purge: Annotated[bool, typer.Option("--purge", help="Delete the release's data too.")] = False,
    timeout: Timeout = 60.0,
) -> Result:
    """Stop a release; its data stay unless --purge is given.

    \b
    Examples:
      lightragctl down
      lightragctl down --purge --yes
    """
    from lightragctl.cli import results

    if purge:
        session.confirm(f"Delete release '{session.release}' and all its data?")
    stopped = session.runtime.down(purge, timeout, session.out.notify)
    return results.down(session.release, stopped, purge, session.runtime.data)


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
    from lightragctl.cli import results
    from lightragctl.core import assets
    from lightragctl.deploy.render import render_plan, write_objects

    objects = render_plan(session.plan, assets.root() / "templates")
    written = write_objects(objects, output_dir) if output_dir else None
    return results.render(objects, written)
