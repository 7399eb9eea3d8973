"""Saved searches and comparisons: what their sections, charts and test cases say."""

from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from lightragctl.bench.compare import CompareReport, ComparisonResult
from lightragctl.bench.report.charts import IntervalChart, LineChart
from lightragctl.bench.report.document import VALID, JunitCase
from lightragctl.bench.report.documents import Document, kind_of
from lightragctl.bench.report.html import html
from lightragctl.bench.report.page import page
from lightragctl.bench.saturate import Saturation
from tests.fakes.saved_run import RUN
from tests.fakes.saved_series import COMPARED, SEARCH

NASTY = "<script>alert(1)</script>"
LIMITED = SEARCH.limited


def search(**fields: Any) -> Saturation:
    return msgspec.structs.replace(SEARCH, **fields)


def compared(finding: ComparisonResult, of: str = "p50") -> CompareReport:
    figures = [
        msgspec.structs.replace(one, finding=finding, rounds_needed=40) if one.figure == of else one
        for one in COMPARED.figures
    ]
    return msgspec.structs.replace(COMPARED, figures=figures)


def lines(document: Document) -> Mapping[str, LineChart]:
    """The charts of a document's section that have two axes, by the end of their ids."""
    charts = page({"file": document}).sections[0].charts
    return {chart.frame.id.partition("-")[2]: chart for chart in charts if isinstance(chart, LineChart)}


def test_steps_are_told_apart_by_shape_and_lie_where_their_bound_is() -> None:
    chart = lines(SEARCH)["slo1"]
    drawn = {one.shape: one for one in chart.dots}
    assert {shape: len(one.places) for shape, one in drawn.items()} == {"circle": 3, "cross": 2, "diamond": 2}
    (level,) = chart.levels
    assert all(y > level.y for _, y, _ in drawn["circle"].places), "below what is allowed"
    assert all(y < level.y for shape in ("cross", "diamond") for _, y, _ in drawn[shape].places)
    assert drawn["diamond"].places[0][2].startswith("step 5, 11,600/s failed: p99<50ms; p99 49.0 ms")


def test_the_bracket_lies_between_the_rate_that_holds_and_the_one_that_fails() -> None:
    chart = lines(SEARCH)["answers"]
    (bracket,) = chart.bands
    drawn = {one.shape: one for one in chart.dots}
    assert bracket.x == max(x for x, _, _ in drawn["circle"].places)
    assert bracket.x + bracket.width == pytest.approx(min(x for x, _, _ in drawn["diamond"].places))
    assert not lines(search(fails_qps=None))["answers"].bands


def test_what_nobody_could_tell_lies_on_the_side_of_failure() -> None:
    values = zip(SEARCH.steps[:2], (None, 1.0), strict=True)
    steps = [msgspec.structs.replace(one, seen={"recall>=0.9": value}) for one, value in values]
    chart = lines(search(slo="recall>=0.9", steps=steps))["slo1"]
    (level,) = chart.levels
    unknown, known = (place for one in chart.dots for place in one.places)
    assert unknown[1] > level.y > known[1]


def test_a_file_of_before_bounds_were_saved_has_the_p99_alone() -> None:
    steps = [msgspec.structs.replace(one, seen={}) for one in SEARCH.steps]
    assert list(lines(search(steps=steps))) == ["slo1", "answers"]


NOTHING: dict[str, Any] = {"steps": [], "holds_qps": None, "fails_qps": None, "limited": ""}


@pytest.mark.parametrize("document", [search(**NOTHING), search(steps=SEARCH.steps[:1])])
def test_a_search_of_hardly_a_step_has_a_page(document: Saturation) -> None:
    assert "Load test: file" in html(page({"file": document}))


def test_intervals_stand_over_the_margin_with_one_as_a_line() -> None:
    (chart,) = (one for one in page({"file": COMPARED}).sections[0].charts if isinstance(one, IntervalChart))
    assert chart.band.x < chart.line < chart.band.x + chart.band.width
    p50, mean, p90, p99, good = chart.whiskers
    assert p50.low > chart.band.x + chart.band.width, "worse lies right of the margin"
    assert p99.high < chart.band.x
    for same in (mean, good):
        assert chart.band.x <= same.low <= same.x <= same.high <= chart.band.x + chart.band.width
    assert p90.low < chart.band.x < chart.line < p90.high


