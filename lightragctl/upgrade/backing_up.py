"""The backup of an upgrade, where there is a point of no return and no backup is fresh."""

from lightragctl.backup.backup_kind import ReleaseSite, backup_kind
from lightragctl.core.result import Event
from lightragctl.operations.kind import Context
from lightragctl.operations.nested import Nested

FRESH_S = 3600
"""A backup that is younger suffices: restoring it loses what was written since."""
_SKIPPED = "backup_skipped"


def nested_backup() -> Nested:
    """Its steps do nothing unless the parameter `backup` is set and `skip_if_fresh` found none.

    The other parameters are those of a backup, see `backup.backup_kind.ReleaseSite`.
    """
    return Nested(backup_kind(ReleaseSite()), "backup", when=is_wanted, lasting=frozenset({"copy"}))


def is_wanted(context: Context) -> bool:
    """Whether a backup has to be made."""
    return bool(context.record.parameters.get("backup")) and _SKIPPED not in context.record.results


def skip_if_fresh(context: Context, age_s: int | None) -> None:
    """Note that the newest backup is young enough."""
    if context.record.parameters.get("backup") and age_s is not None and age_s < FRESH_S:
        context.notify(Event(f"the newest backup is {age_s} s old, no other is made"))
        context.save_result(_SKIPPED, age_s)
