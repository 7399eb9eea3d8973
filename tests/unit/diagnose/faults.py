"""For each check what makes it fire: a healthy release with one thing changed, and what was changed in words."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from lightragctl.diagnose import keys
from lightragctl.diagnose.facts import Fact, Facts
from lightragctl.diagnose.model import (
    BackupState,
    Certificate,
    Change,
    Collection,
    DocumentCounts,
    GoldenState,
    Holder,
    NamespaceState,
    Replica,
    StoreState,
    Volume,
    Written,
)
from tests.fakes import diagnosed as healthy
from tests.fakes.diagnosed import AT, CHUNKS, GIB, MIB, ago, event, pod, thing, workload

T = TypeVar("T")
GPU = "nvidia.com/gpu"


@dataclass(frozen=True)
class Fault:
    """One thing that is broken; `on` makes the healthy release, `break_` changes it."""

    on: Callable[[], Facts]
    break_: Callable[[Facts], None]

    def facts(self) -> Facts:
        facts = self.on()
        self.break_(facts)
        return facts


def with_(fact: Fact[T], **changes: Any) -> Callable[[Facts], None]:
    """Change fields of a fact that is one record."""

    def act(facts: Facts) -> None:
        value: Any = facts[fact]
        facts.put(fact, replace(value, **changes))

    return act


def put(fact: Fact[T], value: T) -> Callable[[Facts], None]:
    return lambda facts: facts.put(fact, value)


def several(*acts: Callable[[Facts], None]) -> Callable[[Facts], None]:
    def act(facts: Facts) -> None:
        for one in acts:
            one(facts)

    return act


def local(act: Callable[[Facts], None]) -> Fault:
    return Fault(healthy.local, act)


def cluster(act: Callable[[Facts], None]) -> Fault:
    return Fault(healthy.cluster, act)


def processes(name: str, **changes: Any) -> Callable[[Facts], None]:
    def act(facts: Facts) -> None:
        facts.put(
            keys.PROCESSES, [replace(one, **changes) if one.name == name else one for one in facts[keys.PROCESSES]]
        )

    return act


def of(fact: Fact[list[dict[str, Any]]], *things: dict[str, Any]) -> Callable[[Facts], None]:
    """Put objects in the place of those of the same names."""
    names = {one["metadata"]["name"] for one in things}

    def act(facts: Facts) -> None:
        kept = [one for one in facts[fact] if one["metadata"]["name"] not in names]
        facts.put(fact, [*kept, *things])

    return act


def sick(component: str, state: dict[str, Any] | None = None, *events: dict[str, Any], **more: Any) -> Fault:
    """A workload without ready pods, whose pod is in a state."""
    one = pod(component, ready=False, state=state or {}, **more)
    acts = (of(keys.WORKLOADS, workload(component, 0)), of(keys.PODS, one), put(keys.EVENTS, list(events)))
    return cluster(several(*acts))


def waiting(reason: str, message: str = "") -> dict[str, Any]:
    return {"waiting": {"reason": reason, "message": message}}


def ended(reason: str, code: int, at: float = 60) -> dict[str, Any]:
    return {"terminated": {"reason": reason, "exitCode": code, "startedAt": ago(at + 60), "finishedAt": ago(at)}}


def refused(message: str) -> Fault:
    failing = workload("embedder", 0)
    failing["status"] |= {
        "replicas": 0,
        "conditions": [{"type": "ReplicaFailure", "status": "True", "message": message}],
    }
    gone = lambda facts: facts.put(  # noqa: E731
        keys.PODS, [one for one in facts[keys.PODS] if one["metadata"]["name"] != "rel-embedder-0"]
    )
    return cluster(several(of(keys.WORKLOADS, failing), gone))


def unscheduled(message: str, **more: Any) -> Fault:
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
    status = {"phase": "Pending", "conditions": [condition], "containerStatuses": []}
    return sick("embedder", None, status=status, **more)


def metrics(component: str, name: str, value: float, **labels: str) -> Callable[[Facts], None]:
    def act(facts: Facts) -> None:
        key = next((one for one in facts[keys.METRICS] if one.startswith(f"{component}/")), f"{component}/x")
        facts[keys.METRICS].setdefault(key, {})[name] = [(labels, value)]

    return act


def growth(component: str, **series: list[tuple[dict[str, str], float]]) -> Callable[[Facts], None]:
    return put(keys.GROWTH, {f"{component}/x": dict(series)})


def endpoint(**changes: Any) -> Callable[[Facts], None]:
    def act(facts: Facts) -> None:
        facts.put(keys.MODELS, [replace(facts[keys.MODELS][0], **changes), facts[keys.MODELS][1]])

    return act


def collection(**changes: Any) -> Callable[[Facts], None]:
    return put(keys.COLLECTIONS, [healthy.chunks(**changes), healthy.control()])


def more_collections(*names: str, **values: Any) -> Callable[[Facts], None]:
    return lambda facts: facts[keys.COLLECTIONS].extend(Collection(name, **values) for name in names)


def container_of(component: str, **changes: Any) -> dict[str, Any]:
    one = workload(component)
    one["spec"]["template"]["spec"]["containers"][0] |= changes
    return one


def second(component: str, **changes: Any) -> dict[str, Any]:
    """Another pod of a component, whose container differs."""
    one = pod(component, spec={"containers": [healthy.container(component, **changes)]})
    return {**one, "metadata": {**one["metadata"], "name": f"rel-{component}-1"}}


def pod_spec(component: str, **changes: Any) -> dict[str, Any]:
    one = workload(component)
    one["spec"]["template"]["spec"] |= changes
    return one


def scaler(kind: str, status: str, reason: str) -> dict[str, Any]:
    condition = {"type": kind, "status": status, "reason": reason, "message": "unable to get metrics"}
    target = {"kind": "Deployment", "name": "rel-lightrag-api"}
    spec = {"maxReplicas": 3, "scaleTargetRef": target}
    return thing("HorizontalPodAutoscaler", "by-hand", spec, {"conditions": [condition]})


def written(severity: str) -> Written:
    return Written("no-node", severity, "nodes", "no node has room", ["add nodes: ", ("up", "")])


def not_ready(kind: str, status: str) -> dict[str, Any]:
    conditions = {"Ready": {"type": "Ready", "status": "True"}}
    conditions[kind] = {"type": kind, "status": status, "message": "kubelet stopped"}
    return healthy.node(conditions=list(conditions.values()))


def ingress(tls: bool, component: str = "lightrag-api") -> dict[str, Any]:
    spec = {"rules": [{"host": "x"}], **({"tls": [{"secretName": "rel-tls"}]} if tls else {})}
    return thing("Ingress", f"rel-{component}", spec, labels=healthy.labels(component))


def unbound() -> Callable[[Facts], None]:
    claim = thing(
        "PersistentVolumeClaim",
        "data-0",
        {"storageClassName": "nope"},
        {"phase": "Pending"},
        labels=healthy.labels("etcd"),
    )
    about = {"kind": "PersistentVolumeClaim", "name": "data-0", "uid": "u-data-0"}
    failed = {"reason": "ProvisioningFailed", "message": 'storageclass "nope" not found', "involvedObject": about}
    acts = (of(keys.WORKLOADS, workload("etcd", 0)), put(keys.CLAIMS, [claim]), put(keys.EVENTS, [failed]))
    return several(*acts, of(keys.PODS, pod("etcd", ready=False, state={})))


def stateful(component: str, **more: Any) -> dict[str, Any]:
    one = workload(component, 0, **more)
    return {**one, "kind": "StatefulSet"}


EVERYTHING = {"selector": {"matchLabels": {"app.kubernetes.io/instance": "rel"}}}
REVISIONS = {"observedGeneration": 1, "updateRevision": "new", "currentRevision": "old", "replicas": 1}
STATEFUL_POD = {"labels": {**healthy.labels("etcd"), "controller-revision-hash": "old"}}

FAULTS: dict[str, Fault] = {
    "LR101": cluster(of(keys.NODES, not_ready("Ready", "Unknown"))),
    "LR102": cluster(of(keys.NODES, not_ready("DiskPressure", "True"))),
    "LR103": cluster(of(keys.NODES, healthy.node(capacity={GPU: "4"}, allocatable={GPU: "0"}))),
    "LR104": cluster(
        of(keys.QUOTAS, thing("ResourceQuota", "rel", {}, {"hard": {"pods": "10"}, "used": {"pods": "10"}}))
    ),
    "LR105": cluster(put(keys.DNS_PODS, [pod("kube-dns", ready=False)])),
    "LR106": cluster(put(keys.INSIDE, [replace(healthy.inside(), skew_s=-90.0)])),
    "LR107": cluster(put(keys.CERTIFICATES, [Certificate("rel-tls", AT - 86400, "Ingress/x")])),
    "LR108": cluster(put(keys.CERTIFICATES, [Certificate("rel-tls", AT + 20 * 86400, "Ingress/x")])),
    "LR109": cluster(put(keys.AUTOSCALERS, [scaler("ScalingActive", "False", "FailedGetResourceMetric")])),
    "LR110": cluster(put(keys.AUTOSCALERS, [scaler("ScalingLimited", "True", "TooManyReplicas")])),
    "LR111": cluster(
        put(
            keys.BUDGETS,
            [
                thing(
                    "PodDisruptionBudget",
                    "x",
                    EVERYTHING,
                    {"disruptionsAllowed": 0, "currentHealthy": 2, "expectedPods": 2},
                )
            ],
        )
    ),
    "LR112": cluster(
        put(keys.POLICIES, [thing("NetworkPolicy", "deny", {"podSelector": {}, "policyTypes": ["Egress"]})])
    ),
    "LR113": cluster(put(keys.RULES, [written("error")])),
    "LR114": cluster(put(keys.RULES, [written("warning")])),
    "LR115": cluster(put(keys.INSIDE, [healthy.inside(error="name")])),
    "LR116": cluster(put(keys.INSIDE, [healthy.inside(error="refused")])),
    "LR117": cluster(put(keys.INSIDE, [healthy.inside(took_s=0.8)])),
    "LR118": cluster(put(keys.NAMESPACE, NamespaceState(healthy.NAMESPACE, True, ["finalizers remaining"]))),
    "LR130": refused(
        'pods "x" is forbidden: exceeded quota: rel, requested: limits.memory=1Gi, used: limits.memory=8Gi, limited: 8'
    ),
    "LR131": refused('pods "x" is forbidden: maximum memory usage per Container is 512Mi, but limit is 1Gi'),
    "LR132": sick("embedder", waiting("CreateContainerConfigError", 'secret "keys" not found')),
    "LR133": refused('admission webhook "policy.example" denied the request: no'),
    "LR134": cluster(unbound()),
    "LR135": sick("embedder", None, status={"phase": "Failed", "reason": "Evicted", "message": "low on memory"}),
    "LR136": unscheduled("0/3 nodes are available: 1 node(s) had volume node affinity conflict."),
    "LR137": cluster(
        several(
            put(
                keys.WORKLOADS,
                [{**stateful("etcd"), "status": REVISIONS}],
            ),
            of(keys.PODS, {**pod("etcd", ready=False), "metadata": {**pod("etcd")["metadata"], **STATEFUL_POD}}),
        )
    ),
    "LR138": unscheduled("0/3 nodes are available: 3 Insufficient cpu."),
    "LR139": sick("embedder", waiting("ContainerCreating"), event("FailedMount", "timed out", "embedder")),
    "LR140": sick(
        "embedder",
        waiting("ContainerCreating"),
        event("FailedCreatePodSandBox", "rpc error: desc = plugin type=bridge failed", "embedder"),
    ),
    "LR141": sick("embedder", waiting("ImagePullBackOff", "not found")),
    "LR142": sick(
        "embedder",
        {"running": {"startedAt": ago(300)}},
        event("Unhealthy", "Readiness probe failed: HTTP probe failed with statuscode: 503", "embedder"),
    ),
    "LR143": sick(
        "embedder",
        waiting("CrashLoopBackOff"),
        event("Killing", "Container embedder failed liveness probe, will be restarted", "embedder"),
        last=ended("Error", 137, 20),
        restarts=3,
    ),
    "LR144": sick("embedder", waiting("RunContainerError", "exec: no such file")),
    "LR145": sick("embedder", waiting("CrashLoopBackOff"), last=ended("Error", 1), restarts=5),
    "LR146": sick("embedder", waiting("CrashLoopBackOff"), last=ended("OOMKilled", 137), restarts=2),
    "LR147": sick("embedder", {}, status={"phase": "Unknown", "reason": "NodeLost"}),
    "LR148": cluster(
        several(
            of(keys.WORKLOADS, stateful("etcd")),
            of(
                keys.PODS,
                pod("etcd", ready=False, deletionTimestamp=ago(-20), deletionGracePeriodSeconds=30),
            ),
        )
    ),
    "LR149": sick("embedder", waiting("ContainerCreating"), event("Pulling", "Pulling image x", "embedder")),
    "LR150": cluster(put(keys.ASLEEP, {"Deployment/rel-embedder": "scaled to 0 by kubectl-scale"})),
    "LR151": cluster(put(keys.DRIFT, [Change("Deployment/rel-embedder", "spec.replicas", "kubectl", ago(9))])),
    "LR152": cluster(put(keys.DRIFT, [Change("Deployment/rel-embedder", "", "", "")])),
    "LR153": cluster(with_(keys.RECORD, phase="applying", verdict="dead", held_by="ann@laptop")),
    "LR154": cluster(with_(keys.RECORD, phase="stopped", stopped=True)),
    "LR155": cluster(lambda facts: facts[keys.PODS].append(second("embedder", image="lightragctl:2"))),
    "LR156": cluster(of(keys.PODS, pod("embedder", last=ended("Error", 1), restarts=1))),
    "LR157": cluster(of(keys.PODS, pod("embedder", deletionTimestamp=ago(600), finalizers=["x.example/hold"]))),
    "LR158": cluster(
        put(
            keys.DANGERS,
            [Written("volume-at-risk", "warning", "PersistentVolumeClaim/x", "deleted", ["keep it"])],
        )
    ),
    "LR159": cluster(of(keys.WORKLOADS, workload("embedder", 0))),
    "LR160": cluster(of(keys.CLUSTER_SERVICES, healthy.service("embedder", selector={"app": "other"}))),
    "LR161": cluster(
        put(keys.DANGERS, [Written("config-outdated", "warning", "Pod/x", "started before Secret/y", ["restart it"])])
    ),
    "LR162": local(put(keys.OPERATIONS, [healthy.operation("needs attention")])),
    "LR560": local(several(with_(keys.DEPLOYED, backs_up=True), put(keys.NEWEST_BACKUP, BackupState()))),
    "LR561": cluster(put(keys.NEWEST_BACKUP, BackupState(200_000.0))),
    "LR163": cluster(put(keys.OPERATIONS, [healthy.operation("running", 900.0)])),
    "LR164": cluster(put(keys.OPERATIONS, [healthy.operation("running", driver="")])),
    "LR170": local(with_(keys.MACHINE, supervisor_alive=False)),
    "LR171": local(processes("embedder", alive=False, holder=None, last_exit="killed by SIGKILL")),
    "LR172": local(processes("embedder", alive=False, holder=Holder(7, "nginx", False))),
    "LR173": local(with_(keys.MACHINE, same_boot=False, supervisor_alive=False)),
    "LR174": local(processes("embedder", current=False)),
    "LR175": local(with_(keys.MACHINE, drafts=2)),
    "LR176": local(processes("embedder", not_ready="no answer on port 8083")),
    "LR177": local(processes("embedder", alive=False, program_there=False)),
    "LR178": local(with_(keys.MACHINE, writable=False)),
    "LR179": local(put(keys.PROCESSES, [])),
    "LR180": local(put(keys.SIGNS, {"embedder": {"disk-full": 3}})),
    "LR181": local(processes("embedder", stopped_state="stopped")),
    "LR182": local(with_(keys.MACHINE, missing_secrets=["model-gateway: environment variable KEY"])),
    "LR183": local(processes("embedder", restarts=1, last_exit="killed by SIGKILL", started_at=AT - 60)),
    "LR184": local(processes("embedder", not_ready="port 8083 is not open yet", started_at=AT - 5)),
    "LR185": local(with_(keys.MACHINE, load=90.0)),
    "LR188": local(processes("embedder", started_at=AT + 3600)),
    "LR189": local(processes("lightrag-api", open_files=1020, open_files_limit=1024)),
    "LR186": local(processes("embedder", failures=4, last_exit="exited with status 1")),
    "LR187": cluster(put(keys.RECENT_SIGNS, {"vector-engine": {"object-store-refused": 4}})),
    "LR200": local(put(keys.SERVICES, [Replica("embedder", "embedder", error="Connection refused")])),
    "LR201": local(with_(keys.SEARCHED, status=503, code="overloaded", error="too busy")),
    "LR202": local(with_(keys.SEARCHED, took_s=1.5, stages_ms={"embed": 1400.0, "search": 5.0})),
    "LR203": local(collection(state="NotLoad", rows=None)),
    "LR204": local(collection(state="Loading")),
    "LR205": local(collection(indexed=False, index_type="", metric="", state="NotLoad")),
    "LR206": local(collection(pending_rows=50)),
    "LR207": local(collection(metric="L2")),
    "LR208": local(collection(index_type="IVF_FLAT")),
    "LR209": cluster(metrics("vector-engine", "milvus_querynode_entity_num", 90_000.0, segment_state="Growing")),
    "LR210": cluster(metrics("vector-engine", "milvus_proxy_tt_lag_ms", 60_000.0)),
    "LR211": cluster(metrics("vector-engine", "milvus_proxy_tt_lag_ms", 600_000.0)),
    "LR212": cluster(metrics("vector-engine", "milvus_rootcoord_quota_states", 1.0, quota_states="DenyToWrite")),
    "LR213": cluster(growth("vector-engine", milvus_proxy_rate_limit_req_count=[({"status": "fail"}, 3.0)])),
    "LR214": cluster(growth("lightrag-api", lightragctl_queue_rejected_total=[({"stage": "embed"}, 9.0)])),
    "LR215": cluster(
        growth(
            "lightrag-api",
            lightragctl_deadline_missed_total=[({"stage": "embed"}, 9.0)],
            lightragctl_http_requests_total=[({"code": "504"}, 20.0)],
        )
    ),
    "LR216": cluster(metrics("lightrag-api", "lightragctl_loop_lag_seconds", 9.0)),
    "LR217": cluster(
        growth("lightrag-api", lightragctl_http_requests_total=[({"code": "500", "route": "POST /retrieve"}, 5.0)])
    ),
    "LR218": cluster(metrics("lightrag-api", "lightragctl_breaker_state", 2.0, backend="milvus")),
    "LR219": cluster(put(keys.STORE, StoreState(False, "connection refused"))),
    "LR220": cluster(put(keys.STORE, StoreState(True, took_s=3.0))),
    "LR221": cluster(put(keys.SERVICES, [Replica("lightrag-api", "a", 200, 503, "starting")])),
    "LR222": cluster(
        metrics("vector-engine", "milvus_datacoord_channel_checkpoint_unix_seconds", AT - 9000, channel="x")
    ),
    "LR223": cluster(metrics("vector-engine", "milvus_datacoord_index_task_count", 2.0, index_task_status="failed")),
    "LR224": cluster(metrics("etcd", "etcd_server_has_leader", 0.0)),
    "LR225": cluster(
        several(
            metrics("etcd", "etcd_disk_wal_fsync_duration_seconds_bucket", 5.0, le="1.024"),
        )
    ),
    "LR226": cluster(
        growth(
            "vector-engine",
            milvus_proxy_req_in_queue_latency_sum=[({}, 5000.0)],
            milvus_proxy_req_in_queue_latency_count=[({}, 10.0)],
        )
    ),
    "LR301": local(endpoint(status=503, code="upstream_unreachable")),
    "LR302": local(endpoint(status=401, code="invalid_api_key", at="https://models.example")),
    "LR303": local(endpoint(status=429)),
    "LR304": local(endpoint(status=0, code="timeout", error="no answer within 20 s")),
    "LR305": local(endpoint(status=500)),
    "LR306": local(endpoint(status=404, code="model_not_found")),
    "LR307": local(endpoint(dimension=8)),
    "LR308": local(endpoint(norm=0.0)),
    "LR314": local(endpoint(code="not-openai")),
    "LR315": local(endpoint(status=429, code="insufficient_quota")),
    "LR309": local(endpoint(took_s=9.0)),
    "LR310": cluster(metrics("lightrag-api", "lightragctl_breaker_state", 2.0, backend="embedding")),
    "LR311": cluster(metrics("model-server", "vllm:num_requests_waiting", 40.0)),
    "LR312": cluster(metrics("model-server", "vllm:gpu_cache_usage_perc", 0.99)),
    "LR313": cluster(of(keys.WORKLOADS, container_of("embedder", resources={"limits": {GPU: "1"}}))),
    "LR401": cluster(of(keys.PODS, pod("embedder", last=ended("OOMKilled", 137, 3600), restarts=1))),
    "LR402": cluster(of(keys.POD_METRICS, healthy.usage("rel-embedder-0", "1010Mi"))),
    "LR403": cluster(of(keys.POD_METRICS, healthy.usage("rel-embedder-0", "900Mi"))),
    "LR404": cluster(
        put(keys.NODE_METRICS, [{**thing("NodeMetrics", "node-1"), "usage": {"memory": "31Gi", "cpu": "1"}}])
    ),
    "LR405": local(with_(keys.MACHINE, memory_free_bytes=100 * MIB)),
    "LR406": cluster(
        several(
            put(keys.COLLECTIONS, [healthy.chunks(rows=1_000_000, dimension=768), healthy.control()]),
            put(keys.DOCUMENTS, DocumentCounts(10, chunks=1_000_000)),
        )
    ),
    "LR407": cluster(with_(keys.DEPLOYED, jvm_heap_bytes=GIB)),
    "LR408": cluster(with_(keys.DEPLOYED, cache_bytes=GIB)),
    "LR409": local(metrics("lightrag-api", "process_open_fds", 19_500.0)),
    "LR410": local(with_(keys.MACHINE, disk_free_bytes=10 * GIB)),
    "LR411": local(with_(keys.MACHINE, disk_free_bytes=1 * GIB)),
    "LR412": local(with_(keys.MACHINE, inodes_free=3)),
    "LR413": cluster(metrics("etcd", "etcd_mvcc_db_total_size_in_bytes", 3.9 * GIB)),
    "LR414": cluster(put(keys.EVENTS, [event("Evicted", "The node was low on resource: memory.", "embedder")])),
    "LR415": cluster(put(keys.VOLUMES, [Volume("etcd", "rel-etcd-0", "/data", 10 * GIB, GIB)])),
    "LR416": cluster(put(keys.VOLUMES, [Volume("etcd", "rel-etcd-0", "/data", 10 * GIB, 100 * MIB)])),
    "LR501": local(with_(keys.DOCUMENTS, rows=90)),
    "LR502": local(
        several(
            with_(keys.DOCUMENTS, rows=120),
            lambda facts: with_(
                keys.DEPLOYED, components={k: v for k, v in healthy.PARTS.items() if k != "lightrag-server"}
            )(facts),
        )
    ),
    "LR503": local(with_(keys.ROW_SAMPLE, same_id=2)),
    "LR504": local(more_collections("default_chunks_other_8d_g1", rows=7)),
    "LR505": local(more_collections(f"{CHUNKS}_temp")),
    "LR506": local(more_collections("default_chunks")),
    "LR507": local(put(keys.DOCUMENTS, DocumentCounts(10, writing=1, oldest_writing_s=9000.0, chunks=90))),
    "LR508": local(put(keys.DOCUMENTS, DocumentCounts(10, outdated=4, chunks=100))),
    "LR509": local(collection(aliases=[])),
    "LR510": local(
        several(
            put(keys.COLLECTIONS, [Collection("default_chunks_other_8d_g1", rows=50), healthy.control()]),
            put(keys.DOCUMENTS, DocumentCounts(0)),
        )
    ),
    "LR511": local(collection(dimension=8)),
    "LR512": local(lambda facts: with_(keys.DEPLOYED, query_prefix="ask: ")(facts)),
    "LR513": local(collection(ttl_s=86400)),
    "LR514": local(with_(keys.ROW_SAMPLE, zero=40)),
    "LR515": local(several(with_(keys.DEPLOYED, metric="IP"), collection(metric="IP"), with_(keys.ROW_SAMPLE, unit=3))),
    "LR516": local(more_collections("default_entities_x", error="refused")),
    "LR517": local(put(keys.COLLECTIONS, [healthy.control()])),
    "LR518": cluster(lambda facts: facts[keys.STORE_PLACES].append(healthy.store_place("rel", "elsewhere"))),
    "LR551": local(with_(keys.ROW_SAMPLE, reproduced=0.4)),
    "LR552": local(with_(keys.ROW_SAMPLE, found=False)),
    "LR553": cluster(
        several(with_(keys.DEPLOYED, production=True), put(keys.GOLDEN, GoldenState(0)), collection(rows=5000))
    ),
    "LR554": local(with_(keys.SEARCHED, hits=0)),
    "LR601": cluster(several(put(keys.INGRESSES, [ingress(tls=True)]), with_(keys.SEARCHED, without_key=200))),
    "LR602": cluster(of(keys.CLUSTER_SERVICES, healthy.service("vector-engine", type="NodePort"))),
    "LR603": cluster(of(keys.WORKLOADS, pod_spec("embedder", hostNetwork=True))),
    "LR604": cluster(of(keys.WORKLOADS, container_of("embedder", securityContext={"runAsUser": 0}))),
    "LR605": cluster(of(keys.WORKLOADS, container_of("embedder", secretNames=["API_KEY"]))),
    "LR606": cluster(of(keys.WORKLOADS, pod_spec("embedder", automountServiceAccountToken=True))),
    "LR607": cluster(
        put(
            keys.BINDINGS,
            [
                {
                    **thing("RoleBinding", "wide"),
                    "roleRef": {"name": "cluster-admin"},
                    "subjects": [{"kind": "ServiceAccount", "name": "default"}],
                }
            ],
        )
    ),
    "LR608": local(with_(keys.MACHINE, folder_mode=0o755)),
    "LR609": cluster(several(put(keys.INGRESSES, [ingress(tls=False)]), with_(keys.DEPLOYED, production=True))),
    "LR700": local(with_(keys.LIGHTRAG, status=0, error="refused")),
    "LR701": local(with_(keys.LIGHTRAG, counts={"failed": 2})),
    "LR702": local(with_(keys.LIGHTRAG, recovery=True)),
    "LR703": local(with_(keys.LIGHTRAG, counts={"pending": 3})),
    "LR704": cluster(of(keys.WORKLOADS, workload("lightrag-server", replicas=2))),
    "LR705": cluster(with_(keys.LIGHTRAG, without_key=200)),
    "LR706": local(with_(keys.LIGHTRAG, workspace="other")),
    "LR707": local(with_(keys.LIGHTRAG, model="other-model")),
    "LR801": cluster(
        several(
            of(
                keys.PODS,
                pod(
                    "embedder",
                    spec={"containers": [healthy.container("embedder", resources={"requests": {"memory": "32Gi"}})]},
                ),
            )
        )
    ),
    "LR802": local(more_collections("other_chunks_x", rows=900_000, dimension=4)),
    "LR803": local(processes("embedder", log_bytes=900_000_000)),
    "LR804": cluster(
        put(
            keys.CLAIMS,
            [
                thing(
                    "PersistentVolumeClaim",
                    "data-old",
                    {"resources": {"requests": {"storage": "10Gi"}}},
                    {"phase": "Bound"},
                    labels=healthy.labels("model-server"),
                )
            ],
        )
    ),
}
"""One fault for each check."""
