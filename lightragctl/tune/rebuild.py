"""Rebuilds a collection with another index: copies it beside, verifies the copy, switches to it, keeps the original.

The interface is `rebuild_parameters` and `REBUILD` (`tune/kinds.py`): `tune apply`, `tune undo` and others start it.
"""

import contextlib
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import msgspec

from lightragctl.backup import restore
from lightragctl.backup.fences import Fences
from lightragctl.backup.replace import KEPT_DAYS
from lightragctl.backup.site import Site, engine_uri, open_site
from lightragctl.backup.steps import Copying, rest, start, token_of
from lightragctl.core.errors import LightragctlError, LockedError, RefusedError, UnavailableError
from lightragctl.operations.kind import Context
from lightragctl.operations.model import Kept
from lightragctl.tune.catch_up import catch_up
from lightragctl.tune.proof import Search, Wanted, prove
from lightragctl.tune.swap import Swap, back, forward
from lightragctl.vectors.applied import AppliedIndex, read_applied
from lightragctl.vectors.ask import search_all
from lightragctl.vectors.control import KINDS, collection_name
from lightragctl.vectors.copying import loaded
from lightragctl.vectors.fence import FenceTerms, hold, switching
from lightragctl.vectors.schema import CollectionSchema, IndexSchema, server
from lightragctl.vectors.store import CollectionStore

VECTOR = "vector"
_GENERATION = re.compile(r"(?P<alias>.+)_g(?P<number>\d+)")
_NOT_BEGUN, _BEGUN, _DONE = "", "begun", "done"


@dataclass(frozen=True)
class Ground:
    """What a rebuild works on: the workspace, and searches in its store."""

    site: Site
    search: Search


Open = Callable[[Context], AbstractContextManager[Ground]]


def rebuild_parameters(
    collection: str, index: AppliedIndex, timeout_s: float, least_recall: float = 0.0, reuse: str = ""
) -> dict[str, Any]:
    """The parameters of a rebuild.

    Args:
        collection: the physical name of the collection to rebuild.
        index: the new index and how it is searched; its metric is that of the present one.
        timeout_s: how long writes in flight, and lightrag-server, may take to end.
        least_recall: the copy must reach this recall; 0: that of the original less 0.1.
        reuse: a kept collection of the same rows with this index; it is used, and its rows are made equal.
    """
    plain = msgspec.to_builtins(index)
    return {
        "collection": collection,
        "index": plain,
        "timeout_s": timeout_s,
        "least_recall": least_recall,
        "reuse": reuse,
    }


@contextlib.contextmanager
def open_ground(context: Context) -> Iterator[Ground]:
    """What a rebuild works on, from a release that is up."""
    release = context.resources
    uri = engine_uri(release)
    with open_site(release, context.record.workspace, context.notify) as site:
        yield Ground(site, lambda batch: search_all(uri, [batch]))


def current_index(store: CollectionStore, workspace: str, schema: CollectionSchema) -> AppliedIndex:
    """The index of a collection as it is now; `search` is empty where it is searched as the profile says.

    Raises:
        RefusedError: it has no vector index.
    """
    found = vector_index(schema)
    applied = read_applied(store, workspace).get(schema.name)
    build = {name: _number(value) for name, value in found.params.items()}
    return AppliedIndex(found.index_type, found.metric_type, build, applied.search if applied else {})


def vector_index(schema: CollectionSchema) -> IndexSchema:
    """The index of the vectors.

    Raises:
        RefusedError: there is none.
    """
    found = next((one for one in schema.indexes if one.field == VECTOR), None)
    if found is None:
        raise RefusedError(f"collection {schema.name} has no index of vectors")
    return found


def _number(value: Any) -> int | str:
    text = str(value)
    return int(text) if text.lstrip("-").isdigit() else text


def with_index(schema: CollectionSchema, index: AppliedIndex) -> CollectionSchema:
    """The schema with another index of the vectors."""
    before = vector_index(schema)
    made = IndexSchema(VECTOR, before.name, index.index_type, index.metric, dict(index.build))
    return replace(schema, indexes=(made, *(one for one in schema.indexes if one.field != VECTOR)))


