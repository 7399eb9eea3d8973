"""The sync door to Milvus and Milvus Lite: a `VectorStore`. Talks gRPC; may be used from several threads.

Consistency: reads are of level Session, which waits until this process's last upsert of the same name can be seen. On
an idle Milvus 2.3.5 that costs 1.3 ms where Strong costs 180 ms; for 0.3 s after a write it costs up to 300 ms, as
Strong does. A delete is answered without the timestamp that Session needs (50 of 150 reads right after one still saw
the rows, for up to 0.4 s), so `delete` returns after a Strong read. Milvus Lite is always up to date.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from lightragctl.core.errors import RefusedError, WaitExpired
from lightragctl.core.hint import Command, Hint
from lightragctl.core.urls import shown
from lightragctl.vectors.filters import quoted
from lightragctl.vectors.model import (
    ID_BYTES,
    CollectionMissingError,
    CollectionSpec,
    InvalidRowError,
    NotLoadedError,
    Page,
    Row,
    StoreError,
    StoreUnavailableError,
    WrongDimensionError,
)
from lightragctl.vectors.sdk import (
    CONNECT_S,
    MISSING_HINT,
    DataType,
    MilvusClient,
    SdkError,
    channel_options,
    dimension_of,
    lost_connection,
    route,
    store_error,
    wrong_dimension,
)

WAIT_S = 300.0
"""How long a load or a flush may take; 20,000 x 384 take 3 and 8 s on two cores."""
POLL_S = 0.2
BATCH_ROWS = 1000
"""Rows of one call, as fast as larger ones."""
BATCH_BYTES = 32 * 1024 * 1024
"""Half of the 64 MiB that Milvus takes in one call."""
CONSISTENCY = "Session"


class MilvusStore:
    """A `VectorStore` on Milvus 2.3 or later, or Milvus Lite.

    Args:
        uri: `http://host:port`.
        timeout_s: the deadline of each call; when the connection was lost, another `CONNECT_S` may pass.
        wait_s: how long a load or a flush may take.
    """

    def __init__(self, uri: str, timeout_s: float = 10.0, wait_s: float = WAIT_S) -> None:
        self._uri = uri
        self._timeout_s = timeout_s
        self._wait_s = wait_s
        self._client: Any = None
        self._sorts_when_told = False
        self._connecting = threading.Lock()
        self._writing = threading.Lock()  # two writes at once break Milvus Lite: "current_seq is monotonic"

    def list_collections(self) -> list[str]:
        """See `VectorStore`."""
        return sorted(self._call("list_collections", shown(self._uri)))

    def resolve(self, name: str) -> str | None:
        """See `VectorStore`."""
        try:
            return str(self._describe(name)["collection_name"])
        except CollectionMissingError:
            return None

    def create(self, spec: CollectionSpec) -> None:
        """See `VectorStore`."""
        try:
            self._create_if_missing(spec)
        except WrongDimensionError:
            raise
        except StoreError:  # Milvus Lite, when another process made it in the same moment
            self._create_if_missing(spec)
        self.load(spec.name)

    def point_alias(self, alias: str, physical: str) -> None:
        """See `VectorStore`."""
        self._describe(physical)
        if self.resolve(alias) == physical:
            return
        try:
            self._call("create_alias", alias, physical, alias)
        except StoreError:  # it stands for another collection, or for one that is gone
            self._call("alter_alias", alias, physical, alias)

    def drop(self, physical: str) -> None:
        """See `VectorStore`. Its aliases go first: Milvus 2.3 keeps them, hidden, and they then swallow a new name."""
        behind = self.resolve(physical)
        if behind is None:
            return
        if behind != physical:
            raise RefusedError(f"{physical} is an alias of {behind}", f"drop {behind}, or point the alias elsewhere")
        for alias in self._aliases(physical):
            self._call("drop_alias", alias, alias)
        self._call("drop_collection", physical, physical)

    def load(self, name: str) -> None:
        """See `VectorStore`.

        Raises:
            WaitExpired: it is not loaded in time.
        """
        self._call("load_collection", name, name, _async=True)
        self._wait(lambda: "" if self.is_loaded(name) else f"collection {name} is still loading")

    def is_loaded(self, name: str) -> bool:
        """See `VectorStore`. Just after a crash, Milvus 2.3 may say no though a search works already."""
        state = self._call("get_load_state", name, name)["state"].name
        if state == "NotExist":
            raise CollectionMissingError(f"there is no collection {name}", MISSING_HINT)
        return bool(state == "Loaded")

    def upsert(self, name: str, rows: Sequence[Row]) -> None:
        """See `VectorStore`. Written in calls of `BATCH_ROWS` rows; those before a refused one stay written."""
        for batch in batches(rows):
            self._write(name, batch)

    def delete(self, name: str, ids: Sequence[str]) -> None:
        """See `VectorStore`. Costs 0.2 to 0.4 s on Milvus 2.3.5: the module's text says why."""
        for chosen in _slices(ids):
            with self._write_turn(name):
                self._call("delete", name, name, filter=chosen)
        with contextlib.suppress(NotLoadedError):  # then nobody can read what was deleted either
            self._call("query", name, name, filter="", output_fields=["count(*)"], consistency_level="Strong")

    def get(self, name: str, ids: Sequence[str], fields: Sequence[str]) -> dict[str, dict[str, Any]]:
        """See `VectorStore`."""
        return {row["id"]: row for chosen in _slices(ids) for row in self._query(name, chosen, fields)}

    def scan(self, name: str, fields: Sequence[str], page: Page) -> list[dict[str, Any]]:
        """See `VectorStore`. Our own pager: pymilvus's fails on an id with a quote or a line break."""
        self._connected()
        order = {"iterator": "True"} if self._sorts_when_told else {}
        rows = self._query(name, page_filter(page), fields, limit=page.limit, **order)
        return sorted(rows, key=lambda row: str(row["id"]))

    def flush(self, name: str) -> None:
        """See `VectorStore`."""
        self._describe(name)  # Milvus Lite passes over a missing collection
        with self._write_turn(name):
            self._call("flush", name, name, timeout=self._wait_s)
        self._wait(lambda: self._unindexed(name))

    def row_count(self, name: str) -> int:
        """See `VectorStore`."""
        counted = {"output_fields": ["count(*)"], "consistency_level": CONSISTENCY}
        rows = self._call("query", name, name, filter="", **counted)
        return int(rows[0]["count(*)"])

    def close(self) -> None:
        """See `VectorStore`."""
        with self._connecting:
            client, self._client = self._client, None
        if client is not None:
            client.close()

    def _create_if_missing(self, spec: CollectionSpec) -> None:
        there = self.resolve(spec.name)
        if there is None:
            self._call("create_collection", spec.name, spec.name, schema=_schema(spec))
        elif (dimension := self._dimension(spec.name)) != spec.dimension:
            raise wrong_dimension(spec.name, dimension, spec.dimension)
        if not self._indexes(spec.name):  # also when it was left half made
            self._call("create_index", spec.name, spec.name, _index_params(spec), sync=False)

    def _write(self, name: str, rows: list[dict[str, Any]]) -> None:
        try:
            with self._write_turn(name):
                self._call("upsert", name, name, rows)
        except (InvalidRowError, StoreError) as error:
            dimension = self._dimension(name)
            for given in {len(row["vector"]) for row in rows if "vector" in row} - {dimension}:
                raise wrong_dimension(name, dimension, given) from error
            raise

    def _query(self, name: str, filter_text: str, fields: Sequence[str], **more: Any) -> list[dict[str, Any]]:
        asked = {"output_fields": ["id", *fields], "consistency_level": CONSISTENCY, **more}
        rows = self._call("query", name, name, filter=filter_text, **asked)
        return [_plain(row) for row in rows]

    def _aliases(self, physical: str) -> list[str]:
        """The aliases of a collection, sorted; none on Milvus 2.3.0, which cannot list them."""
        try:
            return sorted(self._call("list_aliases", physical, physical)["aliases"])
        except StoreError as error:
            if "implement me" in error.message:
                return []
            raise

    def _describe(self, name: str) -> Any:
        return self._call("describe_collection", name, name)

    def _dimension(self, name: str) -> int:
        return dimension_of(self._describe(name))

    def _indexes(self, name: str) -> list[str]:
        """Names of all indexes. They depend on the server, so they are always asked for."""
        return list(self._call("list_indexes", name, name))

    def _unindexed(self, name: str) -> str:
        """What is missing until all flushed rows are indexed, or nothing. Milvus Lite does not say, and builds fast."""
        for index in self._indexes(name):
            if pending := int(self._call("describe_index", name, name, index)["pending_index_rows"]):
                return f"{pending} rows of {name} are not indexed yet"
        return ""

    def _wait(self, missing: Callable[[], str]) -> None:
        end = time.monotonic() + self._wait_s
        while reason := missing():
            if time.monotonic() > end:
                hint = Hint("see its log: ", Command("logs", "vector-engine"))
                raise WaitExpired(f"{reason} after {self._wait_s:.0f} s", hint)
            time.sleep(POLL_S)

    @contextlib.contextmanager
    def _write_turn(self, name: str) -> Iterator[None]:
        if not self._writing.acquire(timeout=self._wait_s):
            raise StoreUnavailableError(f"another write keeps {name} waiting for {self._wait_s:.0f} s", "try again")
        try:
            yield
        finally:
            self._writing.release()

    def _call(self, verb: str, subject: str, *arguments: Any, **options: Any) -> Any:
        """One call of pymilvus, with a deadline and our errors."""
        client = self._connected()
        try:
            return getattr(client, verb)(*arguments, **{"timeout": self._timeout_s, **options})
        except SdkError as problem:
            if lost_connection(problem):
                self._forget(client)
            raise store_error(problem, subject, writing=verb == "upsert") from problem

    def _connected(self) -> Any:
        with self._connecting:
            if self._client is None:
                within_s = min(self._timeout_s, CONNECT_S)
                try:
                    client = MilvusClient(
                        self._uri,
                        timeout=within_s,
                        dedicated=True,
                        grpc_options=channel_options(urlsplit(self._uri).netloc),
                    )
                    self._sorts_when_told = str(client.get_server_version(timeout=within_s)).startswith("milvus_lite")
                except SdkError as problem:
                    raise store_error(problem, route(self._uri)) from problem
                self._client = client
            return self._client

    def _forget(self, client: Any) -> None:
        """Gives up a client whose channel is broken; the next call builds another."""
        with self._connecting:
            if self._client is client:
                self._client = None
        client.close()


