"""Reading by keys, from a source that behaves as Milvus does; and writing in order."""

import re
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightragctl.vectors.filters import quoted
from lightragctl.vectors.pager import KeyRange, Pager, TooLargeError, above, between
from lightragctl.vectors.rows import RowBatch, in_order
from lightragctl.vectors.schema import CollectionSchema, FieldSchema
from lightragctl.vectors.writer import REQUEST_BYTES, Writer, requests

KEY = FieldSchema("id", "VARCHAR", max_length=64, primary=True)
NUMBER = FieldSchema("id", "INT64", primary=True)
SCHEMA = CollectionSchema("c", (NUMBER,))
BOUND = re.compile(r"id (>|>=|<|<=) (-?\d+)")


def batch(keys: Sequence[int], size: int = 0) -> RowBatch:
    dynamic = [b"x" * size] * len(keys) if size else None
    return RowBatch("id", {"id": np.array(keys, np.int64)}, dynamic)


class Segments:
    """Rows in segments. A limit cuts each segment's rows before the duplicates are dropped, as in Milvus 2.3."""

    def __init__(self, *segments: Sequence[int], most: int = 10**9, size: int = 0) -> None:
        self.segments, self.most, self.size = segments, most, size
        self.answers: list[int] = []

    def keys(self, filter_text: str, limit: int) -> list[int]:
        cut = [sorted(key for key in segment if fits(key, filter_text))[:limit] for segment in self.segments]
        return sorted({key for part in cut for key in part})[:limit]

    def rows(self, filter_text: str, limit: int | None = None) -> RowBatch:
        found = sorted({key for segment in self.segments for key in segment if fits(key, filter_text)})[:limit]
        if len(found) > self.most:
            raise TooLargeError("too large")
        self.answers.append(len(found))
        return in_order(batch(found, self.size))


def fits(key: int, filter_text: str) -> bool:
    tests = {">": key.__gt__, ">=": key.__ge__, "<": key.__lt__, "<=": key.__le__}
    return all(tests[sign](int(number)) for sign, number in BOUND.findall(filter_text))


def read(source: Segments, after: int | None = None, **options: Any) -> list[int]:
    return [key for one in Pager(source, SCHEMA, **options).by_ranges(after) for key in one.keys]


@given(st.lists(st.lists(st.integers(0, 60)), max_size=4), st.integers(1, 7), st.integers(1, 3))
def test_no_row_is_lost_or_read_twice_whatever_the_segments_hold(
    segments: list[list[int]], key_limit: int, readers: int
) -> None:
    """Every segment may hold a key several times."""
    expected = sorted({key for segment in segments for key in segment})
    assert read(Segments(*segments), key_limit=key_limit, readers=readers) == expected


def test_a_page_with_a_limit_alone_would_lose_rows() -> None:
    source = Segments([1, 1, 1, 2], [5, 6, 7])
    assert source.keys("id >= 0", 3) == [1, 5, 6]
    assert read(source, key_limit=3) == [1, 2, 5, 6, 7]


@pytest.mark.parametrize("after", [None, -(2**63), -1, 0, 3, 2**63 - 1])
def test_reading_starts_after_the_key(after: int | None) -> None:
    rows = [-(2**63), -(2**63) + 1, -1, 0, 3, 4]
    assert read(Segments(rows), after, key_limit=2) == [key for key in rows if after is None or key > after]
    by_limits = Pager(Segments(rows), SCHEMA).by_limits(after)
    assert [key for one in by_limits for key in one.keys] == [key for key in rows if after is None or key > after]


def test_an_answer_that_is_too_large_is_asked_for_in_halves_from_then_on() -> None:
    source = Segments(range(1000), most=100)
    assert read(source, readers=1) == list(range(1000))
    assert max(source.answers) <= 100
    assert len(source.answers) < 20
    source = Segments(range(1000), most=100)
    assert [key for one in Pager(source, SCHEMA).by_limits(None) for key in one.keys] == list(range(1000))


def test_one_row_that_is_too_large_is_an_error() -> None:
    with pytest.raises(TooLargeError):
        read(Segments([1, 2], most=0))
    with pytest.raises(TooLargeError):
        next(Pager(Segments([1, 2], most=0), SCHEMA).by_limits(None))


def test_pages_have_the_more_rows_the_smaller_these_are() -> None:
    large = Segments(range(3000), size=100_000)
    read(large, readers=1)
    assert max(large.answers[1:]) < 45
    small = Segments(range(40_000), size=1)
    read(small, readers=1)
    assert small.answers == [1000, 15384, 16384, 7232]


def test_filters_hold_hostile_keys() -> None:
    hostile = 'a"b\\\n'
    assert above(KEY, None) == 'id >= ""'
    assert above(KEY, "") == 'id > ""'
    assert (
        between(KEY, KeyRange(hostile, [hostile + "x"])) == f"id > {quoted(hostile)} and id <= {quoted(hostile + 'x')}"
    )
    assert quoted(hostile) == '"a\\"b\\\\\\n"'


def test_a_reader_that_is_dropped_stops_asking() -> None:
    source = Segments(range(100_000), size=1000)
    batches = Pager(source, SCHEMA, readers=2).by_ranges(None)
    next(batches)
    batches.close()
    assert len(source.answers) < 6


def test_batches_are_reported_in_order_whoever_is_first() -> None:
    second = threading.Event()

    def write(one: RowBatch) -> None:
        if one.keys == [0]:
            assert second.wait(10)
        if one.keys == [1]:
            second.set()

    reported: list[int] = []
    count = Writer(write, 2).send(map(batch, ([0], [1], [2])), lambda one: reported.extend(one.keys))
    assert (count, reported) == (3, [0, 1, 2])


def test_only_a_few_batches_are_taken_ahead() -> None:
    taken: list[int] = []
    written: list[int] = []

    def batches() -> Any:
        for number in range(20):
            taken.append(number)
            yield batch([number])

    def done(one: RowBatch) -> None:
        written.extend(one.keys)
        assert len(taken) - len(written) <= 3

    Writer(lambda one: None, 2).send(batches(), done)
    assert written == list(range(20))


def test_a_request_that_is_too_large_is_sent_in_halves() -> None:
    sent: list[list[int]] = []

    def write(one: RowBatch) -> None:
        if len(one) > 3:
            raise TooLargeError("too large")
        sent.append(one.keys)

    assert Writer(write, 1).send([batch(range(10))]) == 10
    assert sorted(key for keys in sent for key in keys) == list(range(10))


def test_a_failed_write_is_raised_and_nothing_after_it_is_reported() -> None:
    def write(one: RowBatch) -> None:
        if one.keys == [1]:
            raise TooLargeError("one row")

    reported: list[int] = []
    with pytest.raises(TooLargeError):
        Writer(write, 2).send(map(batch, ([0], [1], [2], [3])), lambda one: reported.extend(one.keys))
    assert reported == [0]


def test_requests_keep_to_their_size() -> None:
    assert list(requests(batch([]))) == []
    pieces = list(requests(batch(range(100), size=1024 * 1024)))
    assert all(piece.size_bytes <= REQUEST_BYTES for piece in pieces)
    assert sum(map(len, pieces)) == 100
