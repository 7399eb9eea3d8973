"""Time per stage inside lightrag-api, from two samples of the metrics of each replica. Pure."""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

_LINE = re.compile(r"^((?:lightragctl|process)_\w+?)(?:_total)?(?:\{(.*)\})? ([0-9.e+-]+|NaN|[+-]Inf)$", re.MULTILINE)
_LABEL = re.compile(r'(\w+)="([^"]*)"')

_SECONDS = {"queue {stage}": "lightragctl_queue_seconds", "{stage}": "lightragctl_stage_seconds"}

Metrics = Mapping[tuple[str, str], float]
"""Values by metric name and distinguishing label."""


@dataclass(frozen=True)
class MetricsSample:
    """The metrics of one process. `started_s`, in unix seconds, identifies the process across restarts."""

    started_s: float
    metrics: Metrics


MetricsSamples = Mapping[str, MetricsSample | str]
"""By replica: its sample, or why there is none."""


@dataclass(frozen=True)
class ServerMetrics:
    """The sum over all replicas between two samples.

    Attributes:
        stages_ms: mean milliseconds of each stage, and of the queue before it.
        batch_sizes: mean batch size of each stage.
        cache_hits: hit ratio of each cache; only of caches with lookups.
        replicas: number of replicas included.
        replica_notes: replicas that are not included, and why.
    """

    stages_ms: Mapping[str, float]
    batch_sizes: Mapping[str, float]
    cache_hits: Mapping[str, float]
    replicas: int
    replica_notes: tuple[str, ...]


def series(text: str) -> Iterator[tuple[str, dict[str, str], float]]:
    """Name without `_total`, labels and value of each of our series in Prometheus' text format."""
    for name, labels, value in _LINE.findall(text):
        yield name, dict(_LABEL.findall(labels)), float(value)


def parse(text: str) -> MetricsSample | str:
    """A sample from Prometheus' text format; buckets are ignored."""
    found, started_s = {}, 0.0
    for name, labels, value in series(text):
        if name == "process_start_time_seconds":
            started_s = value
        elif labels and "le" not in labels:
            found[name, " ".join(labels.values())] = value
    return MetricsSample(started_s, found) if found else "it serves no metrics of lightrag-api"


def metrics_between(before: MetricsSamples, after: MetricsSamples) -> ServerMetrics:
    """The difference of two samples, of replicas that ran all the time."""
    grown: defaultdict[tuple[str, str], float] = defaultdict(float)
    notes = []
    names = sorted({**before, **after})
    for name in names:
        then = before.get(name, "it was not ready at the start of the measurement")
        now = after.get(name, "it no longer exists")
        if isinstance(then, MetricsSample) and isinstance(now, MetricsSample) and then.started_s == now.started_s:
            for key, value in now.metrics.items():
                grown[key] += value - then.metrics.get(key, 0.0)
            continue
        why = next((one for one in (then, now) if isinstance(one, str)), "it restarted, or another replica answered")
        notes.append(f"{name} is not included: {why}")
    return ServerMetrics(
        _times_ms(grown), _batch_sizes(grown), _cache_hits(grown), len(names) - len(notes), tuple(notes)
    )


def _times_ms(grown: Metrics) -> dict[str, float]:
    return {
        form.format(stage=stage): round(mean * 1000, 3)
        for form, name in _SECONDS.items()
        for stage, mean in _means(grown, name).items()
    }


def _batch_sizes(grown: Metrics) -> dict[str, float]:
    return {stage: round(mean, 1) for stage, mean in _means(grown, "lightragctl_batch_size").items()}


def _cache_hits(grown: Metrics) -> dict[str, float]:
    shares = {}
    for cache in ("result", "embedding"):
        hits, misses = (grown.get(("lightragctl_cache_lookups", f"{cache} {end}"), 0.0) for end in ("hit", "miss"))
        if hits + misses:
            shares[cache] = round(hits / (hits + misses), 4)
    return shares


def _means(grown: Metrics, name: str) -> dict[str, float]:
    """Means of a histogram by stage; only of stages with observations."""
    counts = {stage: count for (known, stage), count in sorted(grown.items()) if known == f"{name}_count" and count}
    return {stage: grown[f"{name}_sum", stage] / count for stage, count in counts.items()}
