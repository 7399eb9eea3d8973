"""Global options, and the session that a command works with: its output and its release."""

import errno
import functools
import inspect
import os
import shlex
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ParamSpec, get_type_hints

import typer

from lightragctl.cli.hints import with_options
from lightragctl.cli.output import Format, Output
from lightragctl.cli.streams import ReaderGone
from lightragctl.core.errors import LightragctlError, UsageError
from lightragctl.core.result import Result

if TYPE_CHECKING:
    from lightragctl.core.runtime import Differences
    from lightragctl.release.release import ReleaseOptions

P = ParamSpec("P")
_PANEL = "Global options"


def complete_profile(incomplete: str) -> list[str]:
    """Names of shipped profiles for shell completion."""
    from lightragctl.core import assets
    from lightragctl.core.layers import shipped_names

    return [name for name in shipped_names(assets.root() / "profiles") if name.startswith(incomplete)]


def _global(*names: str, help: str, metavar: str | None = None, autocompletion: Any = None) -> Any:
    return typer.Option(
        *names,
        help=help,
        metavar=metavar,
        autocompletion=autocompletion,
        rich_help_panel=_PANEL,
        show_default=False,
    )


@dataclass(frozen=True)
class GlobalOptions:
    """The global options, given before or after the command's name; None, empty or False: not given."""

    profile: Annotated[
        str | None,
        _global(
            "--profile",
            metavar="NAME|FILE",
            help="Profile: the name of a shipped one, or a file. (default: local)",
            autocompletion=complete_profile,
        ),
    ] = None
    name: Annotated[
        str | None, _global("--name", metavar="RELEASE", help="Name of the release. (default: the profile's name)")
    ] = None
    values: Annotated[
        list[Path] | None,
        _global("--values", metavar="FILE", help="YAML file that overrides profile values; repeatable."),
    ] = None
    set: Annotated[
        list[str] | None,
        _global("--set", metavar="KEY=VALUE", help="Override one profile value, after --values; repeatable."),
    ] = None
    namespace: Annotated[
        str | None,
        _global("--namespace", "-n", metavar="NAMESPACE", help="Kubernetes namespace. (default: the profile's)"),
    ] = None
    context: Annotated[
        str | None,
        _global("--context", metavar="CONTEXT", help="Context in the kubeconfig. (default: its current context)"),
    ] = None
    kubeconfig: Annotated[
        Path | None, _global("--kubeconfig", metavar="FILE", help="Kubeconfig file. (default: $KUBECONFIG)")
    ] = None
    output: Annotated[
        Format | None, _global("--output", "-o", metavar="table|json|yaml", help="Output format. (default: table)")
    ] = None
    yes: Annotated[bool, _global("--yes", help="Answer yes to all confirmations.")] = False
    verbose: Annotated[bool, _global("--verbose", "-v", help="Show the traceback of an error.")] = False
    no_color: Annotated[bool, _global("--no-color", help="Disable colour, as NO_COLOR does.")] = False

    @property
    def place(self) -> list[str]:
        """The options that select the release, as words for a shell."""
        given = {
            "--profile": self.profile,
            "--name": self.name,
            "-n": self.namespace,
            "--context": self.context,
            "--kubeconfig": self.kubeconfig,
        }
        return [word for name, value in given.items() if value for word in (name, shlex.quote(str(value)))]

    @property
    def release(self) -> "ReleaseOptions":
        """The options that select the release, for `Release`."""
        from lightragctl.release.release import ReleaseOptions

        return ReleaseOptions(
            self.profile, self.name, self.values or (), self.set or (), self.namespace, self.kubeconfig, self.context
        )

    @property
    def overrides(self) -> list[str]:
        """The options that override the profile, as words for a shell."""
        files = [word for path in self.values or () for word in ("--values", shlex.quote(str(path)))]
        return files + [word for pair in self.set or () for word in ("--set", shlex.quote(pair))]


OPTION_NAMES = tuple(field.name for field in fields(GlobalOptions))


def parameters(group: type = GlobalOptions) -> list[inspect.Parameter]:
    """The fields of a group of options as parameters of a command function."""
    hints = get_type_hints(group, include_extras=True)
    return [
        inspect.Parameter(
            field.name, inspect.Parameter.KEYWORD_ONLY, default=field.default, annotation=hints[field.name]
        )
        for field in fields(group)
    ]


