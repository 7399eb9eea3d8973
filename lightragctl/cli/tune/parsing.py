"""Values of options of `tune`: times and sizes. Pure."""

import re

from lightragctl.core.errors import UsageError
from lightragctl.core.quantity import quantity

_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_TIME = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h)")


def seconds(option: str, text: str) -> float:
    """A time such as `30m`, in seconds.

    Raises:
        UsageError: it is not a time.
    """
    found = _TIME.fullmatch(text.strip())
    value = float(found[1]) * _UNITS_S[found[2]] if found else 0.0
    if value <= 0:
        raise UsageError(f"{option} {text} is not a time", "use a number with ms, s, m or h, such as 20ms or 30m")
    return value


def milliseconds(option: str, text: str | None) -> float | None:
    """A time in milliseconds; None for None.

    Raises:
        UsageError: it is not a time.
    """
    return None if text is None else 1000 * seconds(option, text)


def size_bytes(option: str, text: str | None) -> int | None:
    """A Kubernetes quantity such as `4Gi`, in bytes; None for None.

    Raises:
        UsageError: it is not a quantity.
    """
    if text is None:
        return None
    try:
        value = int(quantity(text))
    except ValueError as error:
        raise UsageError(f"{option}: {error}", "use a number with Ki, Mi or Gi, such as 4Gi") from error
    if value <= 0:
        raise UsageError(f"{option} {text} is not positive", "use a number with Ki, Mi or Gi, such as 4Gi")
    return value
