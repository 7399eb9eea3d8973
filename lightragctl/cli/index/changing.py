"""How the commands of `index` change collections: not beside an operation, and served ones only when confirmed."""

from collections.abc import Sequence
from dataclasses import dataclass

from lightragctl.cli.index import payloads
from lightragctl.cli.operations.driving import operator
from lightragctl.cli.options import Session
from lightragctl.core.operation import open_operation
from lightragctl.core.result import Notify, Result
from lightragctl.index.place import Act, Changed, IndexPlace, open_indexes, reload_note
from lightragctl.index.state import IndexState

__all__ = ["Changed", "IndexPlace", "IndexState", "Notify", "Request", "change"]


@dataclass(frozen=True)
class Request:
    """The options of a command; `action` is what becomes of the collections, such as `released`."""

    names: Sequence[str]
    action: str
    timeout_s: float
    dry_run: bool


def change(session: Session, request: Request, act: Act) -> Result:
    """Change the named collections one after the other; with `dry_run`, what would be changed.

    Raises:
        LockedError: an operation of the release is open.
        UsageError: a collection does not exist.
    """
    refuse_open_operation(session)
    with open_indexes(session.release, request.timeout_s) as place, session.out.live() as notify:
        found = place.chosen(request.names)
        if request.action == "compacted":
            place.store.refuse_lite("compaction on request: it merges its files by itself")
        if request.dry_run:
            return payloads.index_change(
                payloads.Changer(session.command), [_planned(one, request.action) for one in found], True
            )
        served = [one for one in found if one.role.live and one.loaded]
        if request.action == "released" and served:
            names = ", ".join(one.name for one in served)
            session.confirm(f"Release {names}? Queries wait or get 503 until it is loaded again.")
        return payloads.index_change(
            payloads.Changer(session.command), [act(place, one, notify) for one in found], False
        )


def refuse_open_operation(session: Session) -> None:
    """Stop while an operation of the release is open: it loads and releases collections itself.

    Raises:
        LockedError: names it.
    """
    for record in operator(session).place.store.records():
        if record.is_open:
            raise open_operation(record.id, str(record.phase))


def _planned(one: IndexState, action: str) -> Changed:
    if action == "released":
        return Changed(one.name, action, reload_note(one)) if one.loaded else Changed(one.name, "unchanged")
    if action == "loaded":
        return Changed(one.name, "unchanged" if one.loaded else action)
    note = "" if one.small_segments is None else f"{one.small_segments} of {one.segments} segments are small"
    return Changed(one.name, action, note, one.segments)
