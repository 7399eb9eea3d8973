"""From what the packages return to the Result that is shown. Pure; the keys of each payload are stated here only."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightragctl.core.errors import ExitStatus, LightragctlError
from lightragctl.core.result import ErrorInfo, Result, Status
from lightragctl.core.runtime import (
    ComponentStatus,
    Differences,
    ReleaseStatus,
    Revision,
    State,
    Unlocked,
    UpOutcome,
)
from lightragctl.core.urls import shown

if TYPE_CHECKING:
    from lightragctl.bench.report.kinds import Document
    from lightragctl.client.api import QueryAnswer, Retrieval
    from lightragctl.client.recordings import AllRecordings
    from lightragctl.core.component import Plan
    from lightragctl.core.findings import Finding
    from lightragctl.core.objects import KubernetesObject
    from lightragctl.core.profile import LoadedProfile
    from lightragctl.ingest.load import Summary
    from lightragctl.quality.golden import GoldenSet, Head, Report
    from lightragctl.quality.golden_store import Built


def _component(part: ComponentStatus) -> dict[str, Any]:
    values = asdict(part)
    values["state"] = str(part.state)
    values["endpoint"] = shown(part.endpoint)
    values["uptime_s"] = None if part.uptime_s is None else round(part.uptime_s, 1)
    return values


def _release(status: ReleaseStatus) -> dict[str, Any]:
    return {
        "release": status.release,
        "profile": status.profile,
        "runtime": status.runtime,
        "data": status.data,
        "message": status.message,
        "revision": status.revision,
        "drift": [asdict(one) for one in status.drift],
        "warnings": list(status.warnings),
        "components": [_component(part) for part in status.components],
    }


def _differences(differences: Differences) -> dict[str, Any]:
    changes = [asdict(one) | {"action": str(one.action)} for one in differences.changes]
    conflicts = [asdict(one) for one in differences.conflicts]
    drift = [asdict(one) for one in differences.drift]
    place = {"release": differences.release, "where": differences.where}
    warnings = list(differences.warnings)
    return {**place, "changes": changes, "conflicts": conflicts, "drift": drift, "warnings": warnings}


def planned(command: str, differences: Differences) -> Result:
    """`up --dry-run` and `rollback --dry-run`: what would change, and where."""
    return Result(command, _differences(differences))


def diff(differences: Differences) -> Result:
    """`diff`: 1 when something differs."""
    differs = bool(differences.differing)
    return Result("diff", _differences(differences), exit_status=ExitStatus.FAILED if differs else ExitStatus.DONE)


def diff_failed(error: LightragctlError) -> Result:
    """`diff` that could not compare: never 1, which says that something differs."""
    failure = Result.failure("diff", error)
    return replace(failure, exit_status=max(error.exit_status, ExitStatus.USAGE))


def up(command: str, outcome: UpOutcome, search_ms: float | None) -> Result:
    """`up` and `rollback`: what changed, the release as it is, how long a search took; None when none was tried."""
    return Result(command, {**_release(outcome.status), "changed": list(outcome.changed), "search_ms": search_ms})


def _revision(revision: Revision) -> dict[str, Any]:
    return {
        "number": revision.number,
        "at": revision.at,
        "who": revision.who,
        "outcome": str(revision.outcome),
        "cause": revision.cause,
        "description": revision.description,
        "profile": revision.profile_name,
        "version": revision.version,
        "stopped_at": revision.stopped_at,
        "stopped_by": revision.stopped_by,
    }


def history(release: str, revisions: Sequence[Revision]) -> Result:
    """`history`: the revisions, newest first."""
    return Result("history", {"release": release, "revisions": [_revision(one) for one in revisions]})


def one_revision(release: str, revision: Revision) -> Result:
    """`history REVISION`: one of them whole."""
    whole = {"images": revision.images, "values": dict(revision.values), "objects": list(revision.objects)}
    return Result("history", {"release": release, "revision": {**_revision(revision), **whole}})


def unlock(release: str, unlocked: Unlocked) -> Result:
    """`unlock`: who held the lock."""
    return Result("unlock", {"release": release, **asdict(unlocked)})


def status(release: ReleaseStatus) -> Result:
    """`status`: fails its check when a component is not ready; warns of what threatens the release."""
    if release.ready and not release.message:
        if not release.warnings:
            return Result("status", _release(release))
        warned = [ErrorInfo("warning", "ready, with the warnings above")]
        return Result("status", _release(release), Status.PARTIAL, warned, ExitStatus.WARNINGS)
    if release.ready:
        errors = [ErrorInfo("unsupervised", release.message)]
        return Result("status", _release(release), Status.PARTIAL, errors, ExitStatus.WARNINGS)
    missing = [part.name for part in release.components if part.state is not State.READY]
    error = ErrorInfo("not-ready", f"not ready: {', '.join(missing)}", release.message or "lightragctl logs COMPONENT")
    return Result("status", _release(release), Status.FAILED, [error], ExitStatus.CHECKS_FAILED)


def down(release: str, stopped: bool, purged: bool, kept: Path | str) -> Result:
    """`down`: what was done, and what was kept."""
    data = {"release": release, "stopped": stopped, "purged": purged, "kept": "" if purged else str(kept)}
    return Result("down", data)


def render(objects: "Sequence[KubernetesObject]", written: Sequence[Path] | None) -> Result:
    """`render`: the objects, or the files that they were written to."""
    if written is not None:
        return Result("render", {"files": [str(path) for path in written]})
    return Result("render", {"objects": list(objects)})


def profiles_list(profiles: Mapping[str, Mapping[str, Any]]) -> Result:
    """`profiles list`: name, runtime and description of each."""
    rows = [
        {"name": name, "runtime": str(values.get("runtime", "")), "description": str(values.get("description", ""))}
        for name, values in profiles.items()
    ]
    return Result("profiles list", {"profiles": rows})


def profiles_show(loaded: "LoadedProfile", origin: bool) -> Result:
    """`profiles show`: the profile's values, or with `origin` one row for each."""
    if not origin:
        return Result("profiles show", {"name": loaded.name, "profile": loaded.profile.model_dump(mode="json")})
    rows = [{"key": ".".join(path), "value": value, "origin": str(where)} for path, value, where in loaded.leaves()]
    return Result("profiles show", {"name": loaded.name, "values": rows})


