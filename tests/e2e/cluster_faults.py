"""Faults of a release on a cluster: each breaks one thing the way it breaks in life, and knows how to repair it."""

import json
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

from lightragctl.core.settings import Index
from lightragctl.service.hashed_embeddings import hashed_vectors
from lightragctl.vectors.milvus import MilvusStore, _index_params
from lightragctl.vectors.model import Page, chunks_spec
from tests.cluster.machines import processes_of
from tests.conftest import Tool
from tests.e2e.cluster_stories import ClusterRelease

SUFFIX = "multilingual_e5_small_384d"
FIELDS = ["vector", "content", "file_path", "full_doc_id", "created_at"]
TEXT = "The zebrafish heart of document number {} regenerates within sixty days."
UP_S = "150"


@dataclass
class Ill:
    """A release on a cluster that tests break."""

    release: ClusterRelease
    undo: ExitStack = field(default_factory=ExitStack)

    @property
    def name(self) -> str:
        return self.release.name

    def kubectl(self, *words: str, stdin: str | None = None) -> str:
        return self.release.cluster.kubectl("-n", self.name, *words, stdin=stdin)

    def listed(self, kind: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.kubectl("get", kind, "-o", "json"))["items"]
        return found

    def up(self, *more: str) -> None:
        """Bring it up as its profile says; what others changed is taken back."""
        done = self.release.up("--force-conflicts", "--timeout", UP_S, *more)
        assert done.returncode == 0, done.stderr

    def up_without_waiting(self, *settings: str) -> None:
        """Set profile values that do not work, and do not wait."""
        words = [word for one in settings for word in ("--set", one)]
        self.undo.callback(self.up)
        done = self.release.up("--no-wait", "--force-conflicts", *words)
        assert done.returncode == 0, done.stderr

    def apply(self, *things: dict[str, Any]) -> None:
        """Apply objects, and delete them in the end."""
        text = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(things)})
        self.kubectl("apply", "-f", "-", stdin=text)
        self.undo.callback(self.kubectl, "delete", "--ignore-not-found", "--wait=false", "-f", "-", stdin=text)

    def patch(self, target: str, document: Any, how: str = "strategic") -> None:
        """Change an object of the release by hand; `up` leaves fields that others added."""
        self.undo.callback(self.up)
        if not target.startswith("service/"):
            self.undo.callback(self.kubectl, "rollout", "undo", target)
        self.kubectl("patch", target, "--type", how, "-p", json.dumps(document))

    def patch_container(self, component: str, **fields: Any) -> None:
        """Change the container of a component by hand."""
        target, name = self.workload(component), "milvus" if component == "vector-engine" else component
        self.patch(target, {"spec": {"template": {"spec": {"containers": [{"name": name, **fields}]}}}})

    def workload(self, component: str) -> str:
        kind = "statefulset" if component == "vector-engine" else "deployment"
        return f"{kind}/{self.name}-{component}"

    def pod(self, component: str) -> dict[str, Any]:
        label = f"app.kubernetes.io/component={component}"
        found = json.loads(self.kubectl("get", "pods", "-l", label, "-o", "json"))["items"]
        return dict(found[0])

    def delete_pod(self, component: str) -> None:
        self.kubectl("delete", "pod", self.pod(component)["metadata"]["name"], "--grace-period=1", "--wait=false")

    def recreate(self, component: str) -> None:
        """As a rollout or an eviction does: a new pod is needed."""
        self.undo.callback(self.kubectl, "rollout", "restart", self.workload(component))
        self.delete_pod(component)

    def store(self) -> MilvusStore:
        store = MilvusStore(f"http://{self.pod('vector-engine')['status']['podIP']}:19530")
        self.undo.callback(store.close)
        return store

    def chunks(self, store: MilvusStore) -> str:
        return next(name for name in store.list_collections() if "_chunks_" in name)

    def pids(self, component: str, word: str) -> list[int]:
        """Processes of the component's pod on this machine, whose command has the word."""
        uid = self.pod(component)["metadata"]["uid"]
        found = []
        for entry in Path("/proc").iterdir():
            try:
                if entry.name.isdigit() and word in (entry / "cmdline").read_text():
                    text = (entry / "cgroup").read_text()
                    found += [int(entry.name)] if uid in text or uid.replace("-", "_") in text else []
            except OSError:
                continue
        return found

    def parts(self, *words: str) -> list[int]:
        """Processes of the cluster's own programs, whose command has all words."""
        folder = self.release.cluster.kubeconfig.parents[1]
        return [pid for pid, command in processes_of(folder).items() if all(word in command for word in words)]

    def freeze(self, pids: list[int]) -> None:
        assert pids
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
            self.undo.callback(os.kill, pid, signal.SIGCONT)

    def diagnose(self, *arguments: str) -> tuple[int, dict[str, Any]]:
        done = self.release.run("diagnose", *arguments, "-o", "json")
        assert done.returncode in (0, 3, 4), done.stderr
        return done.returncode, json.loads(done.stdout)

    def host_address(self) -> str:
        """The address of this machine in the cluster's network."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
            one.connect((self.release.cluster.host_address, 9))
            return str(one.getsockname()[0])

    def fill(self) -> None:
        """Load eight short documents."""
        documents = self.release.tool.cwd / "documents"
        documents.mkdir(exist_ok=True)
        for number in range(8):
            (documents / f"{number}.md").write_text(TEXT.format(number))
        done = self.release.run("ingest", str(documents))
        assert done.returncode == 0, done.stderr

    def refill(self) -> None:
        """Drop all collections of passages, and load everything again."""
        store = MilvusStore(f"http://{self.pod('vector-engine')['status']['podIP']}:19530")
        try:
            for name in [one for one in store.list_collections() if one.startswith("default_")]:
                store.drop(name)
        finally:
            store.close()
        self.kubectl("rollout", "restart", self.workload("lightrag-api"))
        self.up()
        self.fill()


def quick(release: ClusterRelease) -> ClusterRelease:
    """The release, driven without KUBECONFIG in the environment: its commands need no interpreter of their own then."""
    tool = Tool(release.tool.home, release.tool.cwd)
    return replace(release, tool=tool, options=(*release.options, "--kubeconfig", str(release.cluster.kubeconfig)))


class Elsewhere:
    """A model server outside the release, on this machine, whose mood changes; good answers are those of the embedder.

    Attributes:
        mood: `good`, `hang`, `short` (another dimension), `zero`, `slow`, or an HTTP status.
    """

    def __init__(self, address: str) -> None:
        self.mood = "good"
        outer = self

        class Model(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                asked = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"{}")
                status, document = outer.answer(self.path, asked)
                body = json.dumps(document).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *arguments: Any) -> None:
                """Print nothing."""

        self._server = ThreadingHTTPServer((address, 0), Model)
        self._server.daemon_threads = True
        self.url = f"http://{address}:{self._server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, path: str, asked: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if self.mood == "hang":
            time.sleep(60)
        if self.mood == "slow":
            time.sleep(7)
        if self.mood.isdigit():
            codes = {"401": "invalid_api_key", "404": "model_not_found", "429": "rate_limit_exceeded"}
            return int(self.mood), {"error": {"code": codes.get(self.mood, "server_error"), "message": "no"}}
        if "chat" in path:
            message = {"role": "assistant", "content": "yes"}
            return 200, {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}], "model": "m"}
        texts = asked["input"] if isinstance(asked["input"], list) else [asked["input"]]
        vectors = hashed_vectors(texts, 64 if self.mood == "short" else 384)
        if self.mood == "zero":
            vectors = vectors * 0
        rows = [{"index": at, "embedding": [float(x) for x in one]} for at, one in enumerate(vectors)]
        return 200, {"object": "list", "model": asked.get("model"), "data": rows, "usage": {"prompt_tokens": 1}}


Break = Callable[[Ill], None]


@dataclass(frozen=True)
class Fault:
    """A fault: what breaks, and the codes of which one must be the first finding."""

    breaks: Break
    codes: str


# Pods that cannot start


def wrong_image(ill: Ill) -> None:
    ill.undo.callback(ill.up)
    ill.kubectl("set", "image", ill.workload("embedder"), "embedder=lightragctl:1.99.0")


def wrong_registry(ill: Ill) -> None:
    ill.up_without_waiting("image.repository=registry.invalid/lightragctl")


def wrong_command(ill: Ill) -> None:
    ill.patch_container("embedder", command=["lightragctl-serve"])


def little_memory(ill: Ill) -> None:
    ill.up_without_waiting(
        "components.embedder.resources={requests: {cpu: 100m, memory: 24Mi}, limits: {cpu: 1, memory: 24Mi}}"
    )


def small_quota(ill: Ill) -> None:
    spec = {"hard": {"requests.memory": "64Mi"}}
    ill.apply({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "team-budget"}, "spec": spec})
    ill.recreate("embedder")


def tight_limits(ill: Ill) -> None:
    spec = {"limits": [{"type": "Container", "max": {"memory": "64Mi"}}]}
    ill.apply({"apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "tight"}, "spec": spec})
    ill.recreate("embedder")


def config_map_deleted(ill: Ill) -> None:
    ill.undo.callback(ill.up)
    ill.kubectl("delete", "configmap", f"{ill.name}-model-gateway-settings")
    ill.delete_pod("model-gateway")


def secret_key_missing(ill: Ill) -> None:
    environment = [{"name": "MODEL_KEY", "valueFrom": {"secretKeyRef": {"name": "no-such-secret", "key": "key"}}}]
    ill.patch_container("model-gateway", env=environment)


def node_selector(ill: Ill) -> None:
    ill.patch(ill.workload("embedder"), {"spec": {"template": {"spec": {"nodeSelector": {"disk": "nvme"}}}}})


def tainted(ill: Ill) -> None:
    for node in ill.release.cluster.nodes:
        ill.kubectl("taint", "node", node, "maintenance=soon:NoSchedule", "--overwrite")
        ill.undo.callback(ill.kubectl, "taint", "node", node, "maintenance-")
    ill.recreate("embedder")


def cordoned(ill: Ill) -> None:
    """The node with Milvus's volume is drained."""
    node = ill.pod("vector-engine")["spec"]["nodeName"]
    ill.kubectl("cordon", node)
    ill.undo.callback(ill.kubectl, "uncordon", node)
    ill.delete_pod("vector-engine")


