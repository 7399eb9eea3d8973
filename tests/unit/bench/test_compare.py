"""Two services in turn: what rounds say, and how often they say it wrongly."""

import numpy as np
import pytest

from lightragctl.bench.compare import Finding, Round, compared, order


def rounds(ratios: list[float], drift: float = 0.0) -> list[Round]:
    made = []
    for number, ratio in enumerate(ratios):
        base = 10.0 * (1 + drift * number)
        made.append(Round("A", _figures(base), _figures(base * ratio)))
    return made


def _figures(p50: float) -> dict[str, float]:
    return {"p50": p50, "mean": p50, "p90": 2 * p50, "p99": 3 * p50, "good": 1000 / p50}


NOISE = [0.99, 1.01, 1.0, 1.005, 0.995, 1.01, 0.99, 1.0]


def finding(ratios: list[float], figure: str = "p50", margin: float = 0.05) -> Finding:
    return next(one for one in compared(rounds(ratios), margin) if one.figure == figure).finding


def test_both_come_first_as_often() -> None:
    assert order(4) == ["A", "B", "A", "B"]


def test_a_shift_is_worse_or_better_by_what_the_figure_means() -> None:
    slower = [1.06 * one for one in NOISE]
    assert finding(slower) is Finding.WORSE
    assert finding(slower, "good") is Finding.WORSE
    assert finding([1 / one for one in slower]) is Finding.BETTER


def test_no_shift_of_the_margin_is_the_same_only_when_that_is_sure() -> None:
    assert finding(NOISE) is Finding.SAME
    surely_slower = [1.004 + one / 10000 for one in range(-4, 4)]
    assert finding(surely_slower) is Finding.SAME, "by less than the margin"
    assert finding(surely_slower, margin=0.002) is Finding.WORSE
    wild = [0.7, 1.4, 0.8, 1.3, 1.0, 1.2, 0.8, 0.9]
    assert finding(wild) is Finding.UNKNOWN
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
        told += compared(rounds(ratios, drift=0.1 / 8), 0.05)[0].finding in (Finding.WORSE, Finding.BETTER)
    assert least <= told / trials <= most + 0.015  # three deviations of 400 trials at 5 % are 3 %
