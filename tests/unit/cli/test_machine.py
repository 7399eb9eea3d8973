"""What the machine does not give, a command says in a line: rights, room, files of another shape."""

import errno
import os
from pathlib import Path

import pytest
import typer

from lightragctl.cli.options import Session, complete_profile, with_session
from lightragctl.core.errors import LightragctlError
from lightragctl.core.result import Result
from lightragctl.release.open import Place, open_runtime
from lightragctl.release.profiles import load_profile


def status_of(error: BaseException) -> int:
    """The exit status of a command that meets an error."""

    def command(session: Session) -> Result:
        raise error

    app = typer.Typer()
    app.command()(with_session(command))
    return int(typer.main.get_command(app)(args=[], standalone_mode=False))


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (PermissionError(errno.EACCES, "Permission denied", "/x/lock"), "error: /x/lock: Permission denied"),
        (OSError(errno.ENAMETOOLONG, "File name too long", b"a\xff"), "error: a\\xff: File name too long"),
        (OSError(errno.ENOSPC, "No space left on device"), "hint: make room on the disk"),
        (OSError(errno.EMFILE, "Too many open files"), "hint: allow more open files"),
    ],
)
def test_a_failure_of_the_machine_is_no_bug(error: OSError, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert status_of(error) == 1
    assert told in capsys.readouterr().err


def test_a_connection_that_nobody_explained_is_a_bug() -> None:
    with pytest.raises(ConnectionError):
        status_of(ConnectionRefusedError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED)))


@pytest.mark.parametrize("content", [b"\xff\xfe", b"a: [", b"- 1\n", b"clusters: 3\n", b"", b"contexts: []\n", b"3"])
def test_a_kubeconfig_that_cannot_be_read_is_told(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "config").write_bytes(content)
    with pytest.raises(LightragctlError, match="kubeconfig") as caught:
        open_runtime("rel", load_profile("dev"), Place({}, tmp_path / "config", None))
    assert "--kubeconfig" in caught.value.hint


@pytest.mark.parametrize(
    ("typed", "offered"), [("", ["dev", "local", "prod", "staging"]), ("d", ["dev"]), ("/", []), ("./m", []), ("[", [])]
)
def test_completion_offers_shipped_profiles_and_leaves_files_to_the_shell(typed: str, offered: list[str]) -> None:
    assert complete_profile(typed) == offered
