"""Drill: a real Milvus is replaced on its data by other versions, as `upgrade` does it, without a cluster around it."""

import os
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from lightragctl.core.settings import Index
from lightragctl.upgrade.compared import failures
from lightragctl.upgrade.engine_checks import judge_state, state
from lightragctl.upgrade.engine_site import open_engine
from lightragctl.upgrade.in_place import STOP_S
from lightragctl.vectors.model import chunks_spec
from tests.milvus.server import MilvusServer, cache_folder, installed, running_milvus

pytestmark = [pytest.mark.milvus, pytest.mark.drill, pytest.mark.timeout(1800)]

NAME, ROWS, DIMENSION = "default_chunks_m_384d_g1", 20_000, 384
VERSIONS = ("2.3.0", "2.3.1", "2.3.5", "2.3.0")
GRACEFUL = {"COMMON_GRACEFULSTOPTIMEOUT": "5"}
"""As our manifest has it."""


@pytest.fixture
def oldest() -> Iterator[MilvusServer]:
    for version in VERSIONS:
        installed(cache_folder(), version)
    with running_milvus(VERSIONS[0]) as server:
        server.stop()
        launch(server, VERSIONS[0])
        server._wait_until_ready()
        yield server


def launch(server: MilvusServer, version: str) -> None:
    """Start a version on the data of the server, as it runs in our pods."""
    server.program = installed(cache_folder(), version) / "bin" / "milvus"
    environ = {"LD_LIBRARY_PATH": str(server.program.parent), "MILVUSCONF": str(server.data / "configs"), **GRACEFUL}
    words = [*server.wrapper, str(server.program), "run", "standalone", "-alias", server.data.name]
    with (server.data / "milvus.log").open("ab") as log:
        own = {"PATH": os.defpath, **environ}
        server.process = subprocess.Popen(words, cwd=server.data, env=own, stdout=log, stderr=log)
    with (server.data / "pids").open("a") as pids:
        pids.write(f"{server.process.pid}\n")


def stopped(server: MilvusServer) -> str:
    """End the server as a pod is ended: SIGTERM, and after a time SIGKILL."""
    assert server.process is not None
    begin_s = time.monotonic()
    server.process.terminate()
    try:
        server.process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        server.kill()
        return f"killed after {STOP_S:g} s"
    return f"stopped after {time.monotonic() - begin_s:.1f} s"


def rows(source: np.random.Generator, begin: int, count: int) -> list[dict[str, Any]]:
    """Vectors in clusters, as texts have them."""
    centres = np.random.default_rng(0).standard_normal((200, DIMENSION))
    near = centres[source.integers(200, size=count)] + 0.4 * source.standard_normal((count, DIMENSION))
    unit = (near / np.linalg.norm(near, axis=1, keepdims=True)).astype(np.float32)
    text = {"content": "passage", "file_path": "made.md", "full_doc_id": "doc-made", "created_at": 0}
    return [{"id": f"chunk-{begin + at:032x}", "vector": vector, **text} for at, vector in enumerate(unit)]


def test_rows_and_answers_stay_through_three_versions_on_one_volume_and_back(oldest: MilvusServer) -> None:
    source = np.random.default_rng(1)
    with open_engine(oldest.uri, 60.0) as engine:
        engine.store.create(chunks_spec(NAME, DIMENSION, Index()))
        for begin in range(0, ROWS, 1000):
            engine.store.upsert(NAME, rows(source, begin, 1000))
        engine.store.flush(NAME)
        before, schema = state(engine), engine.store.describe(NAME)
    query = np.ones((1, DIMENSION), np.float32)
    for version in VERSIONS[1:]:
        begin_s = time.monotonic()
        told = stopped(oldest)
        launch(oldest, version)
        with open_engine(oldest.uri, 1.0) as engine:
            while engine.ask(NAME, schema, query, 1)[0].error:
                time.sleep(0.2)
        outage_s = time.monotonic() - begin_s
        with open_engine(oldest.uri, 60.0) as engine:
            found = judge_state(engine, before)
        print(f"\n{version}: {told}, no answers for {outage_s:.1f} s; load {os.getloadavg()[0]:.0f}")
        print(*[f"  {one.gate} {one.verdict}: {one.reason}" for one in found], sep="\n")
        assert failures(found) == []
