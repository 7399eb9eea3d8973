"""Applies what a search has picked, and undoes that: parameters of searches at once, other indexes by a rebuild."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from lightragctl.core.errors import RefusedError
from lightragctl.core.hint import Command, Hint
from lightragctl.operations.model import Operation, Phase
from lightragctl.tune.ledger import Pick
from lightragctl.tune.rebuild import current_index, rebuild_parameters
from lightragctl.tune.space import Candidate
from lightragctl.tune.swap import Swap
from lightragctl.vectors.applied import AppliedIndex, read_applied, write_applied
from lightragctl.vectors.indexing import ServerMemory
from lightragctl.vectors.store import CollectionStore

_WHILE_LOADING = 1.5
"""Memory of an index while it is loaded, in sizes of the index (docs/guides/tune.md)."""


@dataclass(frozen=True)
class Change:
    """A change of the index of a collection.

    Attributes:
        workspace, collection: whose.
        before, after: the index; equal in all but `search` unless `rebuilds`.
        rebuilds: whether the collection must be rebuilt.
        reuse: a kept collection that may already have the index.
        least_recall: that a rebuilt collection must reach; 0: that of the present one less 0.1.
    """

    workspace: str
    collection: str
    before: AppliedIndex
    after: AppliedIndex
    rebuilds: bool
    reuse: str = ""
    least_recall: float = 0.0

    @property
    def plain(self) -> dict[str, Any]:
        """As JSON-able data."""

        def index(one: AppliedIndex) -> dict[str, Any]:
            return {
                "index_type": one.index_type,
                "metric": one.metric,
                "build": dict(one.build),
                "search": dict(one.search),
            }

        return {
            "workspace": self.workspace,
            "collection": self.collection,
            "before": index(self.before),
            "after": index(self.after),
        }

    def parameters(self, timeout_s: float) -> dict[str, Any]:
        """Those of the operation that rebuilds."""
        after = msgspec.structs.replace(self.after, before=None)
        return rebuild_parameters(self.collection, after, timeout_s, self.least_recall, self.reuse)


def picked(store: CollectionStore, workspace: str, physical: str, pick: Pick | None) -> Change | None:
    """The change that a search has concluded; None when what is used now is to be kept.

    Raises:
        RefusedError: there was no search of this collection, it found nothing, or the index was changed since.
    """
    search = Hint("search: ", Command("tune search", f"-w {workspace}"))
    if pick is None or pick.collection != physical:
        raise RefusedError(f"there is no finished search for collection {physical}", search)
    if pick.index is None:
        raise RefusedError(f"the last search found nothing: {pick.reason}", search)
    present = current_index(store, workspace, store.describe(physical))
    if (present.index_type, present.build) != (pick.before.index_type, pick.before.build):
        raise RefusedError(f"the index of {physical} was changed after the search", search)
    if pick.keep:
        return None
    return Change(
        workspace, physical, present, pick.index, pick.rebuilds, least_recall=pick.min_recall if pick.rebuilds else 0.0
    )


def previous(store: CollectionStore, workspace: str, physical: str, records: Sequence[Operation]) -> Change:
    """The change that takes the last one back.

    Args:
        store: of the workspace.
        workspace: its name.
        physical: the collection.
        records: of operations of the release, newest first.

    Raises:
        RefusedError: the index was not changed, or it is no longer known how it was.
    """
    present = current_index(store, workspace, store.describe(physical))
    entry = read_applied(store, workspace).get(physical)
    if entry is not None and entry.before is not None:
        after = msgspec.structs.replace(present, search=entry.before)
        return Change(workspace, physical, present, after, False)
    for record in records:
        if record.kind != "rebuild" or record.phase is not Phase.SUCCEEDED:
            continue
        swap = Swap.from_plain(record.results["swap"])
        if swap.final == physical and swap.workspace == workspace:
            before = msgspec.convert(record.results["before"], AppliedIndex)
            return Change(workspace, physical, present, before, True, swap.kept)
    raise RefusedError(f"the index of {physical} was not changed by tune: there is nothing to undo")


def refuse_without_memory(memory: ServerMemory | None, rows: int, dimension: int, after: AppliedIndex) -> None:
    """Does nothing where the server can hold the new index beside the present one, or where its memory is unknown.

    Raises:
        RefusedError: it cannot.
    """
    made = Candidate("", after.index_type, after.metric, tuple(after.build.items()))
    needed = round(_WHILE_LOADING * made.size_bytes(rows, dimension))
    if memory is not None and needed > memory.free_bytes:
        free = f"the store has {memory.free_bytes / 2**20:.0f} Mi free"
        raise RefusedError(
            f"the new index needs about {needed / 2**20:.0f} Mi, and {free}",
            "raise the memory of vector-engine in the profile, or release collections",
        )


def apply_search(store: CollectionStore, change: Change, undo: bool = False, now_ns: int | None = None) -> None:
    """Write the parameters of searches; every replica reads them within its polling interval.

    Args:
        store: of the workspace.
        change: without a rebuild.
        undo: it takes back a change, so that it is not to be undone itself.
        now_ns: for the epoch; None: now.
    """
    before = None if undo else dict(change.before.search)
    entry = msgspec.structs.replace(change.after, before=before)
    has_search = entry.search or not Candidate("", entry.index_type, entry.metric).knob
    changed = {change.collection: entry if has_search else None}
    write_applied(store, change.workspace, changed, time.time_ns() if now_ns is None else now_ns)
