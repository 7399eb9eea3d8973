"""The stores that the contract is held against: Milvus Lite, the real Milvus 2.3.5, and the fake of the other tests."""

import asyncio
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import pytest

from lightragctl.vectors.milvus import MilvusStore
from lightragctl.vectors.model import Hit, SearchBatch
from lightragctl.vectors.sdk import MilvusClient
from lightragctl.vectors.search import MilvusSearch
from lightragctl.vectors.store import SearchStore, VectorStore
from tests.fakes.store import FakeSearch, FakeStore
from tests.milvus.fixtures import LiteServer
from tests.milvus.server import MilvusServer

CALL_S = 20.0
_numbers = itertools.count()


@dataclass
class Subject:
    """A store under test, with a way to search it, one to unload a collection, and a name that no other test uses."""

    store: VectorStore
    open_search: Callable[[], SearchStore]
    release: Callable[[str], None]
    name: str
    deep: int = 2000
    """How many parentheses make a filter that is too deep: more than Python recurses."""
    until_indexed: Callable[[str], None] = lambda name: None
    """Waits until the index of a collection is built, where a load would disturb that."""

    def search(self, *batches: SearchBatch) -> list[list[list[Hit]]]:
        """Searches them all at the same time, on one connection."""

        async def run() -> list[list[list[Hit]]]:
            door = self.open_search()
            try:
                return list(await asyncio.gather(*(door.search(batch) for batch in batches)))
            finally:
                await door.close()

        return asyncio.run(run())


def release(uri: str, name: str) -> None:
    """Unload a collection, as a restart of Milvus Lite does to all; our own door never does."""
    client = MilvusClient(uri, timeout=CALL_S, dedicated=True)
    client.release_collection(name)
    client.close()


@pytest.fixture(params=["fake", "lite", pytest.param("milvus", marks=pytest.mark.milvus)])
def subject(request: pytest.FixtureRequest) -> Iterator[Subject]:
    """Each store in turn."""
    name = f"contract_{next(_numbers)}"
    if request.param == "fake":
        fake = FakeStore()
        yield Subject(fake, lambda: FakeSearch(fake), fake.release, name)
        return
    server: LiteServer | MilvusServer = request.getfixturevalue(request.param)
    store = MilvusStore(server.uri, CALL_S)
    subject = Subject(store, lambda: MilvusSearch(server.uri, CALL_S), partial(release, server.uri), name)
    if isinstance(server, LiteServer):
        subject.until_indexed = server.until_indexed
    else:
        subject.deep = 500  # Milvus 2.3.5 takes 0.3 s of a processor for these, and 15 s for 2000
    yield subject
    for collection in store.list_collections():
        if collection.startswith(name):
            store.drop(collection)
    store.close()
