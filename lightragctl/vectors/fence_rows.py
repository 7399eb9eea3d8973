"""Rows of a control collection that fence a workspace's writers and announce a switch, and when they expire. Pure.

`fence:TOKEN` refuses writes, `fence` has another value after each change of such a row, so that a writer reads one row
by its id and not a range; `writer:ID` says that a replica of lightrag-api is writing, `switching` says that the
workspace's collections are being replaced. They belong to running processes: a backup leaves them out.

No clock is compared with that of another machine. A row holds a duration, and a `beat` that its owner changes when it
renews the row. Each reader measures by its own clock how long a row has stayed as it is.
"""

import re
from collections.abc import Mapping

import msgspec

from lightragctl.core.errors import UsageError
from lightragctl.vectors.control import NEWEST_BACKUP

FENCE_CHANGE = "fence"
FENCES, FENCES_END = "fence:", "fence;"
WRITERS, WRITERS_END = "writer:", "writer;"
SWITCHING = "switching"

_TOKEN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,47}")


class FenceRow(msgspec.Struct, frozen=True):
    """A fence. `settled`: its holder has seen the last write end; until then writes under way may still commit."""

    token: str
    reason: str
    beat: str
    valid_s: float
    settled: bool = False


class FenceChange(msgspec.Struct, frozen=True):
    """The last change of any fence's row."""

    change: str


class WriterRow(msgspec.Struct, frozen=True):
    """A replica that is writing. When the row has not changed for `valid_s`, the replica is gone or will not write."""

    beat: str
    valid_s: float


class SwitchingRow(msgspec.Struct, frozen=True):
    """The operation that replaces the collections of the workspace. It never expires: the operation removes it."""

    operation: str


class Sightings:
    """How long rows have stayed as they are, by the clock of one process."""

    def __init__(self) -> None:
        self._first: dict[str, tuple[str, float]] = {}

    def ages_s(self, beats: Mapping[str, str], now_s: float) -> dict[str, float]:
        """Seconds since each row was first read with its present beat, by key; rows that are gone are forgotten.

        Args:
            beats: the beat of every row that there is now.
            now_s: of a clock that only grows.
        """
        before, self._first = self._first, {}
        for key, beat in beats.items():
            known = before.get(key)
            self._first[key] = known if known is not None and known[0] == beat else (beat, now_s)
        return {key: now_s - first_s for key, (_, first_s) in self._first.items()}


def fence_key(token: str) -> str:
    """The id of a fence's row.

    Raises:
        UsageError: the token has other characters than letters, digits, `.`, `_` and `-`, or more than 48.
    """
    if not _TOKEN.fullmatch(token):
        raise UsageError(f"{token!r} is not a valid name of a fence", "use 1 to 48 letters, digits, '.', '_' and '-'")
    return FENCES + token


def is_transient(key: str) -> bool:
    """Whether a copy of the workspace must not hold the row: it is of a running process, or of backups of this one."""
    return key in (FENCE_CHANGE, SWITCHING, NEWEST_BACKUP) or key.startswith((FENCES, WRITERS))
