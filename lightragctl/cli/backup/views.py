"""What a person reads of each `backup` command's payload."""

from collections.abc import Iterator, Mapping

from rich.console import RenderableType
from rich.text import Text

from lightragctl.cli.tables import Data, View, table

_STATE_STYLE = {"complete": "green", "running": "yellow", "incomplete": "yellow", "damaged": "red", "newer": "yellow"}
_MB = 1e6


def _size(size_bytes: int | None) -> str:
    return "-" if size_bytes is None else f"{size_bytes / _MB:.1f} MB"


def _created(data: Data) -> Iterator[RenderableType]:
    if data.get("dry_run"):
        kind = f"changes since {data['parent']}" if data["parent"] else "full"
        files = "files on a volume" if data["files"] is None else f"{data['files']} files"
        yield Text(f"would back up to {data['destination']}: {kind}, {files}", style="bold")
        yield table(["COLLECTION", "ROWS"], [[name, str(rows)] for name, rows in data["rows"].items()])
        return
    if "id" not in data:
        return
    yield Text(f"backup {data['id']} of workspace {data['workspace']} in {data['destination']}", style="bold")
    yield from _summary(data)


def _summary(data: Data) -> Iterator[RenderableType]:
    kind = f"changes since {data['parent']}" if data["parent"] else "full"
    yield Text(f"{kind}, {_size(data['size_bytes'])}{', encrypted' if data['encrypted'] else ''}")
    yield Text(_consistency(data["consistency"]))
    rows = [
        [one["name"], str(one["unique_keys"]), str(one["changed_rows"]), str(one["deleted_rows"])]
        for one in data["collections"]
    ]
    yield table(["COLLECTION", "ROWS", "WRITTEN", "DELETED"], rows)
    if data["file_count"]:
        yield Text(f"{data['file_count']} files, {_size(data['file_bytes'])}")
    if data["table_count"]:
        yield Text(f"{data['table_rows']} rows of {data['table_count']} tables of PostgreSQL")


def _consistency(data: Data) -> str:
    if data["method"] == "stable-scan":
        return f"consistent: passes over all data agreed ({data['passes']} passes, no fence)"
    stopped = f", lightrag-server was stopped for {data['writer_stopped_s']:.0f} s" if data["writer_stopped_s"] else ""
    return f"consistent: writes were blocked from {data['from_time']} to {data['to_time']}{stopped}"


def _shown(data: Data) -> Iterator[RenderableType]:
    yield Text(f"backup {data['id']} of workspace {data['workspace']}, release {data['release']}", style="bold")
    yield Text(f"created by {data['tool']} from {data['server_version']}, finished at {data['finished_at']}")
    yield from _summary(data)
    if data["documents"]:
        yield Text(f"documents: {', '.join(data['documents'])}")
    for recipient in data["recipients"]:
        yield Text(f"readable by {recipient}")


def _listing(data: Data) -> Iterator[RenderableType]:
    if not data["backups"]:
        yield Text(f"there are no backups in {data['destination']}")
        return
    rows: list[list[RenderableType]] = []
    for one in data["backups"]:
        state = Text(one["state"], style=_STATE_STYLE[one["state"]])
        kind = "-" if one["rows"] is None else "incremental" if one["parent"] else "full"
        count = "-" if one["rows"] is None else str(one["rows"])
        rows.append([one["id"], state, one["workspace"] or "-", kind, count, _size(one["size_bytes"])])
    yield table(["ID", "STATE", "WORKSPACE", "KIND", "ROWS", "SIZE"], rows)


def _verified(data: Data) -> Iterator[RenderableType]:
    verdict = Text("damaged", style="red") if data["problems"] else Text("good", style="green")
    yield Text.assemble(f"backup {data['id']}: ", verdict)
    based = f", based on {', '.join(data['backups'][1:])}" if data["backups"][1:] else ""
    read = f"read {data['read_objects']} of {data['object_count']} objects, {_size(data['read_bytes'])}"
    yield Text(f"{read}; compared {data['rows']} rows with their hashes{based}")


