"""Writing documents: cut, embed, upsert; their records; deleting. Calls the store in threads, the model over HTTP.

A document's record is `writing` before its first chunk is written and `ready` after the last, so that an interrupted
write is detected and repeated. Chunk ids are the document's id and the chunk's position: repeating a write is
idempotent, and leftover chunks of an older, longer version are found by their ids.
"""

import asyncio
import hashlib
import time
import uuid
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from http import HTTPStatus
from typing import Annotated, Literal

import msgspec

from lightragctl.core.chunking import CHUNKER_VERSION, Chunk, chunk_text
from lightragctl.core.errors import RefusedError, UnavailableError, UsageError
from lightragctl.core.hint import Command, Hint
from lightragctl.core.settings import ApiSettings, Chunking, EmbeddingModel
from lightragctl.core.texts import clean_text, has_text
from lightragctl.service.adaptive_batch import AdaptiveBatch
from lightragctl.service.keyed_locks import KeyedLocks
from lightragctl.service.model_clients import ModelError, ModelTimeoutError
from lightragctl.service.threads import Threads
from lightragctl.service.workspaces import EmbeddingBackend, NotOursError, Workspaces
from lightragctl.service.write_guard import Turn, permitted
from lightragctl.vectors.control import control_name, control_row, epoch_row
from lightragctl.vectors.model import CollectionMissingError, FloatArray, NotLoadedError, Page, Row

EMBED_CHUNKS = 16
"""Chunks embedded and written at a time: about 2 s of a CPU model, so progress moves and little is lost with a kill.
Fewer where the model is slower than that, down to one."""

SOURCE_CHARS = 4096
"""The maximum length of a path on Linux; Milvus's field is longer."""

_PAGE_ROWS = 500
_WRITERS = 4
"""Documents written at a time by one process: enough for the embedder to batch, and memory stays bounded."""

_CALLS = 8
"""Concurrent calls to the store: one per writer, and some for listing and deleting."""
LONG_CHARS = 1_000_000
"""A longer document is chunked in a separate thread, so that it does not delay others; it takes seconds."""
_FLUSHES = 2
"""Flushes at a time; each may take minutes."""

_WRITER_VERSION = 2
"""Raise it when what was stored before cannot be trusted: it is then compared with its text when it is loaded again.
Before 2, two writers of one document could leave a mixture of both that was noted as ready."""

_FIRST, _LAST = "doc:", "doc;"

LIGHTRAG_CUT = "lightrag-server"
"""`DocumentRecord.cut` of a document that lightrag-server holds; it alone cuts, writes and deletes that."""


class DocumentRecord(msgspec.Struct, frozen=True):
    """What is known of a document. `reach` is how many chunk positions may hold rows, of this version or an older one.

    `reach` never shrinks: the collection of another model may still hold the longer version, and may be used again.
    `cut` names the chunker, its settings and the model; a record with another one is cut and embedded again. `writer`
    tells one write from another, so that a replica sees when another one wrote the same document meanwhile.
    """

    id: str
    source: str
    sha256: str
    chunks: int
    reach: int
    cut: str
    state: Literal["writing", "ready"]
    updated_at: int
    writer: str = ""


class WriteConflictError(UnavailableError):
    """Two replicas wrote one document at the same time: it may be a mixture, and must be sent again."""

    code = "write-conflict"


class LightragDocument(msgspec.Struct, forbid_unknown_fields=True):
    """A document of lightrag-server; its `state` is `writing` before it is sent there."""

    source: Annotated[str, msgspec.Meta(min_length=1, max_length=SOURCE_CHARS)]
    sha256: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
    chunks: Annotated[int, msgspec.Meta(ge=0)] = 0
    state: Literal["writing", "ready"] = "ready"


class WriteProgress(msgspec.Struct, tag_field="event", tag="progress"):
    """Progress: the number of chunks written."""

    source: str
    chunks_done: int
    chunks: int


class DocumentWritten(msgspec.Struct, tag_field="event", tag="document"):
    """A document is stored: acknowledged."""

    id: str
    source: str
    status: Literal["created", "updated", "unchanged"]
    chunks: int


