"""Where the time went, from two looks at the metrics."""

from lightragctl.bench.stages import batch_sizes, cache_hits, parse, times_ms
from lightragctl.service.metrics import BatchSeries, CacheSeries, Metrics


def test_only_what_came_between_the_looks_counts() -> None:
    metrics = Metrics()
    search, cache = BatchSeries(metrics, "search"), CacheSeries(metrics, "result")
    search.dispatched([5.0])
    metrics.stage("search", 5.0)
    cache.looked(True)
    before = parse(metrics.text().decode())
    search.dispatched([0.002, 0.004])
    metrics.stage("search", 0.010)
    for hit in (True, True, False):
        cache.looked(hit)
    after = parse(metrics.text().decode())
    assert times_ms(before, after) == {"queue search": 3.0, "search": 10.0}
    assert batch_sizes(before, after) == {"search": 2.0}
    assert cache_hits(before, after) == {"result": 0.6667}


def test_a_service_that_began_anew_in_between_counts_from_nothing() -> None:
    metrics = Metrics()
    metrics.stage("search", 0.5)
    metrics.stage("search", 0.5)
    before = parse(metrics.text().decode())
    metrics = Metrics()
    metrics.stage("search", 0.001)
    assert times_ms(before, parse(metrics.text().decode()))["search"] == 1.0


def test_without_metrics_nothing_is_told() -> None:
    assert (times_ms({}, {}), batch_sizes({}, {}), cache_hits({}, {})) == ({}, {}, {})
