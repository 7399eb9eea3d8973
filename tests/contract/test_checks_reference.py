"""The reference of the checks is generated from their tuples: `UPDATE_SNAPSHOTS=1` writes it again."""

import os
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

from lightragctl.diagnose.check import Check, all_checks

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "checks.md"
HEAD = """# Checks of diagnose

Generated from `lightragctl/diagnose/checks/`. [Guide](../guides/diagnose.md). A check whose facts are missing is
skipped with the reason. Thresholds are keys of `diagnose.thresholds` in the profile.
"""


def reference() -> str:
    return "\n".join([HEAD, *_sections()])


def _sections() -> Iterator[str]:
    ordered = sorted(all_checks(), key=lambda one: (_order().index(one.category), one.code))
    for category, checks in groupby(ordered, key=lambda one: one.category):
        yield f"## {category}\n"
        for check in checks:
            yield from _section(check)


def _order() -> list[str]:
    return list(dict.fromkeys(one.category for one in all_checks()))


def _section(check: Check) -> Iterator[str]:
    yield f"### {check.code}\n"
    what = "an error" if check.severity == "error" else "a warning"
    yield f"{check.title[0].upper()}{check.title[1:]}. A finding is {what}.\n"
    yield f"- reads: {', '.join(f'{fact.name} ({fact.about})' for fact in check.needs)}"
    if check.symptoms:
        yield f"- symptoms: {', '.join(check.symptoms)}"
    if check.stops:
        yield "- explains: findings of the component and of what needs it"
    if check.explains:
        yield f"- explains: {', '.join(check.explains)}"
    yield f"- fix: {check.fix}\n"


def test_the_page_is_as_the_checks_are() -> None:
    text = reference()
    if os.environ.get("UPDATE_SNAPSHOTS") == "1":
        PAGE.write_text(text, encoding="utf-8")
    assert PAGE.read_text(encoding="utf-8") == text


def test_every_link_of_a_finding_leads_to_its_section() -> None:
    headings = {line.removeprefix("### ").lower() for line in PAGE.read_text(encoding="utf-8").splitlines()}
    assert {one.docs.partition("#")[2] for one in all_checks()} <= headings
