"""The stores that the contract is held against: Milvus Lite, the real Milvus 2.3.5, and the fake of the other tests."""

import asyncio
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from lightragctl.vectors.collections import MilvusCollections
from lightragctl.vectors.model import Hit, SearchBatch
from lightragctl.vectors.search import MilvusSearch
from lightragctl.vectors.store import CollectionStore, SearchStore
from tests.fakes.store import FakeSearch, FakeStore
from tests.milvus.fixtures import LiteServer
from tests.milvus.server import MilvusServer

CALL_S = 20.0
_numbers = itertools.count()


@dataclass
class Subject:
    """A store under test, with a way to search it and a name that no other test uses."""

    store: CollectionStore
    open_search: Callable[[], SearchStore]
    name: str
    deep: int = 2000
    """How many parentheses make a filter that is too deep: more than Python recurses."""
    until_indexed: Callable[[str], None] = lambda name: None
    """Waits until the index of a collection is built, where a load would disturb that."""

    def release(self, name: str) -> None:
        """Unloads a collection, as a restart of Milvus Lite does to all."""
        self.store.release(name)

    def search(self, *batches: SearchBatch) -> list[list[list[Hit]]]:
        """Searches them all at the same time, on one connection."""

        async def run() -> list[list[list[Hit]]]:
            door = self.open_search()
            try:
                return list(await asyncio.gather(*(door.search(batch) for batch in batches)))
            finally:
                await door.close()

        return asyncio.run(run())


@pytest.fixture(params=["fake", "lite", pytest.param("milvus", marks=pytest.mark.milvus)])
def subject(request: pytest.FixtureRequest) -> Iterator[Subject]:
    """Each store in turn."""
    name = f"contract_{next(_numbers)}"
    if request.param == "fake":
        fake = FakeStore()
        yield Subject(fake, lambda: FakeSearch(fake), name)
        return
    server: LiteServer | MilvusServer = request.getfixturevalue(request.param)
    store = MilvusCollections(server.uri, CALL_S)
    subject = Subject(store, lambda: MilvusSearch(server.uri, CALL_S), name)
    if isinstance(server, LiteServer):
        subject.until_indexed = server.until_indexed
    else:
        subject.deep = 500  # Milvus 2.3.5 takes 0.3 s of a processor for these, and 15 s for 2000
    yield subject
    for collection in store.list_collections():
        if collection.startswith(name):
            store.drop(collection)
    store.close()


REPEATED = pytest.mark.parametrize(
    "subject", ["fake", "lite", pytest.param("milvus", marks=[pytest.mark.milvus, pytest.mark.drill])], indirect=True
)
"""For a test that repeats on the real Milvus, at its price, what another one shows there: only as a drill."""
