"""Backups on a cluster: made inside it into an S3 service, and restored into a release that was deleted."""

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from lightragctl.backup.answers import without_last_tie
from lightragctl.core.runtime import ReleaseRuntime
from lightragctl.release.open import RuntimeOptions, open_runtime
from lightragctl.release.profiles import load_profile
from tests.cluster import cluster as clusters
from tests.cluster.backing import S3_IMAGE, backing_images
from tests.cluster.fixture import ReadyCluster
from tests.cluster.images import spread
from tests.e2e.cluster_stories import QUICK_STOP, ClusterRelease, has_said, release_on
from tests.e2e.lightrag_stories import CORPUS, TOP_K, questions

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1200)]

NAME, STORE, BUCKET, PORT = "saved", "saved-store", "backups", 31070
ACCESS, SECRET = "access-of-a-test", "secret-of-a-test"
KEYWORDS = {"hl_keywords": ["finance", "storage"], "ll_keywords": ["bonds", "RAID", "rates"]}
S3 = f"""
apiVersion: v1
kind: Pod
metadata: {{name: s3, namespace: {STORE}, labels: {{app: s3}}}}
spec:
  containers:
    - name: s3
      image: {S3_IMAGE}
      imagePullPolicy: Never
      args: [--port, ":7070", --access, {ACCESS}, --secret, {SECRET}, posix, /data]
      ports: [{{containerPort: 7070}}]
      readinessProbe: {{tcpSocket: {{port: 7070}}, periodSeconds: 1}}
      volumeMounts: [{{name: data, mountPath: /data}}]
  initContainers:
    - name: bucket
      image: {S3_IMAGE}
      imagePullPolicy: Never
      command: [mkdir, -p, /data/{BUCKET}]
      volumeMounts: [{{name: data, mountPath: /data}}]
  volumes: [{{name: data, emptyDir: {{}}}}]
---
apiVersion: v1
kind: Service
metadata: {{name: s3, namespace: {STORE}}}
spec:
  type: NodePort
  selector: {{app: s3}}
  ports: [{{port: 7070, nodePort: {PORT}}}]
"""


CLAIM = f"""
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {{name: {NAME}-backups, namespace: {NAME}}}
spec:
  accessModes: [ReadWriteOnce]
  resources: {{requests: {{storage: 1Gi}}}}
"""


@pytest.fixture(scope="module")
def endpoint(cluster: ReadyCluster) -> Iterator[str]:
    with s3_service(cluster) as address:
        yield address


@contextmanager
def s3_service(cluster: ReadyCluster) -> Iterator[str]:
    """The address of an S3 service with an empty bucket, outside of the release's namespace."""
    ours = clusters.find(cluster.kubeconfig.parents[1].name)
    if ours is None:
        pytest.skip("needs a test cluster of ours, which images can be given to: make test-all")
    for one in backing_images():
        if one.name == S3_IMAGE:
            spread(one, ours.sockets)
    cluster.kubectl("delete", "namespace", STORE, "--ignore-not-found", timeout_s=120)
    cluster.kubectl("create", "namespace", STORE)
    try:
        cluster.kubectl("apply", "-f", "-", stdin=S3)
        cluster.kubectl("wait", "pod/s3", "-n", STORE, "--for=condition=Ready", "--timeout=120s", timeout_s=130)
        yield f"http://{cluster.host_address}:{PORT}"
    finally:
        cluster.kubectl("delete", "namespace", STORE, "--wait=false")


def settings(endpoint: str) -> tuple[str, ...]:
    """Where backups go, in the profile of the release."""
    keys = [f"backup.{name}.secret={{name: backup-s3, key: {name}}}" for name in ("access_key", "secret_key")]
    values = [f"backup.destination=s3://{BUCKET}/lightrag", f"backup.endpoint={endpoint}", "backup.region=us-east-1"]
    values.append("backup.schedule=0 3 29 2 *")  # the test starts its Job
    return tuple(word for value in (*values, *keys) for word in ("--set", value))


@pytest.fixture(scope="module")
def release(cluster: ReadyCluster, endpoint: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterRelease]:
    """One that has loaded the corpus through lightrag-server, with the tests' embedder."""
    hashing = ("--set", "components.embedder.model=hashing")
    base = tmp_path_factory.mktemp("saved")
    with release_on(cluster, base, NAME, *QUICK_STOP, *hashing, *settings(endpoint)) as release:
        begun(release)
        loaded = release.run("ingest", str(CORPUS), "-o", "json")
        assert loaded.returncode == 0, loaded.stdout + loaded.stderr
        yield release


