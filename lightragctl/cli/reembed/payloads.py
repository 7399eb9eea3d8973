"""From what the packages return to the Result of `reembed`. Pure; the keys of each payload are stated here only."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from lightragctl.core.result import Result

if TYPE_CHECKING:
    from lightragctl.reembed.cost import Cost


def preview(old: str, new: str, cost: "Cost", lines: Sequence[str]) -> Result:
    """`reembed --dry-run`: models, what there is to embed, and the lines of the profile that change."""
    data = {"old_model": old, "new_model": new, **asdict(cost), "total": cost.total, "profile_lines": list(lines)}
    return Result("reembed", {**data, "dry_run": True})
