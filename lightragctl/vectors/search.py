"""The async door to Milvus and Milvus Lite: a `SearchStore`. Talks gRPC, within one event loop.

A search sees all that this process wrote before under the same name of the collection (consistency level Session). On
an idle Milvus 2.3.5 that costs nothing (2.5 ms as with Eventually); within 0.3 s of a write it waits up to 0.3 s.
"""

import asyncio
from typing import Any

from lightragctl.core.errors import LightragctlError
from lightragctl.vectors.model import Hit, SearchBatch, StoreError, StoreUnavailableError
from lightragctl.vectors.sdk import (
    CONNECT_S,
    AsyncMilvusClient,
    SdkError,
    dimension_of,
    lost_connection,
    store_error,
    wrong_dimension,
)

CONSISTENCY = "Session"


class MilvusSearch:
    """A `SearchStore` on Milvus 2.3 or later, or Milvus Lite.

    Args:
        uri: `http://host:port`.
        timeout_s: the deadline of a search, with making the connection if need be.
    """

    def __init__(self, uri: str, timeout_s: float = 5.0) -> None:
        self._uri = uri
        self._timeout_s = timeout_s
        self._client: Any = None
        self._connecting = asyncio.Lock()

    async def search(self, batch: SearchBatch) -> list[list[Hit]]:
        """See `SearchStore`."""
        client: Any = None
        try:
            async with asyncio.timeout(self._timeout_s):
                client = await self._connected()
                found = await client.search(batch.collection, **arguments(batch), timeout=self._timeout_s)
        except TimeoutError as problem:
            message = f"the vector store did not answer within {self._timeout_s:g} s ({batch.collection})"
            raise StoreUnavailableError(message, "see whether vector-engine is up: lightragctl status") from problem
        except SdkError as problem:
            if client is not None and lost_connection(problem):
                await self._forget(client)
            error = store_error(problem, batch.collection)
            raise await self._explained(error, client, batch) from problem
        return [[_hit(entry, batch) for entry in entries] for entries in found]

    async def close(self) -> None:
        """See `SearchStore`."""
        if self._client is not None:
            await self._forget(self._client)

    async def _connected(self) -> Any:
        async with self._connecting:
            if self._client is None:
                client = AsyncMilvusClient(self._uri, timeout=min(self._timeout_s, CONNECT_S), dedicated=True)
                self._client = await client.__aenter__()
            return self._client

    async def _forget(self, client: Any) -> None:
        """Gives up a client; the next search builds another."""
        if self._client is client:
            self._client = None
        await client.close()

    async def _explained(self, error: LightragctlError, client: Any, batch: SearchBatch) -> LightragctlError:
        """The error, or that the dimension is wrong: servers say so in many ways, Milvus Lite in an empty text."""
        if type(error) is not StoreError:
            return error
        try:
            described = await client.describe_collection(batch.collection, timeout=self._timeout_s)
        except SdkError as problem:
            return store_error(problem, batch.collection)
        has, given = dimension_of(described), batch.vectors.shape[1]
        return error if has == given else wrong_dimension(batch.collection, has, given)


def arguments(batch: SearchBatch) -> dict[str, Any]:
    """The arguments of pymilvus for a batch. HNSW refuses an `ef` below `top_k`, so it is raised to it."""
    params = {name: max(value, batch.top_k) if name == "ef" else value for name, value in batch.index.search.items()}
    return {
        "data": batch.vectors,
        "filter": batch.filter,
        "limit": batch.top_k,
        "output_fields": list(batch.output_fields),
        "search_params": {"metric_type": batch.index.metric_type, "params": params},
        "consistency_level": CONSISTENCY,
    }


def _hit(entry: Any, batch: SearchBatch) -> Hit:
    entity = entry["entity"]
    fields = {name: entity[name] for name in batch.output_fields if name in entity}
    return Hit(str(entry["id"]), float(entry["distance"]), fields)
