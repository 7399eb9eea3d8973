"""The options that say what load is put on what, and when, of the bench commands. Imports nothing slow, for --help."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import typer

from lightragctl.core.errors import UsageError

API_KEY = "LIGHTRAGCTL_BENCH_API_KEY"
_TOPICS_TOP_K = 5
_TOP_K = 10


@dataclass(frozen=True)
class LoadOptions:
    """The options that say what is asked, of every command that puts load on something."""

    kind: Annotated[
        Literal["retrieve", "query", "embeddings", "chat", "lightrag", "milvus"],
        typer.Option(
            "--target", help="What is asked: ours, OpenAI's, /query/data of lightrag-server, or Milvus directly."
        ),
    ] = "retrieve"
    url: Annotated[str | None, typer.Option("--url", metavar="URL", help="Another service than the release's own.")] = (
        None
    )
    model: Annotated[str | None, typer.Option("--model", metavar="NAME", help="Of --target embeddings and chat.")] = (
        None
    )
    top_k: Annotated[
        int | None,
        typer.Option("--top-k", "-k", metavar="N", help="How many passages. (default: 10; of topics 5)", min=1),
    ] = None
    api_key_file: Annotated[
        Path | None,
        typer.Option("--api-key-file", metavar="FILE", help=f"The key of --url; else ${API_KEY}, if it is set."),
    ] = None
    timeout: Annotated[
        float, typer.Option("--timeout", metavar="SECONDS", help="How long an answer may take.", min=0.1, max=3600)
    ] = 30.0
    scenario: Annotated[
        Literal["test-data", "topics", "collection", "recordings"] | None,
        typer.Option(
            "--scenario",
            help="Whose questions: shipped with judgements (test-data, the default); 100 about three topics in 10 s; "
            "stored passages; recorded.",
        ),
    ] = None
    questions: Annotated[
        Path | None,
        typer.Option("--questions", metavar="FILE", help="Your own: a line each, ID<TAB>QUESTION, or .jsonl."),
    ] = None
    qrels: Annotated[
        Path | None, typer.Option("--qrels", metavar="FILE", help="Judgements of --questions, as TREC writes them.")
    ] = None
    distinct: Annotated[
        int | None,
        typer.Option("--distinct", metavar="N", help="Ask N different texts, which no cache knows.", min=1),
    ] = None
    recall: Annotated[
        bool | None,
        typer.Option("--recall/--no-recall", help="Compare with exact search. (default: up to 100000 rows)"),
    ] = None
    workers: Annotated[int, typer.Option("--workers", metavar="N", help="Processes that send.", min=1)] = 1
    spin: Annotated[bool, typer.Option("--spin/--no-spin", help="Burn processor time to send to the microsecond.")] = (
        False
    )

    def check(self) -> None:
        """Look for options that the others make meaningless.

        Raises:
            UsageError: there is one.
        """
        if self.questions is not None and self.scenario is not None:
            raise UsageError("--questions are asked in the place of those of a --scenario", "give one of them")
        if self.model is not None and self.kind not in ("embeddings", "chat"):
            raise UsageError(f"--target {self.kind} takes no --model", "leave it out, or say --target chat")
        if self.api_key_file is not None and (self.url is None or self.kind == "milvus"):
            hint = "leave it out: a release's own key is known, and Milvus has none"
            raise UsageError("--api-key-file is for another service, with --url", hint)

    @property
    def is_topics(self) -> bool:
        """Whether the questions are the shipped ones about three topics."""
        return self.scenario == "topics" and self.questions is None

    @property
    def k(self) -> int:
        """How many passages are asked for."""
        return self.top_k or (_TOPICS_TOP_K if self.is_topics else _TOP_K)


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
