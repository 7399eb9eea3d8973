"""The steps of one kind of operation as a part of another one, whose record has their results under a prefix."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from lightragctl.core.errors import LightragctlError
from lightragctl.core.result import Notify
from lightragctl.operations.kind import Context, Hold, OperationKind, Pause, Step, Wait
from lightragctl.operations.model import Kept, Operation

View = Callable[[Operation], Operation]
"""The record as the inner steps see it: with other parameters, or another workspace."""


def unchanged(record: Operation) -> Operation:
    """A view that changes nothing."""
    return record


@dataclass(frozen=True)
class Inner:
    """A `Context` whose results and originals are those of the outer one that begin with the prefix."""

    outer: Context
    prefix: str
    view: View = unchanged

    @property
    def record(self) -> Operation:
        """See `Context`."""
        record = self.outer.record
        own = {"results": self._own(record.results), "originals": self._own(record.originals)}
        return self.view(record).changed(**own)

    def _own(self, values: Mapping[str, Any]) -> dict[str, Any]:
        start = f"{self.prefix}."
        return {name.removeprefix(start): value for name, value in values.items() if name.startswith(start)}

    @property
    def resources(self) -> Any:
        """See `Context`."""
        return self.outer.resources

    @property
    def notify(self) -> Notify:
        """See `Context`."""
        return self.outer.notify

    def now(self) -> datetime:
        """See `Context`."""
        return self.outer.now()

    def save_original(self, name: str, value: Any) -> Any:
        """See `Context`."""
        return self.outer.save_original(f"{self.prefix}.{name}", value)

    def save_result(self, name: str, value: Any) -> None:
        """See `Context`."""
        self.outer.save_result(f"{self.prefix}.{name}", value)

    def keep(self, kept: Kept) -> None:
        """See `Context`."""
        self.outer.keep(kept)

    def report(self, done: float, total: float | None = None, unit: str = "", message: str = "") -> None:
        """See `Context`."""
        self.outer.report(done, total, unit, message)

    def check(self) -> None:
        """See `Context`."""
        self.outer.check()


@dataclass(frozen=True)
class Nested:
    """A kind inside another one.

    Attributes:
        kind: whose steps they are.
        prefix: of the names of its steps, and of its results in the record.
        view: of the record.
        when: whether the steps do anything.
        lasting: steps with an undo that is not made once the kind is through, as of a backup that stays.
    """

    kind: OperationKind
    prefix: str
    view: View = unchanged
    when: Callable[[Context], bool] = lambda context: True
    lasting: frozenset[str] = field(default=frozenset())

    def inner(self, context: Context) -> Inner:
        """The context of its steps."""
        return Inner(context, self.prefix, self.view)

    def steps(self) -> tuple[Step, ...]:
        """The steps for the outer kind."""
        return tuple(map(self._step, self.kind.steps))

    def undo(self, context: Context, *names: str) -> None:
        """Undo some steps, in this order."""
        for name in names:
            if (undo := self.kind.step_by_name[name].undo) is not None:
                undo(self.inner(context))

    def run(self, context: Context, pause: Callable[[float], object]) -> None:
        """Perform all steps here and now, as an undo of the outer kind has to; may be called again.

        What they hold is released in any case. Errors are those of the steps.
        """
        inner = self.inner(context)
        held: list[Step] = []
        try:
            for step in self.kind.steps:
                held += [step] if step.hold else []
                while (wait := step.act(inner)) is not None or not step.observe(inner):
                    if isinstance(wait, Pause):
                        raise LightragctlError(f"{step.title}: {wait.reason}")
                    pause(wait.seconds if wait else 1.0)
                for one in [one for one in reversed(held) if one.hold and one.hold.through == step.name]:
                    held.remove(one)
                    self.undo(context, one.name)
        finally:
            self.undo(context, *[one.name for one in reversed(held)])

    def _step(self, step: Step) -> Step:
        hold = step.hold and Hold(f"{self.prefix}-{step.hold.through}", step.hold.while_paused)
        undo = self._undo(step) if step.undo else None
        name = f"{self.prefix}-{step.name}"
        return Step(name, step.title, step.deadline_s, self._act(step), self._observe(step), undo, hold)

    def _act(self, step: Step) -> Callable[[Context], Wait | Pause | None]:
        return lambda context: step.act(self.inner(context)) if self.when(context) else None

    def _observe(self, step: Step) -> Callable[[Context], bool]:
        return lambda context: not self.when(context) or step.observe(self.inner(context))

    def _undo(self, step: Step) -> Callable[[Context], None]:
        last = self.kind.steps[-1]

        def undo(context: Context) -> None:
            inner = self.inner(context)
            if not self.when(context) or (step.name in self.lasting and last.observe(inner)):
                return
            if step.undo is not None:
                step.undo(inner)

        return undo
