"""What the vector store says of its collections, for a diagnosis. Reads only; talks gRPC."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from lightragctl.core.errors import LightragctlError
from lightragctl.vectors.milvus import MilvusStore
from lightragctl.vectors.model import StoreUnavailableError
from lightragctl.vectors.sdk import dimension_of

T = TypeVar("T")


@dataclass(frozen=True)
class CollectionState:
    """A collection as the store describes it; None where the store does not tell.

    `state` is `Loaded`, `Loading` or `NotLoad`; `ttl_s` is the age in seconds at which Milvus deletes rows.
    """

    dimension: int | None
    state: str
    aliases: tuple[str, ...]
    index_type: str
    metric: str
    indexed: bool
    rows: int | None
    pending_rows: int | None
    ttl_s: int | None


class StoreInspector(MilvusStore):
    """A store that is looked at. Each call has the deadline of `MilvusStore`."""

    def version(self) -> str:
        """The server's version, such as `2.3.5` or `milvus_lite-3.2.2`."""
        return str(self._call("get_server_version", "the server")).removeprefix("v")

    def inspect(self, name: str) -> CollectionState:
        """The state of one collection, by its physical name."""
        described = self._describe(name)
        index = self._index(name)
        state = str(self._call("get_load_state", name, name)["state"].name)
        properties = described.get("properties") or {}
        return CollectionState(
            dimension=_told(lambda: dimension_of(described)),
            state=state,
            aliases=tuple(self._call("list_aliases", name, name)["aliases"]),
            index_type=str(index.get("index_type", "")),
            metric=str(index.get("metric_type", "")),
            indexed=bool(index),
            rows=self._rows(name, index) if state == "Loaded" else None,
            pending_rows=_told(lambda: int(index["pending_index_rows"])),
            ttl_s=_told(lambda: int(properties["collection.ttl.seconds"])),
        )

    def _rows(self, name: str, index: Mapping[str, Any]) -> int | None:
        with suppress(LightragctlError):
            return self.row_count(name)
        return _told(lambda: int(index["total_rows"]))

    def _index(self, name: str) -> Mapping[str, Any]:
        """The description of the index of the vectors; empty when there is none."""
        try:
            for index in self._indexes(name):
                return dict(self._call("describe_index", name, name, index) or {})
        except StoreUnavailableError:
            raise
        except LightragctlError:
            return {}
        return {}


def _told(read: Callable[[], T]) -> T | None:
    """The value, or None where the server does not tell it."""
    try:
        return read()
    except (KeyError, TypeError, ValueError, StopIteration):
        return None
