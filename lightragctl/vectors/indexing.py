"""Builds and drops indexes of a collection, and reads the memory of the server. Does network I/O."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from lightragctl.core.errors import LightragctlError
from lightragctl.vectors.collections import MilvusCollections
from lightragctl.vectors.described import index_request
from lightragctl.vectors.model import StoreError
from lightragctl.vectors.schema import IndexSchema
from lightragctl.vectors.sdk import SdkError, check_status, common_pb2, milvus_pb2

_POLL_S = 0.2


class IndexStalledError(LightragctlError):
    """The server does not finish an index."""

    code = "index-stalled"


@dataclass(frozen=True)
class Patience:
    """How long a build may take: `total_s` in all, `stall_s` without one more row indexed."""

    total_s: float
    stall_s: float
    clock: Callable[[], float] = time.monotonic
    pause: Callable[[float], None] = time.sleep


@dataclass(frozen=True)
class ServerMemory:
    """Memory of the nodes of a server together, in bytes."""

    total_bytes: int
    used_bytes: int

    @property
    def free_bytes(self) -> int:
        """What is not used."""
        return max(0, self.total_bytes - self.used_bytes)


class IndexStore(MilvusCollections):
    """A `CollectionStore` whose indexes can be built again. Arguments as for `MilvusCollections`."""

    def build_index(self, name: str, index: IndexSchema, patience: Patience) -> float:
        """Replace the index of a field, and wait until it is built; returns the seconds. The collection is unloaded.

        Raises:
            StoreError: the server does not have this type, or rejects its parameters.
            IndexStalledError: it does not advance, or takes too long.
        """
        self.drop_index(name)
        begun_s = patience.clock()
        self._send("CreateIndex", name, index_request(index, name))
        least, advanced_s = None, begun_s
        while pending := self._pending(name):
            now_s = patience.clock()
            if least is None or pending < least:
                least, advanced_s = pending, now_s
            if now_s - advanced_s > patience.stall_s:
                raise IndexStalledError(f"{index.index_type}: no row was indexed for {now_s - advanced_s:.0f} s")
            if now_s - begun_s > patience.total_s:
                raise IndexStalledError(f"{index.index_type}: not built within {patience.total_s:.0f} s")
            patience.pause(_POLL_S)
        return patience.clock() - begun_s

    def drop_index(self, name: str) -> None:
        """Unload a collection and delete its indexes; harmless when there are none.

        Milvus refuses to delete an index while the collection is still being unloaded. Milvus Lite does not, and
        reports a collection without an index as loaded.

        Raises:
            WaitExpired: it is not unloaded in time.
        """
        self.release(name)
        if not self._server().lite:
            self._wait(lambda: f"collection {name} is still being unloaded" if self.is_loaded(name) else "")
        for index in self._indexes(name):
            self._call("drop_index", name, name, index)

    def memory(self) -> ServerMemory | None:
        """Memory of all nodes; None where the server does not report it (Milvus Lite)."""
        request = milvus_pb2.GetMetricsRequest(request='{"metric_type": "system_info"}')
        try:
            answer = self._stub.GetMetrics(request, timeout=self._timeout_s)
            check_status(answer.status)
        except SdkError:
            return None
        return _memory(answer.response)

    def _pending(self, name: str) -> int:
        """How many rows are not indexed yet.

        Raises:
            StoreError: the build failed.
        """
        pending = 0
        for one in self._index_messages(name):
            if one.state == common_pb2.IndexState.Failed:
                raise StoreError(f"the index of {name} cannot be built: {one.index_state_fail_reason}")
            pending += int(one.pending_index_rows)
            if one.state in (common_pb2.IndexState.InProgress, common_pb2.IndexState.Unissued):
                pending = max(pending, 1)
        return pending


def _memory(response: str) -> ServerMemory | None:
    """The sum over nodes of the query role; a standalone server has one. None when it reports none."""
    try:
        nodes = msgspec.json.decode(response).get("nodes_info", ())
        found = {
            str(info.get("ip")): info["hardware_infos"]
            for node in nodes
            if (info := node.get("infos", {})).get("type") in ("querynode", "standalone")
            or str(info.get("name", "")).startswith("querynode")
        }
        total = sum(int(one["memory"]) for one in found.values())
        used = sum(int(one["memory_usage"]) for one in found.values())
    except (msgspec.DecodeError, KeyError, TypeError, ValueError, AttributeError):
        return None
    return ServerMemory(total, used) if total else None
