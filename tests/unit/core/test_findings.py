"""A check turns each violation into a finding of its code and severity; what was not checked says so."""

from collections.abc import Iterator
from dataclasses import asdict

from lightragctl.core.findings import Check, Severity, Skipped, Violation


def odd(numbers: list[int]) -> Iterator[Violation]:
    for number in numbers:
        if number % 2:
            yield Violation(f"Number/{number}", "it is odd", "add one", evidence=(f"{number} % 2 = 1",))


def test_each_violation_is_a_finding_of_the_check() -> None:
    check = Check("odd", "every number is even", Severity.WARNING, odd)
    (found,) = check.findings([2, 3])
    assert str(found) == "Number/3: it is odd"
    assert list(asdict(found).items()) == [
        ("code", "odd"),
        ("severity", Severity.WARNING),
        ("subject", "Number/3"),
        ("message", "it is odd"),
        ("hint", "add one"),
        ("category", ""),
        ("evidence", ("3 % 2 = 1",)),
        ("docs", ""),
    ]


def test_what_was_not_checked_is_a_warning_with_the_reason() -> None:
    skipped = Skipped("cluster", "not checked: nodes", "ask for the right to list them")
    assert (skipped.code, skipped.severity) == ("not-checked", Severity.WARNING)
    assert str(skipped) == "cluster: not checked: nodes"
