"""ingest, retrieve, query, recordings: what goes into a release and what comes out."""

from typing import Annotated, Literal

import typer

from lightragctl.cli.options import Session
from lightragctl.core.result import Result

Workspace = Annotated[
    str | None, typer.Option("--workspace", "-w", metavar="NAME", help="Workspace. (default: the profile's)")
]
TopK = Annotated[
    int | None,
    typer.Option("--top-k", "-k", metavar="N", help="How many passages. (default: 5, or the mode's)", min=1),
]
Mode = Annotated[
    Literal["nearest", "naive", "local", "global", "hybrid", "mix"],
    typer.Option("--mode", help="nearest, or one of LightRAG's: naive; local to mix go to lightrag-server."),
]
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
        typer.Argument(
            metavar="PATH...", help="Files, folders, globs, pipes, or - for standard input.", show_default=False
        ),
    ],
    workspace: Workspace = None,
    source: Annotated[
        str | None,
        typer.Option("--source", metavar="NAME", help="What a document from a pipe is called.", show_default=False),
    ] = None,
    encoding: Annotated[
        str | None,
        typer.Option(
            "--encoding",
            metavar="NAME",
            help="Of text and html without a byte-order mark. (default: UTF-8, or what can be told for sure)",
            show_default=False,
        ),
    ] = None,
) -> Result:
    """Load documents: md, txt, rst, html, pdf, docx. What has not changed is skipped; interrupted, run it again.

    They go through lightrag-server where the release has one, else through lightrag-api. What a document holds that
    is no text, or that its reader does not see, is left out and named.

    \b
    Examples:
      lightragctl ingest docs/
      lightragctl ingest 'manual/*.html' README.md
      cat notes.txt | lightragctl ingest - --source notes
      lightragctl ingest alt/ --encoding gb18030
    """
    from lightragctl.cli.data import payloads
    from lightragctl.cli.progress import showing_progress
    from lightragctl.core.errors import UnavailableError
    from lightragctl.ingest.encodings import named_encoding
    from lightragctl.ingest.load import LoadConditions, load
    from lightragctl.ingest.via_lightrag import load_into_lightrag

    conditions = LoadConditions(source=source, encoding="" if encoding is None else named_encoding(encoding))
    target = session.release.lightrag(workspace)
    try:
        with showing_progress() as notify:
            if target is not None:
                return payloads.ingest(load_into_lightrag(paths, target, notify, conditions), "lightrag-server")
            return payloads.ingest(load(paths, session.release.api, workspace, notify, conditions), "lightrag-api")
    except UnavailableError as error:
        again = "run the same command again: what is loaded already is skipped"
        raise UnavailableError(error.message, f"{error.hint}; then {again}" if error.hint else again) from error


def retrieve(
    session: Session,
    text: Text,
    top_k: TopK = None,
    workspace: Workspace = None,
    filter: Filter = None,
    kind: Kind = "chunks",
    mode: Mode = "nearest",
) -> Result:
    """Find the passages, entities or relationships nearest to a text.

    \b
    Examples:
      lightragctl retrieve "how do I take a release down?"
      lightragctl retrieve 如何加载文档 -k 3 -o json
      lightragctl retrieve "vector index" --kind entities
      lightragctl retrieve "vector index" --mode mix
    """
    from lightragctl.cli.data import payloads

    answer = session.release.api.retrieve(text, top_k, workspace=workspace, filter=filter, kind=kind, mode=mode)
    return payloads.retrieve(answer)


def query(
    session: Session,
    text: Text,
    top_k: TopK = None,
    workspace: Workspace = None,
    filter: Filter = None,
    mode: Mode = "nearest",
) -> Result:
    """Answer a question from the passages, with citations.

    \b
    Examples:
      lightragctl query "what does down keep?"
    """
    from lightragctl.cli.data import payloads

    return payloads.query(session.release.api.query(text, top_k, workspace=workspace, filter=filter, mode=mode))


def recordings(
    session: Session,
    limit: Annotated[int, typer.Option("--limit", metavar="N", help="At most so many.", min=1)] = 20,
) -> Result:
    """Show the questions that were asked, newest first, of all replicas; the profile says whether they are recorded.

    \b
    Examples:
      lightragctl up --set components.lightrag-api.recording.ratio=0.1
      lightragctl recordings --limit 1000 -o json
    """
    from lightragctl.cli.data import payloads

    return payloads.recordings(session.release.recordings(limit))
