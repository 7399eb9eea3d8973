"""Streams, encodings and arguments of every kind: a plain error and the right exit status, never a traceback."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence

import pytest

from tests.conftest import Tool


def shell(tool: Tool, script: str, *arguments: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    """The command as `lightragctl` inside a line of bash."""
    words = ["bash", "-c", f'lightragctl() {{ {sys.executable} -m lightragctl "$@"; }}; {script}', "bash", *arguments]
    environ = {**tool.environ, **variables}
    return subprocess.run(words, env=environ, cwd=tool.cwd, text=True, capture_output=True, timeout=60)


@pytest.mark.parametrize(
    "command",
    [
        "profiles show",
        "render --profile dev -o yaml",
        "completion bash",
        "--help",
        "retrieve -o json",
    ],
)
def test_a_full_disk_under_the_output_is_an_error_in_one_line(tool: Tool, command: str) -> None:
    done = shell(tool, f"lightragctl {command} > /dev/full")
    assert done.returncode == 1
    assert done.stderr.startswith("error: cannot write to standard output: No space left on device\nhint: ")
    assert len(done.stderr.splitlines()) == 2


@pytest.mark.parametrize(
    ("script", "status"),
    [
        ("lightragctl version >&- 2>&-", 1),
        ("lightragctl version 2>&-", 0),
        ("lightragctl version <&- >&- 2>&-", 1),
        ("lightragctl logs 2>/dev/full", 1),
        ("lightragctl down --purge <&-", 2),
        ("lightragctl profiles init mine >&-; s=$?; test -s mine.yaml && exit $s", 1),
    ],
)
def test_closed_and_full_streams_end_with_the_status_that_is_true(tool: Tool, script: str, status: int) -> None:
    done = shell(tool, script)
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("command", "status"),
    [("profiles show", 0), ("--help", 0), ("diff -o json", 1)],
)
def test_a_reader_that_has_read_enough_changes_nothing(tool: Tool, command: str, status: int) -> None:
    done = shell(tool, f"lightragctl {command} | true; exit ${{PIPESTATUS[0]}}")
    assert (done.returncode, done.stderr) == (status, "")


def words(tool: Tool, arguments: Sequence[bytes]) -> "subprocess.CompletedProcess[bytes]":
    command = [os.fsencode(sys.executable), b"-m", b"lightragctl", *arguments]
    return subprocess.run(command, env=tool.environ, cwd=tool.cwd, capture_output=True, timeout=60)


@pytest.mark.parametrize(
    "arguments",
    [
        (b"retrieve", b"a\xffb"),
        (b"status", b"--name", b"a\xffb"),
        (b"--set", b"description=a\xffb", b"profiles", b"show"),
    ],
)
def test_an_argument_that_is_no_text_is_a_usage_error(tool: Tool, arguments: Sequence[bytes]) -> None:
    done = words(tool, arguments)
    assert done.returncode == 2
    assert b"a\\xffb' is not valid utf-8" in done.stderr


def test_file_names_are_bytes(tool: Tool) -> None:
    name = b"\xff.yaml"
    with open(os.path.join(os.fsencode(tool.cwd), name), "w") as file:
        file.write("extends: local\n")
    assert words(tool, [b"profiles", b"validate", b"--profile", name]).returncode == 2  # no name for a release
    done = words(tool, [b"profiles", b"validate", b"--values", b"no\xff"])
    assert (done.returncode, b"cannot read no\\xff" in done.stderr) == (2, True)
    shown = words(tool, [b"profiles", b"show", b"--values", b"\xff.yaml", b"-o", b"json"])
    assert b"unknown key" in shown.stdout
    assert json.loads(shown.stdout)["status"] == "failed"
