"""bench run: load on lightrag-api or another service."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from lightragctl.cli.options import Session
from lightragctl.core.result import Result

if TYPE_CHECKING:
    from lightragctl.bench.schedule import Shape


_WARM_UP_S = 10.0
"""At most: it ends when three seconds agree."""


def run(
    session: Session,
    rate: Annotated[
        float | None,
        typer.Option("--rate", metavar="N", help="Requests a second, whatever the answers do.", min=0.1),
    ] = None,
    concurrency: Annotated[
        int, typer.Option("--concurrency", "-c", metavar="N", help="Without --rate: so many always wait.", min=1)
    ] = 16,
    duration: Annotated[float, typer.Option("--duration", metavar="SECONDS", help="How long.", min=1)] = 20.0,
    arrivals: Annotated[
        Literal["poisson", "constant"], typer.Option("--arrivals", help="How requests of --rate come.")
    ] = "poisson",
    kind: Annotated[
        Literal["retrieve", "query", "embeddings", "chat", "lightrag"],
        typer.Option("--target", help="What is asked: ours, OpenAI's, or /query/data of lightrag-server."),
    ] = "retrieve",
    url: Annotated[
        str | None, typer.Option("--url", metavar="URL", help="Another service than the release's lightrag-api.")
    ] = None,
    model: Annotated[
        str | None, typer.Option("--model", metavar="NAME", help="Of --target embeddings and chat.")
    ] = None,
    top_k: Annotated[int, typer.Option("--top-k", "-k", metavar="N", help="How many passages.", min=1)] = 5,
    scenario: Annotated[
        Literal["test-data", "topics"],
        typer.Option("--scenario", help="Shipped questions; topics: 100 of them in 10 s, one after the other."),
    ] = "test-data",
    questions: Annotated[
        Path | None, typer.Option("--questions", metavar="FILE", help="Questions of your own, one a line.")
    ] = None,
    workers: Annotated[int, typer.Option("--workers", metavar="N", help="Processes that send.", min=1)] = 1,
    spin: Annotated[
        bool, typer.Option("--spin/--no-spin", help="Burn processor time to send to the microsecond.")
    ] = False,
    thresholds: Annotated[
        str, typer.Option("--thresholds", metavar="LIST", help="Exit with 3 unless kept: p99<100ms,errors<0.1%")
    ] = "",
    save: Annotated[
        Path | None, typer.Option("--save", metavar="FILE", help="The whole report as JSON, with histograms.")
    ] = None,
) -> Result:
    """Put load on the release and tell what it holds, and whether to believe it.

    Latency counts from when a request was due, so a service that stalls is charged for all that waited.

    \b
    Examples:
      lightragctl bench
      lightragctl bench run --rate 200 --duration 60 --thresholds 'p99<100ms,errors<0.1%'
      lightragctl bench run --scenario topics
      lightragctl bench run --target chat --url http://127.0.0.1:8082 --model mock-llm
    """
    from lightragctl.bench import thresholds as limits
    from lightragctl.bench.plan import LoadPlan, WarmUp
    from lightragctl.cli import benching, results

    wanted = limits.parse(thresholds)
    asked = benching.asked(questions, scenario)
    target = benching.target(session, kind, url, {"top_k": top_k, "model": model})
    shape = _topics() if scenario == "topics" and questions is None else _shape(rate, arrivals, duration)
    connections = benching.most_connections(session, url) if rate else concurrency
    warm_up = WarmUp(_WARM_UP_S)
    plan = LoadPlan(target, asked, shape, connections, workers, spin=spin, warm_up=warm_up)
    with session.out.live() as notify:
        measured = benching.measured(plan, notify)
    if save is not None:
        benching.save(measured, save)
    return results.bench_run(measured, limits.broken(wanted, measured.report))


def _shape(rate: float | None, arrivals: str, duration_s: float) -> "Shape":
    from lightragctl.bench.schedule import Closed, Constant, Poisson

    if rate is None:
        return Closed(duration_s)
    return Poisson(rate, duration_s) if arrivals == "poisson" else Constant(rate, duration_s)


def _topics() -> "Shape":
    from lightragctl.bench.schedule import Constant

    return Constant(10.0, 10.0)
