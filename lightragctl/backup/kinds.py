"""Restore, clone and drill as kinds of operations."""

from lightragctl.backup.replace import Replacing, clean_up
from lightragctl.backup.rights import READS, SCALES, SERVER_KEY
from lightragctl.backup.site import open_clone, open_restore
from lightragctl.backup.steps import Copying, Open
from lightragctl.operations.kind import Context, Hold, OperationKind, Step

_DAY_S = 86_400.0
_CHECK_S, _COPY_S, _SWITCH_S, _WAIT_S = 6 * 3600.0, 2 * _DAY_S, 3600.0, 7200.0

RIGHTS = (*READS, SCALES, SERVER_KEY)
"""Of a Job: reads the release, and stops and starts lightrag-server."""


def restore_kind(open_work: Open = open_restore) -> OperationKind:
    """A restore: a backup takes the place of a workspace, whose previous data is kept."""
    steps = Replacing(open_work)
    return OperationKind(
        name="restore",
        version=1,
        limit_s=3 * _DAY_S,
        steps=(
            _check(steps),
            _fence(steps, "block writes to the workspace", "switch"),
            *_copy(steps),
            _verify(steps),
            _writer(steps, "switch"),
            *_switch(steps),
        ),
        rights=RIGHTS,
        cleanup=clean_up,
    )


def clone_kind(open_work: Open = open_clone) -> OperationKind:
    """A clone: a copy of a workspace under a new name, of one moment."""
    steps = Replacing(open_work, of_source=True)
    return OperationKind(
        name="clone",
        version=1,
        limit_s=3 * _DAY_S,
        steps=(
            _check(steps),
            _fence(steps, "block writes to the source", "verify"),
            _writer(steps, "verify"),
            *_copy(steps),
            _verify(steps),
            *_switch(steps),
        ),
        rights=RIGHTS,
        cleanup=clean_up,
    )


def drill_kind(open_work: Open = open_restore) -> OperationKind:
    """A drill: a backup is restored under names that nothing reads, verified, and deleted, also when it fails."""
    steps = Copying(open_work)
    copied, _ = _copy(steps)
    removed = Step(
        "remove",
        "delete the copy",
        _SWITCH_S,
        steps.drop_copies,
        lambda context: bool(context.record.results.get("removed")),
    )
    return OperationKind(
        name="drill",
        version=1,
        limit_s=3 * _DAY_S,
        abort_on_failure=True,
        steps=(_check(steps), copied, _verify(steps), removed),
        rights=RIGHTS,
    )


def _check(steps: Copying) -> Step:
    return Step("check", "check", _CHECK_S, steps.check, _noted("checked"))


def _fence(steps: Copying, title: str, through: str) -> Step:
    return Step("fence", title, _WAIT_S, steps.fence, steps.is_fenced, steps.unfence, Hold(through))


def _writer(steps: Copying, through: str) -> Step:
    title = "stop lightrag-server, if it serves the workspace"
    seen = _noted("writer_at_rest")
    return Step("writer", title, _WAIT_S, steps.stop_writer, seen, steps.start_writer, Hold(through))


def _copy(steps: Copying) -> tuple[Step, Step]:
    return (
        Step("copy", "copy collections under new names", _COPY_S, steps.copy, steps.is_copied, steps.uncopy),
        Step(
            "files",
            "write the files of lightrag-server next to the current ones",
            _COPY_S,
            steps.write_files,
            steps.are_files_written,
            steps.unwrite_files,
        ),
    )


def _verify(steps: Copying) -> Step:
    return Step("verify", "verify the copy", _COPY_S, steps.verify, _noted("proof"))


def _switch(steps: Replacing) -> tuple[Step, Step]:
    return (
        Step("switch", "put the copy in place", _SWITCH_S, steps.switch, steps.is_switched, steps.unswitch),
        Step("confirm", "verify the workspace", _SWITCH_S, steps.confirm, _noted("confirmed")),
    )


class _noted:
    """Observes what the steps note when they are done."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __call__(self, context: Context) -> bool:
        return bool(context.record.results.get(self._name))


RESTORE, CLONE, DRILL = restore_kind(), clone_kind(), drill_kind()
KINDS = (RESTORE, CLONE, DRILL)
