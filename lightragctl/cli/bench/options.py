"""The options that say what load is put on what, and when, of the bench commands. Imports nothing slow, for --help."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import typer

from lightragctl.cli.options import GlobalOptions
from lightragctl.core.errors import UsageError
from lightragctl.release.load_spec import API_KEY, LoadSpec, Scenario, TargetKind, is_url


@dataclass(frozen=True)
class LoadOptions(LoadSpec):
    """The options that say what is asked, of every command that puts load on something."""

    kind: Annotated[
        TargetKind,
        typer.Option(
            "--target", help="What is asked: ours, OpenAI's, /query/data of lightrag-server, or Milvus directly."
        ),
    ] = LoadSpec.kind
    url: Annotated[str | None, typer.Option("--url", metavar="URL", help="Another service than the release's own.")] = (
        LoadSpec.url
    )
    model: Annotated[str | None, typer.Option("--model", metavar="NAME", help="Of --target embeddings and chat.")] = (
        LoadSpec.model
    )
    top_k: Annotated[
        int | None,
        typer.Option("--top-k", "-k", metavar="N", help="How many passages. (default: 10; of topics 5)", min=1),
    ] = LoadSpec.top_k
    api_key_file: Annotated[
        Path | None,
        typer.Option("--api-key-file", metavar="FILE", help=f"The key of --url; else ${API_KEY}, if it is set."),
    ] = LoadSpec.api_key_file
    timeout: Annotated[
        float, typer.Option("--timeout", metavar="SECONDS", help="How long an answer may take.", min=0.1, max=3600)
    ] = LoadSpec.timeout
    scenario: Annotated[
        Scenario | None,
        typer.Option(
            "--scenario",
            help="Whose questions: shipped with judgements (test-data, the default); 100 about three topics in 10 s; "
            "stored passages; recorded.",
        ),
    ] = LoadSpec.scenario
    questions: Annotated[
        Path | None,
        typer.Option("--questions", metavar="FILE", help="Your own: a line each, ID<TAB>QUESTION, or .jsonl."),
    ] = LoadSpec.questions
    qrels: Annotated[
        Path | None, typer.Option("--qrels", metavar="FILE", help="Judgements of --questions, as TREC writes them.")
    ] = LoadSpec.qrels
    distinct: Annotated[
        int | None,
        typer.Option("--distinct", metavar="N", help="Ask N different texts, which no cache knows.", min=1),
    ] = LoadSpec.distinct
    recall: Annotated[
        bool | None,
        typer.Option("--recall/--no-recall", help="Compare with exact search. (default: up to 100000 rows)"),
    ] = LoadSpec.recall
    workers: Annotated[int, typer.Option("--workers", metavar="N", help="Processes that send.", min=1)] = (
        LoadSpec.workers
    )
    spin: Annotated[bool, typer.Option("--spin/--no-spin", help="Burn processor time to send to the microsecond.")] = (
        LoadSpec.spin
    )


Rate = Annotated[
    float | None, typer.Option("--rate", metavar="N", help="Requests a second, whatever the answers do.", min=0.1)
]
Concurrency = Annotated[
    int | None,
    typer.Option("--concurrency", "-c", metavar="N", help="Without --rate: so many always wait. (default: 16)", min=1),
]


@dataclass(frozen=True)
class ShapeOptions:
    """The options that say when requests go; None: not given."""

    rate: Rate = None
    concurrency: Concurrency = None
    duration: Annotated[
        float | None,
        typer.Option("--duration", metavar="SECONDS", help="How long. (default: 20; of topics 10)", min=1),
    ] = None
    arrivals: Annotated[
        Literal["poisson", "constant", "ramp", "replay"] | None,
        typer.Option(
            "--arrivals",
            help="How requests of --rate come; ramp: from 0 to it; replay: as recorded. (default: poisson)",
        ),
    ] = None
    speed: Annotated[
        float | None, typer.Option("--speed", metavar="N", help="Of replay: so many times as fast.", min=0.01)
    ] = None


def check_sides(load: LoadSpec, sides: Sequence[str], options: GlobalOptions) -> None:
    """Look for options that a comparison has no use for.

    Raises:
        UsageError: there is one.
    """
    unused = {"--url": load.url, "--qrels": load.qrels, "--recall and --no-recall": load.recall}
    for name, value in unused.items():
        if value is not None:
            raise UsageError(f"a comparison has no use for {name}", "it compares times of A and B alone")
    profiles = [side for side in sides if not is_url(side)]
    if options.name is not None and profiles:
        message = f"--name names one release, and '{profiles[0]}' is compared under its profile's name"
        raise UsageError(message, "leave --name out; give the address of a release under another name: see status")
    if options.profile is not None and len(profiles) == len(sides):
        raise UsageError("both sides name their profiles, so that --profile is of no use", "leave it out")
    if load.api_key_file is not None and not any(map(is_url, sides)):
        raise UsageError("--api-key-file is for a URL, and both sides are profiles", "leave it out")
