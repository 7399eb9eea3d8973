"""The keys of all facts. Pure."""

from typing import Any

from lightragctl.core.diagnosis import Thresholds
from lightragctl.diagnose.facts import Fact, declared_in
from lightragctl.diagnose.model import (
    BackupState,
    Certificate,
    Change,
    Collection,
    Deployed,
    DocumentCounts,
    Endpoint,
    GoldenState,
    Inside,
    LightragState,
    Machine,
    NamespaceState,
    OpenOperation,
    Process,
    Recorded,
    Replica,
    RowSample,
    Searched,
    Series,
    Signs,
    StoredModel,
    StorePlace,
    StoreState,
    Volume,
    Written,
)

Objects = list[dict[str, Any]]

# Both runtimes
DEPLOYED: Fact[Deployed] = Fact("deployed", "the release as it was brought up", Deployed)
THRESHOLDS: Fact[Thresholds] = Fact("thresholds", "thresholds of the profile", Thresholds)
SERVICES: Fact[list[Replica]] = Fact("services", "/healthz and /readyz of each replica", list[Replica])
METRICS: Fact[dict[str, Series]] = Fact("metrics", "series of each replica, by component/replica", dict[str, Series])
GROWTH: Fact[dict[str, Series]] = Fact("growth", "how much counters grew while facts were read", dict[str, Series])
MODELS: Fact[list[Endpoint]] = Fact("models", "one small call to each model", list[Endpoint])
SEARCHED: Fact[Searched] = Fact("searched", "one search through lightrag-api", Searched)
STORE: Fact[StoreState] = Fact("store", "whether the vector store answers", StoreState)
COLLECTIONS: Fact[list[Collection]] = Fact("collections", "the store's collections", list[Collection])
ROW_SAMPLE: Fact[RowSample] = Fact("row_sample", "a sample of the stored rows, in numbers", RowSample)
STORED_MODEL: Fact[StoredModel | None] = Fact("stored_model", "the model that the rows came from", StoredModel | None)
GOLDEN: Fact[GoldenState] = Fact("golden", "the golden set", GoldenState)
NEWEST_BACKUP: Fact[BackupState] = Fact("newest_backup", "the newest backup of the workspace", BackupState)
DOCUMENTS: Fact[DocumentCounts] = Fact("documents", "documents of the workspace, in numbers", DocumentCounts)
LIGHTRAG: Fact[LightragState] = Fact("lightrag", "lightrag-server's health and documents", LightragState)
OPERATIONS: Fact[list[OpenOperation]] = Fact("operations", "operations that are not closed", list[OpenOperation])
SIGNS: Fact[Signs] = Fact("signs", "known errors in the logs of what is not ready", Signs)

# Local releases
MACHINE: Fact[Machine] = Fact("machine", "this machine and the release's folder", Machine)
PROCESSES: Fact[list[Process]] = Fact("processes", "the release's processes", list[Process])

# Releases on a cluster
RECORD: Fact[Recorded] = Fact("record", "the release's record and lock", Recorded)
DRIFT: Fact[list[Change]] = Fact("drift", "fields changed by other managers", list[Change])
ASLEEP: Fact[dict[str, str]] = Fact("asleep", "workloads scaled to zero by others", dict[str, str])
DANGERS: Fact[list[Written]] = Fact("dangers", "risks for the release's data and configuration", list[Written])
RULES: Fact[list[Written]] = Fact("rules", "what the rules find in the profile and the cluster", list[Written])
WORKLOADS: Fact[Objects] = Fact("workloads", "Deployments and StatefulSets", Objects)
REPLICA_SETS: Fact[Objects] = Fact("replica_sets", "ReplicaSets", Objects)
PODS: Fact[Objects] = Fact("pods", "the release's pods", Objects)
CLAIMS: Fact[Objects] = Fact("claims", "volume claims", Objects)
EVENTS: Fact[Objects] = Fact("events", "events of the namespace", Objects)
CLUSTER_SERVICES: Fact[Objects] = Fact("cluster_services", "Services", Objects)
SLICES: Fact[Objects] = Fact("endpoint_slices", "EndpointSlices", Objects)
AUTOSCALERS: Fact[Objects] = Fact("autoscalers", "HorizontalPodAutoscalers", Objects)
BUDGETS: Fact[Objects] = Fact("budgets", "PodDisruptionBudgets", Objects)
QUOTAS: Fact[Objects] = Fact("quotas", "ResourceQuotas", Objects)
POLICIES: Fact[Objects] = Fact("policies", "NetworkPolicies of the namespace", Objects)
INGRESSES: Fact[Objects] = Fact("ingresses", "Ingresses", Objects)
BINDINGS: Fact[Objects] = Fact("bindings", "RoleBindings of the namespace", Objects)
NODES: Fact[Objects] = Fact("nodes", "nodes", Objects)
NODE_LEASES: Fact[Objects] = Fact("node_leases", "the nodes' leases", Objects)
DNS_PODS: Fact[Objects] = Fact("dns_pods", "the cluster's DNS pods", Objects)
POD_METRICS: Fact[Objects] = Fact("pod_metrics", "what the pods use", Objects)
NODE_METRICS: Fact[Objects] = Fact("node_metrics", "what the nodes use", Objects)
STORE_PLACES: Fact[list[StorePlace]] = Fact("store_places", "buckets of all releases", list[StorePlace])
CERTIFICATES: Fact[list[Certificate]] = Fact("certificates", "certificates of Ingresses", list[Certificate])
INSIDE: Fact[list[Inside]] = Fact("inside", "names, connections and clocks, tried from inside pods", list[Inside])
VOLUMES: Fact[list[Volume]] = Fact("volumes", "free space of the pods' volumes", list[Volume])
NAMESPACE: Fact[NamespaceState] = Fact("namespace", "the release's namespace", NamespaceState)
RECENT_SIGNS: Fact[Signs] = Fact("recent_signs", "known errors in the last two minutes of logs of ready pods", Signs)
LAST_LINES: Fact[dict[str, list[str]]] = Fact("last_lines", "ends of logs", dict[str, list[str]], private=True)

KNOWN = {fact.name: fact for fact in declared_in(dict(globals()))}
"""All facts, by name."""
