"""The profile `staging`, one or two of each, for real: Milvus as a cluster, and as two servers of which one works, over
etcd, Kafka and S3 on three nodes."""

import json
import subprocess
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster import cluster as clusters
from tests.cluster.backing import ETCD_IMAGE, KAFKA_IMAGE, S3_IMAGE, backing_images
from tests.cluster.connections import Policies, open_connections
from tests.cluster.fixture import ReadyCluster
from tests.cluster.images import milvus_image, spread
from tests.cluster.parts import BUSYBOX_IMAGE
from tests.conftest import Tool

pytestmark = [pytest.mark.cluster, pytest.mark.drill, pytest.mark.timeout(1500)]

NAME, STORES = "staging-drill", "staging-stores"
DOCS = Path(__file__).resolve().parents[2] / "docs" / "guides"
OWNED = "deployments,statefulsets,networkpolicies,poddisruptionbudgets,horizontalpodautoscalers"
S3 = f"""
apiVersion: apps/v1
kind: Deployment
metadata: {{name: s3, namespace: {STORES}}}
spec:
  selector: {{matchLabels: {{app: s3}}}}
  template:
    metadata: {{labels: {{app: s3}}}}
    spec:
      terminationGracePeriodSeconds: 1
      volumes: [{{name: data, emptyDir: {{}}}}]
      initContainers:
        - name: bucket
          image: {BUSYBOX_IMAGE}
          command: [mkdir, -p, /data/milvus]
          volumeMounts: [{{name: data, mountPath: /data}}]
      containers:
        - name: s3
          image: {S3_IMAGE}
          args: [--access, drill, --secret, drill-secret, --port, ":9000", posix, /data]
          ports: [{{containerPort: 9000}}]
          volumeMounts: [{{name: data, mountPath: /data}}]
---
apiVersion: v1
kind: Service
metadata: {{name: s3, namespace: {STORES}}}
spec: {{selector: {{app: s3}}, ports: [{{port: 9000}}]}}
"""


def sized(memory: str = "512Mi", most: str = "2Gi") -> dict[str, Any]:
    return {"requests": {"cpu": "20m", "memory": memory}, "limits": {"cpu": "2", "memory": most}}


def role(replicas: int) -> dict[str, Any]:
    return {"autoscale": None, "replicas": replicas, "stop_grace_s": 30, "resources": sized()}


def image(name: str) -> dict[str, str]:
    return dict(zip(("repository", "tag"), name.split(":"), strict=True))


SMALL: dict[str, Any] = {
    "production": False,  # one Kafka broker of our own, and a chat model that only pretends
    "site": None,
    "image": {"repository": "lightragctl", "tag": "latest"},
    "models": {"chat": {"name": "mock-llm"}},
    "pools": {
        name: {"node_selector": {"lightragctl/pool": None, "kubernetes.io/os": "linux"}}
        for name in ("retrieval", "routing")
    },
    "components": {
        "etcd": {"image": image(ETCD_IMAGE), "storage": "1Gi", "resources": sized("64Mi")},
        "kafka": {"image": image(KAFKA_IMAGE), "storage": "2Gi", "resources": sized("640Mi", "1Gi")},
        "vector-engine": {
            "object_store": {"endpoint": f"s3.{STORES}.svc:9000", "bucket": "milvus", "tls": False},
        },
        "embedder": {"model": "hashing", "autoscale": None, "resources": sized("64Mi")},
        "mock-llm": {"resources": sized("64Mi")},
        "model-gateway": {"autoscale": None, "resources": sized("64Mi")},
        "lightrag-api": {
            "drain_s": 2,
            "autoscale": {"min": 2, "max": 3, "requests_per_second": None},
            "resources": sized("128Mi"),
            "deadlines": {"request_s": 10},
            "expose": {"type": "ClusterIP", "host": None, "class_name": None, "tls_secret": None},
        },
    },
}


SHAPES: dict[str, dict[str, Any]] = {
    "cluster": {
        "roles": {
            "coordinator": role(2),
            "proxy": {**role(1), "replicas": None, "autoscale": {"min": 1, "max": 2}},
            "querynode": role(2),
            "datanode": role(1),
            "indexnode": role(1),
        }
    },
    "standalone-ha": {"topology": "standalone-ha", "replicas": 2, "stop_grace_s": 30, "resources": sized()},
}
PODS = {"cluster": ("7/7", "8/8"), "standalone-ha": ("2/2",)}
"""The autoscaler may have added a proxy."""
LOST = {"cluster": ("coordinator", "querynode", "proxy"), "standalone-ha": ("standalone", "standalone")}
"""Roles that lose a pod, one after the other; of two servers of which one works, the one and then the other."""


