"""A canary on a cluster under load: a good image is promoted without a failed request, a bad one is rolled back."""

import json
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.fixture import ReadyCluster
from tests.cluster.images import FAULTY, SAME
from tests.e2e.cluster_stories import SMALL, ClusterRelease, release_on

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(2400)]

NODE_PORT = 30418
RATE = 60
"""Requests per second: 20 to a canary beside two pods, so that each interval of two seconds has data."""
UPGRADE_S = 900.0
"""A deadline for a machine that does much else."""
UNSTEADY = ("slow", "mean", "mean-absolute", "queue", "memory-growth")
"""Gates that are not used: on a machine where all share two processors a pod is slower for many reasons."""
COMPARED = ("errors", "refused", "shed")
"""Gates that are used, with what the requests of a few seconds show."""
OPTIONS = (
    *SMALL,
    *("--set", "components.lightrag-api.replicas=2"),
    *("--set", "components.lightrag-api.api_key=none"),
    *("--set", "components.lightrag-api.resources.requests.cpu=100m"),
    *("--set", f"components.lightrag-api.expose={{type: NodePort, node_port: {NODE_PORT}}}"),
    *(word for gate in UNSTEADY for word in ("--set", f"upgrade.gates.{gate}.enabled=false")),
    *("--set", "upgrade.gates.ready={limit: 0.5, minimum: 3}"),
    *(word for gate in COMPARED for word in ("--set", f"upgrade.gates.{gate}={{minimum: 150, tolerance: 0.02}}")),
)


@pytest.fixture(scope="module")
def release(cluster: ReadyCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterRelease]:
    with release_on(cluster, tmp_path_factory.mktemp("upgrade"), "upgraded", *OPTIONS) as release:
        done = release.up()
        assert done.returncode == 0, done.stderr
        (release.tool.cwd / "valves.md").write_text("A valve opens and closes a pipe. " * 40)
        loaded = release.run("ingest", "valves.md")
        assert loaded.returncode == 0, loaded.stderr
        yield release


@contextmanager
def load(release: ClusterRelease, saved: Path, rate: int = RATE) -> Iterator[None]:
    """Constant load on the Service, which is there when this begins; Ctrl-C ends it, and it saves its result."""
    url = f"http://{release.cluster.host_address}:{NODE_PORT}"
    words = ("bench", "run", "--url", url, "--rate", str(rate), "--duration", "3600", "--no-recall", "--save", saved)
    with saved.with_suffix(".err").open("w+") as errors:
        process = release.tool.popen(*map(str, words), stdout=subprocess.DEVNULL, stderr=errors)
        try:
            while "measure: " not in saved.with_suffix(".err").read_text() and process.poll() is None:
                time.sleep(0.2)
            yield
            process.send_signal(signal.SIGINT)
            process.wait(60)
        finally:
            process.kill()
            process.wait()


def outcomes(saved: Path) -> dict[str, int]:
    """What became of the requests of a load that has ended."""
    return dict(json.loads(saved.read_text())["outcomes"])


def images(release: ClusterRelease) -> set[str]:
    """The images of the stable pods of lightrag-api; no canary may be left."""
    deployments = release.objects("deployments")
    assert not [name for name in deployments if name.endswith("-canary")]
    pod = deployments[f"Deployment/{release.name}-lightrag-api"]["spec"]["template"]["spec"]
    return {one["image"] for one in pod["containers"]}


def upgrade(release: ClusterRelease, image: str, *more: str, observe: str = "30s") -> dict[str, Any]:
    tag = image.partition(":")[2]
    words = ("upgrade", "--canary", "--observe", observe, "--image", f"lightrag-api={tag}", *more, "-o", "json")
    process = release.tool.popen(*release.words(*words), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    with process:
        text, errors = process.communicate(timeout=UPGRADE_S)
    assert text, errors
    found: dict[str, Any] = {"status_code": process.returncode, "stderr": errors, **json.loads(text)}
    return found


def test_a_version_that_fails_requests_is_rolled_back_and_a_good_one_promoted(
    release: ClusterRelease, tmp_path: Path
) -> None:
    with load(release, tmp_path / "bad.json"):
        bad = upgrade(release, FAULTY, "--foreground", observe="60s")
    assert bad["status_code"] == 7, bad["stderr"]
    assert "error rate" in bad["cause"]
    assert images(release) == {"lightragctl:latest"}

    with load(release, tmp_path / "good.json"):
        good = upgrade(release, SAME)
    assert good["status_code"] == 0, good["stderr"]
    assert images(release) == {SAME}
    assert good["profile_lines"] == [f"components.lightrag-api.tag: {SAME.partition(':')[2]}"]
    assert outcomes(tmp_path / "good.json").keys() == {"ok"}

    undone = release.up()
    assert undone.returncode == 8
    assert "would undo the upgrade" in undone.stderr
