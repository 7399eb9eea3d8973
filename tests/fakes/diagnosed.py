"""Facts of healthy releases, one on each runtime, for tests that break one thing at a time."""

from datetime import UTC, datetime
from typing import Any

from lightragctl.core.diagnosis import Thresholds
from lightragctl.diagnose import keys
from lightragctl.diagnose.facts import Facts
from lightragctl.diagnose.judge import NOT_HERE
from lightragctl.diagnose.model import (
    BackupState,
    Certificate,
    Collection,
    Deployed,
    DocumentCounts,
    Endpoint,
    GoldenState,
    Holder,
    Inside,
    LightragState,
    Machine,
    NamespaceState,
    OpenOperation,
    PartOf,
    Process,
    Reached,
    Recorded,
    Replica,
    RowSample,
    Searched,
    Series,
    StoredModel,
    StorePlace,
    StoreState,
    Volume,
)

AT = 1_800_000_000.0
NAMESPACE = "lightrag"
SUFFIX = "e5_4d"
CHUNKS = f"default_chunks_{SUFFIX}_g1"
PARTS = {
    "lightrag-api": PartOf(["vector-engine", "model-gateway"], ["lightrag-server"], 8080),
    "model-gateway": PartOf(["embedder", "mock-llm"], [], 8081),
    "embedder": PartOf([], [], 8083),
    "mock-llm": PartOf([], [], 8082),
    "vector-engine": PartOf(["etcd", "kafka"], [], 19530, True),
    "etcd": PartOf([], [], 2379, True),
    "kafka": PartOf([], [], 9092, True),
    "lightrag-server": PartOf(["vector-engine", "model-gateway"], [], 9621, True),
}
OURS = ("lightrag-api", "model-gateway", "embedder", "mock-llm")
MIB, GIB = 1024**2, 1024**3


