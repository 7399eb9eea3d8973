"""History and rollback, against the fake cluster."""

import pytest

from lightragctl.core.errors import LightragctlError, NotRunningError, RefusedError
from lightragctl.core.objects import ref
from lightragctl.core.runtime import RevisionOutcome, UpOptions
from lightragctl.deploy.down import tear_down
from lightragctl.deploy.inventory import inventory_ref
from lightragctl.deploy.revision import redacted
from lightragctl.deploy.rollback import read_history_entry, rollback_target
from lightragctl.deploy.rollout_plan import read_inventory
from lightragctl.deploy.up import preview
from lightragctl.kube.model import InvalidObjectError
from tests.fakes.cluster import FakeCluster
from tests.fakes.release import DEPLOYMENT, KEYS, OPTIONS, history, ignore, rollback, scope, state, target, up

TWO = "components.embedder.replicas=2"


def told(cluster: FakeCluster) -> list[tuple[int, str, str]]:
    return [(one.number, str(one.outcome), one.description) for one in history(cluster)]


def test_each_change_is_a_revision_and_no_change_is_none() -> None:
    cluster = FakeCluster()
    up(cluster)
    up(cluster)
    up(cluster, TWO)
    assert told(cluster) == [
        (2, "applied", "1 configured, 1 created"),
        (1, "superseded", f"{len(target().objects)} created"),
    ]
    assert {one.who for one in history(cluster)} == {"ann@laptop"}
    inventory = read_inventory(scope(cluster))
    assert inventory is not None
    assert inventory.revision == 2


def test_one_revision_tells_its_images_and_objects() -> None:
    cluster = FakeCluster()
    up(cluster)
    one = read_history_entry(scope(cluster), 1)
    assert one.images["StatefulSet/dev-vector-engine"] == ["milvusdb/milvus:v2.3.5"]
    assert one.objects == tuple(map(redacted, target().objects))
    with pytest.raises(NotRunningError, match="revision 7 of"):
        read_history_entry(scope(cluster), 7)


def test_without_a_release_there_is_no_history() -> None:
    with pytest.raises(NotRunningError, match="has no revisions"):
        history(FakeCluster())


def test_a_rollback_makes_the_release_what_it_was_as_a_new_revision() -> None:
    whole, cluster = FakeCluster(), FakeCluster()
    up(whole)
    for changes in ((), (TWO, "components.mock-llm.enabled=false", "models.chat.url=http://llm")):
        up(cluster, *changes)
    foreseen = preview(scope(cluster), rollback_target(scope(cluster), None), OPTIONS)
    assert "Deployment/dev-mock-llm" in [one.subject for one in foreseen.differing]
    rollback(cluster)
    assert state(cluster) == state(whole)
    assert told(cluster)[0] == (3, "applied", "rollback to 1: 3 configured, 4 created, 1 deleted")
    assert rollback(cluster, 1) == ()


def test_a_rollback_deletes_what_came_later() -> None:
    cluster = FakeCluster()
    without = ("components.mock-llm.enabled=false", "models.chat.url=http://llm")
    up(cluster, *without)
    up(cluster)
    rollback(cluster)
    assert not [one for one in cluster.objects if one.name.startswith("dev-mock-llm")]


def test_a_rollback_keeps_the_generated_key() -> None:
    cluster = FakeCluster()
    up(cluster)
    key = cluster.objects[KEYS]["data"]["api-keys"]
    up(cluster, TWO)
    rollback(cluster)
    assert cluster.objects[KEYS]["data"]["api-keys"] == key


def test_a_rollback_to_what_the_cluster_no_longer_has_is_refused_before_anything_is_written() -> None:
    cluster = FakeCluster()
    cluster.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "lightrag"}})
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "llm", "namespace": "lightrag"}}
    cluster.create(secret)
    up(cluster, "models.chat={url: 'http://llm', api_key: {secret: {name: llm, key: token}}}")
    up(cluster)
    rollback(cluster, 1)
    up(cluster)
    del cluster.objects[ref(secret)]
    before = list(cluster.writes)
    with pytest.raises(RefusedError, match="rollback to 1 on cluster fake is not safe") as caught:
        rollback(cluster, 1)
    assert "Secret/llm" in caught.value.message
    assert "--from-literal=token=VALUE" in caught.value.message
    assert cluster.writes == before


class Broken(FakeCluster):
    """A cluster that refuses one image when it is really applied: what a revision that never comes up leaves."""

    mended = False

    def apply(self, thing: object, **options: object) -> dict[str, object]:  # type: ignore[override]
        if not self.mended and "lightragctl:bad" in str(thing) and not options.get("dry_run"):
            raise InvalidObjectError("Deployment/dev-embedder: bad image")
        return super().apply(thing, **options)  # type: ignore[arg-type]


def test_after_a_bad_revision_the_good_one_comes_back_and_history_says_why() -> None:
    cluster = Broken()
    up(cluster)
    before = state(cluster)
    with pytest.raises(LightragctlError, match="bad image"):
        up(cluster, "image.tag=bad", TWO)
    bad = history(cluster)[0]
    assert (bad.outcome, bad.cause) == (RevisionOutcome.FAILED, "Deployment/dev-embedder: bad image")
    rollback(cluster)
    assert state(cluster) == before
    assert [number for number, outcome, _ in told(cluster) if outcome in ("applied", "failed")] == [3, 2]


def test_a_revision_that_failed_goes_on_when_it_is_tried_again() -> None:
    cluster = Broken()
    up(cluster)
    with pytest.raises(LightragctlError, match="bad image"):
        up(cluster, "image.tag=bad")
    described = history(cluster)[0].description
    cluster.mended = True
    up(cluster, "image.tag=bad")
    assert told(cluster)[0] == (2, "applied", described)
    assert history(cluster)[0].cause == ""


def test_without_an_earlier_good_revision_a_rollback_is_refused() -> None:
    cluster = FakeCluster()
    up(cluster)
    before = list(cluster.writes)
    with pytest.raises(RefusedError, match="no earlier applied revision"):
        rollback(cluster)
    with pytest.raises(RefusedError, match="revision 5 does not exist"):
        rollback(cluster, 5)
    assert cluster.writes == before


def test_a_rollback_starts_what_was_taken_down() -> None:
    cluster = FakeCluster()
    up(cluster)
    up(cluster, TWO)
    tear_down(scope(cluster), False, 5.0, ignore)
    rollback(cluster, 2, UpOptions(5.0))
    assert cluster.objects[DEPLOYMENT]["spec"]["replicas"] == 2


def test_a_record_of_the_first_schema_is_taken_on() -> None:
    cluster = FakeCluster()
    up(cluster)
    identity = inventory_ref("dev", "lightrag")
    text = cluster.objects[identity]["data"]["record.json"]
    old = text.replace('"schema": 2', '"schema": 1').replace('"revision": 1, ', "").replace('"fence": 1, ', "")
    assert old != text
    cluster.objects[identity]["data"]["record.json"] = old
    for number in [one for one in cluster.objects if one.name.startswith("dev-lightragctl-r")]:
        del cluster.objects[number]
    assert up(cluster) == ()
    up(cluster, TWO)
    assert told(cluster) == [(1, "applied", "1 configured, 1 created")]
