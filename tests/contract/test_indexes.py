"""What servers report of indexes and segments, and what Milvus Lite refuses."""

from collections.abc import Iterator
from itertools import count

import numpy as np
import pytest

from lightragctl.core.errors import RefusedError
from lightragctl.core.settings import Index
from lightragctl.vectors.indexes import MMAP, IndexStore
from lightragctl.vectors.model import chunks_spec
from tests.contract.conftest import CALL_S
from tests.milvus.fixtures import LiteServer
from tests.milvus.server import MilvusServer

_numbers = count()
_ROWS = 1100
"""More than the 1,024 below which Milvus builds no index of a segment."""


@pytest.fixture(params=["lite", pytest.param("milvus", marks=pytest.mark.milvus)])
def indexes(request: pytest.FixtureRequest) -> Iterator[tuple[IndexStore, str]]:
    server: LiteServer | MilvusServer = request.getfixturevalue(request.param)
    store, name = IndexStore(server.uri, CALL_S, wait_s=120.0), f"indexes_{next(_numbers)}"
    store.create(chunks_spec(name, 8, Index()))
    yield store, name
    store.drop(name)
    store.close()


def fill(store: IndexStore, name: str, start: int) -> None:
    vectors = np.random.default_rng(start).standard_normal((_ROWS, 8)).astype(np.float32)
    texts = {"content": "text", "file_path": "a.md", "full_doc_id": "doc-1"}
    rows = [{"id": f"{start + at:06d}", "vector": one, "created_at": 1, **texts} for at, one in enumerate(vectors)]
    store.upsert(name, rows)
    store.flush(name)


def test_the_progress_of_an_index_is_in_rows(indexes: tuple[IndexStore, str]) -> None:
    store, name = indexes
    fill(store, name, 0)
    progress = store.index_progress(name)
    assert progress is not None
    assert (progress.total_rows, progress.pending_rows, progress.state) == (_ROWS, 0, "Finished")


def test_segments_are_merged_or_the_request_is_refused(indexes: tuple[IndexStore, str]) -> None:
    store, name = indexes
    for start in (0, _ROWS):
        fill(store, name, start)
    if store.is_lite():
        assert store.segments(name) is None
        with pytest.raises(RefusedError, match="Milvus Lite has no compaction"):
            store.start_compaction(name)
        return
    assert store.segments(name) == [_ROWS, _ROWS]
    store.wait_compacted(name, store.start_compaction(name), lambda left: None)
    assert store.row_count(name) == 2 * _ROWS
    assert sum(store.segments(name) or ()) == 2 * _ROWS


def test_memory_mapping_is_stored_or_refused(indexes: tuple[IndexStore, str]) -> None:
    store, name = indexes
    fill(store, name, 0)
    if store.is_lite():
        with pytest.raises(RefusedError, match="memory mapping"):
            store.set_mmap(name, True)
        return
    store.release(name)
    store.set_mmap(name, True)
    assert store.describe(name).properties[MMAP] == "True"
    store.load(name)
    assert store.row_count(name) == _ROWS