def init_fails(ill: Ill) -> None:
    image = ill.pod("embedder")["spec"]["containers"][0]["image"]
    one = {"name": "wait-for-model", "image": image, "command": ["python", "-c", "raise SystemExit(3)"]}
    resources = {"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"cpu": "1", "memory": "64Mi"}}
    spec = {"initContainers": [{**one, "resources": resources}]}
    ill.patch(ill.workload("embedder"), {"spec": {"template": {"spec": spec}}})


def never_ready(ill: Ill) -> None:
    ill.patch_container("model-gateway", readinessProbe={"httpGet": {"path": "/ready", "port": 8081}})


def strict_liveness(ill: Ill) -> None:
    probe = {"httpGet": {"path": "/healthz", "port": 9}, "periodSeconds": 1, "failureThreshold": 1}
    ill.patch_container("model-gateway", livenessProbe=probe)


def webhook_refuses(ill: Ill) -> None:
    """The service of an admission webhook is gone."""
    rules = [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}]
    hook = {
        "name": "pods.policy.example",
        "rules": rules,
        "failurePolicy": "Fail",
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
        "clientConfig": {"service": {"name": "policy", "namespace": ill.name, "path": "/"}},
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": ill.name}},
    }
    kind = {"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration"}
    ill.apply({**kind, "metadata": {"name": f"policy-{ill.name}"}, "webhooks": [hook]})
    ill.recreate("embedder")


