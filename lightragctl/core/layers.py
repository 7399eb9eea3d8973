"""Layers of a profile: YAML files and `--set` as plain values, merged, with the origin of each key.

Reads the files named to it; no other I/O. Layers, later ones win: what a profile extends, the profile, each `--values`
file, each `--set`. Maps are merged key by key, anything else is replaced.

YAML is read as YAML 1.2 (`core.scalars`); a number that older readers take for another one is refused.
"""

import codecs
import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from lightragctl.core.errors import ProfileError
from lightragctl.core.hint import Command, Hint
from lightragctl.core.scalars import Loader, two_readings
from lightragctl.core.serialize import json_text

KeyPath = tuple[str, ...]


@dataclass(frozen=True)
class Origin:
    """Where a value came from: a file and line, `--set`, or `default`.

    `written` is how a single value without quotes stands there.
    """

    source: str
    line: int | None = None
    written: str | None = field(default=None, compare=False)

    def __str__(self) -> str:
        return self.source if self.line is None else f"{self.source}:{self.line}"


DEFAULT = Origin("default")
SET = "--set"


@dataclass(frozen=True)
class Layer:
    """One source of values, not yet validated, with the origin of each key."""

    values: dict[str, Any] = field(default_factory=dict)
    origins: dict[KeyPath, Origin] = field(default_factory=dict)


def dotted(path: KeyPath) -> str:
    r"""The path as in `--set`: steps joined by dots; a dot inside a step is `\.`."""
    return ".".join(step.replace("\\", "\\\\").replace(".", "\\.") for step in path)


def _steps(key: str) -> KeyPath:
    """The inverse of `dotted`."""
    steps, characters = [""], iter(key)
    for character in characters:
        if character == ".":
            steps.append("")
        else:
            steps[-1] += next(characters, character) if character == "\\" else character
    return tuple(steps)


def parse_layer(text: str, source: str) -> Layer:
    """YAML text as a layer.

    Raises:
        ProfileError: not YAML, not a map at the top, a duplicate key, or an ambiguous number.
    """
    try:
        node = yaml.compose(text, Loader=Loader)
        if node is None:
            return Layer()
        if not isinstance(node, yaml.MappingNode):
            raise ProfileError(f"{source}: a profile must be a map", Hint("see one: ", Command("profiles show")))
        reader = _Reader(source)
        return Layer(reader.mapping(node, ()), reader.origins)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ProfileError(f"{source}:{line}: {_problem(error)}", _remedy(error)) from error
    except (yaml.YAMLError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise ProfileError(f"{source}: not valid YAML: {reason}", "fix the file and retry") from error
    except RecursionError as error:
        raise ProfileError(f"{source}: a value refers to itself", "remove the alias") from error


_SECOND_DOCUMENT = "but found another document"


def _problem(error: yaml.MarkedYAMLError) -> str:
    if error.problem == _SECOND_DOCUMENT:
        return "a second document starts here; a profile is a single document"
    return f"not valid YAML: {error.problem}"


def _remedy(error: yaml.MarkedYAMLError) -> str:
    if error.problem == _SECOND_DOCUMENT:
        return "remove the `---`, or move the second document into its own file: --values FILE"
    if "'\\t'" in (error.problem or ""):
        return "indent with spaces: YAML does not allow tabs there"
    return "fix the line and retry; strings with special characters need quotes"


class _Reader:
    """Converts YAML nodes to plain values and records the position of each key."""

    def __init__(self, source: str) -> None:
        self._source = source
        self.origins: dict[KeyPath, Origin] = {}

    def mapping(self, node: yaml.MappingNode, path: KeyPath) -> dict[str, Any]:
        """The map at a path."""
        self._check_keys(node, path)
        Loader("").flatten_mapping(node)  # `<<`: what is merged in comes first, so the map's own keys win
        values: dict[str, Any] = {}
        for key_node, value_node in node.value:
            inner = (*path, str(key_node.value))
            self.origins[inner] = self._origin(key_node, _written(value_node))
            values[inner[-1]] = self.value(value_node, inner)
        return values

    def value(self, node: yaml.Node, path: KeyPath) -> Any:
        """The value at a path."""
        if isinstance(node, yaml.MappingNode):
            return self.mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item, (*path, str(number))) for number, item in enumerate(node.value)]
        if (written := _written(node)) and (readings := two_readings(written)):
            message = f"{self._origin(node)}: {dotted(path)}: {written} is {readings}"
            raise ProfileError(message, f"write a plain decimal number, or quote a string: {quoted(path, written)}")
        return Loader("").construct_object(node, deep=True)

    def _origin(self, node: yaml.Node, written: str | None = None) -> Origin:
        return Origin(self._source, None if self._source == SET else node.start_mark.line + 1, written)

    def _check_keys(self, node: yaml.MappingNode, path: KeyPath) -> None:
        seen: set[str] = set()
        for key_node, _ in node.value:
            where = self._origin(key_node)
            if not isinstance(key_node, yaml.ScalarNode):
                raise ProfileError(f"{where}: a key must be a string", "write KEY: VALUE")
            if key_node.value in seen:
                key = dotted((*path, key_node.value))
                raise ProfileError(f"{where}: duplicate key '{key}'", "remove one of them")
            seen.add(key_node.value)


