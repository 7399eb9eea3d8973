"""Writing documents: cut, embed, upsert; their records; deleting. Calls the store in threads, the model over HTTP.

A document's record says `writing` before the first of its chunks is touched and `ready` after the last, so that one
that was cut off is seen and done again. Chunk ids are the document's id and the chunk's position: doing it twice
writes the same rows, and what an older, longer version left behind is known by its ids.
"""

import asyncio
import hashlib
import time
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Annotated, Any, Literal

import msgspec

from lightragctl.core.chunks import CHUNKER_VERSION, Chunk, chunk_text
from lightragctl.core.errors import RefusedError, UnavailableError, UsageError
from lightragctl.core.settings import ApiSettings, Chunking, EmbeddingModel
from lightragctl.service.embed_pace import EmbedPace
from lightragctl.service.models import ModelError, ModelTimeoutError
from lightragctl.service.workspaces import Embeds, NotOursError, Workspaces
from lightragctl.vectors.control import control_name, control_row, epoch_row, when_loaded
from lightragctl.vectors.model import CollectionMissingError, FloatArray, NotLoadedError, Page, Row

EMBED_CHUNKS = 16
"""Chunks embedded and written at a time: about 2 s of a CPU model, so progress moves and little is lost with a kill.
Fewer where the model is slower than that, down to one."""

SOURCE_CHARS = 4096
"""As long as a path may be on Linux; Milvus's field would take more."""

_GET_IDS = 500
_WRITERS = 4
"""Documents written at a time by one process: enough for the embedder to batch, and memory stays bounded."""

_FIRST, _LAST = "doc:", "doc;"

UPSTREAM_CUT = "lightrag-server"
"""`Record.cut` of a document that lightrag-server holds; it alone cuts, writes and deletes that."""


class Record(msgspec.Struct, frozen=True):
    """What is known of a document. `reach` is how many chunk positions may hold rows, of this version or an older one.

    `reach` never shrinks: the collection of another model may still hold the longer version, and may be used again.
    `cut` names the chunker, its settings and the model; a record with another one is cut and embedded again.
    """

    id: str
    source: str
    sha256: str
    chunks: int
    reach: int
    cut: str
    state: Literal["writing", "ready"]
    updated_at: int


class Held(msgspec.Struct, forbid_unknown_fields=True):
    """A document that lightrag-server holds, or is about to: then its `state` is `writing`."""

    source: Annotated[str, msgspec.Meta(min_length=1, max_length=SOURCE_CHARS)]
    sha256: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
    chunks: Annotated[int, msgspec.Meta(ge=0)] = 0
    state: Literal["writing", "ready"] = "ready"


class Progress(msgspec.Struct, tag_field="event", tag="progress"):
    """So many of a document's chunks are written."""

    source: str
    chunks_done: int
    chunks: int


class Written(msgspec.Struct, tag_field="event", tag="document"):
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
    return f"{CHUNKER_VERSION}:{chunking.size_tokens}:{chunking.overlap_tokens}:{model.suffix}"


