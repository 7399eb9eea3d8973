"""The main story on Kubernetes: up, load real documents, ask, change, take down; real Milvus 2.3.5, real embedder."""

import base64
import json
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from lightragctl.release.open import RuntimeOptions, open_runtime
from lightragctl.release.profiles import load_profile
from lightragctl.vectors.milvus import MilvusStore
from tests.cluster.fixture import ReadyCluster
from tests.e2e.cluster_faults import FAULTS
from tests.e2e.cluster_ill import Ill, check, quick, until_well
from tests.e2e.cluster_stories import READ_PATH, ClusterRelease, release_on

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]

DOCS = Path(__file__).resolve().parents[2] / "docs"
MANAGED = "deployments,statefulsets,services,configmaps,secrets,resourcequotas,limitranges"


@pytest.fixture(scope="module")
def release(cluster: ReadyCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterRelease]:
    """The release of these stories, up, with the project's own guides loaded."""
    with release_on(cluster, tmp_path_factory.mktemp("main"), "story", *READ_PATH) as release:
        done = release.up()
        assert done.returncode == 0, done.stdout + done.stderr
        for component in ("vector-engine", "embedder", "model-gateway", "lightrag-api"):
            assert re.search(rf"^{component}: ready after", done.stderr, re.MULTILINE), done.stderr
        loaded = release.run("ingest", str(DOCS / "guides"))
        assert loaded.returncode == 0, loaded.stdout + loaded.stderr
        yield release


def test_up_again_touches_no_object(release: ClusterRelease) -> None:
    before = {name: one["metadata"]["resourceVersion"] for name, one in release.objects(MANAGED).items()}
    done = release.up()
    assert done.returncode == 0, done.stderr
    assert "\nunchanged\nsearch probe answered in " in done.stdout
    after = {name: one["metadata"]["resourceVersion"] for name, one in release.objects(MANAGED).items()}
    assert after == before


def test_diff_tells_nothing_when_nothing_differs_and_just_what_does(release: ClusterRelease) -> None:
    same = release.run("diff")
    assert same.returncode == 0, same.stdout + same.stderr
    other = release.run("diff", "--set", "components.model-gateway.replicas=2", "-o", "json")
    assert other.returncode == 1
    changes = [one for one in json.loads(other.stdout)["changes"] if one["action"] != "unchanged"]
    assert [(one["subject"], one["action"]) for one in changes] == [
        ("Deployment/story-model-gateway", "configured"),
        ("PodDisruptionBudget/story-model-gateway", "created"),
    ]
    lines = [line for line in changes[0]["text"].splitlines()[2:] if line[0] in "+-"]
    assert lines == ["-  replicas: 1", "+  replicas: 2"]


def test_a_diff_that_cannot_be_made_never_ends_with_one(release: ClusterRelease) -> None:
    assert release.run("diff", "--context", "nowhere").returncode == 2


@pytest.mark.parametrize(
    ("question", "source"),
    [
        ("what happens to my data when I stop the release?", "local.md"),
        ("端口被别的程序占用了怎么办", "troubleshooting.zh-CN.md"),
    ],
    ids=["English", "Chinese"],
)
def test_a_question_finds_its_passage(release: ClusterRelease, question: str, source: str) -> None:
    done = release.run("retrieve", question, "-o", "json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["hits"][0]["source"].endswith(f"guides/{source}")
    assert release.run("query", question).returncode == 0


def test_status_is_one_screen_with_every_component_ready(release: ClusterRelease) -> None:
    done = release.run("status")
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) < 12
    assert {part["state"] for part in release.components().values()} == {"ready"}
    assert {part["replicas"] for part in release.components().values()} == {"1/1"}


def key_header(release: ClusterRelease) -> dict[str, str]:
    """What lets a request in."""
    secret = release.objects("secrets")["Secret/story-lightrag-api-keys"]["data"]["api-keys"]
    return {"Authorization": f"Bearer {base64.b64decode(secret).decode().strip()}"}


