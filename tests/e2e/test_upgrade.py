"""A canary on a cluster under load: a good image is promoted without a failed request, a bad one is rolled back."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.fixture import ReadyCluster
from tests.cluster.images import FAULTY, SAME
from tests.e2e.cluster_stories import SMALL, ClusterRelease, release_on

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]

NODE_PORT = 30418
OPTIONS = (
    *SMALL,
    *("--set", "components.lightrag-api.replicas=2"),
    *("--set", "components.lightrag-api.api_key=none"),
    *("--set", "components.lightrag-api.resources.requests.cpu=100m"),
    *("--set", f"components.lightrag-api.expose={{type: NodePort, node_port: {NODE_PORT}}}"),
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
def load(release: ClusterRelease, saved: Path, rate: int, seconds: int) -> Iterator["subprocess.Popen[str]"]:
    """Constant load on the Service; the test waits for its end to read the result."""
    url = f"http://{release.cluster.host_address}:{NODE_PORT}"
    words = ("bench", "run", "--url", url, "--rate", str(rate), "--duration", str(seconds), "--save", str(saved))
    process = release.tool.popen(*words, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def images(release: ClusterRelease) -> set[str]:
    """The images of the stable pods of lightrag-api; no canary may be left."""
    deployments = release.objects("deployments")
    assert not [name for name in deployments if name.endswith("-canary")]
    pod = deployments[f"Deployment/{release.name}-lightrag-api"]["spec"]["template"]["spec"]
    return {one["image"] for one in pod["containers"]}


def upgrade(release: ClusterRelease, image: str, *more: str) -> dict[str, Any]:
    tag = image.partition(":")[2]
    words = ("upgrade", "--canary", "--observe", "60s", "--image", f"lightrag-api={tag}", *more, "-o", "json")
    done = release.run(*words)
    found: dict[str, Any] = {"status_code": done.returncode, "stderr": done.stderr, **json.loads(done.stdout)}
    return found


def test_a_version_that_fails_requests_is_rolled_back_and_a_good_one_promoted(
    release: ClusterRelease, tmp_path: Path
) -> None:
    with load(release, tmp_path / "bad.json", 100, 240):
        bad = upgrade(release, FAULTY, "--foreground")
    assert bad["status_code"] == 7, bad["stderr"]
    assert "error rate" in bad["cause"]
    assert images(release) == {"lightragctl:latest"}

    with load(release, tmp_path / "good.json", 100, 170) as bench:
        good = upgrade(release, SAME)
        assert good["status_code"] == 0, good["stderr"]
        bench.wait(240)
    assert images(release) == {SAME}
    assert good["profile_lines"] == [f"components.lightrag-api.tag: {SAME.partition(':')[2]}"]
    result = json.loads((tmp_path / "good.json").read_text())
    assert result["outcomes"] == {"ok": result["requests"]}

    undone = release.up()
    assert undone.returncode == 8
    assert "would undo the upgrade" in undone.stderr
