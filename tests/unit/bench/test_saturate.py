"""The search for the highest rate: which rate comes next, when it ends, and what it does with chance."""

import math
import random

import msgspec
import pytest

from lightragctl.bench.histogram import Histogram
from lightragctl.bench.result import Generator, LiveSample, LoadReport, Quality, Second, Times
from lightragctl.bench.saturate import (
    LOWEST_QPS,
    STEPS_MOST,
    TOLERANCE,
    RateStep,
    duration_s,
    ends,
    hopeless,
    judge_step,
    limits,
    lowest_qps,
    next_rate,
)
from lightragctl.bench.schedule import Poisson
from lightragctl.bench.thresholds import parse
from lightragctl.bench.worker_protocol import LoadPhase

SLO = parse("p99<100ms,errors<0.1%")


def step(rate: float, held: bool, believed: bool = True) -> RateStep:
    return RateStep(rate, held, () if held else ("p99<100ms",), believed, rate, 1.0)


def search(holds, first: float, lowest: float = LOWEST_QPS) -> list[RateStep]:  # type: ignore[no-untyped-def]
    steps: list[RateStep] = []
    while (rate := next_rate(steps, first, lowest)) is not None:
        steps.append(step(rate, holds(rate)))
    return steps


@pytest.mark.parametrize("capacity", [3.0, 97.0, 1000.0, 12345.0])
@pytest.mark.parametrize("guess", [0.4, 0.8, 1.0, 1.9])
def test_a_known_capacity_is_found_within_the_tolerance(capacity: float, guess: float) -> None:
    steps = search(lambda rate: rate <= capacity, capacity * guess)
    holds, fails = ends(steps)
    assert holds is not None
    assert fails is not None
    assert holds <= capacity < fails <= holds * (1 + TOLERANCE) * 1.0001
    assert [one.rate_qps for one in steps].count(holds) >= 2
    assert [one.rate_qps for one in steps].count(fails) >= 2
    assert limits(steps) == ""


def test_from_a_good_guess_eight_steps_are_enough() -> None:
    assert len(search(lambda rate: rate <= 1000, 800)) <= 8


def test_one_stutter_in_ten_steps_seldom_spoils_it() -> None:
    chance, wrong = random.Random(7), 0
    for _ in range(200):
        steps = search(lambda rate: rate <= 1000 and chance.random() > 0.1, 800)
        holds, _ = ends(steps)
        wrong += holds is None or not 900 <= holds <= 1000
    assert wrong <= 20


def test_a_service_of_which_nothing_holds_is_not_asked_for_ever() -> None:
    steps = search(lambda rate: False, 10)
    assert ends(steps) == (None, min(one.rate_qps for one in steps))
    assert limits(steps) == ""


def test_where_slower_rates_cannot_be_told_the_search_ends_without_a_verdict() -> None:
    """A p99 needs 299 requests for its bound, which a step of five minutes has from 1.2/s on."""
    lowest = lowest_qps(10, SLO)
    assert lowest == pytest.approx((299 + 3 * math.sqrt(299)) / 300)
    steps = search(lambda rate: False, 5, lowest)
    assert min(one.rate_qps for one in steps) >= lowest
    assert "too few requests" in limits(steps, lowest)
    refused = [msgspec.structs.replace(one, good_per_s=0.0) for one in steps]
    assert limits(refused, lowest) == "", "a service that answers nothing does not at a slower rate"
    assert lowest_qps(720, SLO) == lowest_qps(10, parse("errors<1%")) == LOWEST_QPS


def test_a_service_that_holds_by_chance_is_given_up() -> None:
    chance = random.Random(1)
    steps = search(lambda rate: chance.random() > 0.5, 100)
    assert len(steps) <= STEPS_MOST


def test_a_failure_that_may_be_the_generators_is_said() -> None:
    steps = [step(100, True), step(125, False, believed=False), step(125, False, believed=False)]
    assert "generator" in limits(steps)
    assert limits([*steps, step(125, False)]) == ""


def report(latencies_ms: list[float], rate: float, **more: object) -> LoadReport:
    histogram = Histogram()
    histogram.record([one / 1000 for one in latencies_ms])
    times = Times.of(histogram)
    whole = LoadReport(
        url="http://x",
        kind="retrieve",
        shape=Poisson(rate, 10),
        connections=1,
        seed=1,
        warm_up_s=0,
        settled=True,
        duration_s=10,
        requests=len(latencies_ms),
        outcomes={"ok": len(latencies_ms)},
        statuses={},
        unanswered=0,
        answered_per_s=len(latencies_ms) / 10,
        good_per_s=len(latencies_ms) / 10,
        latency=times,
        good=times,
        failed=times,
        service=times,
        lateness=Times.of(Histogram()),
        first_token=None,
        generator=Generator(1, 0.1, 1.0, 0.0),
        seconds=(),
    )
    return msgspec.structs.replace(whole, **more)  # type: ignore[arg-type]


