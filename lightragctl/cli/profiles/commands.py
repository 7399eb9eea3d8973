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
    origin: Annotated[bool, typer.Option("--origin", help="Say where each value came from.")] = False,
) -> Result:
    """Show a profile as it takes effect: what it extends, its file, --values and --set put together.

    \b
    Examples:
      lightragctl profiles show --profile dev
      lightragctl profiles show --origin --set chunking.size_tokens=128
    """
    from lightragctl.cli.profiles import payloads

    return payloads.profiles_show(session.release.draft, origin)


def init(
    session: Session,
    new_profile: Annotated[str, typer.Argument(metavar="NAME", help="The new profile; NAME.yaml is written here.")],
    base: Annotated[
        str,
        typer.Option(
            "--extends",
            "--from",
            metavar="NAME",
            help="Shipped profile to start from.",
            autocompletion=complete_profile,
        ),
    ] = "local",
) -> Result:
    """Start a profile of your own from a shipped one; what that one leaves to you stands there to be filled in.

    \b
    Examples:
      lightragctl profiles init mine --extends prod
      lightragctl profiles show --profile mine.yaml
    """
    from lightragctl.cli.profiles import payloads
    from lightragctl.release.profiles import start_profile

    return payloads.profiles_init(start_profile(new_profile, base), base)


def validate(session: Session) -> Result:
    """Check a profile with its overrides; exit status 2 when it is wrong, 8 when what it says is not safe.

    What needs the cluster to be judged is judged by `up`, `up --dry-run` and `diff`.

    \b
    Examples:
      lightragctl profiles validate --profile mine.yaml
    """
    from lightragctl.cli.profiles import payloads
    from lightragctl.release.profiles import judge_plan

    return payloads.profiles_validate(session.release.plan, judge_plan(session.release.plan))
