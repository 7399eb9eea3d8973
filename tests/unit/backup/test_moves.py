"""Which names copies and old data get."""

import pytest

from lightragctl.backup.moves import Moves, New, Old, Renamed, plan
from lightragctl.core.errors import RefusedError
from lightragctl.vectors.schema import CollectionSchema, FieldSchema

FIELDS = (FieldSchema("id", "VARCHAR", 64, primary=True),)


def schema(name: str, *aliases: str) -> CollectionSchema:
    return CollectionSchema(name, FIELDS, aliases=aliases)


def planned(
    source: CollectionSchema,
    there: dict[str, tuple[str, ...]],
    replaced: tuple[str, ...] = (),
    target: str = "b",
) -> Moves:
    return plan(Renamed("a", target), {source.name: ("restore_t_1", source)}, there, replaced, "t")


@pytest.mark.parametrize(
    ("source", "there", "expected"),
    [
        (schema("a_chunks_m_8d"), {}, New("restore_t_1", "b_chunks_m_8d")),
        (
            schema("a_chunks_m_8d_g1", "a_chunks_m_8d"),
            {},
            New("restore_t_1", "b_chunks_m_8d_g1", ("b_chunks_m_8d",)),
        ),
        (
            schema("a_chunks_m_8d_g1", "a_chunks_m_8d"),
            {"b_chunks_m_8d_g1": ("b_chunks_m_8d",), "b_chunks_m_8d_g2": ()},
            New("restore_t_1", "b_chunks_m_8d_g3", ("b_chunks_m_8d",)),
        ),
        (schema("a_chunks_m_8d_g1"), {}, New("restore_t_1", "b_chunks_m_8d_g1", ("b_chunks_m_8d",))),
        (schema("odd", "a_chunks_m_8d"), {}, New("restore_t_1", "b_chunks_m_8d_g1", ("b_chunks_m_8d",))),
    ],
    ids=["lightrag-server's", "ours", "the next generation", "of Milvus 2.3.0 without aliases", "an odd name"],
)
def test_a_copy_gets_the_names_of_the_target(
    source: CollectionSchema, there: dict[str, tuple[str, ...]], expected: New
) -> None:
    replaced = tuple(there)
    assert planned(source, there, replaced).news == (expected,)


def test_old_collections_get_names_that_no_workspace_has() -> None:
    there = {"b_chunks_m_8d": (), "b_entities_m_8d": ("x",), "b_lightragctl": (), "other": ()}
    moves = planned(schema("a_chunks_m_8d"), there, ("b_chunks_m_8d", "b_entities_m_8d", "b_lightragctl"))
    assert moves.olds == (Old("b_chunks_m_8d", "kept_t_1"), Old("b_entities_m_8d", "kept_t_2", ("x",)))
    assert moves.kept == ["kept_t_1", "kept_t_2", "kept_t_0"]
    assert Moves.from_plain(moves.to_plain()) == moves


@pytest.mark.parametrize(
    ("there", "target"), [({"b_chunks_m_8d": ()}, "b"), ({"x": ("b_chunks_m_8d",)}, "b"), ({}, "b" * 250)]
)
def test_names_of_others_and_long_ones_are_refused(there: dict[str, tuple[str, ...]], target: str) -> None:
    with pytest.raises(RefusedError):
        planned(schema("a_chunks_m_8d"), there, target=target)
