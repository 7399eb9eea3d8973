"""What the steps of a re-embedding work on, opened from a release. Does network I/O."""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from lightragctl.backup.site import engine_uri
from lightragctl.backup.workspace import search as search_collection
from lightragctl.backup.workspace import workspace_collections
from lightragctl.bench.targets import FoundHit
from lightragctl.core.component import Plan
from lightragctl.core.errors import WaitExpired
from lightragctl.core.hint import Command, Hint
from lightragctl.core.result import Notify
from lightragctl.core.runtime import AppliedRelease, UpOptions, UpOutcome
from lightragctl.core.settings import ApiSettings, EmbeddingModel
from lightragctl.operations.kind import Context
from lightragctl.quality import golden_store
from lightragctl.quality.golden import GoldenMissingError
from lightragctl.quality.golden_store import GoldenWorkspace
from lightragctl.reembed.model import Model, Secrets, model_of, open_model
from lightragctl.reembed.texts import Embed
from lightragctl.release.probe import prove_search
from lightragctl.release.profiles import make_plan
from lightragctl.release.recorded import checked_profile
from lightragctl.release.release import Release
from lightragctl.release.workspace_files import find_files
from lightragctl.release.writers import WriterControl
from lightragctl.vectors.collections import MilvusCollections
from lightragctl.vectors.embedding import QuestionEmbedder
from lightragctl.vectors.fence import Clock
from lightragctl.vectors.model import FloatArray, index_spec
from lightragctl.vectors.rows import Key
from lightragctl.vectors.schema import CollectionSchema
from lightragctl.vectors.store import CollectionStore

_CALL_S = 60.0

Search = Callable[[str, CollectionSchema, FloatArray, int], Sequence[Sequence[Key]]]
"""The keys of the nearest rows for each vector: collection, its schema, vectors, how many."""


@dataclass(frozen=True)
class Target:
    """A profile that the release is brought to: its name and its values."""

    profile_name: str
    profile: Mapping[str, Any]

    def plan(self, release: str) -> Plan:
        """Its plan.

        Raises:
            ProfileError: this lightragctl does not understand it.
        """
        return make_plan(release, checked_profile(self.profile_name, self.profile))


@dataclass(frozen=True)
class Site:
    """A release whose workspace is embedded again.

    Attributes:
        store, search: of the release's Milvus.
        workspace: that is embedded again.
        old: the model that the release was applied with when the operation began.
        new: the model that it gets.
        ask_old: vectors of questions by the release's own model.
        open_new: opens the new model.
        golden: the texts of the golden set's queries; none without one.
        writer: of lightrag-server, where that serves the workspace; None: there is none.
        applied: the release as it was last applied.
        apply: brings it to a profile, as a step of the operation.
        prove: raises when a search through the release does not succeed, or is not served by this collection.
        clock: of the write fence and of the rate.
    """

    store: CollectionStore
    search: Search
    workspace: str
    old: EmbeddingModel
    new: EmbeddingModel
    ask_old: Embed
    open_new: Callable[[], AbstractContextManager[Model]]
    golden: Callable[[], Sequence[str]]
    writer: WriterControl | None
    applied: Callable[[], Target]
    apply: Callable[[Target, str], None]
    prove: Callable[[str], None]
    clock: Clock = field(default_factory=Clock)

    def schemas(self) -> dict[str, CollectionSchema]:
        """The workspace's collections."""
        return {name: self.store.describe(name) for name in workspace_collections(self.store, self.workspace)}

    def hits(self, name: str, vectors: FloatArray, k: int) -> list[tuple[FoundHit, ...]]:
        """The nearest rows of each vector, with the sources of their documents."""
        schema = self.store.describe(name)
        keys = [tuple(map(str, found)) for found in self.search(name, schema, vectors, k)]
        wanted = sorted({key for found in keys for key in found})
        rows = self.store.get(name, wanted, ["file_path"]) if wanted else {}
        sources = {key: str(rows[key].get("file_path", "")) for key in rows}
        return [tuple(FoundHit(key, sources.get(key, "")) for key in found) for found in keys]


def target_of(context: Context) -> Target:
    """The profile that the operation leads to."""
    given = context.record.parameters
    return Target(given["profile_name"], given["profile"])


def applied_model(applied: AppliedRelease) -> ApiSettings:
    """The settings of lightrag-api in a release: workspace, model, index."""
    return ApiSettings.model_validate(applied.settings["lightrag-api"])


@contextlib.contextmanager
def open_reembed(context: Context) -> Iterator[Site]:
    """What the steps of an operation work on. Parameters: `profile_name`, `profile`, `old`, `timeout_s`."""
    given = context.record.parameters
    old = EmbeddingModel.model_validate(given["old"])
    timeout_s = float(given["timeout_s"])
    with open_site(context.resources, target_of(context), old, timeout_s, context.notify) as site:
        yield site


@contextlib.contextmanager
def open_site(
    release: Release, target: Target, old: EmbeddingModel, timeout_s: float, notify: Notify
) -> Iterator[Site]:
    """A release that is up.

    Raises:
        NotRunningError: it is not up.
    """
    runtime, uri, plan = release.runtime, engine_uri(release), target.plan(release.name)
    settings = applied_model(runtime.applied())
    workspace = settings.workspace
    files = find_files(runtime, release.name)
    has_writer = files is not None and files.workspace == workspace
    secrets = Secrets(release.environ, runtime.secret)

    def ask_old(questions: Sequence[str]) -> FloatArray:
        return QuestionEmbedder(runtime.endpoint("model-gateway"), old)(questions)

    def apply(wanted: Target, operation: str) -> None:
        options = UpOptions(timeout_s, operation=operation)
        runtime.up(wanted.plan(release.name), options, lambda differences: None, notify)

    with contextlib.closing(MilvusCollections(uri, _CALL_S)) as store:
        yield Site(
            store=store,
            search=lambda name, schema, vectors, k: search_collection(uri, name, schema, vectors, k),
            workspace=workspace,
            old=old,
            new=model_of(plan),
            ask_old=ask_old,
            open_new=lambda: open_model(plan, secrets),
            golden=partial(_golden, store, GoldenWorkspace(workspace, old, index_spec(settings.index))),
            writer=WriterControl(runtime, notify) if has_writer else None,
            applied=lambda: _target(runtime.applied()),
            apply=apply,
            prove=lambda collection: _prove(release, collection, timeout_s, notify),
        )


def _target(applied: AppliedRelease) -> Target:
    return Target(applied.profile_name, applied.values)


def _golden(store: CollectionStore, place: GoldenWorkspace) -> list[str]:
    try:
        return [one.query.text for one in golden_store.load(store, place).answers]
    except GoldenMissingError:
        return []


def _prove(release: Release, collection: str, timeout_s: float, notify: Notify) -> None:
    """Wait until lightrag-api searches the collection."""
    prove_search(release, UpOutcome((), release.runtime.status()), timeout_s, notify)
    end = time.monotonic() + timeout_s
    while (served := release.api.retrieve("which collection?", top_k=1, recorded=False).collection) != collection:
        if time.monotonic() > end:
            hint = Hint("see: ", Command("status"))
            raise WaitExpired(f"lightrag-api searches {served or 'nothing'}, not {collection}", hint)
        time.sleep(1.0)
