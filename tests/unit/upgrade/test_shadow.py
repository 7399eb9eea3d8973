"""The upgrade of a vector store with one server on a fake cluster: a copy first, then in place; and every way out."""

from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from lightragctl.core.errors import RefusedError
from lightragctl.core.objects import ObjectRef
from lightragctl.core.versions import HopKind
from lightragctl.operations.model import Operation, Phase, StepState
from lightragctl.upgrade.compared import Asked, failures, judge, smallest_loss
from lightragctl.upgrade.gates import Verdict
from lightragctl.upgrade.in_place import hurry
from lightragctl.upgrade.plan import ComponentPlan, Strategy, UpgradePlan, the_strategy
from lightragctl.upgrade.shadow_objects import shadow_object
from lightragctl.upgrade.strategies.shadow import shadow_kind
from tests.fakes.backup import CHUNKS
from tests.fakes.release import target, up
from tests.fakes.upgrading import START, PodCluster
from tests.fakes.upgrading_data import DataTown

KIND = shadow_kind(lambda resources: resources.site)
TAG = "components.vector-engine.image.tag=v2.3.7"
OLD, NEW = "milvusdb/milvus:v2.3.5", "milvusdb/milvus:v2.3.7"


def town() -> DataTown:
    return DataTown(KIND, TAG)


def said(record: Operation, key: str) -> dict[str, str]:
    return {one["gate"]: one["verdict"] for one in record.results["verdicts"][key]}


def test_a_copy_answers_first_then_the_server_is_replaced_and_the_outage_measured() -> None:
    here = town()
    record = here.run()
    assert record.phase is Phase.SUCCEEDED, record.cause
    assert here.image() == NEW
    assert not here.left_over()
    assert sorted(here.shadow.collections) == [CHUNKS]
    assert set(said(record, "shadow").values()) == {"passed"}
    assert said(record, "after")["rows"] == "passed"
    assert 3.0 <= record.results["outage_s"] <= 4.0
    assert here.searches == 1


def test_a_copy_that_answers_differently_stops_it_before_the_server_is_touched() -> None:
    here = town()
    here.wrong_beside = True
    record = here.run()
    assert record.phase is Phase.ABORTED
    assert "answers differently: overlap" in record.cause
    assert record.step("replace").state is StepState.PENDING
    assert here.image() == OLD
    assert not here.left_over()
    assert not [one for one in here.cluster.writes if one.startswith("apply StatefulSet/dev-vector-engine ")]


def test_a_server_that_answers_differently_after_its_replacement_is_put_back() -> None:
    here = town()
    here.wrong_after = True
    record = here.run()
    assert record.phase is Phase.ABORTED, record.cause
    assert here.image() == OLD
    assert record.results["outage_back_s"] >= 3.0


def test_without_a_canary_there_is_no_copy_but_the_same_checks_after_it() -> None:
    here = town()
    record = here.run(canary=False)
    assert record.phase is Phase.SUCCEEDED, record.cause
    assert not here.shadow.collections
    assert said(record, "after")["overlap"] == "passed"


def test_a_one_way_change_is_not_undone_by_the_image() -> None:
    here = town()
    here.wrong_after = True
    record = here.run(one_way=True)
    assert record.phase is Phase.NEEDS_ATTENTION
    assert here.image() == NEW
    assert "may not read" in record.step("replace").message


