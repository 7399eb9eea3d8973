"""bench run, saturate, compare, report: load on lightrag-api or another service, and what was saved again."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from lightragctl.cli.load_options import LoadOptions
from lightragctl.cli.options import Session
from lightragctl.core.result import Event, Notify, Result

if TYPE_CHECKING:
    from lightragctl.bench.schedule import Shape
    from lightragctl.bench.series import Watch
    from lightragctl.cli.benching import Source


_WARM_UP_S = 10.0
"""At most: it ends when three seconds agree."""

Rate = Annotated[
    float | None, typer.Option("--rate", metavar="N", help="Requests a second, whatever the answers do.", min=0.1)
]
Concurrency = Annotated[
    int, typer.Option("--concurrency", "-c", metavar="N", help="Without --rate: so many always wait.", min=1)
]
Save = Annotated[Path | None, typer.Option("--save", metavar="FILE", help="The whole report as JSON.")]
Html = Annotated[
    Path | None, typer.Option("--html", metavar="FILE", help="Figures and charts as one HTML file, to be read offline.")
]
Junit = Annotated[
    Path | None, typer.Option("--junit", metavar="FILE", help="Thresholds and verdict as JUnit's XML, for CI systems.")
]


def run(
    session: Session,
    load: LoadOptions,
    rate: Rate = None,
    concurrency: Concurrency = 16,
    duration: Annotated[float, typer.Option("--duration", metavar="SECONDS", help="How long.", min=1)] = 20.0,
    arrivals: Annotated[
        Literal["poisson", "constant", "ramp", "replay"],
        typer.Option("--arrivals", help="How requests of --rate come; ramp: from 0 to it; replay: as recorded."),
    ] = "poisson",
    speed: Annotated[
        float, typer.Option("--speed", metavar="N", help="Of replay: so many times as fast.", min=0.01)
    ] = 1.0,
    thresholds: Annotated[
        str, typer.Option("--thresholds", metavar="LIST", help="Exit with 3 unless kept: p99<100ms,recall>=0.9")
    ] = "",
    save: Save = None,
    html: Html = None,
    junit: Junit = None,
) -> Result:
    """Put load on the release and tell what it holds, how good its answers are, and whether to believe it.

    Latency counts from when a request was due, so a service that stalls is charged for all that waited.

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
    from lightragctl.cli import benching, reporting, results
    from lightragctl.cli.loadpanel import LoadPanel

    wanted, files = limits.parse(thresholds), reporting.Files(save, html, junit)
    files.check()
    with session.out.live(LoadPanel()) as notify:
        source = benching.Source(session, load, notify)
        shape = _shape(source, rate, arrivals, duration, speed)
        is_closed = rate is None and arrivals != "replay" and not load.is_topics
        most = concurrency if is_closed else benching.connections(session, load.url)
        plan = msgspec.structs.replace(source.plan(shape, most), warm_up=WarmUp(_WARM_UP_S))
        measured = benching.measured(plan, source.replicas, notify)
        measured = msgspec.structs.replace(measured, report=source.judged(measured.report)).against(wanted)
    reporting.write({f"bench run of {load.kind}": measured}, files)
    return results.bench(measured)


def saturate(
    session: Session,
    load: LoadOptions,
    slo: Annotated[str, typer.Option("--slo", metavar="LIST", help="What must be kept to.")] = "p99<100ms,errors<0.1%",
    step: Annotated[
        float, typer.Option("--step", metavar="SECONDS", help="How long each rate is measured at least.", min=2)
    ] = 10.0,
    first: Annotated[
        float | None,
        typer.Option("--from", metavar="N", help="The rate to begin with. (default: found out)", min=0.5),
    ] = None,
    save: Save = None,
    html: Html = None,
    junit: Junit = None,
) -> Result:
    """Find the highest rate at which a service keeps to its thresholds, between two rates that are 5 % apart.

    Both ends are measured twice at least. A percentile must be kept to with its upper 95 % bound.

    \b
    Examples:
      lightragctl bench saturate
      lightragctl bench saturate --slo 'p99<100ms,errors<0.1%,recall>=0.9' --distinct 100000
      lightragctl bench saturate --save search.json --html search.html
    """
    import msgspec

    from lightragctl.bench import thresholds as limits
    from lightragctl.bench.series import Search, find_saturation
    from lightragctl.cli import benching, reporting, results
    from lightragctl.cli.loadpanel import LoadPanel
    from lightragctl.core.errors import UsageError

    wanted = limits.parse(slo)
    if not wanted:
        raise UsageError("without thresholds every rate holds", "such as --slo 'p99<100ms,errors<0.1%'")
    files = reporting.Files(save, html, junit)
    files.check()
    needs_quality = any(one.figure in limits.QUALITY for one in wanted)
    with session.out.live(LoadPanel()) as notify:
        source = benching.Source(session, load, notify)
        plan = source.plan(_closed(step), benching.connections(session, load.url))
        judge = source.judged if needs_quality else lambda report: report
        found = find_saturation(plan, Search(wanted, step, first, judge), _watch(notify))
    found = msgspec.structs.replace(found, ended_at=benching.ended_at())
    reporting.write({f"bench saturate of {load.kind}": found}, files)
    return results.bench(found)


