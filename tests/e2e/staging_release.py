"""A release of profile `staging`, one or two of each, for stories: Milvus as a cluster, and as two servers of which one
works, over etcd, Kafka and S3."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster import cluster as clusters
from tests.cluster.backing import ETCD_IMAGE, KAFKA_IMAGE, S3_IMAGE, backing_images
from tests.cluster.fixture import ReadyCluster
from tests.cluster.images import spread
from tests.cluster.parts import BUSYBOX_IMAGE
from tests.conftest import Tool

NAME, STORES = "staging-drill", "staging-stores"
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


def sized(memory: str = "512Mi", most: str = "2Gi", cpu: str = "20m") -> dict[str, Any]:
    return {"requests": {"cpu": cpu, "memory": memory}, "limits": {"cpu": "2", "memory": most}}


def role(replicas: int) -> dict[str, Any]:
    return {"autoscale": None, "replicas": replicas, "stop_grace_s": 30, "resources": sized()}


def image(name: str) -> dict[str, str]:
    return dict(zip(("repository", "tag"), name.split(":"), strict=True))


SMALL: dict[str, Any] = {
    "diagnose": {"thresholds": {"etcd_fsync_s": 5.0}},  # one disk for everything
    "production": False,  # one Kafka broker of our own, and a chat model that only pretends
    "site": None,
    "image": {"repository": "lightragctl", "tag": "latest"},
    "models": {"chat": {"name": "mock-llm"}},
    "pools": {
        name: {"node_selector": {"lightragctl/pool": None, "kubernetes.io/os": "linux"}}
        for name in ("retrieval", "routing")
    },
    "components": {
        "etcd": {"image": image(ETCD_IMAGE), "storage": "1Gi", "quota_bytes": 33_554_432, "resources": sized("64Mi")},
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
            "resources": sized("128Mi", cpu="100m"),  # idle pods use 20m: with less the autoscaler is at its maximum
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


@contextmanager
def staging_on(cluster: ReadyCluster, base: Path, shape: str) -> Iterator[Staging]:
    """The release, up, with what it stands on; gone in the end."""
    ours = clusters.find(cluster.kubeconfig.parents[1].name)
    if ours is None:
        pytest.skip("needs a test cluster of ours, which images can be given to: make drill")
    for one in backing_images():
        spread(one, ours.sockets)
    (base / "home").mkdir()
    (base / "small.yaml").write_text(yaml.safe_dump(SMALL))
    (base / "shape.yaml").write_text(yaml.safe_dump({"components": {"vector-engine": SHAPES[shape]}}))
    made = Staging(Tool(base / "home", base, {"KUBECONFIG": str(cluster.kubeconfig)}), cluster, shape)
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
