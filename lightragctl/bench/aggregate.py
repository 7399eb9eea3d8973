"""Aggregation of time slices of several workers as they arrive. Pure."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from lightragctl.bench.histogram import Histogram
from lightragctl.bench.plan import LoadPlan, repeated
from lightragctl.bench.result import Generator, LiveSample, LoadReport, Second, Timeline, Times, judge_run
from lightragctl.bench.targets import RequestOutcome
from lightragctl.bench.worker_protocol import SLICE_S, LoadPhase, TimeSlice

SETTLED_WINDOWS = 3
SETTLED_RATIO = 1.05
"""Warm enough: the medians of the last three seconds agree within 5 %."""

_PER_SECOND = round(1 / SLICE_S)


@dataclass
class _Interval:
    """The answers of all workers in a slice or a second, and how many slices are in it."""

    slices: int = 0
    latency: Histogram = field(default_factory=Histogram)
    ok: int = 0
    under_way: int = 0
    waiting: int = 0

    def add(self, one: TimeSlice, latency: Histogram) -> None:
        self.slices += 1
        self.latency.merge(latency)
        self.ok += one.outcomes.get(RequestOutcome.OK, 0)
        self.under_way += one.under_way
        self.waiting += one.waiting

    def end_with(self, last: "_Interval") -> None:
        self.slices += last.slices
        self.latency.merge(last.latency)
        self.ok += last.ok
        self.under_way, self.waiting = last.under_way, last.waiting


class PhaseTotals:
    """Totals of one phase of a run.

    Attributes:
        outcomes, statuses: how requests ended.
        good, failed, service, lateness, first_token: times of all slices so far, as in `TimeSlice`.
        seconds: the complete ones, in order.
        answered_in_time, ok_in_time: answers of the slices that began while requests were sent.
        cpu_s, spin_s: processor time in these slices, by worker.

    `duration_s` is how long requests are sent; what comes after it is the drain.
    """

    def __init__(self, phase: LoadPhase, workers: int, duration_s: float = math.inf) -> None:
        self._phase = phase
        self._workers = workers
        self._duration_s = duration_s
        self._slices: dict[int, _Interval] = {}
        self._seconds: dict[int, _Interval] = {}
        self.outcomes: Counter[str] = Counter()
        self.statuses: Counter[int] = Counter()
        self.good, self.failed, self.service = Histogram(), Histogram(), Histogram()
        self.lateness, self.first_token = Histogram(), Histogram()
        self.seconds: list[Second] = []
        self.answered_in_time = self.ok_in_time = 0
        self.cpu_s = [0.0] * workers
        self.spin_s = [0.0] * workers

    @property
    def answered(self) -> int:
        """Finished requests, failed ones included."""
        return self.outcomes.total()

    def add(self, worker: int, one: TimeSlice) -> LiveSample | None:
        """Add a slice; a live sample when it completes its half second."""
        good, failed = Histogram.decode(one.good), Histogram.decode(one.failed)
        self.good.merge(good)
        self.failed.merge(failed)
        self.service.merge(Histogram.decode(one.service))
        self.lateness.merge(Histogram.decode(one.lateness))
        self.first_token.merge(Histogram.decode(one.first_token))
        self.outcomes.update(one.outcomes)
        self.statuses.update(one.statuses)
        good.merge(failed)
        if one.number * SLICE_S < self._duration_s:
            self.cpu_s[worker] += one.cpu_s
            self.spin_s[worker] += one.spin_s
            self.answered_in_time += good.count
            self.ok_in_time += one.outcomes.get(RequestOutcome.OK, 0)
        span = self._slices.setdefault(one.number, _Interval())
        span.add(one, good)
        return self._complete(one.number) if span.slices == self._workers else None

    def close(self) -> None:
        """End the phase: incomplete half seconds count as complete, as drained workers send no more slices."""
        for number in sorted(self._slices):
            self._complete(number)
        for number in sorted(self._seconds):
            self._end_second(number)

    def _complete(self, number: int) -> LiveSample:
        span = self._slices.pop(number)
        second = self._seconds.setdefault(number // _PER_SECOND, _Interval())
        second.end_with(span)
        if second.slices == _PER_SECOND * self._workers:
            self._end_second(number // _PER_SECOND)
        p50_ms, p99_ms = span.latency.percentiles_ms((50, 99))
        return LiveSample(
            phase=self._phase,
            elapsed_s=(number + 1) * SLICE_S,
            answered_per_s=span.latency.count / SLICE_S,
            p50_ms=p50_ms,
            p99_ms=p99_ms,
            under_way=span.under_way,
            waiting=span.waiting,
            answered=self.answered,
            ok=self.outcomes[RequestOutcome.OK],
        )

    def _end_second(self, number: int) -> None:
        span = self._seconds.pop(number)
        p50_ms, p99_ms = span.latency.percentiles_ms((50, 99))
        self.seconds.append(Second(number, span.latency.count, span.ok, p50_ms, p99_ms, span.under_way, span.waiting))


def is_settled(seconds: Sequence[Second]) -> bool:
    """Whether the medians of the last seconds agree, which ends the warm-up; failed requests do not count."""
    last = seconds[-SETTLED_WINDOWS:]
    medians_ms = [second.p50_ms for second in last if 2 * second.ok > second.answered]
    return len(medians_ms) == SETTLED_WINDOWS and max(medians_ms) <= SETTLED_RATIO * min(medians_ms)


def summed_up(plan: LoadPlan, totals: PhaseTotals, timeline: Timeline, bodies: Mapping[int, bytes]) -> LoadReport:
    """The report of a finished run."""
    totals.close()
    everything = Histogram()
    everything.merge(totals.good)
    everything.merge(totals.failed)
    elapsed_s = max(timeline.duration_s, SLICE_S)
    generator = Generator(plan.workers, max(totals.cpu_s) / elapsed_s, sum(totals.cpu_s), sum(totals.spin_s))
    report = LoadReport(
        url=plan.target.shown,
        kind=plan.target.kind,
        shape=plan.shape,
        connections=plan.connections,
        seed=plan.seed,
        warm_up_s=timeline.warm_up_s,
        settled=timeline.settled,
        duration_s=timeline.duration_s,
        requests=totals.answered,
        outcomes=dict(totals.outcomes),
        statuses=dict(totals.statuses),
        unanswered=timeline.unanswered,
        answered_per_s=totals.answered_in_time / elapsed_s,
        good_per_s=totals.ok_in_time / elapsed_s,
        latency=Times.of(everything),
        good=Times.of(totals.good),
        failed=Times.of(totals.failed),
        service=Times.of(totals.service),
        lateness=Times.of(totals.lateness),
        first_token=Times.of(totals.first_token) if totals.first_token.count else None,
        generator=generator,
        seconds=totals.seconds,
        bodies=bodies,
        interrupted=timeline.interrupted,
        place=timeline.place,
        bad_answers=timeline.bad_answers,
    )
    verdict, again = judge_run(report, timeline), repeated(plan, timeline.place)
    notes = [*verdict.notes, again] if again else verdict.notes
    return msgspec.structs.replace(report, verdict=msgspec.structs.replace(verdict, notes=notes))
