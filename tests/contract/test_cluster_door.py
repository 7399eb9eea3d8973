"""What the deploy engine relies on in a cluster: one suite, held against the fake and a real API server."""

import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from lightragctl.core.errors import LockedError
from lightragctl.core.objects import ObjectRef, ref
from lightragctl.deploy.conditional import apply_over, delete_seen, pinned
from lightragctl.kube.client import connect
from lightragctl.kube.guarded import GuardedCluster
from lightragctl.kube.lease import ReleaseLock, lease_ref
from lightragctl.kube.managed_fields import owners, show
from lightragctl.kube.model import (
    FIELD_MANAGER,
    ChangedMeanwhileError,
    Cluster,
    FieldConflictError,
    ImmutableFieldError,
    InvalidObjectError,
    KindNotServedError,
    ResourceAttributes,
)
from tests.fakes.cluster import FakeCluster
from tests.fakes.release import ignore, lock_holder

NAME = "door"


@pytest.fixture(params=["fake", "guarded", pytest.param("real", marks=pytest.mark.cluster)])
def subject(request: pytest.FixtureRequest) -> Iterator[tuple[Cluster, str]]:
    """Each cluster in turn, with a namespace of the test's own."""
    namespace = f"door-{uuid.uuid4().hex[:8]}"
    door: Cluster = FakeCluster()
    if request.param == "guarded":
        door = GuardedCluster(door, lambda: None)
    if request.param == "real":
        door = connect(request.getfixturevalue("cluster").kubeconfig, None)
    made = door.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
    yield door, namespace
    door.delete(ref(made), made["metadata"]["uid"])


def config(namespace: str, **data: str) -> dict[str, Any]:
    metadata = {"name": NAME, "namespace": namespace, "labels": {"app.kubernetes.io/instance": "one"}}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def test_what_is_applied_is_read_back(subject: tuple[Cluster, str]) -> None:
    door, namespace = subject
    door.apply(config(namespace, a="1", b="值"))
    there = door.get(ref(config(namespace)))
    assert there is not None
    assert there["data"] == {"a": "1", "b": "值"}


def test_applying_the_same_again_changes_no_version(subject: tuple[Cluster, str]) -> None:
    door, namespace = subject
    first = door.apply(config(namespace, a="1"))
    second = door.apply(config(namespace, a="1"))
    assert first["metadata"]["resourceVersion"] == second["metadata"]["resourceVersion"]


def test_a_dry_run_tells_the_result_and_writes_nothing(subject: tuple[Cluster, str]) -> None:
    door, namespace = subject
    predicted = door.apply(config(namespace, a="1"), dry_run=True)
    assert predicted["data"] == {"a": "1"}
    assert not predicted["metadata"].get("resourceVersion")
    assert door.get(ref(config(namespace))) is None
    door.apply(config(namespace, a="1"))
    assert door.apply(config(namespace, a="2"), dry_run=True)["data"] == {"a": "2"}
    assert (door.get(ref(config(namespace))) or {})["data"] == {"a": "1"}


def test_what_is_no_longer_applied_goes_and_what_others_wrote_stays(subject: tuple[Cluster, str]) -> None:
    door, namespace = subject
    door.apply(config(namespace, ours="1", gone="1"))
    door.apply(config(namespace, theirs="2"), manager="somebody")
    assert door.apply(config(namespace, ours="1"))["data"] == {"ours": "1", "theirs": "2"}


def test_a_field_of_another_manager_is_a_conflict_unless_forced(subject: tuple[Cluster, str]) -> None:
    door, namespace = subject
    door.apply(config(namespace, a="1"), manager="somebody")
    with pytest.raises(FieldConflictError) as caught:
        door.apply(config(namespace, a="2"))
    (path, manager), *rest = caught.value.fields
    assert path.strip(".") == "data.a"
    assert manager == "somebody"
    assert not rest
    assert door.apply(config(namespace, a="2"), force=True)["data"] == {"a": "2"}


def test_who_has_changed_a_field_stands_in_the_object(subject: tuple[Cluster, str]) -> None:
    door, namespace = subject
    door.apply(config(namespace, a="1", b="1"))
    door.apply(config(namespace, a="2"), manager="somebody", force=True)
    there = door.get(ref(config(namespace)))
    assert there is not None
    held = {one.manager: {show(path) for path in one.paths} for one in owners(there)}
    assert "data.a" in held["somebody"]
    assert "data.a" not in held[FIELD_MANAGER]
    assert "data.b" in held[FIELD_MANAGER]


