"""Reads series from Prometheus's text format, and quantiles from the buckets of a histogram. Pure."""

import math
import re
from collections.abc import Callable, Mapping, Sequence

_LINE = re.compile(r"^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? ([0-9.eE+-]+|NaN|[+-]Inf)(?: \d+)?$", re.MULTILINE)
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')

Sample = tuple[dict[str, str], float]


def parse_series(text: str, wanted: Callable[[str], bool]) -> dict[str, list[Sample]]:
    """The samples of each wanted series by its name; values that are no numbers are left out."""
    found: dict[str, list[Sample]] = {}
    for name, labels, value in _LINE.findall(text):
        if wanted(name) and math.isfinite(number := float(value)):
            found.setdefault(name, []).append((dict(_LABEL.findall(labels)), number))
    return found


def total(samples: Sequence[Sample], **labels: str) -> float:
    """The sum of the samples with these labels."""
    return sum(value for given, value in samples if labels.items() <= given.items())


def quantile(series: Mapping[str, Sequence[Sample]], name: str, at: float, **labels: str) -> float | None:
    """The upper bound of the bucket that holds the quantile `at` (0 to 1) of a histogram; None when it is empty."""
    counts: dict[float, float] = {}
    for given, value in series.get(f"{name}_bucket", ()):
        if labels.items() <= given.items() and "le" in given:
            bound = math.inf if given["le"] == "+Inf" else float(given["le"])
            counts[bound] = counts.get(bound, 0.0) + value
    whole = max(counts.values(), default=0.0)
    if not whole:
        return None
    return next(bound for bound, count in sorted(counts.items()) if count >= at * whole)
