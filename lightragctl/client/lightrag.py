"""Client of upstream's lightrag-server: its documents and its pipeline. Network I/O."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import httpx
from pydantic import ValidationError

from lightragctl.client.api import CONNECT_TIMEOUT_S, Answer, AnswerT, ApiClient, ApiError, explained
from lightragctl.core.errors import LightragctlError
from lightragctl.core.hint import Command, Hint
from lightragctl.core.source_names import plain_source, upstream_source

_PAGE = 200
"""The largest page of upstream."""

DONE, FAILED = "processed", "failed"
"""Final states of a document."""


class UpstreamDocument(Answer):
    """A document of lightrag-server. `error_msg`: why it failed."""

    id: str
    status: str
    file_path: str
    chunks_count: int | None = None
    error_msg: str | None = None
    track_id: str | None = None
    metadata: dict[str, Any] | None = None

    @property
    def source(self) -> str:
        """The source that it was given under."""
        return plain_source(self.file_path)

    @property
    def is_settled(self) -> bool:
        """Whether its state is a last one."""
        return self.status in (DONE, FAILED)

    @property
    def is_duplicate(self) -> bool:
        """Whether the same text is stored under another source."""
        return bool((self.metadata or {}).get("is_duplicate"))


class Pipeline(Answer):
    """The state of the pipeline."""

    busy: bool = False
    latest_message: str = ""
    recovery_required: bool = False
    recovery_message: str | None = None


class _Pagination(Answer):
    has_next: bool


class _DocumentsPage(Answer):
    documents: list[UpstreamDocument]
    pagination: _Pagination


class _Inserted(Answer):
    track_id: str


class _Tracked(Answer):
    documents: list[UpstreamDocument]


class _DeletionStarted(Answer):
    status: str
    message: str = ""


class _Configuration(Answer):
    workspace: str | None = None


class _Health(Answer):
    core_version: str = ""
    pipeline_busy: bool = False
    pipeline_active: bool = False
    configuration: _Configuration = _Configuration()


class _AnyAnswer(Answer):
    pass


class _Chunk(Answer):
    chunk_id: str = ""
    content: str = ""


class _Found(Answer):
    chunks: tuple[_Chunk, ...] = ()


class _QueryData(Answer):
    data: _Found = _Found()


class LightragClient:
    """Requests to one lightrag-server.

    Every method raises `UnavailableError` when nothing answers and `ApiError` when the server says no.
    """

    def __init__(
        self,
        base_url: str,
        timeout_s: float,
        api_key: str | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self.base_url = base_url.rstrip("/")
        self._timeout_s = timeout_s
        timeout = httpx.Timeout(timeout_s, connect=min(CONNECT_TIMEOUT_S, timeout_s))
        headers = {"X-API-Key": api_key} if api_key else {}
        self._http = httpx.Client(
            base_url=self.base_url, timeout=timeout, transport=transport, trust_env=False, headers=headers
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._http.close()

    def workspace(self) -> str:
        """The one workspace that the server serves."""
        return self._call(_Health, "GET", "/health").configuration.workspace or ""

    def version(self) -> str:
        """The version of LightRAG."""
        return self._call(_Health, "GET", "/health").core_version

    def is_active(self) -> bool:
        """Whether documents are being processed, deleted, scanned or taken in."""
        health = self._call(_Health, "GET", "/health")
        return health.pipeline_busy or health.pipeline_active or self.pipeline().busy

    def chunks(self, question: str, k: int) -> list[str]:
        """The ids of the chunks that a question finds by their vectors alone, best first; no chat model is called."""
        body = {"query": question, "mode": "naive", "top_k": k, "chunk_top_k": k, "enable_rerank": False}
        found = self._call(_QueryData, "POST", "/query/data", json=body).data.chunks
        return [one.chunk_id or one.content for one in found]

    def documents(self) -> list[UpstreamDocument]:
        """All documents; all pages are read."""
        documents: list[UpstreamDocument] = []
        page = 1
        while True:
            asked = {"page": page, "page_size": _PAGE, "sort_field": "id", "sort_direction": "asc"}
            got = self._call(_DocumentsPage, "POST", "/documents/paginated", json=asked)
            documents += got.documents
            if not got.pagination.has_next:
                return documents
            page += 1

    def insert(self, documents: Sequence[tuple[str, str]]) -> str:
        """Submit (source, text) pairs for background processing; returns the tracking id."""
        body = {
            "texts": [text for _, text in documents],
            "file_sources": [upstream_source(source) for source, _ in documents],
        }
        return self._call(_Inserted, "POST", "/documents/texts", json=body).track_id

    def tracked(self, track_id: str) -> list[UpstreamDocument]:
        """The documents of a tracking id; those that are not registered yet are missing."""
        return self._call(_Tracked, "GET", f"/documents/track_status/{track_id}").documents

    def pipeline(self) -> Pipeline:
        """The state of the server's pipeline."""
        return self._call(Pipeline, "GET", "/documents/pipeline_status")

    def delete(self, ids: Sequence[str]) -> str:
        """Start to delete documents; empty when started, else why it cannot start."""
        done = self._call(_DeletionStarted, "DELETE", "/documents/delete_document", json={"doc_ids": list(ids)})
        return "" if done.status == "deletion_started" else done.message or done.status

    def resume(self) -> None:
        """Reprocess pending and failed documents; after a restart the pipeline does not resume by itself."""
        self._call(_AnyAnswer, "POST", "/documents/reprocess_failed")

    def _call(self, answer: type[AnswerT], method: str, path: str, **request: Any) -> AnswerT:
        with explained(self.base_url, self._timeout_s):
            response = self._http.request(method, path, **request)
        if response.is_error:
            raise _refusal(response)
        try:
            return answer.model_validate_json(response.content)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            place = ".".join(str(part) for part in first["loc"]) or "the answer"
            message = f"unexpected response of lightrag-server's {path}: {place}: {first['msg']}"
            raise LightragctlError(
                message, Hint("check its version; its log: ", Command("logs", "lightrag-server"))
            ) from error


@dataclass(frozen=True)
class LightragTarget:
    """The target of a load: lightrag-server, and lightrag-api, which keeps the records."""

    server: LightragClient
    api: ApiClient
    workspace: str


def _refusal(response: httpx.Response) -> ApiError:
    try:
        document = response.json()
    except ValueError:
        document = None
    detail = document.get("detail") if isinstance(document, dict) else None
    text = detail if isinstance(detail, str) else response.text.strip()[:200] or response.reason_phrase
    retry_after = response.headers.get("Retry-After", "")
    return ApiError(
        f"lightrag-server answered with {response.status_code}: {text}",
        Hint("see: ", Command("logs", "lightrag-server")),
        status=response.status_code,
        retry_after_s=float(retry_after) if retry_after.isdecimal() else None,
    )
