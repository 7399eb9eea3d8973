"""The control collection of a workspace, `{workspace}_lightragctl`, and what its other collections are called. Pure.

The replicas of lightrag-api and the tool synchronize through it: `epoch` changes with every write that goes through us,
`model:SUFFIX` holds the identity of the model that the vectors came from, `doc:ID` is the record of a document,
`golden` and `golden:VERSION:NUMBER` are the golden set, `backup` is the newest backup.
"""

from collections.abc import Callable
from typing import TypeVar

import msgspec

from lightragctl.core.settings import EmbeddingModel
from lightragctl.vectors.model import NotLoadedError, Row
from lightragctl.vectors.store import VectorStore

T = TypeVar("T")

EPOCH = "epoch"
NEWEST_BACKUP = "backup"
KINDS = ("chunks", "entities", "relationships")
_CONTROL_VECTOR = [0.0, 0.0]


class NewestBackup(msgspec.Struct, frozen=True):
    """The newest backup of the workspace as its operation recorded it; `finished_at_s` in unix seconds."""

    id: str
    finished_at_s: int


def newest_backup(value: str | None) -> NewestBackup | None:
    """The newest backup by the value of its row; None without a row, or for one that cannot be read."""
    try:
        return msgspec.json.decode(value, type=NewestBackup) if value else None
    except msgspec.DecodeError:
        return None


class ModelIdentity(msgspec.Struct, frozen=True):
    """Identity of an embedding model: name, dimension, prefixes, and the vector of a fixed text in base64 float32."""

    name: str
    dimension: int
    query_prefix: str
    document_prefix: str
    probe: str


def chunks_alias(workspace: str, model: EmbeddingModel) -> str:
    """LightRAG's name of the workspace's chunks; we make it an alias of a collection with a generation."""
    return collection_name(workspace, "chunks", model)


def collection_name(workspace: str, kind: str, model: EmbeddingModel) -> str:
    """LightRAG's name of the workspace's collection of a kind."""
    return f"{workspace}_{kind}_{model.suffix}"


def is_ours(workspace: str, physical: str, model: EmbeddingModel) -> bool:
    """Whether the collection is ours: LightRAG's own collections have its name directly, ours through an alias."""
    return physical not in {collection_name(workspace, kind, model) for kind in KINDS}


def control_name(workspace: str) -> str:
    """The workspace's control collection."""
    return f"{workspace}_lightragctl"


def model_key(model: EmbeddingModel) -> str:
    """The id of the row that holds the identity of the model."""
    return f"model:{model.suffix}"


def control_row(key: str, value: msgspec.Struct | dict[str, object], now_s: int) -> Row:
    """A row of a control collection."""
    text = msgspec.json.encode(value).decode()
    return {"id": key, "vector": _CONTROL_VECTOR, "created_at": now_s, "value": text}


def epoch_row(now_ns: int) -> Row:
    """The row that signals a change to all replicas; its value is a time, so that writers need no coordination."""
    return control_row(EPOCH, {"epoch": now_ns}, now_ns // 1_000_000_000)


def settings_difference(stored: ModelIdentity, present: ModelIdentity | EmbeddingModel) -> str:
    """How name, dimension or prefixes differ, in words; empty when they do not."""
    for part in ("name", "dimension", "query_prefix", "document_prefix"):
        before, now = getattr(stored, part), getattr(present, part)
        if before != now:
            return f"{part} was {before!r} and is {now!r}"
    return ""


def when_loaded(store: VectorStore, collection: str, read: Callable[[], T]) -> T:
    """The result of `read`, after loading the collection if necessary. Only for our own collections.

    Milvus Lite forgets at every start which collections were loaded.
    """
    try:
        return read()
    except NotLoadedError:
        store.load(collection)
        return read()
