"""Saved saturation searches: reading, evaluation and report. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import msgspec

from lightragctl.bench.report import scale
from lightragctl.bench.report.charts import (
    BOTTOM,
    LEFT,
    RIGHT,
    TOP,
    Axes,
    Chart,
    ChartBackground,
    Column,
    Dots,
    Frame,
    LineChart,
    Series,
    column,
    dots,
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
from lightragctl.bench.report.plots import milliseconds
from lightragctl.bench.report.scale import Scale, figure
from lightragctl.bench.saturate import SCHEMA, RateStep, Saturation
from lightragctl.bench.thresholds import QUALITY, Threshold, parse
from lightragctl.core.errors import UsageError
from lightragctl.core.hint import Command, Hint
from lightragctl.core.result import ErrorInfo

HEADINGS = ("RATE/S", "", "P99 MS", "GOOD/S", "")


def rows(found: Plain) -> list[list[str]]:
    """The steps in their order, below `HEADINGS`."""
    return [
        [
            f"{step['rate_qps']:.1f}",
            "passed" if step["held"] else "failed",
            f"{step['p99_ms']:.1f}",
            f"{step['good_per_s']:.1f}",
            ", ".join(step["broken"]) + ("" if step["held"] or step["believed"] else " (generator late or busy)"),
        ]
        for step in found["steps"]
    ]


def headline(found: Plain) -> str:
    """The target and its thresholds."""
    return f"{found['kind']} at {found['url']}, {found['slo']}"


def outcome(found: Plain) -> str:
    """The sustained rate and the failing one; empty when none passed."""
    if found["holds_qps"] is None:
        return ""
    to = f"and fails at {found['fails_qps']:.1f}/s" if found["fails_qps"] else "and no rate failed"
    return f"sustains {found['holds_qps']:.1f} requests per second, {to}"


def _read(text: bytes) -> Saturation:
    found = msgspec.json.decode(text, type=Saturation)
    try:
        parse(found.slo)
    except UsageError as error:
        raise ValueError(error.message) from error
    return found


def _errors(found: Saturation) -> Sequence[ErrorInfo]:
    errors = []
    if found.interrupted:
        errors.append(ErrorInfo("interrupted", "the search was interrupted; its result is preliminary"))
    if found.limited:
        errors.append(ErrorInfo("not-valid", found.limited))
    if found.holds_qps is None:
        hint = Hint("see what is slow: ", Command("bench run"))
        errors.append(ErrorInfo("thresholds", f"no rate met {found.slo}", hint))
    return errors


def _cases(found: Saturation) -> Iterator[JunitCase]:
    yield JunitCase("a rate passed", "" if found.holds_qps is not None else f"no rate met {found.slo}")
    interrupted = "the search was interrupted" if found.interrupted else ""
    yield JunitCase(VALID, "; ".join(reason for reason in (interrupted, found.limited) if reason))


def _section(id: str, name: str, found: Saturation) -> Section:
    plain = msgspec.to_builtins(found)
    headings = ["STEP", *HEADINGS]
    steps = [[str(number), *row] for number, row in enumerate(rows(plain), 1)]
    return Section(
        id=id,
        name=name,
        headline=f"{headline(plain)}{ended(found.ended_at)}",
        said=_said(found, outcome(plain)),
        tables=[Table("Steps", headings, steps, words=(0, 2, 5))],
        charts=_charts(id, found),
        notes=_notes(found),
    )


def _said(found: Saturation, outcome: str) -> Headline:
    errors = _errors(found)
    title = f"{outcome[:1].upper()}{outcome[1:]}." if outcome else "No rate passed."
    return Headline(not errors, title, reasons=[text for one in errors for text in (one.message, one.hint) if text])


def _notes(found: Saturation) -> list[str]:
    """Notes below the charts."""
    bound = "Percentiles are compared by their upper 95 % bounds, as in the charts; the table shows measured values."
    majority = "A rate that was measured several times passes or fails by majority."
    return [bound, majority]


@dataclass(frozen=True)
class _SearchCharts:
    """What the charts of one search have in common: a rate, rightwards; each step with a shape for its end."""

    id: str
    steps: Sequence[RateStep]
    across: Scale
    bands: Sequence[Column]

    @classmethod
    def of(cls, id: str, found: Saturation) -> "_SearchCharts":
        """The ground for at least one step; the bracket lies between the rate that holds and the one that fails."""
        rates = [step.rate_qps for step in found.steps]
        across = scale.span(min(rates), max(rates), LEFT, RIGHT)
        if found.holds_qps is None or found.fails_qps is None:
            return cls(id, found.steps, across, ())
        return cls(id, found.steps, across, [column(across, found.holds_qps, found.fails_qps, "", "bracket")])

    def ends(self, values: Sequence[float]) -> list[Dots]:
        """A value of each step, as dots of three shapes."""
        found: dict[str, list[tuple[float, float, str]]] = {name: [] for name in _SHAPES}
        for number, (step, value) in enumerate(zip(self.steps, values, strict=True), 1):
            found[_end(step)].append((step.rate_qps, value, _words(number, step)))
        return [Dots(name, shape, tone, found[name]) for name, (shape, tone) in _SHAPES.items()]

    def note(self, more: str = "") -> str:
        """The note below the chart."""
        bracket = "Green: between the highest rate that passed and the lowest that failed." if self.bands else ""
        return " ".join(text for text in (bracket, more) if text)


_SHAPES = {
    "passed": ("circle", 2),
    "failed": ("cross", 1),
    "failed, not valid: the generator was late or busy": ("diamond", 3),
}


def _end(step: RateStep) -> str:
    held, failed, doubted = _SHAPES
    if step.held:
        return held
    return failed if step.believed else doubted


def _words(number: int, step: RateStep) -> str:
    broken = f": {', '.join(step.broken)}" if step.broken else ""
    seen = f"p99 {figure(step.p99_ms)} ms, {figure(step.good_per_s)} good answers per second"
    return f"step {number}, {figure(step.rate_qps)}/s {'passed' if step.held else 'failed'}{broken}; {seen}"


def _charts(id: str, found: Saturation) -> list[Chart]:
    if not found.steps:
        return []
    paper = _SearchCharts.of(id, found)
    judged = [_judged(paper, number, one) for number, one in enumerate(parse(found.slo), 1)]
    return [*(chart for chart in judged if chart is not None), _answers(paper)]


def _judged(paper: _SearchCharts, number: int, one: Threshold) -> LineChart | None:
    """The values compared with a threshold, by rate; None when there are none."""
    unit, factor = _unit(one)
    values = [_value(step, one) for step in paper.steps]
    known = [factor * value for value in values if value is not None]
    if not known:
        return None
    told = [*known, factor * one.wanted]
    upwards = milliseconds(told) if unit == "ms" else scale.linear(max(told), BOTTOM, TOP)
    worst = upwards.low if one.relation.startswith(">") else upwards.high
    drawn = paper.ends([worst if value is None else factor * value for value in values])
    note = paper.note("On the edge: too few answers." if None in values else "")
    frame = Frame(f"{paper.id}-slo{number}", f"{one.text}, by rate", "requests per second", unit, note)
    ground = ChartBackground({f"threshold: {one.text}": factor * one.wanted}, bands=paper.bands)
    return dots(frame, Axes(paper.across, upwards), drawn, ground)


def _value(step: RateStep, one: Threshold) -> float | None:
    """What was held against a threshold; files from before it was saved have the p99 that was seen."""
    if not step.seen and one.figure == "p99":
        return step.p99_ms
    return step.seen.get(one.text)


def _unit(one: Threshold) -> tuple[str, float]:
    """The unit of a threshold's figure, and what its values are multiplied by."""
    if one.figure in QUALITY:
        return "of 1", 1.0
    return {"errors": ("% of the requests", 100.0), "good": ("1/s", 1.0)}.get(one.figure, ("ms", 1.0))


def _answers(paper: _SearchCharts) -> LineChart:
    """Good answers a second by rate, and where they would be if all were answered at once."""
    across = paper.across
    values = [step.good_per_s for step in paper.steps]
    upwards = scale.span(min(*values, across.low), max(*values, across.high), BOTTOM, TOP)
    ideal = Series("rate sent", 7, [(across.low, across.low), (across.high, across.high)])
    frame = Frame(f"{paper.id}-answers", "Good answers, by rate", "requests per second", "1/s", paper.note())
    return dots(frame, Axes(across, upwards), paper.ends(values), ChartBackground(series=[ideal], bands=paper.bands))


SATURATION = DocumentKind(
    name="saturation",
    command="bench saturate",
    type=Saturation,
    schema=SCHEMA,
    read=_read,
    plain=msgspec.to_builtins,
    errors=_errors,
    cases=_cases,
    section=_section,
)
