"""Recorded questions of all replicas of lightrag-api: each replica keeps its own."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter

from lightragctl.client.api import RecordedQuestion
from lightragctl.core.errors import LightragctlError

ReadRecordings = Callable[[int], Sequence[RecordedQuestion]]
"""Reads the newest questions of one replica, up to a limit."""


@dataclass(frozen=True)
class AllRecordings:
    """The questions, newest first, and a message for each replica that did not answer."""

    questions: Sequence[RecordedQuestion]
    missing: Sequence[str] = ()


def read_all(replicas: Mapping[str, ReadRecordings], limit: int) -> AllRecordings:
    """The newest questions of all replicas, at most `limit` in total; replicas that do not answer are reported.

    Args:
        replicas: by name.
        limit: the maximum number of queries.

    Raises:
        LightragctlError: none answered; what the first one said.
    """
    found: list[RecordedQuestion] = []
    silent: dict[str, LightragctlError] = {}
    for name, read in replicas.items():
        try:
            found += read(limit)
        except LightragctlError as error:
            silent[name] = error
    if silent and len(silent) == len(replicas):
        raise next(iter(silent.values()))
    newest = sorted(found, key=attrgetter("at"), reverse=True)[:limit]
    return AllRecordings(newest, [f"replica {name} did not answer: {error.message}" for name, error in silent.items()])
