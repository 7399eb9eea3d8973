"""What a person who tries the cluster would notice: names, volumes, addresses, logs and numbers work."""

import json
import urllib.request
from collections.abc import Iterator

import pytest

from tests.cluster.commands import wait_until
from tests.cluster.fixture import ReadyCluster
from tests.cluster.kept import ClusterError

pytestmark = [pytest.mark.cluster, pytest.mark.slow]
SPACE = "cluster-check"
WEB = """
apiVersion: v1
kind: Namespace
metadata: {name: cluster-check}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: cluster-check}
spec:
  type: NodePort
  selector: {app: web}
  ports: [{port: 80, targetPort: 8080}]
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: web, namespace: cluster-check}
spec:
  replicas: 2
  serviceName: web
  podManagementPolicy: Parallel
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 0
      topologySpreadConstraints:
        - topologyKey: topology.kubernetes.io/zone
          maxSkew: 1
          whenUnsatisfiable: DoNotSchedule
          labelSelector: {matchLabels: {app: web}}
      containers:
        - name: web
          image: busybox:test
          command: [sh, -c, "hostname > /data/index.html; echo serving; exec httpd -f -p 8080 -h /data"]
          readinessProbe: {httpGet: {path: /, port: 8080}, periodSeconds: 1}
          volumeMounts: [{name: data, mountPath: /data}]
  volumeClaimTemplates:
    - metadata: {name: data}
      spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Mi}}}
"""


@pytest.fixture(scope="module")
def web(cluster: ReadyCluster) -> Iterator[ReadyCluster]:
    """Two web servers in two zones, with a volume each."""
    cluster.kubectl("apply", "-f", "-", stdin=WEB)
    try:
        cluster.kubectl("rollout", "status", "statefulset/web", "-n", SPACE, "--timeout=90s", timeout_s=100)
        yield cluster
    finally:
        cluster.kubectl("delete", "namespace", SPACE, "--timeout=60s", timeout_s=70)


def inside(cluster: ReadyCluster, pod: str, command: str) -> str:
    return cluster.kubectl("exec", pod, "-n", SPACE, "--", "sh", "-c", command)


def test_nodes_are_ready_and_each_is_in_a_zone_of_its_own(cluster: ReadyCluster) -> None:
    nodes = json.loads(cluster.kubectl("get", "nodes", "-o", "json"))["items"]
    ready = [entry["status"] for node in nodes for entry in node["status"]["conditions"] if entry["type"] == "Ready"]
    zones = {node["metadata"]["labels"]["topology.kubernetes.io/zone"] for node in nodes}
    assert ready == ["True"] * len(nodes)
    assert len(zones) == len(nodes) >= 3


def test_a_pod_finds_the_api_server_by_name(web: ReadyCluster) -> None:
    name = "kubernetes.default.svc.cluster.local"
    assert name in inside(web, "web-0", f"nslookup {name}")


def test_each_pod_has_a_volume_of_its_own(web: ReadyCluster) -> None:
    claims = json.loads(web.kubectl("get", "pvc", "-n", SPACE, "-o", "json"))["items"]
    assert [claim["status"]["phase"] for claim in claims] == ["Bound", "Bound"]
    assert [inside(web, pod, "cat /data/index.html").strip() for pod in ("web-0", "web-1")] == ["web-0", "web-1"]


def test_a_pod_reaches_one_on_another_node_and_the_service_reaches_both(web: ReadyCluster) -> None:
    def unreached() -> str:  # names and rules follow a pod's readiness within seconds
        try:
            assert inside(web, "web-0", "wget -qO- http://web-1.web:8080/").strip() == "web-1"
            answers = inside(web, "web-0", "for i in $(seq 30); do wget -qO- http://web/ || exit 1; done").split()
        except ClusterError as problem:
            return str(problem)
        return "" if set(answers) == {"web-0", "web-1"} else f"{len(answers)} answers, all of {set(answers)}"

    wait_until("both pods answer", unreached, 15, 0.5)


def test_a_node_port_answers_this_machine(web: ReadyCluster) -> None:
    port = web.kubectl("get", "service", "web", "-n", SPACE, "-o", "jsonpath={.spec.ports[0].nodePort}")
    with urllib.request.urlopen(f"http://{web.host_address}:{port}/", timeout=10) as answer:
        assert answer.read().decode().strip() in ("web-0", "web-1")


def test_logs_are_shown(web: ReadyCluster) -> None:
    assert web.kubectl("logs", "web-1", "-n", SPACE) == "serving\n"


def test_use_of_processor_and_memory_is_measured(web: ReadyCluster) -> None:
    def unmeasured() -> str:
        try:
            web.kubectl("top", "nodes")
            web.kubectl("top", "pod", "web-0", "-n", SPACE)
        except ClusterError as problem:
            return str(problem)
        return ""

    wait_until("metrics are there", unmeasured, 90, 1)
    assert all(node in web.kubectl("top", "nodes") for node in web.nodes)
