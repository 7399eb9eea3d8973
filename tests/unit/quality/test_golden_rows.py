"""A golden set as rows: it comes back as it was, or not at all."""

import json

import numpy as np
import pytest

from lightragctl.core.errors import LightragctlError
from lightragctl.core.settings import EmbeddingModel
from lightragctl.quality import golden_rows
from lightragctl.quality.exact import exact_neighbours
from lightragctl.quality.golden import Head, KnownAnswer, Query, WorkspaceContent
from lightragctl.vectors.model import CONTENT_BYTES

VECTORS = np.random.default_rng(0).standard_normal((50, 8)).astype(np.float32)
IDS = [f"r{at}" for at in range(50)]


def answers(count: int = 3) -> list[KnownAnswer]:
    found = exact_neighbours(VECTORS[:count], [(IDS, VECTORS)], 6, "L2")
    queries = [Query("row", f"文本 {at}", VECTORS[at], IDS[at]) for at in range(count)]
    return [KnownAnswer(query, one.nearest(5, query.row)) for query, one in zip(queries, found, strict=True)]


def stored(known: list[KnownAnswer]) -> tuple[Head, list[str]]:
    values = [value for one in known if (value := golden_rows.encoded(one))]
    head = Head(
        version=2,
        built_at=1,
        tool="0",
        held=WorkspaceContent(collection="c", epoch="", rows=50),
        metric="L2",
        k=5,
        model=EmbeddingModel(),
        seed=0,
        counts={"row": len(values)},
        digest=golden_rows.digest(values),
    )
    return head, [json.dumps(value) for value in values]


def test_a_set_comes_back_as_it_was() -> None:
    head, texts = stored(known := answers())
    assert golden_rows.head_of(head.model_dump_json()) == head
    back = golden_rows.golden_set(head, list(texts)).answers
    for one, two in zip(known, back, strict=True):
        assert (one.query.text, one.query.row, one.query.origin) == (two.query.text, two.query.row, two.query.origin)
        assert np.array_equal(one.query.vector, two.query.vector)
        assert one.neighbours.ids == two.neighbours.ids
        assert np.array_equal(one.neighbours.scores, two.neighbours.scores)
        assert [one.neighbours.admissible(k) for k in (1, 5)] == [two.neighbours.admissible(k) for k in (1, 5)]


def test_keys_tell_version_and_order() -> None:
    head, _ = stored(answers())
    assert golden_rows.keys(head) == ["golden:2:00001", "golden:2:00002", "golden:2:00003"]
    versions = [golden_rows.version_of(name) for name in ("golden:12:00001", "golden", "golden:x:1", "doc:1:2")]
    assert versions == [12, None, None, None]
    assert all(golden_rows.FIRST < key < golden_rows.LAST for key in golden_rows.keys(head))


def test_a_set_with_a_missing_query_is_not_taken() -> None:
    head, texts = stored(answers())
    with pytest.raises(LightragctlError, match="2 of 3 queries"):
        golden_rows.golden_set(head, [*texts[:2], None])


def test_a_set_with_a_query_of_another_build_is_not_taken() -> None:
    head, texts = stored(answers())
    with pytest.raises(LightragctlError, match="not those of the set"):
        golden_rows.golden_set(head, [texts[0], texts[2], texts[1]])


def test_a_head_that_is_none_says_how_to_go_on() -> None:
    with pytest.raises(LightragctlError) as caught:
        golden_rows.head_of("{}")
    assert "golden build" in caught.value.hint


@pytest.mark.parametrize(
    ("text", "dimension", "fits"), [("a" * 4000, 8, True), ("模" * 22_000, 8, False), ("", 13_000, False)]
)
def test_a_query_that_does_not_fit_into_a_row_is_none(text: str, dimension: int, fits: bool) -> None:
    known = KnownAnswer(Query("file", text, np.ones(dimension, np.float32)), answers(1)[0].neighbours)
    value = golden_rows.encoded(known)
    assert (value is not None) == fits
    assert value is None or len(json.dumps(value, ensure_ascii=False).encode()) <= CONTENT_BYTES
