"""The life of a release on a cluster: revisions and the way back, others who change it, objects that were there."""

import json
import re
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
import yaml

from tests.cluster.fixture import ReadyCluster
from tests.e2e.cluster_stories import SMALL, ClusterRelease, end_of, has_said, release_on

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

LITTLE = (
    *SMALL,
    *("--set", "components.vector-engine.enabled=false"),
    *("--set", "components.lightrag-api.enabled=false"),
    *("--set", "components.lightrag-server.enabled=false"),
    *("--set", "quota=null"),
)
"""Two models and their gateway: what happens to a release happens to these in seconds."""
BAD = ("--set", "image.tag=does-not-exist")
TWO = ("--set", "components.mock-llm.replicas=2")
IMAGE = "spec.template.spec.containers[name=mock-llm].image"


@pytest.fixture(scope="module")
def release(cluster: ReadyCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterRelease]:
    """The release of these stories, up."""
    with release_on(cluster, tmp_path_factory.mktemp("life"), "life", *LITTLE) as release:
        ok(release.up())
        yield release


def ok(done: CompletedProcess[str]) -> CompletedProcess[str]:
    """A command that must end well."""
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def kubectl(release: ClusterRelease, *words: str) -> str:
    return release.cluster.kubectl("-n", release.name, *words)


def images(release: ClusterRelease) -> set[str]:
    pods = release.objects("deployments").values()
    return {one["spec"]["template"]["spec"]["containers"][0]["image"] for one in pods}


def mock_pods(release: ClusterRelease) -> set[str]:
    """The pods of mock-llm that are not ending."""
    pods = {name: one for name, one in release.objects("pods").items() if "mock-llm" in name}
    return {name for name, one in pods.items() if "deletionTimestamp" not in one["metadata"]}


def revisions(release: ClusterRelease) -> list[dict[str, Any]]:
    return list(json.loads(ok(release.run("history", "-o", "json")).stdout)["revisions"])


def test_each_change_is_a_revision_and_rollback_undoes_the_last(release: ClusterRelease) -> None:
    ok(release.up(*TWO))
    ok(release.up(*TWO))
    assert [(one["number"], one["outcome"]) for one in revisions(release)] == [(2, "applied"), (1, "superseded")]
    foreseen = json.loads(ok(release.run("rollback", "--dry-run", "-o", "json")).stdout)
    changes = [(one["subject"], one["action"]) for one in foreseen["changes"] if one["action"] != "unchanged"]
    assert changes == [("Deployment/life-mock-llm", "configured"), ("PodDisruptionBudget/life-mock-llm", "deleted")]
    done = ok(release.run("rollback", "--yes", "--events", "jsonl"))
    events = [json.loads(line) for line in done.stderr.splitlines()]
    assert {one["schema"] for one in events} == {"lightragctl/event/v1"}
    assert {"plan", "revision", "object", "ready", "end"} <= {one["type"] for one in events}
    assert events[-1]["data"]["exit_status"] == 0
    assert release.components()["mock-llm"]["replicas"] == "1/1"
    assert revisions(release)[0]["description"] == "rollback to 1: 1 configured, 1 deleted"
    assert "life-mock-llm" in ok(release.run("history", "2")).stdout


def test_a_second_operator_is_told_who_is_at_work_and_a_bad_revision_is_rolled_back(release: ClusterRelease) -> None:
    good = images(release)
    with release.at_work("up", "--yes", *BAD, within_s=180) as first:
        assert has_said(first, lambda line: "configured" in line and "Deployment" in line), "the first one ended early"
        second = release.up()
        assert second.returncode == 6, second.stderr
        assert re.search(r"the lock of release 'life' is held by \S+ \(pid \d+, up\) since", second.stderr), (
            second.stderr
        )
        assert "lightragctl unlock" in second.stderr
        ended = end_of(first)
    assert "does-not-exist" in ended.stderr
    assert ended.returncode == 1
    bad = revisions(release)[0]
    assert bad["outcome"] == "failed"
    assert "does-not-exist" in bad["cause"]
    ok(release.run("rollback", "--yes"))
    assert images(release) == good
    assert {part["state"] for part in release.components().values()} == {"ready"}
    assert revisions(release)[0]["description"].startswith(f"rollback to {bad['number'] - 1}")


