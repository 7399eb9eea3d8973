"""Whose a collection is: ours has an alias, upstream's has LightRAG's name, copies have those of their operations."""

from lightragctl.core.settings import EmbeddingModel
from lightragctl.index.roles import Owner, Role, roles

MODEL = EmbeddingModel(name="m", dimension=8)
NAMES: dict[str, tuple[str, ...]] = {
    "default_chunks_m_8d_g2": ("default_chunks_m_8d",),
    "default_chunks_old_8d_g1": ("default_chunks_old_8d",),
    "default_entities_m_8d": (),
    "default_lightragctl": (),
    "manuals_chunks_m_8d": (),
    "manuals_lightragctl": (),
    "kept_3f9a1c_1": (),
    "restore_3f9a1c_2": (),
    "__tune_abc": (),
    "a_table": (),
}


def test_the_role_of_each_collection_follows_from_its_name_and_its_alias() -> None:
    found = roles(NAMES, "default", MODEL)
    assert found == {
        "__tune_abc": Role(Owner.OPERATION),
        "a_table": Role(Owner.OTHER),
        "default_chunks_m_8d_g2": Role(Owner.OURS, "default", "chunks", True),
        "default_chunks_old_8d_g1": Role(Owner.OURS, "default", "chunks", False),
        "default_entities_m_8d": Role(Owner.UPSTREAM, "default", "entities", True),
        "default_lightragctl": Role(Owner.OURS, "default", "control", True),
        "kept_3f9a1c_1": Role(Owner.OPERATION, token="3f9a1c"),
        "manuals_chunks_m_8d": Role(Owner.UPSTREAM, "manuals", "chunks", True),
        "manuals_lightragctl": Role(Owner.OURS, "manuals", "control", True),
        "restore_3f9a1c_2": Role(Owner.OPERATION, token="3f9a1c"),
    }


def test_a_workspace_without_a_control_collection_is_that_of_the_release() -> None:
    assert roles({"one_chunks_m_8d": ()}, "one", MODEL)["one_chunks_m_8d"].live
    assert roles({"two_chunks_m_8d": ()}, "one", MODEL)["two_chunks_m_8d"] == Role(Owner.OTHER)
