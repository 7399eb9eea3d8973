"""Whose a collection is, and whether the release serves from it. Pure."""

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from lightragctl.backup.belonging import collections_of, is_control
from lightragctl.core.settings import EmbeddingModel
from lightragctl.vectors.control import KINDS, collection_name, control_name

_TRIAL = re.compile(r"__tune_.+")
_OF_OPERATION = re.compile(r"(?:restore|kept|reembed)_(?P<token>[A-Za-z0-9]+)_\d+|rebuild_(?P<rebuilt>[A-Za-z0-9]+)")


class Owner(StrEnum):
    """Who writes a collection. `operation`: copies and previous data of operations, and trials of `tune`."""

    OURS = "lightrag-api"
    UPSTREAM = "lightrag-server"
    OPERATION = "operation"
    OTHER = "unknown"


@dataclass(frozen=True)
class Role:
    """What a collection is for.

    Attributes:
        owner: who writes it.
        workspace: empty when it belongs to none.
        kind: `chunks`, `entities`, `relationships` or `control`; empty: none of these.
        live: whether the release as it is configured reads it.
        token: of the operation whose copy it is; empty: none.
    """

    owner: Owner
    workspace: str = ""
    kind: str = ""
    live: bool = False
    token: str = ""


def roles(names: Mapping[str, Collection[str]], workspace: str, model: EmbeddingModel) -> dict[str, Role]:
    """The role of each collection.

    Args:
        names: each physical name with its aliases.
        workspace: of the release; others are known by their control collections.
        model: of the release: collections of other models are not live.
    """
    found: dict[str, Role] = {}
    for one in _workspaces(names, workspace):
        for name in collections_of(one, names):
            found[name] = _of_workspace(name, names[name], one, model)
    return {name: found.get(name) or _outside(name) for name in sorted(names)}


def _workspaces(names: Iterable[str], workspace: str) -> set[str]:
    suffix = control_name("")
    return {one.removesuffix(suffix) for one in names if is_control(one)} | {workspace}


def _of_workspace(name: str, aliases: Collection[str], workspace: str, model: EmbeddingModel) -> Role:
    if is_control(name):
        return Role(Owner.OURS, workspace, "control", True)
    served = {kind: collection_name(workspace, kind, model) for kind in KINDS}
    kind = name.removeprefix(f"{workspace}_").partition("_")[0]
    owner = Owner.OURS if aliases else Owner.UPSTREAM
    return Role(owner, workspace, kind, served.get(kind) in (name, *aliases))


def _outside(name: str) -> Role:
    if _TRIAL.fullmatch(name):
        return Role(Owner.OPERATION)
    if copied := _OF_OPERATION.fullmatch(name):
        return Role(Owner.OPERATION, token=copied["token"] or copied["rebuilt"])
    return Role(Owner.OTHER)
