"""From the cumulative counters of each pod to what happened in an interval, by track. Pure."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from lightragctl.client.server_metrics import series

_REQUESTS, _SECONDS = "lightragctl_http_requests", "lightragctl_http_request_seconds"
_HOUR_S = 3600.0
_SHED = ("lightragctl_queue_rejected", "lightragctl_deadline_missed")
_NOT_OF_USERS = frozenset({"/metrics", "/healthz", "/readyz", "/openapi.json", "unknown"})
"""Routes of probes and scrapers, and requests that match no route: they say nothing of the service's work."""


class Track(StrEnum):
    """Which version a pod runs: the value of its label `track`."""

    STABLE = "stable"
    CANARY = "canary"


@dataclass(frozen=True)
class PodSample:
    """What one pod showed at one time. Counters are cumulative since `started_s`, in unix seconds.

    Attributes:
        at_s: when it was read, in unix seconds.
        errors: responses with a status of 500 or above.
        refused: those with 400 to 499.
        shed: calls rejected by a full queue or because of their deadline.
        slower: by bound in seconds: requests that took longer.
        cpu_s: of a processor.
        cpu_limit, memory_limit: of its container, in cores and bytes; 0 for none.
    """

    pod: str
    track: Track
    at_s: float
    started_s: float = 0.0
    ready: bool = True
    restarts: int = 0
    requests: float = 0.0
    errors: float = 0.0
    refused: float = 0.0
    shed: float = 0.0
    seconds: float = 0.0
    slower: Mapping[float, float] = field(default_factory=dict)
    queue: float = 0.0
    cpu_s: float = 0.0
    memory: float = 0.0
    cpu_limit: float = 0.0
    memory_limit: float = 0.0


@dataclass(frozen=True)
class Flow:
    """What the pods of one track did in an interval.

    Attributes:
        pods: with figures of both ends of the interval.
        ready, watched: pods that were ready, and all of them.
        restarts: of containers in the interval.
        seconds: the sum of the response times.
        slower: by bound in seconds: requests that took longer.
        queue: mean number of queued items of a pod.
        cpu, memory: of the pod with the largest share of its limit; None where none is known.
        memory_growth: mean of the pods, in shares of their limits an hour; None where none is known.
    """

    pods: int = 0
    ready: int = 0
    watched: int = 0
    restarts: int = 0
    requests: float = 0.0
    errors: float = 0.0
    refused: float = 0.0
    shed: float = 0.0
    seconds: float = 0.0
    slower: Mapping[float, float] = field(default_factory=dict)
    queue: float = 0.0
    cpu: float | None = None
    memory: float | None = None
    memory_growth: float | None = None


@dataclass(frozen=True)
class Interval:
    """An interval of a watch.

    Attributes:
        at_s: its end in unix seconds.
        seconds: its length.
        before: what the stable pods did before the upgrade, in a time of its own; empty when no gate needs it.
        values: of the queries of gates by name, for the canary and for what it is compared with.
    """

    at_s: float
    seconds: float
    canary: Flow
    stable: Flow
    before: Flow = field(default_factory=Flow)
    values: Mapping[str, tuple[float | None, float | None]] = field(default_factory=dict)


def parse(text: str, bare: PodSample) -> PodSample:
    """The sample of a pod from its metrics in Prometheus' text format.

    Args:
        text: as `/metrics` returns it.
        bare: what the cluster says of the pod.
    """
    found = {"requests": 0.0, "errors": 0.0, "refused": 0.0, "shed": 0.0, "seconds": 0.0, "queue": 0.0}
    plain = {"process_start_time_seconds": "started_s", "process_cpu_seconds": "cpu_s"}
    plain |= {"process_resident_memory_bytes": "memory"}
    within: dict[float, float] = {}
    for name, labels, value in series(text):
        if name in plain:
            found[plain[name]] = value
        elif name in _SHED:
            found["shed"] += value
        elif name == "lightragctl_queue_depth":
            found["queue"] += value
        elif labels.get("route", "unknown").rpartition(" ")[2] not in _NOT_OF_USERS:
            _count(name, labels, value, found, within)
    slower = {bound: found["requests"] - count for bound, count in sorted(within.items())}
    return PodSample(**{**vars(bare), **found, "slower": slower})


def _count(
    name: str, labels: Mapping[str, str], value: float, found: dict[str, float], within: dict[float, float]
) -> None:
    """Add a series of a route to the figures."""
    if name == _REQUESTS:
        found["requests"] += value
        found["errors"] += value if labels["code"] >= "500" else 0.0
        found["refused"] += value if "400" <= labels["code"] < "500" else 0.0
    elif name == f"{_SECONDS}_sum":
        found["seconds"] += value
    elif name == f"{_SECONDS}_bucket" and labels["le"] != "+Inf":
        bound = float(labels["le"])
        within[bound] = within.get(bound, 0.0) + value


def interval(before: Sequence[PodSample], after: Sequence[PodSample]) -> Interval:
    """What happened between two readings of all pods.

    A pod that is missing in one of them has no figures. One that has restarted counts from its restart.
    """
    at_s = max((one.at_s for one in after), default=0.0)
    began_s = max((one.at_s for one in before), default=at_s)
    flows = {track: _flow(_of(before, track), _of(after, track)) for track in Track}
    return Interval(at_s, at_s - began_s, flows[Track.CANARY], flows[Track.STABLE])


