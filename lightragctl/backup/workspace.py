"""A release's workspace as the source of a backup, and its profile's destination. Does network I/O."""

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from lightragctl.backup.belonging import collections_of
from lightragctl.backup.lock import Subject
from lightragctl.backup.source import Destination, Source
from lightragctl.backup.storage import Access, Storage, open_storage
from lightragctl.core.backup import Backup
from lightragctl.core.errors import UsageError
from lightragctl.core.hint import Command, Hint
from lightragctl.core.settings import SecretRef
from lightragctl.release.release import Release
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
        raise UsageError("no destination for backups is given", hint)

    def value(secret: SecretRef | None, name: str) -> str | None:
        return secret_value(secret, environ, f"backup.{name}") if secret else None

    access = Access(
        settings.endpoint,
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


@contextlib.contextmanager
def open_source(release: Release, workspace: str | None, fence: bool) -> Iterator[Source]:
    """The workspace of a release that is up (None: the profile's own).

    Raises:
        NotRunningError: the release is not up.
        UsageError: there are no collections of this workspace.
    """
    chosen = workspace or release.loaded.profile.workspace
    uri = release.runtime.endpoint("vector-engine")
    with contextlib.closing(MilvusCollections(uri, _CALL_S)) as store:
        if not workspace_collections(store, chosen):
            raise UsageError(
                f"there is no workspace '{chosen}' in release '{release.name}'",
                Hint("load documents: ", Command("ingest", "PATH")),
            )
        yield Source(
            subject=Subject(release.name, chosen),
            store=store,
            collections=lambda: workspace_collections(store, chosen),
            files=lambda: (),
            documents={"profile.json": _profile(release)},
            search=lambda name, schema, vectors, k: search(uri, name, schema, vectors, k),
            hold=None,
        )


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


def _profile(release: Release) -> bytes:
    """The profile with its overrides; secrets are references in it, never values."""
    loaded = release.loaded
    document = {"name": loaded.name, "profile": loaded.profile.model_dump(mode="json", exclude_none=True)}
    return json.dumps(document, indent=1, sort_keys=True).encode()
