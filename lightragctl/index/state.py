"""State of the indexes of a store: rows, index, segments, memory. Reads through a store; estimates are pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from lightragctl.core.errors import LightragctlError, UsageError
from lightragctl.core.hint import Command, Hint
from lightragctl.core.settings import EmbeddingModel
from lightragctl.index.roles import Role, roles
from lightragctl.vectors.control import KINDS, collection_name, control_name
from lightragctl.vectors.indexes import MMAP, IndexProgress
from lightragctl.vectors.model import StoreUnavailableError
from lightragctl.vectors.schema import CollectionSchema
from lightragctl.vectors.store import CollectionStore

SEGMENT_BYTES = 512 * 1024 * 1024
"""`dataCoord.segment.maxSize` of Milvus 2.3; smaller segments below half of it are merged by a compaction."""
_FLOAT_BYTES = 4
_LINK_BYTES, _ROW_BYTES = 8, 16
"""Of HNSW per vector: M links of 8 bytes, 16 for the rest. Measured on Milvus 2.3.5: 20,000 vectors of 384 dimensions
with M 16 take 1,680 bytes each, 5,000 of 128 with M 4 and 32 take 561 and 783."""


class Indexes(CollectionStore, Protocol):
    """The store, with what `vectors.indexes` adds."""

    def is_lite(self) -> bool:
        """Whether it is Milvus Lite."""

    def index_progress(self, name: str) -> IndexProgress | None:
        """How far the index of the vectors is."""

    def segments(self, name: str) -> list[int] | None:
        """The rows of each flushed segment; None where the server does not report them."""


@dataclass(frozen=True)
class IndexState:
    """One collection and its index; None where the server does not report it.

    Attributes:
        rows: as the server counts them: of a collection that is not loaded, deleted ones included.
        segments: the number of flushed segments.
        small_segments: those that a compaction would merge, by the estimated size of their vectors.
        memory_bytes: about what the index takes in memory when it is loaded, for one replica.
    """

    name: str
    aliases: tuple[str, ...]
    role: Role
    dimension: int
    index_type: str
    metric: str
    parameters: Mapping[str, Any]
    rows: int | None
    indexed_rows: int | None
    pending_rows: int | None
    index_state: str
    failure: str
    loaded: bool
    mmap: bool
    segments: int | None
    small_segments: int | None
    memory_bytes: int | None


def read_states(store: Indexes, workspace: str, model: EmbeddingModel) -> list[IndexState]:
    """The state of every collection of the store, by name.

    Raises:
        UnavailableError: the store does not respond.
    """
    schemas = {name: store.describe(name) for name in store.list_collections()}
    known = roles({name: schema.aliases for name, schema in schemas.items()}, workspace, model)
    return [_state(store, schemas[name], role) for name, role in known.items()]


def chosen(
    states: Sequence[IndexState], names: Sequence[str], workspace: str, model: EmbeddingModel
) -> list[IndexState]:
    """The collections that a user names: by name, alias, or kind (of the workspace as it is served).

    Raises:
        UsageError: there is no such collection.
    """
    short = {kind: collection_name(workspace, kind, model) for kind in KINDS} | {"control": control_name(workspace)}
    found = []
    for name in names:
        wanted = short.get(name, name)
        match = next((one for one in states if wanted in (one.name, *one.aliases)), None)
        if match is None:
            raise UsageError(f"there is no collection {wanted}", Hint("see those that exist: ", Command("index list")))
        if match not in found:
            found.append(match)
    return found


def index_bytes(index_type: str, parameters: Mapping[str, Any], dimension: int, rows: int) -> int | None:
    """About the memory of a loaded index in bytes; None for types that were not measured."""
    vector = _FLOAT_BYTES * dimension
    per_row = {
        "FLAT": vector,
        "AUTOINDEX": None,
        "IVF_FLAT": vector,
        "IVF_SQ8": dimension,
        "HNSW": vector + _LINK_BYTES * int(parameters.get("M", 0)) + _ROW_BYTES,
    }.get(index_type)
    return None if per_row is None else per_row * rows


def small_segments(segments: Sequence[int], dimension: int) -> int:
    """How many segments take less than half of a segment, by their vectors."""
    return sum(rows * dimension * _FLOAT_BYTES < SEGMENT_BYTES / 2 for rows in segments)


def _state(store: Indexes, schema: CollectionSchema, role: Role) -> IndexState:
    name = schema.name
    vector, index = schema.field("vector"), next((one for one in schema.indexes if one.field == "vector"), None)
    dimension = (vector.dimension if vector else None) or 0
    progress, segments = store.index_progress(name), store.segments(name)
    rows = _rows(store, schema, progress)
    return IndexState(
        name=name,
        aliases=schema.aliases,
        role=role,
        dimension=dimension,
        index_type=index.index_type if index else "",
        metric=index.metric_type if index else "",
        parameters=index.params if index else {},
        rows=rows,
        indexed_rows=progress.indexed_rows if progress else None,
        pending_rows=progress.pending_rows if progress else None,
        index_state=progress.state if progress else "",
        failure=progress.failure if progress else "",
        loaded=schema.loaded,
        mmap=schema.properties.get(MMAP, "").lower() == "true",
        segments=None if segments is None else len(segments),
        small_segments=None if segments is None else small_segments(segments, dimension),
        memory_bytes=index_bytes(index.index_type, index.params, dimension, rows)
        if index and rows is not None
        else None,
    )


def _rows(store: Indexes, schema: CollectionSchema, progress: IndexProgress | None) -> int | None:
    if schema.loaded:
        try:
            return store.row_count(schema.name)
        except StoreUnavailableError:
            raise
        except LightragctlError:  # it was released or deleted meanwhile
            pass
    return progress.total_rows if progress else None