def claim_pending(ill: Ill) -> None:
    """The claim was restored by hand, with a storage class of another cluster."""
    name = f"data-{ill.name}-vector-engine-0"

    def restore() -> None:
        ill.kubectl("scale", ill.workload("vector-engine"), "--replicas=0")
        ill.kubectl("delete", "pvc", name, "--wait=true")
        ill.up("--allow-data-loss")
        ill.refill()

    ill.undo.callback(restore)
    ill.kubectl("scale", ill.workload("vector-engine"), "--replicas=0")
    claim = json.loads(ill.kubectl("get", "pvc", name, "-o", "json"))
    ill.kubectl("delete", "pvc", name, "--wait=true")
    spec = {"accessModes": claim["spec"]["accessModes"], "storageClassName": "premium-rwo"}
    metadata = {"name": name, "labels": claim["metadata"]["labels"]}
    made = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata}
    ill.kubectl(
        "apply", "-f", "-", stdin=json.dumps({**made, "spec": {**spec, "resources": claim["spec"]["resources"]}})
    )
    ill.kubectl("scale", ill.workload("vector-engine"), "--replicas=1")


# Objects that others changed


def other_selector(ill: Ill) -> None:
    selector = {"app.kubernetes.io/component": "embedding"}
    ill.patch(f"service/{ill.name}-embedder", {"spec": {"selector": selector}})


