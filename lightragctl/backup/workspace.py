"""A release's workspace as the source of a backup, and its profile's destination. Does network I/O."""

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import IO, Any

from numpy.typing import NDArray

from lightragctl.backup.answers import without_last_tie
from lightragctl.backup.belonging import collections_of
from lightragctl.backup.lock import Subject
from lightragctl.backup.source import Destination, Held, Opener, Source, no_tables
from lightragctl.backup.storage import Access, Missing, Patience, Storage, open_storage
from lightragctl.client.lightrag import LightragClient
from lightragctl.core.backup import VARIABLES, Backup
from lightragctl.core.errors import NotRunningError, RefusedError, UnavailableError, UsageError
from lightragctl.core.hint import Command, Hint
from lightragctl.core.settings import SecretRef
from lightragctl.release.release import Release
from lightragctl.release.saved_configuration import configuration
from lightragctl.release.workspace_files import INPUTS, WorkspaceFiles, find_files, list_files
from lightragctl.release.workspace_tables import WorkspaceTables, find_tables
from lightragctl.release.writers import WRITER
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


def environ_of(release: Release, settings: Backup) -> Mapping[str, str]:
    """The environment, with those secrets of the settings that are keys of Secrets, as a pod has them.

    Raises:
        ForbiddenError: we may not read a Secret.
    """
    found = dict(release.environ)
    for variable, secret in settings.secrets.items():
        if variable not in found and (value := release.runtime.secret(secret)) is not None:
            found[variable] = value
    return found


def open_destination(
    settings: Backup,
    url: str | None,
    environ: Mapping[str, str],
    patience: Patience | None = None,
    missing: Missing = "create",
) -> Storage:
    """Where backups are: the URL, or the profile's; `missing`: see `open_storage`.

    Raises:
        UsageError: neither says where, the URL is invalid, or a secret that the profile names is not set.
    """
    chosen = url or settings.destination
    if chosen is None:
        hint = Hint("use --destination file:///PATH or s3://BUCKET/PATH, or set backup.destination in the profile")
        raise UsageError("no backup destination is set", hint)

    access = Access(
        settings.endpoint or environ.get("AWS_ENDPOINT_URL_S3") or environ.get("AWS_ENDPOINT_URL"),
        settings.region,
        settings.path_style,
        _secret(settings, "access_key", environ),
        _secret(settings, "secret_key", environ),
    )
    return open_storage(chosen, access, patience or Patience(), missing)


def subject_of(release: Release) -> Subject:
    """The owner of the backups when a command names none: those of the release, and of its profile's workspace."""
    return Subject(release.name, release.loaded.profile.workspace)


def identities(settings: Backup, environ: Mapping[str, str]) -> tuple[str, ...]:
    """The private keys that the profile names; none when it names none.

    Raises:
        UsageError: it cannot be read.
    """
    found = _secret(settings, "identity", environ)
    return (found,) if found else ()


