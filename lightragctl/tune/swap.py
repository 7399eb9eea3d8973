"""Puts a rebuilt collection in the place of the original, and back. Changes a store.

Both directions look at what is there, so that they may be repeated after a crash at any point, and each continues where
the other stopped. Writers must be stopped.

Of a collection behind an alias, readers notice nothing: both collections are there under names that stay until every
replica has read the new alias. A collection without an alias is renamed, and readers are refused meanwhile.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from lightragctl.tune.space import Candidate
from lightragctl.vectors.applied import AppliedIndex, write_applied
from lightragctl.vectors.fence import SPREAD_S, Clock, begin_switch, end_switch
from lightragctl.vectors.store import CollectionStore

_Move = tuple[str, str]
"""A name of a collection before and after."""
Check = Callable[[], None]
"""Called before each change; raises when another driver has taken over."""


@dataclass(frozen=True)
class Swap:
    """The names of a swap.

    Attributes:
        operation: its id, for the marker that refuses readers.
        workspace: whose collection it is.
        original: the physical name before.
        kept: that of the original afterwards.
        copy: the rebuilt collection before.
        final: the physical name of the rebuilt one afterwards.
        aliases: of the original; empty: `final` is `original`.
        index: of the rebuilt collection.
        before: the entry of the original; None: it is searched as the profile says.
    """

    operation: str
    workspace: str
    original: str
    kept: str
    copy: str
    final: str
    aliases: tuple[str, ...]
    index: AppliedIndex
    before: AppliedIndex | None = None

    @property
    def entry(self) -> AppliedIndex | None:
        """How the rebuilt collection is searched; None: as the profile says."""
        is_given = self.index.search or not Candidate("", self.index.index_type, self.index.metric).knob
        return self.index if is_given else None

    def to_plain(self) -> dict[str, Any]:
        """As JSON-able data."""
        plain: dict[str, Any] = msgspec.to_builtins(self)
        return plain

    @staticmethod
    def from_plain(plain: Any) -> "Swap":
        """From what `to_plain` made."""
        return msgspec.convert(plain, Swap)


def forward(store: CollectionStore, swap: Swap, check: Check, clock: Clock) -> None:
    """Have the names of the workspace stand for the rebuilt collection."""
    switch = _by_alias if swap.aliases else _by_rename
    switch(store, swap, (swap.copy, swap.final), (swap.original, swap.kept), (check, clock))


def back(store: CollectionStore, swap: Swap, check: Check, clock: Clock) -> None:
    """Undo `forward`: the original has its names again, the rebuilt collection that of the copy."""
    switch = _by_alias if swap.aliases else _by_rename
    switch(store, swap, (swap.kept, swap.original), (swap.final, swap.copy), (check, clock))


def _by_alias(store: CollectionStore, swap: Swap, entering: _Move, leaving: _Move, watch: tuple[Check, Clock]) -> None:
    """Rename a collection to the name under which it serves, have the aliases stand for it, rename the previous one."""
    check, clock = watch
    there = set(store.list_collections())
    if entering[0] in there:
        check()
        store.rename(*entering)
    store.load(entering[1])
    check()
    _point(store, swap, entering[1], clock)
    if leaving[0] in there:
        check()
        store.rename(*leaving)


def _point(store: CollectionStore, swap: Swap, physical: str, clock: Clock) -> None:
    """Have the aliases stand for a collection; returns when every replica has read it.

    The parameters are written first: a replica that reads the new alias finds them.
    """
    entries = {swap.final: swap.entry, swap.original: swap.before}
    write_applied(store, swap.workspace, entries, clock.now_ns())
    for alias in swap.aliases:
        store.point_alias(alias, physical)
    write_applied(store, swap.workspace, entries, clock.now_ns())
    clock.pause(SPREAD_S)


def _by_rename(store: CollectionStore, swap: Swap, entering: _Move, leaving: _Move, watch: tuple[Check, Clock]) -> None:
    """Rename the serving collection away and another one to its name; readers get 503 until the switch ends."""
    check, clock = watch
    entry = swap.entry if entering[0] == swap.copy else swap.before
    there = set(store.list_collections())
    check()
    begin_switch(store, swap.workspace, swap.operation, clock)
    if entering[0] in there:
        if leaving[0] in there:
            check()
            store.rename(*leaving)
        check()
        store.rename(*entering)
    store.load(entering[1])
    check()
    write_applied(store, swap.workspace, {entering[1]: entry}, clock.now_ns())
    end_switch(store, swap.workspace, swap.operation, clock)
