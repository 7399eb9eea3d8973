"""Questions in LightRAG's graph modes: lightrag-api passes them on to lightrag-server. Network I/O.

What comes back is upstream's; it is given out as that, with `forwarded_to`.
"""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Protocol

import aiohttp
import msgspec

from lightragctl.core.errors import LightragctlError, UnavailableError, WaitExpired
from lightragctl.core.hint import Command, Hint
from lightragctl.core.source_names import plain_source
from lightragctl.service.model_clients import CONNECT_S
from lightragctl.service.responses import JSON, json_bytes
from lightragctl.service.schemas import ApiHit, Citation, GraphEntity, GraphRelation, QueryAnswer, RetrieveAnswer
from lightragctl.service.trace import trace_headers

UPSTREAM = "lightrag-server"
_STATUS_HINT = Hint("see: ", Command("status"))
_LOGS_HINT = Hint("see: ", Command("logs", "lightrag-server"))


class GraphTimeoutError(UnavailableError, WaitExpired):
    """lightrag-server did not answer within the deadline."""

    code = "graph-timeout"


class GraphError(LightragctlError):
    """lightrag-server refused the question, or could not answer it."""

    code = "graph"


class GraphBackend(Protocol):
    """Asks lightrag-server; `GraphClient` does."""

    async def ask(self, path: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """The answer to a POST."""


class GraphClient:
    """Asks lightrag-server at `url`; `deadline_s` bounds each call."""

    def __init__(self, session: aiohttp.ClientSession, url: str, api_key: str, deadline_s: float) -> None:
        self._session = session
        self._url = url.rstrip("/")
        self._headers = {"Content-Type": JSON, **({"X-API-Key": api_key} if api_key else {})}
        self._deadline_s = deadline_s

    async def ask(self, path: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """The answer to a POST.

        Raises:
            UnavailableError: it cannot be reached, failed, or took longer than the deadline.
            GraphError: it refuses the question.
        """
        timeout = aiohttp.ClientTimeout(total=self._deadline_s, sock_connect=CONNECT_S)
        headers = {**self._headers, **trace_headers()}
        try:
            async with self._session.post(
                self._url + path, data=json_bytes(body), headers=headers, timeout=timeout
            ) as answer:
                raw = await answer.read()
        except TimeoutError as error:
            message = f"{UPSTREAM} did not answer within {self._deadline_s:g} s"
            raise GraphTimeoutError(message, _LOGS_HINT) from error
        except aiohttp.ClientError as error:
            raise UnavailableError(f"{UPSTREAM} at {self._url} does not answer: {error}", _STATUS_HINT) from error
        return _told(answer.status, raw)


def _told(status: int, raw: bytes) -> Mapping[str, Any]:
    try:
        document = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        document = {}
    document = document if isinstance(document, dict) else {}
    if status == HTTPStatus.OK:
        return document
    detail = f"{UPSTREAM} answered with {status}: {document.get('detail') or 'no reason'}"
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        raise UnavailableError(detail, _LOGS_HINT)
    raise GraphError(detail, _LOGS_HINT)


def graph_body(query: str, mode: str, top_k: int | None, chunk_top_k: int | None) -> dict[str, Any]:
    """The question as upstream takes it; what is not given is left to upstream."""
    given = {"query": query, "mode": mode, "top_k": top_k, "chunk_top_k": chunk_top_k}
    return {key: value for key, value in given.items() if value is not None}


def retrieve_answer(workspace: str, told: Mapping[str, Any], timing_ms: dict[str, float]) -> RetrieveAnswer:
    """The answer of /query/data in our shape: chunks as hits, without scores, and the graph's parts."""
    data = told.get("data") or {}
    return RetrieveAnswer(
        workspace,
        "",
        [_chunk(one) for one in data.get("chunks") or ()],
        False,
        timing_ms,
        UPSTREAM,
        [_entity(one) for one in data.get("entities") or ()],
        [_relation(one) for one in data.get("relationships") or ()],
    )


def query_answer(workspace: str, told: Mapping[str, Any], model: str, timing_ms: dict[str, float]) -> QueryAnswer:
    """The answer of /query in our shape; a citation is a reference of upstream's."""
    references: Sequence[Mapping[str, Any]] = told.get("references") or ()
    cited = [
        Citation(int(one["reference_id"]), "", plain_source(str(one.get("file_path", ""))), _first(one.get("content")))
        for one in references
        if str(one.get("reference_id", "")).isdecimal()
    ]
    return QueryAnswer(workspace, str(told.get("response", "")), cited, [], model, timing_ms, UPSTREAM)


def _chunk(one: Mapping[str, Any]) -> ApiHit:
    source = plain_source(str(one.get("file_path", "")))
    return ApiHit(str(one.get("chunk_id", "")), None, str(one.get("content", "")), source, None)


def _entity(one: Mapping[str, Any]) -> GraphEntity:
    source = plain_source(str(one.get("file_path", "")))
    return GraphEntity(str(one.get("entity_name", "")), str(one.get("entity_type", "")), _text(one), source)


def _relation(one: Mapping[str, Any]) -> GraphRelation:
    ends = [str(one.get("src_id", "")), str(one.get("tgt_id", ""))]
    return GraphRelation(ends, str(one.get("keywords", "")), _text(one), plain_source(str(one.get("file_path", ""))))


def _text(one: Mapping[str, Any]) -> str:
    return str(one.get("description", ""))


def _first(content: object) -> str:
    return str(content[0]) if isinstance(content, list) and content else ""