def begun(release: ClusterRelease) -> None:
    """Bring it up, with the Secret of the S3 service beside it."""
    cluster = release.cluster
    if not cluster.kubectl("get", "namespace", NAME, "--ignore-not-found"):
        cluster.kubectl("create", "namespace", NAME)
    words = (f"--from-literal=access_key={ACCESS}", f"--from-literal=secret_key={SECRET}")
    cluster.kubectl("create", "secret", "generic", "backup-s3", "-n", NAME, *words)
    done = release.up()
    assert done.returncode == 0, done.stdout + done.stderr


def seen(cluster: ReadyCluster) -> ReleaseRuntime:
    """The release as the tool sees it, for its addresses and keys."""
    return open_runtime(NAME, load_profile("dev", namespace=NAME), RuntimeOptions({}, cluster.kubeconfig, None))


def client(runtime: ReleaseRuntime, component: str) -> httpx.Client:
    headers = {"X-API-Key": runtime.api_key(component) or ""}
    return httpx.Client(base_url=runtime.endpoint(component), headers=headers, timeout=60, trust_env=False)


Answers = dict[str, set[str]]


def answers(cluster: ReadyCluster, mixes: int = 10) -> Answers:
    """What 50 queries find: ours, upstream's in mode naive, and `mixes` of them in mode mix with given keywords.

    Hits at the end that have equal scores are left out: others of the same score may stand there.
    """
    found: Answers = {}
    runtime = seen(cluster)
    try:
        with client(runtime, "lightrag-api") as api, client(runtime, "lightrag-server") as upstream:
            for number, question in enumerate(questions()[:50]):
                body = {"query": question, "mode": "naive", "chunk_top_k": TOP_K}
                hits = api.post("/retrieve", json=body).raise_for_status().json()["hits"]
                ours = set(without_last_tie([(hit["id"], hit["score"]) for hit in hits], TOP_K))
                found[f"ours {question}"] = {str(one) for one in ours}
                found[f"naive {question}"] = data(upstream, body)["chunks"] & found[f"ours {question}"]
                if number < mixes:
                    mixed = data(upstream, {**body, "mode": "mix", **KEYWORDS})
                    found |= {f"mix {kind} {question}": names for kind, names in mixed.items()}
    finally:
        runtime.close()
    return found


def data(upstream: httpx.Client, body: dict[str, Any]) -> Answers:
    """Names of what upstream's /query/data found, by kind."""
    told = upstream.post("/query/data", json={**body, "enable_rerank": False}).raise_for_status().json()["data"]
    return {
        "chunks": {one["chunk_id"] for one in told.get("chunks", [])},
        "entities": {one["entity_name"] for one in told.get("entities", [])},
        "relations": {f"{one['src_id']} {one['tgt_id']}" for one in told.get("relationships", [])},
    }


def agreement(before: Answers, after: Answers) -> dict[str, float]:
    """By kind of query, the mean share of what both found in what either did."""
    shares: dict[str, list[float]] = {}
    for name, found in before.items():
        either = found | after[name]
        shares.setdefault(name.partition(" ")[0], []).append(len(found & after[name]) / len(either) if either else 1.0)
    return {kind: sum(some) / len(some) for kind, some in shares.items()}


def until(true: Callable[[], Any], within_s: float = 180) -> Any:
    end = time.monotonic() + within_s
    while not (found := true()):
        assert time.monotonic() < end, true
        time.sleep(0.5)
    return found


def document(done: "subprocess.CompletedProcess[str]") -> dict[str, Any]:
    assert done.returncode == 0, done.stdout + done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def driving_pods(release: ClusterRelease) -> list[str]:
    """The pods that drive an operation, by name."""
    pods = [one for one in release.objects("pods").values() if "lightragctl/operation" in one["metadata"]["labels"]]
    alive = [one for one in pods if one["status"].get("phase") in ("Pending", "Running")]
    return [one["metadata"]["name"] for one in alive if "deletionTimestamp" not in one["metadata"]]


def server_replicas(release: ClusterRelease) -> int:
    return int(release.objects("statefulset")[f"StatefulSet/{NAME}-lightrag-server"]["spec"]["replicas"])


