"""Deletes data that closed operations kept."""

from collections.abc import Sequence

from lightragctl.cli.operations import payloads
from lightragctl.cli.operations.driving import Operator
from lightragctl.core.result import Result
from lightragctl.operations.control import clean_up, kept_data
from lightragctl.operations.job import stop_idle_jobs
from lightragctl.operations.model import KeptData


def clean_expired(works: Operator) -> list[KeptData]:
    """Delete kept data that have expired, and return them; also Jobs that have nothing to drive any more."""
    if works.place.scope is not None:
        stop_idle_jobs(works.place.scope, works.place.store.records())
    return _delete(works, [one for one in kept_data(works.place, works.clock.now()) if one.is_expired])


def clean(works: Operator, operation_id: str | None, everything: bool, dry_run: bool) -> Result:
    """Delete what is chosen after a confirmation; what would be deleted with `dry_run`."""
    session = works.session
    if operation_id is not None:
        works.place.store.read(operation_id)  # refuses one that is not there
    chosen = [
        one
        for one in kept_data(works.place, works.clock.now())
        if (one.operation.id == operation_id if operation_id else everything or one.is_expired)
    ]
    if dry_run or not chosen:
        return payloads.cleaned(session.release.name, chosen, [], dry_run)
    names = ", ".join(f"{one.kept.about} ({one.kept.name})" for one in chosen)
    session.confirm(f"Delete {names}?")
    return payloads.cleaned(session.release.name, chosen, _delete(works, chosen), dry_run)


def _delete(works: Operator, chosen: Sequence[KeptData]) -> list[KeptData]:
    with works.session.out.live() as notify:
        return clean_up(works.place, chosen, works.crew(notify))