def page_filter(page: Page) -> str:
    """The filter of a page: what is between its two ends, and the page's own."""
    start = f"id {'>' if page.after else '>='} {quoted(page.after)}"
    if page.before:
        start += f" and id < {quoted(page.before)}"
    return f"{start} and ({page.filter})" if page.filter.strip() else start


def batches(rows: Sequence[Row]) -> Iterator[list[dict[str, Any]]]:
    """The rows in lists that one call can carry."""
    batch: list[dict[str, Any]] = []
    size = 0
    for row in rows:
        row_size = _size_bytes(row)
        if batch and (len(batch) == BATCH_ROWS or size + row_size > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(dict(row))
        size += row_size
    if batch:
        yield batch


def _size_bytes(row: Row) -> int:
    """About what a row takes on the wire: 4 bytes of a vector's number, at most 4 of a character."""
    return sum(4 * len(value) if hasattr(value, "__len__") else 8 for value in row.values())


def _slices(ids: Sequence[str]) -> Iterator[str]:
    """Filters for these ids, none too long for one call."""
    for start in range(0, len(ids), BATCH_ROWS):
        yield f"id in [{', '.join(quoted(key) for key in ids[start : start + BATCH_ROWS])}]"


def _plain(row: Any) -> dict[str, Any]:
    """A row without pymilvus's types."""
    return {name: np.asarray(value, np.float32) if name == "vector" else value for name, value in row.items()}


def _schema(spec: CollectionSpec) -> Any:
    schema = MilvusClient.create_schema(auto_id=False, enable_dynamic_field=True)
    schema.add_field("id", DataType.VARCHAR, is_primary=True, max_length=ID_BYTES)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=spec.dimension)
    schema.add_field("created_at", DataType.INT64)
    for text in spec.text_fields:
        schema.add_field(text.name, DataType.VARCHAR, max_length=text.max_bytes)
    return schema


def _index_params(spec: CollectionSpec) -> Any:
    """The index. Its parameters are sent nested, the only form that Milvus Lite does not drop."""
    wanted = MilvusClient.prepare_index_params()
    nested = {"params": dict(spec.index.build)}
    wanted.add_index("vector", spec.index.index_type, metric_type=spec.index.metric_type, params=nested)
    return wanted
