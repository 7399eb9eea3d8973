"""The upgrade of a Milvus cluster on a fake one: role by role, one pod first, verified, and back."""

import pytest

from lightragctl.deploy.rollout_plan import read_inventory
from lightragctl.operations.model import Phase
from lightragctl.upgrade.data_plans import role_order, roles_plan
from lightragctl.upgrade.plan import Strategy
from lightragctl.upgrade.read_plan import read_plan
from lightragctl.upgrade.strategies.roles import roles_kind
from tests.fakes.release import scope, target, up
from tests.fakes.upgrading_data import DataTown

KIND = roles_kind(lambda resources: resources.site)
TAG = "components.vector-engine.image.tag=v2.3.7"
STORE = "components.vector-engine.object_store={endpoint: 's3.example:9000', bucket: milvus, tls: false, iam: true}"
BASE = (
    "quota=null",
    "components.etcd.enabled=true",
    "components.kafka.enabled=true",
    "components.vector-engine.topology=cluster",
    STORE,
    "components.vector-engine.roles.proxy.replicas=3",
)
OLD, NEW = "milvusdb/milvus:v2.3.5", "milvusdb/milvus:v2.3.7"


def town() -> DataTown:
    return DataTown(KIND, TAG, BASE, down_s=0.0)


def applied(here: DataTown) -> list[str]:
    """The workloads of the vector store in the order in which they were written after the first rollout."""
    names = [
        one.partition("/")[2] for one in here.cluster.writes if one.startswith("apply Deployment/dev-vector-engine")
    ]
    return [name.removeprefix("dev-vector-engine-") for name in names][len(role_order(False)) :]


def test_roles_are_replaced_in_order_and_one_query_node_and_proxy_join_first() -> None:
    here = town()
    record = here.run()
    assert record.phase is Phase.SUCCEEDED, record.cause
    order = ["indexnode", "coordinator", "querynode-canary", "querynode", "datanode", "proxy-canary", "proxy"]
    assert applied(here)[:7] == order
    assert set(here.images().values()) == {NEW}
    assert not here.left_over()
    verified = ["indexnode", "coordinator", "first querynode", "querynode", "datanode", "first proxy", "proxy", "after"]
    assert sorted(record.results["verdicts"]) == sorted(verified)
    assert sorted(record.results["roles"]) == sorted(role_order(False))


def test_a_role_that_answers_differently_leads_back_in_reverse_order() -> None:
    here = town()
    here.wrong_after = True
    record = here.run(canary=False)
    assert record.phase is Phase.ABORTED, record.cause
    assert "answers differently" in record.cause
    assert applied(here) == ["indexnode", "indexnode"]
    assert set(here.images().values()) == {OLD}
    inventory = read_inventory(scope(here.cluster))
    assert inventory is not None
    assert inventory.revision == 1


def test_a_downgrade_has_the_reverse_order() -> None:
    assert role_order(True) == role_order(False)[::-1]
    assert roles_plan(canary=True, one_way=False, downgrade=True).steps[1].startswith("proxy: one pod")


def test_the_plan_names_each_role_and_the_share_of_the_first_proxy() -> None:
    here = town()
    up(here.cluster, *BASE)
    (one,) = read_plan(here.site.site, target(*BASE, TAG), (600.0, True), here.pause).components
    assert (one.strategy, one.refusal, one.shares) == (Strategy.ROLES, "", (0.25,))
    assert one.steps[1].startswith("indexnode")
    assert one.effects[0].detectable == pytest.approx(0.39, abs=0.02)
