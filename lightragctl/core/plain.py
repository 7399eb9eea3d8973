"""Conversion of payloads to plain data, which JSON and YAML represent alike. Pure."""

import math
from collections.abc import Collection, Mapping
from dataclasses import fields, is_dataclass
from datetime import date
from decimal import Decimal
from enum import Enum
from numbers import Integral
from typing import Any


def plain(value: Any) -> Any:
    """The value as None, booleans, numbers, strings, lists and mappings with string keys.

    NaN and infinities become None, as JSON has no form for them; a lone surrogate, which stands for a byte that is not
    UTF-8, becomes its escape; a set a sorted list; any other type its string.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, Enum):
        return plain(value.value)
    if isinstance(value, str | bytes | date):
        return _text(value)
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, float | Decimal):
        return float(value) if math.isfinite(value) else None
    return _members(value)


def _text(value: str | bytes | date) -> str:
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    return value.encode("utf-8", "backslashreplace").decode("utf-8")


def _members(value: Any) -> Any:
    """A container, converted recursively."""
    if isinstance(value, Mapping):
        return {_key(name): plain(one) for name, one in value.items()}
    if isinstance(value, set | frozenset):
        return sorted(map(plain, value), key=str)
    if hasattr(value, "tolist"):  # an array or a number of numpy, which not every command needs
        return plain(value.tolist())
    if names := _field_names(value):
        return {name: plain(getattr(value, name)) for name in names}
    return [plain(one) for one in value] if isinstance(value, Collection) else _text(str(value))


def _key(name: Any) -> str:
    found = plain(name)
    return found if isinstance(found, str) else str(found)


def _field_names(value: Any) -> tuple[str, ...]:
    """The fields of a dataclass, pydantic model or msgspec struct; empty for other types."""
    if is_dataclass(value):
        return tuple(field.name for field in fields(value))
    named: Any = getattr(type(value), "model_fields", None) or getattr(value, "__struct_fields__", ())
    return tuple(named)
