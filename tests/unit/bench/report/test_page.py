"""The page, its table and JUnit's XML: what stands in them, and that nothing of a run can break out."""

from html.parser import HTMLParser
from xml.etree import ElementTree

import msgspec
import pytest

from lightragctl.bench.report import junit, summary_rows
from lightragctl.bench.report.document import VALID
from lightragctl.bench.report.html import html
from lightragctl.bench.report.page import page
from lightragctl.bench.result import Validity
from tests.fakes.saved_run import REPORT, RUN, unbelievable

PLAIN = msgspec.to_builtins(REPORT)
NASTY = """<script>alert("1")</script>&'"""


class Tags(HTMLParser):
    """All tags of a page, with their attributes, and the pages and files that it names."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append(tag)
        self.ids += [value or "" for name, value in attrs if name == "id"]
        self.links += [value or "" for name, value in attrs if name in ("src", "href", "xlink:href")]


def test_a_page_of_one_run_has_its_verdict_its_figures_and_every_chart() -> None:
    text = html(page({"run.json": RUN}))
    assert "Valid." in text
    assert "constant 100/s, 10 s, ended 2026-01-31 12:00:00 UTC" in text
    assert "p99&lt;100ms: not met" in text
    charts = ("percentiles", "answers", "latency", "open", "stages", "outcomes", "generator")
    assert {f"run1-{name}" for name in charts} <= set(Tags(text).ids)


def test_the_verdict_tells_why_not_to_believe_a_run() -> None:
    one = html(page({"run.json": unbelievable("it was stopped")}))
    assert "Not valid:" in one
    assert "<li>it was stopped</li>" in one
    two = html(page({"a.json": RUN, "b.json": unbelievable("it was stopped")}))
    assert '<a href="#run2">b.json</a>: <b>Not valid:</b> it was stopped' in two


def test_runs_stand_side_by_side_and_in_one_chart_with_ids_of_their_own() -> None:
    tags = Tags(html(page({"a.json": RUN, "b.json": RUN, "c.json": RUN})))
    assert "together" in tags.ids
    assert len(tags.ids) == len(set(tags.ids))


def test_the_page_needs_nothing_from_anywhere_and_runs_no_script() -> None:
    tags = Tags(html(page({"a.json": RUN, "b.json": unbelievable("it was stopped")})))
    assert tags.links == ["#run1", "#run2"]
    assert not {"script", "link", "img", "iframe"} & set(tags.found)


def test_nothing_of_a_run_breaks_out_of_its_place() -> None:
    report = msgspec.structs.replace(
        REPORT, url=NASTY, kind=NASTY, outcomes={NASTY: 1}, verdict=Validity(False, (NASTY,))
    )
    annotations = msgspec.structs.replace(
        RUN.annotations, stages_ms={NASTY: 1.0}, thresholds={NASTY: True}, cache_hits={NASTY: 1.0}, ended_at=NASTY
    )
    run = msgspec.structs.replace(RUN, report=report, annotations=annotations)
    text = html(page({NASTY: run, "b": run}))
    assert "<script" not in text
    assert text.count("&lt;script&gt;") > 10
    assert ElementTree.fromstring(junit.xml({NASTY: run}))[0].get("name") == NASTY


def test_a_run_without_answers_has_a_page_too() -> None:
    nothing = msgspec.structs.replace(REPORT, requests=0, outcomes={}, statuses={}, seconds=(), first_token=None)
    assert "Valid." in html(page({"run.json": msgspec.structs.replace(RUN, report=nothing)}))


def test_the_table_has_a_row_for_each_figure_that_some_run_has() -> None:
    closed = {**PLAIN, "first_token": None, "requests": 0, "verdict": {"valid": False}}
    rows = dict(summary_rows.rows([PLAIN, closed]))
    assert rows["valid"] == ["yes", "no"]
    assert rows["failed"] == ["2.00%", "-"]
    assert rows["first token p50, ms"] == ["2.00", "-"]


def test_it_says_whose_figures_where_the_time_went_are() -> None:
    told = html(page({"run.json": RUN}))
    assert "Stage times are of 2 replicas of lightrag-api." in told
    assert "api-c is not included: it no longer exists" in told


def test_quality_stands_in_the_table_with_its_interval_and_below_what_was_not_measured() -> None:
    older = {name: value for name, value in PLAIN.items() if name != "quality"}
    rows = dict(summary_rows.rows([PLAIN, older]))
    assert rows["recall"] == ["0.950 (0.900 to 1.000)", "-"]
    assert "map" not in rows
    assert "map was not measured: nobody judged" in html(page({"run.json": RUN}))


@pytest.mark.parametrize(
    ("shape", "told"),
    [
        ({"type": "closed"}, "64 connections"),
        ({"type": "poisson", "rate_qps": 2.5}, "poisson 2.5/s"),
        ({"type": "ramp", "from_qps": 1, "to_qps": 9}, "ramp 1 to 9/s"),
        ({"type": "replay"}, "replay"),
    ],
)
def test_the_headline_says_what_was_asked_and_how(shape: dict[str, object], told: str) -> None:
    assert summary_rows.headline({**PLAIN, "shape": shape}) == f"query at http://127.0.0.1:8080, {told}, 10 s"


def test_outcomes_are_told_with_the_statuses() -> None:
    assert summary_rows.outcomes(PLAIN) == "1000 requests: http 15, ok 980, timeout 5 (15 with 503)"


def test_junit_has_a_case_for_each_threshold_and_one_for_the_verdict() -> None:
    root = ElementTree.fromstring(junit.xml({"a": RUN, "b": unbelievable("it was stopped")}))
    first, second = root
    assert (first.get("tests"), first.get("failures")) == ("3", "1")
    assert [case.get("name") for case in first] == [VALID, "p50<20ms", "p99<100ms"]
    assert [case.find("failure") is not None for case in first] == [False, False, True]
    failure = second[0].find("failure")
    assert failure is not None
    assert failure.get("message") == "it was stopped"
