"""completion, version: about the tool itself."""

import platform
from typing import Annotated, Literal

import typer

import lightragctl
from lightragctl.cli.options import Session
from lightragctl.core.result import Result


def completion(
    session: Session,
    shell: Annotated[Literal["bash", "zsh", "fish"], typer.Argument(help="Shell to complete in.", show_default=False)],
) -> Result:
    """Print a shell completion script.

    \b
    Examples:
      source <(lightragctl completion bash)
      lightragctl completion zsh > ~/.zfunc/_lightragctl
    """
    from typer.completion import get_completion_script  # type: ignore[attr-defined]

    name = "lightragctl"
    session.out.text(get_completion_script(prog_name=name, complete_var="_LIGHTRAGCTL_COMPLETE", shell=shell) + "\n")
    return Result.quiet(session.command)


def version(session: Session) -> Result:
    """Print the version of lightragctl and Python."""
    from lightragctl.cli.tool import payloads

    return payloads.version(lightragctl.__version__, platform.python_version())
