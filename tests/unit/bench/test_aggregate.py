"""From answers to slices, from slices of several workers to seconds and a report, and whether to believe it."""

import re
from collections.abc import Callable
from functools import partial
from itertools import islice

import pytest

from lightragctl.bench.aggregate import PhaseTotals, is_settled, summed_up
from lightragctl.bench.bad_answers import bad_answer
from lightragctl.bench.histogram import Histogram
from lightragctl.bench.plan import LoadPlan
from lightragctl.bench.recorder import AnswerRecorder, QuestionSequence, RequestTimes, WorkerGauges
from lightragctl.bench.result import LoadReport, Second, Timeline, judge_run
from lightragctl.bench.schedule import Closed
from lightragctl.bench.targets import Endpoint, RequestOutcome, Target
from lightragctl.bench.worker_protocol import KeepLimits, LoadPhase, QuestionCursor, TimeSlice, WorkerPlan

COURSE = Timeline(connected=64, warm_up_s=0.0, settled=False, duration_s=1.0, stopped=False, unanswered=0)
KEEP = KeepLimits()
PLAN = LoadPlan(Target("http://h"), ["a"], Closed(1.0))


BEGIN = QuestionCursor()


def shared(count: int, share: int = 0, place: QuestionCursor = BEGIN) -> WorkerPlan:
    """What one of two workers does."""
    return WorkerPlan(Endpoint("h", 80, False), "retrieve", [b""] * count, 1, 1.0, 1.0, 1.0, share, 2, place=place)


def slices(latencies_s: list[list[float]], failed: int = 0) -> list[TimeSlice]:
    """What a worker tells that got these good answers, and so many 503 in 0.5 s, in each half second."""
    recorder = AnswerRecorder(LoadPhase.MEASURE, KEEP)
    told = []
    for part in latencies_s:
        for latency_s in part:
            recorder.good(0, b"", RequestTimes(latency_s, latency_s / 2))
        for _ in range(failed):
            recorder.failed(RequestOutcome.HTTP, 503, RequestTimes(0.5, 0.5))
        told.append(recorder.take(WorkerGauges(under_way=3, waiting=2, cpu_s=0.1, spin_s=0.2)))
    return told


def test_a_slice_holds_what_was_written_down_since_the_one_before() -> None:
    first, second = slices([[0.1, 0.2], [0.3]], failed=1)
    assert (first.number, second.number) == (0, 1)
    assert first.outcomes == {"ok": 2, "http": 1}
    assert second.outcomes == {"ok": 1, "http": 1}
    assert first.statuses == {503: 1}
    assert Histogram.decode(second.good).max_ms == pytest.approx(300, rel=0.001)
    assert Histogram.decode(second.failed).max_ms == pytest.approx(500, rel=0.001)
    assert Histogram.decode(first.service).count == 3


def test_of_each_question_the_first_good_body_is_kept_as_long_as_there_is_room() -> None:
    recorder = AnswerRecorder(LoadPhase.MEASURE, KeepLimits(bodies=2, size_bytes=10))
    took = RequestTimes(0.1, 0.1)
    for question, body in ((1, b"12345"), (1, b"again"), (2, b"too long"), (3, b"123"), (4, b"1")):
        recorder.good(question, body, took)
    assert recorder.bodies == {1: b"12345", 3: b"123"}


def test_workers_ask_all_questions_alike_and_the_warm_up_begins_at_the_other_end() -> None:
    asked = [list(islice(QuestionSequence(LoadPhase.MEASURE, shared(5, share)), 5)) for share in (0, 1)]
    assert asked == [[0, 2, 4, 1, 3], [1, 3, 0, 2, 4]]
    assert list(islice(QuestionSequence(LoadPhase.WARM_UP, shared(5)), 4)) == [4, 2, 0, 3]
    assert list(islice(QuestionSequence(LoadPhase.MEASURE, shared(1, 1)), 3)) == [0, 0, 0]


def test_a_run_of_a_series_asks_on_from_where_the_one_before_ended() -> None:
    goes_on = shared(9, place=QuestionCursor(front=3, back=2))
    measured, warmed = QuestionSequence(LoadPhase.MEASURE, goes_on), QuestionSequence(LoadPhase.WARM_UP, goes_on)
    assert (list(islice(measured, 2)), list(islice(warmed, 2))) == ([3, 5], [6, 4])
    assert (measured.taken, warmed.taken) == (2, 2)


