"""A vector store in memory with segments and index builds, which a test sets; for Milvus, not Milvus Lite."""

from lightragctl.vectors.indexes import IndexProgress
from tests.fakes.store import FakeStore


class FakeIndexes(FakeStore):
    """A `state.Indexes`: `segment_rows` and `pending` by collection."""

    def __init__(self) -> None:
        super().__init__()
        self.segment_rows: dict[str, list[int]] = {}
        self.pending: dict[str, int] = {}

    def is_lite(self) -> bool:
        return False

    def index_progress(self, name: str) -> IndexProgress | None:
        rows, pending = len(self._collection(name).rows), self.pending.get(name, 0)
        return IndexProgress(rows, rows - pending, pending, "InProgress" if pending else "Finished")

    def segments(self, name: str) -> list[int] | None:
        return self.segment_rows.get(name)
