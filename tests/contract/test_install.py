"""`.ci/install`, on which `make` stands: an environment is complete, or made again, or it is said why it cannot be.

A script takes the place of Python. It makes an environment whose own Python is a script too and notes what pip is told.
"""

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BASE = """#!/bin/sh
case "$*" in
*'%d.%d'*) echo 3.12 ;;
*version_info*) exit 0 ;;
*venv*)
    mkdir -p .venv/bin
    cp "$(dirname "$0")/inner" .venv/bin/python
    echo "command = $0 -m venv $(pwd -P)/.venv" > .venv/pyvenv.cfg
    echo venv >> log
    ;;
esac
"""
INNER = """#!/bin/sh
case "$*" in
*'import pip'*) exit 0 ;;
*'pip install'*) echo "$*" | sed 's/.*constraints.txt //' >> log ;;
esac
"""
DEBIAN = """#!/bin/sh
case "$*" in
*'%d.%d'*) echo 3.12 ;;
*venv*)
    mkdir -p .venv/bin
    ln -s /usr/bin/env .venv/bin/python
    echo 'The virtual environment was not created successfully because ensurepip is not available.'
    exit 1
    ;;
esac
"""
OLD = """#!/bin/sh
case "$*" in
*'%d.%d'*) echo 3.9 ;;
*) exit 1 ;;
esac
"""


@dataclass(frozen=True)
class Checkout:
    """A folder with what the script reads, and a Python of ours."""

    folder: Path

    def write(self, name: str, text: str) -> Path:
        """A program beside the checkout."""
        file = self.folder.parent / name
        file.write_text(text)
        file.chmod(0o755)
        return file

    def install(self, *arguments: str, python: str = "python3") -> subprocess.CompletedProcess[str]:
        """Run the script; without arguments, for `up`."""
        command = [self.folder / ".ci" / "install", *(arguments or ("up", "-e", ".[local]"))]
        environ = {"PATH": os.environ["PATH"], "PYTHON": str(self.folder.parent / python)}
        return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=30)

    def log(self) -> list[str]:
        """What was made and installed since it was last asked."""
        file = self.folder / "log"
        lines = file.read_text().splitlines() if file.exists() else []
        file.unlink(missing_ok=True)
        return lines


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    folder = tmp_path / "a checkout"
    (folder / ".ci").mkdir(parents=True)
    shutil.copy(ROOT / ".ci" / "install", folder / ".ci")
    for name in ("pyproject.toml", "constraints.txt"):
        (folder / name).touch()
    made = Checkout(folder)
    made.write("python3", BASE)
    made.write("inner", INNER)
    return made


def test_what_is_installed_is_not_installed_again(checkout: Checkout) -> None:
    assert checkout.install().returncode == 0
    assert checkout.log() == ["venv", "-e .[local]"]
    assert checkout.install().returncode == 0
    assert checkout.log() == []
    checkout.install("test", "-e", ".[dev]")
    assert checkout.log() == ["-e .[dev]"]


def test_a_newer_list_of_packages_is_installed_into_the_same_environment(checkout: Checkout) -> None:
    checkout.install()
    checkout.log()
    later = (checkout.folder / ".venv" / "up").stat().st_mtime + 10
    os.utime(checkout.folder / "constraints.txt", (later, later))
    checkout.install()
    assert checkout.log() == ["-e .[local]"]


def test_a_debian_without_venv_is_told_the_package_and_leaves_nothing(checkout: Checkout) -> None:
    checkout.write("debian", DEBIAN)
    for _ in range(2):
        refused = checkout.install(python="debian")
        assert refused.returncode == 1
        assert "ensurepip is not available" in refused.stderr
        assert "apt install python3-venv python3.12-venv" in refused.stderr
        assert not (checkout.folder / ".venv").exists()
    assert checkout.install().returncode == 0


@pytest.mark.parametrize(("python", "told"), [("old", "Python 3.11 or newer"), ("nowhere", "does not run")])
def test_a_python_that_is_old_or_missing_is_told(checkout: Checkout, python: str, told: str) -> None:
    checkout.write("old", OLD)
    refused = checkout.install(python=python)
    assert (refused.returncode, told in refused.stderr) == (1, True)
    assert "make PYTHON=" in refused.stderr
    assert not (checkout.folder / ".venv").exists()


def test_an_installation_that_was_interrupted_is_begun_again(checkout: Checkout) -> None:
    checkout.write("inner", INNER.replace(">> log", ">> log; kill -9 $PPID"))
    assert checkout.install().returncode != 0
    checkout.log()
    checkout.write("inner", INNER)
    again = checkout.install()
    assert (again.returncode, "did not come to its end" in again.stderr) == (0, True)
    assert checkout.log() == ["venv", "-e .[local]"]


def test_a_pip_that_fails_is_no_installation(checkout: Checkout) -> None:
    checkout.write("inner", INNER.replace(">> log", ">> log; exit 1"))
    assert checkout.install().returncode == 1
    assert not (checkout.folder / ".venv" / "up").exists()


def test_a_checkout_that_was_moved_gets_an_environment_of_its_own(checkout: Checkout) -> None:
    """Its editable package and the first lines of its commands still name the old folder."""
    checkout.install()
    moved = Checkout(checkout.folder.parent / "elsewhere")
    shutil.copytree(checkout.folder, moved.folder, symlinks=True)
    moved.log()
    done = moved.install()
    assert (done.returncode, "was made in another folder" in done.stderr) == (0, True)
    assert moved.log() == ["venv", "-e .[local]"]


@pytest.mark.parametrize("broken", ["a link to nothing", "no pip", "a file"])
def test_an_environment_whose_python_is_gone_is_made_again(checkout: Checkout, broken: str) -> None:
    checkout.install()
    checkout.log()
    environment = checkout.folder / ".venv"
    if broken == "a file":
        shutil.rmtree(environment)
        environment.touch()
    else:
        target = "/nowhere/python3" if broken == "a link to nothing" else "/bin/false"
        (environment / "bin" / "python").unlink()
        (environment / "bin" / "python").symlink_to(target)
    done = checkout.install()
    assert (done.returncode, "does not work, or has no pip" in done.stderr) == (0, True)
    assert checkout.log() == ["venv", "-e .[local]"]