def test_a_half_second_is_told_when_every_worker_has_told_it() -> None:
    totals = PhaseTotals(LoadPhase.MEASURE, workers=2)
    (one, one_more), (other, _) = slices([[0.1], [0.1]]), slices([[0.3, 0.3, 0.3], []], failed=1)
    assert totals.add(0, one) is None
    assert totals.add(0, one_more) is None
    sample = totals.add(1, other)
    assert sample is not None
    assert (sample.elapsed_s, sample.answered_per_s, sample.under_way, sample.waiting) == (0.5, 10.0, 6, 4)
    assert sample.p50_ms == pytest.approx(300, rel=0.001)
    assert (sample.answered, sample.ok) == (6, 5)


def test_seconds_join_two_halves_of_all_workers_and_the_drain_is_not_forgotten() -> None:
    totals = PhaseTotals(LoadPhase.MEASURE, workers=2, duration_s=1.0)
    for one in slices([[0.1], [0.2, 0.2], [0.9]]):
        totals.add(0, one)
    for one in slices([[0.1], [0.2]]):  # this worker had nothing to wait for at the end
        totals.add(1, one)
    totals.close()
    assert [(second.number, second.answered) for second in totals.seconds] == [(0, 5), (1, 1)]
    assert totals.seconds[0].p99_ms == pytest.approx(200, rel=0.001)
    assert (totals.answered, totals.answered_in_time) == (6, 5)


def test_the_report_counts_errors_in_the_latency_and_keeps_them_apart() -> None:
    totals = PhaseTotals(LoadPhase.MEASURE, workers=1, duration_s=1.0)
    for one in slices([[0.1] * 5, [0.1] * 5], failed=1):
        totals.add(0, one)
    report = summed_up(PLAN, totals, COURSE, {0: b"body"})
    assert (report.requests, report.outcomes, report.statuses) == (12, {"ok": 10, "http": 2}, {503: 2})
    assert (report.answered_per_s, report.good_per_s) == (12.0, 10.0)
    assert report.latency.p50_ms == pytest.approx(100, rel=0.001)
    assert report.latency.max_ms == pytest.approx(500, rel=0.001)
    assert (report.good.count, report.failed.count, report.service.count) == (10, 2, 12)
    assert Histogram.decode(report.latency.histogram).count == 12
    assert report.generator.cpu_share == pytest.approx(0.2)
    assert report.first_token is None
    assert report.bodies == {0: b"body"}


@pytest.mark.parametrize(
    ("p50s_ms", "settled"),
    [([10, 10.2, 10.4], True), ([10, 10.2], False), ([30, 10, 10.3, 10.1], True), ([10, 10, 10.6], False)],
)
def test_a_service_has_settled_when_three_medians_agree(p50s_ms: list[float], settled: bool) -> None:
    seconds = [Second(number, 100, 100, p50_ms, 50.0, 1, 0) for number, p50_ms in enumerate(p50s_ms)]
    assert is_settled(seconds) == settled


def test_a_service_that_does_not_answer_has_not_settled() -> None:
    assert not is_settled([Second(number, 0, 0, 0.0, 0.0, 1, 0) for number in range(5)])


def report(latency_s: float, lateness_s: float, requests: int = 2000, cpu_share: float = 0.5) -> LoadReport:
    """A report of so many requests that all took the same."""
    recorder = AnswerRecorder(LoadPhase.MEASURE, KEEP)
    for _ in range(requests):
        recorder.looked(lateness_s)
        recorder.good(0, b"", RequestTimes(latency_s, latency_s))
    return of(recorder, cpu_share)


def refused() -> LoadReport:
    """A report of 2000 requests of which none was answered well."""
    recorder = AnswerRecorder(LoadPhase.MEASURE, KEEP)
    for _ in range(2000):
        recorder.looked(0.0)
        recorder.failed(RequestOutcome.HTTP, 503, RequestTimes(0.001, 0.001))
    return of(recorder)


def of(recorder: AnswerRecorder, cpu_share: float = 0.5, spin_s: float = 0.0) -> LoadReport:
    totals = PhaseTotals(LoadPhase.MEASURE, workers=1)
    totals.add(0, recorder.take(WorkerGauges(0, 0, cpu_share, spin_s)))
    return summed_up(PLAN, totals, COURSE, {})


STOPPED = Timeline(connected=64, warm_up_s=0.0, settled=False, duration_s=3.21, stopped=True, unanswered=7)
UNCONNECTED = Timeline(connected=63, warm_up_s=0.0, settled=False, duration_s=1.0, stopped=False, unanswered=0)


