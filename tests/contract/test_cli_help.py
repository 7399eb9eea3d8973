"""Help: there for every command, quick, and free of escape codes where nobody can see colour."""

import subprocess
import sys

import pytest

from tests.conftest import Tool
from tests.fakes.terminal import seen_on_a_terminal

COMMANDS = [
    "",
    "up",
    "status",
    "logs",
    "down",
    "history",
    "rollback",
    "unlock",
    "render",
    "diagnose",
    "diagnose run",
    "diagnose list",
    "diagnose explain",
    "diagnose bundle",
    "diagnose profiler",
    "ingest",
    "retrieve",
    "recordings",
    "query",
    "bench run",
    "bench saturate",
    "bench compare",
    "bench report",
    "golden",
    "golden build",
    "golden show",
    "golden check",
    "index",
    "index list",
    "index show",
    "index rebuild",
    "index lifecycle",
    "index compact",
    "index load",
    "index release",
    "reembed",
    "operations",
    "operations list",
    "operations status",
    "operations pause",
    "operations resume",
    "operations promote",
    "operations abort",
    "operations cleanup",
    "operations rehearse",
    "completion",
    "version",
    "profiles",
    "profiles list",
    "profiles show",
    "profiles init",
    "profiles validate",
    "serve",
    "serve api",
    "serve gateway",
    "serve embedder",
    "serve mock-llm",
]
WITHOUT_EXAMPLES = {
    "",
    "diagnose",
    "golden",
    "index",
    "operations",
    "profiles",
    "serve",
    "version",
    "profiles list",
    "serve gateway",
    "serve embedder",
}  # groups, and commands that have nothing to choose
SLOW = {"httpx", "kubernetes", "pymilvus", "numpy", "aiohttp"}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_and_where_there_is_something_to_choose_examples(tool: Tool, command: str) -> None:
    done = tool.run(*command.split(), "--help")
    assert done.returncode == 0
    assert f"Usage: {' '.join(['lightragctl', *command.split()])}" in done.stdout
    assert ("Examples:" in done.stdout) == (command not in WITHOUT_EXAMPLES)
    assert done.stderr == ""


@pytest.mark.parametrize("group", ["", "golden", "profiles", "serve"])
def test_the_help_of_a_group_names_its_commands(tool: Tool, group: str) -> None:
    text = tool.run(*group.split(), "--help").stdout
    inner = [command.removeprefix(group).split() for command in COMMANDS if command.startswith(group)]
    names = {words[0] for words in inner if words}
    assert names
    assert not [name for name in names if f" {name} " not in text]


def test_the_help_tells_the_exit_statuses(tool: Tool) -> None:
    assert "Exit statuses" in tool.run("--help").stdout


def imported(tool: Tool, *arguments: str) -> set[str]:
    """The modules that a command loads."""
    command = [sys.executable, "-X", "importtime", "-m", "lightragctl", *arguments]
    done = subprocess.run(command, env=tool.environ, cwd=tool.cwd, text=True, capture_output=True, timeout=60)
    assert done.returncode == 0
    return {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}


@pytest.mark.parametrize("command", ["", "profiles", "serve", "up", "ingest", "golden build", "serve api"])
def test_help_loads_nothing_that_is_slow(tool: Tool, command: str) -> None:
    loaded = imported(tool, *command.split(), "--help")
    assert "typer" in loaded
    assert not loaded & SLOW
    assert "lightragctl.core.profile" not in loaded
    # Typer itself loads pydantic once it reads a command's typed options; nothing of ours may load it before.
    assert command or "pydantic" not in loaded


@pytest.mark.parametrize("arguments", [["--help"], ["profiles", "list"], ["status"], ["no-such-command"], ["retrieve"]])
def test_without_a_terminal_there_are_no_escape_codes(tool: Tool, arguments: list[str]) -> None:
    done = tool.run(*arguments)
    assert done.stdout + done.stderr
    assert "\x1b" not in done.stdout + done.stderr


def test_a_terminal_gets_colour(tool: Tool) -> None:
    assert "\x1b[31m" in seen_on_a_terminal(tool, "status")


@pytest.mark.parametrize("arguments", [["--help"], ["profiles", "list"], ["status"], ["no-such-command"]])
def test_no_color_silences_colour_on_a_terminal(tool: Tool, arguments: list[str]) -> None:
    text = seen_on_a_terminal(tool, *arguments, NO_COLOR="1")
    assert text
    assert not [code for code in range(30, 38) if f"\x1b[{code}m" in text or f";{code}m" in text]


def test_the_option_no_color_does_the_same(tool: Tool) -> None:
    text = seen_on_a_terminal(tool, "status", "--no-color")
    assert "error: " in text
    assert "\x1b[31m" not in text


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script(tool: Tool, shell: str) -> None:
    done = tool.run("completion", shell)
    assert done.returncode == 0
    assert "_LIGHTRAGCTL_COMPLETE" in done.stdout
