"""Records a sample of the queries, for golden sets, replay and tuning. Writes files; off by default.

JSON lines in two files of at most half of `bytes` each: when the newer one is full, it replaces the older one. Records
older than `days` are not returned, and are deleted with their file. Texts that match `redact` never reach the disk.
"""

import logging
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from lightragctl.core.settings import Recording

log = logging.getLogger(__name__)

_DAY_S = 86_400
_HIDDEN = "***"


class RecordedQuery(msgspec.Struct):
    """A query as received, and the ids of its hits, best first. `at` in Unix seconds."""

    at: float
    workspace: str
    query: str
    top_k: int
    kind: str
    filter: str
    collection: str
    ids: list[str]
    took_ms: float


class Recorder:
    """Keeps a sample in a folder; used from one event loop, and writes at most one line per query.

    Args:
        settings: what to keep, and for how long.
        folder: created if missing.
        clock: Unix seconds.
        chance: a random number from 0 to 1 for each query.

    Raises:
        OSError: the folder cannot be created.
    """

    def __init__(
        self, settings: Recording, folder: Path, clock: Callable[[], float], chance: Callable[[], float]
    ) -> None:
        self._settings = settings
        self._files = (folder / "older.jsonl", folder / "newer.jsonl")
        self._clock = clock
        self._chance = chance
        self._redact = [re.compile(pattern) for pattern in settings.redact]
        self._complained = False
        folder.mkdir(parents=True, exist_ok=True)
        self._drop_old()

    def wants(self) -> bool:
        """Whether to record this query."""
        return self._chance() < self._settings.ratio

    def keep(self, question: RecordedQuery) -> None:
        """Record a query; a full disk loses the record and nothing else."""
        query, chosen = self._hidden(question.query), self._hidden(question.filter)
        question = msgspec.structs.replace(question, query=query, filter=chosen)
        newer = self._files[1]
        try:
            if newer.exists() and newer.stat().st_size >= self._settings.bytes // 2:
                newer.replace(self._files[0])
            with newer.open("ab") as file:
                file.write(msgspec.json.encode(question) + b"\n")
        except OSError as error:
            if not self._complained:
                log.warning("cannot record queries: %s", error)
            self._complained = True

    def read(self, limit: int) -> list[RecordedQuery]:
        """Records not older than `days`, newest first."""
        since = self._clock() - self._settings.days * _DAY_S
        found = [one for file in reversed(self._files) for one in reversed(list(_lines(file))) if one.at >= since]
        return found[:limit]

    def _hidden(self, text: str) -> str:
        for pattern in self._redact:
            text = pattern.sub(_HIDDEN, text)
        return text

    def _drop_old(self) -> None:
        """Delete files whose last record is older than `days`."""
        for file in self._files:
            if file.exists() and self._clock() - file.stat().st_mtime > self._settings.days * _DAY_S:
                file.unlink()


def _lines(file: Path) -> Iterator[RecordedQuery]:
    """The complete lines of a file; the last may be truncated by a crash."""
    if not file.exists():
        return
    for line in file.read_bytes().splitlines():
        try:
            yield msgspec.json.decode(line, type=RecordedQuery)
        except msgspec.DecodeError:
            continue
