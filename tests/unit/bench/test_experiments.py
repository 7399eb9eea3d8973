"""Runs one after the other: on runs that are made up, and against servers of which the truth is known."""

import signal
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from lightragctl.bench.bad_answers import Example
from lightragctl.bench.compare import ComparisonResult
from lightragctl.bench.experiments import Observer, SaturationSearch, compare_two, find_saturation
from lightragctl.bench.histogram import Histogram
from lightragctl.bench.plan import LoadPlan
from lightragctl.bench.result import Generator, LoadReport, Times
from lightragctl.bench.run import OnSample, StopEarly, terminated_as_interrupted
from lightragctl.bench.schedule import Closed, Poisson, duration_s
from lightragctl.bench.targets import Target
from lightragctl.bench.thresholds import parse
from lightragctl.bench.worker_protocol import QuestionCursor
from lightragctl.core.errors import LightragctlError, UnavailableError, UsageError
from tests.fakes.load_server import LoadServer, Manner

SLO = parse("p99<100ms,errors<0.1%")


def plan(url: str, seconds: float = 1.0, connections: int = 4) -> LoadPlan:
    return LoadPlan(Target(url), ["a", "b"], Closed(seconds), connections, spin=False)


PLAN = plan("http://127.0.0.1:1")


def made_up(plan: LoadPlan, latency_s: float = 0.01, **changes: Any) -> LoadReport:
    """A run of a service that takes so long for each answer, and refuses nothing."""
    seconds = duration_s(plan.shape)
    rate_qps = plan.shape.rate_qps if isinstance(plan.shape, Poisson) else plan.connections / latency_s
    histogram = Histogram()
    histogram.record([latency_s] * min(5000, round(rate_qps * seconds)))
    times, nothing = Times.of(histogram), Times.of(Histogram())
    report = LoadReport(
        url=plan.target.url,
        kind="retrieve",
        shape=plan.shape,
        connections=plan.connections,
        seed=plan.seed,
        warm_up_s=1.0,
        settled=False,
        duration_s=seconds,
        requests=times.count,
        outcomes={"ok": times.count},
        statuses={},
        unanswered=0,
        answered_per_s=rate_qps,
        good_per_s=rate_qps,
        latency=times,
        good=times,
        failed=nothing,
        service=times,
        lateness=nothing,
        first_token=None,
        generator=Generator(1, 0.1, 1.0, 0.0),
        seconds=(),
    )
    return msgspec.structs.replace(report, **changes)


def watch(measured: Callable[[int, LoadPlan], LoadReport]) -> Observer:
    """Makes runs up, of the number of the run, from 0, and its plan."""
    plans: list[LoadPlan] = []

    def measure(plan: LoadPlan, progress: OnSample, enough: StopEarly) -> LoadReport:
        plans.append(plan)
        return measured(len(plans) - 1, plan)

    return Observer(lambda _: None, lambda _: None, measure)


def overloaded(plan: LoadPlan) -> LoadReport:
    """Of a service that takes 10 ms below 500/s, and a second above."""
    is_fast = isinstance(plan.shape, Closed) or plan.shape.rate_qps <= 500
    return made_up(plan, 0.01 if is_fast else 1.0)


def test_the_search_begins_below_what_a_closed_loop_reaches() -> None:
    rates: list[float] = []

    def measured(number: int, plan: LoadPlan) -> LoadReport:
        rates.append(getattr(plan.shape, "rate_qps", 0.0))
        return overloaded(plan)

    found = find_saturation(PLAN, SaturationSearch(SLO), watch(measured))
    assert rates[:2] == [0.0, pytest.approx(0.8 * 400)]
    assert found.holds_qps is not None
    assert 500 / 1.05 <= found.holds_qps <= 500
    assert (found.limited, found.interrupted) == ("", False)


def test_a_service_slower_than_the_probe_is_asked_as_fast_as_it_answers() -> None:
    rates: list[float] = []

    def measured(number: int, plan: LoadPlan) -> LoadReport:
        rates.append(getattr(plan.shape, "rate_qps", 0.0))
        return made_up(plan, 4.0, good_per_s=0.0) if number == 0 else made_up(plan, 1.0)

    find_saturation(plan("http://x", connections=32), SaturationSearch(SLO), watch(measured))
    assert rates[1] == pytest.approx(0.8 * 32 / 4, rel=0.01)


def test_a_service_of_which_no_answer_is_good_is_not_searched() -> None:
    def refused(number: int, plan: LoadPlan) -> LoadReport:
        return made_up(plan, good=Times.of(Histogram()), good_per_s=0.0, outcomes={"http": 5})

    with pytest.raises(LightragctlError, match="all requests failed: http 5"):
        find_saturation(PLAN, SaturationSearch(SLO), watch(refused))
    found = find_saturation(PLAN, SaturationSearch(SLO, first_qps=100), watch(refused))
    assert (found.holds_qps, found.limited, len(found.steps)) == (None, "", 2)


