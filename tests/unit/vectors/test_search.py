"""What a batch of searches asks of Milvus, and how its answer is read."""

import msgspec
import numpy as np
import pytest
from pymilvus.grpc_gen import schema_pb2

from lightragctl.vectors.model import Hit, IndexSpec, SearchBatch
from lightragctl.vectors.sdk import common_pb2
from lightragctl.vectors.search import hits, request


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
    asked = request(batch, 7)
    options = {pair.key: pair.value for pair in asked.search_params}
    assert msgspec.json.decode(options["params"]) == expected
    assert (options["metric_type"], options["topk"]) == ("IP", str(top_k))
    assert (list(asked.output_fields), asked.dsl, asked.guarantee_timestamp) == (["content"], "", 7)


def test_vectors_go_as_little_endian_floats() -> None:
    vectors = np.arange(6, dtype=np.float64).reshape(3, 2)
    asked = request(SearchBatch("c", vectors, 1, IndexSpec("FLAT", "IP"), []), 0)
    (placeholder,) = common_pb2.PlaceholderGroup.FromString(asked.placeholder_group).placeholders
    assert asked.nq == 3
    assert [np.frombuffer(value, "<f4").tolist() for value in placeholder.values] == vectors.tolist()


def test_columns_become_hits_of_each_search() -> None:
    results = schema_pb2.SearchResultData(topks=[2, 0, 1], scores=[0.75, 0.5, 0.25])
    results.ids.str_id.data.extend(["a", "b", "c"])
    content = results.fields_data.add(field_name="content", valid_data=[True, False, True])
    content.scalars.string_data.data.extend(["one", "", "three"])
    dynamic = results.fields_data.add(field_name="$meta", is_dynamic=True)
    dynamic.scalars.json_data.data.extend([b'{"order": 1}', b"{}", b'{"order": 3}'])
    assert hits(results) == [
        [Hit("a", 0.75, {"content": "one", "order": 1}), Hit("b", 0.5, {})],
        [],
        [Hit("c", 0.25, {"content": "three", "order": 3})],
    ]


def test_numbers_are_ids_too() -> None:
    results = schema_pb2.SearchResultData(topks=[1], scores=[0.5])
    results.ids.int_id.data.append(42)
    assert hits(results) == [[Hit("42", 0.5, {})]]
