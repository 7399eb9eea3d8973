"""Prometheus metrics of our services; one registry per app. No I/O.

Names start with `lightragctl_`; times are in seconds. Children of a metric are cached, because `.labels()` costs four
times as much as counting.
"""

import time
from collections.abc import Iterator, Mapping, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.metrics_core import GaugeMetricFamily
from prometheus_client.registry import Collector

LATENCY_BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0)
"""Bounds of the histograms of stages and queues."""

REQUEST_BOUNDS_S = (
    *(0.0005, 0.001, 0.0015, 0.002, 0.0025, 0.003, 0.0036, 0.0045, 0.0055, 0.0066, 0.008),
    *(0.01, 0.0125, 0.015, 0.018, 0.022, 0.027, 0.033, 0.04, 0.05, 0.06, 0.075, 0.09),
    *(0.1, 0.125, 0.15, 0.18, 0.22, 0.27, 0.33, 0.4, 0.5, 0.6, 0.75, 0.9),
    *(1.0, 2.5, 5.0, 10.0, 30.0, 120.0),
)
"""Bounds of response times: 25 % apart at most from 2 ms to 1 s, so that a p99 20 % higher is in another bucket.
0.5 s is the threshold of the latency alert, so it must be a bound."""

BATCH_SIZE_BOUNDS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
"""Bounds of the batch size histograms: powers of two up to the largest batch size."""

CONTENT_TYPE = CONTENT_TYPE_LATEST


class BatchSeries:
    """Metrics of one batcher, by `stage`: `embed`, `search`, `query` or `passage`."""

    def __init__(self, metrics: "Metrics", stage: str) -> None:
        self._size = metrics.batch_size.labels(stage)
        self._queue_seconds = metrics.queue_seconds.labels(stage)
        self._depth = metrics.queue_depth.labels(stage)
        self._running = metrics.in_flight.labels(stage)
        self._rejected = metrics.rejected.labels(stage)
        self._late = metrics.deadline_missed.labels(stage)
        self._abandoned = metrics.abandoned.labels(stage)

    def dispatched(self, queue_s: Sequence[float]) -> None:
        """Count a dispatched batch, given the seconds that each of its items was queued."""
        self._size.observe(len(queue_s))
        for seconds in queue_s:
            self._queue_seconds.observe(seconds)

    def depth(self, waiting: int, running: int) -> None:
        """Set the number of queued items and of calls in flight."""
        self._depth.set(waiting)
        self._running.set(running)

    def rejected(self) -> None:
        """Count a call rejected by a full queue."""
        self._rejected.inc()

    def abandoned(self) -> None:
        """Count an item whose caller gave up."""
        self._abandoned.inc()

    def late(self) -> None:
        """Count an item rejected because it would miss its deadline."""
        self._late.inc()


class BackendSeries:
    """Metrics of one backend: `milvus` or `embedding`."""

    def __init__(self, metrics: "Metrics", backend: str) -> None:
        self._state = metrics.breaker_state.labels(backend)
        self._good, self._bad = (metrics.backend_calls.labels(backend, outcome) for outcome in ("ok", "failed"))
        self._retries = metrics.retries.labels(backend)
        self._short_circuited = metrics.backend_calls.labels(backend, "rejected")

    def called(self, failed: bool, state: int) -> None:
        """Count a finished call, and set the state of the breaker after it."""
        (self._bad if failed else self._good).inc()
        self._state.set(state)

    def short_circuited(self) -> None:
        """Count a call rejected by the open breaker."""
        self._short_circuited.inc()

    def retried(self) -> None:
        """Count a retry."""
        self._retries.inc()


class CacheSeries:
    """Metrics of one cache: `result` or `embedding`."""

    def __init__(self, metrics: "Metrics", cache: str) -> None:
        self._hits, self._misses = (metrics.cache_lookups.labels(cache, outcome) for outcome in ("hit", "miss"))
        self._bytes = metrics.cache_bytes.labels(cache)

    def looked_up(self, hit: bool) -> None:
        """Count a lookup."""
        (self._hits if hit else self._misses).inc()

    def size(self, size_bytes: int) -> None:
        """Set its size."""
        self._bytes.set(size_bytes)


