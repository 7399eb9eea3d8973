"""ingest, retrieve, query, recordings: what goes into a release and what comes out."""

from typing import Annotated, Literal

import typer

from lightragctl.cli.options import Session
from lightragctl.core.result import Result

Workspace = Annotated[
    str | None, typer.Option("--workspace", "-w", metavar="NAME", help="Workspace. (default: the profile's)")
]
TopK = Annotated[int, typer.Option("--top-k", "-k", metavar="N", help="How many passages.", min=1)]
Filter = Annotated[
    str | None, typer.Option("--filter", metavar="EXPRESSION", help='Milvus filter, such as: file_path like "%.md"')
]
Kind = Annotated[
    Literal["chunks", "entities", "relationships"],
    typer.Option("--kind", help="Passages, or what lightrag-server made of them."),
]
Text = Annotated[str, typer.Argument(metavar="TEXT", help="The question.", show_default=False)]


def ingest(
    session: Session,
    paths: Annotated[
        list[str],
        typer.Argument(metavar="PATH...", help="Files, folders, globs, or - for standard input.", show_default=False),
    ],
    workspace: Workspace = None,
) -> Result:
    """Load documents: md, txt, rst, html, pdf, docx. What has not changed is skipped; interrupted, run it again.

    \b
    Examples:
      lightragctl ingest docs/
      lightragctl ingest 'manual/*.html' README.md
      cat notes.txt | lightragctl ingest -
    """
    from lightragctl.cli import results
    from lightragctl.cli.progress import showing_progress
    from lightragctl.ingest.load import load

    with showing_progress() as notify:
        summary = load(paths, session.api, workspace, notify)
    return results.ingest(summary)


def retrieve(
    session: Session,
    text: Text,
    top_k: TopK = 5,
    workspace: Workspace = None,
    filter: Filter = None,
    kind: Kind = "chunks",
) -> Result:
    """Find the passages, entities or relationships nearest to a text.

    \b
    Examples:
      lightragctl retrieve "how do I take a release down?"
      lightragctl retrieve 如何加载文档 -k 3 -o json
      lightragctl retrieve "vector index" --kind entities
    """
    from lightragctl.cli import results

    return results.retrieve(session.api.retrieve(text, top_k=top_k, workspace=workspace, filter=filter, kind=kind))


def query(session: Session, text: Text, top_k: TopK = 5, workspace: Workspace = None, filter: Filter = None) -> Result:
    """Answer a question from the passages, with citations.

    \b
    Examples:
      lightragctl query "what does down keep?"
    """
    from lightragctl.cli import results

    return results.query(session.api.query(text, top_k=top_k, workspace=workspace, filter=filter))


def recordings(
    session: Session,
    limit: Annotated[int, typer.Option("--limit", metavar="N", help="At most so many.", min=1)] = 20,
) -> Result:
    """Show the questions that were asked, newest first; the profile says whether they are recorded.

    \b
    Examples:
      lightragctl up --set components.lightrag-api.recording.ratio=0.1
      lightragctl recordings --limit 1000 -o json
    """
    from lightragctl.cli import results

    return results.recordings(session.api.recordings(limit))