def test_what_others_change_is_told_and_taken_over_only_when_asked(release: ClusterRelease) -> None:
    (good,) = images(release)
    kubectl(release, "set", "image", "deployment/life-mock-llm", "mock-llm=lightragctl:edited")
    kubectl(release, "scale", "deployment/life-embedder", "--replicas=2")
    seen = json.loads(release.run("status", "-o", "json").stdout)["drift"]
    by_path = {one["path"]: one for one in seen}
    assert set(by_path) == {IMAGE, "spec.replicas"}
    assert by_path[IMAGE]["manager"] == "kubectl-set"
    assert (by_path[IMAGE]["ours"], by_path[IMAGE]["theirs"]) == (good, "lightragctl:edited")
    assert by_path[IMAGE]["time"]
    stopped = release.up()
    assert stopped.returncode == 6, stopped.stderr
    assert f"Deployment/life-mock-llm {IMAGE}: desired {good}, live lightragctl:edited" in stopped.stderr
    taken = ok(release.up("--force-conflicts"))
    assert f"taken over: {IMAGE} of kubectl-set" in taken.stderr
    assert images(release) == {good}
    assert json.loads(ok(release.run("status", "-o", "json")).stdout)["drift"] == []


def test_the_number_of_replicas_is_left_to_whoever_scales(release: ClusterRelease) -> None:
    kubectl(release, "scale", "deployment/life-embedder", "--replicas=2")
    assert "\nunchanged\n" in ok(release.up()).stdout + "\n"
    assert release.objects("deployments")["Deployment/life-embedder"]["spec"]["replicas"] == 2
    ok(release.up("--force-conflicts"))
    assert release.objects("deployments")["Deployment/life-embedder"]["spec"]["replicas"] == 1


def test_what_is_scaled_to_zero_by_hand_is_not_ready_and_up_brings_it_back(release: ClusterRelease) -> None:
    kubectl(release, "scale", "deployment/life-embedder", "--replicas=0")
    seen = release.run("status", "-o", "json")
    assert seen.returncode == 3
    (part,) = [one for one in json.loads(seen.stdout)["components"] if one["name"] == "embedder"]
    assert part["message"].startswith("scaled to 0 by kubectl")
    assert [one["path"] for one in json.loads(seen.stdout)["drift"]] == ["spec.replicas"]
    ok(release.up())
    assert release.components()["embedder"]["replicas"] == "1/1"


def test_settings_that_were_edited_and_are_taken_back_reach_the_pods(release: ClusterRelease) -> None:
    settings = json.loads(kubectl(release, "get", "configmap", "life-mock-llm-settings", "-o", "json"))
    edited = settings["data"]["settings.json"].replace('"piece_ms": 0.0', '"piece_ms": 1.0')
    assert edited != settings["data"]["settings.json"]
    patch = json.dumps({"data": {"settings.json": edited}})
    kubectl(release, "patch", "configmap", "life-mock-llm-settings", "--type", "merge", "-p", patch)
    kubectl(release, "delete", "pod", "-l", "app.kubernetes.io/component=mock-llm")
    before = mock_pods(release)
    done = ok(release.up("--force-conflicts"))
    assert '\n-     "piece_ms": 1.0,\n' in done.stderr
    assert mock_pods(release).isdisjoint(before)
    assert "\nunchanged\n" in ok(release.up()).stdout + "\n"


def test_an_object_made_by_hand_is_adopted_only_when_asked_and_one_of_helm_never(release: ClusterRelease) -> None:
    without = ("--set", "components.mock-llm.enabled=false", "--set", "models.chat.url=http://192.0.2.9")
    ok(release.up(*without))
    assert "Service/life-mock-llm" not in release.objects("services,deployments")
    kubectl(release, "create", "service", "clusterip", "life-mock-llm", "--tcp=8082:8082")
    stopped = release.up()
    assert stopped.returncode == 8, stopped.stderr
    assert "Service/life-mock-llm was created by kubectl-create" in stopped.stderr
    kubectl(release, "annotate", "service", "life-mock-llm", "meta.helm.sh/release-name=old")
    refused = release.up("--adopt")
    assert refused.returncode == 8, refused.stderr
    assert "Service/life-mock-llm belongs to helm release 'old'" in refused.stderr
    kubectl(release, "annotate", "service", "life-mock-llm", "meta.helm.sh/release-name-")
    ok(release.up("--adopt"))
    labels = release.objects("services")["Service/life-mock-llm"]["metadata"]["labels"]
    assert labels["app.kubernetes.io/instance"] == "life"
    assert labels["applyset.kubernetes.io/part-of"].startswith("applyset-")


CLASS = """
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {name: life-other}
provisioner: example.com/none
"""
STORED = ("--set", "components.vector-engine.enabled=true")