def stateful_set(namespace: str, policy: str) -> dict[str, Any]:
    labels = {"app.kubernetes.io/instance": "one"}
    container = {"name": "c", "image": "never-pulled:none"}
    spec = {
        "serviceName": NAME,
        "replicas": 0,
        "podManagementPolicy": policy,
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
    }
    metadata = {"name": NAME, "namespace": namespace}
    return {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": metadata, "spec": spec}


def test_a_field_that_cannot_change_is_told_apart_and_an_orphaning_deletion_makes_room(
    subject: tuple[Cluster, str],
) -> None:
    door, namespace = subject
    made = door.apply(stateful_set(namespace, "OrderedReady"))
    with pytest.raises(ImmutableFieldError):
        door.apply(stateful_set(namespace, "Parallel"), dry_run=True)
    assert door.delete(ref(made), made["metadata"]["uid"], orphan=True)
    deadline = time.monotonic() + 20
    while door.get(ref(made)) is not None:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert door.apply(stateful_set(namespace, "Parallel"))["spec"]["podManagementPolicy"] == "Parallel"


def claim(namespace: str, size: str, storage_class: str = "none-such") -> dict[str, Any]:
    spec = {"accessModes": ["ReadWriteOnce"], "storageClassName": storage_class}
    metadata = {"name": NAME, "namespace": namespace}
    requests = {"resources": {"requests": {"storage": size}}}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": {**spec, **requests}}


def test_a_volume_claim_neither_changes_nor_shrinks(subject: tuple[Cluster, str]) -> None:
    door, namespace = subject
    door.apply(claim(namespace, "2Gi"))
    for other in (claim(namespace, "1Gi"), claim(namespace, "2Gi", "another")):
        with pytest.raises(ImmutableFieldError):
            door.apply(other, dry_run=True)


def test_a_priority_class_keeps_its_value(subject: tuple[Cluster, str]) -> None:
    door, namespace = subject
    metadata = {"name": namespace}
    thing = {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": metadata, "value": 1}
    made = door.apply(thing)
    with pytest.raises(ImmutableFieldError):
        door.apply({**thing, "value": 2}, dry_run=True)
    assert door.delete(ref(made), made["metadata"]["uid"])


def test_a_lease_is_handed_over(subject: tuple[Cluster, str]) -> None:
    door, namespace = subject
    identity = lease_ref("one", namespace)
    with (
        ReleaseLock(door, identity, lock_holder(), "upgrade", ignore) as terminal,
        ReleaseLock(door, identity, lock_holder("job@node", machine="node"), "upgrade", ignore) as job,
    ):
        terminal.take()
        fence = terminal.hand_over("Job/upgrade")
        with pytest.raises(LockedError):
            terminal.check()
        job.take_over("Job/upgrade")
        job.check()
        assert job.fence > fence


def test_a_lease_goes_from_hand_to_hand(subject: tuple[Cluster, str]) -> None:
    door, namespace = subject
    identity = lease_ref("one", namespace)
    for fence in (1, 2):
        with ReleaseLock(door, identity, lock_holder(), "up", ignore) as lock:
            lock.take()
            lock.renew()
            lock.check()
            assert lock.fence == fence
            with pytest.raises(LockedError):
                ReleaseLock(door, identity, lock_holder(alive=lambda pid: True), "up", ignore).take()
    with ReleaseLock(door, identity, lock_holder(), "down", ignore) as lock:
        lock.take()
        lock.forget()
    assert door.get(identity) is None


def test_an_unknown_field_is_refused(subject: tuple[Cluster, str]) -> None:
    door, namespace = subject
    with pytest.raises(InvalidObjectError):
        door.apply({**config(namespace), "daat": {"a": "1"}})


def test_an_unknown_kind_is_named(subject: tuple[Cluster, str]) -> None:
    door, namespace = subject
    assert door.resource("example.com/v1", "Gadget") is None
    with pytest.raises(KindNotServedError, match="Gadget"):
        door.get(ObjectRef("example.com/v1", "Gadget", namespace, "a"))


def test_objects_are_selected_by_labels(subject: tuple[Cluster, str]) -> None:
    door, namespace = subject
    door.apply(config(namespace, a="1"))
    assert [
        one["metadata"]["name"] for one in door.select("v1", "ConfigMap", namespace, "app.kubernetes.io/instance=one")
    ] == [NAME]
    assert door.select("v1", "ConfigMap", namespace, "app.kubernetes.io/instance=two") == []


def test_a_write_over_an_older_version_is_refused(subject: tuple[Cluster, str]) -> None:
    door, namespace = subject
    made = door.create(config(namespace, a="1"))
    with pytest.raises(ChangedMeanwhileError):
        door.create(config(namespace, a="1"))
    newer = door.replace({**made, "data": {"a": "2"}})
    with pytest.raises(ChangedMeanwhileError):
        door.replace({**made, "data": {"a": "3"}})
    assert newer["data"] == {"a": "2"}


def over(namespace: str, seen: dict[str, Any], **data: str) -> dict[str, Any]:
    """The object, to be applied to exactly what was seen."""
    return pinned(config(namespace, **data), seen)


def test_an_apply_is_over_one_version(subject: tuple[Cluster, str]) -> None:
    door, namespace = subject
    first = door.apply(config(namespace, a="1"))
    second = door.apply(over(namespace, first, a="2"))
    for options in ({}, {"force": True}, {"dry_run": True}):
        for data in ("1", "2", "3"):  # what would change nothing is refused like the rest
            with pytest.raises(ChangedMeanwhileError):
                door.apply(over(namespace, first, a=data), **options)
    assert (door.get(ref(first)) or {})["data"] == {"a": "2"}
    assert (
        door.apply(over(namespace, second, a="2"))["metadata"]["resourceVersion"]
        == second["metadata"]["resourceVersion"]
    )


def test_what_must_be_absent_is_made_once(subject: tuple[Cluster, str]) -> None:
    door, namespace = subject
    made = door.apply(pinned(config(namespace, a="1"), None))
    assert made["data"] == {"a": "1"}
    for data in ("1", "2"):
        with pytest.raises(ChangedMeanwhileError):
            door.apply(pinned(config(namespace, a=data), None))
    held = {(one.manager, one.operation) for one in owners(made)}
    assert held == {(FIELD_MANAGER, "Apply")}


def test_what_is_gone_or_made_anew_is_not_applied_to(subject: tuple[Cluster, str]) -> None:
    door, namespace = subject
    gone = door.apply(config(namespace, a="1"))
    assert door.delete(ref(gone), gone["metadata"]["uid"])
    with pytest.raises(ChangedMeanwhileError):
        door.apply(over(namespace, gone, a="1"))
    assert door.get(ref(gone)) is None
    door.apply(config(namespace, a="2"))
    with pytest.raises(ChangedMeanwhileError):
        door.apply(over(namespace, gone, a="1"))


def test_a_field_of_another_is_told_before_the_version(subject: tuple[Cluster, str]) -> None:
    door, namespace = subject
    first = door.apply(config(namespace, a="1"))
    door.apply(config(namespace, a="2"), manager="somebody", force=True)
    with pytest.raises(FieldConflictError):
        door.apply(over(namespace, first, a="3"))


def test_a_status_that_moves_is_no_other_object(subject: tuple[Cluster, str]) -> None:
    door, namespace = subject
    made = door.apply(stateful_set(namespace, "OrderedReady"))
    thing = stateful_set(namespace, "OrderedReady")
    thing["spec"]["replicas"] = 1
    assert apply_over(door, thing, made)["spec"]["replicas"] == 1  # its controller may have written meanwhile
    now = door.get(ref(made))
    assert now is not None
    assert delete_seen(door, now)


def test_a_deletion_is_of_one_version(subject: tuple[Cluster, str]) -> None:
    door, namespace = subject
    first = door.apply(config(namespace, a="1"))
    second = door.apply(config(namespace, a="2"))
    uid, old, new = first["metadata"]["uid"], *(one["metadata"]["resourceVersion"] for one in (first, second))
    with pytest.raises(ChangedMeanwhileError):
        door.delete(ref(first), uid, version=old)
    assert door.delete(ref(first), uid, version=new)
    assert not door.delete(ref(first), uid, version=new)


def test_a_deletion_is_of_one_uid(subject: tuple[Cluster, str]) -> None:
    door, namespace = subject
    made = door.apply(config(namespace, a="1"))
    assert not door.delete(ref(made), "00000000-0000-0000-0000-000000000000")
    assert door.get(ref(made)) is not None
    assert door.delete(ref(made), made["metadata"]["uid"])
    assert not door.delete(ref(made), made["metadata"]["uid"])


def test_what_may_be_done_is_told(subject: tuple[Cluster, str]) -> None:
    door, namespace = subject
    assert door.allowed(ResourceAttributes("patch", "apps", "deployments", namespace))
