"""A check of `diagnose`: a condition over facts, declared as data. Pure."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from lightragctl.core import findings
from lightragctl.core.discovery import declared
from lightragctl.core.findings import Finding, Severity, Violation
from lightragctl.core.hint import Hint
from lightragctl.diagnose.facts import Fact, Facts

PAGE = "docs/reference/checks.md"


class Category(StrEnum):
    """What a check is about."""

    CLUSTER = "cluster"
    DEPLOYMENT = "deployment"
    RETRIEVAL = "retrieval"
    MODELS = "models"
    MEMORY = "memory"
    DATA = "data"
    QUALITY = "quality"
    SECURITY = "security"
    LIGHTRAG = "lightrag"
    COST = "cost"


class Symptom(StrEnum):
    """What a user notices."""

    SLOW = "slow"
    UNAVAILABLE = "unavailable"
    OOM = "oom"
    WRONG_ANSWERS = "wrong-answers"


SLOW, UNAVAILABLE, OOM, WRONG = Symptom.SLOW, Symptom.UNAVAILABLE, Symptom.OOM, Symptom.WRONG_ANSWERS


@dataclass(frozen=True)
class Trouble(Violation):
    """A violation of a condition.

    Attributes:
        component: the affected component, empty for the release as a whole.
        serves: the component still serves, from other pods.
    """

    component: str = ""
    serves: bool = False


@dataclass(frozen=True)
class Found(Finding):
    """A finding of `diagnose`.

    Attributes:
        component, serves: see `Trouble`.
        consequences: findings that this one explains.
    """

    component: str = ""
    serves: bool = False
    consequences: tuple["Found", ...] = ()

    @property
    def worst(self) -> Severity:
        """The severity of the finding with all that it explains."""
        return (
            Severity.ERROR
            if any(one.severity is Severity.ERROR for one in (self, *self.consequences))
            else self.severity
        )


_FOLLOWING = frozenset({Category.RETRIEVAL, Category.MODELS, Category.DATA, Category.QUALITY, Category.LIGHTRAG})
"""Categories whose findings may follow from a component that serves nothing."""


@dataclass(frozen=True, kw_only=True)
class Check(findings.Check[Facts]):
    """A condition over facts that must hold; its code is `LRnnn`, never given to another check.

    Attributes:
        category: of its findings.
        needs: the facts that it reads; when one is missing, the check is skipped.
        judge: finds where the condition does not hold.
        fix: what to do, in general; the hint of a finding that brings none.
        symptoms: what a user may notice of it.
        explains: codes of checks whose findings follow from a finding of this one, on any object.
        explains_own: only findings of the same component follow.
        stops: whether the component of a finding serves nothing, so that what needs it fails too.
        is_reason: its findings say how another one came about: they become evidence of what they explain.
        follows: whether a finding may follow from a component that serves nothing; None: by the category.
    """

    category: Category
    needs: tuple[Fact[Any], ...]
    judge: Callable[[Facts], Iterable[Trouble]] = field(repr=False)
    fix: Hint
    symptoms: tuple[Symptom, ...] = ()
    explains: tuple[str, ...] = ()
    explains_own: bool = False
    stops: bool = False
    is_reason: bool = False
    follows: bool | None = None

    @property
    def may_follow(self) -> bool:
        """Whether a finding may follow from a component that serves nothing."""
        return self.category in _FOLLOWING if self.follows is None else self.follows

    @property
    def docs(self) -> str:
        """Where the check is described."""
        return f"{PAGE}#{self.code.lower()}"

    def missing(self, facts: Facts) -> list[str]:
        """Which of the facts are missing, and why."""
        return [f"{fact.name}: {facts.reason(fact)}" for fact in self.needs if fact not in facts]

    def findings(self, facts: Facts) -> Iterator[Found]:
        """Where the condition does not hold."""
        for one in self.judge(facts):
            yield Found(
                self.code,
                one.subject,
                one.message,
                one.hint or self.fix,
                severity=self.severity,
                category=self.category,
                evidence=one.evidence,
                docs=self.docs,
                component=one.component,
                serves=one.serves,
            )


def all_checks() -> tuple[Check, ...]:
    """Every check, by code.

    Raises:
        TypeError: two have the same code; that is a mistake in our own code.
    """
    groups = declared("lightragctl.diagnose.checks", "CHECKS", tuple)
    checks: list[Check] = sorted((check for group in groups for check in group), key=lambda check: check.code)
    codes = [check.code for check in checks]
    if len(set(codes)) != len(codes):
        raise TypeError(f"codes are given twice: {sorted({code for code in codes if codes.count(code) > 1})}")
    return tuple(checks)
