"""What a workspace's collections are called with another model, and which collections have to be embedded. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from lightragctl.backup.belonging import is_control
from lightragctl.core.errors import RefusedError
from lightragctl.core.hint import Command, Hint
from lightragctl.core.settings import EmbeddingModel
from lightragctl.vectors.control import KINDS, collection_name
from lightragctl.vectors.schema import CollectionSchema

TEXT, VECTOR = "content", "vector"
"""The fields that both write paths use for the text that is embedded, and for its vector."""


@dataclass(frozen=True)
class Move:
    """One collection that is embedded again.

    Attributes:
        source: its physical name now.
        copy: of the new one, until it is in use.
        name: of the new one, once it is.
        alias: of the new one; empty: `name` is LightRAG's own name.
        old_alias: of the source; empty: it has none.
        kept: of the source, after the switch.
    """

    source: str
    copy: str
    name: str
    alias: str
    old_alias: str
    kept: str


def moves(
    schemas: Mapping[str, CollectionSchema], workspace: str, old: EmbeddingModel, new: EmbeddingModel, token: str
) -> list[Move]:
    """The collections of the old model, with the names that they get.

    Args:
        schemas: of every collection of the workspace.
        workspace: its name.
        old, new: the models.
        token: letters and digits that tell this operation's collections from others.

    Raises:
        RefusedError: both models lead to the same names, there is nothing to embed, or the names are taken.
    """
    if old.suffix == new.suffix:
        message = f"{new.name} with {new.dimension} dimensions is the name that the present vectors have"
        raise RefusedError(message, "give the new model another name: collections are named by model and dimension")
    found: list[Move] = []
    for kind in KINDS:
        source = _served(schemas, collection_name(workspace, kind, old))
        if source is None:
            continue
        target, number = collection_name(workspace, kind, new), len(found) + 1
        ours = target if schemas[source].aliases else ""
        name = f"{target}_g1" if ours else target
        old_alias = collection_name(workspace, kind, old) if ours else ""
        found.append(Move(source, f"reembed_{token}_{number}", name, ours, old_alias, f"kept_{token}_{number}"))
    if not found:
        hint = Hint("load documents first: ", Command("ingest", "PATH"))
        raise RefusedError(f"workspace '{workspace}' has no vectors of {old.name}", hint)
    taken = {one for name, schema in schemas.items() for one in (name, *schema.aliases)}
    if there := [one for move in found for one in (move.name, move.alias) if one in taken]:
        message = f"there are vectors of {new.name} already: {', '.join(there)}"
        raise RefusedError(message, "they are of an earlier model change; delete them with an administrator's tool")
    return found


def _served(schemas: Mapping[str, CollectionSchema], name: str) -> str | None:
    return next((one for one, schema in schemas.items() if name in (one, *schema.aliases)), None)


def to_plain(planned: Sequence[Move]) -> list[dict[str, Any]]:
    """As JSON-able data."""
    return [msgspec.to_builtins(one) for one in planned]


def from_plain(plain: Any) -> list[Move]:
    """From what `to_plain` made."""
    return msgspec.convert(plain, list[Move])


def of_dimension(schema: CollectionSchema, dimension: int) -> CollectionSchema:
    """The schema with vectors of another dimension; the index stays the same.

    Raises:
        RefusedError: the collection has no texts or no vectors under the names that we know.
    """
    text, vector = schema.field(TEXT), schema.field(VECTOR)
    if is_control(schema.name) or text is None or vector is None or vector.dtype != "FLOAT_VECTOR":
        raise RefusedError(f"collection {schema.name} has no field {TEXT} to embed")
    fields = tuple(replace(one, dimension=dimension) if one.name == VECTOR else one for one in schema.fields)
    return replace(schema, fields=fields)


def changed_cut(cut: str, old: EmbeddingModel, new: EmbeddingModel) -> str | None:
    """How a document's record names its chunks with the new model; None when they are not of the old one.

    The records end with the model (`service.documents.cut_name`); one of another model is embedded again when its
    document is loaded.
    """
    suffix = f":{old.suffix}"
    return cut.removesuffix(suffix) + f":{new.suffix}" if cut.endswith(suffix) else None