def test_a_ratio_beyond_the_axis_is_said_to_be() -> None:
    far = msgspec.structs.replace(COMPARED.figures[0], ratio=50.0, high=90.0)
    chart = page({"file": msgspec.structs.replace(COMPARED, figures=[far])}).sections[0].charts[0]
    assert "cut off at the edge" in chart.frame.note
    assert isinstance(chart, IntervalChart)
    assert chart.whiskers[0].low < chart.whiskers[0].x == chart.whiskers[0].high


def test_a_margin_of_less_than_a_percent_is_not_told_as_none() -> None:
    fine = msgspec.structs.replace(compared(ComparisonResult.UNKNOWN), margin=0.001)
    text = html(page({"file": fine}))
    assert "B IS (MARGIN 0.1%)" in text
    assert "to detect 0.1%: --rounds 40" in text


def test_a_comparison_without_figures_has_a_page_too() -> None:
    nothing = msgspec.structs.replace(COMPARED, figures=[], rounds=[])
    assert "All requests to a service failed in some round." in html(page({"file": nothing}))


def test_the_rounds_are_in_a_table_with_who_came_first() -> None:
    (rounds,) = page({"file": COMPARED}).sections[0].measurements
    assert len(rounds.rows) == 8
    assert rounds.rows[1][:4] == ["2", "B", "4.10", "4.50"]


@pytest.mark.parametrize(
    ("document", "code"),
    [
        (search(limited=""), None),
        (SEARCH, "not-valid"),
        (search(interrupted=True), "interrupted"),
        (search(holds_qps=None, limited=""), "thresholds"),
        (search(holds_qps=None), "not-valid"),  # the generator's fault is not the service's
        (COMPARED, "worse"),
        (compared(ComparisonResult.SAME), None),
        (compared(ComparisonResult.BETTER), None),
        (compared(ComparisonResult.UNKNOWN), "not-enough-data"),
        (msgspec.structs.replace(COMPARED, figures=[]), "no-answers"),
    ],
)
def test_what_is_wrong_is_what_the_command_ended_with(document: Document, code: str | None) -> None:
    kind = kind_of(document)
    errors = kind.errors(document)
    assert (errors[0].code if errors else None) == code
    assert page({"file": document}).sections[0].said.good == (code is None)
    assert any(case.failure for case in kind.cases(document)) == (code is not None)


@pytest.mark.parametrize(
    ("document", "cases"),
    [
        (search(limited=""), [JunitCase("a rate passed"), JunitCase(VALID)]),
        (SEARCH, [JunitCase("a rate passed"), JunitCase(VALID, LIMITED)]),
        (
            search(holds_qps=None, limited=""),
            [JunitCase("a rate passed", "no rate met p99<50ms,errors<0.1%"), JunitCase(VALID)],
        ),
        (
            compared(ComparisonResult.UNKNOWN),
            [
                JunitCase(VALID),
                JunitCase("failed requests"),
                JunitCase("p50", "not enough data to decide whether the p50 differs"),
                JunitCase("mean"),
                JunitCase("p90", skipped="not enough data"),
                JunitCase("p99"),
                JunitCase("good"),
            ],
        ),
    ],
)
def test_each_document_has_its_cases(document: Document, cases: list[JunitCase]) -> None:
    assert list(kind_of(document).cases(document)) == cases


def test_another_figure_that_is_worse_fails_its_own_case() -> None:
    found = compared(ComparisonResult.WORSE, "mean")
    failed = [case.name for case in kind_of(found).cases(found) if case.failure]
    assert failed == ["p50", "mean"]


def test_nothing_of_a_search_or_a_comparison_breaks_out_of_its_place() -> None:
    documents = {
        NASTY: search(url=NASTY, kind=NASTY, limited=NASTY, ended_at=NASTY),
        "b": msgspec.structs.replace(COMPARED, a=NASTY, b=NASTY, doubts=[NASTY], ended_at=NASTY),
        "c": RUN,
    }
    text = html(page(documents))
    assert "<script" not in text
    assert text.count("&lt;script&gt;") > 8
