"""Faults of a release on a cluster: each breaks one thing the way it breaks in life, and knows how to repair it."""

import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightragctl.core.settings import Index
from lightragctl.vectors.milvus import MilvusStore, _index_params
from lightragctl.vectors.model import Page, chunks_spec
from tests.e2e.cluster_ill import FIELDS, Ill

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


AUTHORITY = """[ca]
default_ca = one
[one]
new_certs_dir = .
database = index
serial = serial
default_md = sha256
policy = any
[any]
commonName = supplied
"""


def certificate(ill: Ill, secret: str, days: int) -> None:
    """A Secret with a certificate that ends in so many days, or ended so many days ago."""
    folder = ill.release.tool.cwd / f"tls{days}"
    folder.mkdir(exist_ok=True)
    for name, text in (("authority", AUTHORITY), ("index", ""), ("serial", "01\n")):
        (folder / name).write_text(text)
    begin, end = (time.strftime("%Y%m%d%H%M%SZ", time.gmtime(time.time() + at * 86400)) for at in (-90, days))
    asked = ("-newkey", "rsa:2048", "-nodes", "-keyout", "key", "-out", "csr", "-subj", "/CN=search.example.com")
    signed = ("-batch", "-selfsign", "-config", "authority", "-keyfile", "key", "-in", "csr", "-out", "crt", "-notext")
    for words in (("req", "-new", *asked), ("ca", *signed, "-startdate", begin, "-enddate", end)):
        subprocess.run(["openssl", *words], check=True, capture_output=True, cwd=folder)
    ill.undo.callback(ill.kubectl, "delete", "secret", secret)
    ill.kubectl("create", "secret", "tls", secret, f"--cert={folder / 'crt'}", f"--key={folder / 'key'}")


def expired_certificate(ill: Ill) -> None:
    certificate(ill, "web-tls", -3)
    ill.undo.callback(ill.up)
    ill.up("--set", "components.lightrag-api.expose={type: Ingress, host: search.example.com, tls_secret: web-tls}")


def key_rotated(ill: Ill) -> None:
    """The key in the Secret is another one, and the pods were not restarted."""
    name = f"{ill.name}-lightrag-api-keys"
    before = json.loads(ill.kubectl("get", "secret", name, "-o", "json"))["data"]
    ill.undo.callback(ill.kubectl, "rollout", "restart", ill.workload("lightrag-api"))
    ill.undo.callback(ill.kubectl, "patch", "secret", name, "-p", json.dumps({"data": before}))
    ill.kubectl(
        "patch", "secret", name, "-p", json.dumps({"stringData": dict.fromkeys(before, "another-key-0123456789")})
    )


def secret_deleted(ill: Ill) -> None:
    name = f"{ill.name}-lightrag-api-keys"
    whole = json.loads(ill.kubectl("get", "secret", name, "-o", "json"))
    kept = {name: whole["metadata"][name] for name in ("name", "labels", "annotations") if name in whole["metadata"]}
    ill.undo.callback(ill.up)
    ill.undo.callback(ill.kubectl, "rollout", "restart", ill.workload("lightrag-api"))
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
