"""The vector store of a release for the steps of its upgrade: the present one, one beside it, and queries. I/O."""

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass

import numpy as np

from lightragctl.backup.newest import newest
from lightragctl.backup.site import engine_uri
from lightragctl.backup.workspace import search_spec
from lightragctl.core.errors import LightragctlError
from lightragctl.core.objects import KubernetesObject
from lightragctl.core.result import Event, Notify
from lightragctl.deploy.runtime import KubernetesRuntime
from lightragctl.operations.kind import Context
from lightragctl.release.golden import place, recorded_vectors
from lightragctl.release.release import Release
from lightragctl.upgrade.compared import Asked
from lightragctl.upgrade.site import Site, site_of
from lightragctl.vectors.collections import MilvusCollections
from lightragctl.vectors.control import chunks_alias
from lightragctl.vectors.model import FloatArray, SearchBatch
from lightragctl.vectors.schema import CollectionSchema
from lightragctl.vectors.search import MilvusSearch
from lightragctl.vectors.store import CollectionStore

_CALL_S, _PROBE_S = 60.0, 1.0
_RECORDED = 200

Ask = Callable[[str, CollectionSchema, FloatArray, int], Sequence[Asked]]
"""Searches for each vector in turn; takes collection, its schema, vectors `(n, dimension)` and k."""


@dataclass(frozen=True)
class Engine:
    """A vector store: its collections, and searches in them."""

    store: CollectionStore
    ask: Ask


@dataclass(frozen=True)
class EngineSite:
    """A release with its vector store.

    Attributes:
        site: the release.
        live: opens its vector store; `probing`: with deadlines of a second.
        beside: opens the one in a pod.
        questions: vectors of recorded questions by the alias of the collection that they are about.
        backup_age_s: of the newest backup of the profile's workspace; None: there is none.
        pause: waits some seconds.
    """

    site: Site
    live: Callable[[bool], AbstractContextManager[Engine]]
    beside: Callable[[KubernetesObject], AbstractContextManager[Engine]]
    questions: Callable[[Notify], Mapping[str, FloatArray]]
    backup_age_s: Callable[[Context], int | None]
    pause: Callable[[float], object]


def engine_site_of(release: Release) -> EngineSite:
    """The site of a release that is up.

    Raises:
        RefusedError: it runs as local processes.
    """
    site, runtime = site_of(release), release.runtime
    assert isinstance(runtime, KubernetesRuntime)

    def questions(notify: Notify) -> Mapping[str, FloatArray]:
        where = place(release, None)
        try:
            found = recorded_vectors(release, where, _RECORDED, notify)
        except LightragctlError as error:
            notify(Event(f"no recorded questions are used: {error.message}"))
            return {}
        return {chunks_alias(where.workspace, where.model): found} if len(found) else {}

    def backup_age_s(context: Context) -> int | None:
        found = newest(release, lambda: [], context.now())
        return found.age_s if found else None

    return EngineSite(
        site=site,
        live=lambda probing: open_engine(engine_uri(release), _PROBE_S if probing else _CALL_S),
        beside=lambda pod: open_engine(runtime.pod_address(pod), _CALL_S),
        questions=questions,
        backup_age_s=backup_age_s,
        pause=runtime.holder.pause,
    )


@contextmanager
def open_engine(uri: str, timeout_s: float) -> Iterator[Engine]:
    """The vector store at an address; each search has the deadline."""
    with closing(MilvusCollections(uri, timeout_s)) as store:

        def ask(name: str, schema: CollectionSchema, vectors: FloatArray, k: int) -> Sequence[Asked]:
            spec = search_spec(schema)
            batches = [SearchBatch(name, one[np.newaxis], k, spec, []) for one in vectors] if spec else []
            return asyncio.run(_ask_each(uri, timeout_s, batches))

        yield Engine(store, ask)


async def _ask_each(uri: str, timeout_s: float, batches: Sequence[SearchBatch]) -> list[Asked]:
    door = MilvusSearch(uri, timeout_s)
    found: list[Asked] = []
    try:
        for batch in batches:
            begun_s = time.perf_counter()
            try:
                (hits,) = await door.search(batch)
            except LightragctlError as error:
                found.append(Asked(error=error.message))
                continue
            ms = (time.perf_counter() - begun_s) * 1000
            found.append(Asked(tuple((hit.id, float(hit.score)) for hit in hits), ms))
    finally:
        await door.close()
    return found
