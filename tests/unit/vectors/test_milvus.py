"""How filters and batches for Milvus are made."""

import numpy as np
import pytest

from lightragctl.vectors.filters import quoted
from lightragctl.vectors.milvus import BATCH_BYTES, BATCH_ROWS, batches, page_filter
from lightragctl.vectors.model import Page


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", '"plain"'),
        ("", '""'),
        ('a"b', r'"a\"b"'),
        ("a\\", r'"a\\"'),
        ("a\nb\rc", r'"a\nb\rc"'),
        ("中文 '", '"中文 \'"'),
        ('\\"', r'"\\\""'),
    ],
)
def test_no_text_can_end_its_own_quotes(text: str, expected: str) -> None:
    assert quoted(text) == expected


@pytest.mark.parametrize(
    ("page", "expected"),
    [
        (Page(), 'id >= ""'),
        (Page(after="a"), 'id > "a"'),
        (Page(after='"'), r'id > "\""'),
        (Page(after="a", filter="n > 1 or n < 0"), 'id > "a" and (n > 1 or n < 0)'),
        (Page(filter="  "), 'id >= ""'),
        (Page(before="b"), 'id >= "" and id < "b"'),
        (Page(after="a", before="b", filter="n > 1"), 'id > "a" and id < "b" and (n > 1)'),
    ],
)
def test_a_page_begins_after_the_last_id(page: Page, expected: str) -> None:
    assert page_filter(page) == expected


@pytest.mark.parametrize(
    ("count", "sizes"),
    [(0, []), (1, [1]), (BATCH_ROWS, [BATCH_ROWS]), (BATCH_ROWS + 1, [BATCH_ROWS, 1])],
)
def test_rows_are_sent_in_batches(count: int, sizes: list[int]) -> None:
    rows = [{"id": str(number), "created_at": 1} for number in range(count)]
    cut = list(batches(rows))
    assert [len(batch) for batch in cut] == sizes
    assert [row for batch in cut for row in batch] == rows


def test_no_batch_is_too_large_for_one_call() -> None:
    rows = [{"id": str(number), "vector": np.zeros(384, np.float32), "content": "字" * 65535} for number in range(300)]
    cut = list(batches(rows))
    assert len(cut) > 1
    assert sum(len(batch) for batch in cut) == 300
    for batch in cut:
        assert sum(len(row["content"].encode()) + row["vector"].nbytes for row in batch) <= BATCH_BYTES