class Staging:
    """The release of these stories."""

    def __init__(self, tool: Tool, cluster: ReadyCluster, shape: str) -> None:
        self.tool, self.cluster, self.shape = tool, cluster, shape

    def run(self, command: str, *more: str) -> Any:
        """A command on it."""
        values = ("--values", "small.yaml", "--values", "shape.yaml")
        words = ("--profile", "staging", *values, "--name", NAME, "-n", NAME)
        return self.tool.run(command, *words, *more)

    def kubectl(self, *words: str) -> str:
        """kubectl in its namespace."""
        return self.cluster.kubectl("-n", NAME, *words)

    def hits(self, question: str) -> list[dict[str, Any]]:
        """What a question finds; nothing when it is not answered."""
        done = self.run("retrieve", question, "-k", "1", "-o", "json")
        return json.loads(done.stdout)["hits"] if done.returncode == 0 else []


@pytest.fixture(scope="module", params=SHAPES)
def staging(
    cluster: ReadyCluster, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Staging]:
    """The release, up, with what it stands on; gone in the end."""
    ours = clusters.find(cluster.kubeconfig.parents[1].name)
    if ours is None:
        pytest.skip("needs a test cluster of ours, which images can be given to: make drill")
    for one in backing_images():
        spread(one, ours.sockets)
    base = tmp_path_factory.mktemp("staging")
    (base / "home").mkdir()
    (base / "small.yaml").write_text(yaml.safe_dump(SMALL))
    (base / "shape.yaml").write_text(yaml.safe_dump({"components": {"vector-engine": SHAPES[request.param]}}))
    made = Staging(Tool(base / "home", base, {"KUBECONFIG": str(cluster.kubeconfig)}), cluster, request.param)
    for name in (STORES, NAME):
        cluster.kubectl("create", "namespace", name)
    try:
        cluster.kubectl("label", "namespace", NAME, "pod-security.kubernetes.io/enforce=restricted")
        cluster.kubectl("apply", "-f", "-", stdin=S3)
        keys = ("--from-literal=access-key=drill", "--from-literal=secret-key=drill-secret")
        made.kubectl("create", "secret", "generic", "lightrag-object-store", *keys)
        cluster.kubectl("rollout", "status", "deployment/s3", "-n", STORES, "--timeout=120s", timeout_s=130)
        done = made.run("up", "--yes", "--timeout", "500")
        print(f"\n{done.stderr}\n{done.stdout}")
        assert done.returncode == 0, done.stderr
        yield made
    finally:
        made.run("down", "--purge", "--yes")
        cluster.kubectl("delete", "namespace", NAME, STORES, timeout_s=120)


def test_what_is_loaded_is_found(staging: Staging) -> None:
    loaded = staging.run("ingest", str(DOCS))
    assert loaded.returncode == 0, loaded.stdout + loaded.stderr
    assert staging.hits("taints and labels of the pool of nodes")[0]["source"].endswith("production.md")
    part = next(one for one in components(staging) if one["name"] == "vector-engine")
    assert part["state"] == "ready"
    assert part["replicas"] in PODS[staging.shape]


def test_the_network_policies_would_allow_all_that_talks(staging: Staging) -> None:
    def listed(*words: str) -> list[dict[str, Any]]:
        return json.loads(staging.cluster.kubectl("get", *words, "-o", "json"))["items"]

    everything = listed("pods", "-A")
    policies = Policies(
        namespace=NAME,
        policies=listed("networkpolicies", "-n", NAME),
        pods=everything,
        services=listed("services", "-A"),
        namespaces={one["metadata"]["name"]: one["metadata"]["labels"] for one in listed("namespaces")},
    )
    seen = open_connections([pod for pod in everything if pod["metadata"]["namespace"] == NAME])
    print(f"\n{len(seen)} connections are open")
    assert len(seen) > 10
    assert not [told for one in seen if (told := policies.forbids(one))]


def components(staging: Staging) -> list[dict[str, Any]]:
    return json.loads(staging.run("status", "-o", "json").stdout)["components"]


def test_up_again_changes_nothing(staging: Staging) -> None:
    same = staging.run("diff")
    assert same.returncode == 0, same.stdout + same.stderr


def test_it_answers_again_when_a_pod_of_milvus_is_lost(staging: Staging) -> None:
    for role in LOST[staging.shape]:
        lose(staging, role)