def test_the_node_port_answers_those_who_have_the_key(release: ClusterRelease) -> None:
    address = release.components()["lightrag-api"]["endpoint"]
    body = {"query": "stop the release", "top_k": 1}
    assert httpx.post(f"{address}/retrieve", json=body, timeout=10).status_code == 401
    assert httpx.post(f"{address}/retrieve", json=body, headers=key_header(release), timeout=10).status_code == 200


def test_logs_and_commands_of_a_component(release: ClusterRelease) -> None:
    logs = release.run("logs", "lightrag-api", "--tail", "5")
    assert logs.returncode == 0
    assert logs.stdout.startswith("lightrag-api ")
    assert len(logs.stdout.splitlines()) <= 5
    done = release.run("exec", "vector-engine", "--", "ls", "/var/lib/milvus")
    assert done.returncode == 0, done.stderr
    assert "etcd" in done.stdout
    assert release.run("exec", "lightrag-api", "--", "sh", "-c", "exit 7").returncode == 7
    echoed = release.run("exec", "lightrag-api", "--", "cat", stdin="passed on\n")
    assert echoed.stdout == "passed on\n"


def test_a_port_leads_to_a_component(release: ClusterRelease) -> None:
    with release.at_work("port-forward", "vector-engine", within_s=120) as process:
        assert process.stderr is not None
        line = process.stderr.readline()
        found = re.search(r"http://127\.0\.0\.1:\d+", line)
        assert found, line
        store = MilvusStore(found[0])
        assert any(name.startswith("default_chunks") for name in store.list_collections())
        store.close()


def test_bench_loads_the_release_through_the_api_server(release: ClusterRelease) -> None:
    done = release.run("bench", "--rate", "60", "--duration", "5", "-o", "json")
    document = json.loads(done.stdout)
    assert set(document["outcomes"]) == {"ok"}, done.stderr
    assert document["requests"] > 200
    assert document["connections"] == 64
    assert "Traceback" not in done.stderr


def test_a_golden_set_is_built_and_checked_through_the_tunnel(release: ClusterRelease) -> None:
    (release.tool.cwd / "asked.txt").write_text("How do I stop the release?\n怎样停止\n", encoding="utf-8")
    done = release.run("golden", "build", "--sample", "40", "--questions", "asked.txt", "-k", "5", "-o", "json")
    assert done.returncode == 0, done.stderr
    checked = release.run("golden", "check", "-o", "json")
    report = json.loads(checked.stdout)
    assert {one["name"]: one["mean"] for one in report["figures"]} == {"recall": 1.0, "end_to_end": 1.0, "overlap": 1.0}
    assert (checked.returncode, [one["code"] for one in report["errors"]]) == (4, ["too-few"])  # of two questions


def asked_while(act: Callable[[], None], address: str, headers: dict[str, str], least: int) -> Counter[str]:
    """What came of questions that four clients ask through the node port until `act` is done, and so many are asked."""
    came: Counter[str] = Counter()
    done = threading.Event()

    def ask(seed: int) -> None:
        with httpx.Client(base_url=address, headers=headers, timeout=10) as client:
            number = seed
            while not done.is_set() or came.total() < least:
                number += 4
                try:
                    answer = client.post("/retrieve", json={"query": f"question {number % 20}", "top_k": 1})
                    came[str(answer.status_code)] += 1
                except httpx.HTTPError as error:
                    came[repr(error)] += 1
                time.sleep(0.015)

    with ThreadPoolExecutor(4) as threads:
        asking = [threads.submit(ask, seed) for seed in range(4)]
        act()
        done.set()
        for one in asking:
            one.result()
    return came


