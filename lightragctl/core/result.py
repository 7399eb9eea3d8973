"""What a command gives back, and what it tells meanwhile. Pure."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from lightragctl.core.errors import ExitStatus, LightragctlError
from lightragctl.core.plain import plain

SCHEMA = "lightragctl/v1"
EVENT_SCHEMA = "lightragctl/event/v1"


class Status(StrEnum):
    """The outcome in one word; `partial` means that some of the work failed and the rest stands."""

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
    """The one document that a command ends with.

    `data` is the payload; its keys stand beside `schema`, `command`, `status` and `errors` in the document, so none of
    these four may be among them.
    """

    command: str
    data: Mapping[str, Any] = field(default_factory=dict)
    status: Status = Status.OK
    errors: Sequence[ErrorInfo] = ()
    exit_status: ExitStatus | int = ExitStatus.DONE
    shown: bool = False

    def document(self) -> dict[str, Any]:
        """The flat document that `-o json` and `-o yaml` print, as plain data."""
        head = {"schema": SCHEMA, "command": self.command, "status": self.status, "errors": self.errors}
        document: dict[str, Any] = plain({**head, **self.data})
        return document

    @classmethod
    def quiet(cls, command: str) -> "Result":
        """The result of a command whose output has already gone out line by line; nothing more is shown."""
        return cls(command, shown=True)

    @classmethod
    def ended(cls, command: str, exit_status: int) -> "Result":
        """The result of a command that ran another one: its output has gone out, its exit status is ours."""
        return cls(command, shown=True, exit_status=exit_status)

    @classmethod
    def failure(cls, command: str, error: LightragctlError) -> "Result":
        """The document of a command that ended with `error`."""
        return cls(command, {}, Status.FAILED, (ErrorInfo.of(error),), error.exit_status)


class EventType(StrEnum):
    """What an event tells, in a word that scripts may rely on."""

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
    """One line of progress: what is being done, and on what.

    Attributes:
        message: for a person.
        subject: an object, a component; may be empty.
        passing: it is of interest until the next comes.
        type: what it tells.
        data: the same for a script.
    """

    message: str
    subject: str = ""
    passing: bool = False
    type: EventType = EventType.PROGRESS
    data: Mapping[str, Any] = field(default_factory=dict)

    def document(self, time: str) -> dict[str, Any]:
        """The event as `--events jsonl` prints it, at a time."""
        kind = EventType.WAITING if self.passing and self.type is EventType.PROGRESS else self.type
        told = {"type": kind, "subject": self.subject, "message": self.message, "data": self.data}
        document: dict[str, Any] = plain({"schema": EVENT_SCHEMA, "time": time, **told})
        return document


Notify = Callable[[Event], None]
"""Takes progress: a terminal, a log and a test are three observers."""
