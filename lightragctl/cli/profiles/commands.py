"""profiles list, show, init, validate."""

from typing import Annotated

import typer

from lightragctl.cli.options import Session, complete_profile
from lightragctl.core.result import Result


def list_(session: Session) -> Result:
    """List the shipped profiles."""
    from lightragctl.cli.profiles import payloads
    from lightragctl.core.layers import merge, read_layers, shipped_names
    from lightragctl.release.profiles import shipped_profiles

    shipped = shipped_profiles()
    return payloads.profiles_list({name: merge(read_layers(name, shipped)).values for name in shipped_names(shipped)})


def show(
    session: Session,
    origin: Annotated[bool, typer.Option("--origin", help="Show the source of each value.")] = False,
) -> Result:
    """Show the effective profile: its base profiles, its file, --values and --set merged.

    \b
    Examples:
      lightragctl profiles show --profile dev
      lightragctl profiles show --origin --set chunking.size_tokens=128
    """
    from lightragctl.cli.profiles import payloads

    return payloads.profiles_show(session.release.draft, origin)


def init(
    session: Session,
    new_profile: Annotated[
        str, typer.Argument(metavar="NAME", help="Name of the new profile; writes NAME.yaml to the working directory.")
    ],
    base: Annotated[
        str,
        typer.Option(
            "--extends",
            "--from",
            metavar="NAME",
            help="Shipped profile to extend.",
            autocompletion=complete_profile,
        ),
    ] = "local",
) -> Result:
    """Create a profile that extends a shipped one, with placeholders for the values you must set.

    \b
    Examples:
      lightragctl profiles init mine --extends prod
      lightragctl profiles show --profile mine.yaml
    """
    from lightragctl.cli.profiles import payloads
    from lightragctl.release.profiles import start_profile

    return payloads.profiles_init(start_profile(new_profile, base), base)


def validate(session: Session) -> Result:
    """Validate a profile with its overrides. Exit status 2 when it is invalid, 8 when it is unsafe.

    Checks that need the cluster run in `up`, `up --dry-run` and `diff`.

    \b
    Examples:
      lightragctl profiles validate --profile mine.yaml
    """
    from lightragctl.cli.profiles import payloads
    from lightragctl.release.profiles import judge_plan

    return payloads.profiles_validate(session.release.plan, judge_plan(session.release.plan))
