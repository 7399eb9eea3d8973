"""Options of the bench commands: target, questions and load shape. Imports nothing slow, for --help."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import typer

from lightragctl.cli.options import GlobalOptions
from lightragctl.core.errors import UsageError
from lightragctl.core.hint import Command, Hint
from lightragctl.release.load_spec import API_KEY, LoadSpec, Scenario, TargetKind, is_url


@dataclass(frozen=True)
class LoadOptions(LoadSpec):
    """What to load-test and with which questions; options of all load tests."""

    kind: Annotated[
        TargetKind,
        typer.Option(
            "--target",
            help="API to load-test: lightrag-api's, OpenAI's, /query/data of lightrag-server, or Milvus itself.",
        ),
    ] = LoadSpec.kind
    url: Annotated[
        str | None, typer.Option("--url", metavar="URL", help="Service to load-test, instead of the release's own.")
    ] = LoadSpec.url
    model: Annotated[
        str | None, typer.Option("--model", metavar="NAME", help="Model name for --target embeddings and chat.")
    ] = LoadSpec.model
    top_k: Annotated[
        int | None,
        typer.Option(
            "--top-k", "-k", metavar="N", help="Number of passages to request. (default: 10; for topics 5)", min=1
        ),
    ] = LoadSpec.top_k
    api_key_file: Annotated[
        Path | None,
        typer.Option("--api-key-file", metavar="FILE", help=f"File with the API key of --url. (default: ${API_KEY})"),
    ] = LoadSpec.api_key_file
    timeout: Annotated[
        float, typer.Option("--timeout", metavar="SECONDS", help="Timeout of one request.", min=0.1, max=3600)
    ] = LoadSpec.timeout
    scenario: Annotated[
        Scenario | None,
        typer.Option(
            "--scenario",
            help="Source of the questions: shipped ones with judgements (test-data, the default); 100 about three "
            "topics in 10 s (topics); stored passages (collection); recorded ones (recordings).",
        ),
    ] = LoadSpec.scenario
    questions: Annotated[
        Path | None,
        typer.Option(
            "--questions", metavar="FILE", help="File with questions: one per line, ID<TAB>QUESTION, or .jsonl."
        ),
    ] = LoadSpec.questions
    qrels: Annotated[
        Path | None,
        typer.Option("--qrels", metavar="FILE", help="Relevance judgements for --questions, in TREC qrels format."),
    ] = LoadSpec.qrels
    distinct: Annotated[
        int | None,
        typer.Option("--distinct", metavar="N", help="Send N distinct questions, so that caches do not answer.", min=1),
    ] = LoadSpec.distinct
    recall: Annotated[
        bool | None,
        typer.Option("--recall/--no-recall", help="Measure recall against exact search. (default: up to 100000 rows)"),
    ] = LoadSpec.recall
    workers: Annotated[
        int, typer.Option("--workers", metavar="N", help="Number of load-generating processes.", min=1)
    ] = LoadSpec.workers
    spin: Annotated[
        bool, typer.Option("--spin/--no-spin", help="Busy-wait for microsecond accuracy of send times.")
    ] = LoadSpec.spin


Rate = Annotated[
    float | None,
    typer.Option("--rate", metavar="N", help="Open loop: requests per second, independent of the answers.", min=0.1),
]
Concurrency = Annotated[
    int | None,
    typer.Option(
        "--concurrency",
        "-c",
        metavar="N",
        help="Closed loop: requests kept in flight (without --rate). (default: 16)",
        min=1,
    ),
]


@dataclass(frozen=True)
class ShapeOptions:
    """Load shape options; None: not given."""

    rate: Rate = None
    concurrency: Concurrency = None
    duration: Annotated[
        float | None,
        typer.Option(
            "--duration", metavar="SECONDS", help="Duration of the measurement. (default: 20; for topics 10)", min=1
        ),
    ] = None
    arrivals: Annotated[
        Literal["poisson", "constant", "ramp", "replay"] | None,
        typer.Option(
            "--arrivals",
            help="Arrival process of --rate; ramp: from 0 to the rate; replay: at recorded times. (default: poisson)",
        ),
    ] = None
    speed: Annotated[
        float | None, typer.Option("--speed", metavar="N", help="Speed-up factor of a replay.", min=0.01)
    ] = None


def check_sides(load: LoadSpec, sides: Sequence[str], options: GlobalOptions) -> None:
    """Reject options that do not apply to a comparison.

    Raises:
        UsageError: one was given.
    """
    unused = {"--url": load.url, "--qrels": load.qrels, "--recall and --no-recall": load.recall}
    for name, value in unused.items():
        if value is not None:
            raise UsageError(f"{name} does not apply to a comparison", "a comparison measures only times of A and B")
    profiles = [side for side in sides if not is_url(side)]
    if options.name is not None and profiles:
        message = f"--name does not apply to '{profiles[0]}': a profile is compared under the release name of its own"
        raise UsageError(
            message, Hint("omit --name; to compare a release of another name, use its URL: ", Command("status"))
        )
    if options.profile is not None and len(profiles) == len(sides):
        raise UsageError("--profile does not apply: both sides are profiles", "omit it")
    if load.api_key_file is not None and not any(map(is_url, sides)):
        raise UsageError("--api-key-file does not apply: neither side is a URL", "omit it")
