"""What a batch of searches asks of Milvus."""

from typing import Any

import numpy as np
import pytest

from lightragctl.vectors.model import IndexSpec, SearchBatch
from lightragctl.vectors.search import arguments


@pytest.mark.parametrize(
    ("search", "top_k", "expected"),
    [
        ({"ef": 64}, 5, {"ef": 64}),
        ({"ef": 64}, 100, {"ef": 100}),
        ({"nprobe": 4}, 100, {"nprobe": 4}),
        ({}, 5, {}),
    ],
)
def test_ef_is_never_below_the_number_of_hits(search: dict[str, int], top_k: int, expected: dict[str, int]) -> None:
    batch = SearchBatch("c", np.zeros((1, 2), np.float32), top_k, IndexSpec("HNSW", "IP", search=search), ["content"])
    asked: dict[str, Any] = arguments(batch)
    assert asked["search_params"] == {"metric_type": "IP", "params": expected}
    assert (asked["limit"], asked["output_fields"], asked["filter"]) == (top_k, ["content"], "")


def test_the_vectors_are_not_copied() -> None:
    vectors = np.ones((3, 2), np.float32)
    assert arguments(SearchBatch("c", vectors, 1, IndexSpec("FLAT", "IP"), []))["data"] is vectors