def ago(seconds: float) -> str:
    """A time as the API server writes it."""
    return datetime.fromtimestamp(AT - seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def deployed(runtime: str, *names: str, **more: Any) -> Deployed:
    parts = {name: PARTS[name] for name in names}
    values: dict[str, Any] = {"model": "e5", "dimension": 4, "suffix": SUFFIX, "metric": "COSINE", "index_type": "HNSW"}
    values |= {"query_prefix": "query: ", "document_prefix": "passage: ", "components": parts}
    return Deployed("rel", "test", runtime, AT, NAMESPACE, **{**values, **more})


def _shared(facts: Facts) -> None:
    """What both runtimes have."""
    facts.put(keys.THRESHOLDS, Thresholds())
    facts.put(keys.SERVICES, [Replica(name, name, 200, 200, took_s=0.002) for name in OURS])
    facts.put(keys.METRICS, {f"{name}/{name}": healthy_series() for name in OURS})
    facts.put(keys.GROWTH, {})
    facts.put(
        keys.MODELS,
        [
            Endpoint("embedding", "e5", "", 200, took_s=0.01, dimension=4, norm=1.0),
            Endpoint("chat", "mock-llm", "", 200, took_s=0.01),
        ],
    )
    facts.put(keys.SEARCHED, Searched(200, took_s=0.02, hits=5, stages_ms={"embed": 9.0, "search": 4.0}))
    facts.put(keys.STORE, StoreState(True, took_s=0.003, version="2.3.5"))
    facts.put(keys.COLLECTIONS, [chunks(), control()])
    facts.put(keys.ROW_SAMPLE, RowSample(CHUNKS, 64, unit=64, reproduced=1.0, found=True))
    facts.put(keys.STORED_MODEL, StoredModel("e5", 4, "query: ", "passage: "))
    facts.put(keys.GOLDEN, GoldenState(1))
    facts.put(keys.NEWEST_BACKUP, BackupState(3600.0))
    facts.put(keys.DOCUMENTS, DocumentCounts(10, chunks=100, rows=100))
    facts.put(keys.SIGNS, {})
    facts.put(keys.OPERATIONS, [operation("running")])
    facts.put(
        keys.LIGHTRAG,
        LightragState(200, version="1.5.7", workspace="default", counts={"processed": 10}, without_key=401),
    )


def healthy_series() -> Series:
    return {
        "process_open_fds": [({}, 24.0)],
        "process_max_fds": [({}, 20000.0)],
        "lightragctl_loop_lag_seconds": [({}, 0.001)],
        "lightragctl_breaker_state": [({"backend": name}, 0.0) for name in ("milvus", "embedding", "chat")],
    }


def operation(phase: str, overdue_s: float = 0.0, driver: str = "ann@laptop") -> OpenOperation:
    hint: list[str | tuple[str, str]] = ["resume it: ", ("operations resume", "op1")]
    return OpenOperation("op1", "restore", phase, "copy", overdue_s, hint, driver)


def chunks(**more: Any) -> Collection:
    values: dict[str, Any] = {"aliases": [f"default_chunks_{SUFFIX}"], "dimension": 4, "index_type": "HNSW"}
    return Collection(CHUNKS, **{**values, "metric": "COSINE", "rows": 100, "pending_rows": 0, **more})


def control() -> Collection:
    return Collection("default_lightragctl", dimension=2, index_type="FLAT", metric="L2", rows=12, pending_rows=0)


def process(name: str, **more: Any) -> Process:
    pid = 100 + list(PARTS).index(name)
    port = PARTS[name].port
    values: dict[str, Any] = {"alive": True, "pid": pid, "started_at": AT - 5000, "holder": Holder(pid, "python", True)}
    return Process(name, port, **{**values, "rss_bytes": 100 * MIB, "log_bytes": 1000, **more})


def machine(**more: Any) -> Machine:
    values: dict[str, Any] = {"disk_bytes": 100 * GIB, "disk_free_bytes": 50 * GIB, "inodes": 1000, "inodes_free": 900}
    values |= {"memory_bytes": 16 * GIB, "memory_free_bytes": 8 * GIB, "cpus": 2, "load": 1.0}
    return Machine(True, True, **{**values, **more})


def local() -> Facts:
    """A healthy local release."""
    facts = Facts()
    facts.put(keys.DEPLOYED, deployed("local", *OURS, "vector-engine", "lightrag-server"))
    _shared(facts)
    facts.put(keys.MACHINE, machine())
    facts.put(keys.PROCESSES, [process(name) for name in (*OURS, "vector-engine", "lightrag-server")])
    for name, fact in keys.KNOWN.items():
        if name not in facts.values:
            facts.miss(fact, f"of a release on another runtime: {NOT_HERE}")
    return facts


def labels(component: str) -> dict[str, str]:
    return {"app.kubernetes.io/instance": "rel", "app.kubernetes.io/component": component}


def thing(kind: str, name: str, spec: Any = None, status: Any = None, **metadata: Any) -> dict[str, Any]:
    return {
        "kind": kind,
        "metadata": {"name": name, "namespace": NAMESPACE, "uid": f"u-{name}", **metadata},
        "spec": spec or {},
        "status": status or {},
    }


def container(component: str, **more: Any) -> dict[str, Any]:
    amounts = {"requests": {"cpu": "250m", "memory": "512Mi"}, "limits": {"cpu": "1", "memory": "1Gi"}}
    return {"name": component, "image": "lightragctl:1", "resources": amounts, "secretNames": [], **more}


def workload(component: str, ready: int = 1, **spec: Any) -> dict[str, Any]:
    pod = {"automountServiceAccountToken": False, "securityContext": {"runAsUser": 1000}}
    wanted = {
        "replicas": 1,
        "selector": {"matchLabels": labels(component)},
        "template": {"metadata": {"labels": labels(component)}, "spec": {**pod, "containers": [container(component)]}},
        **spec,
    }
    counts = {"replicas": 1, "readyReplicas": ready, "updatedReplicas": 1, "availableReplicas": ready}
    status = {"observedGeneration": 1, **counts}
    return thing("Deployment", f"rel-{component}", wanted, status, labels=labels(component), generation=1)


def pod(component: str, **more: Any) -> dict[str, Any]:
    """A pod that runs; `state`, `last` and `ready` are of its container, `status` and `metadata` are added."""
    own = {
        "name": component,
        "image": "lightragctl:1",
        "imageID": "sha256:a",
        "ready": more.pop("ready", True),
        "restartCount": more.pop("restarts", 0),
        "state": more.pop("state", {"running": {"startedAt": ago(40000)}}),
        "lastState": more.pop("last", {}),
    }
    is_ready = "True" if own["ready"] else "False"
    status = {"phase": "Running", "startTime": ago(40000), "containerStatuses": [own], **more.pop("status", {})}
    status.setdefault("conditions", [{"type": "Ready", "status": is_ready}])
    spec = {"nodeName": "node-1", "containers": [container(component)], **more.pop("spec", {})}
    return thing("Pod", f"rel-{component}-0", spec, status, labels=labels(component), **more)


def node(**more: Any) -> dict[str, Any]:
    offered = {"cpu": "8", "memory": "32Gi"}
    status = {"allocatable": offered, "capacity": offered, "conditions": [{"type": "Ready", "status": "True"}]}
    return thing("Node", "node-1", more.pop("spec", {}), {**status, **more})


def service(component: str, **spec: Any) -> dict[str, Any]:
    values = {"type": "ClusterIP", "selector": labels(component), "ports": [{"port": 1}], **spec}
    return thing("Service", f"rel-{component}", values, labels=labels(component))


def endpoints(component: str) -> dict[str, Any]:
    made = thing("EndpointSlice", f"rel-{component}-x", labels={"kubernetes.io/service-name": f"rel-{component}"})
    return {**made, "endpoints": [{"conditions": {"ready": True}}]}


def usage(name: str, memory: str, cpu: str = "100m") -> dict[str, Any]:
    part = name.removeprefix("rel-").removesuffix("-0")
    return {**thing("PodMetrics", name), "containers": [{"name": part, "usage": {"memory": memory, "cpu": cpu}}]}


def event(reason: str, message: str, component: str, kind: str = "Pod", at: str = "") -> dict[str, Any]:
    name = f"rel-{component}-0" if kind == "Pod" else f"rel-{component}"
    about = {"kind": kind, "name": name, "uid": f"u-{name}"}
    return {"reason": reason, "message": message, "involvedObject": about, "lastTimestamp": at or ago(30)}


def inside(**changes: Any) -> Inside:
    """What lightrag-api's pod sees; changes are of the connection to model-gateway."""
    reached = [Reached("rel-vector-engine:1", "vector-engine", took_s=0.004)]
    gateway = Reached("rel-model-gateway:1", "model-gateway", **{"took_s": 0.004, **changes})
    return Inside("lightrag-api", "rel-lightrag-api-0", "node-1", 0.1, [*reached, gateway])


def store_place(release: str, namespace: str) -> StorePlace:
    return StorePlace(release, namespace, "s3.example:443", "milvus", release)


def _bounds(facts: Facts) -> None:
    """What is used of what there is."""
    facts.put(keys.POD_METRICS, [usage(f"rel-{name}-0", "300Mi") for name in PARTS])
    facts.put(keys.NODE_METRICS, [{**thing("NodeMetrics", "node-1"), "usage": {"memory": "4Gi", "cpu": "1"}}])
    budget = {"disruptionsAllowed": 1, "currentHealthy": 2, "expectedPods": 2}
    facts.put(
        keys.BUDGETS, [thing("PodDisruptionBudget", "rel-x", {"selector": {"matchLabels": labels("etcd")}}, budget)]
    )
    quota = {"hard": {"pods": "20"}, "used": {"pods": "8"}}
    facts.put(keys.QUOTAS, [thing("ResourceQuota", "rel", {}, quota)])
    facts.put(keys.CERTIFICATES, [Certificate("rel-tls", AT + 60 * 86400, "Ingress/rel-lightrag-api")])


def cluster() -> Facts:
    """A healthy release on a cluster."""
    facts = Facts()
    sizes = {"query_memory_bytes": 4 * GIB, "api_memory_bytes": GIB, "cache_bytes": 128 * MIB}
    sizes |= {"jvm_heap_bytes": 512 * MIB, "jvm_memory_bytes": GIB, "etcd_quota_bytes": 4 * GIB}
    facts.put(keys.DEPLOYED, deployed("kubernetes", *PARTS, **sizes))
    _shared(facts)
    milvus: Series = {
        "milvus_querynode_entity_num": [({"segment_state": "Sealed"}, 100_000.0), ({"segment_state": "Growing"}, 10.0)],
        "milvus_proxy_tt_lag_ms": [({}, 300.0)],
        "milvus_rootcoord_quota_states": [({"quota_states": "DenyToWrite"}, 0.0)],
        "milvus_datacoord_channel_checkpoint_unix_seconds": [({}, AT - 60)],
    }
    etcd: Series = {"etcd_server_has_leader": [({}, 1.0)], "etcd_mvcc_db_total_size_in_bytes": [({}, 40.0 * MIB)]}
    facts[keys.METRICS]["vector-engine/rel-vector-engine-0"] = milvus
    facts[keys.METRICS]["etcd/rel-etcd-0"] = etcd
    facts.put(keys.RECORD, Recorded("applied", 3, list(PARTS)))
    for fact in (keys.DRIFT, keys.DANGERS, keys.RULES, keys.EVENTS, keys.AUTOSCALERS, keys.POLICIES, keys.INGRESSES):
        facts.put(fact, [])
    for more in (keys.REPLICA_SETS, keys.CLAIMS, keys.BINDINGS):
        facts.put(more, [])
    facts.put(keys.ASLEEP, {})
    facts.put(keys.STORE_PLACES, [store_place("rel", NAMESPACE), store_place("other", "elsewhere")])
    facts.put(keys.WORKLOADS, [workload(name) for name in PARTS])
    facts.put(keys.PODS, [pod(name) for name in PARTS])
    facts.put(keys.INSIDE, [inside()])
    facts.put(keys.VOLUMES, [Volume("etcd", "rel-etcd-0", "/data", 10 * GIB, 9 * GIB)])
    facts.put(keys.NAMESPACE, NamespaceState(NAMESPACE))
    facts.put(keys.RECENT_SIGNS, {"vector-engine": {"refused": 2}})
    facts.put(keys.CLUSTER_SERVICES, [service(name) for name in PARTS])
    facts.put(keys.SLICES, [endpoints(name) for name in PARTS])
    facts.put(keys.NODES, [node()])
    facts.put(keys.NODE_LEASES, [thing("Lease", "node-1", {"renewTime": ago(4)})])
    facts.put(keys.DNS_PODS, [pod("kube-dns")])
    _bounds(facts)
    for name, fact in keys.KNOWN.items():
        if name not in facts.values:
            facts.miss(fact, f"of a release on another runtime: {NOT_HERE}")
    return facts
