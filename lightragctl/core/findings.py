"""Findings and checks: one vocabulary for everything that checks a profile, a cluster or a release. Pure.

    Check      a condition that must hold; its `judge` yields a `Violation` wherever it does not
    Finding    a violation with the check's code and severity; who adds to it derives from it, as `observe.causes.Cause`
    Skipped    a finding that says what was not checked, and why

`diagnose` groups findings by category, shows their evidence and links to the documentation.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Generic, TypeVar

from lightragctl.core.hint import Hint

SubjectT = TypeVar("SubjectT", contravariant=True)


class Severity(StrEnum):
    """An error blocks the command; a warning does not."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True)
class Violation:
    """A violated condition.

    Attributes:
        subject: the object, `Kind/name`, or the key of the profile.
        message: what is wrong there.
        hint: the next command or setting.
        evidence: observed values with their thresholds, or where they were read.
    """

    subject: str
    message: str
    hint: str
    evidence: tuple[str, ...] = field(default=(), kw_only=True)


@dataclass(frozen=True)
class Finding:
    """A problem that a check found.

    Attributes:
        code: a stable word.
        severity: whether it prevents the action.
        subject: the object, `Kind/name`, or the key of the profile.
        message: what is wrong there; the first line says it, more may follow.
        hint: the next command or setting.
        category: of the check, where it has one.
        evidence: as in `Violation`.
        docs: the path of a page and its anchor, where the check has one.
    """

    code: str
    severity: Severity = field(kw_only=True)
    subject: str
    message: str
    hint: str
    category: str = field(default="", kw_only=True)
    evidence: tuple[str, ...] = field(default=(), kw_only=True)
    docs: str = field(default="", kw_only=True)

    def __str__(self) -> str:
        return f"{self.subject}: {self.message}"


@dataclass(frozen=True)
class Skipped(Finding):
    """A check that could not run; the message says why."""

    code: str = field(default="not-checked", init=False)
    severity: Severity = field(default=Severity.WARNING, init=False)


def with_hint(finding: Finding) -> Hint:
    """The finding and its hint in one text."""
    return Hint(str(finding), "; ", finding.hint)


@dataclass(frozen=True)
class Check(Generic[SubjectT]):
    """A condition that must hold.

    Attributes:
        code: a stable word.
        title: the condition, in one line.
        severity: what a finding means.
        judge: finds where the condition does not hold.
    """

    code: str
    title: str
    severity: Severity
    judge: Callable[[SubjectT], Iterable[Violation]]

    def findings(self, judged: SubjectT) -> Iterator[Finding]:
        """The violations as findings."""
        for one in self.judge(judged):
            yield Finding(self.code, one.subject, one.message, one.hint, severity=self.severity, evidence=one.evidence)