def _of(samples: Iterable[PodSample], track: Track) -> dict[str, PodSample]:
    return {one.pod: one for one in samples if one.track is track}


def _flow(before: Mapping[str, PodSample], after: Mapping[str, PodSample]) -> Flow:
    grown = [_grown(before[name], now) for name, now in after.items() if name in before and now.started_s]
    busy = [set(one.slower) for one in grown if one.requests]
    bounds = set.intersection(*busy) if busy else set()
    lost = sum(max(0, now.restarts - before[name].restarts) for name, now in after.items() if name in before)
    return Flow(
        pods=len(grown),
        ready=sum(one.ready for one in after.values()),
        watched=len(after),
        restarts=lost,
        requests=sum(one.requests for one in grown),
        errors=sum(one.errors for one in grown),
        refused=sum(one.refused for one in grown),
        shed=sum(one.shed for one in grown),
        seconds=sum(one.seconds for one in grown),
        slower={bound: sum(one.slower.get(bound, 0.0) for one in grown) for bound in sorted(bounds)},
        queue=sum(one.queue for one in grown) / len(grown) if grown else 0.0,
        cpu=max((one.cpu_s / one.at_s / one.cpu_limit for one in grown if one.cpu_limit and one.at_s), default=None),
        memory=max((one.memory / one.memory_limit for one in grown if one.memory_limit), default=None),
        memory_growth=_memory_growth(before, after),
    )


def _memory_growth(before: Mapping[str, PodSample], after: Mapping[str, PodSample]) -> float | None:
    pairs = [(before[name], now) for name, now in after.items() if name in before]
    shares = [
        (now.memory - was.memory) / now.memory_limit / (now.at_s - was.at_s) * _HOUR_S
        for was, now in pairs
        if now.memory_limit and was.started_s == now.started_s and was.started_s and now.at_s > was.at_s
    ]
    return sum(shares) / len(shares) if shares else None


def _grown(before: PodSample, after: PodSample) -> PodSample:
    """The growth of a pod's counters; `at_s` is the seconds between. One that restarted counts from its restart."""
    if before.started_s != after.started_s or before.requests > after.requests:
        lived_s = max(0.0, after.at_s - after.started_s)
        return PodSample(**{**vars(after), "at_s": min(lived_s, after.at_s - before.at_s)})
    counters = ("requests", "errors", "refused", "shed", "seconds", "cpu_s", "at_s")
    changed = {name: getattr(after, name) - getattr(before, name) for name in counters}
    common = before.slower.keys() & after.slower.keys() if before.requests else after.slower.keys()
    slower = {bound: after.slower[bound] - before.slower.get(bound, 0.0) for bound in common}
    return PodSample(**{**vars(after), **changed, "slower": slower})


def quantile(flow: Flow, above: float) -> float:
    """The time in seconds that this share of requests exceeded; inside a bucket interpolated by its logarithm."""
    wanted = above * flow.requests
    low, more = 0.0, flow.requests
    for bound, slower in flow.slower.items():
        if slower <= wanted:
            part = (more - wanted) / (more - slower) if more > slower else 1.0
            return low * (bound / low) ** part if low else bound * part
        low, more = bound, slower
    return low


def share_above(flow: Flow, time_s: float) -> float:
    """The share of requests that took longer, interpolated as `quantile` does."""
    low, more = 0.0, flow.requests
    for bound, slower in flow.slower.items():
        if time_s <= bound:
            part = math.log(time_s / low) / math.log(bound / low) if low else time_s / bound
            return (more - (more - slower) * part) / flow.requests
        low, more = bound, slower
    return more / flow.requests


def joined(before: Flow, more: Flow) -> Flow:
    """Two flows one after the other."""
    if not before.requests:
        return more
    bounds = before.slower.keys() & more.slower.keys() if more.requests else before.slower.keys()
    return replace(
        more,
        requests=before.requests + more.requests,
        errors=before.errors + more.errors,
        refused=before.refused + more.refused,
        shed=before.shed + more.shed,
        seconds=before.seconds + more.seconds,
        slower={bound: before.slower[bound] + more.slower.get(bound, 0.0) for bound in bounds},
        queue=max(before.queue, more.queue),
    )


def flow_data(flow: Flow) -> dict[str, Any]:
    """The flow as JSON values."""
    return {**vars(flow), "slower": [[*pair] for pair in flow.slower.items()]}


def flow_from(data: Mapping[str, Any]) -> Flow:
    """The flow that `flow_data` described."""
    return Flow(**{**data, "slower": dict(map(tuple, data["slower"]))})


def to_data(sample: PodSample) -> dict[str, Any]:
    """The sample as JSON values."""
    return {**vars(sample), "track": str(sample.track), "slower": [[*pair] for pair in sample.slower.items()]}


def from_data(data: Mapping[str, Any]) -> PodSample:
    """The sample that `to_data` described."""
    return PodSample(**{**data, "track": Track(data["track"]), "slower": dict(map(tuple, data["slower"]))})
