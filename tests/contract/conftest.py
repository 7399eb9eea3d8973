"""The stores that the contract is held against: Milvus Lite, the real Milvus 2.3.5, and the fake of the other tests."""

import asyncio
import itertools
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from lightragctl.core.errors import UnavailableError
from lightragctl.vectors.milvus import MilvusStore
from lightragctl.vectors.model import Hit, SearchBatch
from lightragctl.vectors.sdk import MilvusClient
from lightragctl.vectors.search import MilvusSearch
from lightragctl.vectors.store import SearchStore, VectorStore
from tests.fakes.store import FakeSearch, FakeStore
from tests.milvus.server import MilvusServer, running_milvus

CALL_S = 20.0
START_S = 30.0
_numbers = itertools.count()


@dataclass
class Subject:
    """A store under test, with a way to search it, one to unload a collection, and a name that no other test uses."""

    store: VectorStore
    open_search: Callable[[], SearchStore]
    release: Callable[[str], None]
    name: str

    def search(self, *batches: SearchBatch) -> list[list[list[Hit]]]:
        """Searches them all at the same time, on one connection."""

        async def run() -> list[list[list[Hit]]]:
            door = self.open_search()
            try:
                return list(await asyncio.gather(*(door.search(batch) for batch in batches)))
            finally:
                await door.close()

        return asyncio.run(run())


@dataclass
class LiteServer:
    """A `milvus-lite server` process."""

    data: Path
    port: int
    process: subprocess.Popen[bytes] | None = None

    @property
    def uri(self) -> str:
        """The address for a client."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Starts it and waits until it answers."""
        options = ["--data-dir", str(self.data), "--host", "127.0.0.1", "--port", str(self.port), "--max-workers", "1"]
        command = [sys.executable, "-c", "from milvus_lite.cmdline import main; main()", "server", *options]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        store, end = MilvusStore(self.uri, 2.0), time.monotonic() + START_S
        while True:
            try:
                store.resolve("none")  # what answers for every collection would open them
            except UnavailableError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.1)
            else:
                store.close()
                return

    def kill(self) -> None:
        """Ends it as a crash does."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(10)

    def freeze(self) -> None:
        """Stops it as a hang does; back when every one of its threads stands still."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)
        tasks, end = Path(f"/proc/{self.process.pid}/task"), time.monotonic() + 10
        while any((task / "stat").read_text().rsplit(")", 1)[1].split()[0] != "T" for task in tasks.iterdir()):
            assert time.monotonic() < end, "milvus-lite does not stop"
            time.sleep(0.01)

    def thaw(self) -> None:
        """Lets it go on."""
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)


def release(uri: str, name: str) -> None:
    """Unload a collection, as a restart of Milvus Lite does to all; our own door never does."""
    client = MilvusClient(uri, timeout=CALL_S, dedicated=True)
    client.release_collection(name)
    client.close()


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def lite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiteServer]:
    """Milvus Lite, for the session."""
    server = LiteServer(tmp_path_factory.mktemp("lite") / "data", free_port())
    server.start()
    yield server
    server.kill()


@pytest.fixture(scope="session")
def milvus() -> Iterator[MilvusServer]:
    """The real Milvus, for the session."""
    with running_milvus() as server:
        yield server


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
    yield Subject(store, lambda: MilvusSearch(server.uri, CALL_S), partial(release, server.uri), name)
    for collection in store.list_collections():
        if collection.startswith(name):
            store.drop(collection)
    store.close()
