"""The schema of any collection as plain data, and what a server could not hold of it. Pure.

A schema has no limits of its own: it holds what the server reported. `uncopyable` names what no copy can preserve and
`lossy` what one server would lose.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

DEFAULT_PARTITION = "_default"
AUTO_ID_INSERT = (2, 6, 0)
"""First Milvus that takes primary keys for a collection with auto_id; its property is named here."""
ALLOW_INSERT_AUTO_ID = "allow_insert_auto_id"
NULLABLE = (2, 5, 0)
"""First Milvus with nullable fields and default values."""
FIRST_VERSION: Mapping[str, tuple[int, int, int]] = {
    "ARRAY": (2, 3, 2),
    "FLOAT16_VECTOR": (2, 4, 0),
    "BFLOAT16_VECTOR": (2, 4, 0),
    "SPARSE_FLOAT_VECTOR": (2, 4, 0),
    "INT8_VECTOR": (2, 6, 0),
}
"""First Milvus that stores a type; what is not here is in every 2.3."""
FIRST_INDEX: Mapping[str, tuple[int, int, int]] = {"INVERTED": (2, 4, 0), "BITMAP": (2, 5, 0)}
"""First Milvus with an index type; those that are not here are not checked."""
LITE_INDEXES = {"FLAT", "AUTOINDEX", "HNSW", "HNSW_SQ", "IVF_FLAT", "IVF_SQ8", "SPARSE_INVERTED_INDEX", "INVERTED"}
SCALARS = {"BOOL", "INT8", "INT16", "INT32", "INT64", "FLOAT", "DOUBLE", "VARCHAR"}
BYTE_VECTORS = {"BINARY_VECTOR": 1 / 8, "FLOAT16_VECTOR": 2, "BFLOAT16_VECTOR": 2, "INT8_VECTOR": 1}
"""Bytes per dimension of the vectors that Milvus sends as bytes."""
VARCHAR_BYTES = 65535
"""Greatest `max_length`; where a schema has none, as Milvus Lite reports for the elements of arrays."""
VECTORS = {"FLOAT_VECTOR", "SPARSE_FLOAT_VECTOR", *BYTE_VECTORS}
COPIED_TYPES = SCALARS | VECTORS | {"JSON", "ARRAY"}
LITE_TYPES = SCALARS | {"JSON", "ARRAY", "FLOAT_VECTOR", "SPARSE_FLOAT_VECTOR"}

Default = bool | int | float | str


@dataclass(frozen=True)
class FieldSchema:
    """One field. `dtype` and `element_type` are Milvus's names of types, such as `VARCHAR`.

    `max_length` is in bytes of UTF-8 (Milvus Lite: characters), `max_capacity` in elements. `params` are the other type
    parameters, such as `enable_analyzer`. `computed`: a function of the server fills the field.
    """

    name: str
    dtype: str
    max_length: int | None = None
    dimension: int | None = None
    primary: bool = False
    auto_id: bool = False
    nullable: bool = False
    partition_key: bool = False
    element_type: str | None = None
    max_capacity: int | None = None
    default: Default | None = None
    description: str = ""
    params: dict[str, str] = field(default_factory=dict)
    computed: bool = False


@dataclass(frozen=True)
class IndexSchema:
    """One index: the field, and Milvus's names of type, metric and build parameters."""

    field: str
    name: str
    index_type: str
    metric_type: str
    params: dict[str, Any]


@dataclass(frozen=True)
class CollectionSchema:
    """A collection without its rows.

    `partitions` are the named ones with `_default`, empty where a field partitions the rows; then `partition_count` is
    their number. `replicas` is 0 when the collection is not loaded. `properties` are Milvus's, such as
    `collection.ttl.seconds`.
    """

    name: str
    fields: tuple[FieldSchema, ...]
    description: str = ""
    dynamic: bool = False
    indexes: tuple[IndexSchema, ...] = ()
    aliases: tuple[str, ...] = ()
    partitions: tuple[str, ...] = (DEFAULT_PARTITION,)
    partition_count: int = 1
    properties: dict[str, str] = field(default_factory=dict)
    shards: int = 1
    consistency: str = "Bounded"
    loaded: bool = False
    replicas: int = 0

    @property
    def primary(self) -> FieldSchema:
        """The field of the primary key."""
        return next(one for one in self.fields if one.primary)

    @property
    def vector_fields(self) -> tuple[FieldSchema, ...]:
        """The fields that hold vectors."""
        return tuple(one for one in self.fields if one.dtype in VECTORS)

    @property
    def scopes(self) -> tuple[str, ...]:
        """What to read one after the other: each named partition, or `""` for the whole collection."""
        return self.partitions if len(self.partitions) > 1 else ("",)

    def field(self, name: str) -> FieldSchema | None:
        """The field of this name, or None."""
        return next((one for one in self.fields if one.name == name), None)


