"""Checks of memory, disks and other bounds, on both runtimes. Pure."""

from collections.abc import Iterator
from functools import partial

from lightragctl.core.findings import Severity
from lightragctl.core.hint import Command, Hint
from lightragctl.core.quantity import quantity
from lightragctl.diagnose.check import OOM, SLOW, UNAVAILABLE, Category, Check, Trouble
from lightragctl.diagnose.facts import Facts
from lightragctl.diagnose.keys import (
    COLLECTIONS,
    DEPLOYED,
    EVENTS,
    MACHINE,
    METRICS,
    NODE_METRICS,
    NODES,
    POD_METRICS,
    PODS,
    THRESHOLDS,
)
from lightragctl.diagnose.lookup import of_component, unix
from lightragctl.diagnose.text import percent, share, sized
from lightragctl.kube.labels import component_of
from lightragctl.kube.objects import Part, container_statuses, name_of, spec_of, status_of

_ROW_OVERHEAD = 1.5
"""What an index in memory takes, as a multiple of the vectors; HNSW with m=16 of 384 floats takes about 1.2."""


def _killed(facts: Facts) -> Iterator[Trouble]:
    now, recent_s = facts[DEPLOYED].at, facts[THRESHOLDS].oom_recent_s
    for pod in facts[PODS]:
        for one in container_statuses(pod):
            ended = (one.get("lastState") or {}).get("terminated") or {}
            at = unix(str(ended.get("finishedAt") or ""))
            if ended.get("reason") == "OOMKilled" and (at is None or now - at < recent_s):
                ago = "" if at is None else f" {(now - at) / 60:.0f} minutes ago"
                message = f"container {one.get('name')} was killed{ago}: it used more memory than its limit"
                hint = Hint(f"raise components.{component_of(pod)}.resources.limits.memory, then: ", Command("up"))
                evidence = (f"lastState OOMKilled, exit code {ended.get('exitCode')}", f"limit {_limit(pod, one)}")
                yield Trouble(f"Pod/{name_of(pod)}", message, hint, evidence=evidence, component=component_of(pod))


def _limit(pod: dict[str, object], status: object) -> str:
    name = status.get("name") if isinstance(status, dict) else ""
    found: Part = next((one for one in spec_of(pod).get("containers") or () if one.get("name") == name), {})
    return str(((found.get("resources") or {}).get("limits") or {}).get("memory", "none"))


def _use(facts: Facts) -> Iterator[tuple[dict[str, object], str, float, float]]:
    """Pod, container, bytes used and bytes allowed, where both are known."""
    used = {
        (name_of(one), str(each.get("name"))): float(quantity((each.get("usage") or {}).get("memory", "0")))
        for one in facts[POD_METRICS]
        for each in one.get("containers") or ()
    }
    for pod in facts[PODS]:
        for container in spec_of(pod).get("containers") or ():
            limit = ((container.get("resources") or {}).get("limits") or {}).get("memory")
            key = (name_of(pod), str(container.get("name")))
            if limit and key in used:
                yield pod, key[1], used[key], float(quantity(limit))


def _near_limit(facts: Facts, least: float, most: float) -> Iterator[Trouble]:
    for pod, container, used, limit in _use(facts):
        if least < share(used, limit) <= most:
            message = f"container {container} uses {sized(used)} of {sized(limit)} ({percent(used, limit)})"
            hint = Hint(f"raise components.{component_of(pod)}.resources.limits.memory, then: ", Command("up"))
            evidence = (f"metrics.k8s.io, threshold {least:.0%}",)
            yield Trouble(f"Pod/{name_of(pod)}", message, hint, evidence=evidence, component=component_of(pod))


def _high(facts: Facts) -> Iterator[Trouble]:
    yield from _near_limit(facts, facts[THRESHOLDS].memory_high, facts[THRESHOLDS].memory_critical)


def _critical(facts: Facts) -> Iterator[Trouble]:
    yield from _near_limit(facts, facts[THRESHOLDS].memory_critical, float("inf"))


