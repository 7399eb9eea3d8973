"""Loads collections into the memory of the store, one load per collection at a time; callers wait only briefly.

Blocks threads.
"""

import asyncio
import time
from collections.abc import Callable
from typing import NamedTuple, TypeVar

from lightragctl.core.errors import UnavailableError
from lightragctl.core.hint import Command, Hint
from lightragctl.service.threads import Threads
from lightragctl.vectors.model import NotLoadedError
from lightragctl.vectors.store import VectorStore

T = TypeVar("T")

GRACE_S = 0.5
"""How long callers wait for a load, from its start: enough for a small collection after a restart of the store."""
RETRY_AFTER_S = 2.0
"""Retry-After while a collection loads; 20,000 vectors of 384 dimensions take 3 s."""
_LOADS = 4
"""Concurrent loads; each holds a thread for up to five minutes."""


class LoadingError(UnavailableError):
    """The collection is being loaded; the load continues in the background."""

    code = "loading"

    def __init__(self, collection: str) -> None:
        message = f"collection {collection} is not loaded yet"
        status, logs = Command("status"), Command("logs", "vector-engine")
        super().__init__(message, Hint("retry; if it does not load, see: ", status, ", ", logs))
        self.retry_after_s = RETRY_AFTER_S


class _Load(NamedTuple):
    task: "asyncio.Task[None]"
    began_s: float


class CollectionLoader:
    """Loads collections of one store; used from one event loop.

    `threads` also run calls that end with a load, such as creating a collection.
    """

    def __init__(self, store: VectorStore, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._clock = clock
        self._loading: dict[str, _Load] = {}
        self.threads = Threads("load", _LOADS)

    async def when_loaded(self, threads: Threads, collection: str, read: Callable[[], T]) -> T:
        """The result of `read` in one of `threads`, after loading our own collection if necessary.

        Raises:
            LoadingError: the collection is being loaded.
        """
        try:
            return await threads.run(read)
        except NotLoadedError:
            await self.ensure(collection)
        try:
            return await threads.run(read)
        except NotLoadedError as error:
            raise LoadingError(collection) from error

    async def ensure(self, collection: str) -> None:
        """Load the collection, or join a load in progress.

        Raises:
            LoadingError: the load has not finished `GRACE_S` after its start.
            LightragctlError: the load failed.
        """
        load = self._loading.get(collection) or self._start(collection)
        left_s = load.began_s + GRACE_S - self._clock()
        done, _ = await asyncio.wait([load.task], timeout=max(0.0, left_s))
        if not done:
            raise LoadingError(collection)
        load.task.result()

    def close(self) -> None:
        """Stop waiting for loads; the store may continue them."""
        for load in self._loading.values():
            load.task.cancel()
        self.threads.close()

    def _start(self, collection: str) -> _Load:
        task = asyncio.create_task(self.threads.run(self._store.load, collection))
        load = self._loading[collection] = _Load(task, self._clock())
        task.add_done_callback(lambda ended: self._ended(collection, ended))
        return load

    def _ended(self, collection: str, task: "asyncio.Task[None]") -> None:
        del self._loading[collection]
        if not task.cancelled():
            task.exception()  # retrieve it: all waiters may have been cancelled
