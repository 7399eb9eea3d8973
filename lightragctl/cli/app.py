"""The command tree."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import typer
from typer.completion import completion_init  # type: ignore[attr-defined]

from lightragctl.cli.backup import commands as backup
from lightragctl.cli.backup import copying
from lightragctl.cli.bench import commands as bench
from lightragctl.cli.data import commands as data
from lightragctl.cli.deploy import commands as deploy
from lightragctl.cli.deploy import revisions
from lightragctl.cli.diagnose import commands as diagnose
from lightragctl.cli.diagnose import profiling
from lightragctl.cli.golden import commands as golden
from lightragctl.cli.index import commands as index
from lightragctl.cli.operations import commands as operations
from lightragctl.cli.options import parameters, with_session
from lightragctl.cli.parsing import StrictCommand, StrictGroup
from lightragctl.cli.profiles import commands as profiles
from lightragctl.cli.reembed import commands as reembed
from lightragctl.cli.serve import commands as serve
from lightragctl.cli.tool import commands as tool
from lightragctl.cli.tune import commands as tune
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


class _DefaultsToRun(StrictGroup):
    """A group whose default command is `run`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """The arguments, with `run` inserted when no command is given."""
        if not args or (args[0].startswith("-") and args[0] not in ("-h", "--help")):
            args = ["run", *args]
        return list(super().parse_args(ctx, args))


@dataclass(frozen=True)
class _CommandGroup:
    """Commands under one word, the panel of `--help` that lists it, and what it does without a command."""

    name: str
    panel: str
    about: str
    members: tuple[CommandFunction, ...]
    kind: type[StrictGroup] = StrictGroup
    hidden: tuple[CommandFunction, ...] = ()


_PANELS: tuple[tuple[str, tuple[CommandFunction, ...]], ...] = (
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
    ("Backup and restore", (copying.restore, copying.clone)),
    ("Models and indexes", (reembed.reembed,)),
    ("Profiles and tool", (tool.completion, tool.version)),
)
_GROUPS = (
    _CommandGroup(
        "profiles",
        "Profiles and tool",
        "List, show, create and validate profiles.",
        (profiles.list_, profiles.show, profiles.init, profiles.validate),
    ),
    _CommandGroup(
        "serve",
        "Profiles and tool",
        "Run one of the services in the foreground (what pods and local processes run).",
        (serve.api, serve.gateway, serve.embedder, serve.mock_llm, serve.lightrag_server),
    ),
    _CommandGroup(
        "bench",
        "Load tests and quality",
        "Load-test a release. Without a subcommand: bench run.",
        (bench.run, bench.saturate, bench.compare, bench.report),
        _DefaultsToRun,
    ),
    _CommandGroup(
        "upgrade",
        "Deploy and operate",
        "Upgrade a release, with or without a canary. Without a subcommand: upgrade run.",
        (upgrade.run, upgrade.matrix, upgrade.report),
        _DefaultsToRun,
    ),
    _CommandGroup(
        "diagnose",
        "Deploy and operate",
        "Find the cause of a problem and its fix. Without a subcommand: diagnose run.",
        (diagnose.run, diagnose.explain, diagnose.list_, diagnose.bundle, profiling.profiler),
        _DefaultsToRun,
    ),
    _CommandGroup(
        "golden",
        "Load tests and quality",
        "Build and check golden sets: queries with known correct answers.",
        (golden.build, golden.show, golden.check),
    ),
    _CommandGroup(
        "index",
        "Models and indexes",
        "Show, rebuild, compact, load and release the indexes of a release; apply life-cycle rules.",
        (index.list_, index.show, index.rebuild, index.compact, index.load, index.release, index.lifecycle),
    ),
    _CommandGroup(
        "tune",
        "Models and indexes",
        "Find, apply and undo the best vector index for the data of a workspace.",
        (tune.search, tune.apply, tune.undo),
    ),
    _CommandGroup(
        "operations",
        "Deploy and operate",
        "Watch and control long-running operations on a release: backups, restores, upgrades.",
        (
            operations.list_,
            operations.status,
            operations.pause,
            operations.resume,
            operations.promote,
            operations.abort,
            operations.cleanup,
            operations.rehearse,
        ),
        hidden=(operations.run,),  # what a Job's pod runs
    ),
    _CommandGroup(
        "backup",
        "Backup and restore",
        "Back up a workspace, verify backups, delete old ones.",
        (backup.create, backup.schedule, backup.list_, backup.show, backup.verify, backup.prune, backup.rekey),
    ),
)


def build() -> typer.Typer:
    """The Typer application with all commands."""
    completion_init()
    app = typer.Typer(name="lightragctl", cls=StrictGroup, epilog=_EXIT_STATUSES, **_SETTINGS)
    app.callback()(_root())
    for panel, functions in _PANELS:
        for function in functions:
            app.command(_name(function), cls=StrictCommand, rich_help_panel=panel)(with_session(function))
    for group in _GROUPS:
        app.add_typer(_group(group), name=group.name, rich_help_panel=group.panel)
    return app


def _group(wanted: _CommandGroup) -> typer.Typer:
    """A command group."""
    group = typer.Typer(help=wanted.about, cls=wanted.kind, **_SETTINGS)
    for function in (*wanted.members, *wanted.hidden):
        hidden = function in wanted.hidden
        group.command(_name(function), cls=StrictCommand, hidden=hidden)(with_session(function))

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
