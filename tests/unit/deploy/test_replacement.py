"""Fields that cannot change: the plan for a StatefulSet, and the ways out for the rest."""

import copy
from typing import Any

import pytest

from lightragctl.core.errors import RefusedError
from lightragctl.core.objects import ObjectRef
from lightragctl.core.runtime import Action, Differences
from lightragctl.deploy.replacement import plan_replacement
from lightragctl.deploy.rollout import roll_out
from lightragctl.deploy.up import preview
from tests.fakes.cluster import FakeCluster
from tests.fakes.release import DEPLOYMENT, OPTIONS, STATEFUL_SET, agree, ignore, rollback, scope, target, up

BIGGER = "components.vector-engine.storage=30Gi"
CLAIM = {
    "apiVersion": "v1",
    "kind": "PersistentVolumeClaim",
    "metadata": {
        "name": "data-dev-vector-engine-0",
        "namespace": "lightrag",
        "labels": {"app.kubernetes.io/instance": "dev", "app.kubernetes.io/component": "vector-engine"},
    },
    "spec": {"storageClassName": "fast", "resources": {"requests": {"storage": "20Gi"}}},
}
IDENTITY = ObjectRef("v1", "PersistentVolumeClaim", "lightrag", "data-dev-vector-engine-0")


def release(grows: bool = True) -> FakeCluster:
    """One that is up, with its claim and a storage class."""
    cluster = FakeCluster()
    up(cluster)
    cluster.apply(CLAIM, manager="kube-controller-manager")
    storage_class = {"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": "fast"}}
    cluster.create({**storage_class, "allowVolumeExpansion": grows})
    return cluster


def stateful(size: str = "20Gi", **spec: Any) -> dict[str, Any]:
    claim = {"metadata": {"name": "data"}, "spec": {"resources": {"requests": {"storage": size}}}}
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": "dev-vector-engine", "namespace": "lightrag", "uid": "u"},
        "spec": {"selector": {"matchLabels": {"a": "1"}}, "volumeClaimTemplates": [claim], **spec},
    }


def claim(size: str = "100Gi", **spec: Any) -> dict[str, Any]:
    fixed = {"storageClassName": "fast", "accessModes": ["ReadWriteOnce"]}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "dev-model-server-big-weights", "namespace": "lightrag"},
        "spec": {**fixed, "resources": {"requests": {"storage": size}}, **spec},
    }


def test_a_bigger_volume_grows_its_claim_and_the_set_is_made_again_around_its_pods() -> None:
    cluster = release()
    before = cluster.objects[STATEFUL_SET]["metadata"]["uid"]
    cluster.writes.clear()
    up(cluster, BIGGER)
    assert cluster.objects[IDENTITY]["spec"]["resources"]["requests"]["storage"] == "30Gi"
    assert cluster.objects[STATEFUL_SET]["metadata"]["uid"] != before
    grown, gone, made = (
        next(number for number, write in enumerate(cluster.writes) if write.startswith(start))
        for start in ("apply PersistentVolumeClaim/", "orphan StatefulSet/", "apply StatefulSet/")
    )
    assert grown < gone < made
    assert not [write for write in cluster.writes if write.startswith("delete PersistentVolumeClaim")]


def test_the_plan_is_shown_before_it_is_carried_out_and_counts_as_a_deletion() -> None:
    cluster = release()
    seen = preview(scope(cluster), target(BIGGER), OPTIONS)
    (one,) = [one for one in seen.differing if one.action is Action.REPLACED]
    assert one.subject == "StatefulSet/dev-vector-engine"
    assert "data-dev-vector-engine-0 is expanded to 30Gi; no volume claim is deleted" in one.note
    assert [line for line in one.text.splitlines()[2:] if line[0] in "+-"] == [
        "-          storage: 20Gi",
        "+          storage: 30Gi",
    ]
    assert seen.deletes


def test_a_claim_whose_class_cannot_grow_stops_before_anything_is_written() -> None:
    cluster = release(grows=False)
    before = copy.deepcopy(cluster.objects)
    with pytest.raises(RefusedError, match="storage class 'fast' does not allow volume expansion"):
        up(cluster, BIGGER)
    assert cluster.objects[STATEFUL_SET] == before[STATEFUL_SET]
    assert cluster.objects[IDENTITY] == before[IDENTITY]


def test_a_rollback_leaves_a_grown_volume_as_big_as_it_is() -> None:
    cluster = release()
    up(cluster, BIGGER, "components.embedder.replicas=2")
    rollback(cluster, 1)
    (template,) = cluster.objects[STATEFUL_SET]["spec"]["volumeClaimTemplates"]
    assert template["spec"]["resources"]["requests"]["storage"] == "30Gi"
    assert cluster.objects[DEPLOYMENT]["spec"]["replicas"] == 1


