"""From what the packages return to the Results of `golden`. Pure; the keys of each payload are stated here only."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from lightragctl.core.errors import ExitStatus
from lightragctl.core.result import ErrorInfo, Result, Status

if TYPE_CHECKING:
    from lightragctl.quality.golden import GoldenReport, GoldenSet, Head
    from lightragctl.quality.golden_store import BuildResult


def _golden(workspace: str, head: "Head") -> dict[str, Any]:
    return {"workspace": workspace, **head.model_dump(mode="json", exclude={"digest"})}


def golden_build(workspace: str, built: "BuildResult") -> Result:
    """`golden build`: the new set; 4 when queries had to be left out."""
    data = {**_golden(workspace, built.golden.head), "left_out": built.left_out}
    if not built.left_out:
        return Result("golden build", data)
    message = f"{built.left_out} queries were left out: too long, or too many passages are equally near"
    return Result("golden build", data, Status.PARTIAL, (ErrorInfo("left-out", message),), ExitStatus.WARNINGS)


def golden_show(workspace: str, known: "GoldenSet", versions: Sequence[int]) -> Result:
    """`golden show`: the set, and the versions that are stored."""
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
    "overlap": "overlap with the answers when it was built",
}


def golden_check(workspace: str, report: "GoldenReport") -> Result:
    """`golden check`: 3 when a figure is surely below its floor, 4 when these queries cannot tell or rows changed."""
    data = {
        "workspace": workspace,
        "version": report.head.version,
        "built_at": report.head.built_at,
        "held": report.held.model_dump(mode="json"),
        "k": report.k,
        "scanned": report.scanned,
        "stale": list(report.stale),
        "other_answers": report.others,
        "moving": report.moving,
        "figures": [{**asdict(one), "interval": list(one.interval)} for one in report.figures],
        "worst": [asdict(one) for one in report.worst],
    }
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
        if one.verdict == "unsure":
            need = "no number of them tells" if one.needed is None else f"about {one.needed} would"
            message = f"{one.queries} queries do not tell whether {_FIGURES[one.name]} is {one.floor:g}; {need}"
            more = "--questions FILE" if one.name == "end_to_end" else "--sample N"
            found.append(
                ErrorInfo("too-few", message, f"build it of more: lightragctl golden build -w {workspace} {more}")
            )
    return found


def _outdated(workspace: str, report: "GoldenReport") -> list[ErrorInfo]:
    found = []
    if report.stale:
        others = f"{report.others} of {report.head.queries} queries have another right answer now"
        message = f"the golden set is not of what the workspace holds now: {'; '.join(report.stale)}; {others}"
        found.append(ErrorInfo("stale", message, f"build it anew: lightragctl golden build -w {workspace}"))
    if report.moving:
        message = "the workspace was written to during the check, so that figures may be off"
        found.append(ErrorInfo("moving", message, "check again when nothing is loaded"))
    return found
