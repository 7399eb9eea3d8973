"""Data that are about to be lost: named by status, diff and up, refused by what would end their pods."""

from typing import Any

import pytest

from lightragctl.checks.versions import version, version_changes
from lightragctl.core.errors import RefusedError
from lightragctl.core.objects import ObjectRef
from lightragctl.core.runtime import UpOptions
from lightragctl.deploy.down import describe_kept, tear_down
from lightragctl.deploy.rollout_plan import read_inventory
from lightragctl.deploy.runtime import KubernetesRuntime
from lightragctl.deploy.up import preview, wanted
from lightragctl.kube.model import ForbiddenError
from lightragctl.observe.volumes import endangered
from tests.fakes.cluster import FakeCluster
from tests.fakes.release import NAMESPACE, OPTIONS, ignore, lock_holder, plan, rollback, scope, up

STORE = ObjectRef("v1", "PersistentVolumeClaim", NAMESPACE, "data-dev-vector-engine-0")
WRITER = ObjectRef("v1", "PersistentVolumeClaim", NAMESPACE, "data-dev-lightrag-server-0")
SINCE = "2026-01-01T00:00:00Z"
RESTART = "components.vector-engine.resources.limits.cpu='3'"
LOSING = UpOptions(5.0, allow_data_loss=True)


def claim(identity: ObjectRef, component: str, **metadata: str) -> dict[str, Any]:
    labels = {"app.kubernetes.io/instance": "dev", "app.kubernetes.io/component": component}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": identity.name, "namespace": NAMESPACE, "labels": labels, "uid": identity.name, **metadata},
        "spec": {"resources": {"requests": {"storage": "20Gi"}}, "volumeName": f"pv-{component}"},
        "status": {"phase": "Bound"},
    }


def with_claims(cluster: FakeCluster) -> FakeCluster:
    up(cluster)
    cluster.objects[STORE] = claim(STORE, "vector-engine")
    cluster.objects[WRITER] = claim(WRITER, "lightrag-server")
    for component in ("vector-engine", "lightrag-server"):
        name = f"pv-{component}"
        volume = {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name}, "spec": {}}
        cluster.objects[ObjectRef("v1", "PersistentVolume", "", name)] = {**volume, "status": {"phase": "Bound"}}
    return cluster


@pytest.fixture
def terminating() -> FakeCluster:
    cluster = with_claims(FakeCluster())
    cluster.objects[STORE]["metadata"]["deletionTimestamp"] = SINCE
    return cluster


def runtime(cluster: FakeCluster) -> KubernetesRuntime:
    return KubernetesRuntime(cluster, NAMESPACE, "dev", lock_holder())  # type: ignore[arg-type]


def test_status_and_diff_warn_of_a_claim_that_is_being_deleted(terminating: FakeCluster) -> None:
    text = f"{STORE}: terminating since {SINCE}: its data is deleted when the pod that uses it ends"
    seen = runtime(terminating).status()
    assert seen.ready
    (warning,) = seen.warnings
    assert warning.startswith(text)
    assert f"not kept: {text}" in seen.data
    assert text in preview(scope(terminating), wanted(plan()), OPTIONS).warnings


def test_up_that_ends_its_pod_is_refused_before_anything_is_written(terminating: FakeCluster) -> None:
    assert up(terminating) == ()
    before = dict(terminating.objects)
    with pytest.raises(RefusedError, match=r"StatefulSet/dev-vector-engine ends a pod that uses .*-vector-engine-0"):
        up(terminating, RESTART)
    assert {one for one in terminating.objects if one.kind != "Lease"} == {one for one in before if one.kind != "Lease"}
    assert up(terminating, "components.embedder.replicas=2")
    assert up(terminating, RESTART, options=LOSING)


def test_down_and_rollback_are_refused_and_go_on_with_the_switch(terminating: FakeCluster) -> None:
    up(terminating, "components.embedder.replicas=2")
    with pytest.raises(RefusedError, match="a rollback does not restore data"):
        rollback(terminating)
    with pytest.raises(RefusedError, match="down keeps data, but this data would be lost with the pods"):
        tear_down(scope(terminating), False, 5.0, ignore)
    assert read_inventory(scope(terminating)) is not None
    assert tear_down(scope(terminating), False, 5.0, ignore, True)


def test_a_purge_needs_no_switch(terminating: FakeCluster) -> None:
    del terminating.objects[STORE]["metadata"]["deletionTimestamp"]
    assert tear_down(scope(terminating), True, 5.0, ignore)


def test_a_store_that_is_gone_under_a_writer_that_is_left_is_refused() -> None:
    cluster = with_claims(FakeCluster())
    tear_down(scope(cluster), False, 5.0, ignore)
    del cluster.objects[STORE]
    assert f"not kept: {STORE} is gone" in describe_kept(scope(cluster), read_inventory(scope(cluster)))
    with pytest.raises(RefusedError, match=f"{STORE} is gone; it existed when the release was last applied"):
        up(cluster)
    assert up(cluster, options=LOSING)


