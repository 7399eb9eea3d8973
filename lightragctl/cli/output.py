"""The only place that prints: results on standard output, everything else on standard error.

Control characters in data never reach a terminal: tables escape them (`core.visible`), JSON and YAML use escapes of
their own. Only our own styling is emitted.
"""

import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from enum import StrEnum
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Protocol, TextIO

from lightragctl.cli.streams import carries
from lightragctl.core.errors import ExitStatus, LightragctlError, UsageError
from lightragctl.core.result import ErrorInfo, Event, EventType, Notify, Result
from lightragctl.core.visible import visible, visible_data

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.status import Status

    from lightragctl.core.runtime import Differences


class Format(StrEnum):
    """How a result is printed."""

    TABLE = "table"
    JSON = "json"
    YAML = "yaml"


class Panel(Protocol):
    """A live display of a long operation, redrawn for each passing event."""

    def picture(self, event: Event) -> "RenderableType":
        """The display after this event."""


class Output:
    """Prints what one command shows."""

    def __init__(self, format: Format, no_color: bool = False) -> None:
        self.format = format
        self.as_events = False
        """Progress goes to standard error as JSON, one event per line."""
        self._no_color = no_color
        self._status: Status | None = None

    @property
    def interactive(self) -> bool:
        """Whether the user can be asked for confirmation."""
        return sys.stdin.isatty() and sys.stderr.isatty() and not self.as_events

    def console(self, to_stderr: bool = False) -> "Console":
        """A console that does not interpret markup and does not truncate lines without a terminal."""
        from rich.console import Console

        file = sys.stderr if to_stderr else sys.stdout
        width = None if file.isatty() else 1000
        no_color = True if self._no_color else None
        return Console(file=file, no_color=no_color, markup=False, highlight=False, emoji=False, width=width)

    def show(self, result: Result) -> None:
        """Print the result in the chosen format; with tables, errors go to standard error."""
        if self.as_events:
            self._notify_end(result)
        if result.shown:
            return
        if self.format is not Format.TABLE:
            self.text(dump(result.document(), self.format, sys.stdout) + "\n")
            return
        self._show_table(result)
        label = "warning" if result.exit_status == ExitStatus.WARNINGS else "error"
        for error in result.errors:
            self.error(error, label)

    def _show_table(self, result: Result) -> None:
        from lightragctl.cli.views import VIEWS, manifests

        documents = manifests(result.command, result.data)
        if documents:
            from lightragctl.core.serialize import yaml_documents

            text = yaml_documents(documents)
            whole = carries(sys.stdout, text)
            self.text((text if whole else yaml_documents(documents, ascii_only=True)) + "\n")
        elif result.data and result.command in VIEWS:
            console = self.console()
            for part in VIEWS[result.command](visible_data(result.data)):
                console.print(part, soft_wrap=True)

    def error(self, error: ErrorInfo, label: str = "error") -> None:
        """`error:` or `warning:` and `hint:` lines on standard error."""
        if self.as_events:  # `_notify_end` has reported it
            return
        console = self.console(to_stderr=True)
        style = "red" if label == "error" else "yellow"
        console.print(visible(f"{label}: {error.message}"), style=style, soft_wrap=True)
        if error.hint:
            console.print(visible(f"hint: {error.hint}"), soft_wrap=True)

    def notify(self, event: Event) -> None:
        """One line of progress."""
        text = _json_line(event.document(_now()), sys.stderr) if self.as_events else words(event)
        print(text, file=sys.stderr, flush=True)

    def _notify_end(self, result: Result) -> None:
        for error in result.errors:
            self.notify(Event(error.message, type=EventType.ERROR, data={"code": error.code, "hint": error.hint}))
        told: dict[str, Any] = {
            "command": result.command,
            "status": str(result.status),
            "exit_status": int(result.exit_status),
        }
        self.notify(Event(str(result.status), type=EventType.END, data=told))

    @contextmanager
    def live(self, panel: Panel | None = None) -> Iterator[Notify]:
        """Show progress while the block runs: on a terminal, a passing event stays at the bottom until the next one, as
        a line or as `panel` draws it.

        Without a terminal, a passing event is a line of its own, at most every few seconds and only when it is new.
        """
        console = self.console(to_stderr=True)
        if self.as_events or not console.is_terminal or console.is_dumb_terminal:
            yield _EventLines(time.monotonic, self.notify).show
            return
        if panel is not None:
            with _drawn(console, panel) as notify:
                yield notify
            return
        from rich.text import Text

        with console.status("reading the release") as status:
            self._status = status
            try:
                yield lambda event: status.update(Text(words(event))) if event.passing else console.print(words(event))
            finally:
                self._status = None

    def differences(self, differences: "Differences") -> None:
        """Print pending changes to standard error."""
        from lightragctl.cli.deploy.payloads import planned
        from lightragctl.cli.deploy.views import counts
        from lightragctl.cli.views import VIEWS

        if self.as_events:
            told = planned("up", differences).data
            self.notify(Event(counts(told), differences.release, type=EventType.PLAN, data=told))
            return
        console = self.console(to_stderr=True)
        for part in VIEWS["diff"](visible_data(planned("up", differences).data)):
            console.print(part, soft_wrap=True)

    def lines(self, lines: Iterable[tuple[str, str]]) -> None:
        """Print log lines as they arrive, prefixed with the component's name, or as one JSON document per line."""
        for component, line in lines:
            if self.format is Format.TABLE:
                self.text(f"{component:<14} {visible(line)}\n")
            else:
                self.text(_json_line({"component": component, "line": line}, sys.stdout) + "\n")

    def text(self, text: str) -> None:
        """Write text to standard output and flush it."""
        sys.stdout.write(text)
        sys.stdout.flush()

    def ask(self, question: str) -> bool:
        """Whether the user answers yes on the terminal."""
        if self._status is not None:
            self._status.stop()
        print(f"{visible(question)} [y/N] ", end="", file=sys.stderr, flush=True)
        answer = sys.stdin.readline().strip().lower()
        if self._status is not None:
            self._status.start()
        return answer in ("y", "yes")

    def choose(self, question: str) -> str:
        """Ask on the terminal for a word; its first letter, in lower case, or nothing."""
        print(f"{visible(question)} ", end="", file=sys.stderr, flush=True)
        return sys.stdin.readline().strip().lower()[:1]

    def trace(self, error: LightragctlError) -> None:
        """Print the traceback of an expected error, for `--verbose`; not with `--events`."""
        if self.as_events:
            return
        _print_traceback(error)


