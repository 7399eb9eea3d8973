"""The session fixture `cluster`: the cluster that `--cluster KUBECONFIG` names, or one of our own for this session.

`tests/conftest.py` takes `cluster` and `pytest_addoption` from here. What cannot run is skipped with the reason, which
is a failure under REQUIRE_ALL=1; a cluster that can run but does not start is a failure always.
"""

import contextlib
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.cluster import cluster as own
from tests.cluster import images
from tests.cluster.binaries import programs
from tests.cluster.commands import run
from tests.cluster.kept import ClusterError

PREFIX = "pytest"


@dataclass(frozen=True)
class ReadyCluster:
    """A cluster that tests may use. `real` is true for one of ours: there a test may also break a node."""

    kubeconfig: Path
    host_address: str
    nodes: tuple[str, ...]
    real: bool
    sockets: tuple[Path, ...] = ()
    path: str = os.environ.get("PATH", os.defpath)

    def env(self) -> dict[str, str]:
        """The environment for a program that talks to the cluster."""
        return {**os.environ, "KUBECONFIG": str(self.kubeconfig), "PATH": self.path}

    def kubectl(self, *arguments: str, timeout_s: float = 60, stdin: str | None = None) -> str:
        """What kubectl printed; ClusterError with its complaint when it fails."""
        program = shutil.which("kubectl", path=self.path) or "kubectl"
        return run(program, *arguments, timeout_s=timeout_s, env=self.env(), stdin=stdin)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds `--cluster`."""
    parser.addoption(
        "--cluster",
        metavar="KUBECONFIG",
        help="run cluster tests on this cluster, which must have the images; without it they start one of their own",
    )


@pytest.fixture(scope="session")
def cluster(request: pytest.FixtureRequest) -> Iterator[ReadyCluster]:
    """A cluster with images, for the whole session."""
    given = request.config.getoption("--cluster")
    if given:
        yield foreign(Path(given).absolute())
        return
    if reason := why_impossible():
        pytest.skip(reason)
    sweep()
    name = f"{PREFIX}{os.getpid()}"
    try:
        started = own.up(name, 3)
        images.load(started.sockets)
        nodes = tuple(f"node-{number}" for number in started.plan.numbers)
        path, sockets = programs().path, tuple(started.sockets)
        yield ReadyCluster(started.kubeconfig, started.plan.node(1), nodes, True, sockets, path)
    finally:
        own.down(name)


def why_impossible() -> str:
    """Why this machine cannot run a cluster, or nothing."""
    try:
        own.require_machine()
    except ClusterError as problem:
        return str(problem)
    return "" if shutil.which("go") else "the test cluster is built from source: Go is not installed"


def foreign(kubeconfig: Path) -> ReadyCluster:
    """A cluster that somebody else runs; it may be one of ours that a person started."""
    path = os.environ.get("PATH", os.defpath)
    if not shutil.which("kubectl"):
        path = programs().path
    found = ReadyCluster(kubeconfig, "", (), False, (), path)
    items = json.loads(found.kubectl("get", "nodes", "-o", "json"))["items"]
    addresses = [entry["address"] for entry in items[0]["status"]["addresses"] if entry["type"] == "InternalIP"]
    names = tuple(item["metadata"]["name"] for item in items)
    return ReadyCluster(kubeconfig, addresses[0], names, False, (), path)


def sweep() -> None:
    """Stops the clusters of test runs that were killed."""
    for name in own.names():
        number = name.removeprefix(PREFIX)
        if name.startswith(PREFIX) and number.isdigit() and not Path("/proc", number).exists():
            with contextlib.suppress(ClusterError):  # another run is about to do the same
                own.down(name)
