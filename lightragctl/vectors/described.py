"""Milvus's descriptions of a collection as our schema, and the requests that create it. No I/O."""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from lightragctl.vectors.columns import SCALAR_DATA
from lightragctl.vectors.schema import DEFAULT_PARTITION, CollectionSchema, Default, FieldSchema, IndexSchema
from lightragctl.vectors.sdk import DataType, common_pb2, milvus_pb2, schema_pb2

_KNOWN_PARAMS = {"dim", "max_length", "max_capacity"}


def collection_schema(described: Any, indexes: Iterable[Any], partitions: Iterable[str]) -> CollectionSchema:
    """The schema, from DescribeCollectionResponse, IndexDescriptions and the names of partitions.

    Aliases and load state are not in there.
    """
    fields = tuple(_field(one, described.schema.autoID) for one in described.schema.fields)
    keyed = any(one.partition_key for one in fields)
    named = sorted(partitions, key=lambda name: (name != DEFAULT_PARTITION, name))
    return CollectionSchema(
        name=described.schema.name,
        fields=fields,
        description=described.schema.description,
        dynamic=described.schema.enable_dynamic_field,
        indexes=tuple(sorted(map(_index, indexes), key=lambda one: one.name)),
        partitions=() if keyed else tuple(named),
        partition_count=int(described.num_partitions) or 1,
        properties=_pairs(described.properties),
        shards=int(described.shards_num) or 1,
        consistency=common_pb2.ConsistencyLevel.Name(described.consistency_level),
    )


def create_request(schema: CollectionSchema, name: str) -> Any:
    """CreateCollectionRequest for a collection of this schema under another name."""
    wanted = schema_pb2.CollectionSchema(
        name=name,
        description=schema.description,
        enable_dynamic_field=schema.dynamic,
        autoID=schema.primary.auto_id,
        fields=[_field_message(one) for one in schema.fields],
    )
    return milvus_pb2.CreateCollectionRequest(
        collection_name=name,
        schema=wanted.SerializeToString(),
        shards_num=schema.shards,
        consistency_level=common_pb2.ConsistencyLevel.Value(schema.consistency),
        properties=_messages(schema.properties),
        num_partitions=0 if schema.partitions else schema.partition_count,
    )


def index_request(index: IndexSchema, name: str) -> Any:
    """CreateIndexRequest. Build parameters are nested, the only form that Milvus Lite does not drop.

    The index of a scalar field may have no type, metric or parameters: then the server chooses.
    """
    named = {"index_type": index.index_type, "metric_type": index.metric_type}
    extra = {key: value for key, value in named.items() if value}
    if index.metric_type or index.params:
        extra["params"] = msgspec.json.encode(index.params).decode()
    return milvus_pb2.CreateIndexRequest(
        collection_name=name, field_name=index.field, index_name=index.name, extra_params=_messages(extra)
    )


def _field(one: Any, auto_id: bool) -> FieldSchema:
    params = _pairs(one.type_params)
    dtype = type_name(one.data_type)
    return FieldSchema(
        name=one.name,
        dtype=dtype,
        max_length=_number(params, "max_length"),
        dimension=_number(params, "dim"),
        primary=one.is_primary_key,
        auto_id=one.is_primary_key and (one.autoID or auto_id),
        nullable=one.nullable,
        partition_key=one.is_partition_key,
        element_type=type_name(one.element_type) if dtype == "ARRAY" else None,
        max_capacity=_number(params, "max_capacity"),
        default=_default(one),
        description=one.description,
        params={key: value for key, value in params.items() if key not in _KNOWN_PARAMS},
        computed=one.is_function_output,
    )


def _default(one: Any) -> Default | None:
    kind = one.default_value.WhichOneof("data")
    value = getattr(one.default_value, kind) if kind else None
    return value if isinstance(value, bool | int | float | str) else None


def _field_message(one: FieldSchema) -> Any:
    limits = {"dim": one.dimension, "max_length": one.max_length, "max_capacity": one.max_capacity}
    params = {**one.params, **{key: str(value) for key, value in limits.items() if value is not None}}
    message = schema_pb2.FieldSchema(
        name=one.name,
        description=one.description,
        data_type=int(DataType[one.dtype]),
        type_params=_messages(params),
        is_primary_key=one.primary,
        autoID=one.auto_id,
        nullable=one.nullable,
        is_partition_key=one.partition_key,
    )
    if one.element_type:
        message.element_type = int(DataType[one.element_type])
    if one.default is not None:
        setattr(message.default_value, SCALAR_DATA[one.dtype], one.default)
    return message


def _index(one: Any) -> IndexSchema:
    params: dict[str, Any] = _pairs(one.params)
    index_type, metric_type = params.pop("index_type", ""), params.pop("metric_type", "")
    nested = msgspec.json.decode(params.pop("params", "") or "{}")
    return IndexSchema(one.field_name, one.index_name, index_type, metric_type, {**params, **nested})


def type_name(number: int) -> str:
    """Milvus's name of a type, or its number where this pymilvus does not know it."""
    try:
        return str(DataType(number).name)
    except ValueError:
        return f"type {number}"


def _number(params: Mapping[str, str], key: str) -> int | None:
    return int(params[key]) if key in params else None


def _pairs(messages: Iterable[Any]) -> dict[str, str]:
    return {one.key: one.value for one in messages}


def _messages(pairs: Mapping[str, str]) -> list[Any]:
    return [common_pb2.KeyValuePair(key=key, value=value) for key, value in pairs.items()]