def _written(node: yaml.Node) -> str | None:
    """A scalar as written, when it is not quoted."""
    return str(node.value) if isinstance(node, yaml.ScalarNode) and node.style is None else None


def quoted(path: KeyPath, text: str) -> str:
    """How to write a string that YAML would read as another type, in a file and on the command line."""
    in_quotes = json_text(text)
    return f"{path[-1]}: {in_quotes}, or --set {shlex.quote(f'{dotted(path)}={in_quotes}')}"


def parse_set(assignment: str) -> Layer:
    r"""A `--set key.inner=value` as a layer; the value is read as YAML, so `3`, `true` and `[a, b]` have their types.

    A key with a dot in it is written `example\.com/zone`.

    Raises:
        ProfileError: there is no `=`, no key, no value, or the value is no YAML.
    """
    key, equals, text = assignment.partition("=")
    path = _steps(key.strip())
    if not equals or not all(path):
        raise ProfileError(f"--set {assignment}: expected key=value", "example: --set chunking.size_tokens=128")
    if not text.strip():
        way = f"""write --set {key}=null for the default, --set '{key}=""' for an empty string"""
        raise ProfileError(f"--set {assignment}: no value after `=`", way)
    reader = _Reader(SET)
    try:
        node = yaml.compose(text, Loader=Loader)
        lost = "" if node is None else text[node.end_mark.index :].strip()
        if node is None or lost:
            message = f"--set {assignment}: # starts a comment; the rest would be ignored"
            raise ProfileError(message, "quote the value: " + quoted(path, text))
        value = reader.value(node, path)
    except (yaml.YAMLError, ValueError) as error:
        message = f"--set {assignment}: the value is not valid YAML"
        raise ProfileError(message, "quote the value: " + quoted(path, text)) from error
    except RecursionError as error:
        raise ProfileError(f"--set {assignment}: a value refers to itself", "remove the alias") from error
    for step in reversed(path):
        value = {step: value}
    origins = {**dict.fromkeys(_paths(value), Origin(SET)), **reader.origins, path: Origin(SET, None, _written(node))}
    return Layer(value, origins)


def merge(layers: Sequence[Layer]) -> Layer:
    """The layers merged; later ones take precedence, maps are merged by key."""
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
    """The path of every key, including those of maps."""
    for key, value in values.items():
        yield (*path, str(key))
        if isinstance(value, dict):
            yield from _paths(value, (*path, str(key)))


def read_layers(reference: str, shipped: Path) -> list[Layer]:
    """The layers of a profile, base profiles first. A name is a shipped profile, otherwise a path.

    Raises:
        ProfileError: a file is missing or unreadable, or profiles extend each other in a circle.
    """
    layers: list[Layer] = []
    seen: list[Path] = []
    path: Path | None = find_profile(reference, shipped, Path())
    while path is not None:
        if path.resolve() in seen:
            chain = " -> ".join(step.name for step in [*seen, path])
            raise ProfileError(f"profiles extend each other (cycle): {chain}", "remove one `extends`")
        seen.append(path.resolve())
        layer = read_layer(path, shipped)
        extends = layer.values.pop("extends", None)
        layer.origins.pop(("extends",), None)
        layers.insert(0, layer)
        path = find_profile(str(extends), shipped, path.parent) if extends is not None else None
    return layers


def read_layer(path: Path, shipped: Path) -> Layer:
    """A file as a layer; its origin is its path, or `profiles/NAME.yaml` for a shipped one.

    Raises:
        ProfileError: it cannot be read or parsed.
    """
    source = f"profiles/{path.name}" if path.parent == shipped else str(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ProfileError(f"cannot read {path}: {error.strerror}", "check the path and its permissions") from error
    return parse_layer(decoded(content, source), source)


def decoded(content: bytes, source: str) -> str:
    """The text of a file in UTF-8, or in UTF-16 with a byte-order mark, as PowerShell writes it.

    Raises:
        ProfileError: it is neither.
    """
    marked = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        return content.decode("utf-16" if marked else "utf-8-sig")
    except UnicodeDecodeError as error:
        message = f"cannot read {source}: not UTF-8 (byte {error.start + 1}: {error.reason})"
        raise ProfileError(message, "save it as UTF-8 and retry") from error


def find_profile(reference: str, shipped: Path, beside: Path) -> Path:
    """The file of a profile's name or path; relative paths are relative to the folder `beside`.

    Raises:
        ProfileError: there is no such profile; the hint lists similar ones.
    """
    if "/" in reference or reference.endswith((".yaml", ".yml")):
        path = beside / reference
        if os.path.isfile(path):
            return path
        raise ProfileError(f"there is no profile file {path}", Hint("start one: ", Command("profiles init", "NAME")))
    path = shipped / f"{reference}.yaml"
    if os.path.isfile(path):
        return path
    if os.path.isfile(beside / f"{reference}.yaml"):
        raise ProfileError(
            f"'{reference}' is not a shipped profile", f"to use the file in this folder: --profile {reference}.yaml"
        )
    names = ", ".join(shipped_names(shipped))
    raise ProfileError(f"there is no profile '{reference}'", f"shipped profiles: {names}; for a file give its path")


def shipped_names(shipped: Path) -> list[str]:
    """The names of the shipped profiles, sorted."""
    return sorted(path.stem for path in shipped.glob("*.yaml"))
