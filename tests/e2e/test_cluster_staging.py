"""The profile `staging`, one or two of each, for real: Milvus as a cluster, and as two servers of which one works, over
etcd, Kafka and S3 on three nodes."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.connections import Policies, open_connections
from tests.cluster.fixture import ReadyCluster
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


def test_a_purge_leaves_nothing_of_it_in_the_namespace_nor_in_the_cluster(staging: Staging) -> None:
    """Last of the stories."""
    classes = staging.cluster.kubectl("get", "priorityclasses", "-o", "name").split()
    assert len([one for one in classes if NAME in one]) == 2
    gone = staging.run("down", "--purge", "--yes")
    assert gone.returncode == 0, gone.stderr
    assert NAME not in staging.cluster.kubectl("get", "priorityclasses", "-o", "name")
    assert staging.kubectl("get", OWNED + ",pods,persistentvolumeclaims", "-o", "name") == ""
