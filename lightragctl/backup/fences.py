"""The write fences that this process holds for its operations: one step takes them, others need them."""

from contextlib import AbstractContextManager, ExitStack

from lightragctl.vectors.fence import Fence, FenceLostError


class Fences:
    """Write fences by operation. A fence ends with its process, so another driver of the operation takes it again."""

    def __init__(self) -> None:
        self._held: dict[str, tuple[Fence, ExitStack]] = {}

    def take(self, operation: str, held: AbstractContextManager[Fence]) -> Fence:
        """Enter a context that holds a fence, and stay in it until `release`; the fence."""
        self.release(operation)
        with ExitStack() as stack:
            fence = stack.enter_context(held)
            self._held[operation] = fence, stack.pop_all()
        return fence

    def holds(self, operation: str) -> bool:
        """Whether this process has held the fence without interruption since it took it."""
        if operation not in self._held:
            return False
        try:
            self._held[operation][0].check()
        except FenceLostError:
            return False
        return True

    def held(self, operation: str) -> Fence:
        """The fence of an operation.

        Raises:
            FenceLostError: it was not held without interruption.
        """
        if operation not in self._held:
            raise FenceLostError(f"the write fence of operation {operation} is not held by this process")
        fence = self._held[operation][0]
        fence.check()
        return fence

    def release(self, operation: str) -> None:
        """Let writes through again; harmless when there is no fence."""
        if operation in self._held:
            self._held.pop(operation)[1].close()
