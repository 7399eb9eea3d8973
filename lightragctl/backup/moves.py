"""Which collections get which names when a copy takes the place of a workspace. Pure."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from lightragctl.backup.belonging import is_control
from lightragctl.core.errors import RefusedError
from lightragctl.vectors.control import control_name
from lightragctl.vectors.schema import CollectionSchema

_GENERATION = re.compile(r"(?P<alias>.+)_g(?P<number>\d+)")
_MOST_NAME = 255
"""Characters of a collection's name in Milvus."""


@dataclass(frozen=True)
class Old:
    """A collection that is replaced: its name and aliases, and the name under which it is kept."""

    name: str
    kept: str
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True)
class New:
    """A copy: its name until the switch, the name and the aliases that it gets."""

    copy: str
    name: str
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True)
class Moves:
    """Everything that a switch renames.

    The control collection of a workspace keeps its name, as the switching marker is in it; its rows are replaced.

    Attributes:
        control: the workspace's control collection.
        control_copy: the copy that has its new rows; None: there are none.
        control_kept: gets its previous rows; None: there was no control collection.
    """

    control: str
    control_copy: str | None
    control_kept: str | None
    olds: tuple[Old, ...]
    news: tuple[New, ...]

    @property
    def kept(self) -> list[str]:
        """The names under which old data are kept."""
        return [one.kept for one in self.olds] + ([self.control_kept] if self.control_kept else [])

    def to_plain(self) -> dict[str, Any]:
        """As JSON-able data."""
        plain: dict[str, Any] = msgspec.to_builtins(self)
        return plain

    @staticmethod
    def from_plain(plain: Any) -> "Moves":
        """From what `to_plain` made."""
        return msgspec.convert(plain, Moves)


@dataclass(frozen=True)
class Renamed:
    """A workspace that is copied to another name."""

    source: str
    target: str

    def of(self, name: str) -> str:
        """The name of a collection or alias in the target."""
        start = f"{self.source}_"
        return f"{self.target}_{name.removeprefix(start)}" if name.startswith(start) else name


def plan(
    workspaces: Renamed,
    copies: Mapping[str, tuple[str, CollectionSchema]],
    there: Mapping[str, Collection[str]],
    replaced: Collection[str],
    token: str,
) -> Moves:
    """The renames that put copies in the place of a workspace.

    Args:
        workspaces: where the copies come from, and which workspace they become.
        copies: the copy of each collection and its schema, by its name in the source.
        there: every collection of the store with its aliases.
        replaced: those of the target workspace.
        token: letters and digits that tell these old data from others.

    Raises:
        RefusedError: a name belongs to another workspace, or is too long.
    """
    control = control_name(workspaces.target)
    olds = tuple(
        Old(name, f"kept_{token}_{number}", tuple(sorted(there[name])))
        for number, name in enumerate(sorted(set(replaced) - {control}), 1)
    )
    controls = [copy for name, (copy, _) in copies.items() if is_control(name)]
    own = {one.name for one in olds} | {alias for one in olds for alias in one.aliases}
    taken = {*there, *(alias for aliases in there.values() for alias in aliases)}
    news = tuple(
        _checked(_new(workspaces, copy, schema, taken), taken - own)
        for name, (copy, schema) in sorted(copies.items())
        if not is_control(name)
    )
    return Moves(
        control=control,
        control_copy=controls[0] if controls else None,
        control_kept=f"kept_{token}_0" if control in there else None,
        olds=olds,
        news=news,
    )


def _new(workspaces: Renamed, copy: str, schema: CollectionSchema, taken: Collection[str]) -> New:
    """The names of a copy. Ours, which have an alias, get the next generation that is free."""
    found = _GENERATION.fullmatch(schema.name)
    aliases = schema.aliases or ((found["alias"],) if found else ())  # Milvus 2.3.0 lists no aliases
    made = New(copy, workspaces.of(schema.name), tuple(sorted(map(workspaces.of, aliases))))
    if not aliases:
        return made
    base = found["alias"] if found else aliases[0]
    number = int(found["number"]) if found else 1
    while (name := f"{workspaces.of(base)}_g{number}") in taken:
        number += 1
    return replace(made, name=name)


def _checked(new: New, foreign: Collection[str]) -> New:
    for name in (new.name, *new.aliases):
        if name in foreign:
            message = f"there is a collection or alias {name} that belongs to another workspace"
            raise RefusedError(message, "choose another name with --target-workspace")
        if len(name) > _MOST_NAME:
            raise RefusedError(f"the name {name} has more than {_MOST_NAME} characters", "choose a shorter name")
    return new
