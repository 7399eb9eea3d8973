"""The command tree."""

import inspect
from collections.abc import Callable
from typing import Any

import typer
from typer.completion import completion_init  # type: ignore[attr-defined]

from lightragctl.cli.bench import commands as bench
from lightragctl.cli.data import commands as data
from lightragctl.cli.deploy import commands as deploy
from lightragctl.cli.deploy import revisions
from lightragctl.cli.golden import commands as golden
from lightragctl.cli.operations import commands as operations
from lightragctl.cli.options import parameters, with_session
from lightragctl.cli.parsing import StrictCommand, StrictGroup
from lightragctl.cli.profiles import commands as profiles
from lightragctl.cli.serve import commands as serve
from lightragctl.cli.tool import commands as tool
from lightragctl.cli.upgrade import commands as upgrade
from lightragctl.core.result import Result

CommandFunction = Callable[..., Result]

_EXIT_STATUSES = (
    "Exit statuses: 0 done, 1 failed, 2 usage, 3 checks failed, 4 warnings, 5 timeout, 6 locked or conflict, "
    "7 rolled back, 8 refused, 9 needs attention, 70 bug, 130 and 143 signals."
)
_SETTINGS: dict[str, Any] = {
    "no_args_is_help": True,
    "add_completion": False,
    "pretty_exceptions_enable": False,
    "context_settings": {"help_option_names": ["-h", "--help"]},
}


def build() -> typer.Typer:
    """The Typer application with all commands."""
    completion_init()
    app = typer.Typer(name="lightragctl", cls=StrictGroup, epilog=_EXIT_STATUSES, **_SETTINGS)
    app.callback()(_root())
    panels: tuple[tuple[str, tuple[CommandFunction, ...]], ...] = (
        (
            "Deploy and operate",
            (
                deploy.up,
                deploy.diff,
                deploy.status,
                deploy.logs,
                deploy.exec_,
                deploy.port_forward,
                deploy.down,
                revisions.history,
                revisions.rollback,
                revisions.unlock,
                deploy.render,
            ),
        ),
        ("Documents and queries", (data.ingest, data.retrieve, data.query, data.recordings)),
        ("Profiles and tool", (tool.completion, tool.version)),
    )
    for panel, functions in panels:
        for function in functions:
            app.command(_name(function), cls=StrictCommand, rich_help_panel=panel)(with_session(function))
    groups: dict[str, tuple[str, tuple[CommandFunction, ...]]] = {
        "profiles": (
            "List, show, create and validate profiles.",
            (profiles.list_, profiles.show, profiles.init, profiles.validate),
        ),
        "serve": (
            "Run one of the services in the foreground (what pods and local processes run).",
            (serve.api, serve.gateway, serve.embedder, serve.mock_llm, serve.lightrag_server),
        ),
    }
    for name, (about, members) in groups.items():
        app.add_typer(_group(about, members), name=name, rich_help_panel="Profiles and tool")
    measuring = _group(
        "Load-test a release. Without a subcommand: bench run.",
        (bench.run, bench.saturate, bench.compare, bench.report),
        _DefaultsToRun,
    )
    app.add_typer(measuring, name="bench", rich_help_panel="Load tests and quality")
    about = "Build and check golden sets: queries with known correct answers."
    known = _group(about, (golden.build, golden.show, golden.check))
    app.add_typer(known, name="golden", rich_help_panel="Load tests and quality")
    about = "Watch and steer long-running work on a release: backups, restores, upgrades."
    steering = _group(
        about,
        (
            operations.list_,
            operations.status,
            operations.pause,
            operations.resume,
            operations.abort,
            operations.cleanup,
            operations.rehearse,
        ),
    )
    steering.command("run", cls=StrictCommand, hidden=True)(with_session(operations.run))  # what a Job's pod runs
    app.add_typer(steering, name="operations", rich_help_panel="Run a release")
    about = "Upgrade a release, one pod first. Without a subcommand: upgrade run."
    upgrading = _group(about, (upgrade.run, upgrade.matrix), _DefaultsToRun)
    app.add_typer(upgrading, name="upgrade", rich_help_panel="Run a release")
    return app


class _DefaultsToRun(StrictGroup):
    """A group whose default command is `run`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """The arguments, with `run` inserted when no command is given."""
        if not args or (args[0].startswith("-") and args[0] not in ("-h", "--help")):
            args = ["run", *args]
        return list(super().parse_args(ctx, args))


def _group(about: str, members: tuple[CommandFunction, ...], kind: type[StrictGroup] = StrictGroup) -> typer.Typer:
    """A command group."""
    group = typer.Typer(help=about, cls=kind, **_SETTINGS)
    for function in members:
        group.command(_name(function), cls=StrictCommand)(with_session(function))

    @group.callback()
    def together() -> None:
        """Keeps a group of one command a group."""

    return group


def _name(function: CommandFunction) -> str:
    return function.__name__.strip("_").replace("_", "-")


def _root() -> Callable[..., None]:
    """The root callback: accepts the global options before the command's name."""

    def lightragctl(**options: Any) -> None:
        """Run LightRAG with Milvus, on one machine or on Kubernetes."""

    lightragctl.__signature__ = inspect.Signature(parameters())  # type: ignore[attr-defined]
    lightragctl.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters()}
    return lightragctl
