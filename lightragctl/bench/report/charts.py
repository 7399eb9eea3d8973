"""Chart geometry: coordinates that the template draws as SVG. Pure.

All charts are of one width; the template lets them grow and shrink with the page.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from lightragctl.bench.report.scale import Scale, Tick, figure, linear

WIDTH = 400.0
HEIGHT = 230.0
LEFT, RIGHT, TOP, BOTTOM = 54.0, 380.0, 10.0, 190.0
"""The field that lines are drawn in; the scales begin and end at it."""

_LEAST_BAND = 1.5
_ROW = 26.0
BAR = 14.0
_BAR_STEPS = 3
"""Counts of many digits stand on the axis of bars."""
NAMES = 96.0
FIGURES = 270.0
"""Bars lie between their names and their figures."""


@dataclass(frozen=True)
class Series:
    """Values to draw as one line, and its name. None breaks the line. `tone` numbers the colour and the dashes."""

    name: str
    tone: int
    points: Sequence[tuple[float, float | None]]


@dataclass(frozen=True)
class Curve:
    """A series as it is drawn: unbroken lines, each as SVG's `points`, and single points that have no neighbour."""

    name: str
    tone: int
    lines: Sequence[str]
    dots: Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Column:
    """A vertical band of the plot, with its tooltip."""

    x: float
    width: float
    text: str
    kind: str = "spot"


@dataclass(frozen=True)
class Frame:
    """Titles and labels of a chart; `id` is unique on the page."""

    id: str
    title: str
    x_label: str
    y_label: str
    note: str = ""


@dataclass(frozen=True)
class Dots:
    """Single values as markers, each with its tooltip.

    Attributes:
        shape: `circle` (filled), `cross`, `diamond`, `ring`: for who cannot tell the colours apart.
    """

    name: str
    shape: str
    tone: int
    places: Sequence[tuple[float, float, str]]


@dataclass(frozen=True)
class Level:
    """A horizontal line: a limit."""

    name: str
    y: float


@dataclass(frozen=True)
class LineChart:
    """Lines and dots over a field with two axes. `bands` lie below them, `spots` above the lines and are not seen."""

    frame: Frame
    x_ticks: Sequence[Tick]
    y_ticks: Sequence[Tick]
    curves: Sequence[Curve]
    spots: Sequence[Column]
    bands: Sequence[Column]
    dots: Sequence[Dots] = ()
    levels: Sequence[Level] = ()
    shape: str = field(default="lines", init=False)


@dataclass(frozen=True)
class BarSegment:
    """One bar: how long, where it begins (0: at the left), what is written beside it and shown of it."""

    name: str
    length: float
    begin: float = 0.0
    figure: str = ""
    tone: int = 0


@dataclass(frozen=True)
class Bar:
    """A part as it is drawn; `middle` is the height of its texts."""

    part: BarSegment
    x: float
    y: float
    width: float
    middle: float


@dataclass(frozen=True)
class BarChart:
    """Bars below each other, with one axis."""

    frame: Frame
    height: float
    foot: float
    x_ticks: Sequence[Tick]
    bars: Sequence[Bar]
    limit: float | None = None
    shape: str = field(default="bars", init=False)


@dataclass(frozen=True)
class IntervalRow:
    """A value with its interval in a row, with its name and label."""

    name: str
    low: float
    value: float
    high: float
    figure: str
    shape: str
    tone: int


@dataclass(frozen=True)
class Whisker:
    """An interval as it is drawn."""

    interval: IntervalRow
    low: float
    x: float
    high: float
    middle: float


@dataclass(frozen=True)
class IntervalChart:
    """Intervals in rows with one axis; `band`: the margin, `line`: no difference."""

    frame: Frame
    height: float
    foot: float
    x_ticks: Sequence[Tick]
    whiskers: Sequence[Whisker]
    band: Column
    line: float
    shape: str = field(default="intervals", init=False)


Chart: TypeAlias = LineChart | BarChart | IntervalChart


