"""Charts: what is drawn where, and that a stall cannot be overlooked."""

from itertools import pairwise

import msgspec
import pytest

from lightragctl.bench.report import plots
from lightragctl.bench.report.charts import BOTTOM, FIGURES, LEFT, NAMES, RIGHT, TOP, BarChart, Curve, LineChart
from lightragctl.bench.result import Second
from lightragctl.bench.schedule import Closed, Ramp
from tests.fakes.saved_run import DURATION_S, REPORT, SILENT, STAGES_MS, times


def places(curve: Curve) -> list[tuple[float, float]]:
    """Where the lines of a curve go through."""
    pairs = [pair.split(",") for line in curve.lines for pair in line.split()]
    return [(float(x), float(y)) for x, y in pairs] + list(curve.dots)


def named(chart: LineChart) -> dict[str, Curve]:
    return {curve.name: curve for curve in chart.curves}


ANSWERS, LATENCY, OPEN = plots.timeline("run", REPORT)


@pytest.mark.parametrize("chart", [ANSWERS, LATENCY, OPEN, plots.percentiles("p", "", {"good": REPORT.good})])
def test_everything_lies_inside_the_field(chart: LineChart) -> None:
    assert chart.curves
    for curve in chart.curves:
        for x, y in places(curve):
            assert LEFT <= x <= RIGHT
            assert TOP <= y <= BOTTOM
    for stripe in (*chart.spots, *chart.bands):
        assert LEFT <= stripe.x <= stripe.x + stripe.width <= RIGHT + 0.01


def test_seconds_without_an_answer_are_marked_and_break_the_line_of_the_latency() -> None:
    for chart in (ANSWERS, LATENCY, OPEN):
        assert [band.text for band in chart.bands if band.kind == "silent"] == [
            f"no answer in second {number}" for number in SILENT
        ]
        assert "Red" in chart.frame.note
    assert len(named(LATENCY)["p99"].lines) == 2
    assert len(named(LATENCY)["p50"].lines) == 2
    lowest = max(y for _, y in places(named(ANSWERS)["good answers"]))
    assert lowest == BOTTOM, "the rate falls to nothing"
    highest = min(places(named(LATENCY)["p99"]), key=lambda place: place[1])
    assert highest[0] == pytest.approx(LEFT + (RIGHT - LEFT) * (SILENT[-1] + 1.5) / (DURATION_S + 1), abs=0.01)


def test_a_silent_second_can_be_seen_in_a_run_of_hours() -> None:
    seconds = [Second(number, int(number not in SILENT), 1, 5.0, 9.0, 3, 0) for number in range(7200)]
    (answers, *_) = plots.timeline("run", msgspec.structs.replace(REPORT, seconds=seconds, duration_s=7200.0))
    assert [band.width for band in answers.bands] == [1.5, 1.5]


def test_the_drain_is_told_apart_and_its_empty_seconds_are_left_out() -> None:
    (drain,) = [band for band in ANSWERS.bands if band.kind == "drain"]
    assert drain.x + drain.width == pytest.approx(RIGHT)
    assert len(ANSWERS.spots) == DURATION_S + 1
    quiet = msgspec.structs.replace(REPORT, seconds=REPORT.seconds[:DURATION_S])
    assert not [band for band in plots.timeline("run", quiet)[0].bands if band.kind == "drain"]


def test_each_second_says_its_figures_when_pointed_at() -> None:
    assert ANSWERS.spots[0].text == "second 0: 100 answers, 1 failed; p50 5.00 ms, p99 9.00 ms; 3 in flight, 100 queued"
    assert "no times" in ANSWERS.spots[SILENT[0]].text


def test_the_rate_that_was_asked_for_is_drawn_where_there_is_one() -> None:
    asked = places(named(ANSWERS)["planned"])
    assert asked[0][1] == asked[1][1]
    ramp = msgspec.structs.replace(REPORT, shape=Ramp(0, 300, DURATION_S))
    first, last = places(named(plots.timeline("run", ramp)[0])["planned"])
    assert first[1] > last[1]
    closed = msgspec.structs.replace(REPORT, shape=Closed(DURATION_S))
    assert "planned" not in named(plots.timeline("run", closed)[0])


def test_all_answers_have_a_line_of_their_own_only_when_some_were_not_good() -> None:
    assert "all answers" in named(ANSWERS)
    good = [msgspec.structs.replace(second, ok=second.answered) for second in REPORT.seconds]
    (answers, *_) = plots.timeline("run", msgspec.structs.replace(REPORT, seconds=good))
    assert list(named(answers)) == ["planned", "good answers"]


def test_a_curve_of_percentiles_ends_where_its_requests_do_with_the_longest() -> None:
    chart = plots.percentiles("p", "", {"many": times([0.001] * 9990 + [0.1] * 10), "few": times([0.01] * 10)})
    assert chart is not None
    many, few = (places(curve) for curve in chart.curves)
    assert many[-1][0] == RIGHT
    assert few[-1][0] == pytest.approx(LEFT + (RIGHT - LEFT) / 4)
    assert many[-1][1] < few[-1][1] < many[0][1], "more milliseconds lie higher"
    assert chart.spots[0].text == "p0: many 1.00 ms, few 10.0 ms"


def test_without_requests_there_is_nothing_to_draw() -> None:
    assert plots.percentiles("p", "", {"none": times([])}) is None
    assert plots.timeline("run", msgspec.structs.replace(REPORT, seconds=())) == []
    assert plots.stages("s", {}) is None
    assert plots.outcomes("o", msgspec.structs.replace(REPORT, outcomes={}, statuses={})) is None


def test_a_run_in_which_nothing_was_answered_can_still_be_drawn() -> None:
    silent = [msgspec.structs.replace(second, answered=0, ok=0, p50_ms=0.0, p99_ms=0.0) for second in REPORT.seconds]
    charts = plots.timeline("run", msgspec.structs.replace(REPORT, seconds=silent))
    assert [len([band for band in chart.bands if band.kind == "silent"]) for chart in charts] == [DURATION_S] * 3


def bars(chart: BarChart | None) -> dict[str, tuple[float, float]]:
    assert chart is not None
    return {bar.part.name: (bar.x, bar.x + bar.width) for bar in chart.bars}


def test_stages_follow_each_other_in_the_order_of_a_request() -> None:
    drawn = bars(plots.stages("s", {**STAGES_MS, "another": 1.0}))
    assert list(drawn) == ["queue embed", "embed", "queue search", "search", "serialise", "another"]
    ends = list(drawn.values())
    assert ends[0][0] == NAMES
    assert all(after[0] == pytest.approx(before[1], abs=1) for before, after in pairwise(ends))
    assert ends[-1][1] <= FIGURES


def test_outcomes_begin_with_what_was_good_and_end_with_the_statuses() -> None:
    assert list(bars(plots.outcomes("o", REPORT))) == ["ok", "http", "timeout", "status 503"]


def test_the_generators_figures_are_shown_against_what_is_allowed() -> None:
    chart = plots.generator("g", REPORT)
    assert chart.limit is not None
    late, busy = bars(chart).values()
    assert late[1] < chart.limit, "0.2 ms of 1"
    assert busy[1] < chart.limit, "40 % of 85"
    closed = msgspec.structs.replace(REPORT, lateness=times([]))
    assert list(bars(plots.generator("g", closed))) == ["a core, busy"]
