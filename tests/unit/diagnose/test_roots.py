"""Findings are folded to root causes: a consequence stands below its cause, an independent fault beside it."""

from collections.abc import Callable
from datetime import date

import pytest

from lightragctl.core.diagnosis import Suppression
from lightragctl.diagnose import keys
from lightragctl.diagnose.check import Category, Symptom, all_checks
from lightragctl.diagnose.facts import Facts
from lightragctl.diagnose.judge import Diagnosed, chosen, diagnose
from lightragctl.diagnose.model import Change
from lightragctl.diagnose.path import hops
from tests.unit.diagnose import faults
from tests.unit.diagnose.faults import FAULTS, endpoint, processes, put, several, with_

TODAY = date(2027, 1, 1)
BESIDE = {"LR146": {"LR401"}, "LR406": {"LR511"}, "LR704": {"LR159"}, "LR215": {"LR217"}}
"""Faults that are two things: what stands first instead, or beside."""


def judged(facts: Facts, *suppress: Suppression, today: date = TODAY) -> Diagnosed:
    return diagnose(all_checks(), facts, suppress, today)


def broken(*acts: Callable[[Facts], None]) -> Facts:
    return faults.local(several(*acts)).facts()


def roots(found: Diagnosed) -> list[str]:
    return [one.code for one in found.findings]


@pytest.mark.parametrize("code", sorted(FAULTS))
def test_one_fault_is_one_root_cause(code: str) -> None:
    found = roots(judged(FAULTS[code].facts()))
    assert set(found) <= {code} | BESIDE.get(code, set())


def test_milvus_down_is_one_finding_and_not_twelve() -> None:
    lost = ("LR200", "LR201", "LR218", "LR219", "LR221")
    facts = broken(
        processes("vector-engine", alive=False, holder=None, last_exit="killed by SIGKILL"),
        put(keys.STORE, faults.StoreState(False, "connection refused")),
        with_(keys.SEARCHED, status=503, code="store-unavailable", error="it does not answer"),
        put(keys.SERVICES, [faults.Replica("lightrag-api", "lightrag-api", 200, 503, "Milvus does not answer")]),
        faults.metrics("lightrag-api", "lightragctl_breaker_state", 2.0, backend="milvus"),
    )
    found = judged(facts)
    assert roots(found) == ["LR171"]
    below = {one.code for one in found.findings[0].consequences}
    assert {"LR201", "LR218", "LR219", "LR221"} <= below <= set(lost)


def test_two_independent_faults_are_two_findings() -> None:
    facts = broken(
        processes("embedder", alive=False, holder=None),
        endpoint(status=503, code="upstream_unreachable"),
        with_(keys.MACHINE, folder_mode=0o755),
    )
    assert roots(judged(facts)) == ["LR171", "LR608"]


def test_a_dead_chat_model_does_not_explain_a_search_that_fails() -> None:
    facts = broken(
        processes("mock-llm", alive=False, holder=None), with_(keys.SEARCHED, status=500, code="bug", error="x")
    )
    assert set(roots(judged(facts))) == {"LR171", "LR201"}


def test_a_known_error_in_the_log_explains_the_end_of_the_process_and_what_follows() -> None:
    facts = broken(
        processes("model-gateway", alive=False, holder=None, last_exit="exited with status 1"),
        put(keys.SIGNS, {"model-gateway": {"settings": 1, "refused": 4}}),
        put(keys.SERVICES, [faults.Replica("model-gateway", "model-gateway", error="Connection refused")]),
        with_(keys.SEARCHED, status=503, code="overloaded", error="cannot reach model-gateway"),
    )
    found = judged(facts).findings
    assert [(one.code, one.subject) for one in found] == [("LR180", "model-gateway")]
    assert {one.code for one in found[0].consequences} == {"LR171", "LR200", "LR201"}


def test_a_known_error_explains_what_its_own_component_does_and_not_the_end_of_another() -> None:
    facts = broken(
        processes("embedder", alive=False, holder=None, last_exit="killed by SIGKILL"),
        put(keys.SIGNS, {"lightrag-api": {"refused": 3}}),
    )
    found = judged(facts).findings
    assert [(one.code, one.subject) for one in found] == [("LR171", "embedder")]
    assert [one.code for one in found[0].consequences] == ["LR180"]


def test_a_process_that_ends_again_and_again_is_one_finding() -> None:
    facts = broken(
        processes("model-gateway", failures=3, restarts=3, last_exit="exited with status 1", started_at=faults.AT - 1),
        put(keys.SERVICES, [faults.Replica("model-gateway", "model-gateway", error="Connection refused")]),
    )
    assert roots(judged(facts)) == ["LR186"]


