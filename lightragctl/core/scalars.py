"""YAML scalars: read as YAML 1.2; numbers that YAML 1.1 reads differently are rejected. Pure."""

import re
from typing import Any

import yaml

_KINDS = (
    ("null", re.compile(r"~|null|Null|NULL|"), ["~", "n", "N", ""]),
    ("bool", re.compile(r"true|True|TRUE|false|False|FALSE"), list("tTfF")),
    ("int", re.compile(r"[-+]?(?:0|[1-9][0-9]*)|0x[0-9a-fA-F]+"), list("-+0123456789")),
    (
        "float",
        re.compile(
            r"[-+]?(?:\.[0-9]+|(?:0|[1-9][0-9]*)(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"
            r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
        ),
        list("-+.0123456789"),
    ),
    ("merge", re.compile(r"<<"), ["<"]),
)
_TWO_READINGS = re.compile(
    r"[-+]?0[0-9_]+(?:\.[0-9_]*)?(?:[eE][-+]?[0-9]+)?"  # octal to YAML 1.1, decimal to YAML 1.2
    r"|[-+]?0[ob][0-7_]+"
    r"|[-+]?(?=[0-9_.]*_)[0-9][0-9_]*(?:\.[0-9_]*)?(?:[eE][-+]?[0-9]+)?"  # `_` inside a number is of YAML 1.1 alone
    r"|[-+]?0x(?=[0-9a-fA-F]*_)[0-9a-fA-F_]+"
    r"|[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?"  # to the base of 60 in YAML 1.1
)


class Loader(yaml.SafeLoader):
    """A safe loader with the scalars of YAML 1.2's core schema; dates, `no` and `on` are strings."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 - PyYAML's own attribute


for _kind, _form, _first in _KINDS:
    Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_kind}", re.compile(rf"(?:{_form.pattern})\Z"), _first)


def two_readings(text: str) -> str | None:
    """The readings of a plain scalar by YAML 1.1 and 1.2 when they differ; None when they agree."""
    if not _TWO_READINGS.fullmatch(text):
        return None
    old, new = yaml.safe_load(text), _as_yaml_12(text)
    return None if _text(old) == _text(new) else f"{_text(old)} in YAML 1.1, {_text(new)} in YAML 1.2"


def _as_yaml_12(text: str) -> Any:
    if re.fullmatch(r"[-+]?[0-9]+", text):
        return int(text)
    if re.fullmatch(r"0o[0-7]+", text):
        return int(text, 8)
    if re.fullmatch(r"[-+]?[0-9]+(?:\.[0-9]*)?(?:[eE][-+]?[0-9]+)?", text):
        return float(text)
    return text


def _text(value: Any) -> str:
    return f"the string {value}" if isinstance(value, str) else f"the number {value}"


def kind_of(value: Any) -> str:
    """The type and value of what was read, for messages."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return f"the boolean {str(value).lower()}"
    if isinstance(value, int | float):
        return f"the number {value}"
    if isinstance(value, dict):
        return "a map"
    return "a list" if isinstance(value, list | tuple) else f"the string '{value}'"
