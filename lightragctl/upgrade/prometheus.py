"""Asks the Prometheus that the profile names for the values of gates. Network I/O."""

import math
import re
from collections.abc import Sequence
from typing import Any

import httpx

_TIMEOUT_S = 10.0
_PODS = "$pods"


def filled(query: str, pods: Sequence[str]) -> str:
    """The query with a pattern of the names of pods in place of `$pods`."""
    return query.replace(_PODS, "|".join(re.escape(one).replace("\\-", "-") for one in sorted(pods)))


def ask(url: str, query: str, transport: httpx.BaseTransport | None = None) -> float | None:
    """The value of an instant query; None when there is none, more than one, no number, or no answer.

    Args:
        url: of Prometheus, without /api.
        query: PromQL that gives a scalar or one series.
        transport: an httpx transport, for tests.
    """
    try:
        with httpx.Client(transport=transport, timeout=_TIMEOUT_S, trust_env=False) as client:
            answer = client.get(f"{url.rstrip('/')}/api/v1/query", params={"query": query})
        data = answer.json()["data"] if answer.is_success else {}
        return _value(data)
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, KeyError, TypeError, IndexError):
        return None


def _value(data: dict[str, Any]) -> float | None:
    found: Any = data.get("result")
    match data.get("resultType"):
        case "scalar":
            value = float(found[1])
        case "vector" if len(found) == 1:
            value = float(found[0]["value"][1])
        case _:
            return None
    return value if math.isfinite(value) else None
