"""Drill: lightrag-server is upgraded from LightRAG 1.5.6 to 1.5.7, on a clone first, with a backup in an S3 service."""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.cluster import cluster as clusters
from tests.cluster.fixture import ReadyCluster
from tests.cluster.images import spread
from tests.cluster.upgrading import LIGHTRAG, OLDER_LIGHTRAG, lightrag_images
from tests.e2e.cluster_stories import QUICK_STOP, ClusterRelease, release_on
from tests.e2e.lightrag_stories import CORPUS
from tests.e2e.test_cluster_backup import ACCESS, SECRET, endpoint, settings

__all__ = ["endpoint"]

pytestmark = [pytest.mark.cluster, pytest.mark.drill, pytest.mark.timeout(1800)]

NAME = "rewritten"


@pytest.fixture(scope="module")
def release(cluster: ReadyCluster, endpoint: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterRelease]:
    ours = clusters.find(cluster.kubeconfig.parents[1].name)
    assert ours is not None
    for one in lightrag_images():
        spread(one, ours.sockets)
    own = ("--set", "components.embedder.model=hashing", "--set", "quota=null")
    tag = ("--set", f"components.lightrag-server.image.tag={OLDER_LIGHTRAG}")
    with release_on(
        cluster, tmp_path_factory.mktemp("writer"), NAME, *QUICK_STOP, *own, *tag, *settings(endpoint)
    ) as it:
        cluster.kubectl("create", "namespace", NAME)
        words = (f"--from-literal=access_key={ACCESS}", f"--from-literal=secret_key={SECRET}")
        cluster.kubectl("create", "secret", "generic", "backup-s3", "-n", NAME, *words)
        done = it.up()
        assert done.returncode == 0, done.stderr
        loaded = it.run("ingest", str(CORPUS), "-o", "json")
        assert loaded.returncode == 0, loaded.stdout + loaded.stderr
        yield it


def test_the_new_version_starts_on_the_workspace_when_it_has_answered_on_a_clone(release: ClusterRelease) -> None:
    begun = time.monotonic()
    done = release.run("upgrade", "--canary", "--image", f"lightrag-server={LIGHTRAG}", "-o", "json")
    found: dict[str, Any] = json.loads(done.stdout)
    results = found.get("results", {})
    print(f"\n{time.monotonic() - begun:.0f} s, stopped for {results.get('outage_s')} s, {found.get('cause')}")
    for key, verdicts in results.get("verdicts", {}).items():
        print(*[f"  {key} {one['gate']} {one['verdict']}: {one['reason']}" for one in verdicts], sep="\n")
    assert done.returncode == 0, done.stderr
    pod = release.objects("pods")[f"Pod/{NAME}-lightrag-server-0"]
    assert str(pod["spec"]["containers"][0]["image"]).endswith(f":{LIGHTRAG}")
    assert not [one for one in release.objects("statefulsets,configmaps") if one.endswith("-shadow")]
    kept = release.run("backup", "list", "-o", "json")
    assert results["backup.backup"] in kept.stdout