def test_where_all_is_gone_nobody_believes_in_it_and_up_only_warns() -> None:
    cluster = with_claims(FakeCluster())
    del cluster.objects[STORE], cluster.objects[WRITER]
    assert [one for one in preview(scope(cluster), wanted(plan()), OPTIONS).warnings if "is gone" in one]
    assert up(cluster) == ()


VOLUME: dict[str, Any] = {"metadata": {"name": "pv"}, "spec": {}, "status": {"phase": "Bound"}}
RETAINED = {**VOLUME, "spec": {"persistentVolumeReclaimPolicy": "Retain"}}
DYING = {**VOLUME, "metadata": {"name": "pv", "deletionTimestamp": SINCE}}


@pytest.mark.parametrize(
    ("metadata", "phase", "volume", "told"),
    [
        ({}, "Bound", VOLUME, ""),
        ({}, "Pending", None, ""),
        ({}, "Lost", VOLUME, "its volume pv is lost"),
        ({}, "Bound", None, "its volume pv is gone"),
        ({}, "Bound", DYING, "its volume pv has been terminating since"),
        ({}, "Bound", {**VOLUME, "status": {"phase": "Failed"}}, "its volume pv is Failed"),
        ({"deletionTimestamp": SINCE}, "Bound", RETAINED, "its volume pv is retained, but unused"),
    ],
)
def test_what_becomes_of_a_claim(metadata: Any, phase: str, volume: Any, told: str) -> None:
    one = claim(STORE, "vector-engine", **metadata)
    one["spec"]["volumeName"], one["status"]["phase"] = "pv", phase
    found = endangered([one], {"pv": volume})
    assert [told in str(risk) for risk in found] == ([True] if told else [])


@pytest.mark.parametrize(
    ("image", "found"),
    [
        ("milvusdb/milvus:v2.3.5", ("milvusdb/milvus", (2, 3, 5))),
        ("registry:5000/etcd:3.6.4-0", ("registry:5000/etcd", (3, 6, 4))),
        ("lightragctl:latest", None),
        ("milvusdb/milvus@sha256:00", None),
    ],
)
def test_a_tag_is_a_version_or_is_not(image: str, found: object) -> None:
    assert version(image) == found


@pytest.mark.parametrize(
    ("tag", "warned", "refused"),
    [
        ("v2.3.0", "v2.3.5 -> v2.3.0 is a downgrade", False),
        ("v2.2.9", "v2.3.5 -> v2.2.9 is a downgrade: the older version may not read", True),
        ("v2.4.1", "v2.3.5 -> v2.4.1 cannot be rolled back by image, only by restoring a backup", False),
        ("v2.5.4", "v2.3.5 -> v2.5.4 is no supported upgrade", True),
        ("v2.3.6", "", False),
    ],
)
def test_a_change_of_milvus_s_version_is_said_and_judged(tag: str, warned: str, refused: bool) -> None:
    cluster = FakeCluster()
    up(cluster)
    change = f"components.vector-engine.image.tag={tag}"
    seen = preview(scope(cluster), wanted(plan(change)), OPTIONS)
    assert [warned in one for one in seen.warnings if "v2.3.5" in one] == ([True] if warned else [])
    if refused:
        with pytest.raises(RefusedError, match="data would be lost"):
            up(cluster, change)
    else:
        up(cluster, change)


def test_an_image_of_another_name_is_not_compared() -> None:
    assert version_changes([]) == ([], [])


@pytest.mark.parametrize(
    "missing", ["delete limitranges", "delete statefulsets.apps", "update leases.coordination.k8s.io"]
)
def test_down_looks_at_rights_before_it_writes(missing: str) -> None:
    cluster = FakeCluster()
    up(cluster)
    cluster.denied, before = {missing}, list(cluster.writes)
    with pytest.raises(ForbiddenError, match=missing):
        tear_down(scope(cluster), False, 5.0, ignore)
    assert cluster.writes == before


@pytest.mark.parametrize("missing", ["delete secrets", "delete persistentvolumeclaims", "delete namespaces"])
def test_a_purge_looks_at_rights_before_it_writes(missing: str) -> None:
    cluster = FakeCluster()
    up(cluster)
    cluster.denied, before = {missing}, list(cluster.writes)
    with pytest.raises(ForbiddenError, match=missing):
        tear_down(scope(cluster), True, 5.0, ignore)
    assert cluster.writes == before


def test_unlock_and_rollback_look_at_rights_first() -> None:
    cluster = FakeCluster()
    up(cluster)
    up(cluster, "components.embedder.replicas=2")
    cluster.denied, before = (
        {"update leases.coordination.k8s.io", "delete poddisruptionbudgets.policy"},
        len(cluster.writes),
    )
    with pytest.raises(ForbiddenError, match="update leases"):
        runtime(cluster).unlock(False)
    with pytest.raises(ForbiddenError, match="delete poddisruptionbudgets"):
        rollback(cluster)
    assert len(cluster.writes) == before


def test_history_shows_down_and_needs_no_right_to_the_lease() -> None:
    cluster = FakeCluster()
    up(cluster)
    tear_down(scope(cluster), False, 5.0, ignore)
    cluster.hidden = {"Lease"}
    (one,) = runtime(cluster).history()
    assert (one.stopped_at, one.stopped_by) == ("2026-01-01T00:00:00Z", "ann@laptop")
