"""The only place that prints: results on standard output, everything else on standard error."""

import json
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from enum import StrEnum
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Protocol

from lightragctl.core.errors import ExitStatus, LightragctlError, UsageError
from lightragctl.core.result import ErrorInfo, Event, EventType, Notify, Result

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
    """A picture of something long, for a terminal: it is made anew from each passing event."""

    def picture(self, event: Event) -> "RenderableType":
        """How things stand after this event."""


class Output:
    """Prints for one command."""

    def __init__(self, format: Format, no_color: bool = False) -> None:
        self.format = format
        self.as_events = False
        """Standard error takes one JSON document a line and nothing else."""
        self._no_color = no_color
        self._status: Status | None = None

    @property
    def interactive(self) -> bool:
        """Whether a person can be asked."""
        return sys.stdin.isatty() and sys.stderr.isatty() and not self.as_events

    def console(self, to_stderr: bool = False) -> "Console":
        """A console that neither reads markup in data nor cuts it when there is no terminal."""
        from rich.console import Console

        file = sys.stderr if to_stderr else sys.stdout
        width = None if file.isatty() else 1000
        no_color = True if self._no_color else None
        return Console(file=file, no_color=no_color, markup=False, highlight=False, emoji=False, width=width)

    def show(self, result: Result) -> None:
        """Print the result in the wanted format; as a table its errors go to standard error."""
        if self.as_events:
            self._tell_end(result)
        if result.shown:
            return
        if self.format is not Format.TABLE:
            print(dump(result.document(), self.format))
            return
        from lightragctl.cli.views import VIEWS

        if result.data and result.command in VIEWS:
            console = self.console()
            for part in VIEWS[result.command](result.data):
                console.print(part, soft_wrap=True)
        for error in result.errors:
            self.error(error)

    def error(self, error: ErrorInfo) -> None:
        """`error:` and `hint:` lines on standard error."""
        if self.as_events:  # told by `_tell_end` already
            return
        console = self.console(to_stderr=True)
        console.print(f"error: {error.message}", style="red", soft_wrap=True)
        if error.hint:
            console.print(f"hint: {error.hint}", soft_wrap=True)

    def notify(self, event: Event) -> None:
        """One line of progress."""
        text = json.dumps(event.document(_now()), ensure_ascii=False) if self.as_events else words(event)
        print(text, file=sys.stderr, flush=True)

    def _tell_end(self, result: Result) -> None:
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
        """Progress of something long: a passing event stands at the foot of a terminal until the next comes, as a line,
        or as `panel` draws it.

        Elsewhere a passing event is a line of its own, when it says something new and at most every few seconds.
        """
        console = self.console(to_stderr=True)
        if self.as_events or not console.is_terminal or console.is_dumb_terminal:
            yield _Lines(time.monotonic, self.notify).show
            return
        if panel is not None:
            with _drawn(console, panel) as notify:
                yield notify
            return
        with console.status("reading the release") as status:
            self._status = status
            try:
                yield lambda event: status.update(words(event)) if event.passing else console.print(words(event))
            finally:
                self._status = None

    def differences(self, differences: "Differences") -> None:
        """What is about to change, on standard error."""
        from lightragctl.cli.results import planned
        from lightragctl.cli.views import VIEWS, counts

        if self.as_events:
            told = planned("up", differences).data
            self.notify(Event(counts(told), differences.release, type=EventType.PLAN, data=told))
            return
        console = self.console(to_stderr=True)
        for part in VIEWS["diff"](planned("up", differences).data):
            console.print(part, soft_wrap=True)

    def lines(self, lines: Iterable[tuple[str, str]]) -> None:
        """Lines of components as they come: with the component's name before each, or one JSON document a line."""
        for component, line in lines:
            if self.format is Format.TABLE:
                print(f"{component:<14} {line}", flush=True)
            else:
                print(json.dumps({"component": component, "line": line}, ensure_ascii=False), flush=True)

    def text(self, text: str) -> None:
        """A text as it is."""
        sys.stdout.write(text)

    def ask(self, question: str) -> bool:
        """Ask on the terminal; anything but yes is no."""
        if self._status is not None:
            self._status.stop()
        print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
        answer = sys.stdin.readline().strip().lower()
        if self._status is not None:
            self._status.start()
        return answer in ("y", "yes")

    def trace(self, error: LightragctlError) -> None:
        """Where an expected error came from, for `--verbose`; not among events."""
        if self.as_events:
            return
        traceback.print_exception(error, file=sys.stderr)


@contextmanager
def _drawn(console: "Console", panel: Panel) -> Iterator[Notify]:
    """Draw a panel at each passing event, and take it away at the end, whatever that was."""
    from rich.live import Live

    with Live(console=console, auto_refresh=False, transient=True) as live:
        yield (
            lambda event: (
                live.update(panel.picture(event), refresh=True) if event.passing else console.print(words(event))
            )
        )


_PASSING_S = 5.0


class _Lines:
    """Plain lines: a passing event when it says something new, at most every few seconds; everything else at once."""

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
    return f"{event.subject}: {event.message}" if event.subject else event.message


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
    """The output format, read off a command line that could not be parsed."""
    for format in (Format.JSON, Format.YAML):
        joined = (f"-o{format}", f"--output={format}")
        apart = any(pair in (("-o", format), ("--output", format)) for pair in pairwise(arguments))
        if apart or any(word in joined for word in arguments):
            return format
    return Format.TABLE


def show_bug(error: BaseException) -> ExitStatus:
    """Print the traceback of what should not have happened."""
    traceback.print_exception(error, file=sys.stderr)
    print("error: this is a bug in lightragctl; please report the lines above", file=sys.stderr)
    return ExitStatus.BUG


def dump(document: dict[str, Any], format: Format) -> str:
    """The document as JSON or YAML text."""
    if format is Format.JSON:
        return json.dumps(document, ensure_ascii=False, indent=2)
    import yaml

    return str(yaml.safe_dump(document, allow_unicode=True, sort_keys=False, width=1000)).rstrip()