@dataclass(frozen=True)
class Axes:
    """Both scales of a field."""

    x: Scale
    y: Scale


@dataclass(frozen=True)
class ChartBackground:
    """The background of markers: levels by name, lines, bands."""

    levels: Mapping[str, float] = field(default_factory=dict)
    series: Sequence[Series] = ()
    bands: Sequence[Column] = ()


def lines(
    frame: Frame, axes: Axes, series: Sequence[Series], spots: Sequence[Column] = (), bands: Sequence[Column] = ()
) -> LineChart:
    """Series over a field."""
    curves = [_curve(one, axes) for one in series]
    return LineChart(frame, axes.x.ticks, axes.y.ticks, curves, spots, bands)


def dots(frame: Frame, axes: Axes, found: Sequence[Dots], ground: ChartBackground) -> LineChart:
    """Single values over a field."""
    drawn = [replace(one, places=[(axes.x.at(x), axes.y.at(y), text) for x, y, text in one.places]) for one in found]
    levels = [Level(name, axes.y.at(value)) for name, value in ground.levels.items()]
    curves = [_curve(one, axes) for one in ground.series]
    shown = [one for one in drawn if one.places]
    return LineChart(frame, axes.x.ticks, axes.y.ticks, curves, (), ground.bands, shown, levels)


def intervals(
    frame: Frame, scale: Scale, found: Sequence[IntervalRow], band: tuple[float, float], line: float
) -> IntervalChart:
    """Intervals below each other in their order; what reaches beyond the scale ends at its edge."""
    middles = [TOP + _ROW * row + _ROW / 2 for row in range(len(found))]
    drawn = [
        Whisker(one, scale.at(one.low), scale.at(one.value), scale.at(one.high), middle)
        for one, middle in zip(found, middles, strict=True)
    ]
    foot = TOP + _ROW * len(found)
    margin = column(scale, *band, "", "margin")
    return IntervalChart(frame, foot + HEIGHT - BOTTOM, foot, scale.ticks, drawn, margin, scale.at(line))


def bars(frame: Frame, parts: Sequence[BarSegment], limit: float | None = None) -> BarChart:
    """Parts below each other in their order; `limit` is a line across all of them."""
    most = max((part.begin + part.length for part in parts), default=0.0)
    scale = linear(max(most, limit or 0.0), NAMES, FIGURES, _BAR_STEPS)
    drawn = [_bar(part, row, scale) for row, part in enumerate(parts)]
    foot = TOP + _ROW * len(parts)
    height = foot + HEIGHT - BOTTOM
    return BarChart(frame, height, foot, scale.ticks, drawn, None if limit is None else scale.at(limit))


def column(scale: Scale, begin: float, end: float, text: str, kind: str = "spot") -> Column:
    """The stripe between two values; all but spots are so wide that they can be seen in the longest run."""
    width = scale.at(end) - scale.at(begin)
    if kind != "spot" and width:
        width = max(_LEAST_BAND, width)
    return Column(min(scale.at(begin), scale.end - width), round(width, 2), text, kind)


def _bar(part: BarSegment, row: int, scale: Scale) -> Bar:
    begin, end = scale.at(part.begin), scale.at(part.begin + part.length)
    y = TOP + _ROW * row + (_ROW - BAR) / 2
    named = part if part.figure else BarSegment(part.name, part.length, part.begin, figure(part.length), part.tone)
    return Bar(named, begin, y, max(1.0, round(end - begin, 2)), y + BAR / 2)


def _curve(series: Series, axes: Axes) -> Curve:
    found: list[list[tuple[float, float]]] = [[]]
    for x, y in series.points:
        if y is None:
            found.append([])
        else:
            found[-1].append((axes.x.at(x), axes.y.at(y)))
    unbroken = [" ".join(f"{x:g},{y:g}" for x, y in part) for part in found if len(part) > 1]
    return Curve(series.name, series.tone, unbroken, [part[0] for part in found if len(part) == 1])
