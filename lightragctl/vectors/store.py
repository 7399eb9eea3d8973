"""What any vector store must offer, as protocols: sync for the tool and for writing, async for searching.

No store is imported here and nothing here does I/O. `tests/contract/test_store.py` holds the promises below for every
implementation. All errors are of the family in `vectors.model`; each verb may raise `StoreUnavailableError`, and each
verb that takes the name of a collection may raise `CollectionMissingError`.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol

from lightragctl.vectors.model import CollectionSpec, Hit, Page, Row, SearchBatch
from lightragctl.vectors.rows import Key, RowBatch
from lightragctl.vectors.schema import CollectionSchema


class VectorStore(Protocol):
    """Collections and their rows. Where a name is taken, an alias will do unless said otherwise."""

    def list_collections(self) -> list[str]:
        """The physical names, sorted; aliases are not among them."""

    def resolve(self, name: str) -> str | None:
        """The physical name behind a name or an alias, or None when there is neither."""

    def create(self, spec: CollectionSpec) -> None:
        """Creates, indexes and loads a collection.

        Harmless when it is already there with the same dimension: then it is only loaded, its index stays as it is.

        Raises:
            WrongDimensionError: it is already there with another dimension.
        """

    def point_alias(self, alias: str, physical: str) -> None:
        """Makes the alias, or switches it, so that it stands for this collection."""

    def drop(self, physical: str) -> None:
        """Deletes a collection with its aliases; harmless when there is none of that name.

        Raises:
            RefusedError: the name is an alias. (Milvus Lite would delete the collection behind it.)
        """

    def load(self, name: str) -> None:
        """Makes a collection searchable and waits until it is; harmless when it already is."""

    def is_loaded(self, name: str) -> bool:
        """True when the collection can be searched."""

    def upsert(self, name: str, rows: Sequence[Row]) -> None:
        """Writes rows, in the place of those with the same `id`. What is written outlives the store's process.

        A dynamic field that the new row lacks may stay from the old one (Milvus Lite merges), so give it each time.
        Milvus Lite measures texts in characters, Milvus in bytes of UTF-8: keep to bytes.

        Raises:
            WrongDimensionError: a vector does not have the dimension of the collection.
            InvalidRowError: a row does not fit the schema in another way. The thousand rows around it are not
                written; others may be.
        """

    def delete(self, name: str, ids: Sequence[str]) -> None:
        """Deletes rows by id; ids that are not there are passed over."""

    def get(self, name: str, ids: Sequence[str], fields: Sequence[str]) -> dict[str, dict[str, Any]]:
        """The rows of these ids, as id -> row with `id` and the fields; absent ids are left out.

        Sees what this process wrote before under the same name. What was written under another name (alias or
        physical name) or by another process follows within half a second. A dynamic field that a row lacks is left out.

        Raises:
            NotLoadedError: the collection is not loaded.
        """

    def scan(self, name: str, fields: Sequence[str], page: Page) -> list[dict[str, Any]]:
        """One page of rows with `id` and the fields, sorted by id; as fresh as `get`.

        Fewer rows than `page.limit` means that these are the last; else go on with `after` = the last row's id.

        Raises:
            NotLoadedError: the collection is not loaded.
            InvalidFilterError: the store does not understand the filter.
        """

    def flush(self, name: str) -> None:
        """Makes all rows written so far durable segments, and waits until they are indexed.

        Raises:
            WaitExpired: the index was not finished in time; names how many rows were missing.
        """

    def row_count(self, name: str) -> int:
        """How many rows there are now, without deleted and replaced ones; as fresh as `get`.

        Raises:
            NotLoadedError: the collection is not loaded.
        """

    def close(self) -> None:
        """Gives the connection back; closing twice is harmless."""


class CollectionStore(VectorStore, Protocol):
    """Whole collections of any schema: what it takes to copy them."""

    def server_version(self) -> str:
        """The version as the server reports it; `schema.server` reads it."""

    def describe(self, name: str) -> CollectionSchema:
        """The schema of a collection, with its indexes, aliases, partitions and load state."""

    def create_from(self, schema: CollectionSchema, name: str) -> None:
        """Creates a collection of this schema with its partitions and indexes. Does not load it, sets no alias.

        Harmless when it is already there with the same fields: then what is missing of it is added.

        Raises:
            RefusedError: this server cannot hold all of it (`schema.lossy`, `schema.fitted`), or a collection of this
                name has other fields.
        """

    def read_rows(
        self, name: str, schema: CollectionSchema, after: Key | None = None, partition: str = ""
    ) -> Iterator[RowBatch]:
        """All rows with a key above `after`, in the order of keys; batches of some MiB, none of them empty.

        Sees all that was written before. To go on later: `after` = the last batch's `last_key`. A row that is written
        or deleted meanwhile may be there or not. Of several rows with one key, which Milvus may hold, one is read;
        `row_count` counts them all.

        Args:
            schema: what `describe` gave.
            after: a key; None reads from the first one, `""` leaves the key `""` out.
            partition: one of `schema.scopes`; `""` reads all.

        Raises:
            NotLoadedError: the collection, or one of the partitions to read, is not loaded; see `copying.loaded`.
            RefusedError: it has fields that cannot be copied (`schema.uncopyable`).
        """

    def write_rows(self, name: str, batches: Iterable[RowBatch], done: Callable[[RowBatch], None] | None = None) -> int:
        """Writes rows in the place of those with the same key; returns how many.

        A null becomes the default or zero of its field where the collection cannot hold nulls. Flush afterwards.

        Args:
            name: the collection; it need not be loaded.
            batches: taken as they are needed: a few are in memory at a time.
            done: called with each batch as it was written, in their order, when it and all before it are written.

        Raises:
            InvalidRowError: rows do not fit the collection's schema.
        """

    def rename(self, old: str, new: str) -> None:
        """Gives a collection another name. Its aliases stay with it.

        Raises:
            RefusedError: there is a collection or alias `new`, or `old` is an alias, or the server cannot rename.
        """

    def release(self, name: str) -> None:
        """Unloads a collection: it can no longer be read. Harmless when it is not loaded."""

    def drop_alias(self, alias: str) -> None:
        """Deletes an alias; the collection stays. Harmless when there is none of that name."""


class SearchStore(Protocol):
    """Searching, for many callers at once."""

    async def search(self, batch: SearchBatch) -> list[list[Hit]]:
        """One call for all vectors of the batch: for each its hits, best first, at most `top_k`.

        Raises:
            NotLoadedError: the collection is not loaded.
            InvalidFilterError: the store does not understand the filter.
            WrongDimensionError: the vectors do not have the dimension of the collection.
        """

    async def close(self) -> None:
        """Gives the connection back; closing twice is harmless."""
