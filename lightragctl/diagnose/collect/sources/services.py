"""How each replica of our services answers /healthz, /readyz and /metrics. Does network I/O."""

import re
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from functools import partial

import httpx

from lightragctl.client.series import parse_series
from lightragctl.components.etcd import METRICS_PORT as ETCD_PORT
from lightragctl.components.vector_engine import METRICS_PORT as MILVUS_PORT
from lightragctl.core.errors import NotRunningError
from lightragctl.deploy.runtime import KubernetesRuntime
from lightragctl.diagnose.collect.source import ANSWER_S, Collector, Source
from lightragctl.diagnose.facts import Facts
from lightragctl.diagnose.keys import GROWTH, METRICS, SERVICES
from lightragctl.diagnose.model import Replica, Series
from lightragctl.diagnose.text import redacted
from lightragctl.kube.labels import component_of
from lightragctl.kube.objects import is_ready, is_terminating, name_of
from lightragctl.kube.streams import Tunnel

_WINDOW_S = 1.0
_AT_ONCE = 8
_COUNTERS = ("_total", "_count", "_bucket", "_sum")
OURS = ("lightrag-api", "model-gateway", "embedder", "mock-llm")
_SERIES = re.compile(
    r"lightragctl_(?!.*_created$)\w+|process_(resident_memory_bytes|open_fds|max_fds|start_time_seconds)"
    r"|milvus_(proxy_(tt_lag_ms|rate_limit_req_count|req_count|sq_latency_(bucket|sum|count)|"
    r"req_in_queue_latency_(bucket|sum|count))|rootcoord_(quota_states|produce_tt_lag_ms|proxy_num)"
    r"|querynode_(entity_num|consume_tt_lag_ms|sq_(queue|core|reduce|wait_tsafe)_latency_(sum|count)|disk_used_size)"
    r"|datacoord_(channel_checkpoint_unix_seconds|index_task_count|task_count|stored_rows_num)"
    r"|datanode_consume_tt_lag_ms|querycoord_(collection_num|querynode_num)|num_node)"
    r"|etcd_(server_has_leader|server_leader_changes_seen_total|mvcc_db_total_size_in_bytes|"
    r"disk_wal_fsync_duration_seconds_(bucket|sum|count)|server_quota_backend_bytes)"
    r"|vllm:(num_requests_(waiting|running)|gpu_cache_usage_perc|kv_cache_usage_perc)"
    r"|te_queue_size"
)
"""The series that checks read; nothing else of /metrics is kept."""


def read_services(source: Source, facts: Facts) -> None:
    """Put `SERVICES`."""
    names = [name for name in OURS if name in source.deployed.components]
    with ThreadPoolExecutor(max(1, len(names))) as pool:
        found = pool.map(lambda name: _replicas(source, name), names)
        facts.put(SERVICES, [one for group in found for one in group])


def _replicas(source: Source, component: str) -> list[Replica]:
    try:
        addresses = source.addresses(component)
    except NotRunningError as error:  # what we may not reach is missing, and no finding
        return [Replica(component, component, error=redacted(error.message))]
    return [_replica(source, component, name, url) for name, url in addresses.items()]


def _replica(source: Source, component: str, name: str, url: str) -> Replica:
    begin = time.monotonic()
    try:
        live = source.http.get(f"{url}/healthz")
        took_s = time.monotonic() - begin
        ready = source.http.get(f"{url}/readyz")
    except httpx.HTTPError as error:
        why = f"no answer within {ANSWER_S:g} s" if isinstance(error, httpx.TimeoutException) else str(error)
        return Replica(component, name, error=redacted(why or type(error).__name__))
    return Replica(component, name, live.status_code, ready.status_code, _detail(ready), "", round(took_s, 4))


def _detail(answer: httpx.Response) -> str:
    """Why a service is not ready; empty when it is."""
    if answer.is_success:
        return ""
    try:
        document = answer.json()
    except ValueError:
        return f"it answered {answer.status_code}"
    return redacted(str(document.get("detail") or "") if isinstance(document, dict) else "")


def read_metrics(source: Source, facts: Facts) -> None:
    """Put `METRICS`, of what answers, and `GROWTH`: what counters grew by in `_WINDOW_S`, while others collect."""
    with ExitStack() as opened:
        targets = {**_of_services(source), **({} if source.is_local else _of_engines(source, opened))}
        before = _look(source, targets)
        time.sleep(_WINDOW_S)
        after = _look(source, targets)
    facts.put(METRICS, after)
    facts.put(GROWTH, {key: _grown(before[key], series) for key, series in after.items() if key in before})


def _grown(before: Series, after: Series) -> Series:
    """By how much each counter grew; nothing of a process that was restarted between."""
    if before.get("process_start_time_seconds") != after.get("process_start_time_seconds"):
        return {}
    found: Series = {}
    for name, samples in after.items():
        then = {tuple(sorted(labels.items())): value for labels, value in before.get(name, ())}
        if name.endswith(_COUNTERS):
            found[name] = [(one, value - then.get(tuple(sorted(one.items())), 0.0)) for one, value in samples]
    return found


def _look(source: Source, targets: Mapping[str, str]) -> dict[str, Series]:
    """The series of each target that answers."""
    with ThreadPoolExecutor(max(1, min(len(targets), _AT_ONCE))) as pool:
        found = pool.map(lambda url: _series(source, url), targets.values())
        return {key: series for key, series in zip(targets, found, strict=True) if series}


def _of_services(source: Source) -> dict[str, str]:
    """Addresses of the replicas of our services, by component/replica; of those that are ready."""
    found: dict[str, str] = {}
    for component in (name for name in (*OURS, "lightrag-server") if name in source.deployed.components):
        try:
            found |= {f"{component}/{name}": url for name, url in source.addresses(component).items()}
        except NotRunningError:
            continue
    return found


def _series(source: Source, url: str) -> Series:
    try:
        answer = source.http.get(f"{url}/metrics")
    except httpx.HTTPError:
        return {}
    if not answer.is_success:
        return {}
    parsed = parse_series(answer.text, lambda name: _SERIES.fullmatch(name) is not None)
    return {name: list(samples) for name, samples in parsed.items()}


def _of_engines(source: Source, opened: ExitStack) -> dict[str, str]:
    """Addresses of the pods of Milvus, etcd and model servers, whose metrics have a port of their own."""
    found: dict[str, str] = {}
    runtime = source.release.runtime
    if not isinstance(runtime, KubernetesRuntime):
        return found
    for pod in source.scope.cluster.select("v1", "Pod", source.scope.namespace, source.scope.pods):
        port = {"vector-engine": MILVUS_PORT, "etcd": ETCD_PORT}.get(component_of(pod))
        if component_of(pod) == "model-server":
            port = int(pod["spec"]["containers"][0]["ports"][0]["containerPort"])
        if port is None or not is_ready(pod) or is_terminating(pod):
            continue
        pick = partial(_place, source.scope.namespace, name_of(pod), port)
        tunnel = opened.enter_context(closing(Tunnel(runtime.client, pick, 0, lambda reason: None)))
        found[f"{component_of(pod)}/{name_of(pod)}"] = f"http://127.0.0.1:{tunnel.port}"
    return found


def _place(namespace: str, pod: str, port: int) -> tuple[str, str, int]:
    return namespace, pod, port


COLLECTORS = (
    Collector("services", (SERVICES,), read_services, deadline_s=15.0),
    Collector("metrics", (METRICS, GROWTH), read_metrics, deadline_s=30.0),
)