def profiles_init(path: Path, base: str) -> Result:
    """`profiles init`: the new file."""
    return Result("profiles init", {"file": str(path), "extends": base})


def profiles_validate(plan: "Plan", findings: "Sequence[Finding]") -> Result:
    """`profiles validate`: the profile is right, or what is unsafe about it."""
    rows = [asdict(one) | {"severity": str(one.severity)} for one in findings]
    data = {"name": plan.profile_name, "components": sorted(plan.components), "findings": rows}
    errors = [ErrorInfo(one.code, str(one), one.hint) for one in findings if one.severity == "error"]
    if not errors:
        return Result("profiles validate", data)
    return Result("profiles validate", data, Status.FAILED, errors, ExitStatus.REFUSED)


def ingest(summary: "Summary", through: str) -> Result:
    """`ingest`: counts, through which component, one error for each document that failed, and what was left out."""
    data = {
        "through": through,
        "created": summary.created,
        "updated": summary.updated,
        "unchanged": summary.unchanged,
        "skipped": summary.skipped,
        "skipped_kinds": dict(summary.skipped_kinds),
        "failed": [failure._asdict() for failure in summary.failed],
        "left_out": [{"source": source, "what": list(what)} for source, what in summary.left_out],
        "chunks": summary.chunks,
        "seconds": round(summary.seconds, 2),
        "chunks_per_s": round(summary.chunks_per_s, 1),
    }
    if not summary.failed:
        return Result("ingest", data)
    errors = [ErrorInfo("document", f"{one.source}: {one.reason}", one.hint) for one in summary.failed]
    stands = summary.created + summary.updated + summary.unchanged
    return Result("ingest", data, Status.PARTIAL if stands else Status.FAILED, errors, ExitStatus.FAILED)


