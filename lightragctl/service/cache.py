"""An LRU cache bounded in bytes and in age. No I/O."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, NamedTuple, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

ENTRY_BYTES = 200
"""Overhead of an entry beside its value: key tuple, list node, table slot; measured on CPython 3.11."""


class _Entry(NamedTuple, Generic[V]):
    value: V
    size_bytes: int
    expires_s: float


class ByteCache(Generic[K, V]):
    """Values by key, for one event loop.

    Args:
        capacity_bytes: the size of all entries together; 0 disables the cache.
        age_s: how long an entry is valid; 0 or less: without limit.
        clock: monotonic seconds.
    """

    def __init__(self, capacity_bytes: int, age_s: float, clock: Callable[[], float]) -> None:
        self._capacity_bytes = capacity_bytes
        self._age_s = age_s
        self._clock = clock
        self._entries: OrderedDict[K, _Entry[V]] = OrderedDict()
        self.size_bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: K) -> bool:
        return key in self._entries

    def get(self, key: K) -> V | None:
        """The value; None if it is missing or expired."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        if self._age_s > 0 and self._clock() >= entry.expires_s:
            self._drop(key)
            return None
        self._entries.move_to_end(key)
        return entry.value

    def put(self, key: K, value: V, size_bytes: int) -> None:
        """Store a value of `size_bytes`; one larger than the whole cache is ignored."""
        size_bytes += ENTRY_BYTES
        if size_bytes > self._capacity_bytes:
            return
        self._drop(key)
        self._entries[key] = _Entry(value, size_bytes, self._clock() + self._age_s)
        self.size_bytes += size_bytes
        while self.size_bytes > self._capacity_bytes:
            self._drop(next(iter(self._entries)))

    def clear(self) -> None:
        """Remove all entries."""
        self._entries.clear()
        self.size_bytes = 0

    def _drop(self, key: K) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self.size_bytes -= entry.size_bytes