@contextmanager
def _drawn(console: "Console", panel: Panel) -> Iterator[Notify]:
    """Draw a panel at each passing event; it is removed at the end."""
    from rich.live import Live

    with Live(console=console, auto_refresh=False, transient=True) as live:
        yield (
            lambda event: (
                live.update(panel.picture(event), refresh=True) if event.passing else console.print(words(event))
            )
        )


_PASSING_S = 5.0


class _EventLines:
    """Plain lines: passing events when they are new, at most every few seconds; all others at once."""

    def __init__(self, clock: Callable[[], float], say: Notify) -> None:
        self._clock, self._say = clock, say
        self._next_s = clock() + _PASSING_S
        self._last = ""

    def show(self, event: Event) -> None:
        text = words(event)
        if event.passing:
            if self._clock() < self._next_s or text == self._last:
                return
            self._next_s, self._last = self._clock() + _PASSING_S, text
        self._say(event)


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def words(event: Event) -> str:
    """The event as a person reads it."""
    return visible(f"{event.subject}: {event.message}" if event.subject else event.message)


def show_usage_error(error: Any, arguments: Sequence[str]) -> ExitStatus:
    """Print a usage error that Typer found before there was a session."""
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "lightragctl"
    message = str(error.format_message()).strip()
    if not message:  # no_args_is_help: Typer has printed the help already
        return ExitStatus.USAGE
    command = " ".join(path.split()[1:])
    failure = Result.failure(command, UsageError(message, f"see: {path} --help"))
    Output(_wanted_format(arguments)).show(failure)
    return ExitStatus.USAGE


def _wanted_format(arguments: Sequence[str]) -> Format:
    """The output format of a command line that could not be parsed."""
    for format in (Format.JSON, Format.YAML):
        joined = (f"-o{format}", f"--output={format}")
        apart = any(pair in (("-o", format), ("--output", format)) for pair in pairwise(arguments))
        if apart or any(word in joined for word in arguments):
            return format
    return Format.TABLE


def show_error(error: LightragctlError) -> ExitStatus:
    """Print an expected error that ended a command outside its session, such as a full disk under its output."""
    Output(Format.TABLE).error(ErrorInfo.of(error))
    return error.exit_status


def show_bug(error: BaseException) -> ExitStatus:
    """Print the traceback of a bug."""
    _print_traceback(error)
    print("error: this is a bug in lightragctl; please report the lines above", file=sys.stderr)
    return ExitStatus.BUG


def _print_traceback(error: BaseException) -> None:
    print(visible("".join(traceback.format_exception(error))), file=sys.stderr, end="")


def dump(document: dict[str, Any], format: Format, stream: TextIO) -> str:
    """The document as JSON or YAML text; in ASCII when the stream cannot encode it."""
    from lightragctl.core.serialize import json_text, yaml_text

    made = partial(json_text, document, 2) if format is Format.JSON else partial(yaml_text, document)
    text = made()
    return text if carries(stream, text) else made(ascii_only=True)


def _json_line(document: Mapping[str, Any], stream: TextIO) -> str:
    from lightragctl.core.serialize import json_text

    text = json_text(document)
    return text if carries(stream, text) else json_text(document, ascii_only=True)
