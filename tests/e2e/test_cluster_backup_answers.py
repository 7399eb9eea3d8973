"""A release with the real embedder that is deleted and restored: 50 queries find the same in every mode."""

import pytest

from tests.cluster.fixture import ReadyCluster
from tests.e2e.cluster_stories import QUICK_STOP, release_on
from tests.e2e.lightrag_stories import CORPUS
from tests.e2e.test_cluster_backup import NAME, agreement, answers, begun, document, s3_service, settings

pytestmark = [pytest.mark.cluster, pytest.mark.drill, pytest.mark.timeout(1800)]


def test_fifty_queries_find_the_same_in_every_mode(
    cluster: ReadyCluster, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Scores of the real embedder are seldom equal; mode mix for each of the queries."""
    cluster.kubectl("delete", "namespace", NAME, "--ignore-not-found", timeout_s=300)
    base = tmp_path_factory.mktemp("real")
    with s3_service(cluster) as endpoint, release_on(cluster, base, NAME, *QUICK_STOP, *settings(endpoint)) as release:
        begun(release)
        assert document(release.run("ingest", str(CORPUS), "-o", "json"))["created"] > 40
        before = answers(cluster, mixes=50)
        made = document(release.run("backup", "create", "--full", "-o", "json"))
        release.run("down", "--purge", "--yes")
        cluster.kubectl("delete", "namespace", NAME, "--ignore-not-found", timeout_s=300)
        begun(release)
        restored = document(release.run("restore", made["id"], "--yes", "-o", "json"))
        shares = agreement(before, answers(cluster, mixes=50))
        print(
            shares, {name: made[name] for name in ("rows", "size_bytes", "file_count", "seconds")}, restored["seconds"]
        )
        assert (shares["ours"], shares["naive"]) == (1.0, 1.0)
        assert shares["mix"] > 0.9
