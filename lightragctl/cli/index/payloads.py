"""From what the packages return to the Results of `index`. Pure; the keys of each payload are stated here only."""

from collections.abc import Sequence
from dataclasses import asdict
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from lightragctl.core.errors import ExitStatus
from lightragctl.core.hint import Command, Hint
from lightragctl.core.result import ErrorInfo, Result, Status

if TYPE_CHECKING:
    from lightragctl.index.place import Changed
    from lightragctl.index.state import IndexState


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
