"""What goes over the wire of lightrag-api: bodies, queries and answers. Pure."""

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

    `filter` is a Milvus boolean expression; `kind` is what is searched, of LightRAG's three collections. `top_k` is 5
    where it is not given. `mode: naive` asks as LightRAG's naive mode does: `chunk_top_k` (20) passages with a score of
    0.2 or more. The modes `local`, `global`, `hybrid` and `mix` are passed on to lightrag-server, whose `top_k` is 40.
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
    """Body of POST /query. With `stream` the answer comes in pieces, as server-sent events in OpenAI's shape."""

    stream: bool = False


class ApiHit(msgspec.Struct, omit_defaults=True):
    """A passage, an entity or a relationship. `score` is null where lightrag-server gave the answer and told none.

    `chunk_order` is a passage's place in its document, null in collections that do not hold it; `entity` is the name of
    an entity, `relation` the names of the two that a relationship joins.
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
    """What joins two entities of LightRAG's graph."""

    ends: list[str]
    keywords: str
    text: str
    source: str


class RetrieveAnswer(msgspec.Struct, omit_defaults=True):
    """Hits, best first; `collection` is the one searched, empty when there is none yet. `cached`: not searched now.

    `forwarded_to` names who gave the answer, where it was passed on; `entities` and `relationships` come only then.
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
    """The passage that a marker such as [1] in the answer points at."""

    marker: int
    id: str
    source: str
    text: str


class QueryAnswer(msgspec.Struct, omit_defaults=True):
    """An answer with the passages that it cites, and all that it was made from.

    `forwarded_to` names who gave the answer, where it was passed on: then there are no hits. `truncated`: the model was
    stopped before its end, at its token limit or by a filter.
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
    """A document to store; `source` names it: another text under the same source replaces it."""

    source: Annotated[str, msgspec.Meta(min_length=1, max_length=SOURCE_CHARS)]
    text: Text


class WriteRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Body of POST /documents."""

    documents: Annotated[list[NewDocument], msgspec.Meta(min_length=1)]
    workspace: Workspace | None = None


class WriteAnswer(msgspec.Struct):
    """What became of each document."""

    workspace: str
    documents: list[DocumentWritten]
    timing_ms: dict[str, float]


class RecordsRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Body of PUT /documents/records."""

    documents: Annotated[list[LightragDocument], msgspec.Meta(min_length=1)]
    workspace: Workspace | None = None


class RecordsAnswer(msgspec.Struct):
    """How many records were noted."""

    workspace: str
    noted: int


class ListQuery(msgspec.Struct, forbid_unknown_fields=True):
    """Query of GET /documents; `after` is the last id of the page before."""

    workspace: Workspace | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 1000
    after: Annotated[str, msgspec.Meta(max_length=64)] = ""


class ListedDocument(msgspec.Struct):
    """A document's record; `current` is false when documents are cut otherwise now."""

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
    """A document that is gone."""

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
    """The rows that the workspace holds."""

    workspace: str
    rows: int


class RecordingsQuery(msgspec.Struct, forbid_unknown_fields=True):
    """Query of GET /recordings."""

    limit: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 1000


class RecordingsAnswer(msgspec.Struct):
    """Questions that were asked of this replica, newest first."""

    recordings: list[RecordedQuery]


class BatchState(msgspec.Struct):
    """One batch: how long ago it left, how long its oldest item waited and why, and how long the call took."""

    ago_s: float
    items: int
    waited_ms: float
    why: str
    left_behind: int
    took_ms: float
    error: str


class StageState(msgspec.Struct):
    """One stage: what waits, what is under way, and the last batches, newest first."""

    waiting: int
    running: int
    batches: list[BatchState]


class BreakerReport(msgspec.Struct):
    """A circuit breaker; `why` it is open, and when it lets a call through."""

    state: str
    why: str
    retry_after_s: float


class BatchesAnswer(msgspec.Struct):
    """Why requests wait, by stage and by what is behind the service."""

    stages: dict[str, StageState]
    breakers: dict[str, BreakerReport]
