"""The series of our services, all in one place; one registry per app. No I/O.

Names start with `lightragctl_`; times are in seconds. A child of a series is looked up once and kept, because
`.labels()` costs four times as much as the count itself.
"""

from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

LATENCY_BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0)
"""Bounds of every latency histogram. 0.5 s is the line of the latency alert, so it must be a bound."""

BATCH_SIZE_BOUNDS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
"""Bounds of the batch size histograms: powers of two up to the greatest batch the settings allow."""

CONTENT_TYPE = CONTENT_TYPE_LATEST


class BatchSeries:
    """What one batcher reports; `stage` tells batchers of one app apart, e.g. `embed` and `search`."""

    def __init__(self, metrics: "Metrics", stage: str) -> None:
        self._size = metrics.batch_size.labels(stage)
        self._queue_seconds = metrics.queue_seconds.labels(stage)
        self._depth = metrics.queue_depth.labels(stage)
        self._running = metrics.in_flight.labels(stage)
        self._rejected = metrics.rejected.labels(stage)
        self._late = metrics.deadline_missed.labels(stage)
        self._abandoned = metrics.abandoned.labels(stage)

    def dispatched(self, queue_s: Sequence[float]) -> None:
        """Count a batch that leaves the queue, given the seconds each of its items waited."""
        self._size.observe(len(queue_s))
        for seconds in queue_s:
            self._queue_seconds.observe(seconds)

    def depth(self, waiting: int, running: int) -> None:
        """Note how many items wait, and how many calls are under way."""
        self._depth.set(waiting)
        self._running.set(running)

    def rejected(self) -> None:
        """Count a call that was refused because the queue was full."""
        self._rejected.inc()

    def abandoned(self) -> None:
        """Count an item that nobody waits for any more."""
        self._abandoned.inc()

    def late(self) -> None:
        """Count an item that was refused because it would have been done too late."""
        self._late.inc()


class BackendSeries:
    """What the guard of one backend reports; `backend` tells them apart, e.g. `milvus` and `embedding`."""

    def __init__(self, metrics: "Metrics", backend: str) -> None:
        self._state = metrics.breaker_state.labels(backend)
        self._good, self._bad = (metrics.backend_calls.labels(backend, outcome) for outcome in ("ok", "failed"))
        self._retries = metrics.retries.labels(backend)
        self._spared = metrics.backend_calls.labels(backend, "spared")

    def called(self, failed: bool, state: int) -> None:
        """Count a call that ended, and note the state of the breaker after it."""
        (self._bad if failed else self._good).inc()
        self._state.set(state)

    def spared(self) -> None:
        """Count a call that the open breaker did not let through."""
        self._spared.inc()

    def retried(self) -> None:
        """Count a second try."""
        self._retries.inc()


class CacheSeries:
    """What one cache reports; `cache` tells them apart: `result` and `embedding`."""

    def __init__(self, metrics: "Metrics", cache: str) -> None:
        self._hits, self._misses = (metrics.cache_lookups.labels(cache, outcome) for outcome in ("hit", "miss"))
        self._bytes = metrics.cache_bytes.labels(cache)

    def looked(self, hit: bool) -> None:
        """Count a look."""
        (self._hits if hit else self._misses).inc()

    def size(self, size_bytes: int) -> None:
        """Note what it holds."""
        self._bytes.set(size_bytes)


class Metrics:
    """The series of one app. `registry` may take further series of the app."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._requests = Counter(
            "lightragctl_http_requests", "Requests answered", ["route", "code"], registry=self.registry
        )
        self._request_seconds = self._histogram("lightragctl_http_request_seconds", "Time to answer", "route", "code")
        self._stage_seconds = self._histogram("lightragctl_stage_seconds", "Time of one stage of a request", "stage")
        self.batch_size = Histogram(
            "lightragctl_batch_size", "Items per batch", ["stage"], registry=self.registry, buckets=BATCH_SIZE_BOUNDS
        )
        self.queue_seconds = self._histogram("lightragctl_queue_seconds", "Time an item waited for a batch", "stage")
        self.queue_depth = Gauge("lightragctl_queue_depth", "Items waiting", ["stage"], registry=self.registry)
        self.rejected = self._counter("lightragctl_queue_rejected", "Calls refused by a full queue", "stage")
        self.in_flight = Gauge("lightragctl_in_flight", "Calls under way", ["stage"], registry=self.registry)
        self.deadline_missed = self._counter("lightragctl_deadline_missed", "Requests refused as too late", "stage")
        self.abandoned = self._counter("lightragctl_abandoned", "Items that nobody waits for any more", "stage")
        self.breaker_state = Gauge(
            "lightragctl_breaker_state", "0 closed, 1 half-open, 2 open", ["backend"], registry=self.registry
        )
        self.backend_calls = self._counter(
            "lightragctl_backend_calls", "Calls: ok, failed, spared by the breaker", "backend", "outcome"
        )
        self.retries = self._counter("lightragctl_retries", "Calls tried a second time", "backend")
        self.cache_lookups = self._counter("lightragctl_cache_lookups", "Looks into a cache", "cache", "outcome")
        self.cache_bytes = Gauge("lightragctl_cache_bytes", "Bytes held", ["cache"], registry=self.registry)
        self.joined = self._counter("lightragctl_joined", "Requests that shared identical work under way", "stage")
        self.draining = Gauge("lightragctl_draining", "1 while the service is stopping", registry=self.registry)
        self.loop_lag_seconds = Gauge(
            "lightragctl_loop_lag_seconds", "How late the event loop was at its last look", registry=self.registry
        )
        self._request_children: dict[tuple[str, int], tuple[Counter, Histogram]] = {}
        self._stage_children: dict[str, Histogram] = {}

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(name, text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, *labels: str) -> Histogram:
        return Histogram(name, text, labels, registry=self.registry, buckets=LATENCY_BOUNDS_S)

    def request(self, route: str, code: int, seconds: float) -> None:
        """Count one answered request; `route` must come from the route table, never from the client."""
        children = self._request_children.get((route, code))
        if children is None:
            children = (self._requests.labels(route, code), self._request_seconds.labels(route, code))
            self._request_children[route, code] = children
        children[0].inc()
        children[1].observe(seconds)

    def stage(self, name: str, seconds: float) -> None:
        """Note how long one stage (`embed`, `search`, `serialise`, `chat`, ...) of a request took."""
        child = self._stage_children.get(name)
        if child is None:
            child = self._stage_children[name] = self._stage_seconds.labels(name)
        child.observe(seconds)

    def text(self) -> bytes:
        """Everything in Prometheus's text format."""
        return generate_latest(self.registry)
