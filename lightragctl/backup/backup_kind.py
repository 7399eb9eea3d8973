"""A backup as a kind of operation, on a release. Does network I/O."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime

from lightragctl.backup import workspace
from lightragctl.backup.manifest import Manifest
from lightragctl.backup.rights import READS, SCALES, SERVER_KEY
from lightragctl.backup.saving import Hold as HoldWrites
from lightragctl.backup.saving import Saving, Site
from lightragctl.backup.source import Destination, Source
from lightragctl.core.backup import Backup
from lightragctl.operations.kind import Context, Hold, OperationKind, Right, Step
from lightragctl.release.release import Release
from lightragctl.release.writers import WriterControl
from lightragctl.vectors.control import NEWEST_BACKUP, NewestBackup, control_name, control_row
from lightragctl.vectors.fence import Fence, FenceTerms, hold

_LOCK_S, _WAIT_S, _COPY_S, _COMMIT_S = 300.0, 7200.0, 2 * 86_400.0, 3600.0


class ReleaseSite:
    """The workspace of a release, by the operation's parameters.

    Parameters: `settings`, the section `backup` of the profile; `destination`, a URL or null; `full`, `fence`,
    `include_secrets`; `timeout_s`: how long to wait until nothing writes any more, and until lightrag-server is ready.
    """

    def destination(self, context: Context) -> Destination:
        """See `Site`."""
        given, settings = context.record.parameters, _settings(context)
        environ = workspace.environ_of(_release(context), settings)
        storage = workspace.open_destination(settings, given["destination"], environ)
        return workspace.destination(settings, storage, environ, bool(given["full"]))

    def source(self, context: Context, hold: HoldWrites | None) -> AbstractContextManager[Source]:
        """See `Site`."""
        record = context.record
        versions, include_secrets = record.originals.get("versions", {}), bool(record.parameters["include_secrets"])
        return workspace.open_source(
            _release(context), workspace.Choice(record.workspace, include_secrets, hold, versions)
        )

    @contextmanager
    def fence(self, context: Context) -> Iterator[Fence]:
        """See `Site`."""
        record = context.record
        terms = FenceTerms(record.id, f"operation {record.id}", drain_s=float(record.parameters["timeout_s"]))
        with (
            workspace.open_store(_release(context)) as store,
            hold(store, record.workspace, terms, context.notify) as fence,
        ):
            yield fence

    def writer(self, context: Context) -> WriterControl | None:
        """See `Site`."""
        release = _release(context)
        has_files = workspace.served_files(release, context.record.workspace) is not None
        return WriterControl(release.runtime, context.notify) if has_files else None

    def record(self, context: Context, manifest: Manifest) -> None:
        """See `Site`."""
        finished_at = datetime.strptime(manifest.finished_at, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
        newest = NewestBackup(manifest.id, int(finished_at.timestamp()))
        with workspace.open_store(_release(context)) as store:
            row = control_row(NEWEST_BACKUP, newest, int(context.now().timestamp()))
            store.upsert(control_name(context.record.workspace), [row])

    def versions(self, context: Context) -> dict[str, str]:
        """See `Site`."""
        release, name = _release(context), context.record.workspace
        tables = workspace.served_tables(release, name)
        return {
            **workspace.lightrag_version(release, name),
            **({"postgresql": tables.check()} if tables else {}),
        }


def backup_kind(site: Site) -> OperationKind:
    """A backup: whole, or not there. A failure undoes everything, as another backup costs no more than to resume it."""
    steps = Saving(site)
    return OperationKind(
        name="backup",
        version=1,
        limit_s=3 * 86_400.0,
        abort_on_failure=True,
        steps=(
            Step(
                "lock",
                "lock the backups of the workspace",
                _LOCK_S,
                steps.lock,
                steps.is_locked,
                steps.unlock,
                Hold("commit"),
            ),
            Step("fence", "block writes", _WAIT_S, steps.fence, steps.is_fenced, steps.unfence, Hold("copy")),
            Step(
                "writer",
                "stop lightrag-server, if it serves the workspace",
                _WAIT_S,
                steps.stop_writer,
                steps.is_at_rest,
                steps.start_writer,
                Hold("copy"),
            ),
            Step("copy", "copy rows and files", _COPY_S, steps.copy, steps.is_copied, steps.discard),
            Step("commit", "check sizes and commit", _COMMIT_S, steps.commit, steps.is_committed),
        ),
        rights=(*READS, SCALES, SERVER_KEY, Right("", ("secrets",), ("get",), when="include_secrets")),
    )


BACKUP = backup_kind(ReleaseSite())


def _release(context: Context) -> Release:
    release: Release = context.resources
    return release


def _settings(context: Context) -> Backup:
    return Backup.model_validate(context.record.parameters["settings"])
