"""Which backups to keep: the last ones, and the newest of each day, week and month. Pure."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from lightragctl.core.backup import Retention


@dataclass(frozen=True)
class Known:
    """A whole backup: its id, when it was started (UTC), and its parent's id."""

    id: str
    started_at: datetime
    parent: str | None


@dataclass(frozen=True)
class Choice:
    """What to keep, with the reasons, and what to delete; both newest first."""

    keep: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    delete: tuple[str, ...] = ()


_PERIODS: Mapping[str, Callable[[datetime], str]] = {
    "daily": lambda at: f"{at:%Y-%m-%d}",
    "weekly": lambda at: "{}-W{:02}".format(*at.isocalendar()[:2]),
    "monthly": lambda at: f"{at:%Y-%m}",
}


def choose(backups: Sequence[Known], policy: Retention) -> Choice:
    """What the policy keeps of the backups of one workspace, and what can be deleted.

    A backup that a kept one is based on is kept too, as that one cannot be restored without it.
    """
    newest_first = sorted(backups, key=lambda one: (one.started_at, one.id), reverse=True)
    reasons: dict[str, list[str]] = {}
    for one in newest_first[: policy.last]:
        reasons.setdefault(one.id, []).append("last")
    for name, period in _PERIODS.items():
        seen: dict[str, str] = {}
        for one in newest_first:
            seen.setdefault(period(one.started_at), one.id)
        for id in list(seen.values())[: getattr(policy, name)]:
            reasons.setdefault(id, []).append(name)
    _keep_parents(backups, reasons)
    kept = {one.id: tuple(reasons[one.id]) for one in newest_first if one.id in reasons}
    return Choice(kept, tuple(one.id for one in newest_first if one.id not in reasons))


def _keep_parents(backups: Sequence[Known], reasons: dict[str, list[str]]) -> None:
    parents = {one.id: one.parent for one in backups}
    for id in list(reasons):
        while (parent := parents.get(id)) is not None and parent in parents:
            if "parent" not in reasons.setdefault(parent, []):
                reasons[parent].append("parent")
            id = parent