class _BackupAges(Collector):
    """The age of each workspace's newest backup; workspaces without one have no sample."""

    def __init__(self, metrics: "Metrics") -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """One gauge, at the time of the scrape."""
        text = "Age of the newest backup of the workspace"
        family = GaugeMetricFamily("lightragctl_backup_age_seconds", text, labels=["workspace"])
        now_s = time.time()
        for workspace, finished_at_s in list(self._metrics.backups.items()):
            family.add_metric([workspace], max(0.0, now_s - finished_at_s))
        yield family


class Metrics:
    """The metrics of one app. The app may register more in `registry`.

    `backups`: when the newest backup of each workspace was finished, in unix seconds; set by lightrag-api.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.backups: Mapping[str, int] = {}
        self.registry.register(_BackupAges(self))
        self._requests = Counter(
            "lightragctl_http_requests", "Responses by route and status", ["route", "code"], registry=self.registry
        )
        self._request_seconds = Histogram(
            "lightragctl_http_request_seconds",
            "Response time",
            ["route", "code"],
            registry=self.registry,
            buckets=REQUEST_BOUNDS_S,
        )
        self._stage_seconds = self._histogram(
            "lightragctl_stage_seconds", "Duration of one stage of a request", "stage"
        )
        self.batch_size = Histogram(
            "lightragctl_batch_size", "Items per batch", ["stage"], registry=self.registry, buckets=BATCH_SIZE_BOUNDS
        )
        self.queue_seconds = self._histogram("lightragctl_queue_seconds", "Time that an item was queued", "stage")
        self.queue_depth = Gauge("lightragctl_queue_depth", "Queued items", ["stage"], registry=self.registry)
        self.rejected = self._counter("lightragctl_queue_rejected", "Calls rejected by a full queue", "stage")
        self.in_flight = Gauge("lightragctl_in_flight", "Calls in flight", ["stage"], registry=self.registry)
        self.deadline_missed = self._counter(
            "lightragctl_deadline_missed", "Requests rejected because they would miss their deadline", "stage"
        )
        self.abandoned = self._counter("lightragctl_abandoned", "Items whose caller gave up", "stage")
        self.breaker_state = Gauge(
            "lightragctl_breaker_state",
            "State of the circuit breaker: 0 closed, 1 half-open, 2 open",
            ["backend"],
            registry=self.registry,
        )
        self.backend_calls = self._counter(
            "lightragctl_backend_calls",
            "Calls to a backend: ok, failed, or rejected by the open circuit breaker",
            "backend",
            "outcome",
        )
        self.retries = self._counter("lightragctl_retries", "Retried calls", "backend")
        self.cache_lookups = self._counter(
            "lightragctl_cache_lookups", "Cache lookups: hit or miss", "cache", "outcome"
        )
        self.cache_bytes = Gauge(
            "lightragctl_cache_bytes", "Size of the cache in bytes", ["cache"], registry=self.registry
        )
        self.coalesced = self._counter(
            "lightragctl_coalesced", "Requests that shared an identical call in flight", "stage"
        )
        self.searches = self._counter(
            "lightragctl_searches", "Searches of a collection that were not answered from the cache", "collection"
        )
        self.draining = Gauge("lightragctl_draining", "1 while the service shuts down", registry=self.registry)
        self.loop_lag_seconds = Gauge(
            "lightragctl_loop_lag_seconds", "Delay of the event loop at the last measurement", registry=self.registry
        )
        self._request_children: dict[tuple[str, int], tuple[Counter, Histogram]] = {}
        self._stage_children: dict[str, Histogram] = {}

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(name, text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, *labels: str) -> Histogram:
        return Histogram(name, text, labels, registry=self.registry, buckets=LATENCY_BOUNDS_S)

    def request(self, route: str, code: int, seconds: float) -> None:
        """Count one request; `route` must come from the route table, never from the client."""
        children = self._request_children.get((route, code))
        if children is None:
            children = (self._requests.labels(route, code), self._request_seconds.labels(route, code))
            self._request_children[route, code] = children
        children[0].inc()
        children[1].observe(seconds)

    def stage(self, name: str, seconds: float) -> None:
        """Observe the duration of one stage (`embed`, `search`, `serialise`, `chat`, ...) of a request."""
        child = self._stage_children.get(name)
        if child is None:
            child = self._stage_children[name] = self._stage_seconds.labels(name)
        child.observe(seconds)

    def text(self) -> bytes:
        """All metrics in Prometheus's text format."""
        return generate_latest(self.registry)