def lose(staging: Staging, role: str) -> None:
    """Delete the pod that has been there longest, and ask until ten questions in a row are answered."""
    (pods, question) = (f"lightragctl/role={role}", "taints and labels of the pool of nodes")
    staging.kubectl("wait", "--for=condition=Ready", "pod", "-l", pods, "--timeout=50s")
    listed = staging.kubectl("get", "pods", "-l", pods, "-o", "name", "--sort-by=.metadata.creationTimestamp")
    staging.kubectl("delete", "--force", "--grace-period=0", listed.split()[0])
    begin, lost_s, calm = time.monotonic(), 0.0, 0
    while calm < 10:
        assert time.monotonic() - begin < 240, f"{role}: not answered for {lost_s:.0f} s"
        if staging.hits(question):
            calm += 1
        else:
            calm, lost_s = 0, time.monotonic() - begin
    print(f"\na pod of {role} lost: the last question that was not answered came {lost_s:.0f} s after")
    assert staging.hits(question)[0]["source"].endswith("production.md")


RATE, LOAD_S = 50, 480


def test_a_cluster_is_upgraded_role_by_role_under_load(staging: Staging, tmp_path: Path) -> None:
    """Down by a patch, then up again while queries come; failed ones are counted for each role."""
    if staging.shape != "cluster":
        pytest.skip("one server has no roles")
    ours = clusters.find(staging.cluster.kubeconfig.parents[1].name)
    assert ours is not None
    spread(milvus_image("2.3.1"), ours.sockets)
    upgraded(staging, "v2.3.1")
    saved = tmp_path / "load.json"
    load = ("--rate", str(RATE), "--duration", str(LOAD_S), "--no-recall", "--timeout", "10", "--save", str(saved))
    values = ("--values", "small.yaml", "--values", "shape.yaml")
    words = ("--profile", "staging", *values, "--name", NAME, "-n", NAME, "bench", "run", *load)
    with staging.tool.popen(*words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as bench:
        time.sleep(20)  # its warm-up
        record = upgraded(staging, "v2.3.5")
        _, told = bench.communicate(timeout=LOAD_S + 120)
    report = json.loads(saved.read_text())
    print(f"\n{report['outcomes']} of {report['requests']}\n{told[-500:]}")
    ended_s = saved.stat().st_mtime - len(report["seconds"])
    for role, begin_s, end_s in spans(record):
        of_role = [one for one in report["seconds"] if begin_s <= ended_s + one["number"] < end_s]
        failed, answered = (sum(one[key] for one in of_role) for key in ("ok", "answered"))
        print(f"  {role}: {end_s - begin_s:.0f} s, {answered - failed} of {answered} requests failed")
    assert staging.hits("taints and labels of the pool of nodes")[0]["source"].endswith("production.md")


def upgraded(staging: Staging, tag: str) -> dict[str, Any]:
    begin = time.monotonic()
    done = staging.run("upgrade", "--canary", "--foreground", "--image", f"vector-engine={tag}", "-o", "json")
    found: dict[str, Any] = json.loads(done.stdout)
    print(f"\n{tag}: {time.monotonic() - begin:.0f} s, {found.get('cause')}\n{done.stderr[-3000:]}")
    assert done.returncode == 0, done.stderr
    return found


def spans(record: dict[str, Any]) -> Iterator[tuple[str, float, float]]:
    """Each role with the unix seconds between which it was upgraded, in order."""
    steps = {one["name"]: one for one in record["steps"]}
    begin_s = datetime.fromisoformat(steps["role-1"]["began_at"]).timestamp()
    ended = {role: datetime.fromisoformat(at).timestamp() for role, at in record["results"]["roles"].items()}
    for role, end_s in sorted(ended.items(), key=lambda one: one[1]):
        yield role, begin_s, end_s
        begin_s = end_s


def test_a_purge_leaves_nothing_of_it_in_the_namespace_nor_in_the_cluster(staging: Staging) -> None:
    """Last of the stories."""
    classes = staging.cluster.kubectl("get", "priorityclasses", "-o", "name").split()
    assert len([one for one in classes if NAME in one]) == 2
    gone = staging.run("down", "--purge", "--yes")
    assert gone.returncode == 0, gone.stderr
    assert NAME not in staging.cluster.kubectl("get", "priorityclasses", "-o", "name")
    assert staging.kubectl("get", OWNED + ",pods,persistentvolumeclaims", "-o", "name") == ""
