"""bench run, saturate, compare, report: load tests of lightrag-api or another service."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lightragctl.cli.bench.options import Concurrency, LoadOptions, Rate, ShapeOptions, check_sides
from lightragctl.cli.options import Session
from lightragctl.core.result import Event, Notify, Result

if TYPE_CHECKING:
    from lightragctl.bench.experiments import Observer
    from lightragctl.bench.schedule import Shape


_WARM_UP_S = 10.0
"""Upper bound of the warm-up, which ends when three successive seconds agree."""

_CONCURRENCY = 16

Save = Annotated[Path | None, typer.Option("--save", metavar="FILE", help="Write the report as JSON.")]
Html = Annotated[
    Path | None,
    typer.Option("--html", metavar="FILE", help="Write figures and charts as one self-contained HTML file."),
]
Junit = Annotated[
    Path | None,
    typer.Option("--junit", metavar="FILE", help="Write thresholds and validity as JUnit XML, for CI systems."),
]


def run(
    session: Session,
    load: LoadOptions,
    when: ShapeOptions,
    thresholds: Annotated[
        str,
        typer.Option("--thresholds", metavar="LIST", help="Exit status 3 unless met, such as: p99<100ms,recall>=0.9"),
    ] = "",
    save: Save = None,
    html: Html = None,
    junit: Junit = None,
) -> Result:
    """Load-test a release: latency, throughput, answer quality, and whether the result is valid.

    Latency is measured from the intended send time (no coordinated omission): a stall counts for all delayed requests.

    \b
    Examples:
      lightragctl bench
      lightragctl bench run --rate 200 --duration 60 --thresholds 'p99<100ms,errors<0.1%,recall>=0.9'
      lightragctl bench run --distinct 100000
      lightragctl bench run --scenario topics --save run.json --html run.html
      lightragctl bench run --scenario recordings --arrivals replay --speed 10
      lightragctl bench run --questions queries.jsonl --qrels qrels.txt
      lightragctl bench run --target chat --url http://127.0.0.1:8082 --model mock-llm
    """
    import msgspec

    from lightragctl.bench import thresholds as limits
    from lightragctl.bench.plan import WarmUp
    from lightragctl.bench.run import terminated_as_interrupted
    from lightragctl.bench.schedule import Closed
    from lightragctl.cli.bench import load_shape, report_files
    from lightragctl.cli.bench.live_panel import LoadPanel
    from lightragctl.release import benchmark

    wanted, files = limits.parse(thresholds), report_files.ReportFiles(save, html, junit)
    name = f"bench run of {load.kind}"
    files.check()
    with session.out.live(LoadPanel()) as notify, terminated_as_interrupted():
        source = benchmark.BenchmarkSource(session.release, load, notify)
        shape = load_shape.shape(when, load.is_topics, lambda: source.asked.instants_s)
        source.check_quality(wanted)
        is_closed = isinstance(shape, Closed)
        most = (when.concurrency or _CONCURRENCY) if is_closed else benchmark.connections(session.release, load.url)
        plan = msgspec.structs.replace(source.plan(shape, most), warm_up=WarmUp(_WARM_UP_S))
        measured = benchmark.measured(plan, source.replicas, notify)
        report_files.kept(measured, name, files)  # in case evaluating its quality fails
        measured = msgspec.structs.replace(measured, report=source.judged(measured.report)).against(wanted)
    return report_files.kept(measured, name, files)


def saturate(
    session: Session,
    load: LoadOptions,
    slo: Annotated[
        str, typer.Option("--slo", metavar="LIST", help="Thresholds that a rate must meet.")
    ] = "p99<100ms,errors<0.1%",
    step: Annotated[
        float, typer.Option("--step", metavar="SECONDS", help="Minimum duration of one measurement.", min=2)
    ] = 10.0,
    first: Annotated[
        float | None,
        typer.Option(
            "--from",
            metavar="N",
            help="First rate to measure, in requests per second. (default: from a probe)",
            min=0.5,
        ),
    ] = None,
    save: Save = None,
    html: Html = None,
    junit: Junit = None,
) -> Result:
    """Find the highest request rate at which a service meets its thresholds, to within 5 %.

    Both ends of the interval are measured at least twice. A percentile must meet its threshold with its upper 95 %
    confidence bound.

    \b
    Examples:
      lightragctl bench saturate
      lightragctl bench saturate --slo 'p99<100ms,errors<0.1%,recall>=0.9' --distinct 100000
      lightragctl bench saturate --save search.json --html search.html
    """
    import msgspec

    from lightragctl.bench import thresholds as limits
    from lightragctl.bench.experiments import SaturationSearch, find_saturation
    from lightragctl.bench.run import terminated_as_interrupted
    from lightragctl.cli.bench import report_files
    from lightragctl.cli.bench.live_panel import LoadPanel
    from lightragctl.core.errors import UsageError
    from lightragctl.release import benchmark

    wanted = limits.parse(slo)
    if not wanted:
        raise UsageError("no thresholds given: every rate would meet them", "set some: --slo 'p99<100ms,errors<0.1%'")
    files = report_files.ReportFiles(save, html, junit)
    files.check()
    with session.out.live(LoadPanel()) as notify, terminated_as_interrupted():
        source = benchmark.BenchmarkSource(session.release, load, notify)
        source.check_quality(wanted)
        plan = source.plan(_closed(step), benchmark.connections(session.release, load.url))
        search = SaturationSearch(wanted, step, first, lambda report: source.judged_for(report, wanted))
        found = find_saturation(plan, search, _watch(notify))
    found = msgspec.structs.replace(found, ended_at=benchmark.ended_at())
    return report_files.kept(found, f"bench saturate of {load.kind}", files)


def compare(
    session: Session,
    load: LoadOptions,
    a: Annotated[str, typer.Argument(metavar="A", help="Baseline: a URL, or a profile whose release is up.")],
    b: Annotated[str, typer.Argument(metavar="B", help="Candidate: a URL, or a profile whose release is up.")],
    rate: Rate = None,
    concurrency: Concurrency = None,
    rounds: Annotated[
        int, typer.Option("--rounds", metavar="N", help="Rounds; each measures both targets.", min=2)
    ] = 10,
    seconds: Annotated[
        float, typer.Option("--seconds", metavar="SECONDS", help="Length of one measurement.", min=1)
    ] = 5.0,
    margin: Annotated[
        float,
        typer.Option("--margin", metavar="RATIO", help="Smallest relative difference that matters.", min=0.001, max=10),
    ] = 0.05,
    save: Save = None,
    html: Html = None,
    junit: Junit = None,
) -> Result:
    """Compare two services (A/B test): measures both in alternating rounds and tests the difference.

    Exit status 3: B fails more requests or its p50 is worse; 4: too little data, or the results are not comparable.

    \b
    Examples:
      lightragctl bench compare http://127.0.0.1:8080 http://127.0.0.1:9080
      lightragctl bench compare local mine.yaml --rate 100 --margin 0.1
      lightragctl bench compare local mine.yaml --html compared.html
    """
    import msgspec

    from lightragctl.bench.experiments import compare_two
    from lightragctl.bench.run import terminated_as_interrupted
    from lightragctl.cli.bench import load_shape, report_files
    from lightragctl.cli.bench.live_panel import LoadPanel
    from lightragctl.release import benchmark

    files = report_files.ReportFiles(save, html, junit)
    files.check()
    check_sides(load, (a, b), session.options)
    shape = load_shape.steady(rate, concurrency, seconds)
    with session.out.live(LoadPanel()) as notify, terminated_as_interrupted():
        plans = []
        for source in benchmark.sides(session.release, load, (a, b), notify):
            most = benchmark.connections(source.release, source.load.url) if rate else concurrency or _CONCURRENCY
            plans.append(source.plan(shape, most))
        found = compare_two(plans[0], plans[1], rounds, margin, _watch(notify))
    found = msgspec.structs.replace(found, ended_at=benchmark.ended_at())
    return report_files.kept(found, f"bench compare of {load.kind}", files)


def report(
    session: Session,
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="Files written by --save.", show_default=False)
    ],
    html: Html = None,
    junit: Junit = None,
) -> Result:
    """Show saved reports, runs side by side. The exit status does not depend on their results.

    \b
    Examples:
      lightragctl bench report run.json
      lightragctl bench report before.json after.json --html both.html
      lightragctl bench report search.json compared.json --junit all.xml
    """
    from lightragctl.cli.bench import payloads, report_files

    wanted = report_files.ReportFiles(html=html, junit=junit)
    wanted.check()
    documents = report_files.read(files)
    return payloads.bench_report(documents, report_files.write(documents, wanted))


def _watch(notify: Notify) -> "Observer":
    from lightragctl.bench.experiments import Observer
    from lightragctl.release.benchmark import progress

    return Observer(progress(notify), lambda words: notify(Event(words)))


def _closed(seconds: float) -> "Shape":
    from lightragctl.bench.schedule import Closed

    return Closed(seconds)
