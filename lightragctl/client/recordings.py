"""The questions that were recorded, of all replicas of lightrag-api: each keeps those that came to it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter

from lightragctl.client.api import RecordedQuestion
from lightragctl.core.errors import LightragctlError

ReadRecordings = Callable[[int], Sequence[RecordedQuestion]]
"""The newest questions of one replica, at most so many."""


@dataclass(frozen=True)
class AllRecordings:
    """The questions, newest first, and which replicas' are missing: a sentence for each."""

    questions: Sequence[RecordedQuestion]
    missing: Sequence[str] = ()


def read_all(replicas: Mapping[str, ReadRecordings], limit: int) -> AllRecordings:
    """The newest questions of all replicas, at most `limit` in all; one that does not answer is told.

    Args:
        replicas: by name.
        limit: at most so many.

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
    return AllRecordings(newest, [f"those of {name} are missing: {error.message}" for name, error in silent.items()])