def test_a_first_rate_that_tells_nothing_is_refused() -> None:
    with pytest.raises(UsageError, match="too few requests"):
        find_saturation(PLAN, SaturationSearch(SLO, first_qps=1.0), watch(lambda number, plan: overloaded(plan)))


def _interrupted(report: LoadReport) -> LoadReport:
    return msgspec.structs.replace(report, interrupted=True)


def _ctrl_c(report: LoadReport) -> LoadReport:
    raise KeyboardInterrupt


def _down(report: LoadReport) -> LoadReport:
    raise UnavailableError("nothing answers at 127.0.0.1:1: refused")


CUTS = [(_interrupted, True, ""), (_ctrl_c, True, ""), (_down, False, "ended early: nothing answers at 127.0.0.1:1")]


@pytest.mark.parametrize(("cut", "interrupted", "limited"), CUTS)
def test_a_search_that_is_cut_short_keeps_its_steps(
    cut: Callable[[LoadReport], LoadReport], interrupted: bool, limited: str
) -> None:
    """While a step connects, warms up, measures or is judged; and when the overload killed the service."""

    def measured(number: int, plan: LoadPlan) -> LoadReport:
        return cut(overloaded(plan)) if number == 3 else overloaded(plan)

    found = find_saturation(PLAN, SaturationSearch(SLO), watch(measured))
    assert len(found.steps) == 2
    assert found.holds_qps == found.steps[1].rate_qps
    assert found.interrupted == interrupted
    assert found.limited.startswith(limited)
    judging = SaturationSearch(SLO, judge=lambda report: cut(report) if report.seed == 3 else report)
    if cut is not _interrupted:
        assert find_saturation(PLAN, judging, watch(lambda number, plan: overloaded(plan))).steps == found.steps


@pytest.mark.parametrize(("cut", "interrupted", "limited"), CUTS)
def test_a_comparison_that_is_cut_short_keeps_its_rounds(
    cut: Callable[[LoadReport], LoadReport], interrupted: bool, limited: str
) -> None:
    def measured(number: int, plan: LoadPlan) -> LoadReport:
        return cut(made_up(plan)) if number == 5 else made_up(plan)

    report = compare_two(PLAN, PLAN, 8, 0.05, watch(measured))
    assert len(report.rounds) == 2
    assert report.doubts[-1].startswith(limited or "interrupted")


@pytest.mark.parametrize("number", [0, 1])
def test_what_is_cut_short_before_there_is_anything_says_so(number: int) -> None:
    def measured(at: int, plan: LoadPlan) -> LoadReport:
        return _interrupted(overloaded(plan)) if at == number else overloaded(plan)

    with pytest.raises(KeyboardInterrupt):
        find_saturation(PLAN, SaturationSearch(SLO), watch(measured))
    with pytest.raises(KeyboardInterrupt):
        compare_two(PLAN, PLAN, 8, 0.05, watch(measured))


def test_a_slower_service_is_told_from_a_faster_one() -> None:
    a, b = plan("http://a"), plan("http://b")
    report = compare_two(
        a, b, 6, 0.05, watch(lambda number, plan: made_up(plan, 0.02 if plan.target.url == "http://a" else 0.05))
    )
    assert [one.first for one in report.rounds] == list("ABABAB")
    findings = {one.figure: one.finding for one in report.figures}
    assert findings["p50"] is findings["good"] is ComparisonResult.WORSE
    assert report.figure("p50").ratio == pytest.approx(2.5, rel=0.01)


@pytest.mark.slow
def test_the_highest_rate_of_a_server_of_known_capacity_is_found() -> None:
    """Wide bounds: a machine that others use stutters, and each stutter of 0.1 s breaks a p99 of two seconds."""
    told: list[str] = []
    with LoadServer(Manner(capacity_per_s=500)) as server:
        seen = Observer(lambda _: None, told.append)
        found = find_saturation(plan(server.url, connections=256), SaturationSearch(parse("p99<200ms"), 2.0, 400), seen)
    assert found.holds_qps is not None, told
    assert found.fails_qps is not None
    assert 300 <= found.holds_qps <= 525
    assert found.fails_qps <= 650
    assert told[0].startswith("step 1: ")
    assert any("passed" in words for words in told)


