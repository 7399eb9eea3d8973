"""Drills: a standalone Milvus is upgraded through a shadow, with 20,000 rows, and back; a wrong one is stopped."""

import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import numpy as np
import pytest

from lightragctl.vectors.milvus import MilvusStore
from tests.cluster import cluster as clusters
from tests.cluster.commands import wait_until
from tests.cluster.fixture import ReadyCluster
from tests.cluster.images import spread
from tests.cluster.upgrading import WRONG_TAG, upgrade_images
from tests.e2e.cluster_stories import READ_PATH, ClusterRelease, release_on
from tests.ports import free_ports

pytestmark = [pytest.mark.cluster, pytest.mark.drill, pytest.mark.timeout(1800)]

ROWS, DIMENSION = 20_000, 384
OPTIONS = (
    *READ_PATH,
    *("--set", "components.embedder.model=hashing"),
    *("--set", "components.vector-engine.stop_grace_s=120"),
    *("--set", "components.vector-engine.image.tag=v2.3.0"),
)


@pytest.fixture(scope="module")
def release(cluster: ReadyCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterRelease]:
    ours = clusters.find(cluster.kubeconfig.parents[1].name)
    if ours is None:
        pytest.skip("needs a test cluster of ours, which images can be given to: make drill")
    for one in upgrade_images():
        spread(one, ours.sockets)
    with release_on(cluster, tmp_path_factory.mktemp("milvus"), "shadowed", *OPTIONS) as release:
        done = release.up()
        assert done.returncode == 0, done.stderr
        (release.tool.cwd / "valves.md").write_text("A valve opens and closes a pipe. " * 40)
        loaded = release.run("ingest", "valves.md")
        assert loaded.returncode == 0, loaded.stderr
        fill(release)
        built = release.run("golden", "build", "--sample", "100")
        assert built.returncode == 0, built.stderr
        yield release


def fill(release: ClusterRelease) -> None:
    """Rows in clusters, as texts have them, written past the tool."""
    source = np.random.default_rng(1)
    centres = source.standard_normal((200, DIMENSION))
    with engine(release) as store:
        name = next(one for one in store.list_collections() if "_chunks_" in one)
        for begin in range(0, ROWS, 1000):
            near = centres[source.integers(200, size=1000)] + 0.4 * source.standard_normal((1000, DIMENSION))
            unit = (near / np.linalg.norm(near, axis=1, keepdims=True)).astype(np.float32)
            store.upsert(name, [row(begin + at, vector) for at, vector in enumerate(unit)])
        store.flush(name)


def row(number: int, vector: Any) -> dict[str, Any]:
    text = {"content": f"passage {number}", "file_path": "made.md", "full_doc_id": "doc-made"}
    return {"id": f"chunk-{number:032x}", "vector": vector, "created_at": 0, **text}


@contextmanager
def engine(release: ClusterRelease) -> Iterator[MilvusStore]:
    (port,) = free_ports(1)
    words = release.words("port-forward", "vector-engine", str(port))
    process = release.tool.popen(*words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        assert process.stderr is not None
        process.stderr.readline()
        with closing(MilvusStore(f"http://127.0.0.1:{port}", 60.0)) as store:
            yield store
    finally:
        process.kill()
        process.communicate()


def rows(release: ClusterRelease) -> int:
    with engine(release) as store:
        return sum(store.row_count(one) for one in store.list_collections() if "_chunks_" in one)


def recall(release: ClusterRelease) -> float:
    done = release.run("golden", "check", "-o", "json")
    return float(next(one["mean"] for one in json.loads(done.stdout)["figures"] if one["name"] == "recall"))


def pod_uid(release: ClusterRelease) -> str:
    return str(release.objects("pods")[f"Pod/{release.name}-vector-engine-0"]["metadata"]["uid"])


def image(release: ClusterRelease) -> str:
    pod = release.objects("pods")[f"Pod/{release.name}-vector-engine-0"]
    return str(pod["spec"]["containers"][0]["image"])


def upgrade(release: ClusterRelease, tag: str, *more: str) -> dict[str, Any]:
    begun = time.monotonic()
    done = release.run("upgrade", "--canary", "--image", f"vector-engine={tag}", *more, "-o", "json")
    found: dict[str, Any] = {"status_code": done.returncode, "stderr": done.stderr, **json.loads(done.stdout)}
    results = found.get("results", {})
    print(f"\n{tag}: {time.monotonic() - begun:.0f} s, outage {results.get('outage_s')} s, {found.get('cause')}")
    for key, verdicts in results.get("verdicts", {}).items():
        print(*[f"  {key} {one['gate']} {one['verdict']}: {one['reason']}" for one in verdicts], sep="\n")
    print("\n".join(f"  {one}" for one in done.stderr.splitlines() if "killed" in one or "no answers" in one))
    return found


def assert_nothing_is_left(release: ClusterRelease) -> None:
    def left() -> str:
        names = release.objects("statefulsets,pods,pvc")
        return ", ".join(one for one in names if "shadow-" in one or one.endswith("-shadow"))

    wait_until("the shadow is gone", left, 120)


def test_a_shadow_that_answers_differently_stops_it_before_the_server_is_touched(release: ClusterRelease) -> None:
    before = pod_uid(release)
    plan = release.run("upgrade", "--canary", "--plan", "--image", f"vector-engine={WRONG_TAG}")
    print(f"\n{plan.stdout}")
    found = upgrade(release, WRONG_TAG)
    assert found["status_code"] == 7, found["stderr"]
    assert "overlap" in found["cause"]
    assert pod_uid(release) == before
    assert_nothing_is_left(release)


def test_rows_and_recall_stay_through_three_versions_and_back(release: ClusterRelease) -> None:
    count, was = rows(release), recall(release)
    assert count > ROWS
    for tag in ("v2.3.1", "v2.3.5", "v2.3.0"):
        found = upgrade(release, tag)
        assert found["status_code"] == 0, found["stderr"]
        assert image(release) == f"milvusdb/milvus:{tag}"
        assert rows(release) == count
        now = recall(release)
        print(f"  {count} rows, recall {now} (before: {was})")
        assert now == pytest.approx(was, abs=0.02)
        assert found["results"]["outage_s"] < 120
    assert_nothing_is_left(release)
