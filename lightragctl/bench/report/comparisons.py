"""Comparisons of two services, as they were saved: how one is read, judged and shown. Pure."""

from collections.abc import Iterator
from functools import partial

import msgspec

from lightragctl.bench.compare import FIGURES, SCHEMA, Compared, CompareReport, Finding
from lightragctl.bench.report import charts, scale
from lightragctl.bench.report.charts import (
    BOTTOM,
    LEFT,
    NAMES,
    RIGHT,
    TOP,
    Axes,
    Chart,
    Dots,
    Frame,
    Ground,
    Interval,
    IntervalChart,
    LineChart,
    Series,
)
from lightragctl.bench.report.kind import Case, Kind, Plain, Said, Section, Table, ended
from lightragctl.bench.report.scale import Scale, figure
from lightragctl.core.result import ErrorInfo

_WIDEST = 5.0
"""A chart shows ratios up to this, and down to one by it: the margin would be too thin to see on a longer axis."""
_LINEAR = 2.0
"""An axis that ends at this many times its begin needs no logarithm."""
_RATIO_STEPS = 4
_SHAPES = {
    Finding.BETTER: ("circle", 2),
    Finding.WORSE: ("cross", 1),
    Finding.SAME: ("diamond", 0),
    Finding.UNKNOWN: ("ring", 7),
}


def headings(found: Plain) -> list[str]:
    """What stands above `rows`."""
    return ["FIGURE", "B / A", "95 %", "P", f"B IS (MARGIN {_percent(found['margin'])})"]


def rows(found: Plain) -> list[list[str]]:
    """What was found of each figure."""
    return [
        [
            one["figure"],
            f"{one['ratio']:.3f}",
            f"{one['low']:.3f} to {one['high']:.3f}",
            f"{one['p_value']:.3f}",
            one["finding"] + (f": {one['rounds_needed']} rounds" if one["rounds_needed"] else ""),
        ]
        for one in found["figures"]
    ]


def _percent(share: float) -> str:
    return f"{100 * share:.3g}%"


def _error(found: CompareReport) -> ErrorInfo | None:
    p50 = next((one for one in found.figures if one.figure == "p50"), None)
    if p50 is None:
        return ErrorInfo("no-answers", "a service gave no good answer in some round", "see: lightragctl bench run")
    match p50.finding:
        case Finding.WORSE:
            return ErrorInfo("worse", _worse(p50))
        case Finding.UNKNOWN:
            hint = f"to see a shift of {_percent(found.margin)}: --rounds {p50.rounds_needed}, or longer --seconds"
            return ErrorInfo("not-enough-data", "not enough data to tell whether the p50 differs", hint)
    return None


def _worse(one: Compared) -> str:
    return f"B is worse: its {one.figure} is {one.ratio:.3f} times that of A"


def _cases(found: CompareReport) -> Iterator[Case]:
    """The p50 tells the exit status, so that it fails too when nobody can tell; of others that is said only."""
    error = _error(found)
    yield Case("p50", error.message if error is not None else "")
    for one in found.figures:
        if one.figure != "p50":
            worse = _worse(one) if one.finding is Finding.WORSE else ""
            yield Case(one.figure, worse, "not enough data" if one.finding is Finding.UNKNOWN else "")


def _section(id: str, name: str, found: CompareReport) -> Section:
    plain = msgspec.to_builtins(found)
    return Section(
        id=id,
        name=name,
        headline=f"A {found.a}, B {found.b}, {len(found.rounds)} rounds{ended(found.ended_at)}",
        said=_said(found),
        tables=[Table("B against A", headings(plain), rows(plain), words=(0, 4))],
        charts=_charts(id, found),
        courses=[_rounds_table(found)],
        notes=[
            "Each ratio is of B by A over all rounds, with its 95 % interval; P: how often chance alone is as far off.",
            "Better and worse are told by a permutation test over the rounds, same by an interval within the margin.",
        ],
    )


