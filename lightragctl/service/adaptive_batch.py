"""How many chunks are embedded in one call: as many as the model manages well within the deadline. Pure."""


class AdaptiveBatch:
    """Shared by all writers of a process, since they share the model.

    Args:
        most: chunks of one call on a machine that is fast enough.
        deadline_s: of one call.
    """

    def __init__(self, most: int, deadline_s: float) -> None:
        self._most = most
        self._deadline_s = deadline_s
        self.size = most

    def succeeded(self, chunks: int, seconds: float) -> None:
        """A call of so many chunks was answered: slow calls make the next ones smaller, quick ones larger again."""
        if seconds > self._deadline_s / 3:
            self.size = min(self.size, max(1, chunks // 2))
        elif seconds < self._deadline_s / 12 and chunks >= self.size:
            self.size = min(self._most, self.size * 2)

    def timed_out(self, chunks: int) -> bool:
        """A call of so many chunks was not answered; whether a smaller one can be tried."""
        if chunks > 1:
            self.size = min(self.size, max(1, chunks // 4))
        return chunks > 1
