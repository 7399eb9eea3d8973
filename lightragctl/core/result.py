"""Results and progress events of commands. Pure."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, is_dataclass
from enum import StrEnum
from typing import Any

from lightragctl.core.errors import ExitStatus, LightragctlError
from lightragctl.core.plain import plain

SCHEMA = "lightragctl/v1"
EVENT_SCHEMA = "lightragctl/event/v1"


class Status(StrEnum):
    """The status of a result; `partial`: some of the work failed, the rest is done."""

    OK = "ok"
    PARTIAL = "partial"
    FAILED = "failed"


@dataclass(frozen=True)
class ErrorInfo:
    """An error as data: a stable code, what went wrong, what to do next."""

    code: str
    message: str
    hint: str = ""

    @classmethod
    def of(cls, error: LightragctlError) -> "ErrorInfo":
        """The error's code, message and hint."""
        return cls(error.code, error.message, error.hint)


@dataclass(frozen=True)
class Result:
    """The result of a command.

    `payload` is a dataclass, or a mapping where its keys depend on data. Its keys must differ from `schema`, `command`,
    `status` and `errors`, which are in the same document.
    """

    command: str
    payload: Any = field(default_factory=dict)
    status: Status = Status.OK
    errors: Sequence[ErrorInfo] = ()
    exit_status: ExitStatus | int = ExitStatus.DONE
    shown: bool = False

    @property
    def data(self) -> Mapping[str, Any]:
        """The payload as a mapping; hints in it keep their commands."""
        return asdict(self.payload) if is_dataclass(self.payload) else self.payload  # type: ignore[arg-type]

    def document(self) -> dict[str, Any]:
        """The flat document that `-o json` and `-o yaml` print, as plain data."""
        head = {"schema": SCHEMA, "command": self.command, "status": self.status, "errors": self.errors}
        document: dict[str, Any] = plain({**head, **self.data})
        return document

    @classmethod
    def quiet(cls, command: str) -> "Result":
        """The result of a command that has printed its output already; nothing more is shown."""
        return cls(command, shown=True)

    @classmethod
    def ended(cls, command: str, exit_status: int) -> "Result":
        """The result of a command that ran another one, whose exit status it returns."""
        return cls(command, shown=True, exit_status=exit_status)

    @classmethod
    def failure(cls, command: str, error: LightragctlError) -> "Result":
        """The result of a command that failed with `error`."""
        return cls(command, {}, Status.FAILED, (ErrorInfo.of(error),), error.exit_status)


class EventType(StrEnum):
    """The type of an event; stable for scripts."""

    PROGRESS = "progress"
    PLAN = "plan"
    OBJECT = "object"
    WAITING = "waiting"
    READY = "ready"
    REVISION = "revision"
    ERROR = "error"
    END = "end"


@dataclass(frozen=True)
class Event:
    """A progress event.

    Attributes:
        message: text for a person.
        subject: an object or a component; may be empty.
        passing: superseded by the next event.
        type: its type.
        data: the same for scripts.
    """

    message: str
    subject: str = ""
    passing: bool = False
    type: EventType = EventType.PROGRESS
    data: Mapping[str, Any] = field(default_factory=dict)

    def document(self, time: str) -> dict[str, Any]:
        """The event with its time, as `--events jsonl` prints it."""
        kind = EventType.WAITING if self.passing and self.type is EventType.PROGRESS else self.type
        body = {"type": kind, "subject": self.subject, "message": self.message, "data": self.data}
        document: dict[str, Any] = plain({"schema": EVENT_SCHEMA, "time": time, **body})
        return document


Notify = Callable[[Event], None]
"""Receives progress events."""
