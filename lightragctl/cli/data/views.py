"""Table views of `ingest`, `retrieve`, `query` and `recordings`."""

import os
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from rich.console import RenderableType
from rich.text import Text

from lightragctl.cli.tables import Data, View, excerpt, table

_NAMED = 20
"""Documents named per line."""


def _ingest(data: Data) -> Iterator[RenderableType]:
    counts = ", ".join(f"{data[key]} {key}" for key in ("created", "updated", "unchanged", "skipped") if data[key])
    failed = f", {len(data['failed'])} failed" if data["failed"] else ""
    through = ", through lightrag-server" if data["through"] == "lightrag-server" else ""
    yield Text(f"{counts or 'nothing'}{failed}: {data['chunks']} chunks in {data['duration_s']:.1f} s{through}")
    if data["skipped_kinds"]:
        kinds = ", ".join(f"{count} {kind}" for kind, count in data["skipped_kinds"].items())
        yield Text(f"skipped (unsupported file type): {kinds}")
    yield from _omitted(data["omitted"])


def _omitted(documents: Sequence[Data]) -> Iterator[RenderableType]:
    """Content of documents that is not in the index, grouped by kind."""
    sources: dict[str, list[str]] = {}
    for one in documents:
        for what in one["content"]:
            sources.setdefault(what, []).append(_shown_source(one["source"]))
    for what, named in sources.items():
        more = f" and {len(named) - _NAMED} more (-o json)" if len(named) > _NAMED else ""
        yield Text(f"omitted: {what}: {', '.join(named[:_NAMED])}{more}")


def _shown_source(source: str) -> str:
    """A path below the working directory as a relative path."""
    here = Path.cwd()
    shown = os.path.relpath(source, here) if source.startswith(f"{here}/") else source
    return shown.replace("\n", "\\n")


def _hits(hits: Sequence[Data]) -> Iterator[RenderableType]:
    for number, hit in enumerate(hits, 1):
        order = "" if hit["chunk_order"] is None else f" #{hit['chunk_order']}"
        name = hit["entity"] or " - ".join(hit["relation"] or ())
        score = "" if hit["score"] is None else f"{hit['score']:.3f}  "
        head = Text(f"{number}. {score}", style="bold").append(f"{name}  " if name else "")
        yield head.append(f"{_shown_source(hit['source'])}{order}", style="cyan")
        yield Text(f"   {excerpt(hit['text'])}\n")


def _timing(timing_ms: Mapping[str, float]) -> Text:
    parts = ", ".join(f"{stage} {time_ms:.1f} ms" for stage, time_ms in timing_ms.items())
    return Text(parts, style="dim")


def _retrieve(data: Data) -> Iterator[RenderableType]:
    for one in data["entities"]:
        yield Text(one["name"], style="bold").append(f"  {one['type']}: {excerpt(one['text'])}", style="not bold")
    for one in data["relationships"]:
        yield Text(" - ".join(one["ends"]), style="bold").append(f"  {excerpt(one['text'])}", style="not bold")
    yield from _hits(data["hits"])
    if data["forwarded_to"]:
        yield Text(f"answered by {data['forwarded_to']}", style="dim")
    elif data["message"]:
        yield Text(data["message"])
    yield _timing(data["timing_ms"])


def _query(data: Data) -> Iterator[RenderableType]:
    yield Text(data["answer"])
    if data["truncated"]:
        yield Text("the answer is incomplete: the model stopped at its token limit or a filter", style="yellow")
    yield Text("")
    for citation in data["citations"]:
        yield Text(f"[{citation['marker']}] {_shown_source(citation['source'])}", style="cyan")
    through = f", through {data['forwarded_to']}" if data["forwarded_to"] else ""
    yield Text(f"answered by {data['model']}{through}", style="dim")
    yield _timing(data["timing_ms"])


def _recordings(data: Data) -> Iterator[RenderableType]:
    rows = []
    for one in data["recordings"]:
        at = datetime.fromtimestamp(one["at"], UTC).strftime("%Y-%m-%d %H:%M:%S")
        rows.append([at, one["workspace"], str(len(one["ids"])), f"{one['took_ms']:.0f} ms", excerpt(one["query"])])
    heads = ["TIME (UTC)", "WORKSPACE", "RESULTS", "DURATION", "QUESTION"]
    yield table(heads, rows) if rows else Text("no questions recorded yet")


VIEWS: Mapping[str, View] = {
    "ingest": _ingest,
    "retrieve": _retrieve,
    "query": _query,
    "recordings": _recordings,
}
