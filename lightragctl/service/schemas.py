"""Schemas of the HTTP API of lightrag-api: request bodies, query strings and responses. Pure."""

from typing import Annotated, Literal

import msgspec

from lightragctl.core.settings import WORKSPACE_PATTERN
from lightragctl.service.documents import SOURCE_CHARS, DocumentWritten, LightragDocument
from lightragctl.service.recording import RecordedQuery

Text = Annotated[str, msgspec.Meta(min_length=1)]
Workspace = Annotated[str, msgspec.Meta(pattern=WORKSPACE_PATTERN)]

Kind = Literal["chunks", "entities", "relationships"]
Mode = Literal["nearest", "naive", "local", "global", "hybrid", "mix"]
Count = Annotated[int, msgspec.Meta(ge=1)]


class RetrieveRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Body of POST /retrieve.

    `filter` is a Milvus boolean expression; `kind` selects one of LightRAG's three collections; `top_k` defaults to 5.
    `mode: naive` searches as LightRAG's naive mode does: `chunk_top_k` (20) passages with a score of at least 0.2. The
    modes `local`, `global`, `hybrid` and `mix` are forwarded to lightrag-server, where `top_k` defaults to 40.
    """

    query: Text
    top_k: Count | None = None
    workspace: Workspace | None = None
    filter: str | None = None
    kind: Kind = "chunks"
    min_score: float | None = None
    mode: Mode = "nearest"
    chunk_top_k: Count | None = None


class QueryRequest(RetrieveRequest):
    """Body of POST /query. With `stream`, the answer is sent as server-sent events in OpenAI's format."""

    stream: bool = False


class ApiHit(msgspec.Struct, omit_defaults=True):
    """A passage, an entity or a relationship. `score` is null in responses of lightrag-server.

    `chunk_order` is the position of a passage in its document, null if unknown; `entity` is the name of an entity,
    `relation` the names of the two entities of a relationship.
    """

    id: str
    score: float | None
    text: str
    source: str
    chunk_order: int | None
    entity: str | None = None
    relation: list[str] | None = None


class GraphEntity(msgspec.Struct):
    """An entity of LightRAG's graph."""

    name: str
    type: str
    text: str
    source: str


class GraphRelation(msgspec.Struct):
    """A relationship of two entities of LightRAG's graph."""

    ends: list[str]
    keywords: str
    text: str
    source: str


class RetrieveAnswer(msgspec.Struct, omit_defaults=True):
    """Hits, best first; `collection` is the one searched, empty if there is none yet. `cached`: from the cache.

    `forwarded_to` names the server that answered a forwarded request; `entities` and `relationships` are present only
    then.
    """

    workspace: str
    collection: str
    hits: list[ApiHit]
    cached: bool
    timing_ms: dict[str, float]
    forwarded_to: str = ""
    entities: list[GraphEntity] = []
    relationships: list[GraphRelation] = []


class Citation(msgspec.Struct):
    """The passage that a marker such as [1] in the answer refers to."""

    marker: int
    id: str
    source: str
    text: str


class QueryAnswer(msgspec.Struct, omit_defaults=True):
    """An answer with its citations and all passages of its prompt.

    `forwarded_to` names the server that answered a forwarded request, without hits. `truncated`: the answer was cut off
    by the token limit or a content filter.
    """

    workspace: str
    answer: str
    citations: list[Citation]
    hits: list[ApiHit]
    model: str
    timing_ms: dict[str, float]
    forwarded_to: str = ""
    truncated: bool = False


class NewDocument(msgspec.Struct, forbid_unknown_fields=True):
    """A document to store; `source` identifies it: a new text with the same source replaces the old one."""

    source: Annotated[str, msgspec.Meta(min_length=1, max_length=SOURCE_CHARS)]
    text: Text


class WriteRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Body of POST /documents."""

    documents: Annotated[list[NewDocument], msgspec.Meta(min_length=1)]
    workspace: Workspace | None = None


class WriteAnswer(msgspec.Struct):
    """The result for each document."""

    workspace: str
    documents: list[DocumentWritten]
    timing_ms: dict[str, float]


class RecordsRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Body of PUT /documents/records."""

    documents: Annotated[list[LightragDocument], msgspec.Meta(min_length=1)]
    workspace: Workspace | None = None


class RecordsAnswer(msgspec.Struct):
    """The number of documents recorded."""

    workspace: str
    recorded: int


class ListQuery(msgspec.Struct, forbid_unknown_fields=True):
    """Query of GET /documents; `after` is the last id of the previous page."""

    workspace: Workspace | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 1000
    after: Annotated[str, msgspec.Meta(max_length=64)] = ""


class ListedDocument(msgspec.Struct):
    """A document's record; `current` is false if the chunking settings have changed since."""

    id: str
    source: str
    sha256: str
    chunks: int
    state: str
    current: bool
    updated_at: int


class ListAnswer(msgspec.Struct):
    """One page of documents; `next` is the `after` of the next page, null on the last."""

    workspace: str
    documents: list[ListedDocument]
    next: str | None


class DeleteQuery(msgspec.Struct, forbid_unknown_fields=True):
    """Query of DELETE /documents: one of `source` and `id`."""

    workspace: Workspace | None = None
    source: str | None = None
    id: str | None = None


class Deleted(msgspec.Struct):
    """A deleted document."""

    id: str
    source: str
    chunks: int


class DeleteAnswer(msgspec.Struct):
    """What was deleted."""

    workspace: str
    deleted: Deleted


class FlushRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Body of POST /documents/flush."""

    workspace: Workspace | None = None


class FlushAnswer(msgspec.Struct):
    """The number of rows in the workspace."""

    workspace: str
    rows: int


class RecordingsQuery(msgspec.Struct, forbid_unknown_fields=True):
    """Query of GET /recordings."""

    limit: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 1000


class RecordingsAnswer(msgspec.Struct):
    """The recorded queries of this replica, newest first."""

    recordings: list[RecordedQuery]


class BatchState(msgspec.Struct):
    """One batch: how long ago it was dispatched, how long its oldest item was queued and why, and how long it took."""

    ago_s: float
    items: int
    waited_ms: float
    reason: str
    still_queued: int
    took_ms: float
    error: str


class StageState(msgspec.Struct):
    """One stage: queued items, calls in flight, and the last batches, newest first."""

    waiting: int
    running: int
    batches: list[BatchState]


class BreakerReport(msgspec.Struct):
    """A circuit breaker; the `reason` why it is open, and the seconds until its next probe."""

    state: str
    reason: str
    retry_after_s: float


class BatchesAnswer(msgspec.Struct):
    """Why requests wait: queues by stage, circuit breakers by backend."""

    stages: dict[str, StageState]
    breakers: dict[str, BreakerReport]