def restarted_under_load(release: ClusterRelease, least: int) -> Counter[str]:
    """What came of the questions, all recorded, while each of two pods of lightrag-api is replaced."""
    two = ("--set", "components.lightrag-api.replicas=2", "--set", "components.lightrag-api.recording.ratio=1")
    done = release.up(*two)
    assert done.returncode == 0, done.stdout + done.stderr
    address, deployment = release.components()["lightrag-api"]["endpoint"], "deployment/story-lightrag-api"

    def restart() -> None:
        release.cluster.kubectl("rollout", "restart", deployment, "-n", release.name)
        release.cluster.kubectl("rollout", "status", deployment, "-n", release.name, "--timeout=180s")
        time.sleep(8)  # the last of the old pods is told to stop when the status is complete

    return asked_while(restart, address, key_header(release), least)


QUICK_FAULTS = (
    "an image tag that does not exist",
    "a Service with another selector",
    "a network policy that denies everything",
    "lightrag-api frozen",
    "the alias dropped",
)


def test_diagnose_finds_nothing_on_a_healthy_release_and_the_cause_of_five_faults(release: ClusterRelease) -> None:
    ill = Ill(quick(release))
    assert until_well(ill) == []
    for name in QUICK_FAULTS:
        ill.undo = ExitStack()
        with ill.undo:
            FAULTS[name].breaks(ill)
            check(ill, name, FAULTS[name].codes)
    assert until_well(ill) == []


def test_a_rolling_restart_under_load_loses_no_request(release: ClusterRelease) -> None:
    came = restarted_under_load(release, 1000)
    assert set(came) == {"200"}, came
    assert came["200"] >= 1000
    place = RuntimeOptions({}, release.cluster.kubeconfig, None)
    pods = open_runtime("story", load_profile("dev", namespace="story"), place).endpoints("lightrag-api")
    assert len(pods) == 2
    for name, address in pods.items():
        body, headers = {"query": f"what {name} was asked", "top_k": 1}, key_header(release)
        asked = httpx.post(f"{address}/retrieve", json=body, headers=headers, timeout=30, trust_env=False)
        assert asked.status_code == 200, asked.text
    listed = json.loads(release.run("recordings", "--limit", "2", "-o", "json").stdout)["recordings"]
    assert {one["query"] for one in listed} == {f"what {name} was asked" for name in pods}


@pytest.mark.drill
def test_rolling_restarts_under_ten_thousand_requests_lose_none(release: ClusterRelease) -> None:
    came = restarted_under_load(release, 10_000)
    print(f"\nrolling restart of two pods under load: {dict(came)}")
    assert set(came) == {"200"}, came


def test_down_keeps_the_data_and_up_finds_them(release: ClusterRelease) -> None:
    """Last of the stories: it stops the release for a while."""
    done = release.run("down")
    assert done.returncode == 0, done.stderr
    assert "PersistentVolumeClaim/data-story-vector-engine-0" in done.stdout
    assert not release.objects("pods,deployments,statefulsets,services")
    stopped = release.run("status")
    assert stopped.returncode == 3
    assert "stopped" in stopped.stdout + stopped.stderr
    key = release.objects("secrets")["Secret/story-lightrag-api-keys"]["data"]
    assert release.up().returncode == 0
    assert release.objects("secrets")["Secret/story-lightrag-api-keys"]["data"] == key
    hits = json.loads(release.run("retrieve", "怎样停止", "-o", "json").stdout)["hits"]
    assert hits[0]["source"].endswith("local.zh-CN.md")
    release.cluster.kubectl("delete", "pvc", "data-story-vector-engine-0", "-n", "story", "--wait=false")
    warned = release.run("status")
    assert warned.returncode == 4
    assert "warning: PersistentVolumeClaim/data-story-vector-engine-0: terminating since" in warned.stdout
    refused = release.run("down")
    assert refused.returncode == 8
    assert "this data would be lost with the pods" in refused.stderr
    gone = release.run("down", "--purge", "--yes")
    assert gone.returncode == 0, gone.stderr
    deadline = time.monotonic() + 60
    while release.cluster.kubectl("get", "namespace", "story", "--ignore-not-found"):
        assert time.monotonic() < deadline, "the namespace stays"
        time.sleep(1)
