"""Milvus Lite as a process, and the session fixtures `lite` and `milvus`, which `tests/conftest.py` takes from here."""

import contextlib
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from lightragctl.core.errors import UnavailableError
from lightragctl.vectors.milvus import MilvusStore
from tests.milvus.server import MilvusServer, running_milvus
from tests.ports import free_port

__all__ = ["free_port"]

START_S = 30.0


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

    def until_indexed(self, collection: str) -> None:
        """Waits until the index of the collection is written: a load before that may fail on half of the file."""
        end = time.monotonic() + START_S
        while not self._has_index(collection):
            assert time.monotonic() < end, f"milvus-lite builds no index of {collection}"
            time.sleep(0.01)

    def _has_index(self, collection: str) -> bool:
        assert self.process is not None
        files = list((self.data / "collections" / collection).rglob("*.idx"))
        opened = set()
        for descriptor in Path(f"/proc/{self.process.pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                opened.add(descriptor.readlink())
        return bool(files) and opened.isdisjoint(files)

    def kill(self) -> None:
        """Ends it as a crash does."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(10)

    def freeze(self) -> None:
        """Stops it as a hang does; back when every one of its threads stands still."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)
        end = time.monotonic() + 10
        while states_of_threads(self.process.pid) != {"T"}:
            assert time.monotonic() < end, "milvus-lite does not stop"
            time.sleep(0.01)

    def thaw(self) -> None:
        """Lets it go on."""
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)


def states_of_threads(pid: int) -> set[str]:
    """The letters of proc(5) for what the threads of this process do; one that ends meanwhile is left out."""
    states = set()
    for thread in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            states.add((thread / "stat").read_text(encoding="utf-8", errors="replace").rsplit(")", 1)[1].split()[0])
    return states


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
