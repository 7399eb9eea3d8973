"""The collections and indexes that we ask a store for."""

import pytest

from lightragctl.core.settings import Index
from lightragctl.vectors.model import IndexSpec, chunks_spec, control_spec, index_spec


@pytest.mark.parametrize(
    ("index", "expected"),
    [
        (Index(), IndexSpec("HNSW", "COSINE", {"M": 16, "efConstruction": 200}, {"ef": 64})),
        (
            Index(m=8, ef_construction=40, ef=10),
            IndexSpec("HNSW", "COSINE", {"M": 8, "efConstruction": 40}, {"ef": 10}),
        ),
        (Index(type="FLAT", metric="IP"), IndexSpec("FLAT", "IP")),
        (Index(type="AUTOINDEX", metric="L2"), IndexSpec("AUTOINDEX", "L2")),
        (Index(type="IVF_FLAT"), IndexSpec("IVF_FLAT", "COSINE", {"nlist": 128}, {"nprobe": 16})),
        (Index(type="IVF_FLAT", nlist=8), IndexSpec("IVF_FLAT", "COSINE", {"nlist": 8}, {"nprobe": 8})),
    ],
)
def test_an_index_is_told_in_the_words_of_milvus(index: Index, expected: IndexSpec) -> None:
    assert index_spec(index) == expected


def test_chunks_have_the_fields_of_lightrag() -> None:
    spec = chunks_spec("w_chunks_m_384d_g1", 384, Index())
    assert (spec.name, spec.dimension, spec.index) == ("w_chunks_m_384d_g1", 384, index_spec(Index()))
    limits = {text.name: text.max_bytes for text in spec.text_fields}
    assert limits == {"content": 65535, "file_path": 32768, "full_doc_id": 64}


def test_a_control_collection_holds_one_text_and_the_smallest_vector() -> None:
    spec = control_spec("w_lightragctl")
    assert (spec.dimension, spec.index.index_type) == (2, "FLAT")
    assert [(text.name, text.max_bytes) for text in spec.text_fields] == [("value", 65535)]
