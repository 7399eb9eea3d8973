"""All rows of a collection in the order of their key, in pages of bounded size.

Milvus truncates each segment's part of a limited result before it removes duplicates of a key, so a page with a limit
may lack rows in the middle (in 2.3 after upserts). So pages with a limit query keys alone and only define ranges.
The rows are then read by ranges of keys without a limit, which are complete; several concurrently.

Milvus Lite removes duplicates first, so its pages with a limit are complete, and a query for keys takes half as long
as one for rows. There the rows are read by such pages.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple, Protocol

from lightragctl.vectors.filters import quoted
from lightragctl.vectors.model import PAGE_ROWS, StoreError
from lightragctl.vectors.rows import Key, RowBatch
from lightragctl.vectors.schema import CollectionSchema, FieldSchema

TARGET_BYTES = 2 * 1024 * 1024
"""Target size of one response: as fast as larger ones, and each takes 4 times that here while it is decoded."""
FIRST_ROWS = 1000
"""Most rows of the first page, before the size of rows is known."""
TEXT_BYTES = 500
"""Guess for a field without a fixed size, until rows have been seen."""
_INT_MIN = -(2**63)


class TooLargeError(StoreError):
    """A response or a request exceeds the size limit of the server or of a proxy; a smaller one may work."""

    code = "too-large"


class Source(Protocol):
    """A readable collection, or one partition of it."""

    def keys(self, filter_text: str, limit: int) -> Sequence[Key]:
        """At most `limit` keys of the rows that fit, the least ones first."""

    def rows(self, filter_text: str, limit: int | None = None) -> RowBatch:
        """All rows that fit, or at most `limit` of them, sorted.

        Raises:
            TooLargeError: the answer would be too large.
        """


class KeyRange(NamedTuple):
    """A range of rows: above `after` (None: from the first) up to the last of `keys`, which are keys in the range."""

    after: Key | None
    keys: Sequence[Key]


class Pager:
    """Reads a source from the first or from a given key on. Batches are not empty.

    Args:
        source: what to read; called by several threads when `readers` > 1.
        schema: of the collection.
        readers: concurrent range queries; also the maximum number of batches that wait for the caller.
        page_bytes: aim for the rows of one answer.
        key_limit: the number of keys of one query.
    """

    def __init__(
        self,
        source: Source,
        schema: CollectionSchema,
        readers: int = 1,
        page_bytes: int = TARGET_BYTES,
        key_limit: int = PAGE_ROWS,
    ) -> None:
        self._source = source
        self._primary = schema.primary
        self._row_bytes = row_bytes(schema)
        self._page_bytes: float = page_bytes
        self._page_rows = max(1, min(FIRST_ROWS, int(page_bytes / self._row_bytes)))
        self._readers = readers
        self._key_limit = key_limit

    def by_ranges(self, after: Key | None) -> Iterator[RowBatch]:
        """The rows above `after`, from any server."""
        with ThreadPoolExecutor(self._readers) as readers:
            waiting: deque[Future[list[RowBatch]]] = deque()
            try:
                for piece in self._ranges(after):
                    waiting.append(readers.submit(self._range, piece))
                    if len(waiting) == self._readers:
                        yield from waiting.popleft().result()
                while waiting:
                    yield from waiting.popleft().result()
            finally:
                for future in waiting:
                    future.cancel()

    def by_limits(self, after: Key | None) -> Iterator[RowBatch]:
        """The rows above `after`, from a server whose pages with a limit are whole."""
        while len(batch := self._limited(after)):
            self._learn(batch)
            after = batch.last_key
            yield batch

    def _limited(self, after: Key | None) -> RowBatch:
        while True:
            rows = self._page_rows
            try:
                return self._source.rows(above(self._primary, after), rows)
            except TooLargeError:
                if rows < 2:
                    raise
                self._shrink(rows // 2)

    def _ranges(self, after: Key | None) -> Iterator[KeyRange]:
        """Ranges that follow each other without a gap, and the last one ends at the greatest key."""
        while keys := sorted(self._source.keys(above(self._primary, after), self._key_limit)):
            start = 0
            while start < len(keys):
                piece = keys[start : start + self._page_rows]
                yield KeyRange(after, piece)
                after, start = piece[-1], start + len(piece)

    def _range(self, piece: KeyRange) -> list[RowBatch]:
        """The rows of a range; when they are too large for one answer, in several."""
        try:
            batch = self._source.rows(between(self._primary, piece))
        except TooLargeError:
            if len(piece.keys) < 2:
                raise
            half = len(piece.keys) // 2
            self._shrink(half)
            first = KeyRange(piece.after, piece.keys[:half])
            return self._range(first) + self._range(KeyRange(first.keys[-1], piece.keys[half:]))
        self._learn(batch)
        return [batch] if len(batch) else []

    def _learn(self, batch: RowBatch) -> None:
        """Adjusts the number of rows of a page to the size of these."""
        if len(batch):
            self._row_bytes = max(1.0, batch.size_bytes / len(batch))
            self._page_rows = max(1, min(PAGE_ROWS, int(self._page_bytes / self._row_bytes)))

    def _shrink(self, rows: int) -> None:
        """Reduces pages after a response that was too large: to fewer rows and bytes than these."""
        self._page_bytes = min(self._page_bytes, self._row_bytes * rows)
        self._page_rows = min(self._page_rows, rows)


def row_bytes(schema: CollectionSchema) -> float:
    """The estimated size of a row on the wire in bytes, before one has been read."""
    return sum(_field_bytes(one) for one in schema.fields) + TEXT_BYTES * schema.dynamic


def above(primary: FieldSchema, after: Key | None) -> str:
    """The filter for all rows above a key; None stands for all rows."""
    if after is None:
        return f'{primary.name} >= ""' if primary.dtype == "VARCHAR" else f"{primary.name} <= {2**63 - 1}"
    if after == _INT_MIN:  # its digits alone are no number for Milvus
        return f"{primary.name} >= {_INT_MIN + 1}"
    return f"{primary.name} > {literal(after)}"


def between(primary: FieldSchema, piece: KeyRange) -> str:
    """The filter for the rows of a range."""
    last = piece.keys[-1]
    end = f"< {_INT_MIN + 1}" if last == _INT_MIN else f"<= {literal(last)}"
    return f"{above(primary, piece.after)} and {primary.name} {end}"


def literal(key: Key) -> str:
    """A key in a filter."""
    return quoted(key) if isinstance(key, str) else str(key)


def _field_bytes(one: FieldSchema) -> int:
    if one.dtype in ("VARCHAR", "JSON", "ARRAY", "SPARSE_FLOAT_VECTOR"):
        return min(one.max_length or TEXT_BYTES, TEXT_BYTES)
    return 4 * (one.dimension or 2)
