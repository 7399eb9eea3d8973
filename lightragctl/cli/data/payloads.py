"""Results of `ingest`, `retrieve`, `query` and `recordings`.

Pure; the only place that defines the keys of their payloads.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lightragctl.core.errors import ExitStatus
from lightragctl.core.hint import Command, Hint
from lightragctl.core.result import ErrorInfo, Result, Status

if TYPE_CHECKING:
    from lightragctl.client.api import QueryAnswer, Retrieval
    from lightragctl.client.recordings import AllRecordings
    from lightragctl.ingest.load import Summary


@dataclass(frozen=True)
class OmittedContent:
    """Content of a document that is not in the index."""

    source: str
    content: Sequence[str]


@dataclass(frozen=True)
class IngestPayload:
    """Counts of documents; `through`: the component that processed them."""

    through: str
    created: int
    updated: int
    unchanged: int
    skipped: int
    skipped_kinds: Mapping[str, int]
    failed: Sequence[Mapping[str, Any]]
    omitted: Sequence[OmittedContent]
    chunks: int
    duration_s: float
    chunks_per_s: float


@dataclass(frozen=True)
class RecordingsPayload:
    """Recorded questions, newest first."""

    recordings: Sequence[Mapping[str, Any]]


def ingest(summary: "Summary", through: str) -> Result:
    """`ingest`: counts, the component used, one error per failed document, and omitted content."""
    data = IngestPayload(
        through=through,
        created=summary.created,
        updated=summary.updated,
        unchanged=summary.unchanged,
        skipped=summary.skipped,
        skipped_kinds=dict(summary.skipped_kinds),
        failed=[failure._asdict() for failure in summary.failed],
        omitted=[OmittedContent(source, list(what)) for source, what in summary.left_out],
        chunks=summary.chunks,
        duration_s=round(summary.seconds, 2),
        chunks_per_s=round(summary.chunks_per_s, 1),
    )
    if not summary.failed:
        return Result("ingest", data)
    errors = [ErrorInfo("document", f"{one.source}: {one.reason}", one.hint) for one in summary.failed]
    stands = summary.created + summary.updated + summary.unchanged
    return Result("ingest", data, Status.PARTIAL if stands else Status.FAILED, errors, ExitStatus.FAILED)


def retrieve(answer: "Retrieval") -> Result:
    """`retrieve`: the hits, best first."""
    message = ""
    if not answer.hits and not answer.forwarded_to:
        load = Command("ingest", "PATH")
        message = Hint(f"no passage of workspace {answer.workspace} matches; load documents: ", load)
    return Result("retrieve", {**answer.model_dump(mode="json"), "message": message})


def query(answer: "QueryAnswer") -> Result:
    """`query`: the answer with its citations."""
    return Result("query", answer.model_dump(mode="json"))


def recordings(found: "AllRecordings") -> Result:
    """`recordings`: the questions, newest first; exit status 4 when a replica did not answer."""
    data = RecordingsPayload([one.model_dump(mode="json") for one in found.questions])
    if not found.missing:
        return Result("recordings", data)
    errors = [ErrorInfo("replica-silent", one, Hint("see: ", Command("status"))) for one in found.missing]
    return Result("recordings", data, Status.PARTIAL, errors, ExitStatus.WARNINGS)
