"""`tool.run` in a fork is what a user's own run is: the same words, status, streams, directory and environment."""

import os
import subprocess
import sys
from dataclasses import replace

import pytest

from tests.conftest import Tool
from tests.launcher import can_fork, launcher


def in_an_interpreter(tool: Tool, *arguments: str, stdin: str | None = None) -> tuple[int, str, str]:
    command = [sys.executable, "-m", "lightragctl", *arguments]
    done = subprocess.run(
        command, env=tool.environ, cwd=tool.cwd, text=True, capture_output=True, input=stdin, timeout=60
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    ("words", "stdin"),
    [
        ("profiles init mine --from dev", None),
        ("profiles list", None),
        ("retrieve 天气", None),
        ("down --purge", ""),
        ("down --purge", "y\n"),
        ("no-such-command", None),
    ],
)
def test_a_fork_says_what_an_interpreter_says(tool: Tool, words: str, stdin: str | None) -> None:
    done = tool.run(*words.split(), stdin=stdin)
    for file in tool.cwd.rglob("*.yaml"):
        file.unlink()
    assert (done.returncode, done.stdout, done.stderr) == in_an_interpreter(tool, *words.split(), stdin=stdin)


def test_runs_know_nothing_of_each_other(tool: Tool) -> None:
    """The command works where it is told to, and this process and the next command stay as they are."""
    before = os.getcwd(), dict(os.environ)
    assert tool.run("profiles", "init", "mine", "--from", "dev").returncode == 0
    assert [file.name for file in tool.cwd.rglob("mine*")], "not in its directory"
    other = replace(tool, cwd=tool.home)
    assert tool.run("profiles", "show", "--profile", "mine.yaml").returncode == 0
    assert other.run("profiles", "show", "--profile", "mine.yaml").returncode == 2
    assert (os.getcwd(), dict(os.environ)) == before


def test_a_command_that_takes_too_long_is_killed(tool: Tool) -> None:
    with pytest.raises(subprocess.TimeoutExpired):
        launcher().run(["bench", "run", "--url", "http://127.0.0.1:9"], tool.environ, tool.cwd, None, 0.05)


@pytest.mark.parametrize("name", ["KUBECONFIG", "PYTHONIOENCODING", "LC_ALL", "FORCE_COLOR", "http_proxy"])
def test_what_a_package_may_read_when_it_is_imported_gets_an_interpreter(tool: Tool, name: str) -> None:
    assert can_fork(tool.environ)
    assert can_fork(replace(tool, variables={"LIGHTRAGCTL_NAME": "x"}).environ)
    assert not can_fork(replace(tool, variables={name: "x"}).environ)