@pytest.mark.drill
def test_a_driver_that_is_deleted_during_the_copy_is_followed_by_one(release: ClusterRelease) -> None:
    with release.at_work("backup", "create", "--full", within_s=300) as process:
        assert has_said(process, lambda line: line.startswith("copy: "))
        (pod,) = driving_pods(release)
        release.cluster.kubectl("delete", "pod", pod, "-n", NAME, "--wait=false", "--grace-period=0", "--force")
        assert process.wait() == 0
    assert server_replicas(release) == 1
    assert document(release.run("backup", "verify", "-o", "json"))["rows"] > 0


@pytest.mark.drill
def test_the_cronjob_makes_one(release: ClusterRelease) -> None:
    release.cluster.kubectl("create", "job", "--from", f"cronjob/{NAME}-backup", "now", "-n", NAME)
    wait = ("wait", "job/now", "-n", NAME, "--for=condition=Complete", "--timeout=180s")
    release.cluster.kubectl(*wait, timeout_s=190)
    newest = document(release.run("operations", "status", "-o", "json"))
    assert (newest["kind"], newest["phase"], newest["parameters"]["scheduled"]) == ("backup", "succeeded", True)
    status = json.loads(release.run("status", "-o", "json").stdout)
    assert status["backup"]["id"] == newest["results"]["backup"]
    assert server_replicas(release) == 1


@pytest.mark.drill
def test_a_volume_claim_takes_backups_and_gives_them_back(cluster: ReadyCluster, release: ClusterRelease) -> None:
    cluster.kubectl("apply", "-f", "-", stdin=CLAIM)
    place = f"pvc://{NAME}-backups/lightrag"
    before = answers(cluster)
    made = document(release.run("backup", "create", "--destination", place, "-o", "json"))
    second = document(release.run("backup", "create", "--destination", place, "-o", "json"))
    assert (made["parent"], second["parent"]) == (None, made["id"])
    refused = release.run("restore", "latest", "--source", place, "--dry-run")
    assert (refused.returncode, "--drill" in refused.stderr) == (8, True), refused.stderr
    drilled = document(release.run("restore", "latest", "--source", place, "--drill", "-o", "json"))
    assert (drilled["phase"], drilled["backup"]) == ("succeeded", second["id"])
    restored = document(release.run("restore", "latest", "--source", place, "--yes", "-o", "json"))
    assert (restored["backup"], bool(restored["kept"])) == (second["id"], True)
    assert agreement(before, answers(cluster))["ours"] == 1.0
    document(release.run("operations", "cleanup", "--all", "--yes", "-o", "json"))


@pytest.mark.drill
def test_a_store_that_only_the_cluster_reaches_is_read_by_the_job(release: ClusterRelease) -> None:
    inside = ("--set", f"backup.endpoint=http://s3.{STORE}:7070", "--set", f"backup.destination=s3://{BUCKET}/inside")
    made = document(release.run("backup", "create", *inside, "-o", "json"))
    done = release.run("restore", "latest", *inside, "--yes", "-o", "json")
    assert "so the Job checks it" in done.stderr, done.stderr
    assert document(done)["backup"] == made["id"]
    document(release.run("operations", "cleanup", "--all", "--yes", "-o", "json"))


def test_a_deleted_release_comes_back_with_its_answers(cluster: ReadyCluster, release: ClusterRelease) -> None:
    before = answers(cluster)
    for kind, least in (("ours", 25), ("naive", 25), ("mix relations", 5)):
        assert sum(bool(found) for name, found in before.items() if name.startswith(kind)) >= least, before
    made = document(release.run("backup", "create", "-o", "json"))
    assert (made["phase"], made["consistency"]["method"]) == ("succeeded", "fence")
    assert made["file_count"] > 0
    assert made["consistency"]["writer_stopped_s"] > 0
    assert document(release.run("backup", "verify", "-o", "json"))["id"] == made["id"]
    assert not [name for name in release.objects("jobs,roles,serviceaccounts") if "op-backup" in name]

    release.run("down", "--purge", "--yes")
    cluster.kubectl("delete", "namespace", NAME, "--ignore-not-found", timeout_s=300)
    begun(release)
    document(release.run("restore", made["id"], "--yes", "-o", "json"))
    shares = agreement(before, answers(cluster))
    print(shares)
    assert (shares["ours"], shares["naive"]) == (1.0, 1.0)
    assert shares["mix"] > 0.9  # relations of equal scores stand for each other