def _node_memory(facts: Facts) -> Iterator[Trouble]:
    used = {name_of(one): float(quantity((one.get("usage") or {}).get("memory", "0"))) for one in facts[NODE_METRICS]}
    ours = {str(spec_of(pod).get("nodeName")) for pod in facts[PODS]}
    most = facts[THRESHOLDS].memory_critical
    for node in facts[NODES]:
        there = float(quantity((status_of(node).get("allocatable") or {}).get("memory", "0")))
        if name_of(node) in used.keys() & ours and share(used[name_of(node)], there) > most:
            message = f"its pods use {percent(used[name_of(node)], there)} of its memory: the kubelet will evict pods"
            hint = Hint("add nodes, or make requests equal to limits for the stores")
            yield Trouble(f"Node/{name_of(node)}", message, hint, evidence=(f"threshold {most:.0%}",))


def _machine(facts: Facts) -> Iterator[Trouble]:
    machine, most = facts[MACHINE], facts[THRESHOLDS].memory_critical
    used = machine.memory_bytes - machine.memory_free_bytes
    if share(used, machine.memory_bytes) > most:
        message = f"{percent(used, machine.memory_bytes)} of its memory are in use; the kernel may kill a process"
        hint = Hint("stop other programs, or load fewer documents: ps aux --sort -rss")
        yield Trouble("machine", message, hint, evidence=(f"threshold {most:.0%}",))


def _loaded(facts: Facts) -> Iterator[Trouble]:
    """A forecast: rows of loaded collections by their vectors, against the memory of the query nodes."""
    memory, most = facts[DEPLOYED].query_memory_bytes, facts[THRESHOLDS].loaded_memory
    loaded = [one for one in facts[COLLECTIONS] if one.state == "Loaded" and one.rows and one.dimension]
    needed = sum((one.rows or 0) * (one.dimension or 0) * 4 * _ROW_OVERHEAD for one in loaded)
    if memory and share(needed, memory) > most:
        message = f"loaded collections need about {sized(needed)} of the query nodes' {sized(memory)}"
        hint = Hint("add query nodes or memory: components.vector-engine; or release collections that are not used")
        rows = sum(one.rows or 0 for one in loaded)
        evidence = (f"{rows} rows in {len(loaded)} collections, {percent(needed, memory)}, threshold {most:.0%}",)
        yield Trouble("vector-engine", message, hint, evidence=evidence, component="vector-engine")


def _heap(facts: Facts) -> Iterator[Trouble]:
    release, most = facts[DEPLOYED], facts[THRESHOLDS].jvm_heap
    if release.jvm_memory_bytes and share(release.jvm_heap_bytes, release.jvm_memory_bytes) > most:
        heap, limit = release.jvm_heap_bytes, release.jvm_memory_bytes
        message = f"its JVM heap is {sized(heap)} of a limit of {sized(limit)}: no room for threads and buffers"
        hint = Hint(
            "lower components.kafka.heap, or raise components.kafka.resources.limits.memory; then: ", Command("up")
        )
        yield Trouble("kafka", message, hint, evidence=(f"{percent(heap, limit)}, threshold {most:.0%}",))


def _caches(facts: Facts) -> Iterator[Trouble]:
    release, most = facts[DEPLOYED], facts[THRESHOLDS].cache_memory
    if release.api_memory_bytes and share(release.cache_bytes, release.api_memory_bytes) > most:
        cache, limit = release.cache_bytes, release.api_memory_bytes
        message = f"its caches may hold {sized(cache)} of a limit of {sized(limit)}"
        hint = Hint("lower components.lightrag-api.cache, or raise its limits.memory; then: ", Command("up"))
        yield Trouble("lightrag-api", message, hint, evidence=(f"{percent(cache, limit)}, threshold {most:.0%}",))


