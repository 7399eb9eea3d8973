"""Layers of a profile: YAML files and `--set` as plain values, merged, with the origin of each key.

Reads the files named to it; no other I/O. Layers, later ones win: what a profile extends, the profile, each `--values`
file, each `--set`. Maps are merged key by key, anything else is replaced.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from lightragctl.core.errors import ProfileError

KeyPath = tuple[str, ...]


@dataclass(frozen=True)
class Origin:
    """Where a value came from: a file and line, `--set`, or `default`."""

    source: str
    line: int | None = None

    def __str__(self) -> str:
        return self.source if self.line is None else f"{self.source}:{self.line}"


DEFAULT = Origin("default")


@dataclass(frozen=True)
class Layer:
    """One source of values, not yet checked, with the origin of each key."""

    values: dict[str, Any] = field(default_factory=dict)
    origins: dict[KeyPath, Origin] = field(default_factory=dict)


def parse_layer(text: str, source: str) -> Layer:
    """YAML text as a layer.

    Raises:
        ProfileError: it is no YAML, no map at the top, or a key stands twice.
    """
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ProfileError(
            f"{source}:{line}: not valid YAML: {error.problem}", "mend the line and run again"
        ) from error
    except yaml.YAMLError as error:
        raise ProfileError(f"{source}: not valid YAML: {error}", "mend the file and run again") from error
    if node is None:
        return Layer()
    if not isinstance(node, yaml.MappingNode):
        raise ProfileError(f"{source}: a profile is a map of keys", "see one: lightragctl profiles show")
    origins: dict[KeyPath, Origin] = {}
    try:
        return Layer(_plain(node, (), source, origins), origins)
    except (yaml.YAMLError, ValueError) as error:
        text = " ".join(str(error).split())
        raise ProfileError(f"{source}: a value cannot be read: {text}", "put it in quotes") from error
    except RecursionError as error:
        raise ProfileError(f"{source}: a value refers to itself", "write it out") from error


def _plain(node: yaml.MappingNode, path: KeyPath, source: str, origins: dict[KeyPath, Origin]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    _refuse_twins(node, path, source)
    yaml.SafeLoader("").flatten_mapping(node)  # `<<`: what is merged in comes first, so the map's own keys win
    for key_node, value_node in node.value:
        key, line = str(key_node.value), key_node.start_mark.line + 1
        origins[(*path, key)] = Origin(source, line)
        if isinstance(value_node, yaml.MappingNode):
            values[key] = _plain(value_node, (*path, key), source, origins)
        else:
            loader = yaml.SafeLoader("")
            values[key] = loader.construct_object(value_node, deep=True)
    return values


def _refuse_twins(node: yaml.MappingNode, path: KeyPath, source: str) -> None:
    seen: set[str] = set()
    for key_node, _ in node.value:
        key, line = str(key_node.value), key_node.start_mark.line + 1
        if key in seen:
            raise ProfileError(f"{source}:{line}: key '{'.'.join((*path, key))}' stands twice", "keep one of them")
        seen.add(key)


def parse_set(assignment: str) -> Layer:
    """A `--set key.inner=value` as a layer; the value is read as YAML, so `3`, `true` and `[a, b]` have their types.

    Raises:
        ProfileError: there is no `=`, no key, or the value is no YAML.
    """
    key, equals, text = assignment.partition("=")
    path = tuple(key.strip().split("."))
    if not equals or not all(path):
        raise ProfileError(f"--set {assignment}: expected key=value", "example: --set chunking.size_tokens=128")
    try:
        value = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError) as error:
        raise ProfileError(f"--set {assignment}: the value is not valid YAML", "put it in quotes") from error
    values: dict[str, Any] = {path[-1]: value}
    for step in reversed(path[:-1]):
        values = {step: values}
    return Layer(values, dict.fromkeys(_paths(values), Origin("--set")))


def merge(layers: Sequence[Layer]) -> Layer:
    """The layers as one; later ones win, maps are merged key by key."""
    values: dict[str, Any] = {}
    origins: dict[KeyPath, Origin] = {}
    for layer in layers:
        values = _merged(values, layer.values)
        origins |= layer.origins
    present = set(_paths(values))
    return Layer(values, {path: origin for path, origin in origins.items() if path in present})


def _merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(base)
    for key, value in over.items():
        inner = result.get(key)
        result[key] = _merged(inner, value) if isinstance(inner, dict) and isinstance(value, dict) else value
    return result


def _paths(values: Mapping[str, Any], path: KeyPath = ()) -> Iterator[KeyPath]:
    """The path of every key, those of maps too."""
    for key, value in values.items():
        yield (*path, str(key))
        if isinstance(value, dict):
            yield from _paths(value, (*path, str(key)))


def read_layers(reference: str, shipped: Path) -> list[Layer]:
    """The layers of a profile, what it extends first. A name means a shipped profile, else it is a path.

    Raises:
        ProfileError: a file is missing or unreadable, or profiles extend each other in a circle.
    """
    layers: list[Layer] = []
    seen: list[Path] = []
    path: Path | None = find_profile(reference, shipped, Path())
    while path is not None:
        if path in seen:
            chain = " -> ".join(step.name for step in [*seen, path])
            raise ProfileError(f"profiles extend each other in a circle: {chain}", "remove one `extends`")
        seen.append(path)
        layer = read_layer(path, shipped)
        extends = layer.values.pop("extends", None)
        layer.origins.pop(("extends",), None)
        layers.insert(0, layer)
        path = find_profile(str(extends), shipped, path.parent) if extends is not None else None
    return layers


def read_layer(path: Path, shipped: Path) -> Layer:
    """A file as a layer; its origin is its path, or `profiles/NAME.yaml` when it is a shipped one.

    Raises:
        ProfileError: it cannot be read or parsed.
    """
    source = f"profiles/{path.name}" if path.parent == shipped else str(path)
    try:
        return parse_layer(path.read_text(encoding="utf-8"), source)
    except (OSError, UnicodeDecodeError) as error:
        raise ProfileError(f"cannot read {path}: {error}", "check the path and its permissions") from error


def find_profile(reference: str, shipped: Path, beside: Path) -> Path:
    """The file that a profile's name or path means; a relative path is taken from the folder `beside`.

    Raises:
        ProfileError: there is no such profile; the hint names what is near.
    """
    if "/" in reference or reference.endswith((".yaml", ".yml")):
        path = beside / reference
        if path.is_file():
            return path
        raise ProfileError(f"there is no profile file {path}", "start one: lightragctl profiles init NAME")
    path = shipped / f"{reference}.yaml"
    if path.is_file():
        return path
    if (beside / f"{reference}.yaml").is_file():
        raise ProfileError(f"'{reference}' is not a shipped profile", f"for the file here: --profile {reference}.yaml")
    names = ", ".join(shipped_names(shipped))
    raise ProfileError(f"there is no profile '{reference}'", f"shipped: {names}; a file is named by its path")


def shipped_names(shipped: Path) -> list[str]:
    """The names of the shipped profiles, sorted."""
    return sorted(path.stem for path in shipped.glob("*.yaml"))
