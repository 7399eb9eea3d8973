"""Switches a workspace to copies of its collections, and back. Changes a store.

Both directions look at what is there, so that they may be repeated after a crash at any point, and each continues where
the other stopped. Meanwhile readers must be refused by the switching marker, and writers stopped.
"""

from collections.abc import Callable, Iterator
from contextlib import nullcontext

import numpy as np

from lightragctl.backup.moves import Moves, New
from lightragctl.backup.restore import copied_rows
from lightragctl.vectors.control import EPOCH
from lightragctl.vectors.copying import loaded
from lightragctl.vectors.fence_rows import is_transient
from lightragctl.vectors.rows import RowBatch
from lightragctl.vectors.store import CollectionStore

Check = Callable[[], None]
"""Called before each change; raises when another driver has taken over."""


def keep_control(store: CollectionStore, moves: Moves, check: Check) -> None:
    """Copy the rows of the control collection, so that `back` can restore them; to be called before `forward`."""
    if moves.control_kept is None:
        return
    check()
    store.drop(moves.control_kept)
    schema = store.describe(moves.control)
    store.create_from(schema, moves.control_kept)
    with loaded(store, moves.control):
        store.write_rows(moves.control_kept, map(lasting, copied_rows(store, moves.control, schema)))
    store.flush(moves.control_kept)


def forward(store: CollectionStore, moves: Moves, check: Check) -> None:
    """Give the copies their names and aliases, and the old collections those under which they are kept."""
    wanted = {alias for one in moves.news for alias in one.aliases}
    there = set(store.list_collections())
    for old in moves.olds:
        for alias in set(old.aliases) - wanted:
            if store.resolve(alias) not in (None, alias):
                check()
                store.drop_alias(alias)
        if old.name in there and old.kept not in there:
            check()
            store.rename(old.name, old.kept)
    for new in moves.news:
        if new.copy in there:
            check()
            store.rename(new.copy, new.name)
        store.load(new.name)
        for alias in new.aliases:
            check()
            store.point_alias(alias, new.name)
    check()
    replace_control(store, moves.control, moves.control_copy)


def back(store: CollectionStore, moves: Moves, check: Check) -> None:
    """Undo `forward`: the old collections have their names, aliases and rows again, the copies their previous names."""
    there = set(store.list_collections())
    for new in moves.news:
        if new.copy not in there:
            check()
            _take_out(store, moves, new, there)
    for old in moves.olds:
        if old.kept in there:
            check()
            store.rename(old.kept, old.name)
        if not {old.kept, old.name} & there:  # it was empty, and is deleted
            continue
        store.load(old.name)
        for alias in old.aliases:
            check()
            store.point_alias(alias, old.name)
    check()
    if moves.control_kept is None or moves.control_kept in there:
        replace_control(store, moves.control, moves.control_kept)


def _take_out(store: CollectionStore, moves: Moves, new: New, there: set[str]) -> None:
    """Give a copy its previous name; its aliases go back to the old collection, or are deleted."""
    before = {alias: old for old in moves.olds for alias in old.aliases}
    for alias in new.aliases:
        old = before.get(alias)
        if old is not None and {old.kept, old.name} & there:
            store.point_alias(alias, old.kept if old.kept in there else old.name)
        elif store.resolve(alias) not in (None, alias):
            store.drop_alias(alias)
    if new.name in there:
        store.rename(new.name, new.copy)


def replace_control(store: CollectionStore, control: str, source: str | None) -> None:
    """Have a control collection hold the rows of another one, beside its epoch and those of running processes.

    Args:
        store: where both are.
        control: the control collection; nothing is done when it does not exist.
        source: where the rows are; None: there are none.
    """
    if store.resolve(control) is None:
        return
    store.load(control)
    kept: set[str] = set()
    with loaded(store, source) if source else nullcontext():
        if source:
            rows = (lasting(batch, (EPOCH,)) for batch in copied_rows(store, source, store.describe(source)))
            store.write_rows(control, _noted(rows, kept))
    for batch in copied_rows(store, control, store.describe(control)):
        surplus = [str(key) for key in lasting(batch, (EPOCH,)).keys if key not in kept]
        if surplus:
            store.delete(control, surplus)


def lasting(batch: RowBatch, without: tuple[str, ...] = ()) -> RowBatch:
    """The rows of a control collection that do not belong to running processes, without those of some keys."""
    places = [at for at, key in enumerate(batch.keys) if not is_transient(str(key)) and key not in without]
    return batch if len(places) == len(batch) else batch.taken(np.array(places, np.intp))


def _noted(rows: Iterator[RowBatch], keys: set[str]) -> Iterator[RowBatch]:
    """The rows, whose keys are added to a set."""
    for batch in rows:
        keys.update(map(str, batch.keys))
        yield batch
