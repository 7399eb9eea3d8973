"""ingest, retrieve, query, recordings: load documents into a release and query it."""

from typing import Annotated, Literal

import typer

from lightragctl.cli.options import Session
from lightragctl.core.result import Result

Workspace = Annotated[
    str | None,
    typer.Option("--workspace", "-w", metavar="NAME", help="Workspace of the documents. (default: the profile's)"),
]
TopK = Annotated[
    int | None,
    typer.Option("--top-k", "-k", metavar="N", help="Number of passages to return. (default: 5, or the mode's)", min=1),
]
Mode = Annotated[
    Literal["nearest", "naive", "local", "global", "hybrid", "mix"],
    typer.Option(
        "--mode",
        help="Retrieval mode: nearest, or one of LightRAG's; local, global, hybrid and mix need lightrag-server.",
    ),
]
Filter = Annotated[
    str | None,
    typer.Option("--filter", metavar="EXPRESSION", help='Milvus filter expression, such as: file_path like "%.md"'),
]
Kind = Annotated[
    Literal["chunks", "entities", "relationships"],
    typer.Option(
        "--kind", help="What to search: passages, or the entities and relationships that lightrag-server extracted."
    ),
]
Text = Annotated[
    str, typer.Argument(metavar="TEXT", help="Text to search for, or question to answer.", show_default=False)
]


def ingest(
    session: Session,
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="PATH...",
            help="Files, folders, globs, pipes, or - for standard input.",
            show_default=False,
        ),
    ],
    workspace: Workspace = None,
    source: Annotated[
        str | None,
        typer.Option(
            "--source", metavar="NAME", help="Source name of a document read from a pipe.", show_default=False
        ),
    ] = None,
    encoding: Annotated[
        str | None,
        typer.Option(
            "--encoding",
            metavar="NAME",
            help="Encoding of text and HTML files without a byte-order mark. (default: UTF-8, else detected)",
            show_default=False,
        ),
    ] = None,
) -> Result:
    """Load documents (md, txt, rst, html, pdf, docx). Unchanged ones are skipped; run it again to resume.

    Documents are processed by lightrag-server if the release has one, otherwise by lightrag-api. Content that cannot
    be read as text is omitted and reported.

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
    from lightragctl.core.hint import Hint
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
        again = "run the same command again: documents that are loaded already are skipped"
        raise UnavailableError(error.message, Hint(error.hint, "; then ", again) if error.hint else again) from error


def retrieve(
    session: Session,
    text: Text,
    top_k: TopK = None,
    workspace: Workspace = None,
    filter: Filter = None,
    kind: Kind = "chunks",
    mode: Mode = "nearest",
) -> Result:
    """Search for the passages, entities or relationships nearest to a text.

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
    """Answer a question from the nearest passages, with citations.

    \b
    Examples:
      lightragctl query "what does down keep?"
    """
    from lightragctl.cli.data import payloads

    return payloads.query(session.release.api.query(text, top_k, workspace=workspace, filter=filter, mode=mode))


def recordings(
    session: Session,
    limit: Annotated[int, typer.Option("--limit", metavar="N", help="Maximum number of questions.", min=1)] = 20,
) -> Result:
    """List recorded questions of all replicas, newest first. Recording is off unless the profile enables it.

    \b
    Examples:
      lightragctl up --set components.lightrag-api.recording.ratio=0.1
      lightragctl recordings --limit 1000 -o json
    """
    from lightragctl.cli.data import payloads

    return payloads.recordings(session.release.recordings(limit))
