"""Writes batches of rows by several threads and reports them in their order. I/O only through the given function."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from lightragctl.vectors.pager import TooLargeError
from lightragctl.vectors.rows import RowBatch, parts

REQUEST_BYTES = 8 * 1024 * 1024
"""Aim for one request: Milvus takes 64 MiB, and twice as many rows per request are no faster."""
REQUEST_ROWS = 16384

Write = Callable[[RowBatch], None]


class Writer:
    """Sends rows to a collection.

    Args:
        write: sends one request; called by several threads when `writers` > 1.
        writers: how many requests are sent at a time. As many batches more wait in memory.
    """

    def __init__(self, write: Write, writers: int) -> None:
        self._write = write
        self._writers = writers
        self._waiting: deque[tuple[RowBatch, list[Future[None]]]] = deque()

    def send(self, batches: Iterable[RowBatch], done: Write | None = None) -> int:
        """Writes all batches; returns how many rows. `done` is called with each batch in order, when it is written.

        Raises:
            TooLargeError: one row is larger than the server allows. All errors of `write`; what was sent before them
                may be written or not.
        """
        count = 0
        with ThreadPoolExecutor(self._writers) as pool:
            try:
                for batch in batches:
                    futures = [pool.submit(self._send_halving, piece) for piece in requests(batch)]
                    self._waiting.append((batch, futures))
                    if len(self._waiting) > self._writers:
                        count += self._settle(done)
                while self._waiting:
                    count += self._settle(done)
            finally:
                for future in [future for _, futures in self._waiting for future in futures]:
                    future.cancel()
        return count

    def _settle(self, done: Write | None) -> int:
        """Waits for the oldest batch; returns its number of rows."""
        batch, futures = self._waiting.popleft()
        for future in futures:
            future.result()
        if done is not None:
            done(batch)
        return len(batch)

    def _send_halving(self, batch: RowBatch) -> None:
        """Writes rows; if they exceed the size of one request, in several."""
        try:
            self._write(batch)
        except TooLargeError:
            if len(batch) < 2:
                raise
            for half in parts(batch, (len(batch) + 1) // 2):
                self._send_halving(half)


def requests(batch: RowBatch) -> Iterator[RowBatch]:
    """The batch split into pieces that fit into one request; none when it is empty."""
    if len(batch):
        rows = int(REQUEST_BYTES * len(batch) / max(1, batch.size_bytes))
        yield from parts(batch, max(1, min(REQUEST_ROWS, rows)))
