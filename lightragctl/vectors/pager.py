"""All rows of a collection in the order of their key, in pages of bounded size.

Milvus cuts each segment's part of a limited answer before it drops the duplicates of a key, so that a page with a limit
may lack rows in its midst (in 2.3 after upserts). So pages with a limit ask for keys alone and only say where to cut.
The rows are then read by ranges of keys without a limit, which lack nothing; several at a time.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple, Protocol

from lightragctl.vectors.filters import quoted
from lightragctl.vectors.model import PAGE_ROWS, StoreError
from lightragctl.vectors.rows import Key, RowBatch
from lightragctl.vectors.schema import CollectionSchema, FieldSchema

TARGET_BYTES = 4 * 1024 * 1024
"""Aim for the rows of one answer: as fast as larger ones, and each takes 4 times that here while it is decoded."""
TEXT_BYTES = 500
"""Guess for a field without a fixed size, until rows have been seen."""
_INT_MIN = -(2**63)


class TooLargeError(StoreError):
    """An answer or a request is larger than the server or a proxy between allows; a smaller one may work."""

    code = "too-large"


class Source(Protocol):
    """What answers for one collection or one partition of it."""

    def keys(self, filter_text: str, limit: int) -> Sequence[Key]:
        """At most `limit` keys of the rows that fit, the least ones first."""

    def rows(self, filter_text: str) -> RowBatch:
        """All rows that fit, sorted.

        Raises:
            TooLargeError: the answer would be too large.
        """


class KeyRange(NamedTuple):
    """The rows above `after` (None: from the first) up to the last of `keys`, some keys of rows that are in it."""

    after: Key | None
    keys: Sequence[Key]


class Pager:
    """Reads a source from the first or from a given key on.

    Args:
        source: what to read; called by several threads when `readers` > 1.
        schema: of the collection.
        readers: how many requests are sent at a time.
        key_limit: how many keys are asked for at a time.
    """

    def __init__(self, source: Source, schema: CollectionSchema, readers: int, key_limit: int = PAGE_ROWS) -> None:
        self._source = source
        self._primary = schema.primary
        self._row_bytes = row_bytes(schema)
        self._page_bytes: float = TARGET_BYTES
        self._readers = readers
        self._key_limit = key_limit

    def read(self, after: Key | None) -> Iterator[RowBatch]:
        """The rows above `after`; batches are not empty. No more than `readers` batches wait for the caller."""
        with ThreadPoolExecutor(self._readers) as readers:
            waiting: deque[Future[list[RowBatch]]] = deque()
            try:
                for piece in self._ranges(after):
                    waiting.append(readers.submit(self._rows, piece))
                    if len(waiting) == self._readers:
                        yield from waiting.popleft().result()
                while waiting:
                    yield from waiting.popleft().result()
            finally:
                for future in waiting:
                    future.cancel()

    def _ranges(self, after: Key | None) -> Iterator[KeyRange]:
        """Ranges that follow each other without a gap, and the last one ends at the greatest key."""
        while keys := sorted(self._source.keys(above(self._primary, after), self._key_limit)):
            start = 0
            while start < len(keys):
                piece = keys[start : start + self._rows_per_page()]
                yield KeyRange(after, piece)
                after, start = piece[-1], start + len(piece)

    def _rows_per_page(self) -> int:
        return max(1, min(PAGE_ROWS, int(self._page_bytes / self._row_bytes)))

    def _rows(self, piece: KeyRange) -> list[RowBatch]:
        """The rows of a range; when they are too large for one answer, in several."""
        try:
            batch = self._source.rows(between(self._primary, piece))
        except TooLargeError:
            if len(piece.keys) < 2:
                raise
            half = len(piece.keys) // 2
            first = KeyRange(piece.after, piece.keys[:half])
            self._page_bytes = min(self._page_bytes, self._row_bytes * half)
            return self._rows(first) + self._rows(KeyRange(first.keys[-1], piece.keys[half:]))
        if not len(batch):
            return []
        self._row_bytes = max(1.0, batch.size_bytes / len(batch))
        return [batch]


def row_bytes(schema: CollectionSchema) -> float:
    """About what a row takes on the wire, before one has been seen."""
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
