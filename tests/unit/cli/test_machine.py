"""What the machine does not give, a command says in a line: rights, room."""

import errno
import os

import pytest
import typer

from lightragctl.cli.options import Session, complete_profile, with_session
from lightragctl.core.result import Result


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
        (OSError(errno.ENOSPC, "No space left on device"), "hint: free disk space"),
        (OSError(errno.EMFILE, "Too many open files"), "hint: raise the limit of open files"),
    ],
)
def test_a_failure_of_the_machine_is_no_bug(error: OSError, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert status_of(error) == 1
    assert told in capsys.readouterr().err


def test_a_connection_that_nobody_explained_is_a_bug() -> None:
    with pytest.raises(ConnectionError):
        status_of(ConnectionRefusedError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED)))


@pytest.mark.parametrize(
    ("typed", "offered"), [("", ["dev", "local", "prod", "staging"]), ("d", ["dev"]), ("/", []), ("./m", []), ("[", [])]
)
def test_completion_offers_shipped_profiles_and_leaves_files_to_the_shell(typed: str, offered: list[str]) -> None:
    assert complete_profile(typed) == offered
