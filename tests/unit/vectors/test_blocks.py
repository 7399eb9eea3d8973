"""Blocks of a collection: every row once, whatever the size of a page."""

import numpy as np
import pytest

from lightragctl.core.settings import Index
from lightragctl.vectors import blocks
from lightragctl.vectors.model import CollectionMissingError, Page, chunks_spec
from tests.fakes.store import FakeStore


class SmallPages(FakeStore):
    """Notes how many rows were asked for."""

    def __init__(self, rows: int, dimension: int) -> None:
        super().__init__()
        self.limits: list[int] = []
        self.create(chunks_spec("c", dimension, Index()))
        fixed = {"created_at": 1, "content": "", "file_path": "", "full_doc_id": ""}
        vectors = np.arange(rows * dimension, dtype=np.float32).reshape(rows, dimension)
        self.upsert("c", [{**fixed, "id": f"{at:05}", "vector": vector} for at, vector in enumerate(vectors)])

    def scan(self, name: str, fields: object, page: Page) -> list[dict[str, object]]:
        self.limits.append(page.limit)
        return super().scan(name, fields, page)  # type: ignore[arg-type]


@pytest.mark.parametrize(("rows", "pages"), [(0, [0]), (1, [1]), (127, [127]), (128, [128, 0]), (300, [128, 128, 44])])
def test_every_row_comes_once_in_pages_of_bounded_size(rows: int, pages: list[int]) -> None:
    dimension = blocks.PAGE_BYTES // 4 // 128
    store = SmallPages(rows, dimension)
    found = list(blocks.vector_blocks(store, "c", dimension))
    assert [len(ids) for ids, _ in found] == [size for size in pages if size]
    assert [name for ids, _ in found for name in ids] == [f"{at:05}" for at in range(rows)]
    assert [float(vector[0]) for _, vectors in found for vector in vectors] == [at * dimension for at in range(rows)]
    assert store.limits == [128] * len(pages)


def test_ids_between_two_come_in_order() -> None:
    assert list(blocks.all_ids(SmallPages(5, 2), "c", "00002")) == ["00003", "00004"]
    assert list(blocks.all_ids(SmallPages(5, 2), "c", "00001", "00003")) == ["00002"]


def test_a_missing_collection_is_told_when_the_first_block_is_taken() -> None:
    with pytest.raises(CollectionMissingError):
        next(blocks.vector_blocks(FakeStore(), "c", 2))