def _secret(settings: Backup, name: str, environ: Mapping[str, str]) -> str | None:
    """The value of a secret of the section; None when the section does not have it."""
    given: SecretRef | None = getattr(settings, name)
    if given is None:
        return None
    if given.secret and VARIABLES[name] not in environ:
        message = f"backup.{name} is missing: there is no key {given.secret.key} in a Secret {given.secret.name}"
        raise UsageError(message, "create the Secret beside the release")
    source = SecretRef(env=VARIABLES[name]) if given.secret else given
    return secret_value(source, environ, f"backup.{name}")


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
        workspace: its name.
        include_secrets: save values of Secrets too.
        hold: blocks writes; None: two passes must agree.
        versions: of what cannot say it while it is stopped.
    """

    workspace: str
    include_secrets: bool
    hold: Callable[[], AbstractContextManager[Held]] | None = None
    versions: Mapping[str, str] = field(default_factory=dict)


@contextlib.contextmanager
def open_store(release: Release) -> Iterator[MilvusCollections]:
    """The Milvus of a release.

    Raises:
        NotRunningError: the release is not up.
    """
    with contextlib.closing(MilvusCollections(release.runtime.endpoint("vector-engine"), _CALL_S)) as store:
        yield store


@contextlib.contextmanager
def open_source(release: Release, choice: Choice) -> Iterator[Source]:
    """A workspace of a release that is up.

    Raises:
        NotRunningError: the release is not up.
        UsageError: there are no collections of this workspace.
        UnsupportedStoreError: a part of the workspace is in a store that cannot be copied.
    """
    workspace = choice.workspace
    uri = release.runtime.endpoint("vector-engine")
    with open_store(release) as store:
        if not workspace_collections(store, workspace):
            hint = Hint("load documents: ", Command("ingest", "PATH"))
            raise UsageError(f"there is no workspace '{workspace}' in release '{release.name}'", hint)
        files, tables = served_files(release, workspace), served_tables(release, workspace)
        yield Source(
            subject=Subject(release.name, workspace),
            store=store,
            collections=lambda: workspace_collections(store, workspace),
            files=lambda: _opened(mounted(files)) if files else (),
            documents=_documents(release, store, files, choice),
            search=lambda name, schema, vectors, k: search(uri, name, schema, vectors, k),
            hold=choice.hold,
            tables=tables.snapshot if tables else no_tables,
        )


def served_files(release: Release, workspace: str) -> WorkspaceFiles | None:
    """The files of the workspace; None when lightrag-server serves another one, or is not in the release."""
    found = find_files(release.runtime, release.name)
    return found if found and found.workspace == workspace else None


def served_tables(release: Release, workspace: str) -> WorkspaceTables | None:
    """The tables of the workspace in PostgreSQL; None when lightrag-server serves another one, or has only files."""
    found = find_tables(release)
    return found if found and found.workspace == workspace else None


def mounted(files: WorkspaceFiles) -> WorkspaceFiles:
    """The files, where this process can reach them.

    Raises:
        RefusedError: they are on a volume claim that is not mounted here.
    """
    if files.claim and not files.storage.is_dir():
        message = f"the files of workspace '{files.workspace}' are on the volume claim {files.claim}"
        raise RefusedError(f"{message}, which is not mounted here", "omit --foreground")
    return files


def _opened(files: WorkspaceFiles) -> Iterator[tuple[str, Opener]]:
    for entry in list_files(files):
        yield entry.path, partial(_open, files.path(entry.path))


def _open(path: Path) -> IO[bytes]:
    return open(path, "rb")


def _documents(
    release: Release, store: CollectionStore, files: WorkspaceFiles | None, choice: Choice
) -> dict[str, bytes]:
    applied = release.runtime.applied(choice.include_secrets)
    versions = {"milvus": store.server_version(), **choice.versions}
    documents = {"configuration.json": configuration(release.name, applied, versions)}
    if files:
        documents["files.json"] = {"inputs": str(files.roots[INPUTS].absolute())}
    return {name: json.dumps(one, indent=1, sort_keys=True).encode() for name, one in documents.items()}


def lightrag_version(release: Release, workspace: str) -> dict[str, str]:
    """As its server reports it; nothing when there is none for the workspace, or it is stopped."""
    if served_files(release, workspace) is None:
        return {}
    runtime = release.runtime
    try:
        with LightragClient(runtime.endpoint(WRITER), _CALL_S, runtime.api_key(WRITER)) as server:
            return {"lightrag": server.version()}
    except (NotRunningError, UnavailableError):
        return {}


def workspace_collections(store: CollectionStore, workspace: str) -> list[str]:
    """The physical names of a workspace's collections."""
    names = store.list_collections()
    return collections_of(workspace, {name: store.describe(name).aliases for name in names})


def search(uri: str, name: str, schema: CollectionSchema, vectors: NDArray[Any], k: int) -> Sequence[Sequence[Key]]:
    """The keys that a search for each of the vectors finds, best first."""
    spec = search_spec(schema)
    if spec is None:
        return [[] for _ in vectors]
    found = search_all(uri, [SearchBatch(name, vectors, k, spec, [])], _CALL_S)
    as_key: Any = str if schema.primary.dtype == "VARCHAR" else int
    return [without_last_tie([(as_key(hit.id), hit.score) for hit in hits], k) for hits in found]


def search_spec(schema: CollectionSchema) -> IndexSpec | None:
    """How the vectors of a collection are searched, with high recall; None when they have no index."""
    index = next((one for one in schema.indexes if one.field == "vector"), None)
    if index is None:
        return None
    return IndexSpec(index.index_type, index.metric_type, {}, _SEARCH.get(index.index_type, {}))
