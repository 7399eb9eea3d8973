"""Arguments that say nothing are refused by every option and argument of every command: no default replaces them."""

import io
from collections.abc import Iterator, Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest
import typer

from lightragctl.cli.app import build

OPEN = ("exec",)
"""Takes the words of another command, which may be empty."""


def commands(group: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command with its words."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command


def takes_value(param: Any) -> bool:
    return not (getattr(param, "is_flag", False) or param.name == "help")


ROOT = typer.main.get_command(build())
COMMANDS = dict(commands(ROOT))
OPTIONS = [
    (words, param.opts[0])
    for words, command in COMMANDS.items()
    for param in command.params
    if param.param_type_name == "option" and takes_value(param)
]
ARGUMENTS = [
    words for words, command in COMMANDS.items() if any(one.param_type_name == "argument" for one in command.params)
]


def refusal(*arguments: str) -> str:
    """What is told of a command line that is refused before anything is done."""
    out, error = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(error), pytest.raises(Exception) as caught:  # noqa: PT011 - not public
        ROOT(args=list(arguments), prog_name="lightragctl", standalone_mode=False)
    return str(getattr(caught.value, "format_message", lambda: repr(caught.value))())


def test_there_is_something_to_judge() -> None:
    assert len(COMMANDS) > 25
    assert len(OPTIONS) > 300


@pytest.mark.parametrize("empty", ["", " ", "\t\n"])
def test_every_option_refuses_an_empty_value(empty: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for words, option in OPTIONS:
        assert "empty value" in refusal(*words, option, empty), (words, option)


def test_every_argument_refuses_an_empty_value(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for words in ARGUMENTS:
        assert "empty value" in refusal(*words, "", *(("ls",) if words == OPEN else ())), words


@pytest.mark.parametrize("option", [one.opts[0] for one in ROOT.params if takes_value(one)])
def test_global_options_refuse_it_before_the_command_too(option: str) -> None:
    assert "empty value" in refusal(option, "", "down", "--purge", "--yes")


@pytest.mark.parametrize("arguments", [["bench", "--url", ""], ["bench", "run", "--url="]])
def test_a_group_that_runs_alone_refuses_it(arguments: Sequence[str]) -> None:
    assert "empty value" in refusal(*arguments)


def test_every_text_must_be_text_and_file_names_may_be_bytes() -> None:
    assert "is not valid" in refusal("status", "--name", "a\udcff")
    assert "is not valid" in refusal("retrieve", "a\udcff")
    assert "is not valid" in refusal("retrieve", "a", "--filter", "a\udcff")
