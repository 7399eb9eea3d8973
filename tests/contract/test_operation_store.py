"""What operations rely on in a store of records; one suite for files, the fake cluster and a real API server."""

import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from lightragctl.core.errors import LightragctlError, LockedError, UsageError
from lightragctl.core.objects import ref
from lightragctl.kube.client import connect
from lightragctl.kube.model import Cluster
from lightragctl.operations.cluster_store import ConfigMapStore
from lightragctl.operations.model import Operation, Phase
from lightragctl.operations.store import FileStore, OperationStore
from tests.fakes.cluster import FakeCluster
from tests.fakes.operations import START, move


@pytest.fixture(params=["files", "fake", pytest.param("real", marks=pytest.mark.cluster)])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[OperationStore]:
    """Each store in turn."""
    if request.param == "files":
        yield FileStore(tmp_path / "operations")
        return
    namespace = f"operations-{uuid.uuid4().hex[:8]}"
    door: Cluster = FakeCluster()
    if request.param == "real":
        door = connect(request.getfixturevalue("cluster").kubeconfig, None)
    made = door.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
    yield ConfigMapStore(door, namespace, "dev")
    door.delete(ref(made), made["metadata"]["uid"])


def test_a_record_is_read_back(store: OperationStore) -> None:
    store.create(move().changed(cause="知识\n'x' # no"))
    assert store.read("move-0001") == move().changed(cause="知识\n'x' # no")


def test_an_id_is_given_once(store: OperationStore) -> None:
    store.create(move())
    with pytest.raises(LockedError, match="operation move-0001 already exists"):
        store.create(move())


@pytest.mark.parametrize("name", ["move-9", "../secret", ".x"])
def test_what_is_not_there_is_named(store: OperationStore, name: str) -> None:
    with pytest.raises(LightragctlError):
        store.read(name)
    with pytest.raises(UsageError, match="there is no operation move-9") as caught:
        store.update("move-9", lambda current: current)
    assert caught.value.hint == "list them: lightragctl operations list"


def test_records_are_listed_newest_first(store: OperationStore) -> None:
    assert store.records() == []
    for number in (2, 1, 3):
        store.create(move(operation_id=f"000{number}").changed(created_at=START.replace(day=number)))
    assert [one.id for one in store.records()] == ["move-0003", "move-0002", "move-0001"]


def test_an_update_gives_what_is_stored(store: OperationStore) -> None:
    store.create(move())
    made = store.update("move-0001", lambda current: current.changed(phase=Phase.RUNNING))
    assert made == store.read("move-0001")
    assert made.phase is Phase.RUNNING


def test_an_update_that_fails_changes_nothing(store: OperationStore) -> None:
    store.create(move())

    def fail(current: Operation) -> Operation:
        raise LightragctlError("no")

    with pytest.raises(LightragctlError):
        store.update("move-0001", fail)
    assert store.read("move-0001") == move()


def test_no_update_gets_lost(store: OperationStore) -> None:
    store.create(move())

    def count() -> None:
        for _ in range(5):
            store.update("move-0001", lambda current: current.changed(turn=current.turn + 1))

    threads = [threading.Thread(target=count) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.read("move-0001").turn == 15


def test_a_deleted_record_is_gone(store: OperationStore) -> None:
    store.create(move())
    store.delete("move-0001")
    store.delete("move-0001")
    assert store.records() == []
