"""Where the time went inside lightrag-api, by the difference of two looks at its metrics. Pure."""

import re

_LINE = re.compile(r"^(lightragctl_\w+?)(?:_total)?\{(.*)\} ([0-9.e+-]+|NaN|[+-]Inf)$", re.MULTILINE)
_LABEL = re.compile(r'(\w+)="([^"]*)"')

_SECONDS = {"queue {stage}": "lightragctl_queue_seconds", "{stage}": "lightragctl_stage_seconds"}

Metrics = dict[tuple[str, str], float]
"""Values by name and by the label that tells them apart."""


def parse(text: str) -> Metrics:
    """The series with one telling label, from Prometheus's text format; buckets are left out."""
    found = {}
    for name, labels, value in _LINE.findall(text):
        given = dict(_LABEL.findall(labels))
        if "le" not in given:
            found[name, " ".join(given.values())] = float(value)
    return found


def times_ms(before: Metrics, after: Metrics) -> dict[str, float]:
    """Mean milliseconds of each stage, and in the queue before it."""
    return {
        form.format(stage=stage): round(mean * 1000, 3)
        for form, name in _SECONDS.items()
        for stage, mean in _means(before, after, name).items()
    }


def batch_sizes(before: Metrics, after: Metrics) -> dict[str, float]:
    """Mean number of items in a batch of each stage."""
    return {stage: round(mean, 1) for stage, mean in _means(before, after, "lightragctl_batch_size").items()}


def cache_hits(before: Metrics, after: Metrics) -> dict[str, float]:
    """Share of the looks into each cache that found something; only of caches that were looked into."""
    shares = {}
    for cache in ("result", "embedding"):
        hits, misses = (_grown(before, after, "lightragctl_cache_lookups", f"{cache} {end}") for end in ("hit", "miss"))
        if hits + misses:
            shares[cache] = round(hits / (hits + misses), 4)
    return shares


def _means(before: Metrics, after: Metrics, name: str) -> dict[str, float]:
    """Of what a histogram took in between, by stage; only of stages that took something in."""
    means = {}
    for stage in sorted(label for known, label in after if known == f"{name}_count"):
        if count := _grown(before, after, f"{name}_count", stage):
            means[stage] = _grown(before, after, f"{name}_sum", stage) / count
    return means


def _grown(before: Metrics, after: Metrics, name: str, label: str) -> float:
    """How much a counter grew; one that began anew in between counts from 0."""
    then, now = before.get((name, label), 0.0), after.get((name, label), 0.0)
    return now - then if now >= then else now
