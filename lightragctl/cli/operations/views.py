"""What a person reads of each `operations` command's payload."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from lightragctl.cli.operations.payloads import Shower
from lightragctl.cli.tables import Data, View, excerpt, table

_STYLES = {"succeeded": "green", "done": "green", "failed": "red", "needs attention": "red", "stuck": "red"}
_CAUSE_CHARS = 100
_MIB = 1024 * 1024


def _list(data: Data) -> Iterator[RenderableType]:
    if not data["operations"]:
        yield Text(f"release {data['release']} has no operations")
    else:
        rows = [
            [
                one["id"],
                _styled(one["phase"]),
                one["workspace"] or "-",
                one["who"],
                _time(one["created_at"]),
                _time(one["ended_at"]),
                excerpt(one["cause"], _CAUSE_CHARS),
            ]
            for one in data["operations"]
        ]
        yield table(["ID", "PHASE", "WORKSPACE", "STARTED BY", "STARTED", "ENDED", "CAUSE"], rows)
    yield from _kept("kept data", data["kept"])
    yield from _kept("deleted, as it had expired", data["removed"])


def _kept(title: str, entries: Sequence[Data]) -> Iterator[RenderableType]:
    if entries:
        yield Text(f"\n{title}", style="bold")
        rows: list[list[RenderableType]] = [
            [one["operation"], one["about"], one["name"], _size(one["size_bytes"]), _time(one["expires_at"])]
            for one in entries
        ]
        yield table(["OPERATION", "DATA", "NAME", "SIZE", "EXPIRES"], rows)


def shown(data: Data) -> Iterator[RenderableType]:
    """One operation with its steps."""
    driver = f", driven by {data['driver']}" if data["driver"] else ""
    head = f"{data['id']} of release {data['release']}: "
    yield Text.assemble((head, "bold"), _styled(data["phase"]), driver)
    yield Text(f"started by {data['who']} at {_time(data['created_at'])}, deadline {_time(data['deadline'])} (UTC)")
    if data["cause"] and not _is_error(data):
        yield Text(f"cause: {data['cause']}")
    rows: list[list[RenderableType]] = [
        [one["title"], _styled(_state(one)), "" if one["message"] in data["cause"] else excerpt(one["message"])]
        for one in data["steps"]
    ]
    yield table(["STEP", "STATE", "MESSAGE"], rows)
    if data["progress"] and data["open"]:
        yield Text(f"{data['progress']['step']}: {data['progress']['text']}")
    if problem := data["results"].get("problem"):
        yield Text(f"not ready again: {problem['message']}", style="yellow")
    for one in data["kept"]:
        yield Text(f"kept until {_time(one['expires_at'])}: {one['about']} ({one['name']}, {_size(one['size_bytes'])})")
    if data["next"] and not _is_error(data):
        yield Text(f"next: {data['next']}")


def _is_error(data: Data) -> bool:
    """Whether cause and next command are those of the error that the command ends with."""
    return data["phase"] in ("failed", "needs attention")


def _state(step: Data) -> str:
    """The state of a step; of one that holds something, whether that is held."""
    if not step["holds"]:
        return str(step["state"])
    return {"done": "held", "undoing": "releasing", "undone": "released"}.get(step["state"], str(step["state"]))


def _cleanup(data: Data) -> Iterator[RenderableType]:
    if not data["chosen"]:
        yield Text("nothing to delete")
        return
    told = "would be deleted" if data["dry_run"] else "deleted"
    yield from _kept(told, data["chosen"] if data["dry_run"] else data["deleted"])


def _styled(word: str) -> Text:
    return Text(word, style=_STYLES.get(word, ""))


def _time(value: Any) -> str:
    return value.strftime("%Y-%m-%d %H:%M:%S") if isinstance(value, datetime) else "-"


def _size(size_bytes: float | None) -> str:
    return "size unknown" if size_bytes is None else f"{size_bytes / _MIB:.1f} MiB"


VIEWS: Mapping[str, View] = {
    "operations list": _list,
    **{str(command): shown for command in Shower},
    "operations cleanup": _cleanup,
}