def _files(facts: Facts) -> Iterator[Trouble]:
    most = facts[THRESHOLDS].open_files
    for key, series in facts[METRICS].items():
        opened = max((value for _, value in series.get("process_open_fds", ())), default=0.0)
        limit = max((value for _, value in series.get("process_max_fds", ())), default=0.0)
        if share(opened, limit) > most:
            message = f"it has {opened:.0f} of {limit:.0f} files open; at the limit it refuses connections"
            hint = Hint("raise the limit (ulimit -n), or find the clients that keep connections open")
            yield Trouble(key, message, hint, evidence=(f"process_open_fds, threshold {most:.0%}",))


def _disk(facts: Facts, least: float, most: float) -> Iterator[Trouble]:
    machine = facts[MACHINE]
    used = machine.disk_bytes - machine.disk_free_bytes
    if least < share(used, machine.disk_bytes) <= most:
        message = f"{percent(used, machine.disk_bytes)} are in use, {sized(machine.disk_free_bytes)} are free"
        hint = Hint("free space, or set XDG_DATA_HOME to another disk: du -xsh ~/.local/share/lightragctl")
        yield Trouble("disk", message, hint, evidence=(f"threshold {least:.0%}",))


def _disk_high(facts: Facts) -> Iterator[Trouble]:
    yield from _disk(facts, facts[THRESHOLDS].disk_high, facts[THRESHOLDS].disk_critical)


def _disk_critical(facts: Facts) -> Iterator[Trouble]:
    yield from _disk(facts, facts[THRESHOLDS].disk_critical, float("inf"))


def _inodes(facts: Facts) -> Iterator[Trouble]:
    machine, most = facts[MACHINE], facts[THRESHOLDS].disk_critical
    used = machine.inodes - machine.inodes_free
    if share(used, machine.inodes) > most:
        message = f"{percent(used, machine.inodes)} of its inodes are in use: no new file can be created"
        yield Trouble("disk", message, Hint("delete many small files: du --inodes -x -d2 /"))


def _etcd_size(facts: Facts) -> Iterator[Trouble]:
    most = facts[THRESHOLDS].etcd_size
    for name, series in of_component(facts[METRICS], "etcd"):
        size = max((value for _, value in series.get("etcd_mvcc_db_total_size_in_bytes", ())), default=0.0)
        told = max((value for _, value in series.get("etcd_server_quota_backend_bytes", ())), default=0.0)
        quota = told or facts[DEPLOYED].etcd_quota_bytes
        if share(size, quota) > most:
            message = f"its database is {sized(size)} of {sized(quota)}; when it is full, Milvus cannot change anything"
            hint = Hint("compact and defragment it (etcdctl compact, defrag), or raise components.etcd.quota_bytes")
            evidence = (f"{percent(size, quota)}, threshold {most:.0%}",)
            yield Trouble(f"etcd/{name}", message, hint, evidence=evidence, component="etcd")


def _evicted(facts: Facts) -> Iterator[Trouble]:
    now, recent_s = facts[DEPLOYED].at, facts[THRESHOLDS].restarts_recent_s
    ours = {name_of(pod): component_of(pod) for pod in facts[PODS]}
    for event in facts[EVENTS]:
        about = event.get("involvedObject") or {}
        at = unix(str(event.get("lastTimestamp") or event.get("eventTime") or ""))
        is_recent = at is not None and now - at < recent_s
        if event.get("reason") == "Evicted" and is_recent and about.get("name") in ours:
            message = f"it was evicted: {event.get('message')}"
            hint = Hint("make requests equal to limits, or add nodes: kubectl describe nodes")
            yield Trouble(f"Pod/{about['name']}", message, hint, component=ours[str(about["name"])])


_ERROR, _WARNING = Severity.ERROR, Severity.WARNING
_check = partial(Check, category=Category.MEMORY, symptoms=(OOM, UNAVAILABLE))
_RAISE = Hint("raise resources.limits.memory of the component, then: ", Command("up"))
_ROOM = Hint("free space on the disk")