def wrong_port(ill: Ill) -> None:
    target = {"op": "replace", "path": "/spec/ports/0/targetPort", "value": 8999}
    ill.patch(f"service/{ill.name}-embedder", [target], "json")


def service_deleted(ill: Ill) -> None:
    ill.undo.callback(ill.up)
    ill.kubectl("delete", "service", f"{ill.name}-vector-engine")


def deployment_deleted(ill: Ill) -> None:
    ill.undo.callback(ill.up)
    ill.kubectl("delete", ill.workload("model-gateway"))


def scaled_to_zero(ill: Ill) -> None:
    ill.undo.callback(ill.up)
    ill.kubectl("scale", ill.workload("vector-engine"), "--replicas=0")


def drifted(ill: Ill) -> None:
    ill.patch_container("mock-llm", resources={"limits": {"cpu": "1500m"}})


def stuck_finalizer(ill: Ill) -> None:
    name = ill.pod("embedder")["metadata"]["name"]
    ill.kubectl("patch", "pod", name, "--type", "merge", "-p", '{"metadata": {"finalizers": ["example.com/hold"]}}')
    ill.undo.callback(ill.kubectl, "patch", "pod", name, "--type", "merge", "-p", '{"metadata": {"finalizers": null}}')
    ill.kubectl("delete", "pod", name, "--grace-period=1", "--wait=false")


def foreign_scaler(ill: Ill, metric: dict[str, Any], most: int = 3) -> None:
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": f"{ill.name}-mock-llm"}
    spec = {"scaleTargetRef": target, "minReplicas": 1, "maxReplicas": most, "metrics": [metric]}
    kind = {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler"}
    ill.apply({**kind, "metadata": {"name": "by-hand"}, "spec": spec})


def blind_scaler(ill: Ill) -> None:
    metric = {"metric": {"name": "requests_per_second"}, "target": {"type": "AverageValue", "averageValue": "5"}}
    foreign_scaler(ill, {"type": "Pods", "pods": metric})


def scaler_at_most(ill: Ill) -> None:
    target = {"type": "Utilization", "averageUtilization": 1}
    foreign_scaler(ill, {"type": "Resource", "resource": {"name": "memory", "target": target}}, 1)


def blocking_budget(ill: Ill) -> None:
    labels = {"app.kubernetes.io/instance": ill.name, "app.kubernetes.io/component": "lightrag-api"}
    spec = {"minAvailable": "100%", "selector": {"matchLabels": labels}}
    ill.apply({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "all"}, "spec": spec})


def denied_network(ill: Ill) -> None:
    kind = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "default-deny"}}
    ill.apply({**kind, "spec": {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}})


def open_door(ill: Ill) -> None:
    labels = {"app.kubernetes.io/instance": ill.name, "app.kubernetes.io/component": "vector-engine"}
    spec = {"type": "NodePort", "selector": labels, "ports": [{"port": 9091}]}
    ill.apply({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "milvus-web"}, "spec": spec})


def no_key(ill: Ill) -> None:
    secret, host = "web-tls", "search.example.com"
    certificate(ill, secret, 90)
    values = f"{{type: Ingress, host: {host}, tls_secret: {secret}}}"
    ill.undo.callback(ill.up)
    settings = ("--set", f"components.lightrag-api.expose={values}", "--set", "components.lightrag-api.api_key=null")
    ill.up(*settings)


