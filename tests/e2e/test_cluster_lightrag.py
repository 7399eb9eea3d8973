"""Upstream's lightrag-server on Kubernetes: load through it, read beside it; what a dead Milvus and a dead model do."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from lightragctl.core.runtime import ReleaseRuntime
from lightragctl.release.open import RuntimeOptions, open_runtime
from lightragctl.release.profiles import load_profile
from tests.cluster.fixture import ReadyCluster
from tests.e2e.cluster_stories import QUICK_STOP, ClusterRelease, release_on
from tests.e2e.lightrag_stories import CORPUS, LEAST_AGREEMENT, Miss, compare, questions, report

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1200)]

NAME = "rag"
SERVER = f"{NAME}-lightrag-server"


@contextmanager
def loaded_release(cluster: ReadyCluster, base: Path, name: str, *options: str) -> Iterator[ClusterRelease]:
    """A release of `dev`, up, with the corpus in two languages loaded through lightrag-server."""
    with release_on(cluster, base, name, *QUICK_STOP, *options) as release:
        done = release.up()
        assert done.returncode == 0, done.stdout + done.stderr
        loaded = release.run("ingest", str(CORPUS), "-o", "json")
        assert loaded.returncode == 0, loaded.stdout + loaded.stderr
        told = json.loads(loaded.stdout)
        assert (told["through"], told["created"]) == ("lightrag-server", 48)
        yield release


@pytest.fixture(scope="module")
def release(cluster: ReadyCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterRelease]:
    """One with the tests' embedder, which makes a minute of three."""
    hashing = ("--set", "components.embedder.model=hashing")
    with loaded_release(cluster, tmp_path_factory.mktemp("rag"), NAME, *hashing) as release:
        yield release


@pytest.fixture(scope="module")
def runtime(cluster: ReadyCluster, release: ClusterRelease) -> ReleaseRuntime:
    """The release as the tool sees it, for its addresses and keys."""
    return seen(cluster, NAME)


def seen(cluster: ReadyCluster, name: str) -> ReleaseRuntime:
    return open_runtime(name, load_profile("dev", namespace=name), RuntimeOptions({}, cluster.kubeconfig, None))


def client(runtime: ReleaseRuntime, component: str) -> httpx.Client:
    """Asks a component through the API server, with its key."""
    headers = {"X-API-Key": runtime.api_key(component) or ""}
    return httpx.Client(base_url=runtime.endpoint(component), headers=headers, timeout=60, trust_env=False)


def wait(what: str, true: Callable[[], bool], within_s: float = 180) -> None:
    deadline = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < deadline, what
        time.sleep(1)


def test_naive_reading_is_upstreams_own(runtime: ReleaseRuntime) -> None:
    hold_against_upstream(runtime)


def hold_against_upstream(runtime: ReleaseRuntime) -> None:
    """Every shipped question: the same ids in the same order, but for 5 % of them."""
    asked = questions()
    with client(runtime, "lightrag-api") as api, client(runtime, "lightrag-server") as upstream:
        misses: list[Miss] = compare(api, upstream, asked)
    print(report(misses, asked))
    assert len(misses) <= (1 - LEAST_AGREEMENT) * len(asked), report(misses, asked)


def test_the_collections_have_the_profiles_index(release: ClusterRelease) -> None:
    said = release.run("logs", "lightrag-server", "--tail", "100000").stdout
    assert "type=HNSW, metric=COSINE, params={'M': 16, 'efConstruction': 200}" in said


def test_loading_again_changes_nothing(release: ClusterRelease) -> None:
    told = json.loads(release.run("ingest", str(CORPUS), "-o", "json").stdout)
    assert (told["created"], told["updated"], told["unchanged"]) == (0, 0, 48)


def test_graph_modes_are_passed_on(release: ClusterRelease) -> None:
    done = release.run("query", "what happens to bond prices when rates rise", "--mode", "mix")
    assert done.returncode == 0, done.stderr
    assert "through lightrag-server" in done.stdout


def test_nobody_is_let_in_without_the_key_but_the_probes(runtime: ReleaseRuntime) -> None:
    with httpx.Client(base_url=runtime.endpoint("lightrag-server"), timeout=30, trust_env=False) as stranger:
        assert stranger.get("/health").status_code == 200
        body = {"model": "lightrag", "messages": [{"role": "user", "content": "/context bonds"}]}
        assert stranger.post("/api/chat", json=body).status_code in (401, 403)
        assert stranger.post("/query/data", json={"query": "bonds", "mode": "naive"}).status_code in (401, 403)


def test_with_milvus_dead_it_is_not_ready_though_health_says_it_is(
    cluster: ReadyCluster, release: ClusterRelease
) -> None:
    def ready() -> str:
        pod = release.objects("pods")[f"Pod/{SERVER}-0"]
        return str(pod["status"]["containerStatuses"][0]["ready"])

    engine = f"statefulset/{NAME}-vector-engine"
    cluster.kubectl("scale", engine, "-n", NAME, "--replicas=0")
    try:
        wait("lightrag-server stays ready without Milvus", lambda: ready() == "False")
        health = release.run("exec", "lightrag-server", "--", "python", "-c", HEALTH).stdout
        assert "healthy" in health
        assert release.components()["lightrag-server"]["state"] == "not ready"
        assert release.components()["lightrag-server"]["restarts"] == 0
    finally:
        cluster.kubectl("scale", engine, "-n", NAME, "--replicas=1")
    wait("lightrag-server does not become ready again", lambda: ready() == "True", 300)


HEALTH = "import urllib.request as r; print(r.urlopen('http://127.0.0.1:9621/health').read().decode())"


@pytest.mark.drill
def test_documents_that_a_dead_model_left_are_named_and_loaded_by_the_next_run(
    release: ClusterRelease, runtime: ReleaseRuntime
) -> None:
    texts = release.tool.cwd / "texts"
    texts.mkdir()
    (texts / "storm.md").write_text("Storms are strong in Autumn, says Beaufort.\n")
    with client(runtime, "mock-llm") as mock:
        mock.put("/faults", json={"outage_s": 600}).raise_for_status()
        failed = release.run("ingest", str(texts))
        assert failed.returncode == 1
        assert "storm.md: " in failed.stderr
        mock.put("/faults", json={}).raise_for_status()
    assert json.loads(release.run("ingest", str(texts), "-o", "json").stdout)["failed"] == []


@pytest.mark.drill
def test_a_writer_that_is_deleted_is_replaced_by_one_and_its_data_are_there(
    cluster: ReadyCluster, release: ClusterRelease
) -> None:
    cluster.kubectl("delete", "pod", f"{SERVER}-0", "-n", NAME, timeout_s=180)
    wait("no new pod", lambda: release.components()["lightrag-server"]["state"] == "ready", 300)
    assert json.loads(release.run("ingest", str(CORPUS), "-o", "json").stdout)["unchanged"] == 48


@pytest.mark.drill
def test_naive_reading_is_upstreams_own_with_the_real_model_too(cluster: ReadyCluster, tmp_path: Path) -> None:
    """A release of its own, of `dev` as it is shipped."""
    with loaded_release(cluster, tmp_path, "real"):
        hold_against_upstream(seen(cluster, "real"))
