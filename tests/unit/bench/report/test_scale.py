"""Scales: where values lie, and where the marks stand."""

import pytest

from lightragctl.bench.report import scale
from lightragctl.bench.report.scale import Scale


def labels(axis: Scale) -> list[str]:
    return [tick.label for tick in axis.ticks]


@pytest.mark.parametrize(
    ("most", "marks"),
    [
        (0, ["0", "0.2", "0.4", "0.6", "0.8", "1"]),
        (1, ["0", "0.2", "0.4", "0.6", "0.8", "1"]),
        (7, ["0", "2", "4", "6", "8"]),
        (1000, ["0", "200", "400", "600", "800", "1,000"]),
        (1001, ["0", "500", "1,000", "1,500"]),
        (18477, ["0", "5,000", "10,000", "15,000", "20,000"]),
    ],
)
def test_a_linear_axis_ends_with_a_round_number_that_holds_the_most(most: float, marks: list[str]) -> None:
    axis = scale.linear(most, 0, 100)
    assert labels(axis) == marks
    assert axis.at(most) <= 100


def test_values_lie_in_proportion_and_upwards_when_the_axis_does() -> None:
    upwards = scale.linear(10, 190, 10)
    assert (upwards.at(0), upwards.at(5), upwards.at(10)) == (190, 100, 10)
    assert upwards.at(99) == 10, "nothing is drawn outside of the field"


@pytest.mark.parametrize(
    ("least", "most", "marks"),
    [
        (0.8, 26.5, ["0.5", "1", "2", "5", "10", "20", "50"]),
        (82, 88, ["10", "20", "50", "100"]),
        (10, 10, ["1", "2", "5", "10"]),
        (3.0, 90_000, ["1", "10", "100", "1,000", "10,000", "100,000"]),
        (0.01, 0.01, ["0.001", "0.002", "0.005", "0.01"]),
    ],
)
def test_a_logarithmic_axis_covers_a_power_of_ten_and_marks_round_numbers(
    least: float, most: float, marks: list[str]
) -> None:
    axis = scale.logarithmic(least, most, 0, 300)
    assert labels(axis) == marks
    assert 0 <= axis.at(least) <= axis.at(most) <= 300


def test_each_power_of_ten_is_as_long_as_the_next() -> None:
    axis = scale.logarithmic(1, 100, 0, 200)
    assert [axis.at(value) for value in (1, 10, 100)] == [0, 100, 200]


def test_nines_are_equally_far_apart_and_only_those_that_the_run_can_tell_are_marked() -> None:
    axis = scale.nines(3.2, 0, 320)
    assert [(tick.at, tick.label) for tick in axis.ticks] == [
        (0, "0"),
        (30.1, "50"),
        (100, "90"),
        (200, "99"),
        (300, "99.9"),
    ]
    assert [scale.percent(nines) for nines in (0, 1, 3)] == pytest.approx([0, 90, 99.9])


def test_an_axis_of_seconds_ends_with_the_run() -> None:
    axis = scale.seconds(23.5, 0, 235)
    assert (labels(axis), axis.at(23.5)) == (["0", "5", "10", "15", "20"], 235)
    assert labels(scale.seconds(1.0, 0, 100)) == ["0", "1"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (0.8124, "0.812"),
        (9.1, "9.10"),
        (24, "24.0"),
        (99.96, "100.0"),
        (1479.6, "1,480"),
        (0.02371, "0.024"),
    ],
)
def test_a_figure_has_three_digits(value: float, text: str) -> None:
    assert scale.figure(value) == text


@pytest.mark.parametrize(
    ("least", "most", "marks"),
    [
        (10133.3, 15833.3, ["10,000", "12,000", "14,000", "16,000"]),
        (11329, 11381, ["11,320", "11,340", "11,360", "11,380", "11,400"]),
        (0.93, 1.08, ["0.90", "0.95", "1.00", "1.05", "1.10"]),
        (5, 5, ["4", "5", "6"]),
    ],
)
def test_an_axis_of_values_far_from_0_begins_near_them(least: float, most: float, marks: list[str]) -> None:
    axis = scale.span(least, most, 0, 100)
    assert labels(axis) == marks
    assert 0 <= axis.at(least) <= axis.at(most) <= 100
