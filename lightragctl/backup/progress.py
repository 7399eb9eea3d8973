"""How far a copy is: rows, rate and remaining time, as events. Pure."""

from collections.abc import Callable
from dataclasses import dataclass

from lightragctl.core.result import Event, Notify


@dataclass
class Progress:
    """Counts rows and bytes, and reports them.

    Attributes:
        notify: takes the events.
        clock: seconds.
        total_rows: how many there will be.
        verb: what is done with them.
    """

    notify: Notify
    clock: Callable[[], float]
    total_rows: int
    verb: str
    rows: int = 0
    size_bytes: int = 0
    start_s: float | None = None

    def add(self, subject: str, rows: int, size_bytes: int) -> None:
        """Counts rows of a collection and reports all."""
        if self.start_s is None:
            self.start_s = self.clock()
        self.rows += rows
        self.size_bytes += size_bytes
        past_s = self.clock() - self.start_s
        data = {"rows": self.rows, "total_rows": self.total_rows, "size_bytes": self.size_bytes}
        self.notify(Event(self._words(past_s), subject, passing=True, data=data))

    def _words(self, past_s: float) -> str:
        words = f"{self.verb} {self.rows} of {max(self.total_rows, self.rows)} rows"
        if past_s < 1 or not self.rows:
            return words
        rate = self.rows / past_s
        left_s = max(0, self.total_rows - self.rows) / rate
        return f"{words}, {rate:.0f} rows/s, {self.size_bytes / past_s / 1e6:.1f} MB/s, {left_s:.0f} s left"
