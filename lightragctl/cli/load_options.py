"""The options that say what load is put on what, of every bench command. Imports nothing slow, for --help."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import typer

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
    scenario: Annotated[
        Literal["test-data", "topics", "collection", "recordings"],
        typer.Option(
            "--scenario",
            help="Whose questions: shipped with judgements; 100 about three topics in 10 s; stored passages; recorded.",
        ),
    ] = "test-data"
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

    @property
    def is_topics(self) -> bool:
        """Whether the questions are the shipped ones about three topics."""
        return self.scenario == "topics" and self.questions is None

    @property
    def k(self) -> int:
        """How many passages are asked for."""
        return self.top_k or (_TOPICS_TOP_K if self.is_topics else _TOP_K)
