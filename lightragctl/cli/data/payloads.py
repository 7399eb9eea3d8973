"""Results of `ingest`, `retrieve`, `query` and `recordings`.

Pure; the only place that defines the keys of their payloads.
"""

from typing import TYPE_CHECKING

from lightragctl.core.errors import ExitStatus
from lightragctl.core.hint import Command, Hint
from lightragctl.core.result import ErrorInfo, Result, Status

if TYPE_CHECKING:
    from lightragctl.client.api import QueryAnswer, Retrieval
    from lightragctl.client.recordings import AllRecordings
    from lightragctl.ingest.load import Summary


def ingest(summary: "Summary", through: str) -> Result:
    """`ingest`: counts, the component used, one error per failed document, and omitted content."""
    data = {
        "through": through,
        "created": summary.created,
        "updated": summary.updated,
        "unchanged": summary.unchanged,
        "skipped": summary.skipped,
        "skipped_kinds": dict(summary.skipped_kinds),
        "failed": [failure._asdict() for failure in summary.failed],
        "omitted": [{"source": source, "content": list(what)} for source, what in summary.left_out],
        "chunks": summary.chunks,
        "duration_s": round(summary.seconds, 2),
        "chunks_per_s": round(summary.chunks_per_s, 1),
    }
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
    data = {"recordings": [one.model_dump(mode="json") for one in found.questions]}
    if not found.missing:
        return Result("recordings", data)
    errors = [ErrorInfo("replica-silent", one, Hint("see: ", Command("status"))) for one in found.missing]
    return Result("recordings", data, Status.PARTIAL, errors, ExitStatus.WARNINGS)
