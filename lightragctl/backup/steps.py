"""The steps of restore, clone and drill: copy beside, verify, switch. Each may be repeated, by another process too."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from typing import IO, Any

from lightragctl.backup import restore
from lightragctl.backup.examine import examine, read_all
from lightragctl.backup.fences import Fences
from lightragctl.backup.origin import BackupOrigin
from lightragctl.backup.progress import Progress
from lightragctl.backup.proof import prove, prove_tables
from lightragctl.backup.site import Work, mounted
from lightragctl.core.errors import LightragctlError, LockedError, RefusedError, UnavailableError
from lightragctl.core.hint import hint_parts
from lightragctl.core.result import Event
from lightragctl.operations.kind import Context
from lightragctl.operations.model import PROBLEM
from lightragctl.release.placed_files import PlacedFiles
from lightragctl.release.placed_tables import PlacedTables
from lightragctl.release.workspace_tables import Extent
from lightragctl.release.writers import WRITER, Writer, WriterControl, find_writer
from lightragctl.vectors.fence import Fence, FenceTerms, hold
from lightragctl.vectors.schema import fitted, server

_PIECE_BYTES = 1024 * 1024

Open = Callable[[Context], AbstractContextManager[Work]]


class Copying:
    """The steps that bring a copy of a workspace about, without any effect on readers.

    Args:
        open_work: opens the origin and the target.
        of_source: the fence and the rest of lightrag-server are those of the source, whose rows must not change.
    """

    def __init__(self, open_work: Open, of_source: bool = False) -> None:
        self.open, self.of_source = open_work, of_source
        self.fences = Fences()

    def check(self, context: Context) -> None:
        """Refuse what cannot be copied: a damaged backup, another model, too little space, a server that loses data."""
        with self.open(context) as work:
            if isinstance(work.origin, BackupOrigin):
                context.save_result("backup", work.origin.chain.manifest.id)
                _refuse_other_workspace(context, work)
            found = examine(work, token_of(context))
            context.save_result("secrets", list(found.secrets))
            context.save_result("losses", list(found.losses))
            refuse_losses(found.losses, bool(context.record.parameters.get("allow_lossy")))
            if self.of_source and found.exists:
                raise exists(work.site.workspace)
            context.save_result("existed", found.exists)
            if work.site.files and _has_files(work):
                mounted(work.site.files)
            if (tables := self.placed_tables(context, work)) is not None:
                tables.check(work.origin.table_columns)
            read_all(work.origin, lambda done, total: context.report(done, total, "bytes", "reading the backup"))
        context.save_result("checked", True)

    def fence(self, context: Context) -> None:
        """Block writes through lightrag-api; a copy that another process has begun from the source is discarded."""
        if self.is_fenced(context):
            return
        self.fences.take(context.record.id, self._fenced(context))
        if self.of_source:
            self.forget_copies(context)

    def is_fenced(self, context: Context) -> bool:
        """Whether this process holds the fence, or none is needed, as for a workspace that does not exist."""
        return self.fences.holds(context.record.id) or not (self.of_source or context.record.results["existed"])

    def unfence(self, context: Context) -> None:
        """Let writes through again."""
        self.fences.release(context.record.id)

    @contextmanager
    def _fenced(self, context: Context) -> Iterator[Fence]:
        timeout_s = float(context.record.parameters["timeout_s"])
        terms = FenceTerms(context.record.id, f"operation {context.record.id}", drain_s=timeout_s)
        with self.open(context) as work:
            workspace = work.origin.workspace if self.of_source else work.site.workspace
            with hold(work.site.store, workspace, terms, context.notify, work.site.clock) as fence:
                yield fence

    def stop_writer(self, context: Context) -> None:
        """Stop lightrag-server if it writes to the workspace whose data must not change."""
        with self.open(context) as work:
            control = self.writer_of(work)
            if control is not None:
                rest(context, control)
                if self.of_source:
                    self.forget_copies(context)
            else:
                context.notify(Event("skipped: no lightrag-server has to stop", "writer"))
        context.save_result("writer_at_rest", True)

    def start_writer(self, context: Context) -> None:
        """Start lightrag-server again, as it was."""
        with self.open(context) as work:
            control = self.writer_of(work)
            if control is not None:
                start(context, control)
        context.save_result("writer_at_rest", False)

    def writer_of(self, work: Work) -> WriterControl | None:
        """The control of lightrag-server, when it serves the workspace whose data must not change."""
        workspace = work.origin.workspace if self.of_source else work.site.workspace
        return work.site.writer if work.site.served == workspace else None

    def forget_copies(self, context: Context) -> None:
        """Have all that was copied copied again."""
        context.save_result("copied", {})
        context.save_result("files_written", False)

    def copy(self, context: Context) -> None:
        """Copy each collection under a new name, build its indexes and load it. A partial copy is begun again."""
        with self.open(context) as work:
            store, schemas = work.site.store, work.origin.schemas
            names = restore.new_names(list(schemas), token_of(context))
            context.save_result("names", names)
            progress = self.progress(context, work.origin.row_total, "copied")
            for name, copy in names.items():
                done = dict(context.record.results.get("copied", {}))
                if name in done:
                    progress.rows += done[name][0]
                    continue
                context.check()
                store.drop(copy)
                restore.write_collection(work.origin.rows(name), schemas[name], store, copy, progress)
                wanted = work.origin.expected(name)
                context.save_result("copied", {**done, name: [wanted.unique_keys, wanted.digest]})

    def is_copied(self, context: Context) -> bool:
        """Whether every collection was copied, and its original could not change since."""
        results = context.record.results
        is_whole = "names" in results and set(results["names"]) == set(results.get("copied", {}))
        return is_whole and self._is_of_one_moment(context)

    def are_files_written(self, context: Context) -> bool:
        """Whether every file was copied, and its original could not change since."""
        return bool(context.record.results.get("files_written")) and self._is_of_one_moment(context)

    def _is_of_one_moment(self, context: Context) -> bool:
        """Whether copies are of the moment that will be verified; after that, the original may change."""
        return not self.of_source or "proof" in context.record.results or self.fences.holds(context.record.id)

    def uncopy(self, context: Context) -> None:
        """Delete the copies."""
        if context.record.results.get("switch") in ("begun", "done"):
            raise LightragctlError("the copies are not deleted, because they are in use as the workspace")
        self._drop_copies(context)
        context.save_result("copied", {})

    def _drop_copies(self, context: Context) -> None:
        with self.open(context) as work:
            for copy in context.record.results.get("names", {}).values():
                context.check()
                work.site.store.drop(copy)

    def write_files(self, context: Context) -> None:
        """Write lightrag-server's files next to the current ones."""
        with self.open(context) as work:
            placed = self.placed(context, work)
            if placed is not None:
                placed.undo()
                placed.begin()
                for number, (name, read) in enumerate(work.origin.files(), 1):
                    placed.write(name, read())
                    context.report(number, None, "files")
                placed.complete(work.origin.inputs)
            tables = self.placed_tables(context, work)
            if tables is not None:
                self._write_tables(context, work, tables)
        context.save_result("files_written", True)

    @staticmethod
    def _write_tables(context: Context, work: Work, placed: PlacedTables) -> None:
        placed.begin()
        written: dict[str, Any] = {}
        with work.origin.tables() as tables:
            for one in tables:
                with one.open() as rows:
                    placed.write(one.name, one.columns, _pieces(context, rows, f"writing table {one.name}"))
                extent = one.extent or Extent(0, "")
                written[one.name] = [extent.rows, extent.digest, list(one.columns)]
        context.save_result("tables", written)

    def unwrite_files(self, context: Context) -> None:
        """Delete the files and rows beside."""
        with self.open(context) as work:
            for placed in self.all_placed(context, work):
                if not placed.is_switched():
                    placed.undo()
        context.save_result("files_written", False)

    def placed(self, context: Context, work: Work) -> PlacedFiles | None:
        """The files of the target; None when neither the origin nor the target has any."""
        if work.site.files is None or not _has_files(work):
            return None
        return PlacedFiles(mounted(work.site.files), context.record.id)

    def placed_tables(self, context: Context, work: Work) -> PlacedTables | None:
        """The tables of the target in PostgreSQL; None when neither the origin nor the target has any."""
        site = work.site
        if site.tables is None or not (work.origin.table_columns or site.served == site.workspace):
            return None
        return PlacedTables(site.tables, context.record.id)

    def all_placed(self, context: Context, work: Work) -> Sequence[PlacedFiles | PlacedTables]:
        """The files and the tables of the target, as far as there are any."""
        found = (self.placed(context, work), self.placed_tables(context, work))
        return [one for one in found if one is not None]

    def verify(self, context: Context) -> None:
        """Compare the copies with the original: keys, hashes of rows, known answers, entities of the graph."""
        with self.open(context) as work:
            results = context.record.results
            wanted = {name: self._wanted(work, results, name) for name in results["names"]}
            progress = self.progress(context, sum(one.unique_keys for one in wanted.values()), "verified")
            proof = prove(work, results["names"], wanted, progress)
            if (tables := self.placed_tables(context, work)) is not None:
                proof["table_rows"] = prove_tables(tables, results.get("tables", {}))
        if self.of_source:
            self.fences.held(context.record.id).confirm()
        context.save_result("proof", proof)

    @staticmethod
    def _wanted(work: Work, results: Any, name: str) -> restore.Expected:
        """What a copy must have; where the server cannot hold all, only the number of rows is known."""
        unique_keys, digest = results["copied"][name]
        schema = work.origin.schemas[name]
        is_lossy = name in work.origin.losses(work.site.store)
        held = fitted(schema, server(work.site.store.server_version())) if is_lossy else schema
        return restore.Expected(held, unique_keys, "" if is_lossy else digest)

    def drop_copies(self, context: Context) -> None:
        """Delete what a drill has copied."""
        self._drop_copies(context)
        context.save_result("removed", True)

    @staticmethod
    def progress(context: Context, total: int, verb: str) -> Progress:
        """Progress in rows, as that of the operation."""

        def notify(event: Event) -> None:
            data = event.data or {}
            context.report(data["rows"], max(data["total_rows"], data["rows"]), "rows", f"{verb} {event.subject}")

        return Progress(notify, lambda: context.now().timestamp(), total, verb)


