"""What a kind of operation consists of: steps with act, observe and undo. Kinds themselves are declared above. Pure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol

from lightragctl.core.errors import LightragctlError
from lightragctl.core.result import Notify
from lightragctl.operations.model import Kept, Operation, StepRecord


@dataclass(frozen=True)
class Wait:
    """Returned by an act that is not done yet: it is called again after some seconds, without blocking."""

    seconds: float
    reason: str


@dataclass(frozen=True)
class Pause:
    """Returned by an act that needs a decision of a user: the operation pauses; a resume calls it again."""

    reason: str


@dataclass(frozen=True)
class Hold:
    """A resource that a step holds, such as a fence or an autoscaler; its undo releases it on every exit.

    Attributes:
        through: the last step that needs it; it is released after that one.
        while_paused: a pause does not give it back.
    """

    through: str
    while_paused: bool = False


class Context(Protocol):
    """What a step works with."""

    @property
    def record(self) -> Operation:
        """The record as it was last written."""

    @property
    def resources(self) -> Any:
        """What the kind was opened with: the release."""

    @property
    def notify(self) -> Notify:
        """Takes events of interest to a user."""

    def now(self) -> datetime:
        """The time, in UTC."""

    def save_original(self, name: str, value: Any) -> Any:
        """Save a value from before the operation, and return what is saved: the first value of this name wins.

        To be called before the value is changed, so that a repeated act does not save its own effect.
        """

    def save_result(self, name: str, value: Any) -> None:
        """Save what a step found or made; JSON values only."""

    def keep(self, kept: Kept) -> None:
        """Note data that stay after the operation, before they become such; one of the same name is replaced."""

    def report(self, done: float, total: float | None = None, unit: str = "", message: str = "") -> None:
        """Report progress. Written at most every 2 s; to be called at least that often in long work.

        Raises:
            StopRequested: the act must return; the driver handles it. Leave it uncaught.
            LockedError: another driver has taken over.
        """

    def check(self) -> None:
        """Stop when another driver has taken over; to be called before each write to something outside.

        Raises:
            LockedError: it has.
        """


class StopRequested(Exception):
    """A user asks to pause or abort, while a step acts."""


@dataclass(frozen=True)
class Step:
    """One step.

    Attributes:
        name: a word, unique in its kind.
        title: what it does, for a person.
        deadline_s: seconds until it must be done, retries and waits included.
        act: brings it about; may be called any number of times, also after a part of its effect.
        observe: whether it is so, by looking; only called once it has acted. It must stay true when later steps move
            on, and may read what they saved in the record.
        undo: takes it back; may be called any number of times, also when it never took effect.
        hold: for what must be released.
    """

    name: str
    title: str
    deadline_s: float
    act: Callable[[Context], Wait | Pause | None]
    observe: Callable[[Context], bool]
    undo: Callable[[Context], None] | None = None
    hold: Hold | None = None

    def __post_init__(self) -> None:
        if self.hold and not self.undo:
            raise ValueError(f"step {self.name} holds something and has no undo")


@dataclass(frozen=True)
class Right:
    """A rule of the Role that the Job of a kind gets, in the release's namespace.

    Attributes:
        names: of the objects; `{release}` in them is replaced.
        when: a parameter; operations without it do not get the rule.
    """

    group: str
    resources: tuple[str, ...]
    verbs: tuple[str, ...]
    names: tuple[str, ...] = ()
    when: str = ""


@dataclass(frozen=True)
class OperationKind:
    """A kind of operation.

    Attributes:
        name: a word; the ids of its operations begin with it.
        version: raised when steps change so that an operation of the version before cannot continue with them.
        limit_s: seconds until the whole operation must be done.
        abort_on_failure: a failure undoes every step.
        rights: what its Job may do in the release's namespace, beside its own record.
        cleanup: deletes kept data, given their entry and the release; may be called any number of times.
        promotable: a user may decide that it goes on without the verdicts that it waits for.
    """

    name: str
    version: int
    steps: tuple[Step, ...]
    limit_s: float
    abort_on_failure: bool = False
    rights: tuple[Right, ...] = ()
    cleanup: Callable[[Kept, Any], None] | None = None
    promotable: bool = False
    step_by_name: dict[str, Step] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        names = [step.name for step in self.steps]
        wrong = [one.name for one in self.steps if one.hold and one.hold.through not in names]
        if wrong or len(set(names)) < len(names):
            raise ValueError(f"kind {self.name}: a step's name is not unique, or {wrong} are held through no step")
        object.__setattr__(self, "step_by_name", {step.name: step for step in self.steps})


@dataclass(frozen=True)
class Started:
    """Who starts an operation, when, and with which lightragctl."""

    who: str
    now: datetime
    version: str
    token: str


def new_operation(
    kind: OperationKind, release: str, parameters: dict[str, Any], started: Started, workspace: str = ""
) -> Operation:
    """The record of an operation that did nothing yet."""
    steps = tuple(
        StepRecord(
            name=step.name,
            title=step.title,
            deadline_s=step.deadline_s,
            hold_through=step.hold.through if step.hold else "",
            hold_while_paused=bool(step.hold and step.hold.while_paused),
            undoable=step.undo is not None,
        )
        for step in kind.steps
    )
    return Operation(
        id=f"{kind.name}-{started.token}",
        kind=kind.name,
        kind_version=kind.version,
        release=release,
        workspace=workspace,
        who=started.who,
        version=started.version,
        created_at=started.now,
        deadline=started.now + timedelta(seconds=kind.limit_s),
        limit_s=kind.limit_s,
        steps=steps,
        parameters=parameters,
        abort_on_failure=kind.abort_on_failure,
    )


def kind_of(record: Operation, kinds: Sequence[OperationKind]) -> OperationKind:
    """The kind that continues the record.

    Raises:
        LightragctlError: this lightragctl does not have it, or has it with other steps.
    """
    found = next((one for one in kinds if one.name == record.kind), None)
    names = tuple(step.name for step in record.steps)
    if found and found.version == record.kind_version and names == tuple(step.name for step in found.steps):
        return found
    message = f"operation {record.id} was started by lightragctl {record.version}, whose {record.kind} has other steps"
    raise LightragctlError(message, f"continue or abort it with lightragctl {record.version}")
