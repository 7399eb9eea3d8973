"""Client of lightrag-server, which answers queries in LightRAG's graph modes. Network I/O.

Responses are upstream's and marked as such, with `forwarded_to`.
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
    """lightrag-server did not respond within the deadline."""

    code = "graph-timeout"


class GraphError(LightragctlError):
    """lightrag-server rejected the query, or could not answer it."""

    code = "graph-error"


class GraphBackend(Protocol):
    """The interface of lightrag-server; implemented by `GraphClient`."""

    async def ask(self, path: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """The response to a POST."""


class GraphClient:
    """A client of lightrag-server at `url`; `deadline_s` limits each call."""

    def __init__(self, session: aiohttp.ClientSession, url: str, api_key: str, deadline_s: float) -> None:
        self._session = session
        self._url = url.rstrip("/")
        self._headers = {"Content-Type": JSON, **({"X-API-Key": api_key} if api_key else {})}
        self._deadline_s = deadline_s

    async def ask(self, path: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """The response to a POST.

        Raises:
            UnavailableError: it cannot be reached, failed, or took longer than the deadline.
            GraphError: it rejected the query.
        """
        timeout = aiohttp.ClientTimeout(total=self._deadline_s, sock_connect=CONNECT_S)
        headers = {**self._headers, **trace_headers()}
        try:
            async with self._session.post(
                self._url + path, data=json_bytes(body), headers=headers, timeout=timeout
            ) as answer:
                raw = await answer.read()
        except TimeoutError as error:
            message = f"{UPSTREAM} did not respond within {self._deadline_s:g} s"
            raise GraphTimeoutError(message, _LOGS_HINT) from error
        except aiohttp.ClientError as error:
            raise UnavailableError(f"{UPSTREAM} at {self._url} does not respond: {error}", _STATUS_HINT) from error
        return _document(answer.status, raw)


def _document(status: int, raw: bytes) -> Mapping[str, Any]:
    try:
        document = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        document = {}
    document = document if isinstance(document, dict) else {}
    if status == HTTPStatus.OK:
        return document
    detail = f"{UPSTREAM} responded with {status}: {document.get('detail') or 'no reason given'}"
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        raise UnavailableError(detail, _LOGS_HINT)
    raise GraphError(detail, _LOGS_HINT)


def graph_body(query: str, mode: str, top_k: int | None, chunk_top_k: int | None) -> dict[str, Any]:
    """The body of a query for upstream; missing values are left to its defaults."""
    given = {"query": query, "mode": mode, "top_k": top_k, "chunk_top_k": chunk_top_k}
    return {key: value for key, value in given.items() if value is not None}


def retrieve_answer(workspace: str, response: Mapping[str, Any], timing_ms: dict[str, float]) -> RetrieveAnswer:
    """The response of /query/data in our schema: chunks as hits without scores, entities and relationships."""
    data = response.get("data") or {}
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


def query_answer(workspace: str, response: Mapping[str, Any], model: str, timing_ms: dict[str, float]) -> QueryAnswer:
    """The response of /query in our schema; citations are upstream's references."""
    references: Sequence[Mapping[str, Any]] = response.get("references") or ()
    cited = [
        Citation(int(one["reference_id"]), "", plain_source(str(one.get("file_path", ""))), _first(one.get("content")))
        for one in references
        if str(one.get("reference_id", "")).isdecimal()
    ]
    return QueryAnswer(workspace, str(response.get("response", "")), cited, [], model, timing_ms, UPSTREAM)


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
