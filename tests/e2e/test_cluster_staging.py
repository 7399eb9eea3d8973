"""The profile `staging`, one or two of each, for real: Milvus as a cluster, and as two servers of which one works, over
etcd, Kafka and S3 on three nodes."""

import json
import subprocess
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.cluster import cluster as clusters
from tests.cluster.connections import Policies, open_connections
from tests.cluster.fixture import ReadyCluster
from tests.cluster.images import milvus_image, spread
from tests.e2e.staging_release import NAME, SHAPES, Staging, staging_on

pytestmark = [pytest.mark.cluster, pytest.mark.drill, pytest.mark.timeout(1500)]

DOCS = Path(__file__).resolve().parents[2] / "docs" / "guides"
OWNED = "deployments,statefulsets,networkpolicies,poddisruptionbudgets,horizontalpodautoscalers"
PODS = {"cluster": ("7/7", "8/8"), "standalone-ha": ("2/2",)}
"""The autoscaler may have added a proxy."""
LOST = {"cluster": ("coordinator", "querynode", "proxy"), "standalone-ha": ("standalone", "standalone")}
"""Roles that lose a pod, one after the other; of two servers of which one works, the one and then the other."""


@pytest.fixture(scope="module", params=SHAPES)
def staging(
    cluster: ReadyCluster, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Staging]:
    """The release, up, with what it stands on; gone in the end."""
    with staging_on(cluster, tmp_path_factory.mktemp("staging"), request.param) as made:
        yield made


def test_what_is_loaded_is_found(staging: Staging) -> None:
    loaded = staging.run("ingest", str(DOCS))
    assert loaded.returncode == 0, loaded.stdout + loaded.stderr
    assert staging.hits("taints and labels of the pool of nodes")[0]["source"].endswith("production.md")
    part = next(one for one in components(staging) if one["name"] == "vector-engine")
    assert part["state"] == "ready"
    assert part["replicas"] in PODS[staging.shape]


def test_the_network_policies_would_allow_all_that_talks(staging: Staging) -> None:
    def listed(*words: str) -> list[dict[str, Any]]:
        return json.loads(staging.cluster.kubectl("get", *words, "-o", "json"))["items"]

    everything = listed("pods", "-A")
    policies = Policies(
        namespace=NAME,
        policies=listed("networkpolicies", "-n", NAME),
        pods=everything,
        services=listed("services", "-A"),
        namespaces={one["metadata"]["name"]: one["metadata"]["labels"] for one in listed("namespaces")},
    )
    seen = open_connections([pod for pod in everything if pod["metadata"]["namespace"] == NAME])
    print(f"\n{len(seen)} connections are open")
    assert len(seen) > 10
    assert not [told for one in seen if (told := policies.forbids(one))]


def components(staging: Staging) -> list[dict[str, Any]]:
    return json.loads(staging.run("status", "-o", "json").stdout)["components"]


def test_up_again_changes_nothing(staging: Staging) -> None:
    same = staging.run("diff")
    assert same.returncode == 0, same.stdout + same.stderr


def test_it_answers_again_when_a_pod_of_milvus_is_lost(staging: Staging) -> None:
    for role in LOST[staging.shape]:
        lose(staging, role)


def lose(staging: Staging, role: str) -> None:
    """Delete the pod that has been there longest, and ask until ten questions in a row are answered."""
    (pods, question) = (f"lightragctl/role={role}", "taints and labels of the pool of nodes")
    staging.kubectl("wait", "--for=condition=Ready", "pod", "-l", pods, "--timeout=50s")
    listed = staging.kubectl("get", "pods", "-l", pods, "-o", "name", "--sort-by=.metadata.creationTimestamp")
    staging.kubectl("delete", "--force", "--grace-period=0", listed.split()[0])
    begin, lost_s, calm = time.monotonic(), 0.0, 0
    while calm < 10:
        assert time.monotonic() - begin < 240, f"{role}: not answered for {lost_s:.0f} s"
        if staging.hits(question):
            calm += 1
        else:
            calm, lost_s = 0, time.monotonic() - begin
    print(f"\na pod of {role} lost: the last question that was not answered came {lost_s:.0f} s after")
    assert staging.hits(question)[0]["source"].endswith("production.md")


RATE, LOAD_S = 50, 480


def test_a_cluster_is_upgraded_role_by_role_under_load(staging: Staging, tmp_path: Path) -> None:
    """Down by a patch, then up again while queries come; failed ones are counted for each role."""
    if staging.shape != "cluster":
        pytest.skip("one server has no roles")
    ours = clusters.find(staging.cluster.kubeconfig.parents[1].name)
    assert ours is not None
    spread(milvus_image("2.3.1"), ours.sockets)
    upgraded(staging, "v2.3.1")
    saved = tmp_path / "load.json"
    load = ("--rate", str(RATE), "--duration", str(LOAD_S), "--no-recall", "--timeout", "10", "--save", str(saved))
    values = ("--values", "small.yaml", "--values", "shape.yaml")
    words = ("--profile", "staging", *values, "--name", NAME, "-n", NAME, "bench", "run", *load)
    with staging.tool.popen(*words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as bench:
        time.sleep(20)  # its warm-up
        record = upgraded(staging, "v2.3.5")
        _, told = bench.communicate(timeout=LOAD_S + 120)
    report = json.loads(saved.read_text())
    print(f"\n{report['outcomes']} of {report['requests']}\n{told[-500:]}")
    ended_s = saved.stat().st_mtime - len(report["seconds"])
    for role, begin_s, end_s in spans(record):
        of_role = [one for one in report["seconds"] if begin_s <= ended_s + one["number"] < end_s]
        failed, answered = (sum(one[key] for one in of_role) for key in ("ok", "answered"))
        print(f"  {role}: {end_s - begin_s:.0f} s, {answered - failed} of {answered} requests failed")
    assert staging.hits("taints and labels of the pool of nodes")[0]["source"].endswith("production.md")


def upgraded(staging: Staging, tag: str) -> dict[str, Any]:
    begin = time.monotonic()
    done = staging.run("upgrade", "--canary", "--foreground", "--image", f"vector-engine={tag}", "-o", "json")
    found: dict[str, Any] = json.loads(done.stdout)
    print(f"\n{tag}: {time.monotonic() - begin:.0f} s, {found.get('cause')}\n{done.stderr[-3000:]}")
    assert done.returncode == 0, done.stderr
    return found


def spans(record: dict[str, Any]) -> Iterator[tuple[str, float, float]]:
    """Each role with the unix seconds between which it was upgraded, in order."""
    steps = {one["name"]: one for one in record["steps"]}
    begin_s = datetime.fromisoformat(steps["role-1"]["began_at"]).timestamp()
    ended = {role: datetime.fromisoformat(at).timestamp() for role, at in record["results"]["roles"].items()}
    for role, end_s in sorted(ended.items(), key=lambda one: one[1]):
        yield role, begin_s, end_s
        begin_s = end_s


def test_a_purge_leaves_nothing_of_it_in_the_namespace_nor_in_the_cluster(staging: Staging) -> None:
    """Last of the stories."""
    classes = staging.cluster.kubectl("get", "priorityclasses", "-o", "name").split()
    assert len([one for one in classes if NAME in one]) == 2
    gone = staging.run("down", "--purge", "--yes")
    assert gone.returncode == 0, gone.stderr
    assert NAME not in staging.cluster.kubectl("get", "priorityclasses", "-o", "name")
    assert staging.kubectl("get", OWNED + ",pods,persistentvolumeclaims", "-o", "name") == ""
