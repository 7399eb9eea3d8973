"""The steps of an upgrade that back the workspace up, where there is a point of no return and no backup is fresh."""

from collections.abc import Callable
from typing import Any

from lightragctl.backup.backup_kind import ReleaseSite
from lightragctl.backup.saving import Saving
from lightragctl.core.result import Event
from lightragctl.operations.kind import Context, Hold, Step

FRESH_S = 3600
"""A backup that is younger is not made again: a restore of it loses what was written since."""
_LOCK_S, _WAIT_S, _COPY_S, _COMMIT_S = 300.0, 7200.0, 2 * 86_400.0, 3600.0
_SKIPPED = "backup_skipped"


def backup_steps(saving: Saving | None = None) -> tuple[Step, ...]:
    """Steps that do nothing unless the parameter `backup` is set and `skip_backup` was not called.

    The other parameters are those of a backup, see `backup.backup_kind.ReleaseSite`.
    """
    steps = saving or Saving(ReleaseSite())
    return (
        Step(
            "lock", "lock the backups of the workspace", _LOCK_S, _when(steps.lock), _or(steps.is_locked),
            _when(steps.unlock), Hold("commit"),
        ),
        Step(
            "fence", "block writes", _WAIT_S, _when(steps.fence), _or(steps.is_fenced), _when(steps.unfence),
            Hold("copy"),
        ),
        Step(
            "writer", "stop lightrag-server for the backup", _WAIT_S, _when(steps.stop_writer), _or(steps.is_at_rest),
            _when(steps.start_writer), Hold("copy"),
        ),
        Step("copy", "back up rows and files", _COPY_S, _when(steps.copy), _or(steps.is_copied)),
        Step("commit", "commit the backup", _COMMIT_S, _when(steps.commit), _or(steps.is_committed)),
    )  # fmt: skip


def is_wanted(context: Context) -> bool:
    """Whether a backup has to be made."""
    return bool(context.record.parameters.get("backup")) and _SKIPPED not in context.record.results


def skip_if_fresh(context: Context, age_s: int | None) -> None:
    """Note that the newest backup is young enough."""
    if context.record.parameters.get("backup") and age_s is not None and age_s < FRESH_S:
        context.notify(Event(f"the newest backup is {age_s} s old, no other is made"))
        context.save_result(_SKIPPED, age_s)


def _when(act: Callable[[Context], Any]) -> Callable[[Context], None]:
    def conditional(context: Context) -> None:
        if is_wanted(context):
            act(context)

    return conditional


def _or(observe: Callable[[Context], bool]) -> Callable[[Context], bool]:
    return lambda context: not is_wanted(context) or observe(context)
