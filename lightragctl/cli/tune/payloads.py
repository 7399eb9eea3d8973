"""Results of `tune`. Pure; the only place that defines the keys of their payloads."""

from enum import StrEnum
from typing import TYPE_CHECKING, Any

from lightragctl.core.errors import ExitStatus
from lightragctl.core.hint import Command, Hint
from lightragctl.core.result import ErrorInfo, Result, Status

if TYPE_CHECKING:
    from lightragctl.operations.model import Operation
    from lightragctl.tune.apply import Change
    from lightragctl.tune.points import Option
    from lightragctl.tune.search import Found


class Changer(StrEnum):
    """The commands that change the index of a collection."""

    APPLY = "tune apply"
    UNDO = "tune undo"


def _found(result: "Found") -> dict[str, Any]:
    plan, verdict = result.plan, result.verdict
    targets = plan.targets
    return {
        "workspace": plan.workspace,
        "kind": plan.kind,
        "collection": plan.collection,
        "rows": result.rows,
        "measured_rows": result.measured_rows,
        "targets": {
            "k": targets.k,
            "min_recall": targets.min_recall,
            "max_p95_ms": targets.max_p95_ms,
            "max_memory_bytes": targets.max_bytes,
        },
        "queries": result.origins,
        "pick": None if verdict.pick is None else _option(verdict.pick, result.rows),
        "keep": verdict.keep,
        "reason": verdict.reason,
        "frontier": [_option(one, result.rows) for one in verdict.frontier],
        "lost": {**result.dropped, **verdict.lost},
        "memory": [{"times": one.times, "rows": one.rows, "size_bytes": one.size_bytes} for one in result.projections],
        "measurements": len(result.points),
        "warnings": list(result.warnings),
        "took_s": result.took_s,
        "continued": result.continued,
    }


def _option(one: "Option", rows: int) -> dict[str, Any]:
    point = one.point
    return {
        "name": one.candidate.name,
        "role": one.candidate.role,
        "index": {
            "index_type": one.candidate.index_type,
            "metric": one.candidate.metric,
            "build": one.candidate.build(rows),
            "search": dict(point.search),
        },
        "recall": point.recall,
        "interval": [point.low, point.high],
        "p50_ms": point.p50_ms,
        "p95_ms": point.p95_ms,
        "queries_per_s": point.rate,
        "size_bytes": one.size_bytes,
        "build_s": one.build_s,
    }


def tune_search(result: "Found") -> Result:
    """`tune search`: exit status 3 when nothing meets the targets, 4 when the result is limited."""
    data = _found(result)
    if result.verdict.pick is None:
        error = ErrorInfo("targets-not-met", result.verdict.reason, "relax the targets, or allow more memory")
        return Result("tune search", data, Status.FAILED, (error,), ExitStatus.CHECKS_FAILED)
    if result.warnings:
        hint = Hint("continue the search: ", Command("tune search", "--budget 2h"))
        warnings = tuple(
            ErrorInfo("limited", one, hint if one.startswith("the budget") else "") for one in result.warnings
        )
        return Result("tune search", data, Status.PARTIAL, warnings, ExitStatus.WARNINGS)
    return Result("tune search", data)


def changed(by: Changer, change: "Change", dry_run: bool) -> Result:
    """`tune apply` and `tune undo` without a rebuild: the parameters before and now."""
    return Result(str(by), {"dry_run": dry_run, "rebuild": change.rebuilds, **change.plain})


def kept(workspace: str, collection: str, reason: str) -> Result:
    """`tune apply` when the search found no better setting."""
    return Result("tune apply", {"workspace": workspace, "collection": collection, "rebuild": False, "reason": reason})


def rebuilt(by: Changer, record: "Operation", ended: Result) -> Result:
    """`tune apply` and `tune undo` with a rebuild: how the operation ended."""
    results = record.results
    data = {
        "dry_run": False,
        "rebuild": True,
        "operation": record.id,
        "phase": record.phase,
        "workspace": record.workspace,
        "collection": record.parameters.get("collection"),
        "before": results.get("before"),
        "after": record.parameters.get("index"),
        "proof": results.get("proof"),
        "caught_up": results.get("caught_up"),
        "writer_stopped_s": results.get("writer_stopped_s"),
        "kept": [one.name for one in record.kept],
    }
    return Result(str(by), data, ended.status, ended.errors, ended.exit_status)
