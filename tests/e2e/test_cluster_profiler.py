"""`diagnose profiler` on pods: by a command, beside it in an ephemeral container, and where the namespace forbids that.

The pods stand alone: a profile needs no release.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from tests.cluster.backing import KAFKA_IMAGE
from tests.cluster.fixture import ReadyCluster
from tests.cluster.images import MILVUS, our_image
from tests.conftest import Tool

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]

NAME = "profiler-story"
ENFORCE = "pod-security.kubernetes.io/enforce"
SERVES = ["/opt/lightragctl/bin/lightragctl", "serve", "mock-llm"]
CONFINED = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
WITHOUT_PY_SPY = [{"name": "PATH", "value": "/usr/bin:/bin"}]
KAFKA = """
cat > /tmp/server.properties <<'END'
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@localhost:9093
listeners=PLAINTEXT://:9092,CONTROLLER://:9093
controller.listener.names=CONTROLLER
log.dirs=/tmp/kafka
END
cd /opt/kafka
bin/kafka-storage.sh format -t bGlnaHRyYWdjdGwta2Fma2 -c /tmp/server.properties
exec bin/kafka-server-start.sh /tmp/server.properties
"""


def pod(name: str, image: str, uid: int = 1000, **container: Any) -> dict[str, Any]:
    """A pod as our templates write them: nothing can be written but /tmp, where it has one."""
    security = {"runAsUser": uid, "runAsNonRoot": uid != 0, "seccompProfile": {"type": "RuntimeDefault"}}
    whole = {"name": "main", "image": image, "imagePullPolicy": "Never", "securityContext": CONFINED, **container}
    spec = {"securityContext": security, "containers": [whole], "volumes": [{"name": "tmp", "emptyDir": {}}]}
    spec |= {"terminationGracePeriodSeconds": 1, "automountServiceAccountToken": False}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": NAME}, "spec": spec}


@dataclass(frozen=True)
class Place:
    """A namespace with pods of our image."""

    tool: Tool
    cluster: ReadyCluster

    def profile(self, name: str, *more: str) -> CompletedProcess[str]:
        return self.tool.run("diagnose", "profiler", name, "--profile", "dev", "-n", NAME, *more)

    def kubectl(self, *words: str, stdin: str | None = None) -> str:
        return self.cluster.kubectl("-n", NAME, *words, stdin=stdin, timeout_s=200)

    def start(self, *pods: dict[str, Any]) -> None:
        self.kubectl("create", "-f", "-", stdin="\n---\n".join(map(json.dumps, pods)))
        names = [f"pod/{one['metadata']['name']}" for one in pods]
        self.kubectl("wait", "--for=condition=Ready", "--timeout=180s", *names)

    def containers(self, name: str) -> list[dict[str, Any]]:
        """The ephemeral containers of a pod."""
        found = json.loads(self.kubectl("get", "pod", name, "-o", "json"))
        return list(found["spec"].get("ephemeralContainers") or [])


@pytest.fixture(scope="module")
def place(cluster: ReadyCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    base = tmp_path_factory.mktemp("profiler")
    (base / "home").mkdir()
    made = Place(Tool(base / "home", base, {"KUBECONFIG": str(cluster.kubeconfig)}), cluster)
    cluster.kubectl("create", "namespace", NAME)
    try:
        yield made
    finally:
        cluster.kubectl("delete", "namespace", NAME, "--wait=false")


@pytest.fixture(scope="module")
def pods(place: Place) -> Place:
    ours = our_image().name
    place.start(
        pod("whole", ours, command=SERVES),
        pod("bare", ours, command=SERVES, env=WITHOUT_PY_SPY),
        pod("root", ours, uid=0, command=SERVES, env=WITHOUT_PY_SPY),
    )
    place.cluster.kubectl("label", "namespace", NAME, f"{ENFORCE}=restricted")
    return place


def test_a_pod_of_our_image_is_profiled_by_a_command_under_restricted_pod_security(pods: Place) -> None:
    dry = json.loads(pods.profile("whole", "--dry-run", "-o", "json").stdout)
    assert (dry["tool"], dry["access"]) == ("py-spy", "exec")
    done = pods.profile("whole", "--format", "dump")
    assert done.returncode == 0, done.stderr
    assert "MainThread" in done.stdout
    done = pods.profile("whole", "--duration", "3", "--save", "whole.svg")
    if done.returncode:  # a service without requests may execute nothing in three seconds
        assert "executed no code" in done.stderr
    else:
        assert (pods.tool.cwd / "whole.svg").read_text().rstrip().endswith("</svg>")
    assert pods.containers("whole") == []


def test_else_an_ephemeral_container_is_added_only_with_consent_and_ends_by_itself(pods: Place) -> None:
    done = pods.profile("bare", "--format", "dump")
    assert (done.returncode, pods.containers("bare")) == (2, [])
    assert "cannot be removed" in done.stderr
    done = pods.profile("bare", "--format", "dump", "--yes")
    assert done.returncode == 0, done.stderr
    assert "MainThread" in done.stdout
    (added,) = pods.containers("bare")
    assert added["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert added["securityContext"]["runAsUser"] == 1000
    assert added["targetContainerName"] == "main"


def test_where_pod_security_forbids_it_the_built_in_dump_is_taken_and_that_is_said(pods: Place) -> None:
    done = pods.profile("root", "--yes")
    assert done.returncode == 4, done.stderr
    assert "violates PodSecurity" in done.stderr
    assert "no flame graph: py-spy is not in the container" in done.stderr
    assert "(most recent call first)" in done.stdout or list(pods.tool.cwd.glob("root-*"))
    assert pods.containers("root") == []
    restarts = pods.kubectl("get", "pod", "root", "-o", "jsonpath={.status.containerStatuses[0].restartCount}")
    assert restarts == "0"


def test_a_pod_that_is_not_there_is_named(pods: Place) -> None:
    done = pods.profile("nope")
    assert (done.returncode, "no pod and no component 'nope'" in done.stderr) == (1, True)


@pytest.mark.drill
def test_a_jvm_gets_its_threads_by_a_signal_and_a_flame_graph_by_arthas(place: Place, tmp_path: Path) -> None:
    if not shutil.which("mvn"):
        pytest.skip("needs mvn")
    artifact = "-Dartifact=com.taobao.arthas:arthas-packaging:4.0.5:zip:bin"
    subprocess.run(["mvn", "-q", "dependency:copy", artifact, f"-DoutputDirectory={tmp_path}"], check=True)
    mounts = [{"name": "tmp", "mountPath": "/tmp"}]
    heap = [{"name": "KAFKA_HEAP_OPTS", "value": "-Xmx256m"}]
    probe = {"tcpSocket": {"port": 9092}, "periodSeconds": 2}
    command = ["sh", "-ec", KAFKA]
    place.start(pod("kafka", KAFKA_IMAGE, command=command, env=heap, readinessProbe=probe, volumeMounts=mounts))
    done = place.profile("kafka", "--format", "dump")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Full thread dump")
    archive = next(tmp_path.glob("arthas-*.zip"))
    done = place.profile("kafka", "--duration", "5", "--arthas", str(archive), "--save", "kafka.html", "--verbose")
    assert done.returncode == 0, done.stderr
    assert "kafka" in (place.tool.cwd / "kafka.html").read_text()
    keep(place.tool.cwd / "kafka.html")
    assert "lightragctl-arthas" not in place.kubectl("exec", "kafka", "--", "ls", "/tmp")
    done = place.profile("kafka", "--duration", "5")
    assert done.returncode == 4
    assert "Arthas is not at hand" in done.stderr


def keep(path: Path) -> None:
    """For eyes, where a folder is named."""
    if folder := os.environ.get("KEEP_PROFILES"):
        shutil.copy(path, folder)


@pytest.mark.drill
def test_milvus_is_profiled_by_its_own_endpoint(place: Place) -> None:
    mounts = [{"name": "tmp", "mountPath": "/tmp"}, {"name": "tmp", "mountPath": "/var/lib/milvus"}]
    variables = {"ETCD_USE_EMBED": "true", "ETCD_DATA_DIR": "/var/lib/milvus/etcd", "COMMON_STORAGETYPE": "local"}
    env = [{"name": name, "value": value} for name, value in variables.items()]
    ports = [{"name": "metrics", "containerPort": 9091}]
    probe = {"httpGet": {"path": "/healthz", "port": 9091}, "periodSeconds": 2}
    command = ["milvus", "run", "standalone"]
    image = f"milvusdb/milvus:v{MILVUS}"
    place.start(pod("milvus", image, command=command, env=env, ports=ports, readinessProbe=probe, volumeMounts=mounts))
    done = place.profile("milvus", "--format", "dump")
    assert done.returncode == 0, done.stderr
    assert "goroutine" in done.stdout
    done = place.profile("milvus", "--duration", "3", "--save", "milvus.pb.gz")
    assert done.returncode == 0, done.stderr
    assert "go tool pprof" in done.stdout
    assert (place.tool.cwd / "milvus.pb.gz").read_bytes().startswith(b"\x1f\x8b")
    keep(place.tool.cwd / "milvus.pb.gz")
