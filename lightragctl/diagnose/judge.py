"""Evaluates checks on facts: findings, checks without their facts, accepted findings. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from lightragctl.core.diagnosis import Suppression
from lightragctl.core.findings import Severity
from lightragctl.diagnose.check import Category, Check, Found, Symptom
from lightragctl.diagnose.facts import Facts
from lightragctl.diagnose.keys import DEPLOYED
from lightragctl.diagnose.roots import fold


@dataclass(frozen=True)
class Unseen:
    """A check that was not judged, and the facts that it lacks."""

    code: str
    title: str
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Suppressed:
    """A finding that the profile accepts."""

    code: str
    subject: str
    reason: str
    until: date


@dataclass(frozen=True)
class Diagnosed:
    """The result: findings, root causes first; what was not seen; what was accepted; how many checks were judged."""

    findings: tuple[Found, ...]
    unseen: tuple[Unseen, ...]
    suppressed: tuple[Suppressed, ...]
    judged: int

    @property
    def has_errors(self) -> bool:
        """Whether a finding is an error, also among those that another one explains."""
        return any(one.worst is Severity.ERROR for one in self.findings)


def chosen(checks: Sequence[Check], category: Category | None, symptom: Symptom | None) -> tuple[Check, ...]:
    """The checks of a category and a symptom; None: of all."""
    return tuple(
        one
        for one in checks
        if (category is None or one.category is category) and (symptom is None or symptom in one.symptoms)
    )


def diagnose(checks: Sequence[Check], facts: Facts, suppress: Sequence[Suppression], today: date) -> Diagnosed:
    """Judge the facts.

    A check of one runtime is left out on the other: its facts were not to be collected there.
    """
    found: list[Found] = []
    unseen: list[Unseen] = []
    judged = 0
    for check in checks:
        if lacking := check.missing(facts):
            if not any(reason.endswith(NOT_HERE) for reason in lacking):
                unseen.append(Unseen(check.code, check.title, tuple(lacking)))
            continue
        judged += 1
        found += check.findings(facts)
    left, accepted = _accept(found, suppress, today)
    needs = facts[DEPLOYED].behind if DEPLOYED in facts else lambda component: set[str]()
    return Diagnosed(tuple(fold(left, {one.code: one for one in checks}, needs)), tuple(unseen), accepted, judged)


NOT_HERE = "does not apply"
"""Ends the reason of a fact that a release of this kind does not have."""


def _accept(
    found: Sequence[Found], rules: Sequence[Suppression], today: date
) -> tuple[list[Found], tuple[Suppressed, ...]]:
    """The findings that are left, and those that a rule accepts; a rule ends with its day."""
    left, accepted = [], []
    for one in found:
        rule = next((rule for rule in rules if _fits(rule, one, today)), None)
        if rule is None:
            left.append(one)
        else:
            accepted.append(Suppressed(one.code, one.subject, rule.reason, rule.until))
    return left, tuple(accepted)


def _fits(rule: Suppression, found: Found, today: date) -> bool:
    return rule.code == found.code and rule.subject in (None, found.subject) and today <= rule.until
