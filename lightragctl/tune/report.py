"""The result of a search as a page of HTML without external assets. Pure."""

from collections.abc import Sequence
from decimal import Decimal

from lightragctl.bench.report import scale
from lightragctl.bench.report.charts import (
    BOTTOM,
    LEFT,
    RIGHT,
    TOP,
    Axes,
    ChartBackground,
    Dots,
    Frame,
    LineChart,
    dots,
)
from lightragctl.bench.report.charts import Series as Line
from lightragctl.bench.report.document import Headline, Section, Table
from lightragctl.bench.report.page import ReportPage
from lightragctl.core.quantity import words
from lightragctl.tune.points import Option
from lightragctl.tune.search import Found

_LEAST_RECALL = 0.5
"""Points below this are not drawn: they would press the others together."""
_SHAPES = {"graph": ("circle", 0), "lists": ("diamond", 1), "exact": ("cross", 2)}


def page(found: Found) -> ReportPage:
    """The page of a search."""
    plan, verdict = found.plan, found.verdict
    picked = verdict.pick
    title = f"Index of {plan.collection}: {headline(found)}"
    name = f"{plan.workspace}, {plan.kind}"
    headlined = Headline(picked is not None, headline(found), verdict.reason, tuple(found.warnings))
    section = Section(
        "tune1", name, headline(found), headlined, tables=tables(found), charts=charts(found), notes=notes(found)
    )
    return ReportPage(title, None, None, [section])


def headline(found: Found) -> str:
    """The conclusion in a line."""
    picked = found.verdict.pick
    if picked is None:
        return "no configuration meets the targets"
    if found.verdict.keep:
        return f"keep what you have ({shown(picked)})"
    return f"use {shown(picked)}"


def shown(option: Option) -> str:
    """An option with its search parameters."""
    search = " ".join(f"{name}={value}" for name, value in option.point.search.items())
    return " ".join(part for part in (option.candidate.name, search) if part)


def mebibytes(size_bytes: int) -> str:
    """Bytes as text."""
    return words(Decimal(size_bytes), "memory")


def tables(found: Found) -> list[Table]:
    """The frontier, why others lost, and memory."""
    rows = [
        [
            ("* " if one is found.verdict.pick else "") + shown(one),
            f"{one.point.recall:.3f}",
            f"{one.point.low:.3f} to {one.point.high:.3f}",
            f"{one.point.p95_ms:.1f}",
            f"{one.point.rate:.0f}",
            mebibytes(one.size_bytes),
            f"{one.build_s:.1f}",
        ]
        for one in found.verdict.frontier
    ]
    headings = ["index", "recall", "95 % CI", "p95 ms", "queries/s", "memory", "build s"]
    lost = [[name, why] for name, why in {**found.dropped, **found.verdict.lost}.items()]
    grown = [[f"{one.times}x", f"{one.rows:,}", mebibytes(one.size_bytes)] for one in found.projections]
    return [
        Table("Pareto frontier (*: the pick)", headings, rows),
        Table("Memory of the pick", ["growth", "rows", "memory"], grown),
        Table("Why the others lost", ["index", "reason"], lost, words=(0, 1)),
    ]


def charts(found: Found) -> list[LineChart]:
    """Recall over queries per second; the frontier is a line."""
    options = [one for one in found.verdict.options if one.point.recall >= _LEAST_RECALL]
    if not options:
        return []
    rates = [one.point.rate for one in options]
    across = scale.logarithmic(min(rates), max(rates), LEFT, RIGHT)
    least = min([one.point.recall for one in options] + [found.plan.targets.min_recall])
    upwards = scale.span(least, 1.0, BOTTOM, TOP)
    drawn = [Dots(name, shape, tone, _places(options, name)) for name, (shape, tone) in _SHAPES.items()]
    if found.verdict.pick is not None:
        drawn.append(Dots("the pick", "ring", 3, [_place(found.verdict.pick)]))
    note = f"{found.measured_rows:,} rows; batches of 32 queries. Up and right is better."
    frame = Frame("tune1-frontier", "Recall and speed", "queries per second", f"recall@{found.plan.targets.k}", note)
    ground = ChartBackground(
        {"minimum recall": found.plan.targets.min_recall}, [Line("best recall at this speed", 7, _front(options))]
    )
    return [dots(frame, Axes(across, upwards), drawn, ground)]


def _front(options: Sequence[Option]) -> list[tuple[float, float | None]]:
    """The options that no other beats in both figures of the chart, slowest first."""
    found: list[tuple[float, float | None]] = []
    best = -1.0
    for one in sorted(options, key=lambda one: (-one.point.rate, -one.point.recall)):
        if one.point.recall > best:
            best = one.point.recall
            found.insert(0, (one.point.rate, best))
    return found


def _family(option: Option) -> str:
    return "graph" if option.candidate.is_graph else "lists" if option.candidate.knob else "exact"


def _places(options: Sequence[Option], family: str) -> list[tuple[float, float, str]]:
    return [_place(one) for one in options if _family(one) == family]


def _place(option: Option) -> tuple[float, float, str]:
    point = option.point
    text = f"{shown(option)}: recall {point.recall:.3f}, {point.rate:.0f}/s, p95 {point.p95_ms:.1f} ms"
    return point.rate, point.recall, f"{text}, {mebibytes(option.size_bytes)}"


def notes(found: Found) -> list[str]:
    """What was measured."""
    origins = ", ".join(f"{count} {name}" for name, count in found.origins.items())
    measured = f"{len(found.points)} measurements of {len({one.candidate for one in found.points})} indexes"
    return [f"{measured} in {found.took_s:.0f} s; queries: {origins}; exact answers by comparing all rows."]
