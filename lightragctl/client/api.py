"""The tool's door to lightrag-api: one method per request, typed answers, errors with cause and hint. Does network I/O.

The service knows nothing of this module; what it promises stands in its `/openapi.json`.
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
CONNECT_TIMEOUT_S = 5.0  # loopback or one cluster network: a TCP handshake that takes longer will not come
LIST_PAGE = 1000  # what the service gives at most in one page
URN = "urn:lightragctl:"
KEY_HINT = (
    "the key is read from the Secret that components.lightrag-api.api_key of the profile names; "
    "pods see a changed one within a minute or two"
)


class ApiError(LightragctlError):
    """lightrag-api answered with a problem document (or with an error that is none).

    Args:
        message: the problem's detail.
        hint: the problem's hint.
        status: the HTTP status.
        retry_after_s: what the service asked to wait before the next try; None when it did not say.
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
    """A frozen answer of the service; keys that a newer service adds are ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True)


Kind = Literal["chunks", "entities", "relationships"]
Mode = Literal["nearest", "naive", "local", "global", "hybrid", "mix"]


class RetrievedChunk(Answer):
    """One hit: a piece of a document, or what LightRAG wrote of an entity or of the relationship of two.

    `score` as the collection's metric gives it (COSINE: higher is nearer); None where lightrag-server gave the answer.
    """

    id: str
    score: float | None
    text: str
    source: str
    chunk_order: int | None = None
    entity: str | None = None
    relation: tuple[str, str] | None = None


class GraphEntity(Answer):
    """An entity of LightRAG's graph, and the sources that name it."""

    name: str
    type: str
    text: str
    source: str


class GraphRelation(Answer):
    """What joins two entities of LightRAG's graph."""

    ends: tuple[str, str]
    keywords: str
    text: str
    source: str


class Citation(Answer):
    """What a `[marker]` in an answer points at."""

    marker: int
    id: str
    source: str
    text: str


class Retrieval(Answer):
    """The answer to `POST /retrieve`, best hit first. Times in milliseconds, per stage.

    `forwarded_to` says who gave it when lightrag-api passed the question on; entities and relationships come only then.
    """

    workspace: str
    collection: str
    hits: list[RetrievedChunk]
    timing_ms: dict[str, float] = Field(default_factory=dict)
    forwarded_to: str = ""
    entities: list[GraphEntity] = Field(default_factory=list)
    relationships: list[GraphRelation] = Field(default_factory=list)


class QueryAnswer(Answer):
    """The answer to `POST /query`. Times in milliseconds, per stage; `truncated` when the model was stopped early."""

    answer: str
    citations: list[Citation]
    hits: list[RetrievedChunk]
    model: str
    timing_ms: dict[str, float] = Field(default_factory=dict)
    forwarded_to: str = ""
    truncated: bool = False


class StoredDocument(Answer):
    """A document as the service holds it. `sha256` is over its UTF-8 text, `updated_at` in unix seconds.

    `current` is false when it was cut with other chunking settings than the service's present ones.
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
    """A document that is gone."""

    id: str
    source: str
    chunks: int


class RecordedQuestion(Answer):
    """A question as it was asked, and the ids that answered it, best first. `at` in unix seconds."""

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
    """A document that lightrag-server holds; in state `writing`, one that it is about to be given."""

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
"""Called with chunks done and chunks in all, of one document, after each embedded batch."""


class ApiClient:
    """Requests to one lightrag-api; may be used from several threads.

    Args:
        base_url: `http://127.0.0.1:8080`.
        timeout_s: the longest silence of the service that is waited out, per request.
        transport: another way to send requests, for tests.
        api_key: sent with every request; None where the service asks for none.

    Every method raises `UnavailableError` when nothing answers and `ApiError` when the service says no.
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
        """What is nearest to `query`, best first; `top_k` is the mode's own where it is not given.

        `filter` is a Milvus boolean expression. A question that is not a user's says that it is not to be `recorded`.
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
        """An answer to `query` written from the nearest passages, with citations; `top_k` as in `retrieve`."""
        body = _without_none({"query": query, **_asked(mode, top_k), "workspace": workspace, "filter": filter})
        return self._call(QueryAnswer, "POST", "/query", json=body)

    def list_documents(self, workspace: str | None = None) -> list[StoredDocument]:
        """All documents of a workspace, ordered by id; all pages are read."""
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
        """Tell the service what lightrag-server holds, or is about to."""
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
        """Questions that were recorded, newest first; `ApiError` with status 404 when none are."""
        return self._call(_Recordings, "GET", "/recordings", params={"limit": limit}).recordings

    def flush(self, workspace: str | None = None) -> int:
        """Flush and index what was loaded; the number of rows that the workspace holds."""
        return self._call(_Flush, "POST", "/documents/flush", json=_without_none({"workspace": workspace})).rows

    def post_document(
        self, source: str, text: str, *, workspace: str | None = None, on_progress: ChunkProgress | None = None
    ) -> AcceptedDocument:
        """Store one document, in place of what the service had under the same source.

        Returns when the service has acknowledged it. What `on_progress` raises ends the request and is passed on.
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
            raise UnavailableError(f"{self.base_url} ended its answer before it acknowledged {source}", NOT_THERE_HINT)
        return accepted

    def _call(self, answer: type[AnswerT], method: str, path: str, **request: Any) -> AnswerT:
        with explained(self.base_url, self._timeout_s):
            response = self._http.request(method, path, **request)
        if response.is_error:
            raise _problem(response)
        return _parsed(answer, response.content)


@contextmanager
def explained(base_url: str, timeout_s: float) -> Iterator[None]:
    """Turn what httpx raises into errors that a user can act on."""
    try:
        yield
    except httpx.ConnectError as error:
        raise UnavailableError(f"nothing answers at {base_url}: {error}", NOT_THERE_HINT) from error
    except httpx.TimeoutException as error:
        raise UnavailableError(f"{base_url} said nothing for {timeout_s:g} s", NOT_THERE_HINT) from error
    except httpx.TransportError as error:
        cause = str(error) or type(error).__name__
        raise UnavailableError(f"the connection to {base_url} broke: {cause}", NOT_THERE_HINT) from error


def _asked(mode: Mode, top_k: int | None) -> dict[str, Any]:
    """The mode, and how many passages in the words of the mode."""
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
            f"lightrag-api gave an answer that this version does not understand: {place}: {first['msg']}",
            Hint("is the service of the same version as lightragctl? see `", Command("status"), "`"),
        ) from error


def _event(line: str) -> dict[str, Any]:
    """One line of the stream; raises what an `error` line says."""
    try:
        event = json.loads(line)
    except json.JSONDecodeError as error:
        raise UnavailableError(f"lightrag-api's answer was cut off at {line[:80]!r}", NOT_THERE_HINT) from error
    if not isinstance(event, dict) or "event" not in event:
        raise LightragctlError(f"lightrag-api sent a line that is no event: {line[:80]!r}")
    if event["event"] == "error":
        raise _problem_error(event.get("problem"), 500, fallback="lightrag-api gave up without saying why")
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
    """The error that a problem document stands for; `fallback` is the message when it is none."""
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