CHECKS = (
    _check(
        code="LR401",
        title="no container was killed for its memory in the last day",
        severity=_ERROR,
        needs=(PODS, DEPLOYED, THRESHOLDS),
        judge=_killed,
        fix=_RAISE,
        explains=("LR145", "LR146", "LR156"),
        explains_own=True,
    ),
    _check(
        code="LR402",
        title="containers use less than 95 % of their memory limit",
        severity=_ERROR,
        needs=(POD_METRICS, PODS, THRESHOLDS),
        judge=_critical,
        fix=_RAISE,
        explains=("LR212",),
    ),
    _check(
        code="LR403",
        title="containers use less than 85 % of their memory limit",
        severity=_WARNING,
        needs=(POD_METRICS, PODS, THRESHOLDS),
        judge=_high,
        fix=_RAISE,
    ),
    _check(
        code="LR404",
        title="the nodes have free memory",
        severity=_WARNING,
        needs=(NODE_METRICS, NODES, PODS, THRESHOLDS),
        judge=_node_memory,
        fix=Hint("add nodes, or make requests equal to limits for the stores, so that they are not evicted"),
    ),
    _check(
        code="LR405",
        title="the machine has free memory",
        severity=_WARNING,
        needs=(MACHINE, THRESHOLDS),
        judge=_machine,
        fix=Hint("stop other programs, or load fewer documents: ps aux --sort -rss"),
    ),
    _check(
        code="LR406",
        title="loaded collections fit into the query nodes",
        severity=_WARNING,
        needs=(COLLECTIONS, DEPLOYED, THRESHOLDS),
        judge=_loaded,
        fix=Hint("add query nodes or memory before loading more: components.vector-engine, then: ", Command("up")),
        explains=("LR203", "LR204"),
    ),
    _check(
        code="LR407",
        title="JVM heaps leave room in their containers",
        severity=_WARNING,
        needs=(DEPLOYED, THRESHOLDS),
        judge=_heap,
        fix=Hint("set components.kafka.heap to half of its resources.limits.memory, then: ", Command("up")),
    ),
    _check(
        code="LR408",
        title="the caches of lightrag-api fit its memory limit",
        severity=_WARNING,
        needs=(DEPLOYED, THRESHOLDS),
        judge=_caches,
        fix=Hint("lower components.lightrag-api.cache, or raise its resources.limits.memory, then: ", Command("up")),
    ),
    _check(
        code="LR409",
        title="processes are below their limit of open files",
        severity=_WARNING,
        needs=(METRICS, THRESHOLDS),
        judge=_files,
        fix=Hint("raise the limit of open files (ulimit -n), and find the clients that keep connections open"),
    ),
    _check(
        code="LR410",
        title="the disk of the release has free space",
        severity=_WARNING,
        needs=(MACHINE, THRESHOLDS),
        judge=_disk_high,
        fix=Hint("free space, or set XDG_DATA_HOME to another disk before the next up"),
    ),
    _check(
        code="LR411",
        title="the disk of the release is not full",
        severity=_ERROR,
        needs=(MACHINE, THRESHOLDS),
        judge=_disk_critical,
        fix=Hint("free space; retry the commands that failed: ", Command("ingest", "PATH")),
        explains=("LR171", "LR174", "LR175", "LR176", "LR180", "LR201", "LR501"),
    ),
    _check(
        code="LR412",
        title="the disk of the release has inodes",
        severity=_ERROR,
        needs=(MACHINE, THRESHOLDS),
        judge=_inodes,
        fix=Hint("delete many small files: du --inodes -x -d2 /"),
        explains=("LR171", "LR180"),
    ),
    _check(
        code="LR413",
        title="etcd's database is below its quota",
        severity=_ERROR,
        needs=(METRICS, DEPLOYED, THRESHOLDS),
        judge=_etcd_size,
        fix=Hint(
            "compact and defragment etcd (etcdctl compact, defrag, alarm disarm), or raise components.etcd.quota_bytes"
        ),
        symptoms=(UNAVAILABLE, SLOW),
    ),
    _check(
        code="LR414",
        title="no pod was evicted recently",
        severity=_WARNING,
        needs=(EVENTS, PODS, DEPLOYED, THRESHOLDS),
        judge=_evicted,
        fix=Hint("make requests equal to limits for the component, or add nodes: kubectl describe nodes"),
    ),
)
