"""The Job of an operation: what it is made of, what it may do, and that starting it twice starts one."""

from dataclasses import replace

import pytest

from lightragctl.checks.lint import RenderedObjects, lint
from lightragctl.components.api import LIGHTRAG_KEY
from lightragctl.core.objects import ref
from lightragctl.core.settings import SecretKey
from lightragctl.kube.scope import Scope
from lightragctl.operations.job import administrator_objects, job_objects, obstacle, start_job, stop_idle_jobs
from lightragctl.operations.kind import Right
from lightragctl.operations.model import JobSpec, Operation, Phase
from tests.fakes.cluster import DiedError, FakeCluster
from tests.fakes.operations import MOVE, move
from tests.fakes.release import NAMESPACE, plan, scope, up

RIGHT = Right("apps", ("deployments/scale",), ("get", "update"), ("dev-api",))
KIND = replace(MOVE, rights=(RIGHT,))


def record(**spec: object) -> Operation:
    return move().changed(job=JobSpec(**spec))  # type: ignore[arg-type]


def objects(
    operation: Operation, *assignments: str, cluster: FakeCluster | None = None
) -> dict[str, dict[str, object]]:
    found = job_objects(scope(cluster or FakeCluster()), operation, "op-x", KIND, plan(*assignments))
    return {one["kind"]: dict(one) for one in found}


def container(job: dict[str, object]) -> dict[str, object]:
    return job["spec"]["template"]["spec"]["containers"][0]  # type: ignore[index]


def test_it_runs_our_image_on_this_operation() -> None:
    made = container(objects(record())["Job"])
    assert made["image"] == "lightragctl:latest"
    assert made["args"] == ["operations", "run", "move-0001", "--in-cluster", "--name", "dev", "-n", NAMESPACE]


def test_it_gets_the_secrets_of_the_services_its_own_and_its_volumes() -> None:
    spec = {"secrets": {"AWS_SECRET_ACCESS_KEY": SecretKey(name="s3", key="secret")}, "claims": {"/data": "dev-files"}}
    job = objects(record(**spec))["Job"]
    variables = {one["name"] for one in container(job)["env"]}  # type: ignore[attr-defined]
    assert {"AWS_SECRET_ACCESS_KEY", LIGHTRAG_KEY} <= variables
    mounts = {one["mountPath"]: one["name"] for one in container(job)["volumeMounts"]}  # type: ignore[attr-defined]
    volumes = {one["name"]: one for one in job["spec"]["template"]["spec"]["volumes"]}  # type: ignore[index]
    assert volumes[mounts["/data"]]["persistentVolumeClaim"] == {"claimName": "dev-files"}


def test_its_pods_keep_the_restricted_pod_security_standard() -> None:
    found = list(objects(record()).values())
    codes = {one.code for one in lint(RenderedObjects(found, NAMESPACE))}
    assert not codes & {"not-restricted", "no-memory-limit"}


def test_it_may_do_what_its_kind_does_and_touch_its_own_record_alone() -> None:
    rules = objects(record())["Role"]["rules"]
    assert rules == [
        {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"], "resourceNames": ["dev-lightragctl"]},
        {
            "apiGroups": [""],
            "resources": ["configmaps"],
            "verbs": ["get", "update"],
            "resourceNames": ["dev-op-move-0001"],
        },
        {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["create"]},
        {
            "apiGroups": ["coordination.k8s.io"],
            "resources": ["leases"],
            "verbs": ["get", "update", "delete"],
            "resourceNames": ["dev-op-move-0001-lightragctl"],
        },
        {
            "apiGroups": ["apps"],
            "resources": ["deployments/scale"],
            "verbs": ["get", "update"],
            "resourceNames": ["dev-api"],
        },
    ]


def test_an_account_of_an_administrator_is_used_as_it_is() -> None:
    made = objects(record(service_account="backup"))
    assert set(made) == {"Job"}
    assert made["Job"]["spec"]["template"]["spec"]["serviceAccountName"] == "backup"  # type: ignore[index]
    printed = administrator_objects(scope(FakeCluster()), KIND, plan())
    assert [one["kind"] for one in printed] == ["ServiceAccount", "Role", "RoleBinding"]
    assert {one["metadata"]["name"] for one in printed} == {"dev-operation-move"}


def test_it_is_let_through_network_policies_where_the_profile_has_some() -> None:
    assert "NetworkPolicy" not in objects(record())
    made = job_objects(scope(FakeCluster()), record(), "op-x", KIND, plan("network={}"))
    policies = [one for one in made if one["kind"] == "NetworkPolicy"]
    assert [one["spec"]["policyTypes"] for one in policies] == [["Ingress", "Egress"], ["Ingress"]]


@pytest.mark.parametrize(
    ("image_id", "image"),
    [
        ("registry.test/lightragctl@sha256:abc", "lightragctl@sha256:abc"),
        ("sha256:abc", "lightragctl:latest"),
        ("registry.test/other@sha256:abc", "lightragctl:latest"),
    ],
)
def test_the_image_is_pinned_by_the_digest_that_the_cluster_pulled(image_id: str, image: str) -> None:
    cluster = FakeCluster()
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p", "namespace": NAMESPACE, "labels": {"app.kubernetes.io/instance": "dev"}},
        "spec": {"containers": [{"name": "api", "image": "lightragctl:latest"}]},
        "status": {"containerStatuses": [{"name": "api", "imageID": image_id}]},
    }
    cluster.create(pod)
    assert container(objects(record(), cluster=cluster)["Job"])["image"] == image


