"""Kubernetes quantities to numbers and back; core does not import the kubernetes client. Pure."""

import re
from decimal import Decimal

_SCALE = {
    "": Decimal(1),
    "n": Decimal("1e-9"),
    "u": Decimal("1e-6"),
    "m": Decimal("1e-3"),
    **{unit: Decimal(1000) ** power for power, unit in enumerate(("k", "M", "G", "T", "P", "E"), 1)},
    **{unit: Decimal(1024) ** power for power, unit in enumerate(("Ki", "Mi", "Gi", "Ti", "Pi", "Ei"), 1)},
}
_QUANTITY = re.compile(r"([+-]?[0-9.]+(?:[eE][+-]?[0-9]+)?)([a-zA-Z]{0,2})")


def quantity(text: str | int | float) -> Decimal:
    """A Kubernetes quantity, `500m` or `1Gi`, as a number of cores, bytes or pieces.

    Raises:
        ValueError: `text` is not a quantity.
    """
    match = _QUANTITY.fullmatch(str(text).strip())
    if match is None or match[2] not in _SCALE:
        raise ValueError(f"'{text}' is not a Kubernetes quantity")
    return Decimal(match[1]) * _SCALE[match[2]]


def words(amount: Decimal, resource: str) -> str:
    """A resource amount as text: bytes in Gi or Mi, cores below one in m."""
    if "memory" in resource or "storage" in resource:
        for unit in ("Gi", "Mi", "Ki"):
            if amount >= _SCALE[unit]:
                return f"{_short(amount / _SCALE[unit])}{unit}"
    elif "cpu" in resource and amount < 1:
        return f"{_short(amount * 1000)}m"
    return _short(amount)


def _short(number: Decimal) -> str:
    return f"{round(number, 2):f}".rstrip("0").rstrip(".") if number % 1 else str(int(number))
