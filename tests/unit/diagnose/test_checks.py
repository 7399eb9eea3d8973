"""Every check fires on its fault and is silent on healthy releases; a fault and its consequences are one finding."""

import json
from datetime import date

import pytest

from lightragctl.core.findings import Severity
from lightragctl.core.hint import Hint
from lightragctl.diagnose.check import Found, all_checks
from lightragctl.diagnose.facts import Facts
from lightragctl.diagnose.judge import Diagnosed, diagnose
from lightragctl.diagnose.keys import KNOWN
from tests.fakes import diagnosed as healthy
from tests.unit.diagnose.faults import FAULTS

TODAY = date(2027, 1, 1)
CHECKS = {one.code: one for one in all_checks()}


def judged(facts: Facts) -> Diagnosed:
    return diagnose(tuple(CHECKS.values()), facts, (), TODAY)


def told(found: Diagnosed) -> dict[str, Found]:
    return {each.code: each for one in found.findings for each in (one, *one.consequences)}


@pytest.mark.parametrize("release", [healthy.local, healthy.cluster])
def test_a_healthy_release_has_no_findings(release: type[Facts]) -> None:
    found = judged(release())
    assert [(one.code, one.message) for one in found.findings] == []
    assert found.unseen == ()


def test_every_check_has_a_fault_that_fires_it() -> None:
    assert FAULTS.keys() == CHECKS.keys()


@pytest.mark.parametrize("code", sorted(CHECKS))
def test_a_check_fires_on_its_fault_with_a_next_step(code: str) -> None:
    found = told(judged(FAULTS[code].facts()))
    assert code in found, sorted(found)
    assert found[code].subject
    assert isinstance(found[code].hint, Hint)
    assert found[code].hint


@pytest.mark.parametrize("code", sorted(CHECKS))
def test_a_fault_is_judged_alike_from_its_json(code: str) -> None:
    facts = FAULTS[code].facts()
    again = Facts.of_document(json.loads(json.dumps(facts.document(KNOWN))), KNOWN)
    assert [one.code for one in judged(again).findings] == [one.code for one in judged(facts).findings]


def test_codes_that_are_explained_exist_and_every_fact_is_known() -> None:
    assert {code for one in CHECKS.values() for code in one.explains} <= CHECKS.keys()
    assert {fact.name for one in CHECKS.values() for fact in one.needs} <= KNOWN.keys()
    assert not [one.code for one in CHECKS.values() if any(fact.private for fact in one.needs)]


@pytest.mark.parametrize("code", sorted(CHECKS))
def test_a_check_whose_facts_are_missing_is_skipped_with_the_reason(code: str) -> None:
    facts = FAULTS[code].facts()
    for fact in CHECKS[code].needs:
        facts.values.pop(fact.name, None)
        facts.missing[fact.name] = "we may not list it"
    found = diagnose((CHECKS[code],), facts, (), TODAY)
    assert (found.findings, found.judged) == ((), 0)
    assert "we may not list it" in found.unseen[0].reasons[0]


def test_severities_are_as_the_exit_status_needs_them() -> None:
    assert {one.severity for one in CHECKS.values()} == {Severity.ERROR, Severity.WARNING}
