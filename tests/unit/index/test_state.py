"""State of indexes: memory and segments are estimates by measured figures, names are found by what users write."""

import pytest

from lightragctl.core.errors import UsageError
from lightragctl.core.settings import EmbeddingModel, Index
from lightragctl.index.state import SEGMENT_BYTES, chosen, index_bytes, read_states, small_segments
from lightragctl.vectors.model import chunks_spec, control_spec
from tests.fakes.indexes import FakeIndexes

MODEL = EmbeddingModel(name="m", dimension=8)


def store() -> FakeIndexes:
    made = FakeIndexes()
    made.create(chunks_spec("default_chunks_m_8d_g1", 8, Index()))
    made.point_alias("default_chunks_m_8d", "default_chunks_m_8d_g1")
    made.create(control_spec("default_lightragctl"))
    return made


@pytest.mark.parametrize(
    ("index_type", "parameters", "dimension", "wanted"),
    [
        ("HNSW", {"M": 16}, 384, 1680),
        ("HNSW", {"M": 32}, 128, 784),
        ("FLAT", {}, 384, 1536),
        ("IVF_SQ8", {"nlist": 128}, 384, 384),
        ("SCANN", {}, 384, None),
    ],
)
def test_the_memory_of_an_index_is_as_it_was_measured(
    index_type: str, parameters: dict[str, int], dimension: int, wanted: int | None
) -> None:
    found = index_bytes(index_type, parameters, dimension, 1000)
    assert found == (None if wanted is None else wanted * 1000)


def test_a_segment_is_small_below_half_of_a_full_one() -> None:
    half = SEGMENT_BYTES // 2 // (384 * 4)
    assert small_segments([10, half - 1, half + 1], 384) == 2


def test_a_collection_is_read_with_its_segments_and_its_progress() -> None:
    made = store()
    made.segment_rows["default_chunks_m_8d_g1"] = [3, 4]
    chunks, control = read_states(made, "default", MODEL)
    assert (chunks.segments, chunks.small_segments, chunks.loaded, chunks.role.kind) == (2, 2, True, "chunks")
    assert (control.segments, control.role.kind) == (None, "control")


@pytest.mark.parametrize("name", ["chunks", "default_chunks_m_8d", "default_chunks_m_8d_g1"])
def test_a_collection_is_found_by_kind_alias_and_name(name: str) -> None:
    states = read_states(store(), "default", MODEL)
    assert [one.name for one in chosen(states, [name, name], "default", MODEL)] == ["default_chunks_m_8d_g1"]


def test_a_collection_that_does_not_exist_is_refused() -> None:
    with pytest.raises(UsageError, match="no collection default_entities_m_8d"):
        chosen(read_states(store(), "default", MODEL), ["entities"], "default", MODEL)