@pytest.mark.slow
def test_ctrl_c_ends_the_search_with_what_there_is() -> None:
    """While the second step warms up."""
    with LoadServer(Manner(delay_s=0.01)) as server:
        words = ["bench", "saturate", "--url", server.url, "--from", "50"]
        with subprocess.Popen(
            [sys.executable, "-m", "lightragctl", *words, "--step", "2", "--slo", "p99<5s"],
            stderr=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as child:
            assert child.stderr is not None
            seen = ""
            for line in child.stderr:
                seen += line
                if line.startswith("step 2"):
                    break
            child.send_signal(signal.SIGINT)
            out, told = child.communicate(timeout=60)
    assert child.returncode == 4, seen + told
    assert "interrupted" in told
    assert "passed" in out


DISTINCT = msgspec.structs.replace(PLAN, questions=["q"] * 1000, distinct=True)


def asking(count: int, places: list[QuestionCursor]) -> Callable[[int, LoadPlan], LoadReport]:
    """Runs that ask so many questions while they measure, and ten in the warm-up; where each began is noted."""

    def measured(number: int, plan: LoadPlan) -> LoadReport:
        places.append(plan.place)
        return made_up(plan, place=QuestionCursor(plan.place.front + count, plan.place.back + 10))

    return measured


def test_distinct_questions_go_on_through_all_runs_of_a_series() -> None:
    places: list[QuestionCursor] = []
    report = compare_two(DISTINCT, DISTINCT, 2, 0.05, watch(asking(100, places)))
    assert places == [QuestionCursor(0, 0), QuestionCursor(100, 10), QuestionCursor(200, 20), QuestionCursor(300, 30)]
    assert not any("ran out" in doubt for doubt in report.doubts)
    places.clear()
    find_saturation(DISTINCT, SaturationSearch(SLO), watch(asking(1, places)))
    assert places == [QuestionCursor(number, 10 * number) for number in range(len(places))]


def test_distinct_questions_that_ran_out_are_told_with_how_many_there_should_be() -> None:
    report = compare_two(DISTINCT, DISTINCT, 4, 0.05, watch(asking(200, [])))
    told = [doubt for doubt in report.doubts if "the 1000 distinct questions ran out" in doubt]
    assert "use --distinct 1680 or more" in told[0]
    made = asking(900, [])
    found = find_saturation(
        DISTINCT,
        SaturationSearch(SLO),
        watch(lambda number, plan: msgspec.structs.replace(overloaded(plan), place=made(number, plan).place)),
    )
    assert "the 1000 distinct questions ran out" in found.limited


def test_questions_that_may_be_asked_again_are_the_same_in_every_run() -> None:
    places: list[QuestionCursor] = []
    compare_two(PLAN, PLAN, 3, 0.05, watch(asking(100, places)))
    assert set(places) == {QuestionCursor()}


def test_a_service_that_refuses_quickly_is_not_better() -> None:
    def measured(number: int, plan: LoadPlan) -> LoadReport:
        if plan.target.url == "http://a":
            return made_up(plan, 0.02)
        good = made_up(plan, 0.01)
        ends = {"ok": good.requests * 6 // 10, "http": good.requests - good.requests * 6 // 10}
        return msgspec.structs.replace(good, outcomes=ends, statuses={503: ends["http"]})

    report = compare_two(plan("http://a"), plan("http://b"), 8, 0.05, watch(measured))
    assert (report.fails_more, report.figure("p50").finding) == ("B", ComparisonResult.UNLIKE)


def test_the_credentials_of_an_address_are_in_no_report() -> None:
    secret = plan("http://me:p%40ss@a/?api_key=s3cret", connections=32)
    compared = compare_two(secret, secret, 2, 0.05, watch(lambda number, plan: made_up(plan)))
    found = find_saturation(secret, SaturationSearch(SLO), watch(lambda number, plan: overloaded(plan)))
    assert {compared.a, compared.b, found.url} == {"http://***@a/?api_key=***"}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_between_two_runs_ends_a_series_with_what_there_is(number: signal.Signals) -> None:
    told: list[str] = []

    def tell(words: str) -> None:
        told.append(words)
        if words.startswith(("step 3", "round 3")):
            signal.raise_signal(number)

    made = watch(lambda number, plan: overloaded(plan))
    with terminated_as_interrupted():
        found = find_saturation(PLAN, SaturationSearch(SLO), Observer(made.progress, tell, made.measure))
        report = compare_two(PLAN, PLAN, 8, 0.05, Observer(made.progress, tell, made.measure))
    assert (found.interrupted, len(found.steps)) == (True, 2)
    assert (report.cut_short, len(report.rounds)) == (True, 2)


def test_a_service_that_answers_rubbish_is_told_with_an_example() -> None:
    def refused(number: int, plan: LoadPlan) -> LoadReport:
        seen = Example("bad-body", 200, "<html>sign in", 13)
        ends = {"bad-body": 5}
        return made_up(plan, good=Times.of(Histogram()), good_per_s=0.0, outcomes=ends, bad_answers=[seen])

    with pytest.raises(LightragctlError, match="first bad-body: status 200, 13 bytes: <html>sign in"):
        find_saturation(PLAN, SaturationSearch(SLO), watch(refused))