def certificate(ill: Ill, secret: str, days: int) -> None:
    """A certificate that ends in so many days."""
    folder = ill.release.tool.cwd
    key, public = folder / "tls.key", folder / "tls.crt"
    end = time.strftime("%Y%m%d%H%M%SZ", time.gmtime(time.time() + days * 86400))
    begin = time.strftime("%Y%m%d%H%M%SZ", time.gmtime(time.time() - 90 * 86400))
    words = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=search.example.com"]
    words += ["-keyout", str(key), "-out", str(public), "-not_before", begin, "-not_after", end]
    subprocess.run(words, check=True, capture_output=True)
    ill.kubectl("create", "secret", "tls", secret, f"--cert={public}", f"--key={key}")
    ill.undo.callback(ill.kubectl, "delete", "secret", secret)


def expired_certificate(ill: Ill) -> None:
    certificate(ill, "web-tls", -3)
    ill.undo.callback(ill.up)
    ill.up("--set", "components.lightrag-api.expose={type: Ingress, host: search.example.com, tls_secret: web-tls}")


def key_rotated(ill: Ill) -> None:
    """The key in the Secret is another one, and the pods were not restarted."""
    name = f"{ill.name}-lightrag-api-keys"
    before = json.loads(ill.kubectl("get", "secret", name, "-o", "json"))["data"]
    ill.undo.callback(ill.kubectl, "patch", "secret", name, "-p", json.dumps({"data": before}))
    ill.kubectl(
        "patch", "secret", name, "-p", json.dumps({"stringData": dict.fromkeys(before, "another-key-0123456789")})
    )


def secret_deleted(ill: Ill) -> None:
    name = f"{ill.name}-lightrag-api-keys"
    whole = json.loads(ill.kubectl("get", "secret", name, "-o", "json"))
    kept = {name: whole["metadata"][name] for name in ("name", "labels", "annotations") if name in whole["metadata"]}
    ill.undo.callback(ill.up)
    ill.undo.callback(ill.kubectl, "apply", "-f", "-", stdin=json.dumps({**whole, "metadata": kept}))
    ill.kubectl("delete", "secret", name)


def settings_edited(ill: Ill) -> None:
    """A value of the gateway's settings was edited in its ConfigMap, and the pod restarted."""
    name = f"{ill.name}-model-gateway-settings"
    data = json.loads(ill.kubectl("get", "configmap", name, "-o", "json"))["data"]
    key = next(iter(data))
    ill.undo.callback(ill.up)
    ill.undo.callback(ill.kubectl, "delete", "pod", "-l", "app.kubernetes.io/component=model-gateway", "--wait=false")
    ill.undo.callback(ill.up)
    ill.kubectl("patch", "configmap", name, "-p", json.dumps({"data": {key: data[key][:40]}}))
    ill.delete_pod("model-gateway")


def evicted(ill: Ill) -> None:
    """The chat model's pod writes more than its ephemeral storage."""
    ill.undo.callback(
        ill.kubectl, "delete", "pods", "--field-selector=status.phase=Failed", "--ignore-not-found", "--wait=false"
    )
    amounts = "{requests: {cpu: 50m, memory: 64Mi}, limits: {cpu: '1', memory: 512Mi, ephemeral-storage: 2Mi}}"
    ill.undo.callback(ill.up)
    ill.up("--set", f"components.mock-llm.resources={amounts}")
    ill.kubectl(
        "exec", ill.workload("mock-llm"), "--", "python", "-c", "open('/tmp/big', 'wb').write(bytes(9_000_000))"
    )


def canary_left(ill: Ill) -> None:
    """The command that drives an upgrade with a canary is killed."""
    words = ("upgrade", "--canary", "--observe", "20m", "--image", "lightrag-api=same", "--foreground", "--yes")
    process = ill.release.tool.popen(
        *ill.release.words(*words), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL
    )
    ill.undo.callback(ill.up)
    ill.undo.callback(abort_all, ill)
    end = time.monotonic() + 90
    while "-canary" not in ill.kubectl("get", "deployments", "-o", "name") and time.monotonic() < end:
        assert process.poll() is None
        time.sleep(1)
    process.kill()
    process.wait()


