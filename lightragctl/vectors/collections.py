"""The sync door to whole collections of Milvus and Milvus Lite, whatever their schema: a `CollectionStore`.

Rows are read and written in columns over our own gRPC channel. A read sees all that was written by any client before
it began: it takes a timestamp of the server first, and each of its queries waits until that can be seen. On Milvus
2.3.5 this costs 0.2 s for all queries together, where level Strong costs as much for each.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from lightragctl.core.errors import RefusedError
from lightragctl.vectors.columns import DYNAMIC, decoded, encoded, key_column
from lightragctl.vectors.described import collection_schema, create_request, index_request
from lightragctl.vectors.milvus import WAIT_S, MilvusStore
from lightragctl.vectors.model import CollectionMissingError, InvalidRowError, NotLoadedError
from lightragctl.vectors.pager import Pager, TooLargeError
from lightragctl.vectors.rows import Key, RowBatch, clashing_names, filled
from lightragctl.vectors.schema import (
    CollectionSchema,
    Server,
    fitted,
    lossy,
    server,
    uncopyable,
)
from lightragctl.vectors.sdk import (
    SdkError,
    check_status,
    common_pb2,
    milvus_pb2,
    note_write,
    store_error,
    stub,
    too_large,
    unimplemented,
)
from lightragctl.vectors.writer import Writer

READ_S = 60.0
"""The deadline of a query for rows and of a write of them."""
READERS, WRITERS = 2, 2
"""Requests at a time on Milvus; more are no faster on two cores."""
LITE_PAGE_BYTES = 4 * 1024 * 1024
"""Milvus Lite looks at all rows for each query, 0.1 s for 60,000, so larger pages are faster."""
LITE_WRITERS = 1
"""Two writes at once break Milvus Lite."""
_INDEX_MISSING = 700
_NO_INDEX = re.compile("index not found|index doesn't exist", re.IGNORECASE)


class MilvusCollections(MilvusStore):
    """A `CollectionStore` on Milvus 2.3 or later, or Milvus Lite.

    Args:
        uri, timeout_s, wait_s: as for `MilvusStore`; calls that carry rows have a deadline of `READ_S`.
    """

    def __init__(self, uri: str, timeout_s: float = 10.0, wait_s: float = WAIT_S) -> None:
        super().__init__(uri, timeout_s, wait_s)
        self._address = urlsplit(uri).netloc
        self._channel, self._stub = stub(self._address)

    def server_version(self) -> str:
        """See `CollectionStore`."""
        return str(self._call("get_server_version", "its version"))

    def describe(self, name: str) -> CollectionSchema:
        """See `CollectionStore`."""
        described = self._send("DescribeCollection", name, milvus_pb2.DescribeCollectionRequest(collection_name=name))
        physical = str(described.schema.name)  # Milvus 2.3 repeats an alias in `collection_name`
        partitions = self._send("ShowPartitions", name, milvus_pb2.ShowPartitionsRequest(collection_name=physical))
        schema = collection_schema(described, self._index_messages(physical), partitions.partition_names)
        aliases = tuple(self._aliases(physical))
        loaded = self.is_loaded(physical)
        return replace(schema, aliases=aliases, loaded=loaded, replicas=self._replicas(physical) if loaded else 0)

    def create_from(self, schema: CollectionSchema, name: str) -> None:
        """See `CollectionStore`."""
        target = self._server()
        if losses := uncopyable(schema) + lossy(schema, target):
            raise RefusedError(f"{name} would not be a whole copy of {schema.name}: {'; '.join(losses)}")
        wanted = fitted(schema, target)
        behind = self.resolve(name)
        if behind is None:
            self._send("CreateCollection", name, create_request(wanted, name))
        elif not _same_rows(self.describe(name), wanted):
            raise RefusedError(f"{name} is there and has other fields than {schema.name}")
        there = self.describe(name)
        for partition in wanted.partitions:
            if partition not in there.partitions:
                asked = milvus_pb2.CreatePartitionRequest(collection_name=name, partition_name=partition)
                self._send("CreatePartition", name, asked)
        for index in wanted.indexes:
            if all(index.field != other.field for other in there.indexes):
                self._send("CreateIndex", name, index_request(index, name))

    def read_rows(
        self, name: str, schema: CollectionSchema, after: Key | None = None, partition: str = ""
    ) -> Iterator[RowBatch]:
        """See `CollectionStore`."""
        if reasons := uncopyable(schema):
            raise RefusedError(f"collection {name} cannot be read completely: {'; '.join(reasons)}")
        self._check_loaded(name, [partition] if partition else schema.partitions)
        source = _Source(self, name, schema, partition)
        if self._server().lite:
            yield from Pager(source, schema, page_bytes=LITE_PAGE_BYTES).by_limits(after)
        else:
            yield from Pager(source, schema, READERS).by_ranges(after)

    def write_rows(self, name: str, batches: Iterable[RowBatch], done: Callable[[RowBatch], None] | None = None) -> int:
        """See `CollectionStore`."""
        schema = self.describe(name)
        write, writers = (self._insert, LITE_WRITERS) if self._server().lite else (self._upsert, WRITERS)
        writer = Writer(partial(write, name, schema), writers)
        return writer.send((filled(batch, schema) for batch in batches), done)

    def rename(self, old: str, new: str) -> None:
        """See `CollectionStore`."""
        behind = self.resolve(old)
        if behind is None:
            raise CollectionMissingError(f"there is no collection {old}")
        if behind != old:
            raise RefusedError(f"{old} is an alias of {behind}, which has another name")
        if self.resolve(new) is not None:
            raise RefusedError(f"{old} cannot be renamed to {new}: there is a collection or an alias of that name")
        loaded = self.is_loaded(old)
        self._send("RenameCollection", old, milvus_pb2.RenameCollectionRequest(oldName=old, newName=new))
        if loaded:  # Milvus Lite unloads it
            self.load(new)

    def release(self, name: str) -> None:
        """See `CollectionStore`."""
        self._send("ReleaseCollection", name, milvus_pb2.ReleaseCollectionRequest(collection_name=name))

    def drop_alias(self, alias: str) -> None:
        """See `CollectionStore`."""
        self._call("drop_alias", alias, alias)

    def close(self) -> None:
        """See `VectorStore`."""
        super().close()
        self._channel.close()

    def query(self, name: str, request: Any) -> Any:
        """QueryResults for a QueryRequest.

        Raises:
            TooLargeError: the answer is larger than the server allows.
        """
        return self._send("Query", name, request, READ_S)

    def now(self) -> int | None:
        """A timestamp of the server, or None where it gives none (Milvus Lite, which is always up to date)."""
        try:
            answer = self._stub.AllocTimestamp(milvus_pb2.AllocTimestampRequest(), timeout=self._timeout_s)
            check_status(answer.status)
        except SdkError as problem:
            if unimplemented(problem):
                return None
            raise store_error(problem, "its clock") from problem
        return int(answer.timestamp)

    def _upsert(self, name: str, schema: CollectionSchema, batch: RowBatch) -> None:
        """One request to Milvus."""
        asked = milvus_pb2.UpsertRequest(**_fields(name, schema, batch))
        answer = self._send("Upsert", name, asked, READ_S)
        note_write(name, self._address, answer.timestamp)

    def _insert(self, name: str, schema: CollectionSchema, batch: RowBatch) -> None:
        """One request to Milvus Lite: there an insert replaces a row, and an upsert keeps old dynamic fields of it."""
        if names := clashing_names(batch):
            message = f"rows have dynamic fields with the names of fields ({', '.join(names)})"
            raise InvalidRowError(f"{message}, of which Milvus Lite would keep one: {name}")
        with self._write_turn(name):
            self._send("Insert", name, milvus_pb2.InsertRequest(**_fields(name, schema, batch)), READ_S)

    def _server(self) -> Server:
        return server(self.server_version())

    def _index_messages(self, name: str) -> Sequence[Any]:
        asked = milvus_pb2.DescribeIndexRequest(collection_name=name)
        try:
            answer = self._stub.DescribeIndex(asked, timeout=self._timeout_s)
            if answer.status.code == _INDEX_MISSING or _NO_INDEX.search(answer.status.reason):
                return ()
            check_status(answer.status)
        except SdkError as problem:
            raise store_error(problem, name) from problem
        found: Sequence[Any] = answer.index_descriptions
        return found

    def _check_loaded(self, name: str, partitions: Sequence[str]) -> None:
        """Refuses a collection of which some partitions are not loaded: Milvus would leave out their rows silently."""
        for partition in partitions if len(partitions) > 1 else ():
            asked = milvus_pb2.GetLoadStateRequest(collection_name=name, partition_names=[partition])
            if self._send("GetLoadState", name, asked).state != common_pb2.LoadStateLoaded:
                raise NotLoadedError(f"partition {partition} of collection {name} is not loaded", "load the collection")

    def _replicas(self, name: str) -> int:
        try:
            answer = self._stub.GetReplicas(
                milvus_pb2.GetReplicasRequest(collection_name=name), timeout=self._timeout_s
            )
            check_status(answer.status)
        except SdkError:  # Milvus Lite has none, and a collection that is being released no longer
            return 1
        return len(answer.replicas)

    def _send(self, verb: str, subject: str, request: Any, timeout_s: float | None = None) -> Any:
        """One call over our own channel, with a deadline and our errors."""
        try:
            answer = getattr(self._stub, verb)(request, timeout=timeout_s or self._timeout_s)
            check_status(answer if hasattr(answer, "error_code") else answer.status)
        except SdkError as problem:
            if too_large(problem):
                raise TooLargeError(f"{verb} of {subject} is larger than the server allows") from problem
            if unimplemented(problem):
                raise RefusedError(f"this server cannot do {verb} ({subject})") from problem
            raise store_error(problem, subject, writing=verb in ("Insert", "Upsert")) from problem
        return answer


class _Source:
    """A `pager.Source`: one collection, or one partition of it, as it was when the first query was sent."""

    def __init__(self, store: MilvusCollections, name: str, schema: CollectionSchema, partition: str) -> None:
        self._store, self._name, self._schema, self._partition = store, name, schema, partition
        self._seen_until = store.now()

    def keys(self, filter_text: str, limit: int) -> Sequence[Key]:
        """See `pager.Source`."""
        primary = self._schema.primary
        answer = self._store.query(self._name, self._request(filter_text, [primary.name], limit))
        return key_column(next(one for one in answer.fields_data if one.field_name == primary.name), primary)

    def rows(self, filter_text: str, limit: int | None = None) -> RowBatch:
        """See `pager.Source`."""
        names = [one.name for one in self._schema.fields] + [DYNAMIC] * self._schema.dynamic
        answer = self._store.query(self._name, self._request(filter_text, names, limit))
        return decoded(answer.fields_data, self._schema, self._partition)

    def _request(self, filter_text: str, fields: Sequence[str], limit: int | None) -> Any:
        """`iterator` asks Milvus Lite for the order of keys; Milvus sorts anyway."""
        level = common_pb2.ConsistencyLevel
        options = {"limit": str(limit), "iterator": "True"} if limit else {}
        return milvus_pb2.QueryRequest(
            collection_name=self._name,
            partition_names=[self._partition] if self._partition else [],
            expr=filter_text,
            output_fields=fields,
            query_params=[common_pb2.KeyValuePair(key=key, value=value) for key, value in options.items()],
            consistency_level=level.Strong if self._seen_until is None else level.Customized,
            guarantee_timestamp=self._seen_until or 0,
        )


def _fields(name: str, schema: CollectionSchema, batch: RowBatch) -> dict[str, Any]:
    """What InsertRequest and UpsertRequest share."""
    partition = batch.partition if len(schema.partitions) > 1 else ""
    fields = encoded(batch, schema)
    return {"collection_name": name, "partition_name": partition, "fields_data": fields, "num_rows": len(batch)}


def _same_rows(one: CollectionSchema, other: CollectionSchema) -> bool:
    """True when both hold the same rows: fields of the same names, types and sizes."""

    def shape(schema: CollectionSchema) -> set[tuple[Any, ...]]:
        return {(it.name, it.dtype, it.dimension, it.primary, it.element_type) for it in schema.fields}

    return shape(one) == shape(other) and one.dynamic == other.dynamic
