"""What a supervisor should do next, given what is wanted and what is. Pure."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from lightragctl.local.files import Record, WantedProcess

BACKOFF_FIRST_S = 0.5
BACKOFF_MOST_S = 30.0
STEADY_S = 60.0
"""A process that lived this long is well again: its next death starts the back-off from the beginning."""


@dataclass(frozen=True)
class Start:
    """Start the process now."""

    process: WantedProcess


@dataclass(frozen=True)
class Stop:
    """Stop the process: it is no longer wanted, or wanted with another digest."""

    name: str
    grace_s: float


def decide(
    wanted: Sequence[WantedProcess],
    records: Mapping[str, Record],
    alive: frozenset[str],
    now: float,
    held: Collection[str] = (),
) -> list[Start | Stop]:
    """The actions that bring what is nearer to what is wanted; stops come first, in reverse order of starting.

    Args:
        held: names of processes that are kept stopped.
    """
    by_name = {process.name: process for process in wanted}
    stops = [
        Stop(name, by_name[name].stop_grace_s if name in by_name else 10.0)
        for name in reversed(list(records))
        if name in alive and (name in held or name not in by_name or records[name].digest != by_name[name].digest)
    ]
    free = [process for process in wanted if process.name not in held]
    starts = [Start(process) for process in free if process.name not in alive and _is_due(process, records, now)]
    return [*stops, *starts]


def obsolete(wanted: Sequence[WantedProcess], records: Mapping[str, Record], alive: frozenset[str]) -> frozenset[str]:
    """The names of dead processes that are no longer wanted: their records have served."""
    return frozenset(records) - alive - {process.name for process in wanted}


def _is_due(process: WantedProcess, records: Mapping[str, Record], now: float) -> bool:
    """Whether the back-off is over. A clock that was set back delays a start by no more than the longest back-off."""
    record = records.get(process.name)
    if record is None or record.digest != process.digest:
        return True
    return not 0.0 < record.next_start_at - now <= BACKOFF_MOST_S


def renewed(record: Record, request: str) -> Record:
    """The record as a new `up` leaves it: earlier deaths count no more, and there is no back-off left of them."""
    if record.request == request:
        return record
    return record.model_copy(update={"request": request, "failures": 0, "next_start_at": 0.0})


def after_death(record: Record, last_exit: str, now: float) -> Record:
    """The record of a process that has just been found dead, with the time of its next start."""
    failures = 1 if now - record.started_at >= STEADY_S else record.failures + 1
    return record.model_copy(
        update={
            "process": None,
            "failures": failures,
            "next_start_at": now + backoff_s(failures),
            "last_exit": last_exit,
        }
    )


def backoff_s(failures: int) -> float:
    """How long to wait before the next start after so many deaths in a row: doubling, with an upper bound."""
    return min(BACKOFF_FIRST_S * 2.0 ** min(failures - 1, 10), BACKOFF_MOST_S)
