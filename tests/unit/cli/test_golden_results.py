"""What `golden check` ends with: a status for scripts, and what to do for people."""

from dataclasses import replace

import pytest

from lightragctl.cli.golden import payloads
from lightragctl.cli.views import VIEWS
from lightragctl.core.settings import EmbeddingModel
from lightragctl.quality.golden import FloorStatus, GoldenFigure, GoldenReport, Head, QueryFigures, WorkspaceContent
from lightragctl.quality.stats import Interval

HELD = WorkspaceContent(collection="c_g1", epoch="", rows=100)
HEAD = Head(
    version=3,
    built_at=0,
    tool="0.1",
    held=HELD,
    metric="COSINE",
    k=10,
    model=EmbeddingModel(),
    seed=0,
    counts={"row": 40},
    digest="",
)
KEPT = GoldenFigure("recall", 1.0, Interval(0.95, 1.0), 40, 0.9, FloorStatus.MET)
UNSURE = GoldenFigure("end_to_end", 1.0, Interval(0.3, 1.0), 3, 0.9, FloorStatus.INCONCLUSIVE, 36)
BELOW = GoldenFigure("overlap", 0.5, Interval(0.4, 0.6), 40, 0.9, FloorStatus.BELOW)
GOOD = GoldenReport(HEAD, HELD, 10, False, (), 0, False, (KEPT,), ())
STALE = ("99 rows, previously 100",)


@pytest.mark.parametrize(
    ("report", "status", "codes"),
    [
        (GOOD, 0, []),
        (replace(GOOD, figures=(KEPT, UNSURE)), 4, ["too-few"]),
        (replace(GOOD, figures=(KEPT, replace(UNSURE, needed=None))), 4, ["too-few"]),
        (replace(GOOD, stale=STALE, others=2), 4, ["stale"]),
        (replace(GOOD, moving=True), 4, ["modified"]),
        (replace(GOOD, figures=(KEPT, UNSURE, BELOW), stale=STALE), 3, ["below-floor", "too-few", "stale"]),
    ],
)
def test_the_exit_status_is_of_the_gravest(report: GoldenReport, status: int, codes: list[str]) -> None:
    result = payloads.golden_check("w", report)
    assert (result.exit_status, [error.code for error in result.errors]) == (status, codes)
    assert all(
        "lightragctl golden build -w w" in error.hint for error in result.errors if error.code in ("stale", "too-few")
    )


def test_the_worst_queries_are_shown_with_what_each_lost() -> None:
    lost = QueryFigures(7, "file", "what is\nlost", 0.9, 0.4, 1.0, ("doc-1",))
    result = payloads.golden_check("w", replace(GOOD, worst=(lost,)))
    assert result.data["worst"][0]["missed"] == ("doc-1",)
    assert len(list(VIEWS["golden check"](result.data))) == 5
