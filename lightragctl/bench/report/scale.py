"""Scales of charts: from a value to a place on the paper, and where the marks stand. Pure."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

_STEPS = 5
"""The approximate number of ticks of an axis: enough to read a value off, few enough for a telephone."""

_WIDE = 1001.0
"""A logarithmic axis over more than three powers of ten has no room for the marks between."""


@dataclass(frozen=True)
class Tick:
    """A mark on an axis."""

    at: float
    label: str


@dataclass(frozen=True)
class Scale:
    """An axis. `low` lies at `start`, `high` at `end`, both in units of the drawing; values outside are drawn at the
    nearer end. `bend` maps values so that equal steps have equal lengths: `log10` for a logarithmic axis.
    """

    low: float
    high: float
    start: float
    end: float
    marks: Sequence[tuple[float, str]]
    bend: Callable[[float], float] = float

    def at(self, value: float) -> float:
        """Where a value is drawn."""
        low, high = self.bend(self.low), self.bend(self.high)
        inside = self.bend(min(max(value, self.low), self.high))
        return round(self.start + (self.end - self.start) * (inside - low) / (high - low), 2)

    @property
    def ticks(self) -> list[Tick]:
        """The marks, where they are drawn."""
        return [Tick(self.at(value), label) for value, label in self.marks]


def linear(most: float, start: float, end: float, steps: int = _STEPS) -> Scale:
    """From 0 to a round number at or above `most`, in about `steps` steps of 1, 2 or 5 times a power of ten."""
    most = most if most > 0 else 1.0
    step = _round_up(most / steps)
    count = math.ceil(most / step - 1e-9)
    marks = [(number * step, _mark(number * step)) for number in range(count + 1)]
    return Scale(0.0, count * step, start, end, marks)


def span(least: float, most: float, start: float, end: float, steps: int = _STEPS) -> Scale:
    """From a round number at or below `least` to one at or above `most`: for values that are far from 0 and near each
    other. Marks have as many digits as their steps need."""
    step = _round_up((most - least or abs(most) or 1.0) / steps)
    first, last = math.floor(least / step + 1e-9), math.ceil(most / step - 1e-9)
    if first == last:
        first, last = first - 1, last + 1
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    marks = [(number * step, f"{number * step:,.{digits}f}") for number in range(first, last + 1)]
    return Scale(first * step, last * step, start, end, marks)


def seconds(most: float, start: float, end: float) -> Scale:
    """From 0 to exactly `most`, with round marks below it."""
    step = max(1.0, _round_up(most / _STEPS))
    marks = [(number * step, _mark(number * step)) for number in range(int(most / step + 1e-9) + 1)]
    return Scale(0.0, most, start, end, marks)


def logarithmic(least: float, most: float, start: float, end: float) -> Scale:
    """From 1, 2 or 5 times a power of ten at or below `least` to one at or above `most`; `least` is above 0.

    It covers one power of ten at least, or a curve that is all but flat would look like mountains.
    Over more than three powers of ten only these are marked, and the axis begins and ends with one.
    """
    high = _round_up(most)
    low = _round_down(min(least, high / 10))
    digits: Sequence[int] = (1, 2, 5)
    if high / low > _WIDE:
        digits = (1,)
        low, high = math.pow(10.0, math.floor(math.log10(low))), math.pow(10.0, math.ceil(math.log10(high)))
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    values = [digit * math.pow(10.0, power) for power in range(first, last + 1) for digit in digits]
    marks = [(value, _mark(value)) for value in values if low * 0.999 <= value <= high * 1.001]
    return Scale(low, high, start, end, marks, math.log10)


_NINES = (
    (0.0, "0"),
    (math.log10(2), "50"),
    (1.0, "90"),
    (2.0, "99"),
    (3.0, "99.9"),
    (4.0, "99.99"),
    (5.0, "99.999"),
    (6.0, "99.9999"),
)


def nines(most: float, start: float, end: float) -> Scale:
    """Percentiles by their nines: 90, 99 and 99.9 are equally far apart. `most` nines: 3 for 99.9."""
    marks = [(at, label) for at, label in _NINES if at <= most]
    return Scale(0.0, most, start, end, marks)


def percent(nines: float) -> float:
    """The percentile with this number of nines: 99.9 for 3."""
    return 100.0 * (1.0 - math.pow(10.0, -nines))


def figure(value: float) -> str:
    """A number to three digits, and to a thousandth at most: 0.812, 24.0, 1,480."""
    if value == 0:
        return "0"
    digits = 2 - math.floor(math.log10(abs(value)))
    return f"{round(value, digits):,.{min(3, max(0, digits))}f}"


def _mark(value: float) -> str:
    """The same as short as it can be, for an axis."""
    text = figure(value)
    return text.rstrip("0").rstrip(".") if "." in text else text


def _round_down(value: float) -> float:
    power = math.pow(10.0, math.floor(math.log10(value)))
    return next(digit * power for digit in (5, 2, 1) if digit * power <= value * (1 + 1e-9))


def _round_up(value: float) -> float:
    power = math.pow(10.0, math.floor(math.log10(value)))
    return next(digit * power for digit in (1, 2, 5, 10) if digit * power >= value * (1 - 1e-9))
