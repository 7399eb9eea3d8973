"""What goes over the wire of lightrag-api: bodies, queries and answers. Pure."""

from typing import Annotated

import msgspec

from lightragctl.core.settings import WORKSPACE_PATTERN
from lightragctl.service.documents import Written

Text = Annotated[str, msgspec.Meta(min_length=1)]
Workspace = Annotated[str, msgspec.Meta(pattern=WORKSPACE_PATTERN)]
SOURCE_CHARS = 4096
"""As long as a path may be on Linux; Milvus's field would take more."""


class RetrieveRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Body of POST /retrieve and POST /query. `filter` is a Milvus boolean expression."""

    query: Text
    top_k: Annotated[int, msgspec.Meta(ge=1)] = 5
    workspace: Workspace | None = None
    filter: str | None = None


class ApiHit(msgspec.Struct):
    """A passage. `chunk_order` is its place in its document, null in collections that do not hold it."""

    id: str
    score: float
    text: str
    source: str
    chunk_order: int | None


class RetrieveAnswer(msgspec.Struct):
    """Hits, best first; `collection` is the one searched, empty when there is none yet."""

    workspace: str
    collection: str
    hits: list[ApiHit]
    timing_ms: dict[str, float]


class Citation(msgspec.Struct):
    """The passage that a marker such as [1] in the answer points at."""

    marker: int
    id: str
    source: str
    text: str


class QueryAnswer(msgspec.Struct):
    """An answer with the passages that it cites, and all that it was made from."""

    workspace: str
    answer: str
    citations: list[Citation]
    hits: list[ApiHit]
    model: str
    timing_ms: dict[str, float]


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
    documents: list[Written]
    timing_ms: dict[str, float]


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