def _pruned(data: Data) -> Iterator[RenderableType]:
    if data["keep"]:
        yield table(["KEEP", "BECAUSE"], [[one["id"], ", ".join(one["reasons"])] for one in data["keep"]])
    deleted = set(data["deleted"])
    rows = [
        [
            one["id"],
            "interrupted" if one["incomplete"] else "old",
            _size(one["size_bytes"]),
            _fate(one["id"] in deleted),
        ]
        for one in data["delete"]
    ]
    if rows:
        yield table(["DELETE", "BECAUSE", "SIZE", ""], rows)
    else:
        yield Text("nothing to delete")


def _rekeyed(data: Data) -> Iterator[RenderableType]:
    if not data["rekeyed"]:
        yield Text(f"backup {data['id']} is not encrypted; nothing was changed")
    for id in data["rekeyed"]:
        yield Text(f"backup {id}: its key is encrypted for the recipients of the profile")


def _planned(data: Data) -> Iterator[RenderableType]:
    verb = "verified and deleted" if data["drill"] else "restored"
    yield Text(f"workspace {data['workspace']} would be {verb}: {data['rows']} rows", style="bold")
    if not data["drill"]:
        yield table(["COLLECTION", ""], [[name, "new"] for name in data["collections"]])
        if data["replaced"]:
            yield table(["REPLACED", ""], [[name, "kept for 7 days"] for name in data["replaced"]])
    for loss in data["losses"]:
        yield Text(f"lost: {loss}", style="yellow")
    yield from _secrets(data)


_DONE = {
    "restore": "restored",
    "clone": "created",
    "drill": "not changed; a scratch copy was restored, verified and deleted",
}


def _table_rows(count: int | None) -> str:
    return f", {count} rows of PostgreSQL" if count else ""


def _copied(data: Data) -> Iterator[RenderableType]:
    if data.get("dry_run"):
        yield from _planned(data)
        return
    done = _DONE.get(data["kind"], "") if data["phase"] == "succeeded" else f"{data['kind']} {data['phase']}"
    source = f", from backup {data['backup']}" if data["backup"] else ""
    yield Text(f"workspace {data['workspace']}: {done}{source}", style="bold")
    if data["proof"]:
        proof = data["proof"]
        yield Text(
            f"verified: {proof['rows']} rows by their hashes, {proof['searches']} searches with known answers "
            f"(recall {proof['recall']:.2f}, was {proof['recall_before']:.2f}), "
            f"{proof['entities']} entities of the graph"
            f"{_table_rows(proof.get('table_rows'))}"
        )
    times = [f"{name} {seconds:.1f} s" for name, seconds in data["seconds"].items() if seconds]
    if times:
        yield Text(f"took: {', '.join(times)}")
    if data["writer_stopped_s"]:
        yield Text(f"lightrag-server was stopped for {data['writer_stopped_s']:.0f} s")
    for loss in data["losses"]:
        yield Text(f"lost: {loss}", style="yellow")
    for one in data["kept"]:
        yield Text(f"kept until {one['expires_at']:%Y-%m-%d}: {one['about']}, {_size(one['size_bytes'])}")
    yield from _secrets(data)


def _cloned(data: Data) -> Iterator[RenderableType]:
    if not data.get("dry_run"):
        yield from _copied(data)
        return
    yield Text(f"workspace {data['workspace']} would be created as a copy of {data['source']}")
    yield from (Text(f"would copy {name}: {rows} rows") for name, rows in data["rows"].items())


def _secrets(data: Data) -> Iterator[RenderableType]:
    if data["secrets"]:
        yield Text(f"secrets of the saved release, to be recreated: {', '.join(data['secrets'])}")


def _why(incomplete: bool) -> str:
    return "interrupted" if incomplete else "old"


def _fate(deleted: bool) -> str:
    return "deleted" if deleted else "not deleted"


VIEWS: Mapping[str, View] = {
    "backup create": _created,
    "backup list": _listing,
    "backup show": _shown,
    "backup verify": _verified,
    "backup prune": _pruned,
    "backup rekey": _rekeyed,
    "restore": _copied,
    "clone": _cloned,
}
