"""Table views of `index`."""

from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from lightragctl.cli.operations.views import shown
from lightragctl.cli.tables import Data, View, table

_MIB = 1024 * 1024


def _list(data: Data) -> Iterator[RenderableType]:
    yield Text(f"indexes of release {data['release']} on {data['server']}", style="bold")
    if not data["indexes"]:
        yield Text("there are no collections")
        return
    rows: list[list[RenderableType]] = [
        [
            one["name"],
            one["owner"],
            "yes" if one["live"] else "",
            _count(one["rows"]),
            _index(one),
            _segments(one),
            _memory(one["memory_bytes"]),
            _loaded(one),
        ]
        for one in data["indexes"]
    ]
    yield table(["COLLECTION", "OWNER", "LIVE", "ROWS", "INDEX", "SEGMENTS", "MEMORY", "LOADED"], rows)


def _show(data: Data) -> Iterator[RenderableType]:
    yield Text(data["name"], style="bold")
    about = {
        "aliases": ", ".join(data["aliases"]) or "-",
        "owner": f"{data['owner']}{', served' if data['live'] else ''}",
        "workspace": f"{data['workspace']} ({data['kind']})" if data["workspace"] else "-",
        "rows": _count(data["rows"]),
        "index": f"{_index(data)}, {data['dimension']} dimensions",
        "built": f"{_count(data['indexed_rows'])} rows indexed, {_count(data['pending_rows'])} pending, "
        f"{data['index_state'] or 'state not reported'}",
        "segments": _segments(data),
        "memory": f"{_memory(data['memory_bytes'])} for one replica, estimated",
        "loaded": _loaded(data) or "no",
    }
    if data["failure"]:
        about["failure"] = data["failure"]
    yield table(["", ""], [[name, value] for name, value in about.items()])


def _changed(data: Data) -> Iterator[RenderableType]:
    rows: list[list[RenderableType]] = [
        [one["name"], _action(one["action"], data["dry_run"]), _difference(one), one["note"]]
        for one in data["collections"]
    ]
    yield table(["COLLECTION", "", "SEGMENTS", "NOTE"], rows)


def _rebuild(data: Data) -> Iterator[RenderableType]:
    if "before" not in data:
        yield from shown(data)
        return
    rows: list[list[RenderableType]] = [[name, _spec(data[name])] for name in ("before", "after")]
    yield Text(data["collection"], style="bold")
    yield table(["", "INDEX"], rows)


def _spec(index: Data) -> str:
    return _index({**index, "parameters": index["build"]})


def _lifecycle(data: Data) -> Iterator[RenderableType]:
    if data["actions"]:
        rows: list[list[RenderableType]] = [
            [one["kind"], one["collection"], one["rule"], one["reason"], one["outcome"], one["note"]]
            for one in data["actions"]
        ]
        yield table(["ACTION", "COLLECTION", "RULE", "REASON", "", "NOTE"], rows)
    else:
        yield Text(f"the rules ask for nothing in release {data['release']}")
    for note in data["notes"]:
        yield Text(note)


def _action(action: str, dry_run: bool) -> str:
    return f"would be {action}" if dry_run and action != "unchanged" else action


def _difference(one: Data) -> str:
    if one["segments_before"] is None:
        return "-"
    after = one["segments_after"]
    return str(one["segments_before"]) if after is None else f"{one['segments_before']} -> {after}"


def _index(one: Data) -> str:
    if not one["index_type"]:
        return "none"
    built = " ".join(f"{name}={value}" for name, value in sorted(one["parameters"].items()))
    return " ".join(word for word in (one["index_type"], one["metric"], built) if word)


def _segments(one: Data) -> str:
    if one["segments"] is None:
        return "not reported"
    return f"{one['segments']} ({one['small_segments']} small)" if one["small_segments"] else str(one["segments"])


def _loaded(one: Data) -> str:
    words = ["yes"] if one["loaded"] else []
    return ", ".join(words + (["mmap"] if one["mmap"] else []))


def _count(value: Any) -> str:
    return "-" if value is None else str(value)


def _memory(size_bytes: int | None) -> str:
    return "unknown" if size_bytes is None else f"{size_bytes / _MIB:.1f} MiB"


VIEWS: Mapping[str, View] = {
    "index list": _list,
    "index show": _show,
    "index rebuild": _rebuild,
    "index lifecycle": _lifecycle,
    "index compact": _changed,
    "index load": _changed,
    "index release": _changed,
}