def compare(
    session: Session,
    load: LoadOptions,
    a: Annotated[str, typer.Argument(metavar="A", help="The baseline: a URL, or a profile whose release is up.")],
    b: Annotated[str, typer.Argument(metavar="B", help="The candidate.")],
    rate: Rate = None,
    concurrency: Concurrency = 16,
    rounds: Annotated[int, typer.Option("--rounds", metavar="N", help="Each measures both.", min=2)] = 10,
    seconds: Annotated[float, typer.Option("--seconds", metavar="SECONDS", help="Of one measurement.", min=1)] = 5.0,
    margin: Annotated[
        float, typer.Option("--margin", metavar="RATIO", help="The shift that matters.", min=0.001, max=10)
    ] = 0.05,
    save: Save = None,
    html: Html = None,
    junit: Junit = None,
) -> Result:
    """Measure two services in turn and tell whether the second is better or worse, or that the data do not tell.

    The status is 3 when the p50 of B is worse, 4 when there are not enough data.

    \b
    Examples:
      lightragctl bench compare http://127.0.0.1:8080 http://127.0.0.1:9080
      lightragctl bench compare local mine.yaml --rate 100 --margin 0.1
      lightragctl bench compare local mine.yaml --html compared.html
    """
    import msgspec

    from lightragctl.bench.series import compare_two
    from lightragctl.cli import benching, reporting, results
    from lightragctl.cli.loadpanel import LoadPanel

    files = reporting.Files(save, html, junit)
    files.check()
    with session.out.live(LoadPanel()) as notify:
        plans = []
        for text in (a, b):
            side, url = benching.service(session, text)
            source = benching.Source(side, replace(load, url=url), notify)
            most = benching.connections(side, url) if rate else concurrency
            plans.append(source.plan(_steady(rate, seconds), most))
        found = compare_two(plans[0], plans[1], rounds, margin, _watch(notify))
    found = msgspec.structs.replace(found, ended_at=benching.ended_at())
    reporting.write({f"bench compare of {load.kind}": found}, files)
    return results.bench(found)


def report(
    session: Session,
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Of --save.", show_default=False)],
    html: Html = None,
    junit: Junit = None,
) -> Result:
    """Show what was saved again, runs side by side; its exit status does not judge them.

    \b
    Examples:
      lightragctl bench report run.json
      lightragctl bench report before.json after.json --html both.html
      lightragctl bench report search.json compared.json --junit all.xml
    """
    from lightragctl.cli import reporting, results

    wanted = reporting.Files(html=html, junit=junit)
    wanted.check()
    documents = reporting.read(files)
    return results.bench_report(documents, reporting.write(documents, wanted))


def _watch(notify: Notify) -> "Watch":
    from lightragctl.bench.series import Watch
    from lightragctl.cli.benching import progress

    return Watch(progress(notify), lambda words: notify(Event(words)))


def _shape(source: "Source", rate: float | None, arrivals: str, duration_s: float, speed: float) -> "Shape":
    from lightragctl.bench.schedule import Constant, Poisson, Ramp, Replay
    from lightragctl.core.errors import UsageError

    if arrivals == "replay":
        if not source.asked.instants_s:
            raise UsageError("only recorded questions have instants to replay", "say --scenario recordings")
        return Replay(source.asked.instants_s, speed)
    if source.load.is_topics:
        return Constant(10.0, 10.0)
    if rate is None:
        return _closed(duration_s)
    match arrivals:
        case "ramp":
            return Ramp(0.0, rate, duration_s)
        case "constant":
            return Constant(rate, duration_s)
        case _:
            return Poisson(rate, duration_s)


def _steady(rate: float | None, seconds: float) -> "Shape":
    from lightragctl.bench.schedule import Poisson

    return _closed(seconds) if rate is None else Poisson(rate, seconds)


def _closed(seconds: float) -> "Shape":
    from lightragctl.bench.schedule import Closed

    return Closed(seconds)
