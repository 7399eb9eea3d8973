"""Where the time went inside lightrag-api, by two looks at the metrics of each of its replicas. Pure."""

import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

_LINE = re.compile(r"^(lightragctl_\w+?)(?:_total)?\{(.*)\} ([0-9.e+-]+|NaN|[+-]Inf)$", re.MULTILINE)
_LABEL = re.compile(r'(\w+)="([^"]*)"')
_STARTED = re.compile(r"^process_start_time_seconds ([0-9.e+-]+)$", re.MULTILINE)

_SECONDS = {"queue {stage}": "lightragctl_queue_seconds", "{stage}": "lightragctl_stage_seconds"}

Metrics = Mapping[tuple[str, str], float]
"""Values by name and by the label that tells them apart."""


@dataclass(frozen=True)
class MetricsSample:
    """What one process told at one moment. `started_s`, in unix seconds, tells it from the one after a restart."""

    started_s: float
    metrics: Metrics


MetricsSamples = Mapping[str, MetricsSample | str]
"""By the replica's name: a look at it, or why there is none."""


@dataclass(frozen=True)
class ServerMetrics:
    """What the replicas did between two looks, taken together.

    Attributes:
        stages_ms: mean milliseconds of each stage, and in the queue before it.
        batch_sizes: mean number of items in a batch of each stage.
        cache_hits: share of the looks into each cache that found something; only of caches that were looked into.
        replicas: how many of them the figures are of.
        replica_notes: which were left out, and why.
    """

    stages_ms: Mapping[str, float]
    batch_sizes: Mapping[str, float]
    cache_hits: Mapping[str, float]
    replicas: int
    replica_notes: tuple[str, ...]


def parse(text: str) -> MetricsSample | str:
    """The series with one telling label, from Prometheus's text format; buckets are left out."""
    found = {}
    for name, labels, value in _LINE.findall(text):
        given = dict(_LABEL.findall(labels))
        if "le" not in given:
            found[name, " ".join(given.values())] = float(value)
    started = _STARTED.search(text)
    return (
        MetricsSample(float(started[1]) if started else 0.0, found) if found else "its metrics are not lightrag-api's"
    )


def metrics_between(before: MetricsSamples, after: MetricsSamples) -> ServerMetrics:
    """What came between the looks, of the replicas that were there all the time."""
    grown: defaultdict[tuple[str, str], float] = defaultdict(float)
    notes = []
    names = sorted({**before, **after})
    for name in names:
        then = before.get(name, "it was not ready when the measurement began")
        now = after.get(name, "it is gone")
        if isinstance(then, MetricsSample) and isinstance(now, MetricsSample) and then.started_s == now.started_s:
            for key, value in now.metrics.items():
                grown[key] += value - then.metrics.get(key, 0.0)
            continue
        why = next((one for one in (then, now) if isinstance(one, str)), "it restarted, or another one answered for it")
        notes.append(f"{name} is not counted: {why}")
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
    """Of what a histogram took in, by stage; only of stages that took something in."""
    counts = {stage: count for (known, stage), count in sorted(grown.items()) if known == f"{name}_count" and count}
    return {stage: grown[f"{name}_sum", stage] / count for stage, count in counts.items()}
