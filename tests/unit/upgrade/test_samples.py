"""From the metrics of pods to what happened in an interval."""

import json

from lightragctl.service.metrics import REQUEST_BOUNDS_S, Metrics
from lightragctl.upgrade.samples import PodSample, Track, from_data, interval, parse, to_data


def text(**requests: int) -> str:
    metrics = Metrics()
    for _ in range(requests.get("good", 0)):
        metrics.request("POST /retrieve", 200, 0.003)
    for _ in range(requests.get("bad", 0)):
        metrics.request("POST /retrieve", 503, 0.3)
    for _ in range(5):
        metrics.request("GET /readyz", 200, 0.001)
        metrics.request("unknown", 404, 0.001)
    return metrics.text().decode()


def sample(pod: str, track: Track, at_s: float, body: str, **of_pod: float) -> PodSample:
    return parse(body, PodSample(pod, track, at_s, cpu_limit=2.0, memory_limit=1e9, **of_pod))  # type: ignore[arg-type]


def test_requests_of_users_are_counted_and_those_of_probes_are_not() -> None:
    seen = sample("a", Track.CANARY, 10.0, text(good=8, bad=2))
    assert (seen.requests, seen.errors) == (10.0, 2.0)
    assert seen.slower[0.0025] == 10.0
    assert seen.slower[0.0036] == 2.0
    assert seen.slower[0.33] == 0.0
    assert list(seen.slower) == list(REQUEST_BOUNDS_S)
    assert seen.started_s > 0
    assert seen.memory > 0
    assert from_data(json.loads(json.dumps(to_data(seen)))) == seen


def test_an_interval_has_the_growth_of_each_track() -> None:
    before = [sample("s", Track.STABLE, 0.0, text(good=5)), sample("c", Track.CANARY, 0.0, text())]
    after = [sample("s", Track.STABLE, 5.0, text(good=9)), sample("c", Track.CANARY, 5.0, text(good=2, bad=1))]
    after = [PodSample(**{**vars(one), "started_s": old.started_s}) for one, old in zip(after, before, strict=True)]
    found = interval(before, after)
    assert found.seconds == 5.0
    assert (found.stable.requests, found.canary.requests, found.canary.errors) == (4.0, 3.0, 1.0)
    assert found.canary.slower[0.01] == 1.0


def test_a_pod_that_restarted_counts_from_its_restart() -> None:
    old = PodSample("c", Track.CANARY, 0.0, started_s=1.0, requests=100.0, slower={0.1: 50.0})
    new = PodSample("c", Track.CANARY, 5.0, started_s=3.0, requests=4.0, slower={0.1: 1.0}, restarts=1)
    flow = interval([old], [new]).canary
    assert (flow.requests, flow.restarts, flow.slower) == (4.0, 1, {0.1: 1.0})


def test_a_pod_without_figures_is_watched_and_counts_nothing() -> None:
    before = [PodSample("c", Track.CANARY, 0.0), PodSample("d", Track.CANARY, 0.0, started_s=1.0, requests=3.0)]
    after = [PodSample("c", Track.CANARY, 5.0, ready=False), PodSample("e", Track.CANARY, 5.0, started_s=4.0)]
    flow = interval(before, after).canary
    assert (flow.pods, flow.watched, flow.ready, flow.requests) == (0, 2, 1, 0.0)


def test_versions_with_other_buckets_are_compared_by_the_common_ones() -> None:
    fine = [PodSample("s", Track.STABLE, at, 1.0, requests=at, slower={0.1: 0.0, 0.2: 0.0}) for at in (0.0, 5.0)]
    coarse = [PodSample("t", Track.STABLE, at, 1.0, requests=at, slower={0.2: 0.0}) for at in (0.0, 5.0)]
    flow = interval([fine[0], coarse[0]], [fine[1], coarse[1]]).stable
    assert (flow.requests, set(flow.slower)) == (10.0, {0.2})
