"""The session fixture `cluster`: the cluster that `--cluster=KUBECONFIG` names.

`tests/conftest.py` takes `cluster` and `pytest_addoption` from here. `make test-cluster` starts one of ours first.
"""

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.cluster.binaries import programs
from tests.cluster.commands import run


@dataclass(frozen=True)
class ReadyCluster:
    """A cluster that tests may use; `host_address` is where a NodePort answers, `path` has kubectl."""

    kubeconfig: Path
    host_address: str
    nodes: tuple[str, ...]
    path: str

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
        help="run cluster tests on this cluster, which must have the images (with =, or pytest takes it for a test)",
    )


@pytest.fixture(scope="session")
def cluster(request: pytest.FixtureRequest) -> ReadyCluster:
    """A cluster that has the images, for the whole session."""
    given = request.config.getoption("--cluster")
    if not given:
        pytest.skip("needs a cluster: make test-cluster, or pytest --cluster=KUBECONFIG")
    kubeconfig = Path(given).absolute()
    path = os.environ.get("PATH", os.defpath)
    if not shutil.which("kubectl"):
        path = programs().path
    found = ReadyCluster(kubeconfig, "", (), path)
    items = json.loads(found.kubectl("get", "nodes", "-o", "json"))["items"]
    addresses = [entry["address"] for entry in items[0]["status"]["addresses"] if entry["type"] == "InternalIP"]
    names = tuple(item["metadata"]["name"] for item in items)
    return ReadyCluster(kubeconfig, addresses[0], names, path)