SERVER = (
    "components.model-server.servers.big={kind: vllm, image: {repository: r, tag: v1}, model: mock-llm, gpus: 0,"
    " resources: {requests: {cpu: '1', memory: 1Gi}, limits: {cpu: '1', memory: 1Gi}}, storage: %s}"
)
WEIGHTS = ObjectRef("v1", "PersistentVolumeClaim", "lightrag", "dev-model-server-big-weights")


def test_a_rollback_leaves_a_grown_volume_of_a_model_server_as_big_as_it_is() -> None:
    cluster = FakeCluster()
    up(cluster, SERVER % "50Gi")
    up(cluster, SERVER % "100Gi", "components.embedder.replicas=2")
    rollback(cluster, 1)
    assert cluster.objects[WEIGHTS]["spec"]["resources"]["requests"]["storage"] == "100Gi"
    assert cluster.objects[DEPLOYMENT]["spec"]["replicas"] == 1


def test_a_volume_of_a_model_server_is_never_made_anew() -> None:
    cluster = FakeCluster()
    up(cluster, SERVER % "50Gi, storage_class: fast")
    before, written = cluster.objects[WEIGHTS], len(cluster.writes)
    with pytest.raises(RefusedError, match=r"storage class \(fast to slow\) is immutable") as caught:
        up(cluster, SERVER % "50Gi, storage_class: slow")
    assert "rename the server" in caught.value.hint
    with pytest.raises(RefusedError, match="a volume cannot shrink: it has 50Gi, 20Gi is requested"):
        up(cluster, SERVER % "20Gi, storage_class: fast")
    assert cluster.objects[WEIGHTS] == before
    assert not [write for write in cluster.writes[written:] if "Lease" not in write]


def test_a_volume_of_a_model_server_whose_class_cannot_grow_is_left_alone() -> None:
    cluster = FakeCluster()
    cluster.create({"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": "fast"}})
    up(cluster, SERVER % "50Gi, storage_class: fast")
    with pytest.raises(RefusedError, match="cannot be expanded to 100Gi: storage class 'fast' does not allow"):
        up(cluster, SERVER % "100Gi, storage_class: fast")
    assert cluster.objects[WEIGHTS]["spec"]["resources"]["requests"]["storage"] == "50Gi"


def test_a_priority_class_of_another_value_is_left_alone() -> None:
    cluster = FakeCluster()
    name = "lightrag-dev-data-900000"
    thing = {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": name}, "value": 1}
    cluster.apply(thing, manager="kubectl")
    with pytest.raises(RefusedError, match="may not be changed") as caught:
        up(cluster, "priorities={data: 900000}")
    assert "kubectl delete priorityclass" in caught.value.hint


def test_a_death_between_deleting_and_making_is_finished_by_the_next_run() -> None:
    cluster = release()

    def vanish(seen: Differences) -> None:
        cluster.delete(STATEFUL_SET, cluster.objects[STATEFUL_SET]["metadata"]["uid"], orphan=True)

    roll_out(scope(cluster), target(BIGGER), OPTIONS, vanish, ignore)
    assert STATEFUL_SET in cluster.objects
    assert roll_out(scope(cluster), target(BIGGER), OPTIONS, agree, ignore) == ()


@pytest.mark.parametrize(
    ("wanted", "live", "says"),
    [
        (stateful("10Gi"), stateful("20Gi"), "a volume cannot shrink: 'data' has 20Gi, 10Gi is requested"),
        (stateful(selector={}), stateful(), "its selector is immutable"),
        ({**stateful(), "kind": "Deployment"}, stateful(), "refused by the server"),
        ({**stateful(), "kind": "Service"}, stateful(), "refused by the server"),
        ({**stateful(), "kind": "Ingress"}, stateful(), "refused by the server"),
        (claim("50Gi"), claim("100Gi"), "a volume cannot shrink: it has 100Gi, 50Gi is requested"),
        (claim("200Gi"), claim("100Gi"), "storage class 'fast' does not allow volume expansion"),
        (claim(storageClassName="slow"), claim(), r"its storage class \(fast to slow\) is immutable"),
        (
            claim(accessModes=["ReadWriteMany"]),
            claim(),
            r"access modes \(ReadWriteOnce to ReadWriteMany\) is immutable",
        ),
        (claim(), claim(volumeName="pv"), "refused by the server"),
    ],
)
def test_what_has_no_plan_is_refused_with_a_way_out(wanted: Any, live: Any, says: str) -> None:
    with pytest.raises(RefusedError, match=says) as caught:
        plan_replacement(wanted, live, (), {}, "refused by the server")
    assert caught.value.hint


def test_claims_of_other_sets_and_of_enough_size_are_left_alone() -> None:
    other = {**CLAIM, "metadata": {**CLAIM["metadata"], "name": "data-dev-vector-engine2-0"}}  # type: ignore[dict-item]
    big = {**CLAIM, "spec": {"storageClassName": "slow", "resources": {"requests": {"storage": "30Gi"}}}}
    plan = plan_replacement(stateful("30Gi"), stateful(), [other, big], {}, "")
    assert plan.claims == ()
    assert plan.uid == "u"
