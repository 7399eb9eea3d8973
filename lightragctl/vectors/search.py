"""The async door to Milvus and Milvus Lite: a `SearchStore`. Talks gRPC, within one event loop.

It speaks Milvus's protocol itself and not through pymilvus's client, which takes a hit apart one by one and packs
vectors float by float: a quarter of what a retrieval cost lightrag-api (docs/performance.md).

A search sees all that this process wrote before under the same name of the collection (consistency level Session). On
an idle Milvus 2.3.5 that costs nothing (2.5 ms as with Eventually); within 0.3 s of a write it waits up to 0.3 s.
"""

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

import grpc  # type: ignore[import-untyped]
import msgspec
import numpy as np

from lightragctl.core.errors import LightragctlError
from lightragctl.vectors.model import Hit, SearchBatch, StoreError
from lightragctl.vectors.sdk import (
    CONNECT_S,
    MilvusServiceStub,
    SdkError,
    channel_options,
    check_status,
    common_pb2,
    last_write,
    milvus_pb2,
    store_error,
    wrong_dimension,
)

_CHANNEL = {
    "grpc.max_receive_message_length": -1,
    "grpc.max_send_message_length": -1,
    "grpc.keepalive_time_ms": 10_000,
    "grpc.keepalive_timeout_ms": 5_000,
    "grpc.min_reconnect_backoff_ms": int(CONNECT_S * 1000),
    "grpc.initial_reconnect_backoff_ms": 100,
    "grpc.max_reconnect_backoff_ms": 500,
    "grpc.dns_min_time_between_resolutions_ms": 1_000,
}
"""A dead peer is noticed in 15 s; one that is back is found in half a second, at a new address after one more."""


_LEAST_TOP_K = ("ef", "reorder_k")
"""Search parameters that must not be below `top_k`."""


class MilvusSearch:
    """A `SearchStore` on Milvus 2.3 or later, or Milvus Lite; made and used inside one running event loop.

    Args:
        uri: `http://host:port`.
        timeout_s: the deadline of a search, with making the connection if need be.
    """

    def __init__(self, uri: str, timeout_s: float = 5.0) -> None:
        self._address = urlsplit(uri).netloc
        self._timeout_s = timeout_s
        options = {**_CHANNEL, **channel_options(self._address)}
        self._channel = grpc.aio.insecure_channel(self._address, options=list(options.items()))
        self._stub: Any = MilvusServiceStub(self._channel)

    async def search(self, batch: SearchBatch) -> list[list[Hit]]:
        """See `SearchStore`."""
        asked = request(batch, last_write(batch.collection, self._address))
        try:
            answer = await self._stub.Search(asked, timeout=self._timeout_s)
            check_status(answer.status)
        except SdkError as problem:
            error = store_error(problem, batch.collection)
            raise await self._explained(error, batch) from problem
        return hits(answer.results)

    async def close(self) -> None:
        """See `SearchStore`."""
        await self._channel.close()

    async def _explained(self, error: LightragctlError, batch: SearchBatch) -> LightragctlError:
        """The error, or that the dimension is wrong: servers say so in many ways, Milvus Lite in an empty text."""
        if type(error) is not StoreError:
            return error
        asked = milvus_pb2.DescribeCollectionRequest(collection_name=batch.collection)
        try:
            described = await self._stub.DescribeCollection(asked, timeout=self._timeout_s)
            check_status(described.status)
        except SdkError as problem:
            return store_error(problem, batch.collection)
        has, given = _dimension(described.schema), batch.vectors.shape[1]
        return error if has == given else wrong_dimension(batch.collection, has, given)


def request(batch: SearchBatch, seen_until: int) -> Any:
    """Milvus's SearchRequest for a batch. An `ef` or `reorder_k` below `top_k` is refused, so it is raised.

    Args:
        batch: what to search for.
        seen_until: Milvus's timestamp of the last write that must be seen.
    """
    params = {
        name: max(value, batch.top_k) if name in _LEAST_TOP_K else value for name, value in batch.index.search.items()
    }
    options = {
        "anns_field": "vector",
        "topk": str(batch.top_k),
        "metric_type": batch.index.metric_type,
        "params": msgspec.json.encode(params).decode(),
        "round_decimal": "-1",
    }
    vectors = np.ascontiguousarray(batch.vectors, dtype="<f4")
    placeholder = common_pb2.PlaceholderValue(
        tag="$0", type=common_pb2.PlaceholderType.FloatVector, values=[vector.tobytes() for vector in vectors]
    )
    return milvus_pb2.SearchRequest(
        collection_name=batch.collection,
        dsl=batch.filter,
        dsl_type=common_pb2.DslType.BoolExprV1,
        placeholder_group=common_pb2.PlaceholderGroup(placeholders=[placeholder]).SerializeToString(),
        nq=len(vectors),
        output_fields=batch.output_fields,
        search_params=[common_pb2.KeyValuePair(key=key, value=value) for key, value in options.items()],
        consistency_level=common_pb2.ConsistencyLevel.Session,
        guarantee_timestamp=seen_until,
    )


def hits(results: Any) -> list[list[Hit]]:
    """Milvus's SearchResultData, which is in columns, as hits of each search; a field without a value is left out."""
    ids = list(results.ids.str_id.data) or [str(number) for number in results.ids.int_id.data]
    fields = _rows(results.fields_data, len(ids))
    all_of = list(map(Hit, ids, results.scores, fields))
    found, start = [], 0
    for count in results.topks:
        found.append(all_of[start : start + count])
        start += count
    return found


def _rows(columns: Sequence[Any], count: int) -> list[dict[str, Any]]:
    """The fields of each hit, from columns; the column of dynamic fields has an object per hit.

    A column of vectors is ignored: Milvus Lite sends it if no field is requested.
    """
    rows: list[dict[str, Any]] = [{} for _ in range(count)]
    for column in columns:
        values = _values(column)
        if column.is_dynamic:
            for row, value in zip(rows, values, strict=True):
                row.update(msgspec.json.decode(value))
        else:
            name, valid = column.field_name, column.valid_data
            for at, value in enumerate(values):
                if not valid or valid[at]:
                    rows[at][name] = value
    return rows


def _values(column: Any) -> Sequence[Any]:
    kind = column.scalars.WhichOneof("data")
    return list(getattr(column.scalars, kind).data) if kind else []


def _dimension(schema: Any) -> int:
    field = next(field for field in schema.fields if field.name == "vector")
    return next(int(pair.value) for pair in field.type_params if pair.key == "dim")
