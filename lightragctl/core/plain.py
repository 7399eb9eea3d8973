"""Payloads as plain data: what JSON and YAML both know, and write alike. Pure."""

import math
from collections.abc import Collection, Mapping
from dataclasses import fields, is_dataclass
from datetime import date
from decimal import Decimal
from enum import Enum
from numbers import Integral
from typing import Any


def plain(value: Any) -> Any:
    """The value as None, truth values, numbers, texts, lists and mappings with texts for keys.

    A number that is none (NaN, infinite) becomes None, as JSON has no word for it; half a surrogate pair, which stands
    for a byte that is no UTF-8, its escape; a set a sorted list; anything else that is unknown its text.
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
    """Of what holds others."""
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
    """Of a dataclass, of a model of pydantic, of a struct of msgspec; none of anything else."""
    if is_dataclass(value):
        return tuple(field.name for field in fields(value))
    named: Any = getattr(type(value), "model_fields", None) or getattr(value, "__struct_fields__", ())
    return tuple(named)
