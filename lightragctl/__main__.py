"""The entry: runs the command line and maps what comes out of it to an exit status. The only place that exits."""

import signal
import sys
from collections.abc import Sequence
from types import FrameType

from lightragctl.core.errors import ExitStatus, LightragctlError


class _Terminated(BaseException):
    """SIGTERM, raised where the program stands so that what it holds is released."""


def main() -> None:
    """The `lightragctl` command."""
    from lightragctl.cli.streams import open_standard

    open_standard()
    sys.exit(int(run(sys.argv[1:])))


def run(arguments: Sequence[str]) -> int:
    """Run one command; its exit status."""
    from lightragctl.cli.output import show_error
    from lightragctl.cli.streams import ReaderGone

    signal.signal(signal.SIGTERM, _on_terminate)
    try:
        return _run_command(arguments)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return ExitStatus.INTERRUPTED
    except _Terminated:
        return ExitStatus.TERMINATED
    except ReaderGone:
        return ExitStatus.DONE
    except LightragctlError as error:  # outside a session: standard output takes no more
        return show_error(error)


def _on_terminate(number: int, frame: FrameType | None) -> None:
    raise _Terminated


def _run_command(arguments: Sequence[str]) -> int:
    from lightragctl.cli.app import build
    from lightragctl.cli.output import show_bug, show_usage_error

    try:
        status = build()(args=list(arguments), prog_name="lightragctl", standalone_mode=False)
        sys.stdout.flush()
    except LightragctlError:
        raise
    except Exception as error:  # noqa: BLE001 - the one place that tells a bug from an expected error
        if hasattr(error, "format_message"):  # Typer's own usage errors; their class is not public
            return show_usage_error(error, arguments)
        return show_bug(error)
    return status if isinstance(status, int) else ExitStatus.DONE


if __name__ == "__main__":
    main()
