"""upgrade run, upgrade matrix and upgrade report."""

from pathlib import Path
from typing import Annotated

import typer

from lightragctl.cli.operations.commands import Foreground, PrintRbac, ServiceAccount
from lightragctl.cli.options import Session
from lightragctl.core.result import Result


def run(
    session: Session,
    canary: Annotated[
        bool,
        typer.Option("--canary", help="Start one pod of the new version first, and compare it with the stable pods."),
    ] = False,
    plan: Annotated[bool, typer.Option("--plan", help="Show the plan without changing anything.")] = False,
    observe: Annotated[
        str,
        typer.Option("--observe", metavar="TIME", help="Observation time of the canaries, such as 30m, 300s or 1h."),
    ] = "30m",
    image: Annotated[
        list[str] | None,
        typer.Option(
            "--image",
            metavar="COMPONENT=TAG",
            help="Image tag of a component, as COMPONENT=TAG; overrides the profile; repeatable.",
        ),
    ] = None,
    notify: Annotated[
        str | None,
        typer.Option(
            "--notify",
            metavar="URL",
            help="Webhook that is sent JSON when the upgrade ends or pauses. The URL is stored in its record.",
        ),
    ] = None,
    foreground: Foreground = False,
    service_account: ServiceAccount = "",
    print_rbac: PrintRbac = False,
) -> Result:
    """Upgrade a release to the versions in its profile, and roll back if the new version is worse.

    Exit statuses: 0 upgraded, or nothing to do; 7 rolled back; 8 refused, with an alternative. The operation continues
    without this command: see operations.

    \b
    Examples:
      lightragctl upgrade --plan --profile dev
      lightragctl upgrade --canary --profile dev --image lightrag-api=1.4.0
      lightragctl upgrade --canary --observe 1h --profile prod.yaml
      lightragctl upgrade --canary --notify https://hooks.example.com/upgrades --profile prod.yaml
    """
    from lightragctl.cli.operations import payloads as of_operations
    from lightragctl.cli.operations.steering import rbac
    from lightragctl.cli.upgrade import payloads
    from lightragctl.cli.upgrade.running import Wanted, planned, upgrade
    from lightragctl.upgrade.kinds import UPGRADE

    if print_rbac:
        return of_operations.rbac("upgrade run", rbac(session, UPGRADE))
    wanted = Wanted(canary, seconds(observe), tuple(image or ()), webhook(notify))
    if plan:
        found, release = planned(session, wanted)
        return payloads.plan(release.name, found)
    return upgrade(session, wanted, foreground, service_account)


def matrix(session: Session) -> Result:
    """List the known changes of versions between minors: how each can be undone, and where that is known from.

    \b
    Examples:
      lightragctl upgrade matrix
      lightragctl upgrade matrix -o json
    """
    from lightragctl.cli.upgrade import payloads
    from lightragctl.components import all_components

    return payloads.matrix({one.name: one.upgrades for one in all_components() if one.stateful})


def report(
    session: Session,
    html: Annotated[Path, typer.Option("--html", metavar="FILE", help="File to write.", show_default=False)],
    operation_id: Annotated[
        str | None, typer.Argument(metavar="ID", help="Operation ID. (default: the newest upgrade)")
    ] = None,
) -> Result:
    """Write the report of an upgrade as one self-contained HTML file: latency of both versions, every verdict.

    \b
    Examples:
      lightragctl upgrade report --html upgrade.html
      lightragctl upgrade report upgrade-3f9a1c --html upgrade.html
    """
    from lightragctl.cli.upgrade.reporting import write

    return write(session, operation_id, html)


def webhook(url: str | None) -> str:
    """The URL of a webhook; empty: none.

    Raises:
        UsageError: it does not begin with http:// or https://.
    """
    from lightragctl.core.errors import UsageError

    if url is not None and not url.startswith(("http://", "https://")):
        raise UsageError(f"--notify {url} is not a URL", "use one that begins with https:// or http://")
    return url or ""


def seconds(text: str) -> float:
    """A time such as 30m, 300s or 1h in seconds.

    Raises:
        UsageError: it is no such time, or not between 30 seconds and 12 hours.
    """
    from lightragctl.core.errors import UsageError

    units = {"s": 1.0, "m": 60.0, "h": 3600.0}
    number, unit = (text[:-1], text[-1:]) if text[-1:] in units else (text, "s")
    found = float(number) * units[unit] if number.isdecimal() else 0.0
    if not 30 <= found <= 12 * 3600:
        raise UsageError(f"--observe {text} is not a time between 30s and 12h", "use a number with s, m or h: 30m")
    return found
