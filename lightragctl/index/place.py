"""The indexes of a release that is up, and what changes them. Does network I/O."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from lightragctl.backup.site import engine_uri
from lightragctl.core.errors import RefusedError
from lightragctl.core.hint import Command, Hint
from lightragctl.core.result import Event, Notify
from lightragctl.core.settings import ApiSettings, EmbeddingModel
from lightragctl.index.roles import Owner
from lightragctl.index.state import IndexState, chosen, read_states
from lightragctl.release.release import Release
from lightragctl.vectors.indexes import IndexStore

_CALL_S = 30.0
"""The deadline of one call to Milvus; a load, a flush or a compaction have the command's timeout."""


@dataclass(frozen=True)
class Changed:
    """What a command did to one collection; `action`: `compacted`, `loaded`, `released` or `unchanged`.

    `segments_before`, `segments_after`: flushed ones; None where the server does not report them.
    """

    name: str
    action: str
    note: str = ""
    segments_before: int | None = None
    segments_after: int | None = None


@dataclass(frozen=True)
class IndexPlace:
    """The store of a release, and what it serves.

    Attributes:
        store: the release's Milvus.
        workspace, model: as the release was last applied, whatever profile the command names.
    """

    store: IndexStore
    workspace: str
    model: EmbeddingModel

    def states(self) -> list[IndexState]:
        """The state of every collection."""
        return read_states(self.store, self.workspace, self.model)

    def chosen(self, names: Sequence[str]) -> list[IndexState]:
        """The named collections; see `state.chosen`."""
        return chosen(self.states(), names, self.workspace, self.model)


@contextlib.contextmanager
def open_indexes(release: Release, wait_s: float = 300.0) -> Iterator[IndexPlace]:
    """The indexes of a release.

    Args:
        release: that is up.
        wait_s: how long a load, a flush or a compaction may take.

    Raises:
        NotRunningError: it is not up.
    """
    applied: Any = release.runtime.applied().settings.get("lightrag-api")
    if applied is None:
        hint = Hint("see its components: ", Command("status"))
        raise RefusedError(f"release '{release.name}' runs no lightrag-api, which knows its model", hint)
    settings = ApiSettings.model_validate(applied)
    with contextlib.closing(IndexStore(engine_uri(release), _CALL_S, wait_s)) as store:
        yield IndexPlace(store, settings.workspace, settings.embedding)


def compact(place: IndexPlace, one: IndexState, wait: bool, notify: Notify) -> Changed:
    """Merge the small segments of a collection, and wait until the new ones are indexed.

    Raises:
        RefusedError: the store is Milvus Lite.
        WaitExpired: it takes longer than the store's wait.
    """
    notify(Event("flushing and compacting", one.name, passing=True))
    work = place.store.start_compaction(one.name)
    if not wait:
        return Changed(one.name, "compacted", f"compaction {work} continues on the server", one.segments)
    place.store.wait_compacted(one.name, work, lambda left: notify(Event(left, one.name, passing=True)))
    after = place.store.segments(one.name)
    return Changed(one.name, "compacted", "", one.segments, None if after is None else len(after))


def load(place: IndexPlace, one: IndexState, notify: Notify) -> Changed:
    """Load a collection and wait until it can be searched.

    Raises:
        WaitExpired: it is not loaded within the store's wait.
    """
    if one.loaded:
        return Changed(one.name, "unchanged", "it is loaded")
    notify(Event("loading", one.name, passing=True))
    place.store.load(one.name)
    return Changed(one.name, "loaded")


def release_memory(place: IndexPlace, one: IndexState, notify: Notify) -> Changed:
    """Unload a collection."""
    if not one.loaded:
        return Changed(one.name, "unchanged", "it is not loaded")
    notify(Event("releasing", one.name, passing=True))
    place.store.release(one.name)
    return Changed(one.name, "released", reload_note(one))


def reload_note(one: IndexState) -> str:
    """What loads a released collection again; empty for one that nothing reads."""
    if not one.role.live:
        return ""
    reader = Owner.UPSTREAM if one.role.owner is Owner.UPSTREAM else Owner.OURS
    return f"{reader} loads it again with the next query, which waits for that"


Act = Callable[[IndexPlace, IndexState, Notify], Changed]
"""Does one thing to one collection."""
