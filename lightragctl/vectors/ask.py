"""Searches for the tool, which is sync: one connection for the batches, closed after the last. Does network I/O."""

import asyncio
from collections.abc import Sequence

from lightragctl.vectors.model import Hit, SearchBatch
from lightragctl.vectors.search import MilvusSearch


def search_all(uri: str, batches: Sequence[SearchBatch], timeout_s: float = 30.0) -> list[list[Hit]]:
    """Hits of every vector of the batches, in their order; as `SearchStore.search`, with its errors.

    Args:
        uri: `http://host:port`.
        batches: searched one after the other.
        timeout_s: the deadline of each.
    """
    return asyncio.run(_search(uri, batches, timeout_s))


async def _search(uri: str, batches: Sequence[SearchBatch], timeout_s: float) -> list[list[Hit]]:
    door = MilvusSearch(uri, timeout_s)
    try:
        return [hits for batch in batches for hits in await door.search(batch)]
    finally:
        await door.close()
