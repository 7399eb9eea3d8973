"""What the steps of a restore or a clone work on, opened from a release. Does network I/O."""

import contextlib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lightragctl.backup.answers import Search
from lightragctl.backup.catalog import chosen
from lightragctl.backup.chain import open_chain
from lightragctl.backup.origin import BackupOrigin, Origin, WorkspaceOrigin
from lightragctl.backup.storage import Patience
from lightragctl.backup.workspace import (
    environ_of,
    identities,
    open_destination,
    search,
    subject_of,
    workspace_collections,
)
from lightragctl.backup.workspace import mounted as mounted
from lightragctl.core.errors import UsageError
from lightragctl.core.hint import Command, Hint
from lightragctl.core.profile import Runtime
from lightragctl.core.result import Notify
from lightragctl.core.settings import ApiSettings, EmbeddingModel
from lightragctl.operations.kind import Context
from lightragctl.release.profiles import service_settings
from lightragctl.release.release import Release
from lightragctl.release.workspace_files import INPUTS, WorkspaceFiles, find_files
from lightragctl.release.workspace_tables import WorkspaceTables, find_tables
from lightragctl.release.writers import WriterControl
from lightragctl.vectors.collections import MilvusCollections
from lightragctl.vectors.fence import Clock
from lightragctl.vectors.store import CollectionStore

_CALL_S = 60.0
"""The deadline of one call to Milvus; a page of many long vectors takes seconds through a tunnel."""


@dataclass(frozen=True)
class Site:
    """Where a workspace is copied to.

    Attributes:
        store: where its collections will be.
        search: in the store.
        workspace: its name there.
        files: where its files will be; None when the release has no lightrag-server.
        tables: where its rows in PostgreSQL will be; None when lightrag-server has only files.
        served: the workspace that lightrag-server serves; empty when there is none.
        writer: of lightrag-server; None when there is none.
        model: the release's embedding model.
        free_bytes: of the disk that the release is on; None when that is unknown.
        clock: of the write fence.
    """

    store: CollectionStore
    search: Search
    workspace: str
    files: WorkspaceFiles | None
    served: str
    writer: WriterControl | None
    model: EmbeddingModel
    free_bytes: int | None = None
    tables: WorkspaceTables | None = None
    clock: Clock = field(default_factory=Clock)

    @property
    def collections(self) -> list[str]:
        """The physical names of the workspace's collections now."""
        return workspace_collections(self.store, self.workspace)


@dataclass(frozen=True)
class Work:
    """A workspace to copy, and where to."""

    origin: Origin
    site: Site

    @property
    def moved_inputs(self) -> tuple[str, str]:
        """The folder of the workspace's uploads, absolute: where it comes from, and where it goes."""
        files = self.site.files
        return self.origin.inputs, str(files.roots[INPUTS].absolute()) if files else ""


@contextlib.contextmanager
def open_site(release: Release, workspace: str, notify: Notify) -> Iterator[Site]:
    """A workspace of a release that is up; it need not exist.

    Raises:
        NotRunningError: the release is not up.
        UnsupportedStoreError: lightrag-server keeps a part of its workspace in a store that cannot be copied.
    """
    uri = engine_uri(release)
    files, tables = find_files(release.runtime, release.name), find_tables(release)
    settings = service_settings(None, ApiSettings, lambda: release.plan, "lightrag-api")
    with contextlib.closing(MilvusCollections(uri, _CALL_S)) as store:
        yield Site(
            store=store,
            search=lambda name, schema, vectors, k: search(uri, name, schema, vectors, k),
            workspace=workspace,
            files=files.of(workspace) if files else None,
            served=files.workspace if files else "",
            writer=WriterControl(release.runtime, notify) if files else None,
            model=settings.embedding,
            free_bytes=_free_bytes(release),
            tables=tables.of(workspace) if tables else None,
        )


@contextlib.contextmanager
def open_restore(context: Context) -> Iterator[Work]:
    """What a restore works on. Parameters: `backup`, `source`, `target`."""
    release, given = context.resources, context.record.parameters
    backup = context.record.results.get("backup") or given["backup"]
    origin = open_backup(release, given.get("source"), backup, context)
    with open_site(release, context.record.workspace, context.notify) as site:
        yield Work(origin, site)


def open_backup(
    release: Release, source: str | None, backup: str, time: Any, patience: Patience | None = None
) -> BackupOrigin:
    """A backup of a release's destination, or of another one.

    Args:
        release: whose profile says where backups are, and how they are decrypted.
        source: the URL; None: that of the profile.
        backup: its id, or `latest`.
        time: has `now`.
        patience: with an object store; None: that of an operation.

    Raises:
        UsageError: there is no such backup.
        InvalidBackupError: it is damaged.
        StorageUnavailableError, NotMountedError, ForbiddenError: it cannot be read from this process.
    """
    settings = release.loaded.profile.backup
    environ = environ_of(release, settings)
    storage = open_destination(settings, source, environ, patience, missing="refuse")
    keys = identities(settings, environ)
    return BackupOrigin(open_chain(storage, chosen(storage, backup, subject_of(release), time.now()), keys))


@contextlib.contextmanager
def open_clone(context: Context) -> Iterator[Work]:
    """What a clone works on. Parameters: `workspace`."""
    source = str(context.record.parameters["workspace"])
    with open_site(context.resources, context.record.workspace, context.notify) as site:
        collections = source_collections(site, source, context.resources.name)
        is_served = site.served == source
        tree = site.files.of(source) if site.files and is_served else None
        tables = site.tables.of(source) if site.tables and is_served else None
        yield Work(WorkspaceOrigin(site.store, source, collections, tree, tables), site)


def source_collections(site: Site, source: str, release: str) -> list[str]:
    """The physical names of the collections of a workspace to clone.

    Raises:
        UsageError: there are none.
    """
    collections = workspace_collections(site.store, source)
    if not collections:
        hint = Hint("load documents: ", Command("ingest", "PATH"))
        raise UsageError(f"there is no workspace '{source}' in release '{release}'", hint)
    return collections


def engine_uri(release: Release) -> str:
    """The address of Milvus: inside the cluster that of its service, else one that is forwarded to."""
    if release.is_recorded:
        return service_settings(None, ApiSettings, lambda: release.plan, "lightrag-api").vector_engine_uri
    return release.runtime.endpoint("vector-engine")


def _free_bytes(release: Release) -> int | None:
    if release.loaded.profile.runtime is not Runtime.LOCAL:
        return None
    return shutil.disk_usage(Path(release.runtime.data)).free
