"""The report of an upgrade as an HTML page, from its record. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from lightragctl.bench.report import scale
from lightragctl.bench.report.charts import BOTTOM, LEFT, RIGHT, TOP, Axes, Frame, LineChart, Series, lines
from lightragctl.bench.report.document import Headline, Section, Table
from lightragctl.bench.report.html import html
from lightragctl.bench.report.page import ReportPage
from lightragctl.core.errors import UsageError
from lightragctl.core.hint import Command, Hint
from lightragctl.operations.model import Operation, Phase
from lightragctl.upgrade.gate import METRICS, Gate, gates_of, shown

_MS = 1000.0
_CURVES = (("mean", "Mean latency", "ms", 3), ("p99", "p99 latency", "ms", 4))
_TRACKS = (("canary", 1), ("stable pods", 5))
"""By name: where the figures of a track begin in a row of the history."""


def report(record: Operation, settings: Any) -> str:
    """The page: latency of canary and stable pods, every verdict with its samples, the steps.

    Args:
        record: of an upgrade.
        settings: the section `upgrade` of the profile that it leads to.

    Raises:
        UsageError: it is no upgrade, or no canary was observed.
    """
    results = record.results
    if record.kind.partition("-")[0] != "upgrade" or not ("watch" in results or "verdicts" in results):
        hint = Hint("list operations: ", Command("operations list"))
        raise UsageError(f"operation {record.id} has no observation to report", hint)
    gates = {one.name: one for one in gates_of(settings)}
    watched = results.get("watch", {}).get("components", {})
    names = list(watched) or sorted({name for found in results.get("verdicts", {}).values() for name in found})
    sections = [_section(number, name, record, gates) for number, name in enumerate(names, 1)]
    return html(ReportPage(f"Upgrade {record.id} of release {record.release}", None, None, sections))


def _section(number: int, name: str, record: Operation, gates: Mapping[str, Gate]) -> Section:
    watched = record.results.get("watch", {}).get("components", {}).get(name, {})
    rows = watched.get("history", ())
    charts = [*_latency(number, rows), *_requests(number, rows)] if len(rows) > 1 else []
    return Section(
        f"component{number}",
        name,
        f"started by {record.who} at {_time(record.created_at)}; {len(rows)} points of {_length(rows)}",
        _headline(record),
        tables=[*_verdicts(name, record, gates), _steps(record)],
        charts=charts,
    )


def _headline(record: Operation) -> Headline:
    good = record.phase is Phase.SUCCEEDED
    promoted = f"promoted by {record.promoted_by} without a verdict" if record.promoted_by else ""
    reasons = [one for one in (record.cause, promoted) if one]
    return Headline(good, str(record.phase), f"at {_time(record.ended_at)}" if record.ended_at else "", reasons)


def _time(at: datetime | None) -> str:
    return at.strftime("%Y-%m-%d %H:%M:%S UTC") if at else "-"


def _length(rows: Sequence[Sequence[float]]) -> str:
    return f"{rows[-1][0] - rows[0][0]:.0f} s" if rows else "0 s"


def _latency(number: int, rows: Sequence[Sequence[float]]) -> Iterator[LineChart]:
    for name, title, unit, offset in _CURVES:
        frame = Frame(f"component{number}-{name}", title, "seconds", unit, "Points without requests are left out.")
        offsets = {track: at - 1 + offset for track, at in _TRACKS}
        yield _chart(frame, rows, offsets, _MS)


def _requests(number: int, rows: Sequence[Sequence[float]]) -> Iterator[LineChart]:
    yield _chart(Frame(f"component{number}-requests", "Requests per point", "seconds", ""), rows, dict(_TRACKS), 1.0)
    errors = {track: at + 1 for track, at in _TRACKS}
    yield _chart(Frame(f"component{number}-errors", "Failed requests per point", "seconds", ""), rows, errors, 1.0)


def _chart(frame: Frame, rows: Sequence[Sequence[float]], columns: Mapping[str, int], factor: float) -> LineChart:
    """One line for each track; a point where it had no requests is a gap."""
    begun = rows[0][0]
    found = {
        track: [(row[0] - begun, row[columns[track]] * factor if row[at] else None) for row in rows]
        for track, at in _TRACKS
    }
    most = max((value for points in found.values() for _, value in points if value is not None), default=1.0)
    axes = Axes(scale.seconds(max(1.0, rows[-1][0] - begun), LEFT, RIGHT), scale.linear(most, BOTTOM, TOP))
    return lines(frame, axes, [Series(track, tone, points) for tone, (track, points) in enumerate(found.items())])


def _verdicts(name: str, record: Operation, gates: Mapping[str, Gate]) -> Iterator[Table]:
    """Those of each stage that ended, in the order in which it did."""
    titles = {"failed": "Verdicts that stopped the upgrade", "undecided": "Verdicts at the pause"}
    for stage, found in record.results.get("verdicts", {}).items():
        judged = found.get(name, ())
        if judged:
            title = titles.get(stage) or f"Verdicts of stage {int(stage) + 1}"
            headings = ("gate", "verdict", "canary", "stable", "samples", "why")
            yield Table(title, headings, [_verdict(one, gates) for one in judged], words=(0, 1, 5))


def _verdict(one: Mapping[str, Any], gates: Mapping[str, Gate]) -> tuple[str, ...]:
    gate = gates.get(one["gate"])
    unit = gate.of.unit if gate else METRICS["errors"].unit
    figures = ("-" if one[side] is None else shown(one[side], unit) for side in ("canary", "stable"))
    return (one["gate"], one["verdict"], *figures, f"{one['samples']:,.0f}", one["reason"])


def _steps(record: Operation) -> Table:
    rows = [
        (one.title, str(one.state), f"{(one.ended_at - one.began_at).total_seconds():.0f} s", one.message)
        for one in record.steps
        if one.began_at and one.ended_at
    ]
    return Table("Steps", ("step", "state", "took", "message"), rows, words=(0, 1, 3))
