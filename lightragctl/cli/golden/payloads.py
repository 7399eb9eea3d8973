"""Results of `golden`. Pure; the only place that defines the keys of their payloads."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from lightragctl.core.errors import ExitStatus
from lightragctl.core.hint import Command, Hint
from lightragctl.core.result import ErrorInfo, Result, Status

if TYPE_CHECKING:
    from lightragctl.quality.golden import GoldenReport, GoldenSet, Head
    from lightragctl.quality.golden_store import BuildResult


def _golden(workspace: str, head: "Head") -> dict[str, Any]:
    plain = head.model_dump(mode="json", exclude={"digest", "held"})
    return {"workspace": workspace, **plain, "content": head.held.model_dump(mode="json")}


def golden_build(workspace: str, built: "BuildResult") -> Result:
    """`golden build`: the new set; exit status 4 when queries were omitted."""
    data = {**_golden(workspace, built.golden.head), "omitted_queries": built.left_out}
    if not built.left_out:
        return Result("golden build", data)
    message = f"{built.left_out} queries were omitted: too long, or too many passages at the same distance"
    return Result("golden build", data, Status.PARTIAL, (ErrorInfo("omitted", message),), ExitStatus.WARNINGS)


def golden_show(workspace: str, known: "GoldenSet", versions: Sequence[int]) -> Result:
    """`golden show`: the set, and the stored versions."""
    head = known.head
    queries = [
        {
            "number": number,
            "origin": one.query.origin,
            "text": one.query.text,
            "row": one.query.row,
            "nearest": list(one.neighbours.ids[: head.k]),
        }
        for number, one in enumerate(known.answers, 1)
    ]
    return Result("golden show", {**_golden(workspace, head), "versions": list(versions), "queries": queries})


_FIGURES = {
    "recall": "recall of the index",
    "end_to_end": "recall through lightrag-api",
    "overlap": "overlap with the answers at build time",
}


@dataclass(frozen=True)
class CheckPayload:
    """The result of `golden check`."""

    workspace: str
    version: int
    built_at: int
    content: Mapping[str, Any]
    k: int
    scanned: bool
    stale: Sequence[str]
    changed_answers: int
    modified_during_check: bool
    figures: Sequence[Mapping[str, Any]]
    worst: Sequence[Mapping[str, Any]]


def golden_check(workspace: str, report: "GoldenReport") -> Result:
    """`golden check`: exit status 3 below a minimum, 4 when the queries are too few or rows have changed."""
    data = CheckPayload(
        workspace=workspace,
        version=report.head.version,
        built_at=report.head.built_at,
        content=report.held.model_dump(mode="json"),
        k=report.k,
        scanned=report.scanned,
        stale=list(report.stale),
        changed_answers=report.others,
        modified_during_check=report.moving,
        figures=[{**asdict(one), "interval": list(one.interval)} for one in report.figures],
        worst=[asdict(one) for one in report.worst],
    )
    below = [one for one in report.figures if one.verdict == "below"]
    errors = [ErrorInfo("below-floor", f"{_FIGURES[one.name]} is below {one.floor:g}: {one.mean:.3f}") for one in below]
    warnings = [*_unsure(workspace, report), *_outdated(workspace, report)]
    if errors:
        return Result("golden check", data, Status.FAILED, (*errors, *warnings), ExitStatus.CHECKS_FAILED)
    if warnings:
        return Result("golden check", data, Status.PARTIAL, warnings, ExitStatus.WARNINGS)
    return Result("golden check", data)


def _unsure(workspace: str, report: "GoldenReport") -> list[ErrorInfo]:
    found = []
    for one in report.figures:
        if one.verdict == "inconclusive":
            need = "" if one.needed is None else f"; about {one.needed} would suffice"
            message = f"{one.queries} queries are too few to decide whether {_FIGURES[one.name]} is {one.floor:g}{need}"
            more = "--questions FILE" if one.name == "end_to_end" else "--sample N"
            found.append(
                ErrorInfo(
                    "too-few", message, Hint("build a larger set: ", Command("golden build", f"-w {workspace} {more}"))
                )
            )
    return found


def _outdated(workspace: str, report: "GoldenReport") -> list[ErrorInfo]:
    found = []
    if report.stale:
        others = f"{report.others} of {report.head.queries} queries have a different correct answer now"
        message = f"the golden set does not match the workspace's content: {'; '.join(report.stale)}; {others}"
        found.append(ErrorInfo("stale", message, Hint("rebuild it: ", Command("golden build", f"-w {workspace}"))))
    if report.moving:
        message = "the workspace was modified during the check; the figures may be wrong"
        found.append(ErrorInfo("modified", message, "retry while nothing is being loaded"))
    return found
