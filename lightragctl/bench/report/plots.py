"""The charts of a run. Pure."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lightragctl.bench.histogram import Histogram
from lightragctl.bench.report import scale
from lightragctl.bench.report.charts import (
    BOTTOM,
    LEFT,
    RIGHT,
    TOP,
    Axes,
    BarChart,
    BarSegment,
    Column,
    Frame,
    LineChart,
    Series,
    bars,
    column,
    lines,
)
from lightragctl.bench.report.scale import Scale, figure
from lightragctl.bench.result import CPU_SHARE, LoadReport, Second, Times, allowed_lateness_ms
from lightragctl.bench.schedule import Constant, Poisson, Ramp

_MOST_NINES = 6.0
_SAMPLES = 120
"""Points of a curve of percentiles: at the width of a chart three units apart."""
_LEAST_MS = 0.01
"""The lowest end of a scale of milliseconds: ten times what the histograms tell apart."""
_WAY = ("queue embed", "embed", "queue search", "search", "chat", "serialise")
"""The stages of a request in lightrag-api, in order; further ones are appended."""
_BANDS = {
    "silent": "Red: not one answer came.",
    "drain": "Grey: nothing more was sent, answers were waited for.",
}
_TONES: Mapping[str, int] = {"ok": 0, "http": 3, "timeout": 4, "connection": 5, "bad-body": 6}


def percentiles(id: str, title: str, named: Mapping[str, Times]) -> LineChart | None:
    """Times by percentile; None when there is nothing to draw."""
    known = {name: Histogram.decode(times.histogram) for name, times in named.items() if times.count}
    if not known:
        return None
    most = min(_MOST_NINES, max(1.0, math.log10(max(one.count for one in known.values()))))
    at = [most * number / _SAMPLES for number in range(_SAMPLES + 1)]
    found = {name: _curve(one, at) for name, one in known.items()}
    values = [value for curve in found.values() for _, value in curve]
    across = scale.nines(most, LEFT, RIGHT)
    axes = Axes(across, milliseconds(values))
    series = [Series(name, tone, curve) for tone, (name, curve) in enumerate(found.items())]
    spots = [_percentile_spot(across, at, number, found) for number in range(0, _SAMPLES, 3)]
    note = "The right end of each line is the maximum."
    return lines(Frame(id, title, "percentile", "ms", note), axes, series, spots)


def timeline(id: str, report: LoadReport) -> list[LineChart]:
    """How the run went, second by second: answers, latency, what was open. Nothing when it has no seconds."""
    seconds = _told_seconds(report)
    if not seconds:
        return []
    last_s = max(report.duration_s, seconds[-1].number + 1.0)
    across = scale.seconds(last_s, LEFT, RIGHT)
    ground = _TimelineCharts(id, report, seconds, across)
    return [_answers(ground), _latency(ground), _open_requests(ground)]


def stages(id: str, stages_ms: Mapping[str, float]) -> BarChart | None:
    """Time inside the service: a waterfall of stages."""
    names = [*(name for name in _WAY if name in stages_ms), *sorted(set(stages_ms) - set(_WAY))]
    parts, begin = [], 0.0
    for name in names:
        tone = 2 if name.startswith("queue") else 0
        parts.append(BarSegment(name, stages_ms[name], begin, f"{figure(stages_ms[name])} ms", tone))
        begin += stages_ms[name]
    note = "Means over the requests that passed a stage; cached answers pass none."
    return bars(Frame(id, "Time inside lightrag-api", "ms", "", note), parts) if parts else None


def outcomes(id: str, report: LoadReport) -> BarChart | None:
    """Request outcomes and statuses."""
    parts = [
        BarSegment(name, count, figure=f"{count:,} ({count / report.requests:.1%})", tone=_TONES.get(name, 7))
        for name, count in sorted(report.outcomes.items(), key=lambda one: one[0] != "ok")
    ]
    parts += [
        BarSegment(f"status {status}", count, figure=f"{count:,}", tone=3) for status, count in report.statuses.items()
    ]
    return bars(Frame(id, "Request outcomes", "requests", ""), parts) if parts else None


def generator(id: str, report: LoadReport) -> BarChart:
    """Load of the generator relative to its limits."""
    busy = report.generator.cpu_share
    parts = [BarSegment("a core, busy", 100 * busy / CPU_SHARE, figure=f"{busy:.0%}", tone=1)]
    note = f"Limits: {CPU_SHARE:.0%} of a core"
    if report.lateness.count:  # a closed loop is never late
        allowed_ms, late_ms = allowed_lateness_ms(report.latency.p99_ms), report.lateness.p99_ms
        parts.insert(0, BarSegment("late, p99", 100 * late_ms / allowed_ms, figure=f"{figure(late_ms)} ms", tone=1))
        note += f", {figure(allowed_ms)} ms at this latency"
    return bars(Frame(id, "Load generator", "% of its limit", "", f"{note}."), parts, limit=100.0)


@dataclass(frozen=True)
class _TimelineCharts:
    """What the charts of one run have in common."""

    id: str
    report: LoadReport
    seconds: Sequence[Second]
    across: Scale

    @property
    def bands(self) -> list[Column]:
        """Where nothing more was sent, and seconds in which not one answer came."""
        end_s = self.report.duration_s
        silent = [
            column(self.across, one.number, one.number + 1, f"no answer in second {one.number}", "silent")
            for one in self.seconds
            if not one.answered and one.number < end_s
        ]
        drain = column(self.across, end_s, self.across.high, "drain: no more requests are sent", "drain")
        return [*silent, drain] if drain.width else silent

    def spots(self) -> list[Column]:
        """What is shown of each second."""
        return [column(self.across, one.number, one.number + 1, _second_words(one)) for one in self.seconds]

    def middle(self, name: str) -> list[tuple[float, float | None]]:
        """A field of each second, in its middle; of times, only where there were answers."""
        timed = name.endswith("_ms")
        return [(one.number + 0.5, getattr(one, name) if one.answered or not timed else None) for one in self.seconds]

    def end(self, name: str) -> list[tuple[float, float | None]]:
        """A field of each second, at its end."""
        return [(one.number + 1.0, getattr(one, name)) for one in self.seconds]

    def chart(self, end: str, texts: tuple[str, str], upwards: Scale, series: Sequence[Series]) -> LineChart:
        """A chart over the seconds."""
        kinds = {band.kind for band in self.bands}
        note = " ".join(text for kind, text in _BANDS.items() if kind in kinds)
        frame = Frame(f"{self.id}-{end}", texts[0], "seconds of the run", texts[1], note)
        return lines(frame, Axes(self.across, upwards), series, self.spots(), self.bands)


def _answers(ground: _TimelineCharts) -> LineChart:
    planned = _planned(ground.report)
    most = max(*(one.answered for one in ground.seconds), *(rate or 0 for _, rate in planned), 1)
    series = [Series("all answers", 3, ground.middle("answered")), Series("good answers", 0, ground.middle("ok"))]
    if planned:
        series.insert(0, Series("planned", 7, planned))
    if all(one.answered == one.ok for one in ground.seconds):
        series = [one for one in series if one.name != "all answers"]
    upwards = scale.linear(most, BOTTOM, TOP)
    return ground.chart("answers", ("Answers per second", "1/s"), upwards, series)


def _latency(ground: _TimelineCharts) -> LineChart:
    values = [time_ms for one in ground.seconds if one.answered for time_ms in (one.p50_ms, one.p99_ms)]
    series = [Series("p99", 1, ground.middle("p99_ms")), Series("p50", 0, ground.middle("p50_ms"))]
    return ground.chart("latency", ("Latency of each second's answers", "ms"), milliseconds(values), series)


def _open_requests(ground: _TimelineCharts) -> LineChart:
    most = max(max(one.under_way, one.waiting) for one in ground.seconds)
    series = [
        Series("queued for a connection", 1, ground.end("waiting")),
        Series("in flight", 0, ground.end("under_way")),
    ]
    upwards = scale.linear(max(most, 1), BOTTOM, TOP)
    return ground.chart("open", ("Open requests at the end of each second", "requests"), upwards, series)


def _told_seconds(report: LoadReport) -> list[Second]:
    """The seconds without those of the drain that nothing came in."""
    answered = [one.number for one in report.seconds if one.answered]
    last = max([*answered, math.ceil(report.duration_s) - 1])
    return [one for one in report.seconds if one.number <= last]


def _planned(report: LoadReport) -> list[tuple[float, float | None]]:
    """The requested rate, if the shape has one."""
    match report.shape:
        case Constant(rate_qps, _) | Poisson(rate_qps, _):
            return [(0.0, rate_qps), (report.duration_s, rate_qps)]
        case Ramp(from_qps, to_qps, duration_s):
            reached_qps = from_qps + (to_qps - from_qps) * min(1.0, report.duration_s / duration_s)
            return [(0.0, from_qps), (report.duration_s, reached_qps)]
        case _:
            return []


def milliseconds(values: Sequence[float]) -> Scale:
    """The scale of times, upwards."""
    told = [max(_LEAST_MS, value) for value in values] or [1.0]
    return scale.logarithmic(min(told), max(told), BOTTOM, TOP)


def _curve(times: Histogram, at: Sequence[float]) -> list[tuple[float, float]]:
    """Milliseconds by number of nines, as far as there are enough requests; the maximum is the last point."""
    most = math.log10(times.count)
    inside = [nines for nines in at if nines < most]
    values = times.percentiles_ms([scale.percent(nines) for nines in inside])
    return [*zip(inside, values, strict=True), (most, times.max_ms)]


def _percentile_spot(
    across: Scale, at: Sequence[float], number: int, found: Mapping[str, Sequence[tuple[float, float]]]
) -> Column:
    times = [f"{name} {figure(curve[number][1])} ms" for name, curve in found.items() if number < len(curve)]
    text = f"p{scale.percent(at[number]):.6g}: {', '.join(times)}"
    return column(across, at[number], at[min(number + 3, len(at) - 1)], text)


def _second_words(one: Second) -> str:
    failed = f", {one.answered - one.ok} failed" if one.answered > one.ok else ""
    times = f"p50 {figure(one.p50_ms)} ms, p99 {figure(one.p99_ms)} ms" if one.answered else "no times"
    standing = f"{one.under_way} in flight, {one.waiting} queued"
    return f"second {one.number}: {one.answered} answers{failed}; {times}; {standing}"
