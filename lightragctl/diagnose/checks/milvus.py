"""Checks of the vector store, what stands behind it, and the collection of the passages. Pure."""

from collections.abc import Iterator
from functools import partial

from lightragctl.client.series import quantile, total
from lightragctl.core.findings import Severity
from lightragctl.core.hint import Command, Hint
from lightragctl.diagnose.check import OOM, SLOW, UNAVAILABLE, WRONG, Category, Check, Trouble
from lightragctl.diagnose.facts import Facts
from lightragctl.diagnose.keys import COLLECTIONS, DEPLOYED, GROWTH, METRICS, STORE, THRESHOLDS
from lightragctl.diagnose.lookup import chunks, merged, of_component
from lightragctl.diagnose.signatures import BY_NAME, count_signs
from lightragctl.diagnose.text import percent, share

_LOG = Hint("see its log: ", Command("logs"))


def _loaded(facts: Facts) -> Iterator[Trouble]:
    one = chunks(facts)
    if one is not None and not one.error and one.state not in ("Loaded", "Loading"):
        message = f"it is not loaded (state {one.state or 'unknown'}), so it cannot be searched"
        hint = Hint("it is loaded when documents are written or lightrag-api starts; query nodes need memory for it: ")
        hint = Hint(hint, Command("logs", "vector-engine"))
        yield Trouble(one.name, message, hint, component="vector-engine", evidence=(f"load state {one.state}",))


def _loading(facts: Facts) -> Iterator[Trouble]:
    for one in facts[COLLECTIONS]:
        if one.state == "Loading":
            message = "it is still loading: searches fail or are incomplete"
            hint = Hint("wait; if it stays so, query nodes lack memory: ", Command("logs", "vector-engine"))
            yield Trouble(one.name, message, hint, component="vector-engine", evidence=("load state Loading",))


def _indexed(facts: Facts) -> Iterator[Trouble]:
    one = chunks(facts)
    if one is not None and not one.error and not one.indexed:
        message = "it has no index: it cannot be loaded, and its search would compare all rows"
        hint = Hint("load a document again, which creates the index: ", Command("ingest"))
        yield Trouble(one.name, message, hint, component="vector-engine", evidence=("list_indexes returns none",))


def _pending(facts: Facts) -> Iterator[Trouble]:
    one, most = chunks(facts), facts[THRESHOLDS].unindexed_rows
    if one is not None and one.rows and one.pending_rows and share(one.pending_rows, one.rows) > most:
        message = f"{one.pending_rows} of {one.rows} rows are not indexed yet: they are searched one by one"
        hint = Hint("wait; if the number does not fall, see the index nodes: ", Command("logs", "vector-engine"))
        evidence = (f"{percent(one.pending_rows, one.rows)}, threshold {most:.0%}",)
        yield Trouble(one.name, message, hint, evidence=evidence)


def _metric(facts: Facts) -> Iterator[Trouble]:
    one, wanted = chunks(facts), facts[DEPLOYED].metric
    if one is not None and one.metric and wanted and one.metric != wanted:
        message = f"its index has the metric {one.metric}, and the profile searches with {wanted}"
        hint = Hint(
            f"set index.metric to {one.metric}, or load the documents into a new workspace; then: ", Command("up")
        )
        yield Trouble(one.name, message, hint, component="vector-engine", evidence=(f"index {one.index_type}",))


def _index_type(facts: Facts) -> Iterator[Trouble]:
    one, wanted = chunks(facts), facts[DEPLOYED].index_type
    if one is not None and one.index_type and wanted and one.index_type != wanted:
        message = f"its index is {one.index_type}, and the profile sets {wanted}: search parameters do not match"
        hint = Hint(f"set index.type to {one.index_type}, or load the documents into a new workspace")
        yield Trouble(one.name, message, hint)


def _growing(facts: Facts) -> Iterator[Trouble]:
    samples = merged(facts[METRICS], "vector-engine", "milvus_querynode_entity_num")
    growing, whole = total(samples, segment_state="Growing"), total(samples)
    most = facts[THRESHOLDS].growing_rows
    if whole > _FEW_ROWS and share(growing, whole) > most:
        message = f"{growing:.0f} of {whole:.0f} rows are in growing segments, which have no index"
        evidence = (f"milvus_querynode_entity_num: {percent(growing, whole)}, threshold {most:.0%}",)
        yield Trouble(
            "vector-engine", message, Hint("flush them: ", Command("ingest"), " does at its end"), evidence=evidence
        )


