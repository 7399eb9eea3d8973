"""Plain values as JSON and YAML that every parser reads as the same values. Pure.

Both texts are harmless on a terminal: what `core.visible` would escape is written as an escape of the format, so that a
reader gets the character itself.
"""

import json
import re
from collections.abc import Sequence
from typing import Any

import yaml

from lightragctl.core.visible import ACTING

_MISREAD = re.compile(
    r"y|n|yes|no|on|off|true|false|null|~|=|<<"
    r"|[-+]?\.(?:inf|nan)"
    r"|[-+]?0[xob][0-9a-f_]*"
    r"|[-+]?[0-9_.:]*[0-9][0-9_.:]*(?:e[-+]?[0-9_]*)?"
    r"|[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}.*",
    re.IGNORECASE,
)
"""Strings that some parser reads as a boolean, null, a number, a time or a merge: YAML 1.1, YAML 1.2, and go-yaml,
which kubectl uses."""


def json_text(value: Any, indent: int | None = None, ascii_only: bool = False) -> str:
    """The value as JSON."""
    return ACTING.sub(_json_escape, json.dumps(value, ensure_ascii=ascii_only, indent=indent))


def _json_escape(found: re.Match[str]) -> str:
    return json.dumps(found[0])[1:-1] if ord(found[0]) != 0x7F else "\\u007f"


def yaml_text(value: Any, sort_keys: bool = False, ascii_only: bool = False) -> str:
    """The value as a YAML document, without a trailing newline."""
    return yaml_documents([value], sort_keys, ascii_only)


def yaml_documents(values: Sequence[Any], sort_keys: bool = False, ascii_only: bool = False) -> str:
    """The values as YAML documents, without a trailing newline."""
    text = yaml.dump_all(values, Dumper=_Dumper, allow_unicode=not ascii_only, sort_keys=sort_keys, width=1000)
    return ACTING.sub(_yaml_escape, str(text)).rstrip("\n")  # other white space may belong to the last value


def _yaml_escape(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


class _Dumper(yaml.SafeDumper):
    """Quotes ambiguous strings, and accepts what JSON accepts: enumerations, tuples, repeated values."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    quoted = _MISREAD.fullmatch(text) or text != text.strip()
    style = '"' if ACTING.search(text) else "'" if quoted else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", str(text), style=style)


_Dumper.add_multi_representer(str, _represent_text)
_Dumper.add_representer(str, _represent_text)
_Dumper.add_multi_representer(int, lambda dumper, value: dumper.represent_int(int(value)))
_Dumper.add_multi_representer(float, lambda dumper, value: dumper.represent_float(float(value)))
