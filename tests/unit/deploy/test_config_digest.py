"""Pods are started again when what they read has changed: settings and keys, also when it was taken back."""

from typing import Any

import pytest

from lightragctl.core.objects import KubernetesObject, ObjectRef, ref
from lightragctl.core.runtime import UpOptions
from lightragctl.deploy.config_digest import ConfigContent, digest, with_config_digest
from lightragctl.deploy.runtime import KubernetesRuntime
from lightragctl.kube.labels import CONTENT
from lightragctl.observe.pod_config import config_references, stale_pods
from tests.fakes.cluster import FakeCluster
from tests.fakes.release import KEYS, NAMESPACE, lock_holder, up

API = ObjectRef("apps/v1", "Deployment", NAMESPACE, "dev-lightrag-api")
SERVER = ObjectRef("apps/v1", "StatefulSet", NAMESPACE, "dev-lightrag-server")
EMBEDDER = ObjectRef("apps/v1", "Deployment", NAMESPACE, "dev-embedder")
SERVER_KEYS = ObjectRef("v1", "Secret", NAMESPACE, "dev-lightrag-server-keys")
SETTINGS = ObjectRef("v1", "ConfigMap", NAMESPACE, "dev-lightrag-api-settings")


def content_of(cluster: FakeCluster, workload: ObjectRef) -> str:
    return str(cluster.objects[workload]["spec"]["template"]["metadata"]["annotations"][CONTENT])


@pytest.mark.parametrize(("lost", "readers"), [(KEYS, {API}), (SERVER_KEYS, {API, SERVER})])
def test_a_generated_key_that_was_lost_rolls_those_that_read_it(lost: ObjectRef, readers: set[ObjectRef]) -> None:
    cluster = FakeCluster()
    up(cluster)
    before = {one: content_of(cluster, one) for one in (API, SERVER, EMBEDDER)}
    assert up(cluster) == ()
    del cluster.objects[lost]
    cluster.owned = {key: paths for key, paths in cluster.owned.items() if key[0] != lost}
    seen = KubernetesRuntime(cluster, NAMESPACE, "dev", lock_holder()).status()  # type: ignore[arg-type]
    assert [one for one in seen.warnings if one.startswith(f"{lost}: deleted; read by")]
    up(cluster)
    assert {one for one, content in before.items() if content_of(cluster, one) != content} == readers
    assert up(cluster) == ()


def test_the_key_is_the_one_that_the_pods_are_started_with() -> None:
    cluster = FakeCluster()
    up(cluster)
    read = [cluster.objects[one] for one in sorted(config_references(cluster.objects[API]))]
    assert content_of(cluster, API) == digest(read)


def test_settings_that_were_edited_and_are_taken_back_roll_their_pods_once() -> None:
    cluster = FakeCluster()
    up(cluster)
    first = content_of(cluster, API)
    labels = dict(cluster.objects[API]["spec"]["selector"]["matchLabels"])
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "api", "namespace": NAMESPACE, "labels": labels}}
    cluster.objects[ref(pod)] = {**pod, "spec": {"containers": []}}
    cluster.edit(SETTINGS, "kubectl-edit", ("data", "settings.json"), "{}")
    up(cluster, options=UpOptions(5.0, force_conflicts=True))
    assert content_of(cluster, API) == f"{first}.1"
    assert up(cluster) == ()


def thing(kind: str, name: str, text: str, written: str = "", created: str = "10:00") -> dict[str, Any]:
    fields = {"f:data": {"f:a": {}}}
    entry = {"manager": "kubectl", "operation": "Update", "time": written or created, "fieldsV1": fields}
    metadata = {"name": name, "namespace": "n", "creationTimestamp": created, "managedFields": [entry]}
    return {"apiVersion": "v1", "kind": kind, "metadata": metadata, "data": {"a": text}}


def pod(created: str, started: str) -> dict[str, Any]:
    statuses = [{"state": {"running": {"startedAt": started}}}]
    labels = {"app": "one"}
    return {
        "metadata": {"name": "p", "creationTimestamp": created, "labels": labels},
        "status": {"containerStatuses": statuses},
    }


@pytest.mark.parametrize(
    ("written", "made", "started", "is_old"),
    [
        ("", "09:00", "09:00", False),  # it was made after the pod, and so is not what the pod has read otherwise
        ("11:00", "10:30", "10:31", True),
        ("11:00", "10:30", "11:30", False),  # the container was started again
        ("11:00", "11:00", "10:58", False),  # the clock of its node is behind
    ],
)
def test_a_pod_is_older_than_what_it_reads(written: str, made: str, started: str, is_old: bool) -> None:
    assert bool(stale_pods([pod(made, started)], [thing("ConfigMap", "c", "x", written)])) == is_old


ENV = {"name": "K", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}
WORKLOAD: dict[str, Any] = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "w", "namespace": "n"},
    "spec": {
        "selector": {"matchLabels": {"app": "one"}},
        "template": {
            "spec": {
                "containers": [{"name": "c", "env": [ENV], "envFrom": [{"configMapRef": {"name": "e"}}]}],
                "volumes": [
                    {"name": "v", "configMap": {"name": "c"}},
                    {"name": "p", "projected": {"sources": [{"secret": {"name": "t"}}]}},
                ],
            }
        },
    },
}


def test_every_way_to_read_is_known() -> None:
    found = {f"{one.kind}/{one.name}" for one in config_references(WORKLOAD)}
    assert found == {"Secret/s", "ConfigMap/e", "ConfigMap/c", "Secret/t"}


def read_by(text: str = "x", written: str = "") -> dict[ObjectRef, KubernetesObject]:
    names = {one: thing(one.kind, one.name, "x") for one in config_references(WORKLOAD)}
    changed = thing("ConfigMap", "c", text, written)
    return {**names, ref(changed): changed}


def test_content_written_after_a_pod_s_start_rolls_it_once() -> None:
    there = read_by()
    live, _ = with_config_digest(WORKLOAD, None, ConfigContent(there, {}), [])
    again, _ = with_config_digest(WORKLOAD, live, ConfigContent(there, there), [pod("10:30", "10:30")])
    assert again == live
    rewritten = read_by(written="11:00")
    rolled, reason = with_config_digest(WORKLOAD, live, ConfigContent(rewritten, rewritten), [pod("10:30", "10:30")])
    assert rolled != live
    assert reason == "Pod/p started before ConfigMap/c was last modified"
    settled, _ = with_config_digest(WORKLOAD, rolled, ConfigContent(rewritten, rewritten), [pod("11:30", "11:30")])
    assert settled == rolled


def test_what_may_not_be_read_changes_nothing() -> None:
    live, _ = with_config_digest(WORKLOAD, None, ConfigContent(read_by(), {}), [])
    assert with_config_digest(WORKLOAD, live, ConfigContent({}, {}), []) == (live, "")
    assert with_config_digest(WORKLOAD, None, ConfigContent({}, {}), []) == (WORKLOAD, "")
