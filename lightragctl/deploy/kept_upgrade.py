"""Values that `upgrade --image` set beside the profile: `up` does not take them back unnoticed. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

from lightragctl.core.errors import RefusedError
from lightragctl.core.hint import Command, Hint
from lightragctl.deploy.desired_state import DesiredState
from lightragctl.deploy.inventory import Inventory


def value_at(profile: Mapping[str, Any], key: str) -> Any:
    """The value of a profile's key, such as `components.lightrag-api.tag`; None where it is not set."""
    found: Any = profile
    for part in key.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found


def undone(inventory: Inventory | None, desired: DesiredState) -> tuple[str, ...]:
    """The lines that the profile lacks to keep an upgrade, as `key: value`; none where another value is chosen."""
    if inventory is None or desired.command == "rollback":
        return ()
    kept = {key: before for key, before in inventory.overrides.items() if key not in desired.overrides}
    return tuple(
        f"{key}: {value_at(inventory.profile, key)}"
        for key, before in kept.items()
        if value_at(desired.profile, key) == before != value_at(inventory.profile, key)
    )


def refuse_undone(lines: Sequence[str]) -> None:
    """Stop before an upgrade is undone unnoticed.

    Raises:
        RefusedError: names the lines that the profile lacks.
    """
    if lines:
        hint = Hint(
            "add to the profile: ",
            "; ".join(lines),
            "; to go back to the version before: ",
            Command("rollback"),
        )
        raise RefusedError(f"this would undo the upgrade that set {', '.join(lines)}", hint)
