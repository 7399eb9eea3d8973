"""Reconciles desired processes with running ones: decides which to start and stop. Pure."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from lightragctl.local.files import DesiredProcess, ProcessRecord

BACKOFF_FIRST_S = 0.5
BACKOFF_MAX_S = 30.0
STEADY_S = 60.0
"""After this uptime a process is stable: its next exit resets the back-off."""


@dataclass(frozen=True)
class Start:
    """Start the process now."""

    process: DesiredProcess


@dataclass(frozen=True)
class Stop:
    """Stop the process: it is no longer wanted, or its digest has changed."""

    name: str
    grace_s: float


def reconcile(
    wanted: Sequence[DesiredProcess],
    records: Mapping[str, ProcessRecord],
    alive: frozenset[str],
    now: float,
    held: Collection[str] = (),
) -> list[Start | Stop]:
    """The actions towards the desired state: stops first, in reverse start order, then starts.

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


def obsolete(
    wanted: Sequence[DesiredProcess], records: Mapping[str, ProcessRecord], alive: frozenset[str]
) -> frozenset[str]:
    """The names of records without a process that are no longer wanted."""
    return frozenset(records) - alive - {process.name for process in wanted}


def _is_due(process: DesiredProcess, records: Mapping[str, ProcessRecord], now: float) -> bool:
    """Whether the back-off is over. A clock that was set back delays a start by at most the maximum back-off."""
    record = records.get(process.name)
    if record is None or record.digest != process.digest:
        return True
    return not 0.0 < record.next_start_at - now <= BACKOFF_MAX_S


def with_backoff_reset(record: ProcessRecord, request: str) -> ProcessRecord:
    """The record after a new `up`: failures and back-off are reset."""
    if record.request == request:
        return record
    return record.model_copy(update={"request": request, "failures": 0, "next_start_at": 0.0})


def after_exit(record: ProcessRecord, last_exit: str, now: float) -> ProcessRecord:
    """The record of a process that has exited, with the time of its next start."""
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
    """The pause before the next start after `failures` consecutive exits: exponential, with a maximum."""
    return min(BACKOFF_FIRST_S * 2.0 ** min(failures - 1, 10), BACKOFF_MAX_S)