@pytest.mark.drill
def test_a_stateful_set_that_is_stuck_on_a_bad_image_is_freed_and_one_is_remade_around_its_pod(
    release: ClusterRelease,
) -> None:
    ok(release.up(*STORED))
    bad = release.up(*STORED, "--set", "components.vector-engine.image.tag=v9.9.9")
    assert bad.returncode == 1, bad.stderr
    back = ok(release.run("rollback", "--yes"))
    assert "Pod/life-vector-engine-0: deleted: stuck" in back.stderr
    pod = release.objects("pods")["Pod/life-vector-engine-0"]["metadata"]["uid"]
    claims = {name: one["metadata"]["uid"] for name, one in release.objects("persistentvolumeclaims").items()}
    release.cluster.kubectl("apply", "-f", "-", stdin=CLASS)
    other = (*STORED, "--set", "components.vector-engine.storage_class=life-other")
    unasked = release.run("up", *other)
    assert unasked.returncode == 2, unasked.stderr
    assert "orphan-deleted and recreated" in unasked.stderr
    ok(release.up(*other))
    assert release.objects("pods")["Pod/life-vector-engine-0"]["metadata"]["uid"] == pod
    left = {name: one["metadata"]["uid"] for name, one in release.objects("persistentvolumeclaims").items()}
    assert left == claims
    release.cluster.kubectl("delete", "storageclass", "life-other")
    ok(release.up("--prune-data"))
    assert not [
        one for one in release.objects("persistentvolumeclaims").values() if "deletionTimestamp" not in one["metadata"]
    ]


AUTOSCALER = """
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: embedder, namespace: life}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: life-embedder}
  minReplicas: 2
  maxReplicas: 3
"""


@pytest.mark.drill
def test_an_autoscaler_keeps_the_replicas_even_when_conflicts_are_forced(release: ClusterRelease) -> None:
    release.cluster.kubectl("apply", "-f", "-", stdin=AUTOSCALER)
    deadline = time.monotonic() + 120
    while release.objects("deployments")["Deployment/life-embedder"]["spec"]["replicas"] != 2:
        assert time.monotonic() < deadline, "the autoscaler does nothing"
        time.sleep(2)
    ok(release.up("--force-conflicts"))
    assert release.objects("deployments")["Deployment/life-embedder"]["spec"]["replicas"] == 2
    kubectl(release, "delete", "hpa", "embedder")


@pytest.mark.drill
def test_a_profile_goes_to_an_autoscaler_and_back(release: ClusterRelease) -> None:
    def pods() -> int:
        return int(release.objects("deployments")["Deployment/life-embedder"]["spec"]["replicas"])

    scaled = ("components.embedder.replicas=null", "components.embedder.autoscale={min: 2, max: 3}")
    ok(release.up(*(word for value in scaled for word in ("--set", value))))
    deadline = time.monotonic() + 120
    while pods() != 2:
        assert time.monotonic() < deadline, "the autoscaler does nothing"
        time.sleep(2)
    ok(release.up())
    assert pods() == 1
    assert not kubectl(release, "get", "hpa", "-o", "name")
    ok(release.run("rollback", "--yes"))
    assert kubectl(release, "get", "hpa", "-o", "name")
    ok(release.run("rollback", "--yes"))
    assert pods() == 1


VIEWER = """
apiVersion: v1
kind: ServiceAccount
metadata: {name: viewer, namespace: life}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: viewer, namespace: life}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: view}
subjects: [{kind: ServiceAccount, name: viewer, namespace: life}]
"""


@pytest.mark.drill
def test_who_may_only_look_gets_a_status(release: ClusterRelease, tmp_path: Path) -> None:
    release.cluster.kubectl("apply", "-f", "-", stdin=VIEWER)
    token = kubectl(release, "create", "token", "viewer").strip()
    config = yaml.safe_load(release.cluster.kubeconfig.read_text(encoding="utf-8"))
    for user in config["users"]:
        user["user"] = {"token": token}
    looking = tmp_path / "viewer.yaml"
    looking.write_text(yaml.safe_dump(config), encoding="utf-8")
    viewer = replace(release, tool=replace(release.tool, variables={"KUBECONFIG": str(looking)}))
    ok(viewer.run("status"))
    for kind in ("rolebinding", "serviceaccount"):
        kubectl(release, "delete", kind, "viewer")


@pytest.mark.drill
def test_without_its_record_a_release_is_known_by_its_labels(release: ClusterRelease) -> None:
    """Last of the stories: it takes the release down."""
    kubectl(release, "delete", "configmap", "life-lightragctl")
    ok(release.up())
    kubectl(release, "delete", "configmap", "life-lightragctl")
    ok(release.run("down", "--purge", "--yes"))
    assert not release.cluster.kubectl("get", "namespace", "life", "--ignore-not-found")
