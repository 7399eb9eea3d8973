"""Indexes, segments and memory of collections: what `index` shows and changes. Talks gRPC.

Milvus Lite has no segments to report, answers a request for compaction without doing anything, and stores the property
`mmap.enabled` without applying it (milvus-lite 3.2.2); so both are refused there.
"""

from collections.abc import Callable
from dataclasses import dataclass

from lightragctl.core.errors import RefusedError
from lightragctl.vectors.collections import MilvusCollections
from lightragctl.vectors.sdk import common_pb2, milvus_pb2

MMAP = "mmap.enabled"
"""The property of a collection by which query nodes map its files into memory instead of reading them."""
_FLUSHED = common_pb2.SegmentState.Value("Flushed")


@dataclass(frozen=True)
class IndexProgress:
    """How far an index is built, in rows. `state` is Milvus's word, such as `Finished`; `failure` its reason."""

    total_rows: int
    indexed_rows: int
    pending_rows: int
    state: str
    failure: str = ""


class IndexStore(MilvusCollections):
    """A `CollectionStore` that also compacts collections and maps them into memory."""

    def is_lite(self) -> bool:
        """Whether it is Milvus Lite."""
        return self._server().lite

    def index_progress(self, name: str) -> IndexProgress | None:
        """How far the index of the vectors is; None when there is no index."""
        found = next((one for one in self._index_messages(name) if one.field_name == "vector"), None)
        if found is None:
            return None
        return IndexProgress(
            int(found.total_rows),
            int(found.indexed_rows),
            int(found.pending_index_rows),
            str(common_pb2.IndexState.Name(found.state)),
            str(found.index_state_fail_reason),
        )

    def segments(self, name: str) -> list[int] | None:
        """The rows of each flushed segment, ascending; None where the server does not report them."""
        request = milvus_pb2.GetPersistentSegmentInfoRequest(collectionName=name)
        try:
            answer = self._send("GetPersistentSegmentInfo", name, request)
        except RefusedError:
            return None
        return sorted(int(one.num_rows) for one in answer.infos if one.state == _FLUSHED and one.num_rows)

    def start_compaction(self, name: str) -> int:
        """Flush the collection and request that its small segments are merged; returns the id of the work.

        Raises:
            RefusedError: this is Milvus Lite, which does not merge on request.
        """
        self.refuse_lite("compaction on request: it merges its files by itself")
        self.flush(name)
        described = self._send("DescribeCollection", name, milvus_pb2.DescribeCollectionRequest(collection_name=name))
        request = milvus_pb2.ManualCompactionRequest(collectionID=described.collectionID)
        return int(self._send("ManualCompaction", name, request).compactionID)

    def compaction_left(self, work: int) -> str:
        """What a compaction still does; empty when it is completed.

        Raises:
            StoreError: the server does not know it, as after a restart.
        """
        request = milvus_pb2.GetCompactionStateRequest(compactionID=work)
        answer = self._send("GetCompactionState", f"compaction {work}", request)
        if answer.state == common_pb2.CompactionState.Value("Completed"):
            return ""
        return f"{answer.executingPlanNo} merges in progress, {answer.completedPlanNo} completed"

    def wait_compacted(self, name: str, work: int, report: Callable[[str], None]) -> None:
        """Wait until a compaction is completed and the merged rows are indexed.

        Raises:
            WaitExpired: it is not, within the store's wait.
        """

        def missing() -> str:
            left = self.compaction_left(work) or self._unindexed(name)
            if left:
                report(left)
            return left

        self._wait(missing)

    def set_mmap(self, name: str, enabled: bool) -> None:
        """Have the collection mapped into memory from its next load on, or not. It must not be loaded.

        Milvus 2.3 stores the property and applies it only where `queryNode.mmapDirPath` is set; the server does not
        report whether it is.

        Raises:
            RefusedError: this is Milvus Lite, which stores the property and ignores it.
        """
        self.refuse_lite("memory mapping")
        pair = common_pb2.KeyValuePair(key=MMAP, value=str(enabled))
        self._send("AlterCollection", name, milvus_pb2.AlterCollectionRequest(collection_name=name, properties=[pair]))

    def refuse_lite(self, what: str) -> None:
        """Does nothing on Milvus.

        Raises:
            RefusedError: this is Milvus Lite.
        """
        if self.is_lite():
            raise RefusedError(f"Milvus Lite has no {what}", "use a profile with Milvus for it")
