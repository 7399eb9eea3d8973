"""A kind of operation that changes nothing but its own record: shows whether operations can run in a place."""

from lightragctl.operations.kind import Context, Hold, OperationKind, Step, Wait


def _hold(context: Context) -> None:
    context.save_result("held", True)


def _give_back(context: Context) -> None:
    context.save_result("held", False)


def _count(context: Context) -> Wait | None:
    """Count seconds; the driver waits between them, so that it can be paused."""
    total, done = int(context.record.parameters["seconds"]), int(context.record.results.get("counted", 0))
    context.report(done, total, "s")
    if done >= total:
        return None
    context.save_result("counted", done + 1)
    return Wait(1.0, f"{done + 1} of {total} s")


REHEARSAL = OperationKind(
    name="rehearsal",
    version=1,
    limit_s=3600.0,
    steps=(
        Step(
            name="hold",
            title="hold a resource",
            deadline_s=60.0,
            act=_hold,
            observe=lambda context: bool(context.record.results.get("held")),
            undo=_give_back,
            hold=Hold(through="count"),
        ),
        Step(
            name="count",
            title="count seconds",
            deadline_s=3600.0,
            act=_count,
            observe=lambda context: context.record.results.get("counted", 0) >= context.record.parameters["seconds"],
        ),
    ),
)
