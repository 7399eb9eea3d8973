"""The steps that replace a workspace by a verified copy, and undo that."""

from datetime import timedelta
from typing import Any

from lightragctl.backup import switch
from lightragctl.backup.examine import plan_moves
from lightragctl.backup.moves import Moves
from lightragctl.backup.proof import prove_answers, prove_counts
from lightragctl.backup.site import Work, open_site
from lightragctl.backup.steps import Copying, rest, start, token_of
from lightragctl.core.errors import LightragctlError, LockedError, RefusedError, UnavailableError
from lightragctl.operations.kind import Context
from lightragctl.operations.model import Kept
from lightragctl.release.placed_files import PlacedFiles
from lightragctl.release.placed_tables import PlacedTables
from lightragctl.release.release import Release
from lightragctl.release.workspace_files import find_files, list_files
from lightragctl.release.workspace_tables import find_tables
from lightragctl.release.writers import WRITER
from lightragctl.vectors.control import EPOCH
from lightragctl.vectors.copying import loaded
from lightragctl.vectors.fence import SPREAD_S, begin_switch, end_switch, switching
from lightragctl.vectors.store import CollectionStore

KEPT_DAYS = 7
_COLLECTION, _FILES, _TABLES = "collection:", "files:", "tables:"
_STOPPED = "stopped_to_undo"
_NOT_BEGUN, _KEEPING, _BEGUN, _DONE = "", "keeping", "begun", "done"
"""How far a switch is, as the record has it."""


class Replacing(Copying):
    """The steps of a copy that takes the place of a workspace; what was there before is kept."""

    def switch(self, context: Context) -> None:
        """Put the copy in place. Queries and writes are answered with 503 meanwhile.

        An error other than an outage undoes what was switched, so that the workspace is one or the other.
        """
        if _state(context) == _NOT_BEGUN and not self.of_source and context.record.results["existed"]:
            self.fences.held(context.record.id)  # later, the marker refuses writes too
        with self.open(context) as work:
            try:
                self._switch(context, work)
            except LightragctlError as error:
                if not isinstance(error, UnavailableError | LockedError):
                    self._settle(context, work)
                raise

    def _switch(self, context: Context, work: Work) -> None:
        store, workspace = work.site.store, work.site.workspace
        if _state(context) == _NOT_BEGUN:
            self._plan(context, work)
        if _state(context) == _KEEPING:
            begin_switch(store, workspace, context.record.id, work.site.clock)
            switch.keep_control(store, _moves(context), context.check)
            context.save_result("switch", _BEGUN)
        if _state(context) == _BEGUN:
            switch.forward(store, _moves(context), context.check)
            placed = self.placed(context, work)
            if placed is not None:
                context.check()
                placed.switch()
            if (tables := self.placed_tables(context, work)) is not None:
                context.check()
                tables.switch(work.moved_inputs)
            self._prove(context, work)
            context.save_result("switch", _DONE)
        context.check()
        end_switch(store, workspace, context.record.id, work.site.clock)

    def _plan(self, context: Context, work: Work) -> None:
        """Note what the switch will rename, and the data that it will keep."""
        if work.site.collections and not context.record.results["existed"]:
            raise RefusedError(f"workspace '{work.site.workspace}' was created meanwhile", "run the command again")
        planned = plan_moves(work, context.record.results["names"], token_of(context))
        context.save_result("moves", planned.to_plain())
        self._keep(context, work, planned)
        context.save_result("switch", _KEEPING)
        context.check()

    def _prove(self, context: Context, work: Work) -> None:
        """Count the rows, and search by the names of the workspace, before readers are let through."""
        results = context.record.results
        final = {one.copy: one.name for one in _moves(context).news}
        names = {name: final[copy] for name, copy in results["names"].items() if copy in final}
        prove_counts(work, names, {name: results["copied"][name][0] for name in names})
        prove_answers(work, names)

    def is_switched(self, context: Context) -> bool:
        """Whether the copy is in place and readers are let through."""
        if _state(context) != _DONE:
            return False
        with self.open(context) as work:
            there = work.site.store.list_collections()
            is_in_place = all(one.name in there for one in _moves(context).news)
            return is_in_place and switching(work.site.store, work.site.workspace) != context.record.id

    def unswitch(self, context: Context) -> None:
        """Restore the previous workspace, with lightrag-server stopped."""
        with self.open(context) as work:
            control = work.site.writer if work.site.served == work.site.workspace else None
            if _state(context) != _NOT_BEGUN:
                if control is not None and not context.record.results.get("writer_at_rest"):
                    context.save_result(_STOPPED, True)
                    rest(context, control)
                self._back(context, work)
            if control is not None and context.record.results.get(_STOPPED):
                start(context, control)
                context.save_result(_STOPPED, False)

    def start_writer(self, context: Context) -> None:
        """Start lightrag-server again; before, a switch that stands half way is undone."""
        self._settle_if_half(context)
        super().start_writer(context)

    def unfence(self, context: Context) -> None:
        """Let writes through again; before, a switch that stands half way is undone."""
        self._settle_if_half(context)
        super().unfence(context)

    def _settle_if_half(self, context: Context) -> None:
        if _state(context) in (_KEEPING, _BEGUN):
            with self.open(context) as work:
                self._settle(context, work)

    def _settle(self, context: Context, work: Work) -> None:
        if _state(context) in (_KEEPING, _BEGUN):
            self._back(context, work)

    def _back(self, context: Context, work: Work) -> None:
        """Undo the switch, whatever part of it was done."""
        store, workspace = work.site.store, work.site.workspace
        if _state(context) in (_BEGUN, _DONE):
            context.check()
            if _state(context) == _DONE:
                begin_switch(store, workspace, context.record.id, work.site.clock)
                context.save_result("switch", _BEGUN)
            switch.back(store, _moves(context), context.check)
            for placed in self.all_placed(context, work):
                context.check()
                placed.undo()
                context.save_result("files_written", False)
        kept = _moves(context).control_kept
        if kept is not None:
            store.drop(kept)
        context.check()
        end_switch(store, workspace, context.record.id, work.site.clock)
        if kept is None:  # the switch has created it
            store.drop(_moves(context).control)
        context.save_result("switch", _NOT_BEGUN)

    def _keep(self, context: Context, work: Work, planned: Moves) -> None:
        """Note the old data, before they become such; what is empty is not kept."""
        now, store = context.now(), work.site.store
        times = {"created_at": now, "expires_at": now + timedelta(days=KEPT_DAYS)}
        found = [
            (f"{_COLLECTION}{old.kept}", f"previous collection {old.name}", _size_bytes(store, old.name))
            for old in planned.olds
        ]
        if planned.control_kept:
            size = _size_bytes(store, planned.control, (EPOCH,))
            found.append((f"{_COLLECTION}{planned.control_kept}", f"previous rows of {planned.control}", size))
        placed = self.placed(context, work)
        if placed is not None:
            size = sum(one.size_bytes for one in list_files(placed.files))
            name = f"{_FILES}{work.site.workspace}:{context.record.id}"
            found.append((name, f"previous files of workspace '{work.site.workspace}'", size))
        if (tables := self.placed_tables(context, work)) is not None:
            about = f"previous rows of workspace '{work.site.workspace}' in PostgreSQL"
            found.append((_kept_tables(context, work), about, tables.size_bytes()))
        for name, about, size in found:
            if size:
                context.keep(Kept(name=name, about=about, size_bytes=size, **times))

    def confirm(self, context: Context) -> None:
        """Verify that the names of the workspace are those of the copy, and delete what is not kept."""
        planned = _moves(context)
        with self.open(context) as work:
            store = work.site.store
            work.site.clock.pause(SPREAD_S)  # until each replica of lightrag-api has read that the switch is over
            names = [(one, new.name) for new in planned.news for one in (new.name, *new.aliases)]
            wrong = [f"{one} is {store.resolve(one)}, not {name}" for one, name in names if store.resolve(one) != name]
            if wrong:
                raise LightragctlError(f"the copy is not in place: {'; '.join(wrong)}")
            kept = {one.name for one in context.record.kept}
            there = store.list_collections()
            for old in planned.olds:
                if old.kept in there:
                    store.release(old.kept)
            surplus = [one for one in planned.kept if f"{_COLLECTION}{one}" not in kept]
            for one in (*surplus, *([planned.control_copy] if planned.control_copy else [])):
                context.check()
                store.drop(one)
            placed = self.placed(context, work)
            if placed is not None and f"{_FILES}{work.site.workspace}:{context.record.id}" not in kept:
                placed.cleanup()
            tables = self.placed_tables(context, work)
            if tables is not None and _kept_tables(context, work) not in kept:
                tables.cleanup()
        context.save_result("confirmed", True)