def test_errors_come_before_warnings() -> None:
    facts = broken(with_(keys.MACHINE, folder_mode=0o755), with_(keys.ROW_SAMPLE, reproduced=0.1))
    assert roots(judged(facts)) == ["LR551", "LR608"]


def rule(subject: str | None = None, until: date = TODAY) -> Suppression:
    return Suppression(code="LR608", subject=subject, reason="a machine of one user", until=until)


def test_an_accepted_finding_is_told_with_its_reason_and_is_none() -> None:
    facts = FAULTS["LR608"].facts()
    found = judged(facts, rule())
    assert (found.findings, found.suppressed[0].reason) == ((), "a machine of one user")
    assert roots(judged(facts, rule(subject="another"))) == ["LR608"]


def test_a_finding_is_accepted_until_the_end_of_its_day() -> None:
    facts = FAULTS["LR608"].facts()
    assert roots(judged(facts, rule(until=date(2026, 12, 31)))) == ["LR608"]


def test_a_threshold_of_the_profile_decides() -> None:
    facts = FAULTS["LR410"].facts()
    facts.put(keys.THRESHOLDS, facts[keys.THRESHOLDS].model_copy(update={"disk_high": 0.93}))
    assert roots(judged(facts)) == []


@pytest.mark.parametrize("symptom", Symptom)
def test_a_symptom_chooses_checks_that_may_explain_it(symptom: Symptom) -> None:
    found = chosen(all_checks(), None, symptom)
    assert 5 < len(found) < len(all_checks())
    assert all(symptom in one.symptoms for one in found)


@pytest.mark.parametrize("category", Category)
def test_every_category_has_checks(category: Category) -> None:
    assert len(chosen(all_checks(), category, None)) >= 4


def test_the_path_of_a_search_names_the_hop_that_failed() -> None:
    facts = FAULTS["LR171"].facts()
    found = {hop.component: (hop.state, hop.code) for hop in hops(facts, judged(facts))}
    assert next(iter(found)) == "lightrag-api"
    assert found["embedder"] == ("failed", "LR171")
    assert found["vector-engine"] == ("ok", "")


def changed(path: str, added: bool = False) -> Change:
    return Change("Deployment/rel-embedder", path, "kubectl-set", "2027-01-01T00:00:00Z", added)


def test_a_change_by_hand_is_evidence_of_what_it_broke() -> None:
    facts = FAULTS["LR141"].facts()
    facts.put(keys.DRIFT, [changed("spec.template.spec.containers[name=embedder].image")])
    found = judged(facts).findings
    assert [one.code for one in found] == ["LR141"]
    assert any("LR151" in line and "kubectl-set" in line for line in found[0].evidence)
    assert "lightragctl up" in found[0].hint


def test_a_change_of_another_component_is_a_finding_of_its_own() -> None:
    facts = FAULTS["LR141"].facts()
    facts.put(keys.DRIFT, [Change("Deployment/rel-mock-llm", "spec.paused", "kubectl-edit", "")])
    assert roots(judged(facts)) == ["LR141", "LR151"]


def test_a_field_that_somebody_added_is_removed_by_hand_and_a_restart_is_no_change() -> None:
    facts = faults.cluster(put(keys.DRIFT, [changed("spec.template.spec.nodeSelector", added=True)])).facts()
    assert "by hand" in judged(facts).findings[0].hint
    path = "spec.template.metadata.annotations[kubectl.kubernetes.io/restartedAt]"
    facts = faults.cluster(put(keys.DRIFT, [changed(path, added=True)])).facts()
    assert judged(facts).findings == ()


def test_a_pod_that_is_not_ready_explains_the_calls_that_it_does_not_answer() -> None:
    facts = FAULTS["LR142"].facts()
    facts.put(keys.MODELS, FAULTS["LR301"].facts()[keys.MODELS])
    found = judged(facts).findings
    assert [one.code for one in found] == ["LR142"]
    assert "LR301" in [one.code for one in found[0].consequences]


def test_a_component_that_serves_from_other_pods_explains_no_failure() -> None:
    facts = FAULTS["LR141"].facts()
    for one in facts[keys.WORKLOADS]:
        if one["metadata"]["name"] == "rel-embedder":
            one["status"] |= {"readyReplicas": 1, "replicas": 2}
    facts.put(keys.MODELS, FAULTS["LR305"].facts()[keys.MODELS])
    assert roots(judged(facts)) == ["LR141", "LR305"]


def test_a_node_that_went_silent_is_told_before_the_cluster_says_so() -> None:
    facts = faults.healthy.cluster()
    leases = [("node-1", 40.0), ("node-2", 4.0)]
    facts.put(keys.NODE_LEASES, [faults.thing("Lease", name, {"renewTime": faults.ago(age)}) for name, age in leases])
    assert roots(judged(facts)) == ["LR101"]
