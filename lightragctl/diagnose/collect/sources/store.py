"""The vector store, asked directly: its collections, a sample of rows, the model and the golden set. Does gRPC."""

import math
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import asdict
from typing import Any

import httpx
import msgspec
import numpy as np

from lightragctl.core.errors import LightragctlError
from lightragctl.diagnose.collect.source import Collector, Source
from lightragctl.diagnose.collect.sources.models import vector_of
from lightragctl.diagnose.facts import Facts
from lightragctl.diagnose.judge import NOT_HERE
from lightragctl.diagnose.keys import COLLECTIONS, GOLDEN, NEWEST_BACKUP, ROW_SAMPLE, STORE, STORED_MODEL
from lightragctl.diagnose.lookup import chunks_name
from lightragctl.diagnose.model import (
    BackupState,
    Collection,
    Deployed,
    GoldenState,
    RowSample,
    StoredModel,
    StoreState,
)
from lightragctl.diagnose.text import redacted
from lightragctl.vectors.ask import search_all
from lightragctl.vectors.control import NEWEST_BACKUP as BACKUP_ROW
from lightragctl.vectors.control import ModelIdentity, control_name, newest_backup
from lightragctl.vectors.inspect import StoreInspector
from lightragctl.vectors.model import FloatArray, IndexSpec, Page, SearchBatch

_CALL_S = 5.0
_SAMPLE_ROWS = 64
_UNIT = 0.01
"""How far from 1 the length of a vector may be that counts as normalised."""
_COLLECTIONS = 200


def read_store(source: Source, facts: Facts) -> None:
    """Put `STORE`, and when it answers `COLLECTIONS`, `ROW_SAMPLE` and what the control collection has."""
    uri = source.address("vector-engine")
    with closing(StoreInspector(uri, _CALL_S)) as store:
        try:
            version = store.version()
            begin = time.monotonic()
            names = store.list_collections()
        except LightragctlError as error:
            facts.put(STORE, StoreState(False, redacted(error.message)))
            raise
        facts.put(STORE, StoreState(True, "", round(time.monotonic() - begin, 4), version))
        collections = [_collection(store, name) for name in names[:_COLLECTIONS]]
        facts.put(COLLECTIONS, collections)
        _read_control(store, source.deployed, names, facts)
        chunks = next((one for one in collections if chunks_name(source.deployed) in (one.name, *one.aliases)), None)
        if chunks is None or chunks.state != "Loaded":
            reason = (
                f"the workspace has no passages yet: {NOT_HERE}" if chunks is None else f"{chunks.name} is not loaded"
            )
            facts.miss(ROW_SAMPLE, reason)
            return
        facts.put(ROW_SAMPLE, _sample(source, store, chunks, uri))


def _collection(store: StoreInspector, name: str) -> Collection:
    try:
        state = asdict(store.inspect(name))
    except LightragctlError as error:
        return Collection(name, state="", error=redacted(error.message))
    return Collection(name, **{**state, "aliases": list(state["aliases"])})


def _read_control(store: StoreInspector, release: Deployed, names: list[str], facts: Facts) -> None:
    control = control_name(release.workspace)
    if control not in names:
        facts.put(STORED_MODEL, None)
        facts.put(GOLDEN, GoldenState())
        facts.put(NEWEST_BACKUP, BackupState())
        return
    try:
        rows = store.get(control, [f"model:{release.suffix}", "golden", BACKUP_ROW], ["value"])
    except LightragctlError as error:
        facts.miss(STORED_MODEL, redacted(error.message))
        facts.miss(GOLDEN, redacted(error.message))
        facts.miss(NEWEST_BACKUP, redacted(error.message))
        return
    values = {key: str(row.get("value", "")) for key, row in rows.items()}
    facts.put(STORED_MODEL, _identity(values.get(f"model:{release.suffix}", "")))
    facts.put(GOLDEN, _golden(values.get("golden", "")))
    backup = newest_backup(values.get(BACKUP_ROW))
    facts.put(NEWEST_BACKUP, BackupState(max(0.0, release.at - backup.finished_at_s) if backup else None))


def _identity(text: str) -> StoredModel | None:
    try:
        found = msgspec.json.decode(text, type=ModelIdentity)
    except msgspec.DecodeError:
        return None
    return StoredModel(found.name, found.dimension, found.query_prefix, found.document_prefix)


def _golden(text: str) -> GoldenState:
    try:
        return GoldenState(int(msgspec.json.decode(text).get("version", 0)))
    except (msgspec.DecodeError, AttributeError, TypeError, ValueError):
        return GoldenState()


def _sample(source: Source, store: StoreInspector, chunks: Collection, uri: str) -> RowSample:
    """Numbers of a page of rows; the first row is searched for, and its text embedded again."""
    rows = store.scan(chunks.name, ["vector", "content"], Page(limit=_SAMPLE_ROWS))
    is_ours = chunks.name != chunks_name(source.deployed)  # LightRAG embeds other texts than it stores
    vectors = [np.asarray(row["vector"], dtype=np.float32) for row in rows]
    lengths = [float(np.linalg.norm(one)) for one in vectors]
    ids = [str(row["id"]) for row in rows]
    first = next((at for at, length in enumerate(lengths) if length > 0 and math.isfinite(length)), None)
    return RowSample(
        collection=chunks.name,
        rows=len(rows),
        zero=sum(length == 0 for length in lengths),
        not_finite=sum(not math.isfinite(length) for length in lengths),
        unit=sum(abs(length - 1) <= _UNIT for length in lengths),
        same_id=len(ids) - len(set(ids)),
        reproduced=None if first is None or not is_ours else _reproduced(source, rows[first], vectors[first]),
        found=None if first is None else _found(uri, chunks, ids[first], vectors[first]),
    )


def _reproduced(source: Source, row: Mapping[str, Any], stored: FloatArray) -> float | None:
    """The cosine between a stored vector and that of the same text now; None when the model does not answer."""
    release = source.deployed
    body = {"model": release.model, "input": [f"{release.document_prefix}{row.get('content', '')}"]}
    try:
        url = source.address("model-gateway")
        answer = source.http.post(f"{url}/v1/embeddings", json=body, timeout=15.0)
    except (LightragctlError, httpx.HTTPError):
        return None
    now = vector_of(answer)
    if now.shape != stored.shape or not np.linalg.norm(now):
        return None
    cosine = float(now @ stored) / float(np.linalg.norm(now) * np.linalg.norm(stored))
    return round(cosine, 4) if math.isfinite(cosine) else None


def _found(uri: str, chunks: Collection, key: str, vector: FloatArray) -> bool | None:
    """Whether a search with a stored vector gives its row, or rows that are as near; None when it is refused."""
    index = IndexSpec(chunks.index_type or "AUTOINDEX", chunks.metric or "COSINE")
    try:
        hits = search_all(uri, [SearchBatch(chunks.name, vector[None], 10, index, ())], _CALL_S)[0]
    except LightragctlError:
        return None
    return key in {hit.id for hit in hits} or (bool(hits) and hits[0].score == hits[-1].score)


COLLECTORS = (
    Collector(
        "store",
        (STORE, COLLECTIONS, STORED_MODEL, GOLDEN, NEWEST_BACKUP, ROW_SAMPLE),
        read_store,
        None,
        40.0,
        "vector-engine",
    ),
)
