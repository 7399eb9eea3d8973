"""The error when `up`, `down` or `rollback` is refused because an open operation reserves the release. Pure."""

from lightragctl.core.errors import LockedError
from lightragctl.core.hint import Command, Hint


def open_operation(operation_id: str, phase: str = "open") -> LockedError:
    """The error that a release cannot be changed while an operation of it is open."""
    hint = Hint(
        "see it: ",
        Command("operations status", operation_id),
        "; continue it: ",
        Command("operations resume", operation_id),
        "; undo it: ",
        Command("operations abort", operation_id),
    )
    return LockedError(f"operation {operation_id} of this release is {phase}, and reserves the release", hint)
