"""Saved runs: reading, evaluation and report; several side by side. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from lightragctl.bench.annotated_run import AnnotatedRun, Annotations
from lightragctl.bench.bad_answers import words
from lightragctl.bench.histogram import Histogram
from lightragctl.bench.report import plots, summary_rows
from lightragctl.bench.report.charts import LineChart
from lightragctl.bench.report.document import VALID, DocumentKind, Headline, JunitCase, Section, Table, ended
from lightragctl.bench.report.scale import figure
from lightragctl.bench.result import SCHEMA, LoadReport, Times
from lightragctl.core.result import ErrorInfo


def side_by_side(runs: Mapping[str, AnnotatedRun]) -> Table:
    """The figures of runs by name, a column for each."""
    rows = summary_rows.rows([_plain(run) for run in runs.values()])
    return Table("Figures", ["", *runs] if len(runs) > 1 else (), [[name, *texts] for name, texts in rows])


def together(runs: Mapping[str, AnnotatedRun]) -> LineChart | None:
    """Runs by name in one chart; None when there is but one, or nothing to draw."""
    named = {name: run.report.latency for name, run in runs.items()}
    return plots.percentiles("together", "Latency of all runs", named) if len(runs) > 1 else None


def _read(text: bytes) -> AnnotatedRun:
    report = msgspec.json.decode(text, type=LoadReport)
    for times in (report.latency, report.good, report.failed, report.service, report.lateness, report.first_token):
        if isinstance(times, Times):
            Histogram.decode(times.histogram)
    return AnnotatedRun(report, msgspec.json.decode(text, type=Annotations))


def _plain(run: AnnotatedRun) -> dict[str, Any]:
    """The file is flat: the report's fields, and those of `Annotations` next to them. Bodies of answers stay out."""
    report: dict[str, Any] = msgspec.to_builtins(msgspec.structs.replace(run.report, bodies={}))
    return {**report, **msgspec.to_builtins(run.annotations)}


def _errors(run: AnnotatedRun) -> Sequence[ErrorInfo]:
    """Errors by priority; an invalid result comes first, as its thresholds mean nothing."""
    found = []
    if not run.report.verdict.valid:
        reason = f"the result is not valid: {'; '.join(run.report.verdict.reasons)}"
        found.append(ErrorInfo("not-valid", reason))
    elif run.report.interrupted:
        reason = "interrupted while answer quality was evaluated; all other results are complete"
        found.append(ErrorInfo("interrupted", reason))
    if run.broken:
        hint = "see stages_ms for the time spent in each stage"
        found.append(ErrorInfo("thresholds", f"thresholds not met: {', '.join(run.broken)}", hint))
    return found


def _cases(run: AnnotatedRun) -> Iterator[JunitCase]:
    interrupted = ("interrupted",) if run.report.interrupted and run.report.verdict.valid else ()
    yield JunitCase(VALID, "; ".join((*run.report.verdict.reasons, *interrupted)))
    for threshold, kept in run.annotations.thresholds.items():
        yield JunitCase(threshold, "" if kept else _seen(run.report))


def _seen(report: LoadReport) -> str:
    times = report.latency
    rows = {"p50": times.p50_ms, "p99": times.p99_ms, "max": times.max_ms}
    seen = ", ".join(f"{name} {value:g} ms" for name, value in rows.items())
    rest = "; ".join((f"{report.good_per_s:.1f} good answers per second", *report.verdict.notes))
    return f"not met: {seen}, {rest}"


def _section(id: str, name: str, run: AnnotatedRun) -> Section:
    report = run.report
    charts = [
        plots.percentiles(f"{id}-percentiles", "Latency by percentile", _times(report)),
        *plots.timeline(id, report),
        plots.stages(f"{id}-stages", run.annotations.stages_ms),
        plots.outcomes(f"{id}-outcomes", report),
        plots.generator(f"{id}-generator", report),
    ]
    return Section(
        id=id,
        name=name,
        headline=f"{summary_rows.headline(msgspec.to_builtins(report))}{ended(run.annotations.ended_at)}",
        said=_said(report),
        thresholds=run.annotations.thresholds,
        tables=[side_by_side({name: run})],
        charts=[chart for chart in charts if chart is not None],
        notes=_notes(run),
    )


def _said(report: LoadReport) -> Headline:
    if report.verdict.valid:
        return Headline(True, "Valid.", "The load generator kept up.", report.verdict.notes)
    return Headline(False, "Not valid:", reasons=[*report.verdict.reasons, *report.verdict.notes])


def _times(report: LoadReport) -> Mapping[str, Any]:
    named = {
        "good answers, from intended send": report.good,
        "all, from actual send": report.service,
        "first token, from intended send": report.first_token,
        "failed, from intended send": report.failed,
    }
    return {name: times for name, times in named.items() if times is not None}


def _notes(run: AnnotatedRun) -> list[str]:
    """Notes below the charts."""
    report = run.report
    meaning = "Latency is measured from the intended send time, service time from the actual one."
    settled = "latency had settled" if report.settled else "latency had not settled"
    warm_up = f"Warm-up: {report.warm_up_s:.1f} s, {settled}." if report.warm_up_s else "No warm-up."
    left = f"{report.unanswered} requests had no answer when the run ended." if report.unanswered else ""
    cost = report.generator
    spun = f", {figure(cost.spin_s)} s of it busy-waiting" if cost.spin_s else ""
    workers = "1 process" if cost.workers == 1 else f"{cost.workers} processes"
    sent = f"Sent by {workers} using {figure(cost.cpu_s)} s of CPU time{spun}; seed {report.seed}."
    of = "1 replica" if run.annotations.replicas == 1 else f"{run.annotations.replicas} replicas"
    scraped = f"Stage times are of {of} of lightrag-api." if run.annotations.replicas else ""
    sizes = ", ".join(f"{size:.1f} to {stage}" for stage, size in run.annotations.batch_sizes.items())
    batches = f"Mean batch size: {sizes}." if sizes else ""
    caches = [f"{cache} cache hit ratio: {share:.1%}." for cache, share in run.annotations.cache_hits.items()]
    quality = report.quality.notes if report.quality is not None else ()
    bad = [f"{words(one)[:1].upper()}{words(one)[1:]}" for one in report.bad_answers]
    notes = (meaning, warm_up, left, *bad, sent, scraped, *run.annotations.replica_notes, batches, *caches, *quality)
    return [note for note in notes if note]


RUN = DocumentKind(
    name="run",
    command="bench run",
    type=AnnotatedRun,
    schema=SCHEMA,
    read=_read,
    plain=_plain,
    errors=_errors,
    cases=_cases,
    section=_section,
)
