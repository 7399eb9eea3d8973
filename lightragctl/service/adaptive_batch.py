"""Batch size of embedding calls, adapted to the speed of the model so that calls stay within the deadline. Pure."""


class AdaptiveBatch:
    """The current batch size; shared by all writers of a process, since they share the model.

    Args:
        most: the largest batch, in chunks.
        deadline_s: the deadline of one call.
    """

    def __init__(self, most: int, deadline_s: float) -> None:
        self._most = most
        self._deadline_s = deadline_s
        self.size = most

    def succeeded(self, chunks: int, seconds: float) -> None:
        """Record a successful call: slow calls shrink the batch, fast ones grow it again."""
        if seconds > self._deadline_s / 3:
            self.size = min(self.size, max(1, chunks // 2))
        elif seconds < self._deadline_s / 12 and chunks >= self.size:
            self.size = min(self._most, self.size * 2)

    def timed_out(self, chunks: int) -> bool:
        """Record a call that timed out; returns whether a smaller one can be tried."""
        if chunks > 1:
            self.size = min(self.size, max(1, chunks // 4))
        return chunks > 1
