"""Which collections are a workspace's."""

import pytest

from lightragctl.backup.belonging import collections_of

NAMES = {
    "a_chunks_m_8d_g1": ("a_chunks_m_8d",),
    "a_entities_m_8d": (),
    "a_relationships": (),
    "a_lightragctl": (),
    "a_b_chunks_m_8d": (),
    "a_b_lightragctl": (),
    "a_chunks_chunks_m_8d": (),
    "ax_chunks_m_8d": (),
    "a_notes_m_8d": (),
    "restore_t1_1": ("b_chunks_m_8d",),
    "other": (),
    "_lightragctl": (),
}


@pytest.mark.parametrize(
    ("workspace", "found"),
    [
        ("a", ["a_chunks_m_8d_g1", "a_entities_m_8d", "a_lightragctl", "a_relationships"]),
        ("a_b", ["a_b_chunks_m_8d", "a_b_lightragctl"]),
        ("a_chunks", ["a_chunks_chunks_m_8d"]),
        ("b", ["restore_t1_1"]),
        ("none", []),
    ],
)
def test_a_collection_is_of_the_workspace_that_its_name_or_alias_begins_with(workspace: str, found: list[str]) -> None:
    assert collections_of(workspace, NAMES) == found
