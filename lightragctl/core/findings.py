"""Findings and checks: one vocabulary for everything that checks a profile, a cluster or a release. Pure.

    Check      a condition that must hold; its `judge` yields a `Violation` wherever it does not
    Finding    a violation with the check's code and severity; who adds to it derives from it, as `observe.causes.Cause`
    Skipped    a finding that says what was not checked, and why

A field is here when something reads it. A category, an anchor in the docs and evidence belong in `Finding`, the facts
that a check needs in `Check`: they come with the first command that groups, links, shows or asks for them.
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
    """

    subject: str
    message: str
    hint: str


@dataclass(frozen=True)
class Finding:
    """A problem that a check found.

    Attributes:
        code: a stable word.
        severity: whether it prevents the action.
        subject: the object, `Kind/name`, or the key of the profile.
        message: what is wrong there; the first line says it, more may follow.
        hint: the next command or setting.
    """

    code: str
    severity: Severity = field(kw_only=True)
    subject: str
    message: str
    hint: str

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
            yield Finding(self.code, one.subject, one.message, one.hint, severity=self.severity)