def _lag(facts: Facts, least_s: float, most_s: float) -> Iterator[Trouble]:
    for name in _LAGS:
        lags = [value / 1000 for _, value in merged(facts[METRICS], "vector-engine", f"milvus_{name}")]
        lag_s = max(lags, default=0.0)
        if least_s < lag_s <= most_s:
            message = f"its time ticks are {lag_s:.0f} s behind: searches wait, and new rows are not visible"
            hint = Hint("see the message queue and its consumers: ", Command("logs", "vector-engine"))
            evidence = (f"milvus_{name} {lag_s * 1000:.0f} ms, threshold {least_s:g} s",)
            yield Trouble("vector-engine", message, hint, evidence=evidence, component="vector-engine")
            return


def _lag_high(facts: Facts) -> Iterator[Trouble]:
    thresholds = facts[THRESHOLDS]
    yield from _lag(facts, thresholds.time_tick_lag_s, thresholds.time_tick_lag_critical_s)


def _lag_critical(facts: Facts) -> Iterator[Trouble]:
    yield from _lag(facts, facts[THRESHOLDS].time_tick_lag_critical_s, float("inf"))


def _quota(facts: Facts) -> Iterator[Trouble]:
    states = [one for one in merged(facts[METRICS], "vector-engine", "milvus_rootcoord_quota_states") if one[1]]
    if states:
        names = sorted({" ".join(labels.values()) for labels, _ in states})
        message = "Milvus denies or slows requests: its memory or its disk is at a limit"
        hint = Hint("raise the memory of query and data nodes, or load less: ", Command("logs", "vector-engine"))
        yield Trouble("vector-engine", message, hint, evidence=tuple(names), component="vector-engine")


def _limited(facts: Facts) -> Iterator[Trouble]:
    count = total(merged(facts[GROWTH], "vector-engine", "milvus_proxy_rate_limit_req_count"), status="fail")
    if count:
        message = f"Milvus refused {count:.0f} requests in the last seconds because of its rate limits"
        hint = Hint("raise quotaAndLimits of Milvus, or send fewer requests at a time")
        yield Trouble("vector-engine", message, hint, evidence=("milvus_proxy_rate_limit_req_count grows",))


def _unreached(facts: Facts) -> Iterator[Trouble]:
    one = facts[STORE]
    if not one.reached:
        known = BY_NAME.get(next(iter(count_signs([one.error])), ""))
        if known is not None and known.name in _OF_DATA:
            message, evidence = f"it does not answer: {known.meaning}", (one.error,)
            yield Trouble("vector-engine", message, known.fix, component="vector-engine", evidence=evidence)
            return
        message = f"it does not answer: {one.error}"
        hint = Hint("see whether it is up: ", Command("status"), "; its log: ", Command("logs", "vector-engine"))
        yield Trouble("vector-engine", message, hint, component="vector-engine")


_OF_DATA = ("data-damaged", "data-locked", "disk-full", "permission", "open-files")
"""Known errors that say more than that the store does not answer."""


def _far(facts: Facts) -> Iterator[Trouble]:
    one, most_s = facts[STORE], facts[THRESHOLDS].round_trip_s
    if one.reached and one.took_s > most_s:
        message = f"a trivial request takes {one.took_s:.2f} s: its network or its CPU is overloaded"
        hint = Hint("see its log: ", Command("logs", "vector-engine"))
        yield Trouble("vector-engine", message, hint, evidence=(f"list_collections, threshold {most_s:g} s",))


def _checkpoint(facts: Facts) -> Iterator[Trouble]:
    samples = merged(facts[METRICS], "vector-engine", "milvus_datacoord_channel_checkpoint_unix_seconds")
    oldest, most_s = min((value for _, value in samples if value), default=0.0), facts[THRESHOLDS].checkpoint_lag_s
    if oldest and facts[DEPLOYED].at - oldest > most_s:
        message = (
            f"a channel's checkpoint is {(facts[DEPLOYED].at - oldest) / 60:.0f} minutes old: data nodes do not flush"
        )
        hint = Hint("see the data nodes and the object store: ", Command("logs", "vector-engine"))
        yield Trouble("vector-engine", message, hint, evidence=(f"threshold {most_s:g} s",), component="vector-engine")


def _index_tasks(facts: Facts) -> Iterator[Trouble]:
    for name in ("milvus_datacoord_index_task_count", "milvus_datacoord_task_count"):
        samples = merged(facts[METRICS], "vector-engine", name)
        failed = sum(value for labels, value in samples if "failed" in " ".join(labels.values()).lower())
        if failed:
            message = f"{failed:.0f} tasks that build indexes have failed"
            hint = Hint("see why: ", Command("logs", "vector-engine"))
            yield Trouble("vector-engine", message, hint, evidence=(name,))


