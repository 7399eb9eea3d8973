"""A saved run with a stall in its middle, as a service leaves one that misbehaves in every way that a report shows."""

from collections.abc import Sequence

import msgspec

from lightragctl.bench.annotated_run import AnnotatedRun, Annotations
from lightragctl.bench.histogram import Histogram
from lightragctl.bench.result import Figure, Generator, LoadReport, Quality, Second, Times, Validity
from lightragctl.bench.schedule import Constant

RATE_QPS = 100
DURATION_S = 10
SILENT = (4, 5)
"""Seconds without an answer; the one after them has all that waited."""


def times(seconds: Sequence[float]) -> Times:
    """The figures of these times."""
    histogram = Histogram()
    histogram.record(list(seconds))
    return Times.of(histogram)


def course() -> list[Second]:
    """Ten seconds with two silent ones, and the drain."""
    found = []
    for number in range(DURATION_S):
        answered = 0 if number in SILENT else RATE_QPS * (3 if number == SILENT[-1] + 1 else 1)
        p99_ms = 0.0 if not answered else 2000.0 if answered > RATE_QPS else 9.0
        found.append(Second(number, answered, max(0, answered - 1), min(5.0, p99_ms), p99_ms, 3, 200 - answered))
    return [*found, Second(DURATION_S, 4, 4, 5.0, 9.0, 0, 0), Second(DURATION_S + 1, 0, 0, 0.0, 0.0, 0, 0)]


GOOD = times([0.004 + number / 1e5 for number in range(780)] + [number / 100 for number in range(200)])
REPORT = LoadReport(
    url="http://127.0.0.1:8080",
    kind="query",
    shape=Constant(float(RATE_QPS), float(DURATION_S)),
    connections=64,
    seed=7,
    warm_up_s=3.0,
    settled=True,
    duration_s=float(DURATION_S),
    requests=1000,
    outcomes={"ok": 980, "http": 15, "timeout": 5},
    statuses={503: 15},
    unanswered=0,
    answered_per_s=100.0,
    good_per_s=98.0,
    latency=GOOD,
    good=GOOD,
    failed=times([0.5] * 20),
    service=times([0.003] * 1000),
    lateness=times([0.0002] * 1000),
    first_token=times([0.002] * 980),
    generator=Generator(workers=2, cpu_share=0.4, cpu_s=5.25, spin_s=0.0),
    seconds=course(),
    verdict=Validity(True),
    quality=Quality(10, recall=Figure(0.95, 0.9, 1.0, 108), notes=("map was not measured: nobody judged",)),
)
STAGES_MS = {"embed": 12.5, "queue embed": 3.0, "queue search": 0.5, "search": 6.25, "serialise": 0.25}
RUN = AnnotatedRun(
    REPORT,
    Annotations(
        stages_ms=STAGES_MS,
        batch_sizes={"embed": 5.1},
        cache_hits={"result": 0.25},
        replicas=2,
        replica_notes=("api-c is not included: it no longer exists",),
        thresholds={"p50<20ms": True, "p99<100ms": False},
        ended_at="2026-01-31T12:00:00Z",
    ),
)


def unbelievable(reason: str) -> AnnotatedRun:
    """The same run, not valid, for this reason."""
    report = msgspec.structs.replace(REPORT, verdict=Validity(False, (reason,)))
    return msgspec.structs.replace(RUN, report=report)