class Session:
    """What a command works with: its options, its output, and its release, which is opened on first use."""

    def __init__(self, command: str, options: GlobalOptions) -> None:
        from lightragctl.release.release import Release

        self.command = command
        self.options = options
        self.environ = dict(os.environ)
        self.release = Release(options.release, self.environ)
        self.out = Output(options.output or Format.TABLE, no_color=options.no_color)

    def approve(self, differences: "Differences") -> None:
        """Show the pending changes and ask on a terminal; without one, only deletions need `--yes`.

        Raises:
            UsageError: something would be deleted, and there is no terminal.
            LightragctlError: the user declined.
        """
        self.out.differences(differences)
        if self.out.interactive or differences.deletes:
            self.confirm(f"Change {len(differences.differing)} objects of release '{differences.release}'?")

    def confirm(self, question: str) -> None:
        """Return when the user confirms; without a terminal, `--yes` is needed.

        Raises:
            UsageError: there is no terminal.
            LightragctlError: the user declined.
        """
        if self.options.yes:
            return
        if not self.out.interactive:
            raise UsageError(f"{question} Confirmation needs a terminal.", "use --yes")
        if not self.out.ask(question):
            raise LightragctlError("nothing was changed: not confirmed")


def with_session(function: Callable[..., Result]) -> Callable[..., int]:
    """A Typer command of a function that takes a Session: the global options become its parameters.

    A parameter that is a dataclass is a group of options: its fields become the options. The wrapped function's Result
    is shown; its exit status is returned. An expected error becomes a Result too.
    """
    signature = inspect.signature(function)
    given_own = list(signature.parameters.values())[1:]
    groups: dict[str, Any] = {one.name: one.annotation for one in given_own if is_dataclass(one.annotation)}
    own = [each for one in given_own for each in (parameters(groups[one.name]) if one.name in groups else [one])]
    context = inspect.Parameter("ctx", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)
    own = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in own]

    @functools.wraps(function)
    def run(*, ctx: typer.Context, **arguments: Any) -> int:
        outer = ctx.find_root().params
        given: dict[str, Any] = {name: _either(outer.get(name), arguments.pop(name)) for name in OPTION_NAMES}
        session = Session(_path(ctx), GlobalOptions(**given))
        for name, group in groups.items():
            arguments[name] = group(**{field.name: arguments.pop(field.name) for field in fields(group)})
        try:
            with session.release:
                result = _with_extras(function, session, arguments)
        except LightragctlError as error:
            result = Result.failure(session.command, error)
            if session.options.verbose:
                session.out.trace(error)
        with suppress(ReaderGone):  # a closed pipe does not change how the command ended
            session.out.show(with_options(result, session.options.place, session.options.overrides))
        return int(result.exit_status)

    everything = [context, *own, *parameters()]
    run.__signature__ = signature.replace(parameters=everything, return_annotation=int)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in everything}
    return run


def _either(outer: Any, own: Any) -> Any:
    """An option given before and after the command's name: the last value; of a repeatable one, both."""
    if isinstance(outer, list | tuple) and isinstance(own, list | tuple):
        return [*outer, *own]
    return own or outer


def _with_extras(function: Callable[..., Result], session: Session, arguments: dict[str, Any]) -> Result:
    """Run the command; a missing extra, missing permissions and a full disk become errors with a hint."""
    try:
        return function(session, **arguments)
    except OSError as error:
        if error.filename is None and error.errno not in _MACHINE:
            raise
        where = "" if error.filename is None else f"{os.fsdecode(error.filename)}: "
        raise LightragctlError(f"{where}{error.strerror}", _remedy(error.errno)) from error
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("lightragctl"):
            raise
        hint = "pip install 'lightragctl[local,service,ingest,bench,backup]'"
        raise LightragctlError(f"this command needs the package {error.name}, which is not installed", hint) from error


_MACHINE = {
    errno.ENOSPC: "free disk space and retry",
    errno.EDQUOT: "free space within the disk quota and retry",
    errno.EROFS: "the file system is read-only; choose another location",
    errno.EMFILE: "raise the limit of open files: ulimit -n",
    errno.ENFILE: "the machine has too many open files",
    errno.EIO: "the disk reports I/O errors; see the system log",
}
"""Hints for failures of the machine that name no file."""


def _remedy(number: int | None) -> str:
    return _MACHINE.get(number or 0, "check the path, its owner and its permissions")


def _path(ctx: typer.Context) -> str:
    """The command without the program's name: `profiles show`."""
    return " ".join(ctx.command_path.split()[1:])
