"""The report of a load in a real browser: it shows what it should, at every width, and says nothing on the console."""

import re
from itertools import combinations
from pathlib import Path
from typing import Any

import msgspec
import pytest

from lightragctl.bench.report.saved import encoded
from tests.conftest import Tool
from tests.fakes.browser import asked, opened
from tests.fakes.saved_run import REPORT, RUN, unbelievable
from tests.fakes.saved_series import COMPARED, SEARCH

pytestmark = pytest.mark.slow

CHARTS = ("percentiles", "answers", "latency", "open", "stages", "outcomes", "generator")
WIDTHS = (500, 1300)
"""A telephone's (Chromium has no narrower window), and a desk's."""
BOXES = """() => {
  const box = element => { const b = element.getBoundingClientRect(); return [b.left, b.top, b.right, b.bottom]; };
  const charts = {};
  for (const figure of document.querySelectorAll('figure[id]')) {
    const svg = figure.querySelector(':scope > svg');
    charts[figure.id] = {
      svg: box(svg),
      texts: [...svg.querySelectorAll('text')].map(text => [text.textContent, ...box(text)]),
      drawn: [...svg.querySelectorAll('polyline, rect.bar, .dot')].map(box),
      shapes: [...svg.querySelectorAll('.dot')].map(dot => dot.classList[1]),
      bracket: [...svg.querySelectorAll('rect.bracket, rect.margin')].map(box),
      silent: [...svg.querySelectorAll('rect.silent')].map(box),
    };
  }
  return {
    charts, wide: document.documentElement.scrollWidth, window: innerWidth,
    paper: getComputedStyle(document.body).backgroundColor, text: document.body.innerText,
  };
}"""


BUSY = msgspec.structs.replace(REPORT, requests=20_000_000, outcomes={"ok": 19_999_999, "connection": 1})


@pytest.fixture
def page(tool: Tool) -> Path:
    """The page of one run."""
    (tool.cwd / "run.json").write_bytes(encoded(RUN))
    done = tool.run("bench", "report", "run.json", "--html", "run.html")
    assert done.returncode == 0, done.stderr
    return tool.cwd / "run.html"


def inside(inner: list[float], outer: list[float]) -> bool:
    left, top, right, bottom = inner
    return left >= outer[0] - 1 and top >= outer[1] - 1 and right <= outer[2] + 1 and bottom <= outer[3] + 1


def overlapping(texts: list[tuple[str, float, float, float, float]]) -> list[tuple[str, str]]:
    """Pairs of texts of which one stands on the other."""
    return [
        (one[0], other[0])
        for one, other in combinations(texts, 2)
        if one[1] < other[3] and other[1] < one[3] and one[2] + 2 < other[4] and other[2] + 2 < one[4]
    ]


def check(seen: Any, ids: set[str]) -> None:
    """All charts are there, as wide as their place, and nothing sticks out of any."""
    assert set(seen["charts"]) == ids
    assert seen["wide"] <= seen["window"], "nothing to scroll sideways"
    for name, chart in seen["charts"].items():
        left, top, right, bottom = chart["svg"]
        assert 300 <= right - left <= seen["window"], name
        assert 60 <= bottom - top <= 600, name
        assert chart["drawn"], name
        assert [one for one in chart["drawn"] if not inside(one, chart["svg"])] == [], name
        assert [text for text, *box in chart["texts"] if not inside(box, chart["svg"])] == [], name
        assert overlapping(chart["texts"]) == [], name


@pytest.mark.parametrize("width", WIDTHS)
def test_every_chart_is_there_and_whole(page: Path, width: int) -> None:
    seen = asked(page, BOXES, width)
    check(seen, {f"run1-{chart}" for chart in CHARTS})
    assert all(len(seen["charts"][f"run1-{name}"]["silent"]) == 2 for name in ("answers", "latency", "open"))
    for told in ("Valid.", "p99<100ms: not met", "requests\t1,000", "latency p50, ms", "980 (98.0%)"):
        assert told in re.sub(r"[\t ]*\t[\t ]*", "\t", seen["text"]), told


@pytest.mark.parametrize("width", WIDTHS)
def test_a_search_and_a_comparison_have_their_charts_beside_a_run(tool: Tool, width: int) -> None:
    for name, document in (("search.json", SEARCH), ("run.json", RUN), ("compared.json", COMPARED)):
        (tool.cwd / name).write_bytes(encoded(document))
    done = tool.run("bench", "report", "search.json", "run.json", "compared.json", "--html", "all.html")
    assert done.returncode == 0, done.stderr
    seen = asked(tool.cwd / "all.html", BOXES, width)
    found = {"saturation1-slo1", "saturation1-slo2", "saturation1-answers", "comparison3-ratios", "comparison3-rounds"}
    check(seen, found | {f"run2-{chart}" for chart in CHARTS})
    limit = seen["charts"]["saturation1-slo1"]
    assert sorted(limit["shapes"]) == ["circle"] * 3 + ["cross"] * 2 + ["diamond"] * 2
    ratios = seen["charts"]["comparison3-ratios"]
    assert ratios["shapes"] == ["cross", "diamond", "ring", "circle", "diamond"]
    for chart in (limit, ratios):
        (stripe,) = chart["bracket"]
        assert inside(stripe, chart["svg"])
        assert stripe[2] - stripe[0] > 5
    for told in ("Sustains 11329.4 requests per second", "B is worse: its p50 is 1.092", "p99<50ms (generator late"):
        assert told in seen["text"], told
    assert opened(tool.cwd / "all.html").console == []


def test_it_follows_the_reader_into_the_dark(page: Path) -> None:
    light, dark = (asked(page, BOXES, 1300, *flags)["paper"] for flags in ((), ("--force-dark-mode",)))
    assert light == "rgb(255, 255, 255)"
    assert dark == "rgb(20, 23, 27)"


def test_the_console_stays_empty(page: Path) -> None:
    seen = opened(page)
    assert "Valid." in seen.dom
    assert seen.console == []


def test_several_runs_one_with_great_numbers_and_one_that_wants_to_break_out(tool: Tool) -> None:
    names = ("a.json", "<img src=x onerror=alert(1)>.json")
    nasty = unbelievable("</li><script>document.title = 'broken'</script>")
    busy = msgspec.structs.replace(RUN, report=BUSY)
    for name, run in zip(names, (busy, nasty), strict=True):
        (tool.cwd / name).write_bytes(encoded(run))
    assert tool.run("bench", "report", *names, "--html", "both.html").returncode == 0
    page = tool.cwd / "both.html"
    check(asked(page, BOXES, 1300), {"together", *(f"run{number}-{chart}" for number in (1, 2) for chart in CHARTS)})
    seen = opened(page)
    assert seen.console == []
    assert "<img" not in seen.dom