def _pieces(context: Context, rows: IO[bytes], message: str) -> Iterator[bytes]:
    """All that a stream gives; how much that was is the progress of the operation."""
    done = 0
    while piece := rows.read(_PIECE_BYTES):
        done += len(piece)
        context.report(done, None, "bytes", message)
        yield piece


def rest(context: Context, control: WriterControl) -> None:
    """Stop lightrag-server; its number of replicas is saved first."""
    writer = find_writer(control.runtime)
    if writer is None:
        return
    timeout_s = float(context.record.parameters["timeout_s"])
    context.save_original("replicas", writer.replicas)
    control.wait_idle(timeout_s)
    context.check()
    context.save_result("writer_stopped_at", context.now().isoformat())
    control.stop(context.record.id, timeout_s)


def start(context: Context, control: WriterControl) -> None:
    """Start lightrag-server again. One that was started and is not ready is a problem of its own, saved as a result.

    Raises:
        LightragctlError: it could not be started.
    """
    saved, results = context.record.originals, context.record.results
    if "replicas" not in saved or "writer_stopped_at" not in results:
        return
    stopped_at, replicas = datetime.fromisoformat(results["writer_stopped_at"]), int(saved["replicas"])
    try:
        seconds = control.start(Writer(WRITER, replicas), stopped_at, float(context.record.parameters["timeout_s"]))
        problem = None
    except (UnavailableError, LockedError):
        raise
    except LightragctlError as error:
        if control.runtime.replicas(WRITER) != replicas:
            raise
        seconds = (context.now() - stopped_at).total_seconds()
        problem = {"message": error.message, "hint": str(error.hint), "hint_parts": hint_parts(error.hint)}
        context.notify(Event(error.message, WRITER))
    if problem or PROBLEM in results:
        context.save_result(PROBLEM, problem)
    context.save_result("writer_stopped_s", round(seconds, 1))


