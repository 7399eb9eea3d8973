"""Metrics of runs as table rows: a row per metric, a column per run. Pure.

They are read from runs as `-o json` shows them, so that a terminal and a page show the same.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from lightragctl.bench.bad_answers import Example, words
from lightragctl.bench.report.scale import figure
from lightragctl.bench.result import PERCENTILES, bad_share, fewest

Plain: TypeAlias = Mapping[str, Any]

MISSING = "-"


def shown_ms(times: Plain | None, name: str) -> float | None:
    """A percentile, or the `max`; None with too few times."""
    needed = fewest(PERCENTILES[name]) if name in PERCENTILES else 1
    return times[f"{name.replace('.', '')}_ms"] if times and times["count"] >= needed else None


def _times(what: str, name: str) -> Callable[[Plain], str]:
    def text(run: Plain) -> str:
        found = shown_ms(run[what], name)
        return MISSING if found is None else figure(found)

    return text


def _share(name: str) -> Callable[[Plain], str]:
    """A figure of quality with its interval; runs from before it was measured have none."""

    def text(run: Plain) -> str:
        found = (run.get("quality") or {}).get(name)
        return f"{found['mean']:.3f} ({found['low']:.3f} to {found['high']:.3f})" if found else MISSING

    return text


def _failed(run: Plain) -> str:
    requests = run["requests"]
    return f"{bad_share(requests, run['outcomes'].get('ok', 0)):.2%}" if requests else MISSING


_FIGURES: Mapping[str, Callable[[Plain], str]] = {
    "valid": lambda run: "yes" if run["verdict"]["valid"] else "no",
    "requests": lambda run: f"{run['requests']:,}",
    "failed": _failed,
    "good answers/s": lambda run: f"{run['good_per_s']:,.1f}",
    "latency p50, ms": _times("latency", "p50"),
    "latency p90, ms": _times("latency", "p90"),
    "latency p95, ms": _times("latency", "p95"),
    "latency p99, ms": _times("latency", "p99"),
    "latency p99.9, ms": _times("latency", "p99.9"),
    "latency max, ms": _times("latency", "max"),
    "service p50, ms": _times("service", "p50"),
    "service p99, ms": _times("service", "p99"),
    "first token p50, ms": _times("first_token", "p50"),
    "first token p99, ms": _times("first_token", "p99"),
    "recall": _share("recall"),
    "ndcg": _share("ndcg"),
    "relevant recall": _share("relevant_recall"),
    "mrr": _share("mrr"),
    "map": _share("map"),
}


def rows(runs: Sequence[Plain]) -> list[tuple[str, list[str]]]:
    """Name and texts of each figure that at least one run has."""
    table = [(name, [text(run) for run in runs]) for name, text in _FIGURES.items()]
    return [(name, texts) for name, texts in table if set(texts) != {MISSING}]


def headline(run: Plain) -> str:
    """The target and the load shape."""
    shape = run["shape"]
    asked = {
        "closed": f"{run['connections']} connections",
        "constant": f"constant {shape.get('rate_qps', 0):g}/s",
        "poisson": f"poisson {shape.get('rate_qps', 0):g}/s",
        "ramp": f"ramp {shape.get('from_qps', 0):g} to {shape.get('to_qps', 0):g}/s",
        "replay": "replay",
    }
    return f"{run['kind']} at {run['url']}, {asked[shape['type']]}, {run['duration_s']:.0f} s"


def bad_answers(run: Plain) -> list[str]:
    """The first answer of each outcome that was not good; runs from before they were kept have none."""
    return [words(Example(**one)) for one in run.get("bad_answers", ())]


def outcomes(run: Plain) -> str:
    """How the requests ended."""
    ends = ", ".join(f"{name} {count}" for name, count in sorted(run["outcomes"].items()))
    statuses = ", ".join(f"{count} with {status}" for status, count in run["statuses"].items())
    return f"{run['requests']} requests: {ends}{f' ({statuses})' if statuses else ''}"