class Rebuilding:
    """The steps. Each may be repeated, by another process too."""

    def __init__(self, open_work: Open = open_ground) -> None:
        self.open = open_work
        self.fences = Fences()

    def check(self, context: Context) -> None:
        """Refuse what cannot be rebuilt, and choose the names."""
        with self.open(context) as ground:
            store, parameters = ground.site.store, context.record.parameters
            name, index = str(parameters["collection"]), _index(context)
            if store.resolve(name) != name:
                raise RefusedError(f"there is no collection {name}; it may have been rebuilt already")
            schema = store.describe(name)
            current = current_index(store, context.record.workspace, schema)
            if index.metric != current.metric:
                raise RefusedError(f"{name} is compared by {current.metric}; with {index.metric}, scores would change")
            if not server(store.server_version()).builds(index.index_type):
                raise RefusedError(f"this server does not build {index.index_type}")
            before = read_applied(store, context.record.workspace).get(name)
            swap = _planned(context, schema, set(store.list_collections()), before)
            context.save_result("swap", swap.to_plain())
            context.save_result("before", msgspec.to_builtins(current))
            context.save_result("reused", _reusable(store, str(parameters.get("reuse", "")), schema, index))
        context.save_result("checked", True)

    def copy(self, context: Context) -> None:
        """Copy the rows into a new collection with the new index, while the original is in use."""
        swap = _swap(context)
        with self.open(context) as ground:
            store, reused = ground.site.store, str(context.record.results["reused"])
            context.check()
            if not reused:
                self._copy_rows(context, store, store.describe(swap.original), swap)
            else:
                if reused in store.list_collections():
                    store.rename(reused, swap.copy)
                store.load(swap.copy)
        context.save_result("copied", True)

    @staticmethod
    def _copy_rows(context: Context, store: CollectionStore, schema: CollectionSchema, swap: Swap) -> None:
        store.drop(swap.copy)
        with loaded(store, swap.original):
            progress = Copying.progress(context, store.row_count(swap.original), "copied")
            rows = restore.copied_rows(store, swap.original, schema)
            restore.write_collection(rows, with_index(schema, swap.index), store, swap.copy, progress)

    def uncopy(self, context: Context) -> None:
        """Delete the copy."""
        if "swap" not in context.record.results:
            return
        if _state(context) != _NOT_BEGUN:
            raise LightragctlError("the copy is not deleted, because it is in use")
        swap, reused = _swap(context), str(context.record.results.get("reused", ""))
        with self.open(context) as ground:
            if swap.copy in ground.site.store.list_collections():
                context.check()
                if reused:
                    ground.site.store.rename(swap.copy, reused)
                    ground.site.store.release(reused)
                else:
                    ground.site.store.drop(swap.copy)
        context.save_result("copied", False)

    def stop_writer(self, context: Context) -> None:
        """Stop lightrag-server, if it writes to this collection."""
        with self.open(context) as ground:
            if _is_upstreams(ground, _swap(context)) and ground.site.writer is not None:
                rest(context, ground.site.writer)
        context.save_result("writer_at_rest", True)

    def start_writer(self, context: Context) -> None:
        """Start lightrag-server again; before, a switch that stands half way is undone."""
        self._settle_if_half(context)
        with self.open(context) as ground:
            if ground.site.writer is not None:
                start(context, ground.site.writer)
        context.save_result("writer_at_rest", False)

    def fence(self, context: Context) -> None:
        """Block writes through lightrag-api."""
        if not self.fences.holds(context.record.id):
            self.fences.take(context.record.id, self._fenced(context))

    @contextlib.contextmanager
    def _fenced(self, context: Context) -> Iterator[Any]:
        terms = FenceTerms(
            context.record.id,
            f"operation {context.record.id}",
            drain_s=float(context.record.parameters["timeout_s"]),
        )
        with (
            self.open(context) as ground,
            hold(ground.site.store, context.record.workspace, terms, context.notify, ground.site.clock) as fence,
        ):
            yield fence

    def is_fenced(self, context: Context) -> bool:
        """Whether this process holds the fence."""
        return self.fences.holds(context.record.id)

    def unfence(self, context: Context) -> None:
        """Let writes through again; before, a switch that stands half way is undone."""
        self._settle_if_half(context)
        self.fences.release(context.record.id)

    def verify(self, context: Context) -> None:
        """Bring the copy up to date, compare all rows by their hashes, and compare answers with exact ones."""
        swap = _swap(context)
        with self.open(context) as ground:
            store = ground.site.store
            context.save_result("caught_up", catch_up(store, swap.original, swap.copy, context.check))
            least = float(context.record.parameters.get("least_recall", 0.0))
            current = AppliedIndex(**context.record.results["before"])
            proof = prove(store, ground.search, swap, Wanted(current, least), lambda: context.report(0, None, "rows"))
        self.fences.held(context.record.id).confirm()
        context.save_result("proof", proof)

    def is_verified(self, context: Context) -> bool:
        """Whether the copy is that of the original, which could not change since, or has taken its place."""
        if "proof" not in context.record.results:
            return False
        return _state(context) != _NOT_BEGUN or self.fences.holds(context.record.id)

    def switch(self, context: Context) -> None:
        """Put the copy in place. An error other than an outage undoes what was switched."""
        if _state(context) == _NOT_BEGUN:
            self.fences.held(context.record.id)
        with self.open(context) as ground:
            swap, store = _swap(context), ground.site.store
            if _state(context) == _NOT_BEGUN:
                self._keep(context, store, swap)
                context.save_result("switch", _BEGUN)
            try:
                forward(store, swap, context.check, ground.site.clock)
            except LightragctlError as error:
                if not isinstance(error, UnavailableError | LockedError):
                    self._back(context, ground)
                raise
        context.save_result("switch", _DONE)

    def is_switched(self, context: Context) -> bool:
        """Whether the rebuilt collection is in place and readers are let through."""
        if _state(context) != _DONE:
            return False
        swap = _swap(context)
        with self.open(context) as ground:
            store = ground.site.store
            names = swap.aliases or (swap.final,)
            is_in_place = all(store.resolve(one) == swap.final for one in names)
            return is_in_place and switching(store, swap.workspace) != swap.operation

    def unswitch(self, context: Context) -> None:
        """Put the original in place again."""
        if _state(context) != _NOT_BEGUN:
            with self.open(context) as ground:
                self._back(context, ground)

    def _settle_if_half(self, context: Context) -> None:
        if _state(context) == _BEGUN:
            with self.open(context) as ground:
                self._back(context, ground)

    @staticmethod
    def _back(context: Context, ground: Ground) -> None:
        context.save_result("switch", _BEGUN)
        back(ground.site.store, _swap(context), context.check, ground.site.clock)
        context.save_result("switch", _NOT_BEGUN)

    @staticmethod
    def _keep(context: Context, store: CollectionStore, swap: Swap) -> None:
        """Note the original as kept data, before it becomes such."""
        with loaded(store, swap.original):
            schema = store.describe(swap.original)
            batch = next(iter(store.read_rows(swap.original, schema)), None)
            size = round(batch.size_bytes / len(batch) * store.row_count(swap.original)) if batch else 0
        now = context.now()
        about = f"previous collection {swap.original}"
        expires = now + timedelta(days=KEPT_DAYS)
        name = f"collection:{swap.kept}"
        context.keep(Kept(name=name, about=about, size_bytes=size, created_at=now, expires_at=expires))

    def confirm(self, context: Context) -> None:
        """Unload the original, which is kept."""
        swap = _swap(context)
        with self.open(context) as ground:
            if swap.kept in ground.site.store.list_collections():
                context.check()
                ground.site.store.release(swap.kept)
        context.save_result("confirmed", True)


