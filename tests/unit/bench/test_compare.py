"""Two services in turn: what rounds say, and how often they say it wrongly."""

import msgspec
import numpy as np
import pytest

from lightragctl.bench.compare import (
    CompareReport,
    ComparisonResult,
    RequestCounts,
    Round,
    compared,
    ends,
    order,
    report,
)
from lightragctl.bench.report.comparisons import COMPARISON
from tests.fakes.saved_run import REPORT


def rounds(ratios: list[float], drift: float = 0.0) -> list[Round]:
    made = []
    for number, ratio in enumerate(ratios):
        base = 10.0 * (1 + drift * number)
        made.append(Round("A", _figures(base), _figures(base * ratio)))
    return made


def _figures(p50: float) -> dict[str, float]:
    return {"p50": p50, "mean": p50, "p90": 2 * p50, "p99": 3 * p50, "good": 1000 / p50}


NOISE = [0.99, 1.01, 1.0, 1.005, 0.995, 1.01, 0.99, 1.0]


def finding(ratios: list[float], figure: str = "p50", margin: float = 0.05) -> ComparisonResult:
    return next(one for one in compared(rounds(ratios), margin) if one.figure == figure).finding


def test_both_come_first_as_often() -> None:
    assert order(4) == ["A", "B", "A", "B"]


def test_a_shift_is_worse_or_better_by_what_the_figure_means() -> None:
    slower = [1.06 * one for one in NOISE]
    assert finding(slower) is ComparisonResult.WORSE
    assert finding(slower, "good") is ComparisonResult.WORSE
    assert finding([1 / one for one in slower]) is ComparisonResult.BETTER


def test_no_shift_of_the_margin_is_the_same_only_when_that_is_sure() -> None:
    assert finding(NOISE) is ComparisonResult.SAME
    surely_slower = [1.004 + one / 10000 for one in range(-4, 4)]
    assert finding(surely_slower) is ComparisonResult.SAME, "by less than the margin"
    assert finding(surely_slower, margin=0.002) is ComparisonResult.WORSE
    wild = [0.7, 1.4, 0.8, 1.3, 1.0, 1.2, 0.8, 0.9]
    assert finding(wild) is ComparisonResult.UNKNOWN
    needed = compared(rounds(wild), 0.05)[0].rounds_needed
    assert needed is not None
    assert needed > 100


def test_a_figure_without_answers_is_left_out() -> None:
    one = Round("A", _figures(10) | {"good": 0.0}, _figures(10))
    assert {each.figure for each in compared([one, one], 0.05)} == {"p50", "mean", "p90", "p99"}


@pytest.mark.parametrize(("shift", "least", "most"), [(1.0, 0.0, 0.05), (1.05, 0.95, 1.0)])
def test_false_alarms_are_rare_and_true_shifts_are_seen(shift: float, least: float, most: float) -> None:
    """A machine that drifts by 10 % and whose rounds differ by 2 %."""
    random, told, trials = np.random.default_rng(3), 0, 400
    for _ in range(trials):
        ratios = (shift * np.exp(random.normal(0, 0.02, 8))).tolist()
        told += compared(rounds(ratios, drift=0.1 / 8), 0.05)[0].finding in (
            ComparisonResult.WORSE,
            ComparisonResult.BETTER,
        )
    assert least <= told / trials <= most + 0.015  # three deviations of 400 trials at 5 % are 3 %


def ended(ratios: list[float], a: RequestCounts, b: RequestCounts) -> CompareReport:
    """Rounds of such ratios of B by A, each of whose requests ended so."""
    ended_so = [msgspec.structs.replace(one, a_ends=a, b_ends=b) for one in rounds(ratios)]
    return report(("http://a", "http://b"), ended_so, 0.05)


def failing(share: float, why: str = "http 5xx", requests: int = 1000) -> RequestCounts:
    count = round(share * requests)
    return RequestCounts(requests, {why: count} if count else {}, 100, 0, 1000)


QUICKER = [one / 2 for one in NOISE]
SLOWER = [2 * one for one in NOISE]


@pytest.mark.parametrize(
    ("ratios", "a", "b", "codes", "p50"),
    [
        (QUICKER, failing(0.0), failing(0.4), ["worse", "not-comparable"], ComparisonResult.UNLIKE),
        (NOISE, failing(0.0), failing(0.01), ["worse", "not-comparable"], ComparisonResult.UNLIKE),
        (SLOWER, failing(0.0), failing(0.4), ["worse", "worse"], ComparisonResult.WORSE),
        (QUICKER, failing(0.4), failing(0.0), [], ComparisonResult.BETTER),
        (SLOWER, failing(0.4), failing(0.0), ["not-comparable"], ComparisonResult.UNLIKE),
        (QUICKER, failing(0.1, "http 4xx"), failing(0.1, "timeout"), ["not-comparable"], ComparisonResult.UNLIKE),
        (QUICKER, failing(0.1), failing(0.1), [], ComparisonResult.BETTER),
        (QUICKER, failing(0.0), failing(0.0005), [], ComparisonResult.BETTER),
        (
            QUICKER,
            failing(0.0, requests=20),
            failing(0.1, requests=20),
            ["worse", "not-comparable"],
            ComparisonResult.UNLIKE,
        ),
        (QUICKER, failing(0.0), RequestCounts(1000, {}, 100, 30, 970), ["not-comparable"], ComparisonResult.UNLIKE),
        (QUICKER, failing(0.0), RequestCounts(1000, {}, 100, 0, 500), ["not-comparable"], ComparisonResult.UNLIKE),
        (QUICKER, RequestCounts(1000), RequestCounts(1000), [], ComparisonResult.BETTER),
    ],
)
def test_quick_answers_of_a_service_that_fails_or_finds_less_are_not_better(
    ratios: list[float], a: RequestCounts, b: RequestCounts, codes: list[str], p50: ComparisonResult
) -> None:
    found = ended(ratios, a, b)
    assert [error.code for error in COMPARISON.errors(found)] == codes
    assert found.figure("p50").finding is p50


def test_a_service_that_answers_nothing_is_worse_than_one_that_answers() -> None:
    nothing = dict.fromkeys(_figures(1), 0.0)
    one = Round("A", _figures(10), nothing, failing(0.0), failing(1.0, "timeout"))
    found = report(("http://a", "http://b"), [one, one], 0.05)
    assert [error.code for error in COMPARISON.errors(found)] == ["worse", "no-answers"]


def test_what_failed_is_counted_by_what_was_wrong() -> None:
    run = msgspec.structs.replace(
        REPORT, requests=1000, outcomes={"ok": 970, "http": 20, "timeout": 10}, statuses={503: 12, 500: 3, 429: 5}
    )
    assert ends(run).failed == {"http 5xx": 15, "http 4xx": 5, "timeout": 10}
    assert ends(run).bad == 30
    hits = msgspec.structs.replace(run, kind="retrieve", bodies={0: b'{"hits":[{"id":"a"}]}', 4: b'{"hits":[]}'})
    assert (ends(hits).answers, ends(hits).empty, ends(hits).hits) == (2, 1, 1)