def clean_up(kept: Kept, release: Any) -> None:
    """Delete old data of a restore; files on a volume that is not mounted here, in the pod that mounts it.

    Raises:
        NotRunningError: the release is not up.
        LightragctlError: files could not be deleted in the pod.
    """
    kind, _, rest_of = kept.name.partition(":")
    if f"{kind}:" == _COLLECTION:
        _drop(release, rest_of)
        return
    workspace, _, operation = rest_of.partition(":")
    if f"{kind}:" == _TABLES:
        tables = find_tables(release)
        if tables is not None:
            PlacedTables(tables.of(workspace), operation).cleanup()
        return
    files = find_files(release.runtime, release.name)
    if files is None:
        return
    placed = PlacedFiles(files.of(workspace), operation)
    if files.claim is None or files.storage.is_dir():
        placed.cleanup()
    elif release.runtime.exec(WRITER, ["rm", "-rf", "--", *map(str, placed.kept_folders)]):
        raise LightragctlError(f"{kept.about} were not deleted in the pod of {WRITER}")


def _kept_tables(context: Context, work: Work) -> str:
    return f"{_TABLES}{work.site.workspace}:{context.record.id}"


def _drop(release: Release, name: str) -> None:
    with open_site(release, "", lambda event: None) as site:
        site.store.drop(name)


def _size_bytes(store: CollectionStore, name: str, without: tuple[str, ...] = ()) -> int:
    """About the bytes of a collection: rows times the size of the first ones. 0: it has no row that is kept."""
    with loaded(store, name):
        batch = next(iter(store.read_rows(name, store.describe(name))), None)
        if batch is None or (without and not len(switch.lasting(batch, without))):
            return 0
        return round(batch.size_bytes / len(batch) * store.row_count(name))


def _state(context: Context) -> str:
    return str(context.record.results.get("switch", _NOT_BEGUN))


def _moves(context: Context) -> Moves:
    return Moves.from_plain(context.record.results["moves"])
