"""Table views of `tune`."""

from collections.abc import Iterator, Mapping
from decimal import Decimal

from rich.console import RenderableType
from rich.text import Text

from lightragctl.cli.tables import Data, View, excerpt, table
from lightragctl.core.quantity import words

_REASON_CHARS = 90


def _search(data: Data) -> Iterator[RenderableType]:
    origins = ", ".join(f"{count} {name}" for name, count in data["queries"].items())
    yield Text(f"{data['collection']}: {data['measured_rows']:,} rows, {origins} queries", style="bold")
    pick = data["pick"]
    rows = [
        [
            "*" if pick and (one["name"], one["index"]) == (pick["name"], pick["index"]) else "",
            one["name"],
            _shown(one["index"]["search"]),
            f"{one['recall']:.3f}",
            f"{one['interval'][0]:.3f} to {one['interval'][1]:.3f}",
            f"{one['p95_ms']:.1f}",
            f"{one['queries_per_s']:.0f}",
            _bytes(one["size_bytes"]),
            f"{one['build_s']:.1f}",
        ]
        for one in data["frontier"]
    ]
    recall = f"RECALL@{data['targets']['k']}"
    yield table(["", "INDEX", "SEARCH", recall, "95 % CI", "P95 MS", "QUERIES/S", "MEMORY", "BUILD S"], rows)
    if pick is None:
        yield Text(f"no pick: {data['reason']}")
    else:
        verb = "keep what you have" if data["keep"] else "pick"
        yield Text(f"{verb}: {pick['name']} {_shown(pick['index']['search'])}: {data['reason']}", style="green")
        grown = ", ".join(f"{_bytes(one['size_bytes'])} at {one['times']}x rows" for one in data["memory"])
        yield Text(f"memory: {grown}")
    if data["lost"]:
        yield Text("why the others lost", style="bold")
        yield table(["INDEX", "REASON"], [[name, excerpt(why, _REASON_CHARS)] for name, why in data["lost"].items()])


def _change(data: Data) -> Iterator[RenderableType]:
    if data.get("reason") is not None:
        yield Text(f"{data['collection']}: unchanged: {data['reason']}")
        return
    verb = "would change" if data["dry_run"] else "changed"
    how = "by a rebuild" if data["rebuild"] else "without a rebuild"
    yield Text(f"{data['collection']}: {verb} {how}", style="bold")
    yield table(["", "INDEX", "SEARCH"], [["before", *_index(data["before"])], ["after", *_index(data["after"])]])
    proof = data.get("proof")
    if proof:
        yield Text(f"verified: {proof['rows']} rows, recall {proof['recall']:.3f}, was {proof['recall_before']:.3f}")
    for name in data.get("kept") or ():
        yield Text(f"kept: {name}")


def _index(index: Data | None) -> list[str]:
    if not index:
        return ["-", "-"]
    build = _shown(index["build"])
    return [" ".join(part for part in (index["index_type"], index["metric"], build) if part), _shown(index["search"])]


def _shown(params: Data) -> str:
    return " ".join(f"{name}={value}" for name, value in params.items()) or "-"


def _bytes(size: int) -> str:
    return words(Decimal(size), "memory")


VIEWS: Mapping[str, View] = {"tune search": _search, "tune apply": _change, "tune undo": _change}
