"""Stories of `diagnose` on profile `staging`: what Milvus stands on breaks, and comes first."""

import base64
import json
import os
import signal
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.cluster.fixture import ReadyCluster
from tests.e2e.cluster_ill import Ill, check, quick, until_well
from tests.e2e.cluster_stories import ClusterRelease
from tests.e2e.staging_release import NAME, STORES, staging_on

pytestmark = [pytest.mark.cluster, pytest.mark.drill, pytest.mark.timeout(1500)]

RUNS = 50


@pytest.fixture(scope="module")
def base(cluster: ReadyCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ill]:
    with staging_on(cluster, tmp_path_factory.mktemp("staging"), "standalone-ha") as made:
        options = ("--profile", "staging", "--values", "small.yaml", "--values", "shape.yaml")
        ill = Ill(quick(ClusterRelease(made.tool, cluster, NAME, options)))
        ill.fill()
        yield ill


@pytest.fixture
def ill(base: Ill) -> Iterator[Ill]:
    """The release, which is whole again afterwards."""
    base.undo = ExitStack()
    yield base
    base.undo.close()
    left = until_well(base)
    assert not left, left


def etcd(ill: Ill, path: str, member: int = 0, **body: Any) -> dict[str, Any]:
    """A call of the HTTP gateway of one member of etcd."""
    pods = json.loads(ill.kubectl("get", "pods", "-l", "app.kubernetes.io/component=etcd", "-o", "json"))["items"]
    url = f"http://{pods[member % len(pods)]['status']['podIP']}:2379/v3/{path}"
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        found: dict[str, Any] = json.loads(answer.read())
    return found


def word(text: str) -> str:
    """As the gateway wants keys and values."""
    return base64.b64encode(text.encode()).decode()


def etcd_full(ill: Ill) -> None:
    """Another program writes into it until its quota is used up."""
    ill.undo.callback(etcd_emptied, ill)
    try:
        for number in range(100):
            etcd(ill, "kv/put", key=word(f"stuffing{number}"), value=word("x" * 1_000_000))
    except urllib.error.HTTPError:
        return
    raise AssertionError("etcd did not get full")


def etcd_emptied(ill: Ill) -> None:
    """As etcd's manual says: compact, defragment each member, disarm each alarm."""
    etcd(ill, "kv/deleterange", key=word("stuffing"), range_end=word("stuffinh"))
    revision = etcd(ill, "kv/range", key=word("stuffing"))["header"]["revision"]
    etcd(ill, "kv/compaction", revision=revision, physical=True)
    for member in range(3):
        etcd(ill, "maintenance/defragment", member)
    for one in etcd(ill, "maintenance/alarm", action="GET").get("alarms", []):
        etcd(ill, "maintenance/alarm", action="DEACTIVATE", **one)


def keys_refused(ill: Ill) -> None:
    """The keys of the bucket were rotated; Milvus is restarted later with the old ones."""
    name = "lightrag-object-store"
    before = json.loads(ill.kubectl("get", "secret", name, "-o", "json"))["data"]

    def restore() -> None:
        ill.kubectl("patch", "secret", name, "-p", json.dumps({"data": before}))
        ill.kubectl("rollout", "restart", "deployment", "-l", "app.kubernetes.io/component=vector-engine")
        ill.up()

    ill.undo.callback(restore)
    ill.kubectl("patch", "secret", name, "-p", json.dumps({"stringData": {"secret-key": "another-secret"}}))
    ill.kubectl("delete", "pods", "-l", "app.kubernetes.io/component=vector-engine", "--grace-period=1", "--wait=false")


def bucket_gone(ill: Ill) -> None:
    """The bucket was deleted while Milvus runs; it is noticed at the next flush."""
    move = ("exec", "-n", STORES, "deployment/s3", "--", "mv")
    ill.undo.callback(ill.kubectl, *move, "/data/gone", "/data/milvus")
    ill.kubectl(*move, "/data/milvus", "/data/gone")
    folder = ill.release.tool.cwd / "more"
    folder.mkdir(exist_ok=True)
    (folder / "late.md").write_text("A late document about the heart of the axolotl.")
    ill.release.run("ingest", str(folder))


def bucket_unreachable(ill: Ill) -> None:
    """Its Service leads to a port where nothing listens."""

    def lead_to(port: int) -> None:
        ports = {"spec": {"ports": [{"port": 9000, "targetPort": port}]}}
        ill.kubectl("patch", "-n", STORES, "service/s3", "-p", json.dumps(ports))

    ill.undo.callback(lead_to, 9000)
    lead_to(9999)


def kafka_scaled(ill: Ill) -> None:
    ill.undo.callback(ill.up)
    ill.kubectl("scale", f"statefulset/{NAME}-kafka", "--replicas=0")


def freeze(component: str, word: str) -> Callable[[Ill], None]:
    def act(ill: Ill) -> None:
        ill.freeze(ill.pids(component, word))

    return act


def etcd_killed(ill: Ill) -> None:
    ill.undo.callback(ill.up)
    for pid in ill.pids("etcd", "etcd"):
        os.kill(pid, signal.SIGKILL)


def one_bucket(ill: Ill) -> None:
    """A copy of the release's record in another namespace, as of a second release with the same settings."""
    record = json.loads(ill.kubectl("get", "configmap", f"{NAME}-lightragctl", "-o", "json"))
    copy = {"apiVersion": "v1", "kind": "ConfigMap", "data": record["data"]}
    labels = record["metadata"]["labels"]
    metadata = {"name": record["metadata"]["name"], "namespace": STORES, "labels": labels}
    text = json.dumps({**copy, "metadata": metadata})
    ill.undo.callback(ill.kubectl, "delete", "-n", STORES, "configmap", metadata["name"])
    ill.kubectl("apply", "-n", STORES, "-f", "-", stdin=text)


FAULTS: dict[str, tuple[Callable[[Ill], None], str]] = {
    "two releases on one bucket": (one_bucket, "LR518"),
    "etcd full": (etcd_full, "LR413 LR180/etcd"),
    "the bucket's address wrong": (bucket_unreachable, "LR116"),
    "the bucket deleted": (bucket_gone, "LR187/object LR180/object"),
    "the bucket's keys refused": (keys_refused, "LR187/object LR180/object"),
    "Kafka scaled to zero": (kafka_scaled, "LR150"),
    "Kafka frozen": (freeze("kafka", "kafka"), "LR142 LR143 LR116"),
    "etcd frozen": (freeze("etcd", "etcd"), "LR142 LR143 LR116"),
}


def test_fifty_runs_on_a_healthy_release_find_nothing(base: Ill) -> None:
    assert not until_well(base)
    for number in range(RUNS):
        _, found = base.diagnose()
        print(f"run {number}: {found['took_s']} s, {found['api_requests']} to the API server", flush=True)
        assert found["findings"] == []


@pytest.mark.parametrize("name", FAULTS)
def test_the_cause_comes_first(ill: Ill, name: str) -> None:
    print(f"\n## {name}", flush=True)
    breaks, codes = FAULTS[name]
    breaks(ill)
    check(ill, name, codes)
