"""Plain types of a vector store, our collections as such types, and the errors of a store. Pure; imports no store.

StoreUnavailableError     (UnavailableError) it does not answer, or not in time
StoreError                it answers, and refuses
├── CollectionMissingError
├── NotLoadedError
├── InvalidFilterError
├── InvalidRowError
└── WrongDimensionError
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lightragctl.core.errors import LightragctlError, UnavailableError
from lightragctl.core.settings import Index

FloatArray = NDArray[np.float32]
"""Vectors: `(n, dim) float32`, or `(dim,)` for one."""

Block = tuple[Sequence[str], FloatArray]
"""Ids of some rows and their vectors, `(n, dim) float32`."""

Row = Mapping[str, Any]
"""A row to write: `id`, `vector`, `created_at`, the text fields and any dynamic fields."""

ID_BYTES = 64
"""Greatest length of an id; LightRAG's schema."""

CONTENT_BYTES = 65535
"""Greatest length of `content` and of `value`: the most that a Milvus VARCHAR can hold."""

FILE_PATH_BYTES = 32768
"""Greatest length of `file_path`; LightRAG's schema."""

PAGE_ROWS = 16384
"""Most rows of one query and most hits of one search; Milvus's own bound."""


@dataclass(frozen=True)
class IndexSpec:
    """A vector index: Milvus's own words for type and metric; `build` and `search` are the parameters of each time."""

    index_type: str
    metric_type: str
    build: Mapping[str, int] = field(default_factory=dict)
    search: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class TextField:
    """A VARCHAR field and its greatest length in bytes of UTF-8."""

    name: str
    max_bytes: int


@dataclass(frozen=True)
class CollectionSpec:
    """A collection to create.

    It has `id` VARCHAR(64) primary, `vector`, `created_at` INT64, the text fields, and the dynamic field on.
    """

    name: str
    dimension: int
    text_fields: tuple[TextField, ...]
    index: IndexSpec


@dataclass(frozen=True)
class Page:
    """Which rows a scan gives: at most `limit` (1 to `PAGE_ROWS`) that fit the filter and have an id above `after`.

    With `before`, the id is also below that.
    """

    after: str = ""
    before: str = ""
    limit: int = 1000
    filter: str = ""


class Hit(NamedTuple):
    """One result of a search. `score` as the metric gives it (COSINE, IP: higher is nearer; L2: lower)."""

    id: str
    score: float
    fields: Mapping[str, Any]


@dataclass(frozen=True)
class SearchBatch:
    """Searches that may share one call: same collection, filter, fields and parameters."""

    collection: str
    vectors: FloatArray
    top_k: int
    index: IndexSpec
    output_fields: Sequence[str]
    filter: str = ""


class StoreUnavailableError(UnavailableError):
    """The vector store does not answer, or not in time; the same call may work later."""

    code = "store-unavailable"


class StoreError(LightragctlError):
    """The vector store rejected the call."""

    code = "store-error"


class CollectionMissingError(StoreError):
    """There is no collection and no alias of that name."""

    code = "collection-not-found"


class NotLoadedError(StoreError):
    """The collection exists but is not loaded (yet), so that it cannot be read."""

    code = "not-loaded"


class InvalidFilterError(StoreError):
    """The store does not understand a filter."""

    code = "invalid-filter"


class InvalidRowError(StoreError):
    """A row does not fit the schema of its collection."""

    code = "invalid-row"


class WrongDimensionError(StoreError):
    """Vectors and collection differ in dimension: they come from different models."""

    code = "wrong-dimension"


def index_spec(index: Index) -> IndexSpec:
    """The index of a profile, in Milvus's terms."""
    build: dict[str, int] = {}
    search: dict[str, int] = {}
    if index.type == "HNSW":
        build, search = {"M": index.m, "efConstruction": index.ef_construction}, {"ef": index.ef}
    elif index.type == "IVF_FLAT":
        build, search = {"nlist": index.nlist}, {"nprobe": min(index.nprobe, index.nlist)}
    return IndexSpec(index.type, index.metric, build, search)


def chunks_spec(name: str, dimension: int, index: Index) -> CollectionSpec:
    """The collection that holds the chunks of a workspace, with LightRAG's fields."""
    fields = (
        TextField("content", CONTENT_BYTES),
        TextField("file_path", FILE_PATH_BYTES),
        TextField("full_doc_id", ID_BYTES),
    )
    return CollectionSpec(name, dimension, fields, index_spec(index))


def control_spec(name: str) -> CollectionSpec:
    """The collection for state shared by replicas, as JSON in `value`.

    Its vectors are placeholders: Milvus requires a vector field, and 2 is the minimum dimension.
    """
    return CollectionSpec(name, 2, (TextField("value", CONTENT_BYTES),), IndexSpec("FLAT", "L2"))
