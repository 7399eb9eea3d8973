"""Damage is found wherever it is."""

import pytest

from lightragctl.backup.catalog import find_parent
from lightragctl.backup.chain import open_chain
from lightragctl.backup.manifest import InvalidBackupError
from lightragctl.backup.storage import Storage
from lightragctl.backup.verify import unreadable, verify
from lightragctl.cli.backup import payloads
from lightragctl.core.errors import RefusedError
from lightragctl.core.result import Event
from tests.fakes.backup import CHUNKS, Workspace, memory, row, to
from tests.unit.backup.test_create import backed_up, verified

MOST = 10**9


def chain_of_two(storage: Storage, **options: object) -> str:
    workspace = Workspace()
    workspace.fill(30)
    backed_up(workspace, storage, **options)
    workspace.store.upsert(CHUNKS, [row("k0001", seed=3)])
    workspace.store.delete(CHUNKS, ["k0002"])
    return backed_up(workspace, storage, **options).id


def flipped(storage: Storage, path: str, at: int) -> None:
    data = bytearray(storage.read(path, MOST))
    data[at % len(data)] ^= 1 << (at % 8)
    storage.write(path, bytes(data))


def test_a_flipped_bit_in_any_object_is_found() -> None:
    whole = memory()
    id = chain_of_two(whole)
    objects = {
        path: whole.read(path, MOST) for path in whole.sizes("") if "started" not in path and ".locks" not in path
    }
    assert len(objects) == 12
    for path, data in objects.items():
        if path.endswith("manifest.json"):
            continue
        for at in (0, len(data) // 2, len(data) - 1):
            flipped(whole, path, at)
            found = verified(whole, id)
            assert any(path.partition("/")[2] in problem for problem in found.problems), path
            whole.write(path, data)
    assert verified(whole, id).problems == []


def test_a_flipped_bit_in_a_manifest_is_found() -> None:
    storage = memory()
    id = chain_of_two(storage)
    path = f"{id}/manifest.json"
    data = storage.read(path, MOST)
    for at in range(len(data)):
        flipped(storage, path, at)
        with pytest.raises((InvalidBackupError, RefusedError)):
            open_chain(storage, id)
        storage.write(path, data)


@pytest.mark.parametrize("what", ["missing", "longer", "shorter", "empty"])
def test_a_lost_or_cut_object_is_found_without_reading_it(what: str) -> None:
    storage = memory()
    id = chain_of_two(storage)
    path = next(path for path in storage.sizes(id) if path.endswith(".parquet"))
    data = storage.read(path, MOST)
    storage.delete(path)
    if what != "missing":
        storage.write(path, {"longer": data + b"x", "shorter": data[:-1], "empty": b""}[what])
    found = verify(open_chain(storage, id), 0.0001, lambda: 1.0, lambda event: None)
    assert not found.ok
    assert found.read_objects == 0


def test_a_missing_parent_is_named() -> None:
    storage = memory()
    id = chain_of_two(storage)
    parent = open_chain(storage, id).links[1].manifest.id
    storage.delete(f"{parent}/manifest.json")
    with pytest.raises(InvalidBackupError, match=f"based on {parent}, which is missing"):
        open_chain(storage, id)


def test_a_share_of_the_objects_is_read() -> None:
    storage = memory()
    id = chain_of_two(storage)
    numbers = iter([0.05, 0.5] * 100)
    events: list[Event] = []
    found = verify(open_chain(storage, id), 0.1, lambda: next(numbers), events.append)
    assert 0 < found.read_objects < found.object_count
    assert found.ok
    assert "objects" in events[-1].message


def test_a_manifest_that_cannot_be_read_is_a_failed_check() -> None:
    found = unreadable("20261130T120000Z-00000000", InvalidBackupError("the manifest is damaged"))
    result = payloads.backup_verify("file:///backups", found)
    assert (result.exit_status, result.errors[0].message) == (3, "the manifest is damaged")


def test_a_parent_that_was_replaced_is_found_and_not_built_on() -> None:
    storage = memory()
    id = chain_of_two(storage)
    parent = open_chain(storage, id).links[1].manifest
    replaced = parent.model_copy(update={"finished_at": "2026-11-30T23:00:00Z"})
    storage.write(f"{parent.id}/manifest.json", replaced.to_json())
    open_chain(storage, parent.id)  # it is whole
    with pytest.raises(InvalidBackupError, match=f"{parent.id} is not the parent that {id} names"):
        open_chain(storage, id)
    workspace = Workspace()
    assert find_parent(storage, workspace.subject, to(storage), workspace.events.append) is None
    assert "cannot be used as its base" in workspace.events[-1].message