class Documents:
    """The documents of all workspaces of one lightrag-api."""

    def __init__(self, settings: ApiSettings, workspaces: Workspaces, embedding: Embeds) -> None:
        self._settings = settings
        self._workspaces = workspaces
        self._store = workspaces.store
        self._embedding = embedding
        self._cut = cut_name(settings.chunking, settings.embedding)
        self._writers = asyncio.Semaphore(_WRITERS)
        self._pace = EmbedPace(EMBED_CHUNKS, settings.deadlines.embed_s)
        self._busy: dict[tuple[str, str], asyncio.Lock] = {}

    async def write(self, workspace: str, source: str, text: str) -> AsyncGenerator[Progress | Written, None]:
        """Store a document in place of what stood under its source; progress, and Written at the end.

        Raises:
            UsageError: it has no text.
        """
        document = document_id(source)
        async with self._writers, self._alone(workspace, document):
            physical = await self._workspaces.writable(workspace)
            before = await asyncio.to_thread(self._record, workspace, document)
            sha256 = hashlib.sha256(text.encode()).hexdigest()
            if before and (before.state, before.sha256, before.cut) == ("ready", sha256, self._cut):
                yield Written(document, source, "unchanged", before.chunks)
                return
            chunks = await asyncio.to_thread(chunk_text, text, self._settings.chunking)
            if not chunks:
                raise UsageError(f"{source} has no text", "leave it out")
            reach = max(len(chunks), before.reach if before else 0)
            record = Record(document, source, sha256, len(chunks), reach, self._cut, "writing", int(time.time()))
            await asyncio.to_thread(self._save, workspace, [record])
            async for progress in self._write_chunks(physical, record, chunks, fresh=before is None):
                yield progress
            stale = [chunk_id(document, order) for order in range(len(chunks), reach)]
            if stale:
                await asyncio.to_thread(self._store.delete, physical, stale)
            done = msgspec.structs.replace(record, state="ready", updated_at=int(time.time()))
            await asyncio.to_thread(self._save, workspace, [done])
        yield Written(document, source, "updated" if before else "created", len(chunks))

    async def page(self, workspace: str, after: str, limit: int) -> list[Record]:
        """One page of records, sorted by id, with ids above `after`; a workspace that is not there has none."""
        return await asyncio.to_thread(self._list, workspace, after, limit)

    def is_current(self, record: Record) -> bool:
        """Whether the document was cut as documents are cut now."""
        return record.cut in (self._cut, UPSTREAM_CUT)

    async def note(self, workspace: str, held: Sequence[Held]) -> None:
        """Note documents that lightrag-server holds or is about to, so that what has not changed is known.

        Raises:
            RefusedError: lightrag-api itself writes to the workspace.
            ModelMismatchError: what is in it came from another model.
        """
        seen = await self._workspaces.look(workspace)
        if seen.physical is not None and self._workspaces.is_ours(workspace, seen.physical):
            message = f"workspace '{workspace}' is written by lightrag-api"
            raise RefusedError(message, "name the workspace of lightrag-server")
        await self._workspaces.adopt(workspace)
        now_s = int(time.time())
        records = [
            Record(document_id(one.source), one.source, one.sha256, one.chunks, 0, UPSTREAM_CUT, one.state, now_s)
            for one in held
        ]
        await asyncio.to_thread(self._save, workspace, records)

    async def delete(self, workspace: str, document: str) -> Record | None:
        """Delete a document and its chunks; None when there is none of that id.

        Raises:
            NotOursError: lightrag-server holds it.
        """
        async with self._alone(workspace, document):
            record = await asyncio.to_thread(self._record, workspace, document)
            if record is None:
                return None
            if record.cut == UPSTREAM_CUT:
                hint = "delete it there: DELETE /documents/delete_document; lightragctl port-forward lightrag-server"
                raise NotOursError(f"{record.source} is held by lightrag-server, which alone may delete it", hint)
            await asyncio.to_thread(self._delete, workspace, record)
            return record

    async def flush(self, workspace: str) -> int:
        """Flush and index what we wrote; the rows that the workspace now has. 0 when it has no collection.

        Raises:
            UnavailableError: the collection is lightrag-server's and not loaded; only its owner may load it.
        """
        physical = await self._workspaces.readable(workspace)
        if physical is None:
            return 0
        return await asyncio.to_thread(self._flush, workspace, physical)

    @asynccontextmanager
    async def _alone(self, workspace: str, document: str) -> AsyncIterator[None]:
        """Two writers of one document in this process follow each other."""
        key = (workspace, document)
        lock = self._busy.setdefault(key, asyncio.Lock())
        async with lock:
            yield
        if not lock.locked():
            self._busy.pop(key, None)

    async def _write_chunks(
        self, physical: str, record: Record, chunks: Sequence[Chunk], fresh: bool
    ) -> AsyncGenerator[Progress, None]:
        """Embed and upsert what is not there already with the same text."""
        known = {} if fresh else await asyncio.to_thread(self._known_texts, physical, record, len(chunks))
        missing = [chunk for chunk in chunks if known.get(chunk.order) != chunk.text]
        done = len(chunks) - len(missing)
        while missing:
            part, vectors = await self._embed_first(missing)
            missing = missing[len(part) :]
            await asyncio.to_thread(self._store.upsert, physical, _rows(record, part, vectors))
            done += len(part)
            yield Progress(record.source, done, len(chunks))

    async def _embed_first(self, chunks: Sequence[Chunk]) -> tuple[Sequence[Chunk], FloatArray]:
        """The first of the chunks with their vectors: as many as the model manages in time."""
        while True:
            part = chunks[: self._pace.size]
            begin_s = time.monotonic()
            try:
                vectors = await self._embedding.embed_documents([chunk.text for chunk in part])
            except ModelError as error:
                too_slow = isinstance(error, ModelTimeoutError) or error.status == HTTPStatus.GATEWAY_TIMEOUT
                if not (too_slow and self._pace.timed_out(len(part))):
                    raise
            else:
                self._pace.took(len(part), time.monotonic() - begin_s)
                return part, vectors

    def _known_texts(self, physical: str, record: Record, count: int) -> dict[int, str]:
        """The texts that stand at the document's positions now, from an older version or a write that was cut off."""
        texts: dict[int, str] = {}
        for start in range(0, count, _GET_IDS):
            orders = {chunk_id(record.id, order): order for order in range(start, min(start + _GET_IDS, count))}
            rows = self._get(physical, list(orders), "content")
            texts |= {orders[key]: str(row["content"]) for key, row in rows.items()}
        return texts

    def _get(self, collection: str, ids: Sequence[str], field: str) -> dict[str, dict[str, Any]]:
        return when_loaded(self._store, collection, lambda: self._store.get(collection, ids, [field]))

    def _record(self, workspace: str, document: str) -> Record | None:
        key = _FIRST + document
        try:
            row = self._get(control_name(workspace), [key], "value").get(key)
        except CollectionMissingError:
            return None
        return msgspec.json.decode(str(row["value"]), type=Record) if row else None

    def _save(self, workspace: str, records: Sequence[Record]) -> None:
        now_ns = time.time_ns()
        rows = [control_row(_FIRST + record.id, record, now_ns // 1_000_000_000) for record in records]
        self._store.upsert(control_name(workspace), [*rows, epoch_row(now_ns)])
        self._workspaces.note_write(workspace)

    def _list(self, workspace: str, after: str, limit: int) -> list[Record]:
        control, page = control_name(workspace), Page(after=_FIRST + after, before=_LAST, limit=limit)
        try:
            rows = when_loaded(self._store, control, lambda: self._store.scan(control, ["value"], page))
        except CollectionMissingError:
            return []
        return [msgspec.json.decode(str(row["value"]), type=Record) for row in rows]

    def _delete(self, workspace: str, record: Record) -> None:
        """Delete from the collections of every model, or the text would come back with the model that it had."""
        self._save(workspace, [msgspec.structs.replace(record, state="writing")])
        ids = [chunk_id(record.id, order) for order in range(record.reach)]
        for physical in self._workspaces.ours(workspace):
            for start in range(0, len(ids), _GET_IDS):
                self._store.delete(physical, ids[start : start + _GET_IDS])
        control = control_name(workspace)
        self._store.delete(control, [_FIRST + record.id])
        self._store.upsert(control, [epoch_row(time.time_ns())])
        self._workspaces.note_write(workspace)

    def _flush(self, workspace: str, physical: str) -> int:
        if self._workspaces.is_ours(workspace, physical):
            self._store.flush(physical)
            self._store.flush(control_name(workspace))
            return when_loaded(self._store, physical, lambda: self._store.row_count(physical))
        try:
            return self._store.row_count(physical)
        except NotLoadedError as error:
            raise UnavailableError(error.message, "lightrag-server loads its collections: is it up?") from error


def _rows(record: Record, chunks: Sequence[Chunk], vectors: FloatArray) -> list[Row]:
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
