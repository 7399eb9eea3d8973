"""Operations on a cluster: the Job goes on without the command, and its next pod without the one that died."""

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.cluster.fixture import ReadyCluster
from tests.e2e.cluster_stories import ClusterRelease, end_of, has_said, release_on

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

LITTLE = (
    *("--set", "components.vector-engine.enabled=false"),
    *("--set", "components.lightrag-api.enabled=false"),
    *("--set", "components.lightrag-server.enabled=false"),
    *("--set", "components.embedder.model=hashing"),
)
WAIT_S = 180.0
OWNED = "jobs,pods,serviceaccounts,roles,rolebindings,networkpolicies"


@pytest.fixture(scope="module")
def release(cluster: ReadyCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterRelease]:
    """A release of little that runs; what is tested is not its parts."""
    with release_on(cluster, tmp_path_factory.mktemp("operations"), "operated", *LITTLE) as release:
        done = release.up()
        assert done.returncode == 0, done.stderr
        yield release


def until(what: Callable[[], Any], within_s: float = WAIT_S) -> Any:
    """The first thing that is true."""
    end = time.monotonic() + within_s
    while not (found := what()):
        assert time.monotonic() < end, what
        time.sleep(0.5)
    return found


def shown(release: ClusterRelease, operation_id: str = "") -> dict[str, Any]:
    """The operation as `operations status` shows it."""
    document: dict[str, Any] = json.loads(
        release.run("operations", "status", *filter(None, [operation_id]), "-o", "json").stdout
    )
    return document


def driving_pods(release: ClusterRelease) -> list[str]:
    """Pods of the operation that are not ended."""
    pods = release.objects("pods").values()
    labelled = [one for one in pods if "lightragctl/operation" in one["metadata"].get("labels", {})]
    alive = [one for one in labelled if one["status"].get("phase") in ("Pending", "Running")]
    return [one["metadata"]["name"] for one in alive if "deletionTimestamp" not in one["metadata"]]


def test_a_job_goes_on_without_its_command_and_without_its_pod(release: ClusterRelease) -> None:
    with release.at_work("operations", "rehearse", "--seconds", "25", within_s=WAIT_S) as process:
        assert has_said(process, lambda line: line.startswith("count: count seconds"))
        process.kill()
    (pod,) = driving_pods(release)
    release.cluster.kubectl("delete", "pod", pod, "-n", release.name, "--wait=false")
    first = shown(release)
    assert (first["phase"], first["in_job"]) == ("running", True)
    refused = release.up("--set", "components.embedder.replicas=2")
    assert refused.returncode == 6
    assert f"operation {first['id']} of this release is open" in refused.stderr

    until(lambda: [one for one in driving_pods(release) if one != pod])
    watched = release.run("operations", "status", first["id"], "--watch")
    assert watched.returncode == 0, watched.stderr
    last = shown(release, first["id"])
    assert last["phase"] == "succeeded", last
    assert last["results"] == {"held": False, "counted": 25}

    resumed = release.run("operations", "resume", first["id"])
    assert resumed.returncode == 8
    up = release.up()
    assert up.returncode == 0, up.stderr


def test_a_paused_job_gives_back_and_is_resumed_by_another(release: ClusterRelease) -> None:
    with release.at_work("operations", "rehearse", "--seconds", "30", within_s=WAIT_S) as process:
        assert has_said(process, lambda line: line.startswith("count: count seconds"))
        paused = release.run("operations", "pause", shown(release)["id"], "-o", "json")
        assert paused.returncode == 0, paused.stderr
        followed = end_of(process)
        assert followed.returncode == 1, followed.stderr
    document = json.loads(paused.stdout)
    assert (document["phase"], document["results"]["held"]) == ("paused", False)
    until(lambda: not driving_pods(release))
    assert release.up().returncode == 6

    done = release.run("operations", "resume", document["id"], "-o", "json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["results"] == {"held": False, "counted": 30}
    until(lambda: not [name for name in release.objects(OWNED) if "op-rehearsal" in name])


def test_an_aborted_job_leaves_nothing(release: ClusterRelease) -> None:
    with release.at_work("operations", "rehearse", "--seconds", "60", within_s=WAIT_S) as process:
        assert has_said(process, lambda line: line.startswith("count: count seconds"))
        aborted = release.run("operations", "abort", shown(release)["id"], "-o", "json")
        assert aborted.returncode == 0, aborted.stderr
    document = json.loads(aborted.stdout)
    assert (document["phase"], document["results"]["held"]) == ("aborted", False)
    until(lambda: not [name for name in release.objects(OWNED) if "op-rehearsal" in name])


def test_an_administrator_may_make_the_account(release: ClusterRelease) -> None:
    printed = release.run("operations", "rehearse", "--print-rbac")
    assert printed.returncode == 0, printed.stderr
    release.cluster.kubectl("apply", "-f", "-", stdin=printed.stdout)
    account = f"{release.name}-operation-rehearsal"
    done = release.run("operations", "rehearse", "--seconds", "1", "--service-account", account)
    assert done.returncode == 0, done.stderr
    assert f"Role/{account}" in release.objects("roles")