def _leader(facts: Facts) -> Iterator[Trouble]:
    for name, series in of_component(facts[METRICS], "etcd"):
        if any(value == 0 for _, value in series.get("etcd_server_has_leader", ())):
            message = "it has no leader: Milvus can neither start nor change anything"
            hint = Hint("the majority of etcd's members must run: ", Command("status"))
            yield Trouble(f"etcd/{name}", message, hint, evidence=("etcd_server_has_leader 0",), component="etcd")


def _fsync(facts: Facts) -> Iterator[Trouble]:
    most_s = facts[THRESHOLDS].etcd_fsync_s
    for name, series in of_component(facts[METRICS], "etcd"):
        took_s = quantile(series, "etcd_disk_wal_fsync_duration_seconds", 0.99)
        if took_s is not None and took_s > most_s:
            message = f"99 % of its writes to disk take up to {took_s:g} s: the disk is too slow"
            hint = Hint("give etcd a faster storage class: components.etcd.storage_class")
            yield Trouble(f"etcd/{name}", message, hint, evidence=(f"threshold {most_s:g} s",))


def _queued(facts: Facts) -> Iterator[Trouble]:
    for name, series in of_component(facts[GROWTH], "vector-engine"):
        waited = total(series.get("milvus_proxy_req_in_queue_latency_sum", ()))
        count = total(series.get("milvus_proxy_req_in_queue_latency_count", ()))
        if count >= _SOME and waited / count > _QUEUE_MS:
            message = f"requests wait {waited / count:.0f} ms in the proxy's queue"
            hint = Hint("add proxies or query nodes: components.vector-engine.roles")
            yield Trouble(f"vector-engine/{name}", message, hint, evidence=(f"threshold {_QUEUE_MS:g} ms",))


_FEW_ROWS = 10_000
_LAGS = ("proxy_tt_lag_ms", "rootcoord_produce_tt_lag_ms", "querynode_consume_tt_lag_ms", "datanode_consume_tt_lag_ms")
_QUEUE_MS = 200.0
_SOME = 3
_ERROR, _WARNING = Severity.ERROR, Severity.WARNING
_check = partial(Check, category=Category.RETRIEVAL)
_STORED = (COLLECTIONS, DEPLOYED, THRESHOLDS)

