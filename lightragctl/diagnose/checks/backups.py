"""Checks of backups: whether there is a recent one, where the profile has a destination for them. Pure."""

from collections.abc import Iterator
from functools import partial

from lightragctl.core.findings import Severity
from lightragctl.core.hint import Command, Hint
from lightragctl.diagnose.check import Category, Check, Trouble
from lightragctl.diagnose.facts import Facts
from lightragctl.diagnose.keys import DEPLOYED, NEWEST_BACKUP, THRESHOLDS

_HOUR_S = 3600.0


def _none(facts: Facts) -> Iterator[Trouble]:
    if facts[DEPLOYED].backs_up and facts[NEWEST_BACKUP].age_s is None:
        workspace = facts[DEPLOYED].workspace
        yield Trouble(f"workspace/{workspace}", "the profile has a destination for backups, and none was made yet", "")


def _old(facts: Facts) -> Iterator[Trouble]:
    age_s, most_s = facts[NEWEST_BACKUP].age_s, facts[THRESHOLDS].backup_age_s
    if age_s is not None and age_s > most_s:
        message = f"the newest backup is {age_s / _HOUR_S:.0f} hours old, more than {most_s / _HOUR_S:.0f}"
        yield Trouble(f"workspace/{facts[DEPLOYED].workspace}", message, "")


_check = partial(Check, category=Category.DATA, severity=Severity.WARNING, follows=False)
_MAKE = Hint("make one: ", Command("backup create"), "; on a cluster set backup.schedule")

CHECKS = (
    _check(
        code="LR560",
        title="a workspace with a destination for backups has one",
        needs=(DEPLOYED, NEWEST_BACKUP),
        judge=_none,
        fix=_MAKE,
    ),
    _check(
        code="LR561",
        title="the newest backup is not old (diagnose.thresholds.backup_age_s)",
        needs=(DEPLOYED, NEWEST_BACKUP, THRESHOLDS),
        judge=_old,
        fix=Hint("see the last ones: ", Command("operations list"), "; make one: ", Command("backup create")),
    ),
)