def abort_all(ill: Ill) -> None:
    listed = json.loads(ill.release.run("operations", "list", "-o", "json").stdout)["operations"]
    for one in listed:
        if one["phase"] not in ("succeeded", "aborted"):
            ill.release.run("operations", "abort", one["id"], "--yes")


def disk_full(ill: Ill) -> None:
    """Milvus's volume is small and nearly full: a file system of 700 MB in the place of its folder."""
    claim = json.loads(ill.kubectl("get", "pvc", f"data-{ill.name}-vector-engine-0", "-o", "json"))
    volume = json.loads(ill.kubectl("get", "pv", claim["spec"]["volumeName"], "-o", "json"))["spec"]
    path = (volume.get("local") or volume.get("hostPath"))["path"]
    node = ill.pod("vector-engine")["spec"]["nodeName"]
    pid = next(one for one in ill.parts("kubelet") if f"{node}" in Path(f"/proc/{one}/cmdline").read_text())

    def there(script: str) -> None:
        subprocess.run(["nsenter", f"--target={pid}", "--mount", "sh", "-ec", script], check=True, capture_output=True)

    def stopped() -> None:
        ill.kubectl("scale", ill.workload("vector-engine"), "--replicas=0")
        ill.kubectl("wait", "--for=delete", f"pod/{ill.name}-vector-engine-0", "--timeout=50s")

    def restore() -> None:
        stopped()
        there(f"umount {path}; rm -rf {path}.kept")
        ill.up()

    stopped()
    ill.undo.callback(restore)
    mount = f"mount -t tmpfs -o size=700m,mode=0777 tmpfs {path}"
    there(f"cp -a {path} {path}.kept; {mount}; cp -a {path}.kept/. {path}/; chown --reference={path}.kept {path}")
    ill.up()
    free = f"$(df -m --output=avail {path} | tail -1 | awk '{{print $1 - 10}}')"
    there(f"dd if=/dev/zero of={path}/core.1 bs=1M count={free}")


# Nodes and network


def milvus_killed(ill: Ill) -> None:
    """Again and again, as by the kernel of a node without memory."""
    stop = threading.Event()

    def kill() -> None:
        while not stop.is_set():
            for pid in ill.pids("vector-engine", "milvus"):
                os.kill(pid, signal.SIGKILL)
            stop.wait(2)

    thread = threading.Thread(target=kill, daemon=True)
    thread.start()
    ill.undo.callback(ill.delete_pod, "vector-engine")
    ill.undo.callback(thread.join)
    ill.undo.callback(stop.set)


def milvus_frozen(ill: Ill) -> None:
    ill.freeze(ill.pids("vector-engine", "milvus"))


def api_frozen(ill: Ill) -> None:
    ill.freeze(ill.pids("lightrag-api", "lightragctl"))


def dns_down(ill: Ill) -> None:
    ill.freeze(ill.parts("coredns"))


def node_gone(ill: Ill) -> None:
    """The node of the embedder is cut off: it and its pods send and receive nothing."""
    number = ill.pod("embedder")["spec"]["nodeName"].rpartition("-")[2]
    pid = ill.parts("kubelet", f"node-{number}")[0]
    for chain in ("INPUT", "OUTPUT", "FORWARD"):
        enter = ["nsenter", f"--target={pid}", "--net", "iptables"]
        ill.undo.callback(subprocess.run, [*enter, "-D", chain, "-j", "DROP"], check=True)
        subprocess.run([*enter, "-I", chain, "-j", "DROP"], check=True)


def slow_network(ill: Ill) -> None:
    """The link of Milvus's node is saturated: its pod sends 24 kbit/s, and what waits is queued for seconds."""
    pid = ill.pids("vector-engine", "milvus")[0]
    enter = ["nsenter", f"--target={pid}", "--net", "tc", "qdisc"]
    limit = ["tbf", "rate", "24kbit", "burst", "1600", "latency", "10s"]
    subprocess.run([*enter, "add", "dev", "eth0", "root", *limit], check=True)
    ill.undo.callback(subprocess.run, [*enter, "del", "dev", "eth0", "root"], check=True)


# Data