def refuse_losses(losses: Any, allowed: bool) -> None:
    """Does nothing when nothing is lost, or that is allowed.

    Raises:
        RefusedError: with what would be lost.
    """
    if losses and not allowed:
        raise RefusedError(f"the copy would not be complete: {'; '.join(losses)}", "to continue, use --allow-lossy")


def _refuse_other_workspace(context: Context, work: Work) -> None:
    """Refuse a backup of another workspace than the one that its command assumed without reading the backup."""
    source, target = work.origin.workspace, work.site.workspace
    if context.record.parameters.get("is_assumed") and source != target:
        message = f"the backup is of workspace '{source}', not of '{target}'"
        raise RefusedError(message, f"set the workspace to restore: --target-workspace {source}")


def exists(workspace: str) -> RefusedError:
    """The error that a clone finds its target there."""
    return RefusedError(f"workspace '{workspace}' already exists", "choose another name")


def token_of(context: Context) -> str:
    """Letters and digits that tell the data of this operation from those of others."""
    return context.record.id.rpartition("-")[2]


def _has_files(work: Work) -> bool:
    """Whether the origin has files of lightrag-server, or the target would keep its previous ones."""
    if any(True for _ in work.origin.files()):
        return True
    return work.site.files is not None and work.site.served == work.site.workspace
