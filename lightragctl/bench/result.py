"""The report of a run, and its validity. Pure."""

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Self, TypeAlias

import msgspec

from lightragctl.bench.bad_answers import Example
from lightragctl.bench.histogram import Histogram
from lightragctl.bench.schedule import Shape
from lightragctl.bench.worker_protocol import LoadPhase, QuestionCursor
from lightragctl.quality.stats import CONFIDENCE

SCHEMA = "lightragctl-bench/1"

LATE_SHARE = 0.05
LATE_FLOOR_MS = 0.3
LATE_MOST_MS = 10.0
"""A generator is late when 1 % of its sends are by more than 5 % of the p99 that it reports. Lateness is charged to the
answers: so much too high may that p99 be, and never too low. Below 0.3 ms it is not late, as that is what a timer and
the waking of a process take without --spin; who measures tenths of a millisecond spins. Above 10 ms it is, whatever the
latency: requests that were to be apart then come together, which is not the requested load."""
CPU_SHARE = 0.85
"""A core as busy as this makes requests wait inside the generator."""

PERCENTILES: Mapping[str, float] = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p99.9": 0.999}
"""The percentiles that are reported of times, with their quantiles."""


Positive: TypeAlias = Annotated[float, msgspec.Meta(gt=0)]
"""A number that a file must have above 0."""


class Times(msgspec.Struct, frozen=True):
    """Statistics of times; `histogram`: HdrHistogram's encoding in microseconds, empty when there are none."""

    count: int
    mean_ms: float
    p50_ms: float
    p90_ms: float
    p95_ms: float
    p99_ms: float
    p999_ms: float
    max_ms: float
    histogram: str

    @classmethod
    def of(cls, histogram: Histogram) -> Self:
        """The figures of a histogram."""
        p50_ms, p90_ms, p95_ms, p99_ms, p999_ms = histogram.percentiles_ms((50, 90, 95, 99, 99.9))
        return cls(
            count=histogram.count,
            mean_ms=round(histogram.mean_ms, 3),
            p50_ms=p50_ms,
            p90_ms=p90_ms,
            p95_ms=p95_ms,
            p99_ms=p99_ms,
            p999_ms=p999_ms,
            max_ms=histogram.max_ms,
            histogram=histogram.encode(),
        )


class Second(msgspec.Struct, frozen=True):
    """The answers of one second of the run; `under_way` and `waiting` are at its end."""

    number: int
    answered: int
    ok: int
    p50_ms: float
    p99_ms: float
    under_way: int
    waiting: int


class LiveSample(msgspec.Struct, frozen=True):
    """Progress: the last half second of a phase, and the answers so far."""

    phase: LoadPhase
    elapsed_s: float
    answered_per_s: float
    p50_ms: float
    p99_ms: float
    under_way: int
    waiting: int
    answered: int
    ok: int


class Generator(msgspec.Struct, frozen=True):
    """Resource use of the load generator. `cpu_share`: CPU share of the busiest worker, without spinning."""

    workers: int
    cpu_share: float
    cpu_s: float
    spin_s: float


class Validity(msgspec.Struct, frozen=True):
    """Whether the result is valid, that is, not limited by the generator; if not, why. `notes`: limitations."""

    valid: bool
    reasons: Sequence[str] = ()
    notes: Sequence[str] = ()


class Timeline(msgspec.Struct, frozen=True):
    """The course of a run.

    Its connections at the begin, its warm-up, how long requests were sent, what was left when it was stopped; and
    whether it was the user who stopped it. The position in the list of questions, and the first failed answers.
    """

    connected: int
    warm_up_s: float
    settled: bool
    duration_s: float
    stopped: bool
    unanswered: int
    interrupted: bool = False
    place: QuestionCursor = QuestionCursor()
    bad_answers: Sequence[Example] = ()


UNJUDGED = Validity(False, ("not evaluated",))


class Figure(msgspec.Struct, frozen=True):
    """A mean over questions, 0 to 1, with its 95 % confidence interval."""

    mean: float
    low: float
    high: float
    questions: int


class Quality(msgspec.Struct, frozen=True):
    """Answer quality, of the first good answer to each question; None: not measured.

    Attributes:
        k: where rankings are cut: the requested number of hits.
        recall: share of the k nearest passages, by exact search, that were found.
        ndcg, relevant_recall, mrr, map: against judgements, as trec_eval has them; documents are ranked by their best
            passage.
        notes: what was not measured, and why.
    """

    k: int
    recall: Figure | None = None
    ndcg: Figure | None = None
    relevant_recall: Figure | None = None
    mrr: Figure | None = None
    map: Figure | None = None
    notes: Sequence[str] = ()


