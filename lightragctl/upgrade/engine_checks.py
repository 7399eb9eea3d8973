"""Searches in vector stores before, beside and after an upgrade, and what their results mean. I/O through an engine."""

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np

from lightragctl.backup.belonging import is_control
from lightragctl.upgrade.compared import TOP_K, Asked, judge
from lightragctl.upgrade.data_plans import KNOWN_QUERIES, PLANNED_QUERIES
from lightragctl.upgrade.engine_site import Engine
from lightragctl.upgrade.gates import Judgement, Verdict
from lightragctl.vectors.model import FloatArray, StoreError
from lightragctl.vectors.schema import CollectionSchema
from lightragctl.vectors.store import CollectionStore

_MOST_COLLECTIONS = 10
"""Collections whose results the record of the operation keeps."""

State = Mapping[str, Any]
"""By collection: `loaded`; of loaded ones `rows`; `known`: by key of a row the hits of its vector with their scores."""


def searchable(store: CollectionStore) -> dict[str, CollectionSchema]:
    """The loaded collections with an index of vectors; control collections have none that means anything."""
    schemas = {name: store.describe(name) for name in store.list_collections() if not is_control(name)}
    return {
        name: one
        for name, one in schemas.items()
        if one.loaded and one.field("vector") and any(index.field == "vector" for index in one.indexes)
    }


def sample(store: CollectionStore, name: str, schema: CollectionSchema, most: int) -> tuple[list[str], FloatArray]:
    """The first keys with their vectors, `(n, dimension)`; LightRAG's keys are hashes, so these are a random sample."""
    batch = next(iter(store.read_rows(name, schema)), None)
    if batch is None:
        return [], np.empty((0, 0), np.float32)
    keys = [str(key) for key in islice(batch.keys, most)]
    return keys, np.asarray(batch.columns["vector"][: len(keys)], np.float32)


def state(engine: Engine) -> dict[str, Any]:
    """What has to be the same after the upgrade."""
    store = engine.store
    found: dict[str, dict[str, Any]] = {}
    chosen = dict(islice(searchable(store).items(), _MOST_COLLECTIONS))
    for name in store.list_collections():
        loaded = store.is_loaded(name)
        found[name] = {"loaded": loaded, **({"rows": store.row_count(name)} if loaded else {})}
        if name in chosen:
            keys, vectors = sample(store, name, chosen[name], KNOWN_QUERIES)
            asked = engine.ask(name, chosen[name], vectors, TOP_K) if keys else []
            found[name]["known"] = {key: one.hits for key, one in zip(keys, asked, strict=True) if not one.error}
    return found


def judge_state(engine: Engine, before: State) -> list[Judgement]:
    """Whether a store has the collections from before with their rows, and answers as it did."""
    store = engine.store
    there = set(store.list_collections())
    lost = [f"there is no collection {name}" for name in before if name not in there]
    kept = {name: one for name, one in before.items() if name in there}
    lost += [f"{name} is not loaded" for name, one in kept.items() if one["loaded"] and not store.is_loaded(name)]
    if lost:
        return [Judgement("rows", Verdict.FAILED, "; ".join(lost))]
    counts = {name: (one["rows"], store.row_count(name)) for name, one in kept.items() if one["loaded"]}
    fewer = [f"{name} has {now} rows, it had {was}" for name, (was, now) in counts.items() if now < was]
    rows = sum(now for _, now in counts.values())
    verdict = Verdict.FAILED if fewer else Verdict.PASSED
    found = [Judgement("rows", verdict, "; ".join(fewer) or f"{rows} rows", samples=float(rows))]
    was, now = _asked_again(engine, kept)
    if was:
        found += [one for one in judge(was, now, (), is_all=True) if one.gate != "latency"]
    return found


def _asked_again(engine: Engine, before: State) -> tuple[list[Asked], list[Asked]]:
    """The known searches with their results before and now; those whose row was deleted are left out."""
    was: list[Asked] = []
    now: list[Asked] = []
    for name, one in before.items():
        known = {key: hits for key, hits in one.get("known", {}).items() if hits}
        if not known:
            continue
        rows = engine.store.get(name, list(known), ["vector"])
        keys = [key for key in known if key in rows]
        if keys:
            vectors = np.asarray([rows[key]["vector"] for key in keys], np.float32)
            was += [Asked(tuple((str(id), float(score)) for id, score in known[key])) for key in keys]
            now += engine.ask(name, engine.store.describe(name), vectors, TOP_K)
    return was, now


def judge_pair(live: Engine, other: Engine, questions: Mapping[str, FloatArray]) -> list[Judgement]:
    """Whether another store with the same rows answers as the live one does: stored vectors and recorded questions.

    Each query is sent twice, in turn to one store and the other; the second time counts, when both are warm.

    Args:
        live: of the release.
        other: with copies of its collections by the same names.
        questions: vectors by collection or alias.
    """
    before: list[Asked] = []
    after: list[Asked] = []
    changed: set[str] = set()
    is_all, rows = True, 0
    for name, schema in searchable(live.store).items():
        keys, vectors = sample(live.store, name, schema, PLANNED_QUERIES)
        more = [questions[one] for one in (name, *schema.aliases) if one in questions]
        asked = np.concatenate([one for one in (vectors, *more) if len(one)]) if len(keys) else vectors
        if not len(asked):
            continue
        rows += live.store.row_count(name)
        is_all = is_all and live.store.row_count(name) <= len(keys)
        for _ in range(2):
            ours = live.ask(name, schema, asked, TOP_K)
            theirs = other.ask(name, schema, asked, TOP_K)
        changed |= _changed(live.store, other.store, name, (ours, theirs))
        before += ours
        after += theirs
    if not rows:
        return [Judgement("overlap", Verdict.PASSED, "no vectors are stored")]
    return judge(before, after, changed, is_all)


def _changed(
    one: CollectionStore, other: CollectionStore, name: str, found: tuple[Sequence[Asked], Sequence[Asked]]
) -> set[str]:
    """Ids of hits in one list that only one of the stores has: written or deleted since the copy."""
    differing: set[str] = set()
    for ours, theirs in zip(*found, strict=True):
        differing |= {id for id, _ in ours.hits} ^ {id for id, _ in theirs.hits}
    if not differing:
        return set()
    try:
        there, here = (set(store.get(name, sorted(differing), [])) for store in (one, other))
    except StoreError:  # a key of another name or type than our `id`
        return set()
    return there ^ here
