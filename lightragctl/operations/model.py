"""The record of an operation: its steps, progress, and held resources. Pure.

The record is the only state. It is written before each effect that it announces, so that another process can continue
after a crash at any point. Times are UTC.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from pydantic import Field, ValidationError

from lightragctl.core.errors import LightragctlError
from lightragctl.core.hint import Command, Hint
from lightragctl.core.settings import SecretKey, StrictModel

SCHEMA = 1
"""Raised with each change that an older lightragctl would misread."""
PROBLEM = "problem"
"""The result of an operation that did its work and left something unready: `{"message", "hint", "hint_parts"}`."""
MAX_BYTES = 256 * 1024
"""Of a record as JSON; a ConfigMap takes 1 MiB, and each progress report writes the whole record."""
KEEP_CLOSED = 20
"""Closed operations that stay listed, beside those whose kept data were not deleted yet."""


class Phase(StrEnum):
    """Where an operation stands.

    Pausing, failing and aborting release held resources; then come paused, failed and aborted. Succeeded and aborted
    are closed; every other phase keeps the release reserved.
    """

    PENDING = "pending"
    RUNNING = "running"
    PAUSING = "pausing"
    PAUSED = "paused"
    FAILING = "failing"
    FAILED = "failed"
    ABORTING = "aborting"
    ABORTED = "aborted"
    SUCCEEDED = "succeeded"
    NEEDS_ATTENTION = "needs attention"


CLOSED = frozenset({Phase.SUCCEEDED, Phase.ABORTED})
AT_WORK = frozenset({Phase.PENDING, Phase.RUNNING, Phase.PAUSING, Phase.FAILING, Phase.ABORTING})
"""Phases in which a driver has something to do."""


class StepState(StrEnum):
    """How far a step is. `stuck`: its undo failed. `failed`: its act did, and may have had a part of its effect."""

    PENDING = "pending"
    ACTING = "acting"
    WAITING = "waiting"
    DONE = "done"
    FAILED = "failed"
    UNDOING = "undoing"
    UNDONE = "undone"
    STUCK = "stuck"


BEGUN = frozenset({StepState.ACTING, StepState.WAITING, StepState.DONE, StepState.FAILED, StepState.UNDOING})
"""States of a step that may have had an effect which is not undone."""


class Request(StrEnum):
    """What a user asks a running operation to do."""

    NONE = ""
    PAUSE = "pause"
    ABORT = "abort"


class StepRecord(StrictModel):
    """One step.

    Attributes:
        deadline_s: seconds from its first act to its end, retries and waits included.
        hold_through: for a step that holds something: the last step that needs it held; it is undone after that.
        hold_while_paused: it stays held while the operation is paused.
        undoable: it has an undo.
        began_at: when it first acted, since the start or the last resume.
        next_at: a waiting step acts again then.
        attempts: acts in a row that failed because something did not answer.
        message: the reason of a wait or a failure.
    """

    name: str
    title: str
    deadline_s: float
    hold_through: str = ""
    hold_while_paused: bool = False
    undoable: bool = False
    state: StepState = StepState.PENDING
    began_at: datetime | None = None
    ended_at: datetime | None = None
    next_at: datetime | None = None
    attempts: int = 0
    message: str = ""

    @property
    def is_begun(self) -> bool:
        """Whether it may have had an effect that is not undone."""
        return self.state in BEGUN


class Kept(StrictModel):
    """Data that a closed operation left behind, such as a collection before a restore.

    Attributes:
        name: what its kind deletes it by.
        about: what it is, for a person.
        size_bytes: its size; None when that is unknown.
    """

    name: str
    about: str
    created_at: datetime
    expires_at: datetime
    size_bytes: int | None = None


class Progress(StrictModel):
    """How far a step is: `done` of `total` units; `total` is None when it is unknown. Rates are since `began_at`."""

    step: str
    done: float
    began_at: datetime
    updated_at: datetime
    total: float | None = None
    unit: str = ""
    message: str = ""

    @property
    def rate_per_s(self) -> float | None:
        """Units per second; None before there is anything to divide."""
        elapsed_s = (self.updated_at - self.began_at).total_seconds()
        return self.done / elapsed_s if elapsed_s > 0 and self.done > 0 else None

    @property
    def remaining_s(self) -> float | None:
        """Seconds to the end at this rate; None when rate or total are unknown."""
        rate = self.rate_per_s
        return None if rate is None or self.total is None else max(0.0, self.total - self.done) / rate


class JobSpec(StrictModel):
    """What the Job of an operation needs beside the environment of the release's services.

    Attributes:
        service_account: one that an administrator made; empty: one is made with the Job, and deleted with it.
        secrets: environment variables from Kubernetes Secrets.
        claims: volume claims by the path at which they are mounted.
        beside: the component on whose node it runs if possible, as a volume may be attached to one node only.
        cpu, memory: of its container, as Kubernetes writes them.
    """

    service_account: str = ""
    secrets: dict[str, SecretKey] = Field(default_factory=dict)
    claims: dict[str, str] = Field(default_factory=dict)
    beside: str = ""
    cpu: str = "500m"
    memory: str = "512Mi"


class Operation(StrictModel):
    """The record of one operation.

    Attributes:
        kind, kind_version: which steps these are; only the same version of a kind continues it.
        who: `user@host` that started it.
        version: of the lightragctl that started it.
        limit_s: seconds from the start or the last resume to `deadline`.
        job: the Job in the cluster that drives it; None: the process of a command does.
        abort_on_failure: a failure undoes every step, instead of only releasing held resources.
        originals: values from before the operation, saved before they were changed.
        results: what the steps found or made.
        turn: counts drivers; a driver with a lower number than this may write no more.
        driver: `user@host` of the last driver.
        cause: why it failed, or paused by itself.
        promoted_by: `user@host` who decided that it goes on without the verdicts that it waits for.
    """

    schema_version: int = SCHEMA
    id: str
    kind: str
    kind_version: int
    release: str
    workspace: str = ""
    who: str
    version: str
    created_at: datetime
    deadline: datetime
    limit_s: float
    steps: tuple[StepRecord, ...]
    parameters: dict[str, Any] = Field(default_factory=dict)
    job: JobSpec | None = None
    abort_on_failure: bool = False
    phase: Phase = Phase.PENDING
    request: Request = Request.NONE
    originals: dict[str, Any] = Field(default_factory=dict)
    results: dict[str, Any] = Field(default_factory=dict)
    kept: tuple[Kept, ...] = ()
    progress: Progress | None = None
    turn: int = 0
    driver: str = ""
    cause: str = ""
    promoted_by: str = ""
    ended_at: datetime | None = None

    @property
    def is_open(self) -> bool:
        """Whether it reserves the release."""
        return self.phase not in CLOSED

    def step(self, name: str) -> StepRecord:
        """The step of this name; KeyError when there is none."""
        return {one.name: one for one in self.steps}[name]

    def changed(self, **changes: Any) -> "Operation":
        """The record with other values."""
        return self.model_copy(update=changes)

    def with_step(self, name: str, **changes: Any) -> "Operation":
        """The record with other values in one step."""
        steps = tuple(one.model_copy(update=changes) if one.name == name else one for one in self.steps)
        return self.changed(steps=steps)


@dataclass(frozen=True)
class KeptData:
    """Data that a closed operation kept, and whether their time is over."""

    operation: Operation
    kept: Kept
    is_expired: bool


def to_text(record: Operation) -> str:
    """The record as JSON; `open` in it is for readers that know no other key.

    Raises:
        LightragctlError: it is larger than `MAX_BYTES`.
    """
    document = {**record.model_dump(mode="json"), "open": record.is_open}
    text = json.dumps(document, ensure_ascii=False, sort_keys=True)
    if (size_bytes := len(text.encode())) > MAX_BYTES:
        message = f"the record of operation {record.id} would take {size_bytes} bytes; the limit is {MAX_BYTES}"
        raise LightragctlError(message, "this is a bug: large data must not be stored in the record")
    return text


def from_text(text: str, source: str) -> Operation:
    """The record of a JSON text.

    Args:
        text: as `to_text` gave it.
        source: where it is kept, for messages.

    Raises:
        LightragctlError: another version of lightragctl wrote it in another format, or it is damaged.
    """
    try:
        document = dict(json.loads(text))
        document.pop("open", None)
        schema = int(document["schema_version"])
        written_by = str(document["version"])
        if schema == SCHEMA:
            return Operation.model_validate_json(json.dumps(document))
    except (KeyError, TypeError, ValueError, ValidationError) as error:
        hint = Hint("restore it; to close the operation without undoing its steps, delete it")
        raise LightragctlError(f"{source} is not an operation record: {error}", hint) from error
    age = "newer" if schema > SCHEMA else "older"
    message = f"{source} was written by lightragctl {written_by} in the {age} format {schema}; this one reads {SCHEMA}"
    raise LightragctlError(message, f"continue it with lightragctl {written_by}")


def resumed(record: Operation, now: datetime) -> Operation:
    """The record of a stopped operation that runs again: failed steps act again, deadlines restart."""
    retried = (StepState.FAILED, StepState.STUCK, StepState.WAITING, StepState.ACTING, StepState.UNDOING)
    fresh = {"state": StepState.ACTING, "began_at": now, "next_at": None, "attempts": 0, "message": ""}
    steps = tuple(one.model_copy(update=fresh) if one.state in retried else one for one in record.steps)
    return record.changed(
        steps=steps,
        progress=None,
        phase=Phase.RUNNING,
        request=Request.NONE,
        cause="",
        ended_at=None,
        deadline=_later(record, now),
    )


def aborting(record: Operation, now: datetime) -> Operation:
    """The record of an operation that undoes its steps, those again whose undo failed before."""
    again = {"state": StepState.FAILED, "began_at": None, "next_at": None, "attempts": 0}
    steps = tuple(one.model_copy(update=again) if one.state is StepState.STUCK else one for one in record.steps)
    return record.changed(steps=steps, phase=Phase.ABORTING, request=Request.NONE, deadline=_later(record, now))


def without_begun(record: Operation) -> Operation:
    """The record of an operation that does not continue: steps that were acting are so no more."""
    unfinished = (StepState.ACTING, StepState.WAITING)
    ended = {"state": StepState.PENDING, "next_at": None, "message": ""}
    steps = tuple(one.model_copy(update=ended) if one.state in unfinished else one for one in record.steps)
    return record.changed(steps=steps)


def _later(record: Operation, now: datetime) -> datetime:
    return now + timedelta(seconds=record.limit_s)


def next_command(record: Operation) -> Hint:
    """What to run next, by the phase."""
    match record.phase:
        case Phase.PAUSED if record.cause:  # by itself
            return Hint(
                "decide: go on without a verdict: ",
                Command("operations promote", record.id),
                ", observe longer: ",
                Command("operations resume", record.id),
                ", or undo it: ",
                Command("operations abort", record.id),
            )
        case Phase.PAUSED:
            return Hint(
                "continue it: ",
                Command("operations resume", record.id),
                ", or undo it: ",
                Command("operations abort", record.id),
            )
        case Phase.FAILED:
            return Hint(
                "fix the cause, then: ",
                Command("operations resume", record.id),
                "; or undo it: ",
                Command("operations abort", record.id),
            )
        case Phase.NEEDS_ATTENTION if is_work_done(record):
            return Hint(
                "its work is done and something is still held; fix the cause, then: ",
                Command("operations resume", record.id),
            )
        case Phase.NEEDS_ATTENTION:
            return Hint(
                "fix the errors of the failed steps, then: ",
                Command("operations abort", record.id),
                "; to close it without undoing them: ",
                Command("operations abort", f"{record.id} --force"),
            )
        case Phase.SUCCEEDED | Phase.ABORTED:
            return Hint(Command("operations cleanup", record.id)) if record.kept else Hint("")
        case _:
            return Hint("watch it: ", Command("operations status", f"{record.id} --watch"))


def is_work_done(record: Operation) -> bool:
    """Whether every step is done but those whose undo releases something."""
    return all(one.state is StepState.DONE for one in record.steps if not one.hold_through)


def to_drop(records: Sequence[Operation]) -> list[str]:
    """Ids of the closed operations that are too many; one with kept data stays."""
    closed = [one for one in records if not one.is_open and not one.kept]
    closed.sort(key=lambda one: (one.created_at, one.id), reverse=True)
    return [one.id for one in closed[KEEP_CLOSED:]]
