"""Time inside lightrag-api, from two looks at the metrics of each replica."""

from collections.abc import Mapping
from dataclasses import replace

from lightragctl.client.server_metrics import MetricsSample, ServerMetrics, metrics_between, parse
from lightragctl.service.metrics import BatchSeries, CacheSeries, Metrics


def seen(metrics: Metrics) -> MetricsSample:
    found = parse(metrics.text().decode())
    assert isinstance(found, MetricsSample)
    return found


def told(searches: int, seconds: float, started_s: float = 1.0, **more: float) -> MetricsSample:
    """A replica that has searched so often, for so long in all."""
    series = {("lightragctl_stage_seconds_count", "search"): searches}
    series[("lightragctl_stage_seconds_sum", "search")] = seconds
    lookups = {("lightragctl_cache_lookups", f"result {end}"): value for end, value in more.items()}
    return MetricsSample(started_s, {**series, **lookups})


def test_only_what_came_between_the_looks_counts() -> None:
    metrics = Metrics()
    search, cache = BatchSeries(metrics, "search"), CacheSeries(metrics, "result")
    search.dispatched([5.0])
    metrics.stage("search", 5.0)
    cache.looked_up(True)
    before = seen(metrics)
    search.dispatched([0.002, 0.004])
    metrics.stage("search", 0.010)
    for hit in (True, True, False):
        cache.looked_up(hit)
    found = metrics_between({"api": before}, {"api": seen(metrics)})
    assert found == ServerMetrics({"queue search": 3.0, "search": 10.0}, {"search": 2.0}, {"result": 0.6667}, 1, ())


def test_a_real_process_says_when_it_was_started() -> None:
    metrics = Metrics()
    metrics.stage("search", 1.0)
    assert seen(metrics).started_s > 1e9
    assert seen(metrics).started_s == seen(metrics).started_s


def test_replicas_count_by_how_much_each_has_done() -> None:
    before = {"a": told(100, 50.0, hit=10, miss=0), "b": told(0, 0.0, 2.0)}
    after = {"a": told(130, 50.3, hit=13, miss=1), "b": told(10, 0.5, 2.0, hit=0, miss=6)}
    found = metrics_between(before, after)
    assert found.stages_ms == {"search": 20.0}  # 30 in 0.3 s and 10 in 0.5 s
    assert found.cache_hits == {"result": 0.3}
    assert (found.replicas, found.replica_notes) == (2, ())


def test_a_replica_that_was_not_there_all_the_time_is_left_out_and_named() -> None:
    steady, later = told(0, 0.0), told(10, 0.1)
    cases: dict[str, tuple[Mapping[str, MetricsSample | str], Mapping[str, MetricsSample | str], str]] = {
        "restarted": ({"b": steady}, {"b": replace(later, started_s=9.0)}, "it restarted, or another replica answered"),
        "came": ({}, {"b": told(99, 99.0)}, "it was not ready at the start of the measurement"),
        "went": ({"b": steady}, {}, "it no longer exists"),
        "silent at the begin": ({"b": "timed out"}, {"b": later}, "timed out"),
        "silent at the end": ({"b": steady}, {"b": "connection refused"}, "connection refused"),
    }
    for name, (before, after, why) in cases.items():
        found = metrics_between({"a": steady, **before}, {"a": later, **after})
        assert (found.stages_ms, found.replicas) == ({"search": 10.0}, 1), name
        assert [note.startswith(f"b is not included: {why}") for note in found.replica_notes] == [True], name


def test_a_restart_is_seen_though_the_counters_have_grown() -> None:
    found = metrics_between({"a": told(10, 1.0, started_s=1.0)}, {"a": told(50, 2.0, started_s=2.0)})
    assert (found.stages_ms, found.replicas, len(found.replica_notes)) == ({}, 0, 1)


def test_a_series_that_came_in_between_counts_from_nothing() -> None:
    found = metrics_between({"a": MetricsSample(1.0, {("lightragctl_x", "y"): 1.0})}, {"a": told(10, 0.1)})
    assert found.stages_ms == {"search": 10.0}


def test_without_metrics_nothing_is_told() -> None:
    assert metrics_between({}, {}) == ServerMetrics({}, {}, {}, 0, ())
    assert parse("<html>") == "it serves no metrics of lightrag-api"
