"""A search opened from a release: the collection, its index, queries, memory and the place of the ledger. Does I/O."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lightragctl.core.errors import LightragctlError, UsageError
from lightragctl.core.hint import Command, Hint
from lightragctl.core.result import Notify
from lightragctl.core.settings import ApiSettings
from lightragctl.local.files import data_home
from lightragctl.release.profiles import service_settings
from lightragctl.release.release import Release
from lightragctl.tune.queries import of_release
from lightragctl.tune.rebuild import current_index
from lightragctl.tune.search import Ground
from lightragctl.tune.space import Candidate, current_candidate
from lightragctl.vectors.control import collection_name
from lightragctl.vectors.copying import loaded
from lightragctl.vectors.indexing import IndexStore, ServerMemory

_CALL_S = 60.0


@dataclass(frozen=True)
class Target:
    """The collection to tune.

    Attributes:
        workspace, kind: what it holds.
        physical: its name.
        dimension: of its vectors.
        current: its index, and how it is searched.
    """

    workspace: str
    kind: str
    physical: str
    dimension: int
    current: Candidate


def settings_of(release: Release) -> ApiSettings:
    """lightrag-api's settings in the profile."""
    return service_settings(None, ApiSettings, lambda: release.plan, "lightrag-api")


@contextlib.contextmanager
def open_store(release: Release) -> Iterator[IndexStore]:
    """The vector store of a release that is up.

    Raises:
        NotRunningError: it is not.
    """
    with contextlib.closing(IndexStore(release.runtime.endpoint("vector-engine"), _CALL_S)) as store:
        yield store


def target_of(release: Release, store: IndexStore, workspace: str | None, kind: str) -> Target:
    """The collection of a kind of a workspace.

    Raises:
        UsageError: there is none.
    """
    settings = settings_of(release)
    name = workspace or settings.workspace
    alias = collection_name(name, kind, settings.embedding)
    physical = store.resolve(alias)
    if physical is None:
        hint = Hint("load documents: ", Command("ingest", "PATH"))
        raise UsageError(f"workspace '{name}' has no collection of {kind}", hint)
    schema = store.describe(physical)
    field = schema.field("vector")
    if field is None or field.dimension is None:
        raise LightragctlError(f"collection {physical} has no field of vectors")
    current = current_candidate(current_index(store, name, schema), settings.index)
    return Target(name, kind, physical, field.dimension, current)


def rows_of(store: IndexStore, target: Target) -> int:
    """The number of rows of the collection."""
    with loaded(store, target.physical):
        return store.row_count(target.physical)


def ledger_of(release: Release, target: Target) -> Path:
    """The ledger of searches of a collection, in the user's data folder.

    Raises:
        UsageError: the environment names none.
    """
    folder = data_home(release.environ) / "tune"
    return folder / f"{release.name}-{target.workspace}-{target.kind}.json"


def ground_of(release: Release, store: IndexStore, target: Target, trial_store: str | None, notify: Notify) -> Ground:
    """What a search of the collection works with."""
    uri = trial_store or release.runtime.endpoint("vector-engine")
    return Ground(
        store=store,
        trial_uri=uri,
        separate=trial_store is not None,
        questions=of_release(release, target.workspace, target.kind, notify),
        memory=lambda: _memory(uri),
        ledger=ledger_of(release, target),
    )


def _memory(uri: str) -> ServerMemory | None:
    with contextlib.closing(IndexStore(uri, _CALL_S)) as store:
        return store.memory()
