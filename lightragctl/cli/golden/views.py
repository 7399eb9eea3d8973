"""Table views of `golden`."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime

from rich.console import RenderableType
from rich.text import Text

from lightragctl.cli.tables import Data, View, excerpt, table

_QUERY_CHARS = 70
_ORIGINS = {"row": "stored passages", "recorded": "recorded questions", "file": "questions from a file"}
_VERDICT_STYLE = {"met": "green", "below": "red", "inconclusive": "yellow", "reported": ""}


def _golden(data: Data) -> Iterator[RenderableType]:
    at = datetime.fromtimestamp(data["built_at"], UTC).strftime("%Y-%m-%d %H:%M:%S")
    counts = ", ".join(f"{data['counts'][name]} {words}" for name, words in _ORIGINS.items() if name in data["counts"])
    yield Text(f"golden set {data['version']} of workspace {data['workspace']}, built {at} UTC", style="bold")
    yield Text(f"{sum(data['counts'].values())} queries ({counts}), their {data['k']} nearest by {data['metric']}")
    yield Text(f"exact search over {data['content']['rows']} rows of {data['content']['collection']}")


def _golden_show(data: Data) -> Iterator[RenderableType]:
    yield from _golden(data)
    yield Text(f"stored versions: {', '.join(map(str, data['versions']))}\n")
    rows = [
        [str(one["number"]), one["origin"], excerpt(one["text"], _QUERY_CHARS), one["nearest"][0]]
        for one in data["queries"]
    ]
    yield table(["NUMBER", "ORIGIN", "TEXT", "NEAREST"], rows)


def _golden_check(data: Data) -> Iterator[RenderableType]:
    found = "recomputed over all rows" if data["scanned"] else "those of the set, still current"
    yield Text(f"golden set {data['version']} of workspace {data['workspace']}, correct answers: {found}", style="bold")
    rows: list[list[RenderableType]] = []
    for one in data["figures"]:
        low, high = one["interval"]
        floor = "-" if one["floor"] is None else f"{one['floor']:.2f}"
        verdict = Text(one["verdict"], style=_VERDICT_STYLE[one["verdict"]])
        name, figure = f"{one['name']}@{data['k']}", f"{one['mean']:.3f}"
        rows.append([name, figure, f"{low:.3f} to {high:.3f}", str(one["queries"]), floor, verdict])
    yield table(["METRIC", "MEAN", "95 % CI", "QUERIES", "MINIMUM", ""], rows)
    if not any(one["name"] == "end_to_end" for one in data["figures"]):
        yield Text("the set has no questions, so lightrag-api was not queried: add some with --questions FILE")
    if data["worst"]:
        yield Text("worst queries", style="bold")
        lost = [[*_shares(one), one["origin"], excerpt(one["text"], _QUERY_CHARS)] for one in data["worst"]]
        yield table(["NUMBER", "RECALL", "END TO END", "OVERLAP", "ORIGIN", "TEXT"], lost)


def _shares(one: Data) -> list[str]:
    figures = (one["recall"], one["end_to_end"], one["overlap"])
    return [str(one["number"]), *("-" if value is None else f"{value:.2f}" for value in figures)]


VIEWS: Mapping[str, View] = {
    "golden build": _golden,
    "golden show": _golden_show,
    "golden check": _golden_check,
}