def started(cluster: FakeCluster, by: Scope | None = None) -> None:
    start_job(by or scope(cluster), record(), KIND, plan())


def made_of(cluster: FakeCluster) -> dict[str, dict[str, object]]:
    kinds = ("Job", "ServiceAccount", "Role", "RoleBinding")
    return {str(one.kind): thing for one, thing in cluster.objects.items() if one.kind in kinds and "op-" in one.name}


@pytest.mark.parametrize("after", [False, True])
def test_a_start_that_dies_at_any_write_is_finished_by_the_next(after: bool) -> None:
    whole = FakeCluster()
    started(whole)
    for number in range(1, len(whole.writes) + 1):
        cluster = FakeCluster(number, after)
        with pytest.raises(DiedError):
            started(cluster)
        cluster.revive()
        started(cluster)
        made = made_of(cluster)
        assert set(made) == {"Job", "ServiceAccount", "Role", "RoleBinding"}
        assert made["Job"]["spec"]["suspend"] is False  # type: ignore[index]
        job = made["Job"]["metadata"]
        owners = [one["metadata"]["ownerReferences"][0]["uid"] for kind, one in made.items() if kind != "Job"]  # type: ignore[index]
        assert owners == [job["uid"]] * 3  # type: ignore[index]
    before = len(cluster.writes)
    started(cluster)
    assert len(cluster.writes) == before


def test_a_job_that_has_ended_is_followed_by_another() -> None:
    cluster = FakeCluster()
    started(cluster)
    (first,) = [one for one in cluster.objects if one.kind == "Job"]
    cluster.objects[first]["status"] = {"conditions": [{"type": "Complete", "status": "True"}]}
    started(cluster)
    (second,) = [one for one in cluster.objects if one.kind == "Job"]
    assert second != first


def test_a_job_without_anything_to_drive_is_deleted_by_whoever_comes_by() -> None:
    cluster = FakeCluster()
    started(cluster)
    stop_idle_jobs(scope(cluster), [record()])
    assert "Job" in made_of(cluster)
    stop_idle_jobs(scope(cluster), [record().changed(phase=Phase.PAUSED)])
    assert "Job" not in made_of(cluster)


def test_what_keeps_a_pod_from_starting_is_told() -> None:
    cluster = FakeCluster()
    assert obstacle(scope(cluster), record()) == "operation move-0001 has no Job"
    started(cluster)
    assert obstacle(scope(cluster), record()) == ""
    waiting = {"reason": "ErrImagePull", "message": "not found"}
    labels = {"lightragctl/operation": "move-0001"}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p", "namespace": NAMESPACE, "labels": labels},
        "status": {"phase": "Pending", "containerStatuses": [{"state": {"waiting": waiting}}]},
    }
    cluster.create(pod)
    assert obstacle(scope(cluster), record()) == "Pod/p: ErrImagePull: not found"

    log = "starting\nerror: this command needs the package hdrh\nhint: pip install x"
    ended = {"state": {"terminated": {"exitCode": 1, "message": log}}}
    status = {"phase": "Failed", "containerStatuses": [ended]}
    cluster.create({**pod, "metadata": {**pod["metadata"], "name": "crashed"}, "status": status})
    told = "Pod/crashed failed with exit status 1: error: this command needs the package hdrh"
    assert obstacle(scope(cluster), record()) == told
    running = {**pod, "metadata": {**pod["metadata"], "name": "next"}, "status": {"phase": "Running"}}
    cluster.create(running)
    assert "crashed" not in obstacle(scope(cluster), record())


def test_nothing_of_a_job_is_taken_for_the_release() -> None:
    cluster = FakeCluster()
    up(cluster)
    started(cluster)
    assert not [one for one in scope(cluster).select("v1", "ServiceAccount") if ref(one).name.startswith("op-")]
