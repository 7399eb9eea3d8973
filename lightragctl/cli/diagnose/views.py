"""What a person reads of `diagnose`: root causes first, each with its evidence and the next command."""

from collections.abc import Iterator, Mapping, Sequence

from rich.console import RenderableType
from rich.text import Text

from lightragctl.cli.tables import Data, View, table

_STYLE = {"error": "red", "warning": "yellow"}
_STATE = {"ok": "green", "failed": "red", "degraded": "yellow", "unknown": "dim"}


def _diagnosed(data: Data) -> Iterator[RenderableType]:
    if data["path"]:
        yield Text("path of a search: ").append_text(_path(data))
    for one in data["findings"]:
        yield from _finding(one)
    yield from _below(data)


def _path(data: Data) -> Text:
    shown = Text("client")
    for hop in data["path"]:
        took = "" if hop["took_ms"] is None else f" {hop['took_ms']:.0f} ms"
        code = f" {hop['code']}" if hop["code"] else ""
        shown.append(" > ").append(f"{hop['component']} {hop['state']}{took}{code}", style=_STATE.get(hop["state"], ""))
    return shown


def _finding(one: Data) -> Iterator[RenderableType]:
    yield Text()
    head = Text(f"{one['severity']} {one['code']} ", style=_STYLE.get(one["severity"], ""))
    yield head.append(f"{one['subject']}: ", style="bold").append(one["message"])
    for line in one["evidence"]:
        yield Text(f"    evidence: {line}", style="dim")
    if one["hint"]:
        yield Text(f"    fix: {one['hint']}")
    for below in one["consequences"]:
        yield Text(f"    explains {below['code']} {below['subject']}: {below['message']}", style="dim")


def _below(data: Data) -> Iterator[RenderableType]:
    yield Text()
    for one in data["suppressed"]:
        yield Text(f"accepted until {one['until']}: {one['code']} {one['subject']} ({one['reason']})", style="dim")
    if data["unseen"]:
        yield Text(f"not checked: {len(data['unseen'])} checks, because these facts are missing:", style="yellow")
        yield from _reasons(data["unseen"])
    took = f" in {data['took_s']:.1f} s" if data["took_s"] else ""
    found = "nothing found; " if not data["findings"] else ""
    yield Text(f"{found}{data['judged']} checks judged{took}")


def _reasons(unseen: Sequence[Data]) -> Iterator[RenderableType]:
    """Each reason once, with the facts that are missing for it and the number of checks that need one of them."""
    facts: dict[str, set[str]] = {}
    codes: dict[str, set[str]] = {}
    for one in unseen:
        for each in one["reasons"]:
            name, _, reason = each.partition(": ")
            facts.setdefault(reason, set()).add(name)
            codes.setdefault(reason, set()).add(one["code"])
    for reason in sorted(facts, key=lambda each: (-len(codes[each]), each)):
        yield Text(f"    {', '.join(sorted(facts[reason]))}: {reason} ({len(codes[reason])} checks)")


def _listed(data: Data) -> Iterator[RenderableType]:
    rows = [[one["code"], one["category"], one["severity"], one["title"]] for one in data["checks"]]
    yield table(["CODE", "CATEGORY", "SEVERITY", "CONDITION"], rows)


def _explained(data: Data) -> Iterator[RenderableType]:
    one = data["check"]
    yield Text(f"{one['code']}: {one['title']} ({one['category']}, {one['severity']})", style="bold")
    for name, about in one["needs"].items():
        yield Text(f"    reads {name}: {about}")
    if one["symptoms"]:
        yield Text(f"    symptoms: {', '.join(one['symptoms'])}")
    if one["explains"]:
        yield Text(f"    explains: {', '.join(one['explains'])}")
    yield Text(f"    fix: {one['fix']}")
    yield Text(f"    see: {one['docs']}")


def _bundled(data: Data) -> Iterator[RenderableType]:
    yield Text(f"{data['file']}: {data['size_bytes']} bytes, {len(data['facts'])} facts of release {data['release']}")
    yield Text("it contains no documents, questions, environment values or Secrets; review it before you share it")


def _profiled(data: Data) -> Iterator[RenderableType]:
    if data.get("stacks"):
        yield Text(data["stacks"].rstrip("\n"))
        return
    who = f"{data['target']} process {data['pid']}" if data["pid"] else data["target"]
    if data.get("file"):
        yield Text(f"{data['file']}: {data['format']} of {who} by {data['tool']}, {data['size_bytes']} bytes")
        if data["file"].endswith(".pb.gz"):
            yield Text(f"show it: go tool pprof -http=: {data['file']}")
        return
    yield Text(
        f"would make a {data['format']} of {who} ({data['language']}) by {data['tool']}, access: {data['access']}"
    )
    for one in data["rights"]:
        yield Text(f"    needs: {one}")
    for one in data["changes"]:
        yield Text(f"    effect: {one}")
    if data["note"]:
        yield Text(f"    note: {data['note']}", style="yellow")


VIEWS: Mapping[str, View] = {
    "diagnose run": _diagnosed,
    "diagnose list": _listed,
    "diagnose explain": _explained,
    "diagnose bundle": _bundled,
    "diagnose profiler": _profiled,
}