def document_id(source: str) -> str:
    """The id of the document under a source, in LightRAG's form."""
    return "doc-" + hashlib.md5(source.encode(), usedforsecurity=False).hexdigest()


def chunk_id(document: str, order: int) -> str:
    """The id of a chunk, in LightRAG's form."""
    return f"{document}-chunk-{order:03d}"


def cut_name(chunking: Chunking, model: EmbeddingModel) -> str:
    """Names how documents are cut, and for which model, whose collection is its own: one workspace may have several."""
    return f"{_WRITER_VERSION}.{CHUNKER_VERSION}:{chunking.size_tokens}:{chunking.overlap_tokens}:{model.suffix}"


class Documents:
    """The documents of all workspaces of one lightrag-api."""

    def __init__(self, settings: ApiSettings, workspaces: Workspaces, embedding: EmbeddingBackend) -> None:
        self._settings = settings
        self._workspaces = workspaces
        self._store = workspaces.store
        self._loads = workspaces.loads
        self._guard = workspaces.guard
        self._embedding = embedding
        self._cut = cut_name(settings.chunking, settings.embedding)
        self._writers = asyncio.Semaphore(_WRITERS)
        self._batch = AdaptiveBatch(EMBED_CHUNKS, settings.deadlines.embed_s)
        self._locks: KeyedLocks[tuple[str, str]] = KeyedLocks()
        self._calls, self._flushes = Threads("documents", _CALLS), Threads("flush", _FLUSHES)
        # Cutting is Python all along: more threads would not be faster, and delay every answer.
        self._cutters, self._long_cutters = Threads("cut", 1), Threads("cut-long", 1)

    def close(self) -> None:
        """Start no further call to the store."""
        for threads in (self._calls, self._flushes, self._cutters, self._long_cutters):
            threads.close()

    async def cleaned(self, source: str, text: str) -> str:
        """The text as `write` takes it, cleaned as `lightragctl ingest` cleans what it reads.

        Raises:
            UsageError: it has no text, or its source cannot be stored.
        """
        if "\0" in source:
            raise UsageError("the source contains a NUL character", "remove it")
        text = await self._cutters_for(text).run(clean_text, text)
        if not has_text(text):
            raise UsageError(f"{source} has no text", "remove it from the request")
        return text

    async def write(
        self, workspace: str, source: str, text: str
    ) -> AsyncGenerator[WriteProgress | DocumentWritten, None]:
        """Store a document, as `cleaned` gives it, in place of what stood under its source.

        WriteProgress, and DocumentWritten at the end.

        Raises:
            UsageError: it has no text.
            WriteConflictError: another replica wrote or deleted it meanwhile.
            FencedError: writes to the workspace are refused for now.
        """
        document = document_id(source)
        async with self._locks.hold((workspace, document)), self._writers, self._turn(workspace) as (physical, turn):
            before = await self._record(workspace, document)
            sha256 = hashlib.sha256(text.encode()).hexdigest()
            chunks = await self._cutters_for(text).run(chunk_text, text, self._settings.chunking)
            if not chunks:
                raise UsageError(f"{source} has no text", "remove it from the request")
            stored = await self._stored_texts(physical, document) if before else {}
            missing = [one for one in chunks if stored.pop(chunk_id(document, one.order), None) != one.text]
            if before and (before.state, before.sha256) == ("ready", sha256) and not (missing or stored):
                if before.cut != self._cut:
                    await self._save(workspace, [msgspec.structs.replace(before, cut=self._cut)], turn)
                yield DocumentWritten(document, source, "unchanged", before.chunks)
                return
            reach = max(len(chunks), before.reach if before else 0)
            now_s = int(time.time())
            record = DocumentRecord(
                document, source, sha256, len(chunks), reach, self._cut, "writing", now_s, writer=uuid.uuid4().hex
            )
            await self._save(workspace, [record], turn)
            async for progress in self._write_chunks(physical, record, missing, turn):
                yield progress
            if stored:
                await self._calls.run(permitted, turn, self._store.delete, physical, list(stored))
            await self._check_alone(workspace, record, turn)
            await turn.commit()
            done = msgspec.structs.replace(record, state="ready", updated_at=int(time.time()))
            await self._save(workspace, [done], turn)
        yield DocumentWritten(document, source, "updated" if before else "created", len(chunks))

    async def page(self, workspace: str, after: str, limit: int) -> list[DocumentRecord]:
        """One page of records, sorted by id, with ids above `after`; a workspace that is not there has none."""
        control, page = control_name(workspace), Page(after=_FIRST + after, before=_LAST, limit=limit)
        try:
            rows = await self._loads.when_loaded(
                self._calls, control, partial(self._store.scan, control, ["value"], page)
            )
        except CollectionMissingError:
            return []
        return [msgspec.json.decode(str(row["value"]), type=DocumentRecord) for row in rows]

    def is_current(self, record: DocumentRecord) -> bool:
        """Whether the document was cut as documents are cut now."""
        return record.cut in (self._cut, LIGHTRAG_CUT)

    async def record_external(self, workspace: str, held: Sequence[LightragDocument]) -> None:
        """Record documents of lightrag-server, so that `ingest` can skip unchanged ones.

        Raises:
            RefusedError: lightrag-api itself writes to the workspace.
            ModelMismatchError: what is in it came from another model.
            FencedError: writes to the workspace are refused for now.
        """
        seen = await self._workspaces.refresh(workspace)
        if seen.physical is not None and self._workspaces.is_ours(workspace, seen.physical):
            message = f"workspace '{workspace}' belongs to lightrag-api"
            raise RefusedError(message, "use the workspace of lightrag-server")
        await self._workspaces.adopt(workspace)
        now_s = int(time.time())
        records = [
            DocumentRecord(
                document_id(one.source), one.source, one.sha256, one.chunks, 0, LIGHTRAG_CUT, one.state, now_s
            )
            for one in held
        ]
        async with self._guard.writing(workspace) as turn:
            await self._save(workspace, records, turn)

    async def delete(self, workspace: str, document: str) -> DocumentRecord | None:
        """Delete a document and its chunks; None when there is none of that id.

        Raises:
            NotOursError: lightrag-server holds it.
            FencedError: writes to the workspace are refused for now.
        """
        async with self._locks.hold((workspace, document)):
            record = await self._record(workspace, document)
            if record is None:
                return None
            if record.cut == LIGHTRAG_CUT:
                forward = Command("port-forward", "lightrag-server")
                hint = Hint("delete it there with DELETE /documents/delete_document: ", forward)
                raise NotOursError(f"document {record.source} belongs to lightrag-server, which must delete it", hint)
            async with self._guard.writing(workspace) as turn:
                await self._calls.run(self._delete, workspace, record, turn)
            return record

    async def flush(self, workspace: str) -> int:
        """Flush and index what we wrote; the rows that the workspace now has. 0 when it has no collection.

        Raises:
            UnavailableError: the collection is lightrag-server's and not loaded; only its owner may load it.
            FencedError: writes to the workspace are refused for now.
        """
        physical = await self._workspaces.readable(workspace)
        if physical is None:
            return 0
        await self._guard.refuse(workspace)
        count = partial(self._store.row_count, physical)
        if not self._workspaces.is_ours(workspace, physical):
            try:
                return await self._calls.run(count)
            except NotLoadedError as error:
                raise UnavailableError(
                    error.message, "lightrag-server loads its own collections: check that it is up"
                ) from error
        for collection in (physical, control_name(workspace)):
            await self._flushes.run(self._store.flush, collection)
        return await self._loads.when_loaded(self._calls, physical, count)

    @asynccontextmanager
    async def _turn(self, workspace: str) -> AsyncGenerator[tuple[str, Turn], None]:
        """The collection to write to, and leave to do so."""
        physical = await self._workspaces.writable(workspace)
        async with self._guard.writing(workspace) as turn:
            yield physical, turn

    async def _check_alone(self, workspace: str, record: DocumentRecord, turn: Turn) -> None:
        """Whether the record is still that of this write; if not, what is stored may be of both, and is noted so."""
        present = await self._record(workspace, record.id)
        if present is None or present.writer != record.writer:
            await self._save(workspace, [record], turn)
            raise WriteConflictError(
                f"another replica wrote or deleted {record.source} at the same time", "send it again"
            )

    def _cutters_for(self, text: str) -> Threads:
        return self._long_cutters if len(text) > LONG_CHARS else self._cutters

    async def _write_chunks(
        self, physical: str, record: DocumentRecord, missing: Sequence[Chunk], turn: Turn
    ) -> AsyncGenerator[WriteProgress, None]:
        """Embed and upsert the chunks that are not there already with the same text."""
        done = record.chunks - len(missing)
        while missing:
            part, vectors = await self._embed_first(missing)
            missing = missing[len(part) :]
            await self._calls.run(permitted, turn, self._store.upsert, physical, _rows(record, part, vectors))
            done += len(part)
            yield WriteProgress(record.source, done, record.chunks)

    async def _embed_first(self, chunks: Sequence[Chunk]) -> tuple[Sequence[Chunk], FloatArray]:
        """The first of the chunks with their vectors: as many as the model manages in time."""
        while True:
            part = chunks[: self._batch.size]
            begin_s = time.monotonic()
            try:
                vectors = await self._embedding.embed_documents([chunk.text for chunk in part])
            except ModelError as error:
                too_slow = isinstance(error, ModelTimeoutError) or error.status == HTTPStatus.GATEWAY_TIMEOUT
                if not (too_slow and self._batch.timed_out(len(part))):
                    raise
            else:
                self._batch.succeeded(len(part), time.monotonic() - begin_s)
                return part, vectors

    async def _stored_texts(self, physical: str, document: str) -> dict[str, str]:
        """The chunks of the document that are stored now, by id, whatever version or cut-off write left them."""
        texts: dict[str, str] = {}
        page = Page(after=f"{document}-chunk-", before=f"{document}-chunk.", limit=_PAGE_ROWS)
        while True:
            rows = await self._loads.when_loaded(
                self._calls, physical, partial(self._store.scan, physical, ["content"], page)
            )
            texts |= {str(row["id"]): str(row["content"]) for row in rows}
            if len(rows) < page.limit:
                return texts
            page = replace(page, after=str(rows[-1]["id"]))

    async def _record(self, workspace: str, document: str) -> DocumentRecord | None:
        control, key = control_name(workspace), _FIRST + document
        read = partial(self._store.get, control, [key], ["value"])
        try:
            row = (await self._loads.when_loaded(self._calls, control, read)).get(key)
        except CollectionMissingError:
            return None
        return msgspec.json.decode(str(row["value"]), type=DocumentRecord) if row else None

    async def _save(self, workspace: str, records: Sequence[DocumentRecord], turn: Turn) -> None:
        await self._calls.run(self._put, workspace, records, turn)

    def _put(self, workspace: str, records: Sequence[DocumentRecord], turn: Turn) -> None:
        turn.require()
        now_ns = time.time_ns()
        rows = [control_row(_FIRST + record.id, record, now_ns // 1_000_000_000) for record in records]
        self._store.upsert(control_name(workspace), [*rows, epoch_row(now_ns)])
        self._workspaces.note_write(workspace)

    def _delete(self, workspace: str, record: DocumentRecord, turn: Turn) -> None:
        """Delete from the collections of every model, or the text would come back with the model that it had."""
        self._put(workspace, [msgspec.structs.replace(record, state="writing", writer=uuid.uuid4().hex)], turn)
        ids = [chunk_id(record.id, order) for order in range(record.reach)]
        for physical in self._workspaces.ours(workspace):
            for start in range(0, len(ids), _PAGE_ROWS):
                permitted(turn, self._store.delete, physical, ids[start : start + _PAGE_ROWS])
        control = control_name(workspace)
        permitted(turn, self._store.delete, control, [_FIRST + record.id])
        self._store.upsert(control, [epoch_row(time.time_ns())])
        self._workspaces.note_write(workspace)


def _rows(record: DocumentRecord, chunks: Sequence[Chunk], vectors: FloatArray) -> list[Row]:
    return [
        {
            "id": chunk_id(record.id, chunk.order),
            "vector": vector,
            "created_at": record.updated_at,
            "content": chunk.text,
            "file_path": record.source,
            "full_doc_id": record.id,
            "chunk_order_index": chunk.order,
            "tokens": chunk.tokens,
        }
        for chunk, vector in zip(chunks, vectors, strict=True)
    ]