@dataclass(frozen=True)
class Server:
    """A server's kind and version. `version` of Milvus Lite is that of the package."""

    lite: bool
    version: tuple[int, ...]

    def has(self, since: tuple[int, int, int]) -> bool:
        """True for Milvus of at least this version and for Milvus Lite."""
        return self.lite or self.version >= since

    def stores(self, dtype: str) -> bool:
        """True when the server stores fields of this type."""
        if self.lite:
            return dtype in LITE_TYPES
        return dtype in COPIED_TYPES and self.version >= FIRST_VERSION.get(dtype, (0,))

    def builds(self, index_type: str) -> bool:
        """True when the server builds indexes of this type, as far as is known; `""` is one that the server chooses."""
        if self.lite:
            return index_type in LITE_INDEXES
        return self.version >= FIRST_INDEX.get(index_type, (0,))


def server(version: str) -> Server:
    """The server that reports this version: `v2.3.5-lite` is Milvus, `milvus_lite-3.2.2` is Milvus Lite."""
    numbers = tuple(int(number) for number in re.findall(r"\d+", version)[:3])
    return Server(version.startswith("milvus_lite"), numbers)


def to_plain(schema: CollectionSchema) -> dict[str, Any]:
    """The schema as JSON-able data."""
    plain: dict[str, Any] = msgspec.to_builtins(schema)
    return plain


def from_plain(plain: Any) -> CollectionSchema:
    """The schema from what `to_plain` made; unknown keys are ignored.

    Raises:
        ValueError: a key is missing or has the wrong type; names it. Or there is not exactly one primary key.
    """
    try:
        schema = msgspec.convert(plain, CollectionSchema)
    except msgspec.ValidationError as problem:
        raise ValueError(f"not the schema of a collection: {problem}") from problem
    primaries = [one.name for one in schema.fields if one.primary]
    if len(primaries) != 1:
        raise ValueError(f"not the schema of a collection: the primary keys are {primaries}, not one field")
    return schema


def uncopyable(schema: CollectionSchema) -> list[str]:
    """Why no copy of the collection would be complete, one sentence for each field; empty when all can be copied."""
    reasons = [
        f"field {one.name} has the type {one.dtype}, which cannot be copied"
        for one in schema.fields
        if one.dtype not in COPIED_TYPES
    ]
    return reasons + [
        f"field {one.name} is computed by a function of the server, which cannot be copied"
        for one in schema.fields
        if one.computed
    ]


def lossy(schema: CollectionSchema, target: Server, nulls: Iterable[str] = ()) -> list[str]:
    """What the server would lose of the collection, one sentence each; empty when nothing.

    Descriptions, shards and consistency are not data and not named, nor nullable fields without a null.

    Args:
        schema: the collection.
        target: the server that should hold it.
        nulls: the fields of which some row holds a null.
    """
    losses = [
        f"field {one.name}: this server does not store {one.dtype}"
        for one in schema.fields
        if not target.stores(one.dtype)
    ]
    if not target.has(NULLABLE):
        without = set(nulls)
        losses += [f"field {one.name}: nulls become {zero_text(one)}" for one in schema.fields if one.name in without]
        losses += [f"field {one.name}: no default value" for one in schema.fields if one.default is not None]
    losses += [
        f"index {one.name}: this server does not build {one.index_type or 'an index of no type'}"
        for one in schema.indexes
        if not target.builds(one.index_type)
    ]
    if schema.primary.auto_id and not keeps_auto_id(target):
        losses.append(f"field {schema.primary.name}: new rows get no key from the server (auto_id is turned off)")
    return losses


def keeps_auto_id(target: Server) -> bool:
    """True when rows can be written with their keys into a collection with auto_id."""
    return not target.lite and target.version >= AUTO_ID_INSERT


def fitted(schema: CollectionSchema, target: Server) -> CollectionSchema:
    """The schema as the server can hold it; `lossy` names what is gone.

    A vector index that the server does not build becomes `AUTOINDEX`, without which the collection cannot be loaded.
    """
    modern, auto = target.has(NULLABLE), keeps_auto_id(target)
    fields = tuple(
        replace(
            one,
            nullable=one.nullable and modern,
            default=one.default if modern else None,
            auto_id=one.auto_id and auto,
            max_length=VARCHAR_BYTES if one.max_length is None and _is_text(one) else one.max_length,
        )
        for one in schema.fields
        if target.stores(one.dtype)
    )
    properties = dict(schema.properties)
    if schema.primary.auto_id and auto:
        properties[ALLOW_INSERT_AUTO_ID] = "true"
    return replace(schema, fields=fields, properties=properties, indexes=tuple(_fitted_indexes(schema, target)))


def _is_text(one: FieldSchema) -> bool:
    return "VARCHAR" in (one.dtype, one.element_type)


def _fitted_indexes(schema: CollectionSchema, target: Server) -> Iterator[IndexSchema]:
    for one in schema.indexes:
        indexed = schema.field(one.field)
        if indexed is None or not target.stores(indexed.dtype):
            continue
        if target.builds(one.index_type):
            yield one
        elif indexed.dtype in VECTORS:
            yield replace(one, index_type="AUTOINDEX", params={})


def zero_text(one: FieldSchema) -> str:
    """What stands for a null of this field where nulls cannot be stored."""
    if one.default is not None:
        return repr(one.default)
    kinds = {"VARCHAR": "''", "JSON": "null as JSON", "ARRAY": "[]", "BOOL": "False"}
    return kinds.get(one.dtype, "a vector of zeros" if one.dtype in VECTORS else "0")
