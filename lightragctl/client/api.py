"""Client of lightrag-api: one method per request, typed answers, errors with cause and hint. Network I/O.

The contract is the service's `/openapi.json`.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, Self, TypeVar

import httpx
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lightragctl.core.errors import LightragctlError, UnavailableError
from lightragctl.core.hint import Command, Hint, hint_of

NOT_THERE_HINT = Hint("see `", Command("status"), "`; start it with `", Command("up"), "`")
CONNECT_TIMEOUT_S = 5.0  # on loopback or a cluster network no handshake takes longer
LIST_PAGE = 1000  # the largest page of the service
URN = "urn:lightragctl:"
KEY_HINT = (
    "the key is read from the Secret of components.lightrag-api.api_key in the profile; "
    "pods see a changed Secret within two minutes"
)


class ApiError(LightragctlError):
    """An error response of lightrag-api, with or without a problem document.

    Args:
        message: the problem's detail.
        hint: the problem's hint.
        status: the HTTP status.
        retry_after_s: the Retry-After of the response; None without one.
        code: the problem's code, the end of its `urn:lightragctl:` type.
    """

    def __init__(
        self, message: str, hint: str = "", *, status: int, retry_after_s: float | None = None, code: str = "failed"
    ) -> None:
        super().__init__(message, hint)
        self.status = status
        self.retry_after_s = retry_after_s
        self.code = code


class Answer(BaseModel):
    """A response of the service; unknown keys are ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True)


Kind = Literal["chunks", "entities", "relationships"]
Mode = Literal["nearest", "naive", "local", "global", "hybrid", "mix"]


class RetrievedChunk(Answer):
    """One hit: a passage, or LightRAG's description of an entity or relationship.

    `score` is the collection's metric (COSINE: higher is nearer); None in answers of lightrag-server.
    """

    id: str
    score: float | None
    text: str
    source: str
    chunk_order: int | None = None
    entity: str | None = None
    relation: tuple[str, str] | None = None


class GraphEntity(Answer):
    """An entity of LightRAG's graph, and the sources that mention it."""

    name: str
    type: str
    text: str
    source: str


class GraphRelation(Answer):
    """A relationship of two entities in LightRAG's graph."""

    ends: tuple[str, str]
    keywords: str
    text: str
    source: str


class Citation(Answer):
    """The passage that a `[marker]` in an answer refers to."""

    marker: int
    id: str
    source: str
    text: str


class Retrieval(Answer):
    """The response of `POST /retrieve`, best hit first. Times in milliseconds, per stage.

    `forwarded_to`: the component that answered when lightrag-api forwarded the question; only then are there entities
    and relationships.
    """

    workspace: str
    collection: str
    hits: list[RetrievedChunk]
    timing_ms: dict[str, float] = Field(default_factory=dict)
    forwarded_to: str = ""
    entities: list[GraphEntity] = Field(default_factory=list)
    relationships: list[GraphRelation] = Field(default_factory=list)


class QueryAnswer(Answer):
    """The response of `POST /query`. Times in milliseconds, per stage; `truncated`: the model stopped early."""

    answer: str
    citations: list[Citation]
    hits: list[RetrievedChunk]
    model: str
    timing_ms: dict[str, float] = Field(default_factory=dict)
    forwarded_to: str = ""
    truncated: bool = False


class StoredDocument(Answer):
    """A stored document. `sha256` is over its UTF-8 text, `updated_at` in unix seconds.

    `current`: false when it was chunked with other settings than the present ones.
    """

    id: str
    source: str
    sha256: str
    chunks: int
    state: Literal["ready", "writing"]
    current: bool
    updated_at: int


class AcceptedDocument(Answer):
    """A document that the service has acknowledged."""

    id: str
    source: str
    status: Literal["created", "updated", "unchanged"]
    chunks: int


class DeletedDocument(Answer):
    """A deleted document."""

    id: str
    source: str
    chunks: int


class RecordedQuestion(Answer):
    """A recorded question and the ids of its hits, best first. `at` in unix seconds."""

    at: float
    workspace: str
    query: str
    top_k: int
    kind: str
    filter: str
    collection: str
    ids: list[str]
    took_ms: float


@dataclass(frozen=True)
class HeldDocument:
    """A document of lightrag-server; in state `writing`, one that is about to be sent to it."""

    source: str
    sha256: str
    chunks: int
    state: Literal["writing", "ready"]


class _Noted(Answer):
    recorded: int


class _Recordings(Answer):
    recordings: list[RecordedQuestion]


