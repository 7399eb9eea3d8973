"""Saved comparisons of two services: reading, evaluation and report. Pure."""

from collections.abc import Iterator, Sequence
from functools import partial

import msgspec

from lightragctl.bench.compare import FIGURES, SCHEMA, ComparedFigure, CompareReport, ComparisonResult, together
from lightragctl.bench.report import charts, scale
from lightragctl.bench.report.charts import (
    BOTTOM,
    LEFT,
    NAMES,
    RIGHT,
    TOP,
    Axes,
    Chart,
    ChartBackground,
    Dots,
    Frame,
    IntervalChart,
    IntervalRow,
    LineChart,
    Series,
)
from lightragctl.bench.report.document import (
    VALID,
    DocumentKind,
    Headline,
    JunitCase,
    Plain,
    Section,
    Table,
    ended,
)
from lightragctl.bench.report.scale import Scale, figure
from lightragctl.core.hint import Command, Hint
from lightragctl.core.result import ErrorInfo

_WIDEST = 5.0
"""A chart shows ratios up to this, and down to one by it: the margin would be too thin to see on a longer axis."""
_LINEAR = 2.0
"""An axis that ends at this many times its begin needs no logarithm."""
_RATIO_STEPS = 4
_SHAPES = {
    ComparisonResult.BETTER: ("circle", 2),
    ComparisonResult.WORSE: ("cross", 1),
    ComparisonResult.SAME: ("diamond", 0),
    ComparisonResult.UNKNOWN: ("ring", 7),
    ComparisonResult.UNLIKE: ("ring", 7),
}


def headings(found: Plain) -> list[str]:
    """The headings of `rows`."""
    return ["METRIC", "B / A", "95 % CI", "P", f"B IS (MARGIN {_percent(found['margin'])})"]


def rows(found: Plain) -> list[list[str]]:
    """The result of each metric."""
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


def _errors(found: CompareReport) -> Sequence[ErrorInfo]:
    """Errors by priority: B fails more, then the p50, then an early end."""
    errors = [*_failing(found), *_of_p50(found)]
    if found.cut_short:
        errors.append(ErrorInfo("interrupted", f"ended early, after {len(found.rounds)} rounds"))
    return errors


def _failing(found: CompareReport) -> Iterator[ErrorInfo]:
    if found.fails_more == "B":
        a, b = together(found.rounds)
        shares = f"{b.bad / b.requests:.2%} of its requests, A {a.bad / a.requests:.2%}"
        yield ErrorInfo("worse", f"B is worse: it fails more requests, {shares}", _SEE_RUN)


def _of_p50(found: CompareReport) -> Iterator[ErrorInfo]:
    p50 = next((one for one in found.figures if one.figure == "p50"), None)
    if p50 is None:
        yield ErrorInfo("no-answers", "all requests to a service failed in some round", _SEE_RUN)
        return
    match p50.finding:
        case ComparisonResult.WORSE:
            yield ErrorInfo("worse", _worse(p50))
        case ComparisonResult.UNLIKE:
            yield ErrorInfo("not-comparable", f"the times are not comparable: {'; '.join(found.unlike)}", _SEE_RUN)
        case ComparisonResult.UNKNOWN:
            hint = f"to detect {_percent(found.margin)}: --rounds {p50.rounds_needed}, or longer --seconds"
            yield ErrorInfo("not-enough-data", "not enough data to decide whether the p50 differs", hint)


_SEE_RUN = Hint("see how the requests of each service end: ", Command("bench run", "--url URL"))


def _worse(one: ComparedFigure) -> str:
    return f"B is worse: its {one.figure} is {one.ratio:.3f} times that of A"


def _cases(found: CompareReport) -> Iterator[JunitCase]:
    """Cases; the p50, which decides the exit status, also fails when inconclusive, other metrics are skipped then."""
    yield JunitCase(VALID, "ended early" if found.cut_short else "")
    yield JunitCase("failed requests", "; ".join(error.message for error in _failing(found)))
    yield JunitCase("p50", "; ".join(error.message for error in _of_p50(found)))
    for one in found.figures:
        if one.figure != "p50":
            worse = _worse(one) if one.finding is ComparisonResult.WORSE else ""
            inconclusive = one.finding in (ComparisonResult.UNKNOWN, ComparisonResult.UNLIKE)
            yield JunitCase(one.figure, worse, str(one.finding) if inconclusive else "")


def _section(id: str, name: str, found: CompareReport) -> Section:
    plain = msgspec.to_builtins(found)
    return Section(
        id=id,
        name=name,
        headline=f"A {found.a}, B {found.b}, {len(found.rounds)} rounds{ended(found.ended_at)}",
        said=_said(found),
        tables=[Table("B against A", headings(plain), rows(plain), words=(0, 4))],
        charts=_charts(id, found),
        measurements=[_rounds_table(found)],
        notes=[
            "Each ratio is B / A over all rounds, with its 95 % confidence interval; P: the p-value.",
            "Better and worse: by a permutation test over the rounds; same: the interval is within the margin.",
        ],
    )


def _said(found: CompareReport) -> Headline:
    errors = _errors(found)
    doubts = [f"note: {note}" for note in (*found.unlike, *found.doubts)]
    if errors:
        message = f"{errors[0].message[:1].upper()}{errors[0].message[1:]}."
        others = [text for one in errors[1:] for text in (one.message, one.hint)]
        return Headline(False, message, reasons=[*filter(None, [errors[0].hint, *others]), *doubts])
    p50 = found.figure("p50")
    within = f"{p50.low:.3f} to {p50.high:.3f}"
    return Headline(True, f"By p50, B is {p50.finding}.", f"It is {p50.ratio:.3f} times that of A ({within}).", doubts)


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
        IntervalRow(one.figure, one.low, one.ratio, one.high, str(one.finding), *_SHAPES[one.finding])
        for one in found.figures
    ]
    beyond = any(one.low < across.low or one.high > across.high for one in found.figures)
    note = f"Grey: differences of less than {_percent(found.margin)}. Line: no difference."
    frame = Frame(f"{id}-ratios", "B against A, with 95 % CI", "B / A", "", f"{note}{_BEYOND if beyond else ''}")
    return charts.intervals(frame, across, rows, margin, 1.0)


_BEYOND = " Intervals are cut off at the edge of the axis."


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
    return charts.dots(frame, axes, drawn, ChartBackground(series=series))


COMPARISON = DocumentKind(
    name="comparison",
    command="bench compare",
    type=CompareReport,
    schema=SCHEMA,
    read=partial(msgspec.json.decode, type=CompareReport),
    plain=msgspec.to_builtins,
    errors=_errors,
    cases=_cases,
    section=_section,
)
