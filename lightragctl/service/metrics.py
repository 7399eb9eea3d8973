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
        self._rejected = metrics.rejected.labels(stage)

    def dispatched(self, queue_s: Sequence[float]) -> None:
        """Count a batch that leaves the queue, given the seconds each of its items waited."""
        self._size.observe(len(queue_s))
        for seconds in queue_s:
            self._queue_seconds.observe(seconds)

    def depth(self, items: int) -> None:
        """Note how many items wait now."""
        self._depth.set(items)

    def rejected(self) -> None:
        """Count a call that was refused because the queue was full."""
        self._rejected.inc()


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
        self.rejected = Counter(
            "lightragctl_queue_rejected", "Calls refused because the queue was full", ["stage"], registry=self.registry
        )
        self._request_children: dict[tuple[str, int], tuple[Counter, Histogram]] = {}
        self._stage_children: dict[str, Histogram] = {}

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
        """Note how long one stage (`embed`, `search`, `chat`, ...) of a request took."""
        child = self._stage_children.get(name)
        if child is None:
            child = self._stage_children[name] = self._stage_seconds.labels(name)
        child.observe(seconds)

    def text(self) -> bytes:
        """Everything in Prometheus's text format."""
        return generate_latest(self.registry)
