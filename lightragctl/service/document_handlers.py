"""Document handlers of lightrag-api: POST, GET and DELETE /documents. No sockets."""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Sequence
from typing import TypeVar

import msgspec

from lightragctl.core.errors import LightragctlError
from lightragctl.core.settings import ApiSettings
from lightragctl.service import http
from lightragctl.service.documents import DocumentRecord, Documents, DocumentWritten, document_id
from lightragctl.service.responses import problem_body, problem_of
from lightragctl.service.schemas import (
    DeleteAnswer,
    Deleted,
    DeleteQuery,
    FlushAnswer,
    FlushRequest,
    ListAnswer,
    ListedDocument,
    ListQuery,
    RecordsAnswer,
    RecordsRequest,
    WriteAnswer,
    WriteRequest,
)
from lightragctl.service.workspaces import Workspaces
from lightragctl.service.write_guard import KNOWN_S

_PROGRESS_AHEAD = 64
"""Lines that are buffered for a slow client; beyond it progress events are dropped, acknowledgements are not."""

Lines = asyncio.Queue[bytes | None]

KEEP_ALIVE_S = 10.0
"""Interval of keep-alive events while a slow model or another writer delays progress."""

T = TypeVar("T")


class WriteWaiting(msgspec.Struct, tag_field="event", tag="waiting"):
    """Keep-alive event: the document is still being written."""

    source: str


async def with_keep_alive(events: AsyncGenerator[T, None], interval_s: float) -> AsyncGenerator[T | None, None]:
    """The events, and None after each `interval_s` without one."""
    upcoming = asyncio.ensure_future(anext(events))
    try:
        while True:
            done, _ = await asyncio.wait([upcoming], timeout=interval_s)
            if not done:
                yield None
                continue
            try:
                event = upcoming.result()
            except StopAsyncIteration:
                return
            yield event
            upcoming = asyncio.ensure_future(anext(events))
    finally:
        upcoming.cancel()
        await asyncio.gather(upcoming, return_exceptions=True)


class DocumentHandlers:
    """The handlers.

    Args:
        settings: of lightrag-api.
        workspaces: resolves their collections.
        documents: writes them.
        spread_s: how long other replicas take to notice a change.
    """

    def __init__(self, settings: ApiSettings, workspaces: Workspaces, documents: Documents, spread_s: float) -> None:
        self._settings = settings
        self._workspaces = workspaces
        self._documents = documents
        self._spread_s = spread_s

    async def write(self, request: http.Request) -> http.Response | http.Streaming:
        asked = request.json(WriteRequest)
        if len(asked.documents) > self._settings.limits.documents:
            raise _bad(f"documents: {len(asked.documents)}, the limit is {self._settings.limits.documents}")
        workspace = asked.workspace or self._settings.workspace
        texts = [(one.source, await self._documents.cleaned(one.source, one.text)) for one in asked.documents]
        await self._workspaces.writable(workspace)  # an invalid workspace sets the status
        await self._workspaces.guard.refuse(workspace, age_s=KNOWN_S)
        if "ndjson" in request.header("accept"):
            return http.Streaming(self._write_lines(workspace, texts))
        begin = time.perf_counter()
        written = [
            event
            for source, text in texts
            async for event in self._documents.write(workspace, source, text)
            if isinstance(event, DocumentWritten)
        ]
        return http.json_response(
            WriteAnswer(workspace, written, {"total": round((time.perf_counter() - begin) * 1000, 3)})
        )

    async def listing(self, request: http.Request) -> http.Response:
        asked = request.query(ListQuery)
        workspace = asked.workspace or self._settings.workspace
        records = await self._documents.page(workspace, asked.after, asked.limit)
        after = records[-1].id if len(records) == asked.limit else None
        return http.json_response(ListAnswer(workspace, [self._listed(record) for record in records], after))

    async def record(self, request: http.Request) -> http.Response:
        asked = request.json(RecordsRequest)
        workspace = asked.workspace or self._settings.workspace
        await self._documents.record_external(workspace, asked.documents)
        return http.json_response(RecordsAnswer(workspace, len(asked.documents)))

    async def delete(self, request: http.Request) -> http.Response:
        asked = request.query(DeleteQuery)
        if (asked.source is None) == (asked.id is None):
            raise _bad("set either source or id")
        workspace = asked.workspace or self._settings.workspace
        document = asked.id or document_id(asked.source or "")
        record = await self._documents.delete(workspace, document)
        if record is None:
            hint = "GET /documents lists the documents"
            raise http.Problem(
                404, "Not Found", f"document {asked.source or asked.id} does not exist", hint, "document-not-found"
            )
        return http.json_response(DeleteAnswer(workspace, Deleted(record.id, record.source, record.chunks)))

    async def flush(self, request: http.Request) -> http.Response:
        asked = request.json(FlushRequest)
        workspace = asked.workspace or self._settings.workspace
        rows = await self._documents.flush(workspace)
        if self._settings.shared and self._settings.cache.result_bytes:
            # After this, no replica answers from a cache that is older than the flush.
            await asyncio.sleep(min(self._spread_s, self._settings.cache.staleness_s))
        return http.json_response(FlushAnswer(workspace, rows))

    async def _write_lines(self, workspace: str, documents: Sequence[tuple[str, str]]) -> AsyncGenerator[bytes, None]:
        """Events as JSON lines; an error ends them, acknowledged documents stay stored.

        Writing never waits for a slow client, since it holds locks that other writers need.
        """
        lines: Lines = asyncio.Queue()
        writing = asyncio.create_task(self._write_all(workspace, documents, lines))
        try:
            while (line := await lines.get()) is not None:
                yield line
            await writing  # raise its error
        finally:
            writing.cancel()
            await asyncio.gather(writing, return_exceptions=True)

    async def _write_all(self, workspace: str, documents: Sequence[tuple[str, str]], lines: Lines) -> None:
        try:
            for source, text in documents:
                writing = self._documents.write(workspace, source, text)
                async with (
                    contextlib.aclosing(writing),
                    contextlib.aclosing(with_keep_alive(writing, KEEP_ALIVE_S)) as events,
                ):
                    async for event in events:
                        if isinstance(event, DocumentWritten) or lines.qsize() < _PROGRESS_AHEAD:
                            lines.put_nowait(msgspec.json.encode(event or WriteWaiting(source)) + b"\n")
            lines.put_nowait(b'{"event":"done"}\n')
        except LightragctlError as error:
            lines.put_nowait(http.json_bytes({"event": "error", "problem": problem_body(problem_of(error))}) + b"\n")
        finally:
            lines.put_nowait(None)

    def _listed(self, record: DocumentRecord) -> ListedDocument:
        return ListedDocument(
            record.id,
            record.source,
            record.sha256,
            record.chunks,
            record.state,
            self._documents.is_current(record),
            record.updated_at,
        )


def _bad(detail: str) -> http.Problem:
    return http.Problem(400, "Bad Request", detail, code="invalid-value")