def retrieve(answer: "Retrieval") -> Result:
    """`retrieve`: the hits, best first."""
    return Result("retrieve", answer.model_dump(mode="json"))


def query(answer: "QueryAnswer") -> Result:
    """`query`: the answer with its citations."""
    return Result("query", answer.model_dump(mode="json"))


def recordings(found: "AllRecordings") -> Result:
    """`recordings`: the questions, newest first; 4 when those of a replica are missing."""
    data = {"recordings": [one.model_dump(mode="json") for one in found.questions]}
    if not found.missing:
        return Result("recordings", data)
    errors = [ErrorInfo("replica-silent", one, "see: lightragctl status") for one in found.missing]
    return Result("recordings", data, Status.PARTIAL, errors, ExitStatus.WARNINGS)


def _measured(document: "Document") -> dict[str, Any]:
    """What a bench command measured as it shows it: without what only a file needs."""
    from lightragctl.bench.measured import Measured
    from lightragctl.bench.report.kinds import kind_of

    plain = kind_of(document).plain(document)
    del plain["schema"]
    plain.pop("seconds", None)
    for value in plain.values():
        if isinstance(value, dict):
            value.pop("histogram", None)
    return {**plain, "broken_thresholds": document.broken} if isinstance(document, Measured) else plain


_ENDS = {
    "thresholds": ExitStatus.CHECKS_FAILED,
    "worse": ExitStatus.CHECKS_FAILED,
    "not-valid": ExitStatus.WARNINGS,
    "interrupted": ExitStatus.WARNINGS,
    "not-enough-data": ExitStatus.WARNINGS,
    "not-comparable": ExitStatus.WARNINGS,
    "no-answers": ExitStatus.FAILED,
}
"""What each error of a bench command ends with; of several the first decides."""


def bench(document: "Document") -> Result:
    """`bench run`, `saturate`, `compare`: 3 when it did not keep to what was asked, 4 when the figures do not tell."""
    from lightragctl.bench.report.kinds import kind_of

    kind = kind_of(document)
    errors = kind.errors(document)
    if not errors:
        return Result(kind.command, _measured(document))
    end = _ENDS[errors[0].code]
    status = Status.PARTIAL if end is ExitStatus.WARNINGS else Status.FAILED
    return Result(kind.command, _measured(document), status, errors, end)


def bench_report(documents: "Mapping[str, Document]", written: Sequence[Path]) -> Result:
    """`bench report`: each document as its command showed it, with its error, and the files that were written."""
    from lightragctl.bench.report.kinds import KINDS, kind_of

    data: dict[str, Any] = {kind.plural: [] for kind in KINDS}
    for file, document in documents.items():
        kind = kind_of(document)
        errors = [asdict(error) for error in kind.errors(document)]
        data[kind.plural].append({"file": file, **_measured(document), "errors": errors})
    return Result("bench report", {**data, "written": [str(path) for path in written]})


def _golden(workspace: str, head: "Head") -> dict[str, Any]:
    return {"workspace": workspace, **head.model_dump(mode="json", exclude={"digest"})}


def golden_build(workspace: str, built: "Built") -> Result:
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


def golden_check(workspace: str, report: "Report") -> Result:
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


def _unsure(workspace: str, report: "Report") -> list[ErrorInfo]:
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


def _outdated(workspace: str, report: "Report") -> list[ErrorInfo]:
    found = []
    if report.stale:
        others = f"{report.others} of {report.head.queries} queries have another right answer now"
        message = f"the golden set is not of what the workspace holds now: {'; '.join(report.stale)}; {others}"
        found.append(ErrorInfo("stale", message, f"build it anew: lightragctl golden build -w {workspace}"))
    if report.moving:
        message = "the workspace was written to during the check, so that figures may be off"
        found.append(ErrorInfo("moving", message, "check again when nothing is loaded"))
    return found


def version(number: str, python: str) -> Result:
    """`version`: of lightragctl and of what runs it."""
    return Result("version", {"version": number, "python": python})
