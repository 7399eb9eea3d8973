"""The entry: runs the command line and maps what comes out of it to an exit status. The only place that exits."""

import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType

from lightragctl.core.errors import ExitStatus


class _Terminated(BaseException):
    """SIGTERM, raised where the program stands so that what it holds is given back."""


def main() -> None:
    """The `lightragctl` command."""
    sys.exit(int(run(sys.argv[1:])))


def run(arguments: Sequence[str]) -> int:
    """Run one command; its exit status."""
    signal.signal(signal.SIGTERM, _on_terminate)
    try:
        return _run_command(arguments)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return ExitStatus.INTERRUPTED
    except _Terminated:
        return ExitStatus.TERMINATED
    except BrokenPipeError:
        # The reader of our output is gone; nothing more can be said to it, not even by the interpreter at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitStatus.DONE


def _on_terminate(number: int, frame: FrameType | None) -> None:
    raise _Terminated


def _run_command(arguments: Sequence[str]) -> int:
    from lightragctl.cli.app import build
    from lightragctl.cli.output import show_bug, show_usage_error

    try:
        status = build()(args=list(arguments), prog_name="lightragctl", standalone_mode=False)
    except Exception as error:  # noqa: BLE001 - the one place that tells a bug from an expected error
        if hasattr(error, "format_message"):  # Typer's own usage errors; their class is not public
            return show_usage_error(error, arguments)
        return show_bug(error)
    return status if isinstance(status, int) else ExitStatus.DONE


if __name__ == "__main__":
    main()
