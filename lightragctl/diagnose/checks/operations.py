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


def _without_driver(facts: Facts) -> Iterator[Trouble]:
    """An operation whose process was killed stays as it is: a canary serves on, and the release is reserved."""
    for one in facts[OPERATIONS]:
        if one.phase in _WORKING and not one.driver:
            where = f" at step {one.step}" if one.step else ""
            message = f"operation {one.kind} is {one.phase}{where}, and no process works on it"
            hint = Hint(Command("operations resume", one.id), " or ", Command("operations abort", one.id))
            yield Trouble(f"operation/{one.id}", message, hint, evidence=("its lock is not held",))


_WORKING = ("pending", "running", "pausing", "failing", "aborting")
_check = partial(Check, category=Category.DEPLOYMENT, needs=(OPERATIONS,))
_FIX = Hint("resume or abort it: ", Command("operations list"))

CHECKS = (
    _check(code="LR162", title="no operation has failed", severity=Severity.ERROR, judge=_failed, fix=_FIX),
    _check(code="LR163", title="operations end in time", severity=Severity.WARNING, judge=_overdue, fix=_FIX),
    _check(
        code="LR164",
        title="operations have a process that works on them",
        severity=Severity.ERROR,
        judge=_without_driver,
        fix=_FIX,
        explains=("LR151", "LR155", "LR163"),
    ),
)