def test_a_step_holds_when_the_upper_bound_of_its_p99_does() -> None:
    assert judge_step(report([10.0] * 1000, 100), 100, SLO).held
    lucky = [10.0] * 991 + [200.0] * 9
    assert report(lucky, 100).latency.p99_ms < 100
    judged = judge_step(report(lucky, 100), 100, SLO)
    assert judged.broken == ["p99<100ms"]
    bound_ms = judged.seen["p99<100ms"]
    assert bound_ms is not None
    assert bound_ms == pytest.approx(200, rel=0.01), "what is told is what was held against the threshold"
    assert judged.seen["errors<0.1%"] == 0


def test_few_requests_show_nothing() -> None:
    judged = judge_step(report([10.0] * 200, 20), 20, SLO)
    assert not judged.held
    assert judged.seen["p99<100ms"] is None


def test_a_step_that_fell_behind_or_was_late_says_so() -> None:
    cut = report([10.0] * 900, 100, duration_s=9.0)
    assert judge_step(cut, 100, SLO).broken == ["queue grows"], "it was broken off"
    late = Histogram()
    late.record([0.01] * 1000)
    assert not judge_step(report([10.0] * 1000, 100, lateness=Times.of(late)), 100, SLO).believed


def test_fewer_requests_than_the_rate_says_are_chance_and_not_the_service() -> None:
    """A Poisson draw of 100 is below 95 in three cases of ten."""
    assert judge_step(report([10.0] * 900, 100), 100, SLO).held


@pytest.mark.parametrize(
    ("outstanding", "behind"),
    [
        ([100] * 10, False),  # a service that always takes a second
        ([20, 40, 60, 80, 100, 100, 100, 100, 100, 100], False),
        ([10 * n for n in range(10)], True),  # of 100 that fall due ten are left each second
        ([4 * n for n in range(10)], False),
        ([0] * 9 + [20], False),  # chance
        ([0] * 9 + [30], True),
    ],
)
def test_a_service_falls_behind_when_what_is_open_grows(outstanding: list[int], behind: bool) -> None:
    seconds = [Second(number, 100, 100, 10.0, 10.0, 0, one) for number, one in enumerate(outstanding)]
    drained = Second(10, 100, 100, 10.0, 10.0, 0, 0)
    step = judge_step(report([10.0] * 1000, 100, seconds=[*seconds, drained]), 100, parse("errors<1%"))
    assert step.broken == (["queue grows"] if behind else [])


def test_requests_that_failed_quickly_keep_to_no_percentile() -> None:
    failed = report([0.1] * 1000, 100, good=Times.of(Histogram()), outcomes={"http": 1000})
    assert judge_step(failed, 100, parse("p99<100ms,p50<100ms")).broken == ["p99<100ms", "p50<100ms"]


def test_recall_that_was_not_measured_does_not_hold() -> None:
    slo = parse("recall>=0.9")
    assert judge_step(report([10.0] * 1000, 100, quality=Quality(10)), 100, slo).broken == ["recall>=0.9"]


def test_a_queue_that_grows_beyond_what_is_allowed_is_hopeless() -> None:
    def sample(outstanding: int) -> LiveSample:
        return LiveSample(LoadPhase.MEASURE, 1.0, 0.0, 0.0, 0.0, 10, outstanding - 10, 0, 0)

    growing = hopeless(1000, SLO)
    assert [growing(sample(n)) for n in (100, 200, 210, 230, 400, 600)] == [False, False, False, False, True, True]
    steady = hopeless(1000, SLO)
    assert not any(steady(sample(n)) for n in (900, 800, 900, 800, 900, 800))
    refusing = hopeless(1000, parse("recall>=0.9"))
    answered = msgspec.structs.replace(sample(10), answered=100)
    assert not refusing(msgspec.structs.replace(answered, ok=1))
    assert refusing(answered)


def test_slow_rates_are_measured_for_longer() -> None:
    assert (duration_s(1000, 10), duration_s(50, 10), duration_s(1, 10)) == (10, 20, 60)
    assert math.isclose(duration_s(100, 10), 10)
    assert duration_s(1000, 90) == 90, "what is asked for is not cut off"
    assert 2 * duration_s(2, 10, SLO) == pytest.approx(351, abs=1)
    assert duration_s(lowest_qps(10, SLO), 10, SLO) == pytest.approx(300)