def test_the_shadow_is_selected_by_nothing_of_the_release() -> None:
    objects = target(TAG).objects
    made = shadow_object(objects, "vector-engine", "upgrade-shadow-1", "node-1")
    labels = made["spec"]["template"]["metadata"]["labels"]
    named = [one for one in objects if one["metadata"]["name"] == "dev-vector-engine"]
    service = next(one for one in named if one["kind"] == "Service")
    assert not service["spec"]["selector"].items() <= labels.items()
    assert made["spec"]["selector"]["matchLabels"].items() <= labels.items()
    assert labels["app.kubernetes.io/instance"] == "dev"
    assert "lightragctl/operation" not in labels
    assert "app.kubernetes.io/managed-by" not in made["metadata"]["labels"]
    assert made["metadata"]["name"] == "dev-vector-engine-shadow"
    assert made["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] == 1
    assert "node-1" in str(made["spec"]["template"]["spec"]["affinity"])
    claims = made["spec"]["volumeClaimTemplates"]
    assert claims[0]["metadata"]["labels"]["app.kubernetes.io/component"] == "vector-engine-shadow"


def hits(*ids: str, ms: float = 1.0, shift: float = 0.0) -> Asked:
    return Asked(tuple((id, 1.0 - 0.01 * place + shift) for place, id in enumerate(ids)), ms)


@pytest.mark.parametrize(
    ("after", "gate"),
    [
        (hits("a", "b", "c"), None),
        (hits("a", "x", "y"), "overlap"),
        (hits("a", "b", "c", shift=0.1), "score-drift"),
        (hits("a", "b", "c", ms=50.0), "latency"),
        (Asked(error="no shard leader"), "errors"),
    ],
    ids=["equal", "other rows", "other scores", "slower", "errors"],
)
def test_each_gate_stops_what_it_is_for(after: Asked, gate: str | None) -> None:
    found = judge([hits("a", "b", "c")] * 100, [after] * 100, (), is_all=False)
    assert [one.gate for one in found if one.verdict is Verdict.FAILED] == ([gate] if gate else [])


def test_rows_that_were_written_meanwhile_do_not_count() -> None:
    found = judge([hits("new", "a", "b")] * 100, [hits("a", "b")] * 100, {"new"}, is_all=False)
    assert "overlap" not in str(failures(found))


def test_no_data_and_too_little_of_it_are_no_pass() -> None:
    assert failures(judge([], [], (), is_all=True))
    few = [hits("a", "b")] * 5
    assert "overlap" in failures(judge(few, few, (), is_all=False))[0]
    assert not failures(judge(few, few, (), is_all=True))


def test_the_smallest_loss_that_is_revealed_is_below_the_limit_of_the_gate() -> None:
    assert 0.02 < smallest_loss(100, is_all=False) < 0.1
    assert 0.1 < smallest_loss(10, is_all=True) < 0.5


def test_a_component_with_data_is_upgraded_by_itself() -> None:
    store = ComponentPlan("vector-engine", Strategy.SHADOW, (), HopKind.ROLLING, 1)
    api = replace(store, component="lightrag-api", strategy=Strategy.REPLICAS)
    assert the_strategy(UpgradePlan((store,))) is Strategy.SHADOW
    assert the_strategy(UpgradePlan((api,))) is Strategy.REPLICAS
    with pytest.raises(RefusedError, match="upgraded by itself"):
        the_strategy(UpgradePlan((store, api)))


class EndingCluster(PodCluster):
    """The pod of the vector store was sent SIGTERM at the start, with two minutes of grace, and does not end."""

    def __init__(self) -> None:
        super().__init__()
        self.grace_s = 120
        self.killed: list[int | None] = []

    def select(self, api_version: str, kind: str, namespace: str, selector: str = "") -> list[dict[str, Any]]:
        found = super().select(api_version, kind, namespace, selector)
        ends = (START + timedelta(seconds=self.grace_s)).isoformat()
        for pod in found if kind == "Pod" else ():
            pod["metadata"] |= {"deletionTimestamp": ends, "deletionGracePeriodSeconds": self.grace_s}
        return found

    def delete(self, identity: ObjectRef, uid: str, **options: Any) -> bool:
        self.killed.append(options.get("grace_s"))
        self.grace_s = int(options["grace_s"])
        return True


@pytest.mark.parametrize(("after_s", "killed"), [(5, []), (29, []), (31, [1])], ids=["soon", "in time", "too late"])
def test_a_stop_that_does_not_end_is_not_waited_for_in_full(after_s: int, killed: list[int]) -> None:
    cluster = EndingCluster()
    here = DataTown(KIND, TAG, cluster=cluster)
    up(cluster)
    here.pause(after_s)
    context: Any = SimpleNamespace(check=lambda: None, now=lambda: here.now, notify=here.events.append)
    for _ in range(2):
        hurry(context, here.site, "vector-engine")
    assert cluster.killed == killed