def released(ill: Ill) -> None:
    store = ill.store()
    name = ill.chunks(store)
    store._call("release_collection", name, name)
    ill.undo.callback(store.load, name)


def index_dropped(ill: Ill) -> None:
    store = ill.store()
    name = ill.chunks(store)
    ill.undo.callback(index, store, name, "COSINE")
    without_index(store, name)


def without_index(store: MilvusStore, name: str) -> None:
    store._call("release_collection", name, name)
    store._call("drop_index", name, name, "vector")


def index(store: MilvusStore, name: str, metric: str) -> None:
    """An index of the metric, and the collection loaded with it."""
    spec = chunks_spec(name, 384, Index(type="HNSW", metric=metric))
    store._call("create_index", name, name, _index_params(spec), sync=False)
    store.load(name)


def other_metric(ill: Ill) -> None:
    index_dropped(ill)
    store = ill.store()
    name = ill.chunks(store)
    ill.undo.callback(without_index, store, name)
    index(store, name, "L2")


def legacy_collection(ill: Ill) -> None:
    store = ill.store()
    store.create(chunks_spec("default_chunks", 384, Index(type="FLAT")))
    ill.undo.callback(store.drop, "default_chunks")


def rows_deleted(ill: Ill) -> None:
    store = ill.store()
    name = ill.chunks(store)
    rows = store.scan(name, FIELDS, Page(limit=5))
    ill.undo.callback(store.upsert, name, rows)
    store.delete(name, [row["id"] for row in rows])


def collection_dropped(ill: Ill) -> None:
    store = ill.store()
    store.drop(ill.chunks(store))
    ill.undo.callback(ill.refill)


def alias_dropped(ill: Ill) -> None:
    store = ill.store()
    name = ill.chunks(store)
    alias = name.rpartition("_g")[0]
    ill.undo.callback(store._call, "create_alias", name, name, alias)
    store._call("drop_alias", alias, alias)


def other_vectors(ill: Ill) -> None:
    store = ill.store()
    name = ill.chunks(store)
    rows = store.scan(name, FIELDS, Page(limit=100))
    ill.undo.callback(store.upsert, name, rows)
    store.upsert(name, [{**row, "vector": row["vector"][::-1]} for row in rows])


def other_prefix(ill: Ill) -> None:
    ill.up_without_waiting('models.embedding.query_prefix="ask: "')