def _said(found: CompareReport) -> Said:
    error = _error(found)
    doubts = [f"note: {doubt}" for doubt in found.doubts]
    if error is not None:
        message = f"{error.message[:1].upper()}{error.message[1:]}."
        return Said(False, message, reasons=[*filter(None, [error.hint]), *doubts])
    p50 = found.figure("p50")
    within = f"{p50.low:.3f} to {p50.high:.3f}"
    return Said(True, f"By its p50 B is {p50.finding}.", f"It is {p50.ratio:.3f} times that of A ({within}).", doubts)


def _rounds_table(found: CompareReport) -> Table:
    headings = ["ROUND", "FIRST", *(f"{side} {name}, {unit}" for name, (_, unit) in FIGURES.items() for side in "AB")]
    rows = [
        [str(number), one.first, *(_told(side.get(name)) for name in FIGURES for side in (one.a, one.b))]
        for number, one in enumerate(found.rounds, 1)
    ]
    return Table("Rounds", headings, rows, words=(0, 1))


def _told(value: float | None) -> str:
    return "-" if value is None else figure(value)


def _charts(id: str, found: CompareReport) -> list[Chart]:
    drawn = (_intervals(id, found), _rounds(id, found))
    return [chart for chart in drawn if chart is not None]


def _intervals(id: str, found: CompareReport) -> IntervalChart | None:
    """The ratios; None when there are none."""
    if not found.figures:
        return None
    margin = (1 / (1 + found.margin), 1 + found.margin)
    across = _ratios([*margin, *(end for one in found.figures for end in (one.low, one.high))])
    rows = [
        Interval(one.figure, one.low, one.ratio, one.high, str(one.finding), *_SHAPES[one.finding])
        for one in found.figures
    ]
    beyond = any(one.low < across.low or one.high > across.high for one in found.figures)
    note = f"Grey: a shift of less than {_percent(found.margin)} either way. At the line B is as A."
    frame = Frame(f"{id}-ratios", "B against A, with 95 % intervals", "B / A", "", f"{note}{_BEYOND if beyond else ''}")
    return charts.intervals(frame, across, rows, margin, 1.0)


_BEYOND = " What goes beyond the axis ends at its edge."


def _ratios(values: list[float]) -> Scale:
    least, most = max(min(values), 1 / _WIDEST), min(max(values), _WIDEST)
    if most / least <= _LINEAR:
        return scale.span(least, most, NAMES, charts.FIGURES, _RATIO_STEPS)
    return scale.logarithmic(least, most, NAMES, charts.FIGURES)


def _rounds(id: str, found: CompareReport) -> LineChart | None:
    """The p50 of both in each round; None when a round has none."""
    name = "p50"
    sides = {"A": [one.a.get(name, 0.0) for one in found.rounds], "B": [one.b.get(name, 0.0) for one in found.rounds]}
    values = [value for side in sides.values() for value in side]
    if not values or min(values) <= 0:
        return None
    across = scale.span(1, len(values) // 2, LEFT, RIGHT)
    axes = Axes(across, scale.linear(max(values), BOTTOM, TOP))
    shapes = {"A": ("circle", 0), "B": ("cross", 1)}
    drawn = [
        Dots(side, *shapes[side], [(at, value, f"round {at}, {side}: {figure(value)} ms") for at, value in places])
        for side, places in ((side, enumerate(values, 1)) for side, values in sides.items())
    ]
    series = [Series("", tone, list(enumerate(sides[side], 1))) for side, (_, tone) in shapes.items()]
    frame = Frame(f"{id}-rounds", "p50 of each round", "round", "ms")
    return charts.dots(frame, axes, drawn, Ground(series=series))


COMPARISON = Kind(
    name="comparison",
    command="bench compare",
    type=CompareReport,
    schema=SCHEMA,
    read=partial(msgspec.json.decode, type=CompareReport),
    plain=msgspec.to_builtins,
    error=_error,
    cases=_cases,
    section=_section,
)
