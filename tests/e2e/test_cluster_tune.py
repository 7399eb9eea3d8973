"""Index tuning on a cluster: search, apply under 100 requests/s through lightrag-api, undo."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.fixture import ReadyCluster
from tests.e2e.cluster_stories import SMALL, ClusterRelease, release_on
from tests.e2e.lightrag_stories import CORPUS

pytestmark = [pytest.mark.cluster, pytest.mark.drill, pytest.mark.timeout(1500)]

NODE_PORT = 30431
OPTIONS = (
    *SMALL,
    *("--set", "components.lightrag-api.replicas=2"),
    *("--set", "components.lightrag-api.api_key=none"),
    *("--set", "components.lightrag-api.resources.requests.cpu=100m"),
    *("--set", f"components.lightrag-api.expose={{type: NodePort, node_port: {NODE_PORT}}}"),
)


@pytest.fixture(scope="module")
def release(cluster: ReadyCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterRelease]:
    with release_on(cluster, tmp_path_factory.mktemp("tuned"), "tuned", *OPTIONS) as release:
        done = release.up()
        assert done.returncode == 0, done.stderr
        loaded = release.run("ingest", str(CORPUS))
        assert loaded.returncode == 0, loaded.stderr
        yield release


def command(release: ClusterRelease, *words: str) -> dict[str, Any]:
    done = release.run(*words, "-o", "json")
    assert done.returncode in (0, 4), done.stderr + done.stdout
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def rebuilding(release: ClusterRelease) -> None:
    """Have the search have picked an index that must be built, whichever it was."""
    path = release.tool.home / ".local/share/lightragctl/tune/tuned-default-chunks.json"
    ledger = json.loads(path.read_text())
    index = {"index_type": "IVF_FLAT", "metric": "COSINE", "build": {"nlist": 2}, "search": {"nprobe": 2}}
    ledger["pick"] |= {"index": index, "rebuilds": True, "keep": False, "min_recall": 0.9}
    path.write_text(json.dumps(ledger))


def test_search_apply_under_load_and_undo(release: ClusterRelease, tmp_path: Path) -> None:
    found = command(release, "tune", "search", "--queries", "40", "--budget", "60s", "--load", "1")
    assert found["frontier"]
    rebuilding(release)
    url, saved = f"http://{release.cluster.host_address}:{NODE_PORT}", tmp_path / "load.json"
    words = ("bench", "run", "--url", url, "--rate", "100", "--duration", "180", "--save", str(saved))
    bench = release.tool.popen(*words, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        applied = command(release, "tune", "apply", "--yes")
        assert (applied["phase"], applied["proof"]["rows"]) == ("succeeded", found["rows"])
        undone = command(release, "tune", "undo", "--yes")
        assert (undone["phase"], undone["after"]["index_type"]) == ("succeeded", applied["before"]["index_type"])
        bench.wait(400)
    finally:
        bench.kill()
        bench.communicate()
    report = json.loads(saved.read_text())
    print({name: report.get(name) for name in ("requests", "outcomes", "statuses")})
    assert set(report["outcomes"]) == {"ok"}, report["outcomes"]