FAULTS: dict[str, Fault] = {
    "an image tag that does not exist": Fault(wrong_image, "LR141"),
    "a registry that does not exist": Fault(wrong_registry, "LR141"),
    "a command that the image does not have": Fault(wrong_command, "LR144 LR145"),
    "a memory limit that is too low": Fault(little_memory, "LR146 LR401"),
    "a quota without room": Fault(small_quota, "LR130"),
    "a LimitRange below the limits": Fault(tight_limits, "LR131"),
    "a ConfigMap deleted": Fault(config_map_deleted, "LR152"),
    "a Secret that does not exist": Fault(secret_key_missing, "LR132"),
    "a node selector that no node has": Fault(node_selector, "LR138"),
    "all nodes tainted": Fault(tainted, "LR138 LR113"),
    "the node with Milvus's volume drained": Fault(cordoned, "LR136"),
    "an init container that fails": Fault(init_fails, "LR145"),
    "a readiness probe that never succeeds": Fault(never_ready, "LR142"),
    "a liveness probe that is too strict": Fault(strict_liveness, "LR143"),
    "an admission webhook without its service": Fault(webhook_refuses, "LR133"),
    "a claim of a storage class that does not exist": Fault(claim_pending, "LR134"),
    "a Service with another selector": Fault(other_selector, "LR160"),
    "a Service with another target port": Fault(wrong_port, "LR116 LR160"),
    "a Service deleted": Fault(service_deleted, "LR152"),
    "a Deployment deleted": Fault(deployment_deleted, "LR152"),
    "Milvus scaled to zero": Fault(scaled_to_zero, "LR150"),
    "a field changed by hand": Fault(drifted, "LR151"),
    "a pod held by a finalizer": Fault(stuck_finalizer, "LR157"),
    "an autoscaler without its metric": Fault(blind_scaler, "LR109"),
    "an autoscaler at its maximum": Fault(scaler_at_most, "LR110"),
    "a disruption budget that blocks a drain": Fault(blocking_budget, "LR111"),
    "a network policy that denies everything": Fault(denied_network, "LR112"),
    "Milvus's web port open to the outside": Fault(open_door, "LR602"),
    "an API without a key behind an Ingress": Fault(no_key, "LR601"),
    "a TLS certificate expired": Fault(expired_certificate, "LR107"),
    "an API key rotated without a restart": Fault(key_rotated, "LR161"),
    "the Secret with the API keys deleted": Fault(secret_deleted, "LR152 LR158"),
    "settings edited in a ConfigMap": Fault(settings_edited, "LR145 LR180"),
    "a pod evicted": Fault(evicted, "LR135 LR414"),
    "a canary whose driver was killed": Fault(canary_left, "LR164"),
    "Milvus's volume full": Fault(disk_full, "LR416"),
    "Milvus killed again and again": Fault(milvus_killed, "LR145 LR142"),
    "Milvus frozen": Fault(milvus_frozen, "LR219 LR142 LR143"),
    "lightrag-api frozen": Fault(api_frozen, "LR200 LR142 LR143"),
    "the cluster's DNS down": Fault(dns_down, "LR105 LR115"),
    "a node cut off": Fault(node_gone, "LR101"),
    "a slow network": Fault(slow_network, "LR117 LR220"),
    "the collection released": Fault(released, "LR203 LR204"),
    "the index dropped": Fault(index_dropped, "LR205"),
    "the index of another metric": Fault(other_metric, "LR207"),
    "a legacy collection": Fault(legacy_collection, "LR506"),
    "rows deleted": Fault(rows_deleted, "LR501"),
    "the collection dropped": Fault(collection_dropped, "LR517"),
    "the alias dropped": Fault(alias_dropped, "LR509"),
    "vectors of another model": Fault(other_vectors, "LR551"),
    "another query prefix": Fault(other_prefix, "LR512"),
}
"""Faults of a release of profile `dev`."""

MOODS = {
    "429": "LR303",
    "401": "LR302",
    "404": "LR306",
    "500": "LR305",
    "hang": "LR304",
    "short": "LR307",
    "zero": "LR308",
    "slow": "LR309",
}
"""What a model server elsewhere does, and the code that must come first."""

FOUND_S, WELL_S = 75.0, 180.0


def shown(found: dict[str, Any]) -> list[str]:
    return [
        f"{one['code']} {one['subject']}: {one['message']} (explains {[two['code'] for two in one['consequences']]})"
        for one in found["findings"]
    ]


def until_well(ill: Ill) -> list[str]:
    """What is found when nothing is broken any more; nothing, once pods are replaced."""
    end, left = time.monotonic() + WELL_S, ["not asked"]
    while left and time.monotonic() < end:
        left = shown(ill.diagnose()[1])
    return left


def until_found(ill: Ill, codes: str) -> tuple[float, dict[str, Any]]:
    """Seconds until one of the codes is the first finding, and what was found then; or at the end of the time."""
    begin = time.monotonic()
    while True:
        _, found = ill.diagnose()
        took_s = time.monotonic() - begin
        print(f"    {took_s:5.1f} s, in {found['took_s']} s: " + " | ".join(shown(found)), flush=True)
        if is_first(found, codes) or took_s > FOUND_S:
            return took_s, found


def is_first(found: dict[str, Any], codes: str) -> bool:
    """Whether the first finding is one of the codes; `LR180/etcd`: with that word in its message."""
    if not found["findings"]:
        return False
    first = found["findings"][0]
    wanted = (one.partition("/") for one in codes.split())
    return any(first["code"] == code and word in first["message"] for code, _, word in wanted)


def check(ill: Ill, name: str, codes: str) -> None:
    """The cause comes first; the row is for the table in docs/drills.md."""
    took_s, found = until_found(ill, codes)
    first = found["findings"][0] if found["findings"] else {"code": "nothing", "subject": "", "message": ""}
    print(f"| {name} | {first['code']} `{first['subject']}: {first['message']}` | {took_s:.0f} |", flush=True)
    assert is_first(found, codes), shown(found)