@pytest.mark.parametrize(
    ("timeline", "measured", "reasons"),
    [
        (COURSE, partial(report, 0.02, 0.0009, cpu_share=0.8), []),
        (COURSE, partial(report, 0.001, 0.0003), []),
        (COURSE, partial(report, 0.0031, 0.000213), []),  # at 10,000/s, of docs/performance.md
        (
            COURSE,
            partial(report, 0.001, 0.00031),
            [r"1 % of the requests by more than 0\.31 ms \(limit 0\.3\).*--spin"],
        ),
        (COURSE, partial(report, 0.02, 0.0011), [r"late: 1 % of the requests by more than 1\.1 ms \(limit 1\)"]),
        (COURSE, partial(report, 2.0, 0.0095), []),
        (COURSE, partial(report, 2.0, 0.011), [r"late: 1 % of the requests by more than 11 ms \(limit 10\)"]),
        (COURSE, partial(report, 0.02, 0.0, cpu_share=0.9), ["used 90% of a core"]),
        (COURSE, partial(report, 0.02, 0.0, requests=100), []),
        (COURSE, refused, ["all requests failed"]),
        (STOPPED, partial(report, 0.02, 0.0), [r"stopped after 3\.2 s"]),
        (UNCONNECTED, partial(report, 0.02, 0.0), ["only 63 of 64 connections"]),
        (COURSE, partial(report, 0.02, 0.5, 10, 0.99), ["late", "used 99%"]),
    ],
)
def test_a_run_that_cannot_be_believed_says_why(
    timeline: Timeline, measured: Callable[[], LoadReport], reasons: list[str]
) -> None:
    verdict = judge_run(measured(), timeline)
    assert verdict.valid == (not reasons)
    assert len(verdict.reasons) == len(reasons)
    for told, wanted in zip(verdict.reasons, reasons, strict=True):
        assert re.search(wanted, told)


@pytest.mark.parametrize(
    ("requests", "notes"),
    [
        (2995, ()),
        (2994, ("2994 requests are too few for p99.9 (2,995 needed)",)),
        (100, ("100 requests are too few for p99 (299 needed), p99.9 (2,995 needed)",)),
    ],
)
def test_percentiles_of_too_few_requests_are_said_not_to_be_known(requests: int, notes: tuple[str, ...]) -> None:
    verdict = judge_run(report(0.02, 0.0, requests), COURSE)
    assert (verdict.valid, tuple(verdict.notes)) == (True, notes)


def test_of_few_requests_one_that_was_late_is_chance() -> None:
    recorder = AnswerRecorder(LoadPhase.MEASURE, KEEP)
    for number in range(100):
        recorder.looked(0.02 if number < 4 else 0.0)
        recorder.good(0, b"", RequestTimes(0.02, 0.02))
    assert judge_run(of(recorder), COURSE).valid
    recorder.looked(0.02)
    for _ in range(6):
        recorder.looked(0.02)
        recorder.good(0, b"", RequestTimes(0.02, 0.02))
    for _ in range(94):
        recorder.looked(0.0)
        recorder.good(0, b"", RequestTimes(0.02, 0.02))
    assert "5 % of the requests" in judge_run(of(recorder), COURSE).reasons[0]


def test_who_spins_already_is_not_told_to() -> None:
    recorder = AnswerRecorder(LoadPhase.MEASURE, KEEP)
    for _ in range(2000):
        recorder.looked(0.02)
        recorder.good(0, b"", RequestTimes(0.02, 0.02))
    (told,) = judge_run(of(recorder, spin_s=0.3), COURSE).reasons
    assert "late" in told
    assert "--spin" not in told


@pytest.mark.parametrize(("ok", "settled"), [(0, False), (40, False), (60, True), (100, True)])
def test_a_service_that_mostly_refuses_has_not_settled(ok: int, settled: bool) -> None:
    assert is_settled([Second(number, 100, ok, 1.0, 2.0, 0, 0) for number in range(3)]) is settled


def test_the_first_answer_of_each_outcome_that_was_not_good_is_kept() -> None:
    recorder = AnswerRecorder(LoadPhase.MEASURE, KEEP)
    for outcome, body in (("bad-body", b"first"), ("bad-body", b"second"), ("http", b"third")):
        recorder.example(bad_answer(outcome, 200, body))
    assert [found.body for found in recorder.bad.values()] == [b"first", b"third"]