class _DocumentPage(Answer):
    documents: list[StoredDocument]
    next: str | None = None


class _Deletion(Answer):
    deleted: DeletedDocument


class _Flush(Answer):
    rows: int


class _ChunksMoved(Answer):
    chunks_done: int
    chunks: int


class _Problem(Answer):
    type: str = ""
    title: str = ""
    status: int | None = None
    detail: str = ""
    hint: str = ""
    hint_parts: Any = None


AnswerT = TypeVar("AnswerT", bound=Answer)
ChunkProgress = Callable[[int, int], None]
"""Called with finished and total chunks of one document after each embedded batch."""


class ApiClient:
    """Requests to one lightrag-api; may be used from several threads.

    Args:
        base_url: `http://127.0.0.1:8080`.
        timeout_s: read timeout of a request.
        transport: an httpx transport, for tests.
        api_key: sent with every request; None: no authentication.

    Every method raises `UnavailableError` when there is no response and `ApiError` for an error response.
    Proxies of the environment are not used: the service is on this machine or behind a forwarded port.
    """

    def __init__(
        self,
        base_url: str,
        timeout_s: float,
        transport: httpx.BaseTransport | None = None,
        api_key: str | None = None,
    ) -> None:
        self.base_url = base_url.rstrip("/")
        self._timeout_s = timeout_s
        timeout = httpx.Timeout(timeout_s, connect=min(CONNECT_TIMEOUT_S, timeout_s))
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._http = httpx.Client(
            base_url=self.base_url, timeout=timeout, transport=transport, trust_env=False, headers=headers
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def retrieve(  # noqa: PLR0913 - one for each field of the request
        self,
        query: str,
        top_k: int | None = None,
        *,
        workspace: str | None = None,
        filter: str | None = None,
        kind: Kind = "chunks",
        mode: Mode = "nearest",
        recorded: bool = True,
    ) -> Retrieval:
        """The hits nearest to `query`, best first; `top_k` defaults to the mode's own.

        `filter` is a Milvus boolean expression. `recorded`: false for questions that are not from users.
        """
        given = {"query": query, **_asked(mode, top_k), "workspace": workspace, "filter": filter}
        body = _without_none(given | {"kind": None if kind == "chunks" else kind})
        headers = {} if recorded else {"X-Record": "no"}
        return self._call(Retrieval, "POST", "/retrieve", json=body, headers=headers)

    def query(
        self,
        query: str,
        top_k: int | None = None,
        *,
        workspace: str | None = None,
        filter: str | None = None,
        mode: Mode = "nearest",
    ) -> QueryAnswer:
        """An answer to `query` from the nearest passages, with citations; `top_k` as in `retrieve`."""
        body = _without_none({"query": query, **_asked(mode, top_k), "workspace": workspace, "filter": filter})
        return self._call(QueryAnswer, "POST", "/query", json=body)

    def list_documents(self, workspace: str | None = None) -> list[StoredDocument]:
        """All documents of a workspace, ordered by id; reads all pages."""
        documents: list[StoredDocument] = []
        after: str | None = None
        while True:
            params = _without_none({"workspace": workspace, "limit": LIST_PAGE, "after": after})
            page = self._call(_DocumentPage, "GET", "/documents", params=params)
            documents += page.documents
            if page.next is None or page.next == after:
                return documents
            after = page.next

    def note_documents(self, held: Sequence[HeldDocument], workspace: str | None = None) -> None:
        """Record documents of lightrag-server in the service."""
        documents = [
            {"source": one.source, "sha256": one.sha256, "chunks": one.chunks, "state": one.state} for one in held
        ]
        body = _without_none({"workspace": workspace, "documents": documents})
        self._call(_Noted, "PUT", "/documents/records", json=body)

    def delete_document(
        self, *, source: str | None = None, id: str | None = None, workspace: str | None = None
    ) -> DeletedDocument:
        """Delete one document by its source or its id; `ApiError` with status 404 when there is none."""
        params = _without_none({"workspace": workspace, "source": source, "id": id})
        return self._call(_Deletion, "DELETE", "/documents", params=params).deleted

    def recordings(self, limit: int) -> list[RecordedQuestion]:
        """Recorded questions, newest first; `ApiError` with status 404 when recording is off."""
        return self._call(_Recordings, "GET", "/recordings", params={"limit": limit}).recordings

    def flush(self, workspace: str | None = None) -> int:
        """Flush and index loaded documents; the number of rows of the workspace."""
        return self._call(_Flush, "POST", "/documents/flush", json=_without_none({"workspace": workspace})).rows

    def post_document(
        self, source: str, text: str, *, workspace: str | None = None, on_progress: ChunkProgress | None = None
    ) -> AcceptedDocument:
        """Store one document; replaces the document of the same source.

        Returns when the service has acknowledged it. An exception of `on_progress` aborts the request.
        """
        body = _without_none({"workspace": workspace, "documents": [{"source": source, "text": text}]})
        headers = {"Accept": "application/x-ndjson"}
        with (
            explained(self.base_url, self._timeout_s),
            self._http.stream("POST", "/documents", json=body, headers=headers) as response,
        ):
            if response.is_error:
                response.read()
                raise _problem(response)
            accepted = None
            for line in response.iter_lines():
                if not line.strip():
                    continue
                event = _event(line)
                if event["event"] == "progress" and on_progress:
                    moved = _parsed(_ChunksMoved, event)
                    on_progress(moved.chunks_done, moved.chunks)
                elif event["event"] == "document":
                    accepted = _parsed(AcceptedDocument, event)
        if accepted is None:
            raise UnavailableError(f"{self.base_url} closed the response before acknowledging {source}", NOT_THERE_HINT)
        return accepted

    def _call(self, answer: type[AnswerT], method: str, path: str, **request: Any) -> AnswerT:
        with explained(self.base_url, self._timeout_s):
            response = self._http.request(method, path, **request)
        if response.is_error:
            raise _problem(response)
        return _parsed(answer, response.content)


@contextmanager
def explained(base_url: str, timeout_s: float) -> Iterator[None]:
    """Convert exceptions of httpx into errors with a hint."""
    try:
        yield
    except httpx.ConnectError as error:
        raise UnavailableError(f"nothing answers at {base_url}: {error}", NOT_THERE_HINT) from error
    except httpx.TimeoutException as error:
        raise UnavailableError(f"{base_url} timed out: no data for {timeout_s:g} s", NOT_THERE_HINT) from error
    except httpx.TransportError as error:
        cause = str(error) or type(error).__name__
        raise UnavailableError(f"the connection to {base_url} failed: {cause}", NOT_THERE_HINT) from error


def _asked(mode: Mode, top_k: int | None) -> dict[str, Any]:
    """The mode, and the number of passages under the mode's name for it."""
    if mode == "nearest":
        return {"top_k": top_k}
    return {"mode": mode, "chunk_top_k": top_k}


def _without_none(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}


def _parsed(answer: type[AnswerT], content: bytes | Mapping[str, Any]) -> AnswerT:
    try:
        if isinstance(content, bytes):
            return answer.model_validate_json(content)
        return answer.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "the answer"
        raise LightragctlError(
            f"unexpected response of lightrag-api: {place}: {first['msg']}",
            Hint("check that the service has the same version as lightragctl: `", Command("status"), "`"),
        ) from error


def _event(line: str) -> dict[str, Any]:
    """One event of the stream; raises the error of an `error` event."""
    try:
        event = json.loads(line)
    except json.JSONDecodeError as error:
        raise UnavailableError(f"truncated response of lightrag-api at {line[:80]!r}", NOT_THERE_HINT) from error
    if not isinstance(event, dict) or "event" not in event:
        raise LightragctlError(f"lightrag-api sent an invalid event: {line[:80]!r}")
    if event["event"] == "error":
        raise _problem_error(event.get("problem"), 500, fallback="lightrag-api failed without a reason")
    return event


def _problem(response: httpx.Response) -> ApiError:
    try:
        document = response.json()
    except ValueError:
        document = None
    text = response.text.strip()[:200] or response.reason_phrase
    fallback = f"{response.url} answered {response.status_code}: {text}"
    return _problem_error(document, response.status_code, fallback, response.headers.get("Retry-After", ""))


def _problem_error(document: object, status: int, fallback: str, retry_after: str = "") -> ApiError:
    """The error of a problem document; `fallback`: the message when it is not one."""
    try:
        problem = _Problem.model_validate(document)
    except ValidationError:
        problem = _Problem()
    status = problem.status or status
    return ApiError(
        problem.detail or problem.title or fallback,
        KEY_HINT if status == httpx.codes.UNAUTHORIZED else hint_of(problem.hint, problem.hint_parts),
        status=status,
        retry_after_s=float(retry_after) if retry_after.isascii() and retry_after.isdigit() else None,
        code=problem.type.removeprefix(URN) if problem.type.startswith(URN) else ApiError.code,
    )