def _planned(context: Context, schema: CollectionSchema, there: set[str], before: AppliedIndex | None) -> Swap:
    """The names of the swap. A collection of ours gets the next generation that is free."""
    token, name = token_of(context), schema.name
    found = _GENERATION.fullmatch(name)
    aliases = schema.aliases or ((found["alias"],) if found else ())  # Milvus 2.3.0 lists no aliases
    final = name
    if aliases:
        base, number = (found["alias"], int(found["number"])) if found else (aliases[0], 1)
        numbers = (f"{base}_g{one}" for one in range(number + 1, number + len(there) + 2))
        final = next(one for one in numbers if one not in there)
    return Swap(
        operation=context.record.id,
        workspace=context.record.workspace,
        original=name,
        kept=f"kept_{token}_1",
        copy=f"rebuild_{token}",
        final=final,
        aliases=tuple(sorted(aliases)),
        index=_index(context),
        before=before,
    )


def _reusable(store: CollectionStore, name: str, schema: CollectionSchema, index: AppliedIndex) -> str:
    """The name of a kept collection if it has the same fields and the new index; else empty."""
    if not name or store.resolve(name) != name:
        return ""
    there = store.describe(name)
    found = vector_index(there)
    build = {key: _number(value) for key, value in found.params.items()}
    same = (found.index_type, found.metric_type, build) == (index.index_type, index.metric, dict(index.build))
    return name if same and there.fields == schema.fields else ""


def _is_upstreams(ground: Ground, swap: Swap) -> bool:
    """Whether lightrag-server writes to the collection."""
    site = ground.site
    own = {collection_name(swap.workspace, kind, site.model) for kind in KINDS}
    return site.served == swap.workspace and swap.original in own


def _index(context: Context) -> AppliedIndex:
    return msgspec.convert(context.record.parameters["index"], AppliedIndex)


def _swap(context: Context) -> Swap:
    return Swap.from_plain(context.record.results["swap"])


def _state(context: Context) -> str:
    return str(context.record.results.get("switch", _NOT_BEGUN))
