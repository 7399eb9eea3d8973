"""Checks of operations that are not closed: they keep the release reserved. Pure."""

from collections.abc import Iterator
from functools import partial

from lightragctl.core.findings import Severity
from lightragctl.core.hint import Command, Hint
from lightragctl.diagnose.check import Category, Check, Trouble
from lightragctl.diagnose.facts import Facts
from lightragctl.diagnose.keys import OPERATIONS
from lightragctl.diagnose.text import hint_of

_FAILED = ("failed", "needs attention")


def _failed(facts: Facts) -> Iterator[Trouble]:
    for one in facts[OPERATIONS]:
        if one.phase in _FAILED:
            where = f" at step {one.step}" if one.step else ""
            message = f"operation {one.kind} {one.phase}{where}: it still reserves the release"
            yield Trouble(f"operation/{one.id}", message, hint_of(one.hint))


def _overdue(facts: Facts) -> Iterator[Trouble]:
    for one in facts[OPERATIONS]:
        if one.phase not in _FAILED and one.overdue_s:
            message = f"operation {one.kind} is {one.phase}, {one.overdue_s / 60:.0f} minutes past its deadline"
            yield Trouble(f"operation/{one.id}", message, hint_of(one.hint))


_check = partial(Check, category=Category.DEPLOYMENT, needs=(OPERATIONS,))
_FIX = Hint("resume or abort it: ", Command("operations list"))

CHECKS = (
    _check(code="LR162", title="no operation has failed", severity=Severity.ERROR, judge=_failed, fix=_FIX),
    _check(code="LR163", title="operations end in time", severity=Severity.WARNING, judge=_overdue, fix=_FIX),
)
