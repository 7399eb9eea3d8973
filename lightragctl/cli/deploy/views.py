"""Table views of the commands that deploy and inspect a release."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from rich.console import RenderableType
from rich.text import Text

from lightragctl.cli.tables import Data, View, excerpt, table
from lightragctl.core.runtime import ForeignField

_STATE_STYLE = {"ready": "green", "starting": "yellow", "backing off": "red", "not ready": "red", "stopped": "dim"}


_CAUSE_CHARS = 120


def _release(data: Data) -> Iterator[RenderableType]:
    on_cluster = any(part["replicas"] is not None for part in data["components"])
    rows = [
        [
            part["name"],
            Text(part["state"], style=_STATE_STYLE.get(part["state"], "")),
            part["endpoint"],
            *([part["replicas"] or "-"] if on_cluster else ["-" if part["pid"] is None else str(part["pid"])]),
            str(part["restarts"]),
            *([] if on_cluster else ["-" if part["uptime_s"] is None else _duration(part["uptime_s"])]),
            part["message"],
        ]
        for part in data["components"]
    ]
    headings = ["PODS", "RESTARTS"] if on_cluster else ["PID", "RESTARTS", "UP"]
    number = "" if data["revision"] is None else f"revision {data['revision']}, "
    where = f"{number}profile {data['profile']}, {data['runtime']}"
    yield Text(f"release {data['release']} ({where}), data in {data['data']}")
    yield table(["COMPONENT", "STATE", "ENDPOINT", *headings, ""], rows)
    if data.get("backup"):
        yield _backup(data["backup"])
    yield from _fields("drift (changed by other field managers)", data["drift"])
    yield from (Text(f"warning: {one}", style="yellow") for one in data["warnings"])


def _backup(one: Data) -> Text:
    """The newest good backup, or that none can be seen."""
    found = f"{one['id']}, {_duration(one['age_s'])} old" if one["id"] else "none"
    seen = f"; {one['destination']} cannot be read from here: {one['problem']}" if one["problem"] else ""
    return Text(f"newest backup: {found}{seen}", style="" if one["id"] else "yellow")


def _fields(title: str, fields: Sequence[Data]) -> Iterator[RenderableType]:
    """Fields that other field managers own, a line each."""
    if fields:
        yield Text(f"{title}:", style="yellow")
        yield from (Text(f"  {ForeignField(**one)}") for one in fields)


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f}s"
    minutes = int(seconds // 60)
    return f"{minutes}m" if minutes < 120 else f"{minutes // 60}h"


def _up(data: Data) -> Iterator[RenderableType]:
    if "changes" in data:
        yield from _diff(data)
        return
    yield from _release(data)
    yield Text(f"changed: {_changed(data['changed'])}" if data["changed"] else "unchanged")
    if data["search_ms"] is not None:
        yield Text(f"search probe answered in {data['search_ms']:.0f} ms")


def _changed(changed: Sequence[str]) -> str:
    """A summary of changes that were listed before: objects by count, processes by name."""
    counts = Counter(one.rpartition(" ")[2] for one in changed if "/" in one)
    processes = [one for one in changed if "/" not in one]
    objects = [f"{count} {'object' if count == 1 else 'objects'} {action}" for action, count in counts.items()]
    return ", ".join(objects + processes)


_ACTION_STYLE = {"created": "green", "configured": "yellow", "replaced": "red", "deleted": "red"}


_LINE_STYLE = {"+": "green", "-": "red", "@": "cyan"}


def _diff(data: Data) -> Iterator[RenderableType]:
    """Each change with its diff, then the number of changes of each kind."""
    differing = [one for one in data["changes"] if one["action"] != "unchanged"]
    for one in differing:
        head = Text(f"{one['action']} ", style=_ACTION_STYLE[one["action"]])
        head.append(one["subject"], style="bold")
        yield head.append(f"  ({one['note']})" if one["note"] else "", style="dim")
        if one["action"] in ("configured", "replaced"):
            yield from (Text(line, style=_LINE_STYLE.get(line[:1], "")) for line in one["text"].splitlines()[2:])
    yield from _fields(
        "conflicts (fields that other managers own; --force-conflicts takes them over)", data["conflicts"]
    )
    taken = {(one["subject"], one["path"]) for one in data["conflicts"]}
    left = [one for one in data["drift"] if (one["subject"], one["path"]) not in taken]
    yield from _fields("drift (changed by other field managers)", left)
    yield from (Text(f"warning: {one}", style="yellow") for one in data["warnings"])
    yield Text(f"release {data['release']}, {data['where']}: {counts(data)}")


def counts(data: Data) -> str:
    """The number of changes of each kind, as text."""
    found = Counter(one["action"] for one in data["changes"])
    always = ("created", "configured", "deleted", "unchanged")
    return ", ".join(f"{found[action]} {action}" for action in _ACTIONS if found[action] or action in always)


_ACTIONS = ("created", "configured", "replaced", "deleted", "unchanged")


def _history(data: Data) -> Iterator[RenderableType]:
    if "revision" in data:
        yield from _one_revision(data["revision"])
        return
    rows = [row for one in data["revisions"] for row in _revision_rows(one)]
    yield table(["REVISION", "TIME (UTC)", "USER", "STATUS", "PROFILE", "DESCRIPTION"], rows)


def _revision_rows(one: Data) -> Iterator[list[str | Text]]:
    """A row for the revision, after one for the `down` that stopped it."""
    if one["stopped_at"]:
        yield ["-", _shown_time(one["stopped_at"]), one["stopped_by"], Text("stopped", style="dim"), "", "down"]
    yield [
        str(one["number"]),
        _shown_time(one["started_at"]),
        one["user"],
        Text(one["outcome"], style=_OUTCOME_STYLE.get(one["outcome"], "")),
        one["profile"],
        one["description"] + (f"; {excerpt(one['cause'], _CAUSE_CHARS)}" if one["cause"] else ""),
    ]


def _shown_time(time: str) -> str:
    return time.replace("T", " ").removesuffix("Z")


_OUTCOME_STYLE = {"applied": "green", "failed": "red", "interrupted": "red", "superseded": "dim"}


def _one_revision(one: Data) -> Iterator[RenderableType]:
    yield Text(f"revision {one['number']}: {one['outcome']}", style="bold")
    yield Text(f"{one['started_at']} by {one['user']} with lightragctl {one['version']}, profile {one['profile']}")
    yield Text(one["description"])
    if one["cause"]:
        yield Text(f"failed: {one['cause']}", style="red")
    yield table(["WORKLOAD", "IMAGES"], [[name, ", ".join(images)] for name, images in one["images"].items()])
    names = [f"{thing['kind']}/{thing['metadata']['name']}" for thing in one["objects"]]
    yield Text(f"{len(names)} objects: {', '.join(names)}")


def _unlock(data: Data) -> Iterator[RenderableType]:
    if not data["holder"]:
        yield Text(f"release {data['release']} is not locked")
        return
    held = f"held since {data['acquired_at']}, last renewed {data['renewed_ago_s']:.0f} s ago"
    yield Text(f"released the lock of release {data['release']}: {data['holder']} ({data['command']}), {held}")


def _down(data: Data) -> Iterator[RenderableType]:
    release = data["release"]
    if not data["stopped"] and not data["purged"]:
        yield Text(f"release {release} was not running")
    elif data["purged"]:
        yield Text(f"release {release} is stopped and its data is deleted")
    else:
        yield Text(f"release {release} is stopped; its data is kept in {data['kept']}")


def _render(data: Data) -> Iterator[RenderableType]:
    yield from (Text(path) for path in data["files"])


VIEWS: Mapping[str, View] = {
    "up": _up,
    "rollback": _up,
    "history": _history,
    "unlock": _unlock,
    "diff": _diff,
    "status": _release,
    "down": _down,
    "render": _render,
}
