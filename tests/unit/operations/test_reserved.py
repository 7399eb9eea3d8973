"""An open operation reserves its release, on both runtimes; a closed one does not, and goes with the release."""

from collections.abc import Callable
from pathlib import Path

import pytest

from lightragctl.core.errors import LockedError
from lightragctl.core.objects import ObjectRef
from lightragctl.deploy.down import tear_down
from lightragctl.deploy.rollout_plan import read_inventory
from lightragctl.local.files import ReleaseFiles
from lightragctl.operations.control import abandon, begin
from lightragctl.operations.model import Phase
from lightragctl.operations.place import Place
from lightragctl.release.recorded import check_recorded
from tests.fakes.cluster import FakeCluster
from tests.fakes.operations import ID, World, crew, move, run
from tests.fakes.release import ignore, lock_holder, rollback, scope, up

CHANGES: dict[str, Callable[[FakeCluster], object]] = {
    "up": lambda cluster: up(cluster, "components.embedder.replicas=2"),
    "rollback": lambda cluster: rollback(cluster, 1),
    "down": lambda cluster: tear_down(scope(cluster), False, 5.0, ignore),
    "purge": lambda cluster: tear_down(scope(cluster), True, 5.0, ignore),
}


def on_cluster(cluster: FakeCluster) -> Place:
    return Place("dev", lock_holder(), scope(cluster))


@pytest.mark.parametrize("change", CHANGES)
def test_a_release_on_a_cluster_is_not_changed_while_an_operation_is_open(change: str) -> None:
    cluster = FakeCluster()
    up(cluster)
    up(cluster, "components.mock-llm.replicas=2")
    place, world = on_cluster(cluster), World()
    begin(place, move(), ignore)
    before = [write for write in cluster.writes if "Lease/" not in write]
    with pytest.raises(LockedError, match=f"operation {ID} of this release is open") as caught:
        CHANGES[change](cluster)
    assert f"lightragctl operations status {ID}" in caught.value.hint
    assert [write for write in cluster.writes if "Lease/" not in write] == before
    abandon(place, ID, crew(world))
    CHANGES[change](cluster)


def test_an_operation_on_a_cluster_ends_and_leaves_no_lock() -> None:
    cluster, world = FakeCluster(), World()
    up(cluster)
    record = run(on_cluster(cluster), world)
    assert record.phase is Phase.SUCCEEDED
    leases = [one.name for one in cluster.objects if one.kind == "Lease"]
    assert leases == ["dev-lightragctl"]


def test_a_purge_takes_the_records_of_operations_with_it() -> None:
    cluster, world = FakeCluster(), World()
    up(cluster)
    run(on_cluster(cluster), world)
    tear_down(scope(cluster), True, 5.0, ignore)
    assert not [one for one in cluster.objects if one.kind in ("ConfigMap", "Namespace")]


def test_a_purge_in_a_namespace_of_others_takes_them_too() -> None:
    cluster, world = FakeCluster(), World()
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "lightrag"}})
    up(cluster)
    run(on_cluster(cluster), world)
    tear_down(scope(cluster), True, 5.0, ignore)
    assert ObjectRef("v1", "Namespace", "", "lightrag") in cluster.objects
    assert not [one for one in cluster.objects if one.kind == "ConfigMap"]


@pytest.mark.parametrize("text", ['{"open": true}', '{"open": true, "schema_version": 99}', "{", "[]", "{}"])
def test_a_local_release_is_reserved_by_whatever_is_not_known_to_be_closed(text: str, tmp_path: Path) -> None:
    files = ReleaseFiles(tmp_path)
    files.refuse_open_operation()
    files.operations.mkdir()
    (files.operations / "restore-1.json").write_text(text, encoding="utf-8")
    with pytest.raises(LockedError, match="operation restore-1 of this release is open"):
        files.refuse_open_operation()
    (files.operations / "restore-1.json").write_text('{"open": false}', encoding="utf-8")
    files.refuse_open_operation()


def test_a_pod_finds_the_profile_in_the_inventory() -> None:
    cluster = FakeCluster()
    up(cluster, "components.embedder.replicas=2")
    inventory = read_inventory(scope(cluster))
    assert inventory is not None
    loaded = check_recorded(inventory)
    assert loaded.name == "dev"
    assert loaded.profile.model_dump(mode="json") == dict(inventory.profile)