CHECKS = (
    _check(
        code="LR203",
        title="the workspace's passages are loaded",
        severity=_ERROR,
        needs=(COLLECTIONS, DEPLOYED),
        judge=_loaded,
        fix=Hint(
            "it is loaded when lightrag-api starts or documents are written; query nodes need memory for it: ",
            Command("logs", "vector-engine"),
        ),
        symptoms=(UNAVAILABLE, SLOW),
        explains=("LR201", "LR217", "LR221", "LR218", "LR142", "LR159", "LR176", "LR501", "LR552"),
    ),
    _check(
        code="LR204",
        title="no collection is being loaded",
        severity=_WARNING,
        needs=(COLLECTIONS,),
        judge=_loading,
        fix=Hint(
            "wait; if it stays so, query nodes lack memory or segments cannot be read: ",
            Command("logs", "vector-engine"),
        ),
        symptoms=(SLOW, UNAVAILABLE, WRONG),
        explains=("LR201", "LR221", "LR554"),
    ),
    _check(
        code="LR205",
        title="the workspace's passages have an index",
        severity=_ERROR,
        needs=(COLLECTIONS, DEPLOYED),
        judge=_indexed,
        fix=Hint("load a document again, which creates the index: ", Command("ingest", "PATH")),
        symptoms=(UNAVAILABLE, SLOW),
        explains=("LR201", "LR202", "LR203", "LR217", "LR218", "LR221", "LR142", "LR159", "LR176", "LR552"),
    ),
    _check(
        code="LR206",
        title="all rows are indexed",
        severity=_WARNING,
        needs=_STORED,
        judge=_pending,
        fix=Hint("wait; if the number does not fall, see the index nodes: ", Command("logs", "vector-engine")),
        symptoms=(SLOW,),
        explains=("LR202",),
    ),
    _check(
        code="LR207",
        title="the index has the profile's metric",
        severity=_ERROR,
        needs=(COLLECTIONS, DEPLOYED),
        judge=_metric,
        fix=Hint("make index.metric and the collection agree"),
        symptoms=(WRONG, UNAVAILABLE),
        explains=("LR201", "LR217", "LR218", "LR221", "LR142", "LR159", "LR176", "LR551", "LR552", "LR554"),
    ),
    _check(
        code="LR208",
        title="the index has the profile's type",
        severity=_WARNING,
        needs=(COLLECTIONS, DEPLOYED),
        judge=_index_type,
        fix=Hint("make index.type and the collection agree"),
        symptoms=(SLOW, WRONG),
    ),
    _check(
        code="LR209",
        title="few rows are in growing segments",
        severity=_WARNING,
        needs=(METRICS, THRESHOLDS),
        judge=_growing,
        fix=Hint(
            "flush, which seals and indexes the rows; loading documents ends with it: ", Command("ingest", "PATH")
        ),
        symptoms=(SLOW,),
        explains=("LR202",),
    ),
    _check(
        code="LR210",
        title="Milvus's time ticks are current",
        severity=_WARNING,
        needs=(METRICS, THRESHOLDS),
        judge=_lag_high,
        fix=Hint(
            "see the message queue, its disk and its consumers: ",
            Command("logs", "kafka"),
            ", ",
            Command("logs", "vector-engine"),
        ),
        symptoms=(SLOW, WRONG),
        explains=("LR202", "LR215"),
    ),
    _check(
        code="LR211",
        title="Milvus's time ticks are not stuck",
        severity=_ERROR,
        needs=(METRICS, THRESHOLDS),
        judge=_lag_critical,
        fix=Hint(
            "see the message queue, its disk and its consumers: ",
            Command("logs", "kafka"),
            ", ",
            Command("logs", "vector-engine"),
        ),
        symptoms=(SLOW, UNAVAILABLE),
        explains=("LR201", "LR202", "LR215", "LR218"),
    ),
    _check(
        code="LR212",
        title="Milvus denies neither reads nor writes",
        severity=_ERROR,
        needs=(METRICS,),
        judge=_quota,
        fix=Hint(
            "raise the memory or the disk of query and data nodes, or release collections: ",
            Command("logs", "vector-engine"),
        ),
        symptoms=(UNAVAILABLE, OOM),
        explains=("LR201", "LR213"),
    ),
    _check(
        code="LR213",
        title="Milvus's rate limits reject no request",
        severity=_WARNING,
        needs=(GROWTH,),
        judge=_limited,
        fix=Hint("raise quotaAndLimits of Milvus, or lower components.lightrag-api.batching.in_flight"),
        symptoms=(SLOW, UNAVAILABLE),
    ),
    _check(
        code="LR219",
        title="the vector store answers",
        severity=_ERROR,
        needs=(STORE,),
        judge=_unreached,
        fix=Hint("see whether it is up: ", Command("status"), "; its log: ", Command("logs", "vector-engine")),
        symptoms=(UNAVAILABLE, SLOW),
        stops=True,
    ),
    _check(
        code="LR220",
        title="the vector store answers quickly",
        severity=_WARNING,
        needs=(STORE, THRESHOLDS),
        judge=_far,
        fix=Hint(
            "give it more CPU, or reduce the network latency: same zone, no proxy: ",
            Command("logs", "vector-engine"),
        ),
        symptoms=(SLOW,),
        explains=("LR202",),
    ),
    _check(
        code="LR222",
        title="Milvus's checkpoints advance",
        severity=_WARNING,
        needs=(METRICS, DEPLOYED, THRESHOLDS),
        judge=_checkpoint,
        fix=Hint("see the data nodes and the object store: ", Command("logs", "vector-engine")),
        symptoms=(SLOW,),
    ),
    _check(
        code="LR223",
        title="index builds succeed",
        severity=_ERROR,
        needs=(METRICS,),
        judge=_index_tasks,
        fix=Hint("see why the index nodes fail; the object store must be writable: ", Command("logs", "vector-engine")),
        symptoms=(SLOW,),
        explains=("LR206",),
    ),
    _check(
        code="LR224",
        title="etcd has a leader",
        severity=_ERROR,
        needs=(METRICS,),
        judge=_leader,
        fix=Hint("the majority of the members must run and reach each other: ", Command("logs", "etcd")),
        symptoms=(UNAVAILABLE,),
        stops=True,
    ),
    _check(
        code="LR225",
        title="etcd writes quickly",
        severity=_WARNING,
        needs=(METRICS, THRESHOLDS),
        judge=_fsync,
        fix=Hint("give etcd a faster storage class, on a dedicated disk: components.etcd.storage_class"),
        symptoms=(SLOW,),
    ),
    _check(
        code="LR226",
        title="requests do not wait in Milvus's proxy",
        severity=_WARNING,
        needs=(GROWTH,),
        judge=_queued,
        fix=Hint("add proxies or query nodes: components.vector-engine.roles, then: ", Command("up")),
        symptoms=(SLOW,),
        explains=("LR202",),
    ),
)
