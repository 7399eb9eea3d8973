"""How collections are searched after their index was tuned: a row of the control collection. Talks to a `VectorStore`.

Without an entry, a collection is searched as the profile says. Entries are by physical name, so that a replica that
still searches the previous collection keeps the parameters that fit it.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from lightragctl.vectors.control import control_name, control_row, epoch_row, when_loaded
from lightragctl.vectors.model import CollectionMissingError, IndexSpec, control_spec
from lightragctl.vectors.store import VectorStore

APPLIED = "indexes"
"""The id of the row."""


class AppliedIndex(msgspec.Struct, frozen=True):
    """The index of a collection, in Milvus's terms.

    Attributes:
        index_type, metric: of the index.
        build: its build parameters.
        search: parameters of each search, such as `ef`.
        before: `search` before the last change of only the search parameters; None: there was none to undo.
    """

    index_type: str
    metric: str
    build: dict[str, int | str] = {}
    search: dict[str, int] = {}
    before: dict[str, int] | None = None

    @property
    def spec(self) -> IndexSpec:
        """As searches take it."""
        return IndexSpec(self.index_type, self.metric, {}, self.search)


def decoded(text: str | None) -> dict[str, AppliedIndex]:
    """The entries of the row's value, by physical name; none when there is no row."""
    return msgspec.json.decode(text, type=dict[str, AppliedIndex]) if text else {}


def read_applied(store: VectorStore, workspace: str) -> dict[str, AppliedIndex]:
    """The entries of a workspace, by physical name."""
    control = control_name(workspace)
    try:
        rows = when_loaded(store, control, lambda: store.get(control, [APPLIED], ["value"]))
    except CollectionMissingError:
        return {}
    return decoded(str(rows[APPLIED]["value"]) if APPLIED in rows else None)


def write_applied(store: VectorStore, workspace: str, changed: Mapping[str, AppliedIndex | None], now_ns: int) -> None:
    """Change entries, and signal it to every replica; those of collections that are gone are deleted.

    The caller holds the release, so that two changes cannot overwrite each other.

    Args:
        store: of the workspace.
        workspace: its name.
        changed: the new entries by physical name; None deletes one.
        now_ns: the time, for the epoch.
    """
    store.create(control_spec(control_name(workspace)))
    there = set(store.list_collections())
    merged: dict[str, Any] = {**read_applied(store, workspace), **changed}
    kept = {name: one for name, one in merged.items() if one is not None and (name in there or name in changed)}
    now_s = now_ns // 1_000_000_000
    store.upsert(control_name(workspace), [control_row(APPLIED, kept, now_s), epoch_row(now_ns)])
