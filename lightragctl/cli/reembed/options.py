"""Options of `reembed`: the new model, and how both are compared. Imports nothing slow, for --help."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from lightragctl.cli.deploy.commands import Timeout


@dataclass(frozen=True)
class Wanted:
    """The new model; None: not given."""

    model: Annotated[
        str | None,
        typer.Option("--model", metavar="NAME", help="Name of the new embedding model, as its server knows it."),
    ] = None
    dimension: Annotated[
        int | None,
        typer.Option("--dimension", metavar="N", help="Dimension of its vectors. (default: the present one)", min=2),
    ] = None
    to: Annotated[
        list[str] | None,
        typer.Option(
            "--to",
            metavar="KEY=VALUE",
            help="Further values of the new profile, such as models.embedding.url=URL; repeatable.",
        ),
    ] = None
    questions: Annotated[
        Path | None, typer.Option("--questions", metavar="FILE", help="Questions to compare both models with.")
    ] = None
    qrels: Annotated[
        Path | None,
        typer.Option("--qrels", metavar="FILE", help="Relevance judgements for --questions, in TREC qrels format."),
    ] = None
    max_drop: Annotated[
        float,
        typer.Option(
            "--max-drop",
            metavar="RATIO",
            help="By how much hit@5 of the judged questions may fall; more fails the operation.",
            min=0,
            max=1,
        ),
    ] = 0.05
    max_rate: Annotated[
        float | None,
        typer.Option(
            "--max-rate", metavar="N", help="Maximum number of texts per second. (default: no limit)", min=0.1
        ),
    ] = None
    undo: Annotated[
        bool, typer.Option("--undo", help="Return to the model before the last re-embedding, whose vectors are kept.")
    ] = False
    timeout_s: Timeout = 600.0
