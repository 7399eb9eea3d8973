"""What the HTML page says: from saved runs to what the template writes. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from lightragctl.bench.measured import Measured
from lightragctl.bench.report import figures, plots
from lightragctl.bench.report.charts import LineChart
from lightragctl.bench.report.scale import figure
from lightragctl.bench.result import LoadReport


@dataclass(frozen=True)
class RunSection:
    """One run on the page: what stands at its top, its charts, and lines of text below them."""

    id: str
    name: str
    headline: str
    valid: bool
    reasons: Sequence[str]
    thresholds: Mapping[str, bool]
    charts: Sequence[plots.Chart]
    notes: Sequence[str]


@dataclass(frozen=True)
class Page:
    """All of it. `together` holds the runs in one chart; None when there is but one, or nothing to draw."""

    title: str
    names: Sequence[str]
    rows: Sequence[tuple[str, Sequence[str]]]
    together: LineChart | None
    sections: Sequence[RunSection]


def page(runs: Mapping[str, Measured]) -> Page:
    """The page of runs by name."""
    plain: list[Mapping[str, Any]] = [msgspec.to_builtins(run.report) for run in runs.values()]
    sections = [_section(f"run{number}", name, run) for number, (name, run) in enumerate(runs.items(), 1)]
    named = {name: run.report.latency for name, run in runs.items()}
    together = plots.percentiles("together", "Latency of all runs", named) if len(runs) > 1 else None
    return Page(f"Load: {', '.join(runs)}", list(runs), figures.rows(plain), together, sections)


def _section(id: str, name: str, run: Measured) -> RunSection:
    report = run.report
    charts = [
        plots.percentiles(f"{id}-percentiles", "Latency by percentile", _times(report)),
        *plots.course(id, report),
        plots.stages(f"{id}-stages", run.beside.stages_ms),
        plots.outcomes(f"{id}-outcomes", report),
        plots.generator(f"{id}-generator", report),
    ]
    return RunSection(
        id=id,
        name=name,
        headline=f"{figures.headline(msgspec.to_builtins(report))}{_ended(run)}",
        valid=report.verdict.valid,
        reasons=report.verdict.reasons,
        thresholds=run.beside.thresholds,
        charts=[chart for chart in charts if chart is not None],
        notes=_notes(run),
    )


def _times(report: LoadReport) -> Mapping[str, Any]:
    named = {
        "good answers, since due": report.good,
        "all, since sent": report.service,
        "first token, since due": report.first_token,
        "not good, since due": report.failed,
    }
    return {name: times for name, times in named.items() if times is not None}


def _ended(run: Measured) -> str:
    at = run.beside.ended_at
    return f", ended {at.replace('T', ' ').removesuffix('Z')} UTC" if at else ""


def _notes(run: Measured) -> list[str]:
    """What needs no chart."""
    report = run.report
    meaning = "Latency counts from when a request was due, service from when it was sent."
    settled = "the service had settled" if report.settled else "the service had not settled"
    warm_up = f"Warm-up: {report.warm_up_s:.1f} s, {settled}." if report.warm_up_s else "There was no warm-up."
    left = f"{report.unanswered} requests had no answer when the run ended." if report.unanswered else ""
    cost = report.generator
    spun = f", {figure(cost.spin_s)} s of it spent in waiting to the microsecond" if cost.spin_s else ""
    workers = "1 process" if cost.workers == 1 else f"{cost.workers} processes"
    sent = f"Sent by {workers}, which took {figure(cost.cpu_s)} s of processor time{spun}; seed {report.seed}."
    of = "1 replica" if run.beside.replicas == 1 else f"{run.beside.replicas} replicas"
    told = f"Where the time went is of {of} of lightrag-api." if run.beside.replicas else ""
    sizes = ", ".join(f"{size:.1f} to {stage}" for stage, size in run.beside.batch_sizes.items())
    batches = f"Items in a batch: {sizes}." if sizes else ""
    caches = [
        f"{share:.1%} of the looks into the {cache} cache found an answer."
        for cache, share in run.beside.cache_hits.items()
    ]
    quality = report.quality.notes if report.quality is not None else ()
    notes = (meaning, warm_up, left, sent, told, *run.beside.replica_notes, batches, *caches, *quality)
    return [note for note in notes if note]
