"""Plans and applies life-cycle rules for their command and for the pod of their CronJob."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from lightragctl.cli.backup import creating
from lightragctl.cli.index import payloads, rebuilding
from lightragctl.cli.index.changing import refuse_open_operation
from lightragctl.cli.index.payloads import Outcome
from lightragctl.cli.operations.driving import operator
from lightragctl.cli.options import Session
from lightragctl.core.errors import LightragctlError
from lightragctl.core.result import Event, Notify, Result
from lightragctl.index.lifecycle import (
    Action,
    ActionKind,
    LifecyclePlan,
    Observation,
    Surroundings,
    observed,
    plan,
)
from lightragctl.index.observing import read_counts, read_observations, write_observations
from lightragctl.index.place import IndexPlace, compact, open_indexes
from lightragctl.index.state import IndexState
from lightragctl.operations.model import Phase
from lightragctl.release.writers import WRITER

_COLLECTION = "collection:"


def lifecycle(session: Session, apply: bool, in_cluster: bool, timeout_s: float) -> Result:
    """What the rules ask for; with `apply`, the actions are done one after the other, and searches are noted.

    Raises:
        LockedError: the rules are applied, and an operation of the release is open.
    """
    if apply:
        refuse_open_operation(session)
    name = session.release.name
    with open_indexes(session.release, timeout_s) as place:
        states = place.states()
        found, known = _planned(session, place, states)
        if not apply:
            return payloads.index_lifecycle(
                name, [(one, Outcome.PLANNED, "") for one in found.actions], found.notes, False
            )
        write_observations(place.store, place.workspace, known, time.time())
        for one in found.actions:
            session.out.notify(Event(f"{one.kind}: {one.reason}", one.collection))
        if found.actions and not in_cluster:
            session.confirm(f"Do these {len(found.actions)} actions?")
        applier = _Applier(session, place, {one.name: one for one in states}, timeout_s)
        done = [applier.apply(one) for one in found.actions]
        if applier.rebuilt:
            write_observations(place.store, place.workspace, applier.forgotten(known), time.time())
    return payloads.index_lifecycle(name, done, found.notes, True)


def _planned(
    session: Session, place: IndexPlace, states: list[IndexState]
) -> tuple[LifecyclePlan, dict[str, Observation]]:
    now_s, records = time.time(), operator(session).place.store.records()
    known = observed(
        read_observations(place.store, place.workspace), states, read_counts(session.release.runtime), now_s
    )
    around = Surroundings(
        has_upstream=WRITER in session.release.runtime.components(),
        is_lite=place.store.is_lite(),
        open_tokens={one.id.rpartition("-")[2] for one in records if one.is_open},
        kept={kept.name.removeprefix(_COLLECTION) for one in records for kept in one.kept},
    )
    return plan(states, known, session.release.loaded.profile.lifecycle, around, now_s), known


@dataclass
class _Applier:
    """Does actions. `rebuilt`: collections whose growth is counted from now; `archived`: workspaces that are saved."""

    session: Session
    place: IndexPlace
    states: dict[str, IndexState]
    timeout_s: float

    def __post_init__(self) -> None:
        self.rebuilt: set[str] = set()
        self.archived: set[str] = set()

    def apply(self, action: Action) -> tuple[Action, Outcome, str]:
        """Do one action; an error is its outcome, and the others go on."""
        acts: dict[ActionKind, Callable[[IndexState, Notify], str]] = {
            ActionKind.COMPACT: self._compact,
            ActionKind.REBUILD: self._rebuild,
            ActionKind.RELEASE: self._release,
            ActionKind.MMAP: self._mmap,
            ActionKind.ARCHIVE: self._archive,
            ActionKind.DROP: self._drop,
        }
        try:
            with self.session.out.live() as notify:
                return action, Outcome.DONE, acts[action.kind](self.states[action.collection], notify)
        except LightragctlError as error:
            return action, Outcome.FAILED, error.message

    def forgotten(self, known: dict[str, Observation]) -> dict[str, Observation]:
        """The observations, with the rows of now for what was rebuilt."""
        return {
            name: msgspec.structs.replace(one, rows=self.states[name].rows or 0) if name in self.rebuilt else one
            for name, one in known.items()
        }

    def _compact(self, one: IndexState, notify: Notify) -> str:
        done = compact(self.place, one, True, notify)
        return f"{done.segments_before} -> {done.segments_after} segments"

    def _rebuild(self, one: IndexState, notify: Notify) -> str:
        index = rebuilding.present(self.place, one)
        record = rebuilding.run(self.session, one, index, self.timeout_s, foreground=True)
        if record.phase is not Phase.SUCCEEDED:
            raise LightragctlError(f"operation {record.id} is {record.phase}: {record.cause}")
        self.rebuilt.add(one.name)
        return f"operation {record.id}"

    def _release(self, one: IndexState, notify: Notify) -> str:
        self.place.store.release(one.name)
        return ""

    def _mmap(self, one: IndexState, notify: Notify) -> str:
        store = self.place.store
        store.release(one.name)
        try:
            store.set_mmap(one.name, True)
        finally:
            if one.loaded:
                store.load(one.name)
        return "the server does not report whether it maps the files"

    def _archive(self, one: IndexState, notify: Notify) -> str:
        """One backup for all collections of a workspace, which are then released."""
        workspace = one.role.workspace
        if workspace not in self.archived:
            wanted = creating.Wanted(None, workspace, False, True, False, self.timeout_s)
            result = creating.create(self.session, wanted, foreground=True, service_account="")
            if result.errors:
                raise LightragctlError(f"it was not archived: {result.errors[0].message}")
            self.archived.add(workspace)
        return self._release(one, notify) or "saved, and released from memory; the rows stay in the store"

    def _drop(self, one: IndexState, notify: Notify) -> str:
        self.place.store.drop(one.name)
        return ""
