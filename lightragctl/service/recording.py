"""A sample of the questions that were asked, for golden sets, replay and tuning. Writes files; off by default.

Lines of JSON in two files of at most half of `bytes` each: when the newer one is full, it takes the older one's place.
What is older than `days` is not given out, and goes with its file. Texts that match `redact` never reach the disk.
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
    """A question as it was asked, and the ids that answered it, best first. `at` in unix seconds."""

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
    """Keeps a sample in a folder; used from one event loop, and writes at most one line for a question.

    Args:
        settings: what to keep, and for how long.
        folder: where; made when it is not there.
        clock: unix seconds.
        chance: a number from 0 to 1 for each question.

    Raises:
        OSError: the folder cannot be made.
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
        """Whether this question is one of the sample."""
        return self._chance() < self._settings.ratio

    def keep(self, question: RecordedQuery) -> None:
        """Write it down; a disk that is full costs the record and nothing else."""
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
                log.warning("questions are not recorded: %s", error)
            self._complained = True

    def read(self, limit: int) -> list[RecordedQuery]:
        """The newest questions that are young enough, newest first."""
        since = self._clock() - self._settings.days * _DAY_S
        found = [one for file in reversed(self._files) for one in reversed(list(_lines(file))) if one.at >= since]
        return found[:limit]

    def _hidden(self, text: str) -> str:
        for pattern in self._redact:
            text = pattern.sub(_HIDDEN, text)
        return text

    def _drop_old(self) -> None:
        """Files that nobody has written to for so long hold nothing that may be kept."""
        for file in self._files:
            if file.exists() and self._clock() - file.stat().st_mtime > self._settings.days * _DAY_S:
                file.unlink()


def _lines(file: Path) -> Iterator[RecordedQuery]:
    """The whole lines of a file; the last may have been cut off by a crash."""
    if not file.exists():
        return
    for line in file.read_bytes().splitlines():
        try:
            yield msgspec.json.decode(line, type=RecordedQuery)
        except msgspec.DecodeError:
            continue