class LoadReport(msgspec.Struct, frozen=True):
    """One run.

    Attributes:
        url, kind: the target.
        connections: that were planned.
        warm_up_s, settled: how long the warm-up took, and whether it ended because the service had settled.
        duration_s: how long requests were sent; less than planned when the run was stopped.
        requests: sent in that time and answered, in one way or another.
        outcomes, statuses: how they ended, and the statuses of those that were not 2xx.
        unanswered: requests that were under way or waited when the run was stopped.
        answered_per_s, good_per_s: of the answers that came in that time.
        latency: from the intended send to the end, of all requests; timeouts and errors with what they took.
        good, failed: the same, of good answers and of all others.
        service: from the actual send.
        lateness: how late the generator was to look at a request; empty for a closed loop.
        first_token: from the intended send to the first token of good answers; None where nothing is streamed.
        seconds: the course of it; those after `duration_s` are the drain.
        bodies: of the first good answer to a question, by its place in the list.
        quality: of these answers; None when it was not looked at.
        interrupted: the user stopped the run.
        place: the position in the list of questions, with the runs of a series before this one.
        bad_answers: the first answer of each outcome that was not good.
    """

    url: str
    kind: str
    shape: Shape
    connections: int
    seed: int
    warm_up_s: float
    settled: bool
    duration_s: float
    requests: int
    outcomes: Mapping[str, int]
    statuses: Mapping[int, int]
    unanswered: int
    answered_per_s: float
    good_per_s: float
    latency: Times
    good: Times
    failed: Times
    service: Times
    lateness: Times
    first_token: Times | None
    generator: Generator
    seconds: Sequence[Second]
    verdict: Validity = UNJUDGED
    bodies: Mapping[int, bytes] = {}
    quality: Quality | None = None
    interrupted: bool = False
    place: QuestionCursor = QuestionCursor()
    bad_answers: Sequence[Example] = ()
    schema: str = SCHEMA


def judge_run(report: LoadReport, timeline: Timeline) -> Validity:
    """The validity of a report.

    They are not when the run was stopped, when connections were refused from the begin, when no answer was good, and
    when the generator was late or short of a processor core.
    """
    reasons = (
        _stopped(timeline),
        _unconnected(timeline.connected, report.connections),
        "" if report.good.count else "all requests failed",
        *generator_faults(report),
    )
    told = [reason for reason in reasons if reason]
    return Validity(not told, told, _untold(report.requests))


def fewest(quantile: float) -> int:
    """The number of requests that a percentile needs for an upper 95 % bound, as in `quantile_ranks`."""
    return math.ceil(math.log(1 - CONFIDENCE) / math.log(quantile))


def charged_ms(report: LoadReport, rank: int) -> float:
    """The latency at a rank, from 1, among all requests; failed ones count as infinitely slow."""
    if rank > report.good.count:
        return math.inf
    return Histogram.decode(report.good.histogram).ranked_ms([rank])[0]


def bad_share(requests: int, ok: int) -> float:
    """The share of failed requests, correctly rounded; 1 without requests."""
    return (requests - ok) / requests if requests else 1.0


def generator_faults(report: LoadReport) -> list[str]:
    """Why the generator may have distorted the result; empty when it did not."""
    reasons = (_late(report), _busy(report.generator.cpu_share))
    return [reason for reason in reasons if reason]


def _stopped(timeline: Timeline) -> str:
    return f"stopped after {timeline.duration_s:.1f} s" if timeline.stopped else ""


def _unconnected(connected: int, planned: int) -> str:
    if connected >= planned:
        return ""
    return f"only {connected} of {planned} connections opened; raise the limit of open files, here and at the service"


def allowed_lateness_ms(latency_ms: float) -> float:
    """The allowed p99 of send delays for a p99 of the latency."""
    return min(LATE_MOST_MS, max(LATE_FLOOR_MS, LATE_SHARE * latency_ms))


def _late(report: LoadReport) -> str:
    """By the p99; of few requests by the highest percentile that they tell, as one that is late is chance."""
    told = [name for name in ("p50", "p90", "p95", "p99") if report.lateness.count >= fewest(PERCENTILES[name])]
    if not told:
        return ""
    late_ms, latency_ms = (float(getattr(times, f"{told[-1]}_ms")) for times in (report.lateness, report.latency))
    most_ms, share = allowed_lateness_ms(latency_ms), 1 - PERCENTILES[told[-1]]
    if late_ms <= most_ms:
        return ""
    words = f"{share * 100:.0f} % of the requests by more than {late_ms:.3g} ms (limit {most_ms:.3g})"
    spin = "" if report.generator.spin_s else ", or --spin if a core is free for it"
    return f"the generator was late: {words}; use a less busy machine{spin}"


def _busy(cpu_share: float) -> str:
    if cpu_share <= CPU_SHARE:
        return ""
    return f"the generator used {cpu_share:.0%} of a core; use more --workers, on dedicated cores"


def _untold(requests: int) -> list[str]:
    needed = {name: fewest(quantile) for name, quantile in PERCENTILES.items()}
    missing = [f"{name} ({count:,} needed)" for name, count in needed.items() if requests < count]
    return [f"{requests} requests are too few for {', '.join(missing)}"] if missing else []
