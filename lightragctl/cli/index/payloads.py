"""From what the packages return to the Results of `index`. Pure; the keys of each payload are stated here only."""

from collections.abc import Sequence
from dataclasses import asdict
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from lightragctl.core.errors import ExitStatus
from lightragctl.core.hint import Command, Hint
from lightragctl.core.result import ErrorInfo, Result, Status

if TYPE_CHECKING:
    from lightragctl.index.lifecycle import Action
    from lightragctl.index.place import Changed
    from lightragctl.index.state import IndexState
    from lightragctl.vectors.applied import AppliedIndex


def index_list(release: str, server: str, states: "Sequence[IndexState]") -> Result:
    """`index list`: 4 when an index is not complete."""
    data = {"release": release, "server": server, "indexes": [_state(one) for one in states]}
    problems = [problem for one in states if (problem := _problem(one))]
    if problems:
        return Result("index list", data, Status.PARTIAL, problems, ExitStatus.WARNINGS)
    return Result("index list", data)


def index_show(state: "IndexState", segments: Sequence[int] | None) -> Result:
    """`index show`: one collection, with the rows of each flushed segment."""
    return Result("index show", {**_state(state), "segment_rows": None if segments is None else list(segments)})


class Changer(StrEnum):
    """The commands that change collections."""

    COMPACT = "index compact"
    LOAD = "index load"
    RELEASE = "index release"


def index_change(by: Changer, changed: "Sequence[Changed]", dry_run: bool) -> Result:
    """`index compact`, `load` and `release`: what became of each collection."""
    return Result(str(by), {"dry_run": dry_run, "collections": [asdict(one) for one in changed]})


def index_rebuild(collection: str, before: "AppliedIndex", after: "AppliedIndex") -> Result:
    """`index rebuild --dry-run`: the index now, and the one that would be built."""
    return Result(
        "index rebuild", {"dry_run": True, "collection": collection, "before": _spec(before), "after": _spec(after)}
    )


def _spec(index: "AppliedIndex") -> dict[str, Any]:
    names = ("index_type", "metric", "build", "search")
    return {name: getattr(index, name) for name in names}


class Outcome(StrEnum):
    """What became of an action; `planned`: it is only shown."""

    PLANNED = "planned"
    DONE = "done"
    FAILED = "failed"


def index_lifecycle(
    release: str, actions: "Sequence[tuple[Action, Outcome, str]]", notes: Sequence[str], applied: bool
) -> Result:
    """`index lifecycle`: each action with its outcome and note; 1 when one failed, the others are done."""
    rows = [{**asdict(action), "outcome": outcome, "note": note} for action, outcome, note in actions]
    data = {"release": release, "applied": applied, "actions": rows, "notes": list(notes)}
    failed = [f"{action.kind} {action.collection}: {note}" for action, outcome, note in actions if outcome == "failed"]
    if failed:
        error = ErrorInfo("lifecycle", "; ".join(failed), Hint("see: ", Command("index list")))
        return Result("index lifecycle", data, Status.PARTIAL, (error,), ExitStatus.FAILED)
    return Result("index lifecycle", data)


def _state(one: "IndexState") -> dict[str, Any]:
    role = one.role
    whose = {"owner": str(role.owner), "workspace": role.workspace, "kind": role.kind, "live": role.live}
    names = (
        "name", "dimension", "index_type", "metric", "rows", "indexed_rows", "pending_rows", "index_state",
        "failure", "loaded", "mmap", "segments", "small_segments", "memory_bytes",
    )  # fmt: skip
    about = {name: getattr(one, name) for name in names}
    return {**about, "aliases": list(one.aliases), "parameters": dict(one.parameters), **whose}


def _problem(one: "IndexState") -> ErrorInfo | None:
    if not one.index_type:
        return ErrorInfo("no-index", f"collection {one.name} has no index of its vectors, and cannot be loaded")
    if one.failure:
        hint = Hint("see the log: ", Command("logs", "vector-engine"))
        return ErrorInfo("index-failed", f"the index of {one.name} is not built: {one.failure}", hint)
    if one.pending_rows:
        message = f"{one.pending_rows} rows of {one.name} are not indexed yet; searches compare them one by one"
        return ErrorInfo("index-pending", message, Hint("watch it: ", Command("index show", one.name)))
    return None
