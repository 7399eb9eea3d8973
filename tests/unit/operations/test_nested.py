"""One kind of operation as a part of another."""

from datetime import UTC, datetime
from typing import Any

from lightragctl.operations.kind import Hold, OperationKind, Started, Step, new_operation
from lightragctl.operations.model import Operation
from lightragctl.operations.nested import Nested

NOW = datetime(2026, 1, 1, tzinfo=UTC)


class Paper:
    """A context whose record is written nowhere."""

    resources = None

    def __init__(self, record: Operation) -> None:
        self.record = record
        self.notify = lambda event: None

    def now(self) -> datetime:
        return NOW

    def save_original(self, name: str, value: Any) -> Any:
        self.record = self.record.changed(originals={name: value, **self.record.originals})
        return self.record.originals[name]

    def save_result(self, name: str, value: Any) -> None:
        self.record = self.record.changed(results={**self.record.results, name: value})

    def keep(self, kept: Any) -> None:
        raise AssertionError(kept)

    def report(self, *args: Any) -> None:
        """Nothing to see."""

    def check(self) -> None:
        """Ours."""


def inner_kind(log: list[str]) -> OperationKind:
    def act(name: str) -> Any:
        def acts(context: Any) -> None:
            log.append(f"{name} of {context.record.workspace}")
            context.save_result(name, context.save_original(name, "first"))

        return acts

    def undo(name: str) -> Any:
        return lambda context: log.append(f"not {name}")

    def seen(name: str) -> Any:
        return lambda context: name in context.record.results

    return OperationKind(
        "inner",
        1,
        (
            Step("lock", "lock", 1.0, act("lock"), seen("lock"), undo("lock"), Hold("copy")),
            Step("copy", "copy", 1.0, act("copy"), seen("copy"), undo("copy")),
            Step("end", "end", 1.0, act("end"), seen("end")),
        ),
        60.0,
    )


def paper(kind: OperationKind) -> Any:
    return Paper(new_operation(kind, "dev", {}, Started("ann", NOW, "1.0", "0001"), "outer"))


def test_its_steps_see_their_own_results_and_another_workspace() -> None:
    log: list[str] = []
    nested = Nested(inner_kind(log), "sub", lambda record: record.changed(workspace="copy"))
    steps = nested.steps()
    assert [one.name for one in steps] == ["sub-lock", "sub-copy", "sub-end"]
    assert steps[0].hold == Hold("sub-copy")
    context = paper(OperationKind("outer", 1, steps, 60.0))
    assert not steps[0].observe(context)
    steps[0].act(context)
    assert steps[0].observe(context)
    assert (log, dict(context.record.results)) == (["lock of copy"], {"sub.lock": "first"})


def test_it_can_be_left_out_and_what_lasts_is_not_undone_once_it_is_through() -> None:
    log: list[str] = []
    off = Nested(inner_kind(log), "sub", when=lambda context: False).steps()
    context = paper(OperationKind("outer", 1, off, 60.0))
    assert off[0].act(context) is None
    assert off[0].observe(context)
    lasting = Nested(inner_kind(log), "sub", lasting=frozenset({"copy"})).steps()
    lasting[1].undo(context)  # type: ignore[misc]
    lasting[2].act(context)
    lasting[1].undo(context)  # type: ignore[misc]
    assert log == ["not copy", "end of outer"]


def test_run_here_and_now_gives_back_what_it_holds() -> None:
    log: list[str] = []
    nested = Nested(inner_kind(log), "sub")
    nested.run(paper(nested.kind), lambda seconds: None)
    assert log == ["lock of outer", "copy of outer", "not lock", "end of outer"]
