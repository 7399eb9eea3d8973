"""A release's workspace as the source of a backup, and its profile's destination. Does network I/O."""

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any

from numpy.typing import NDArray

from lightragctl.backup.belonging import collections_of
from lightragctl.backup.lock import Subject
from lightragctl.backup.source import Destination, Opener, Source
from lightragctl.backup.storage import Access, Storage, open_storage
from lightragctl.backup.writes import WriteStop
from lightragctl.core.backup import Backup
from lightragctl.core.errors import RefusedError, UnavailableError, UsageError
from lightragctl.core.hint import Command, Hint
from lightragctl.core.result import Notify
from lightragctl.core.settings import SecretRef
from lightragctl.release.release import Release
from lightragctl.release.saved_configuration import configuration
from lightragctl.release.workspace_files import INPUTS, WorkspaceFiles, find_files, list_files
from lightragctl.release.writers import WriterControl
from lightragctl.service.gateway import secret_value
from lightragctl.vectors.ask import search_all
from lightragctl.vectors.collections import MilvusCollections
from lightragctl.vectors.model import IndexSpec, SearchBatch
from lightragctl.vectors.rows import Key
from lightragctl.vectors.schema import CollectionSchema
from lightragctl.vectors.store import CollectionStore

_CALL_S = 60.0
"""The deadline of one call to Milvus; a page of many long vectors takes seconds through a tunnel."""
_SEARCH: Mapping[str, Mapping[str, int]] = {"HNSW": {"ef": 200}, "IVF_FLAT": {"nprobe": 64}, "IVF_SQ8": {"nprobe": 64}}


def open_destination(settings: Backup, url: str | None, environ: Mapping[str, str]) -> Storage:
    """Where backups are: the URL, or the profile's.

    Raises:
        UsageError: neither says where, the URL is invalid, or a secret that the profile names is not set.
    """
    chosen = url or settings.destination
    if chosen is None:
        hint = Hint("use --destination file:///PATH or s3://BUCKET/PATH, or set backup.destination in the profile")
        raise UsageError("no backup destination is set", hint)

    def value(secret: SecretRef | None, name: str) -> str | None:
        return secret_value(secret, environ, f"backup.{name}") if secret else None

    access = Access(
        settings.endpoint or environ.get("AWS_ENDPOINT_URL_S3") or environ.get("AWS_ENDPOINT_URL"),
        settings.region,
        settings.path_style,
        value(settings.access_key, "access_key"),
        value(settings.secret_key, "secret_key"),
    )
    return open_storage(chosen, access)


def identities(settings: Backup, environ: Mapping[str, str]) -> tuple[str, ...]:
    """The private keys that the profile names; none when it names none.

    Raises:
        UsageError: it cannot be read.
    """
    return (secret_value(settings.identity, environ, "backup.identity"),) if settings.identity else ()


def destination(settings: Backup, storage: Storage, environ: Mapping[str, str], full: bool) -> Destination:
    """How backups go there, by the profile.

    Raises:
        UsageError: the private key that it names cannot be read.
    """
    return Destination(storage, settings.recipients, identities(settings, environ), settings.full_every, full)


@dataclass(frozen=True)
class Choice:
    """What of a release to back up, and how.

    Attributes:
        workspace: its name; None: the profile's.
        fence: block writes.
        include_secrets: save values of Secrets too.
        timeout_s: how long to wait until nothing writes any more, and until lightrag-server is ready again.
        token: letters and digits that no other command has.
    """

    workspace: str | None
    fence: bool
    include_secrets: bool
    timeout_s: float
    token: str


@contextlib.contextmanager
def open_source(release: Release, choice: Choice, notify: Notify) -> Iterator[Source]:
    """A workspace of a release that is up.

    Raises:
        NotRunningError: the release is not up.
        UsageError: there are no collections of this workspace.
        UnsupportedStoreError: a part of the workspace is in a database that cannot be copied.
    """
    workspace = choice.workspace or release.loaded.profile.workspace
    uri = release.runtime.endpoint("vector-engine")
    with contextlib.closing(MilvusCollections(uri, _CALL_S)) as store:
        if not workspace_collections(store, workspace):
            hint = Hint("load documents: ", Command("ingest", "PATH"))
            raise UsageError(f"there is no workspace '{workspace}' in release '{release.name}'", hint)
        files = _files(release, workspace)
        control = WriterControl(release.runtime, notify) if files else None
        writes = WriteStop(store, workspace, control, choice.timeout_s, choice.token)
        yield Source(
            subject=Subject(release.name, workspace),
            store=store,
            collections=lambda: workspace_collections(store, workspace),
            files=lambda: _opened(files) if files else (),
            documents=_documents(release, store, files, choice.include_secrets),
            search=lambda name, schema, vectors, k: search(uri, name, schema, vectors, k),
            hold=(lambda: writes.held(notify)) if choice.fence else None,
        )


def _files(release: Release, workspace: str) -> WorkspaceFiles | None:
    """The files of the workspace; None when lightrag-server serves another one, or is not in the release."""
    found = find_files(release.runtime, release.name)
    if found is None or found.workspace != workspace:
        return None
    if found.claim and not found.storage.is_dir():
        message = (
            f"the files of workspace '{workspace}' are on the volume claim {found.claim}, which is not mounted here"
        )
        raise RefusedError(message, "a backup of them runs in a pod that mounts it")
    return found


def _opened(files: WorkspaceFiles) -> Iterator[tuple[str, Opener]]:
    for entry in list_files(files):
        yield entry.path, partial(_open, files.path(entry.path))


def _open(path: Path) -> IO[bytes]:
    return open(path, "rb")


def _documents(
    release: Release, store: CollectionStore, files: WorkspaceFiles | None, include_secrets: bool
) -> dict[str, bytes]:
    applied = release.runtime.applied(include_secrets)
    versions = {"milvus": store.server_version(), **(_lightrag_version(release, files.workspace) if files else {})}
    documents = {"configuration.json": configuration(release.name, applied, versions)}
    if files:
        documents["files.json"] = {"inputs": str(files.roots[INPUTS].absolute())}
    return {name: json.dumps(one, indent=1, sort_keys=True).encode() for name, one in documents.items()}


def _lightrag_version(release: Release, workspace: str) -> dict[str, str]:
    """As its server reports it; nothing when that is stopped."""
    try:
        target = release.lightrag(workspace)
        return {"lightrag": target.server.version()} if target else {}
    except UnavailableError:
        return {}


def workspace_collections(store: CollectionStore, workspace: str) -> list[str]:
    """The physical names of a workspace's collections."""
    names = store.list_collections()
    return collections_of(workspace, {name: store.describe(name).aliases for name in names})


def search(uri: str, name: str, schema: CollectionSchema, vectors: NDArray[Any], k: int) -> Sequence[Sequence[Key]]:
    """The keys that a search for each of the vectors finds, best first."""
    index = next((one for one in schema.indexes if one.field == "vector"), None)
    if index is None:
        return [[] for _ in vectors]
    spec = IndexSpec(index.index_type, index.metric_type, {}, _SEARCH.get(index.index_type, {}))
    found = search_all(uri, [SearchBatch(name, vectors, k, spec, [])], _CALL_S)
    as_key: Any = str if schema.primary.dtype == "VARCHAR" else int
    return [[as_key(hit.id) for hit in hits] for hits in found]
