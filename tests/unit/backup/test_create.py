"""Creating backups: whole or absent, full or incremental, fenced or stable."""

import pytest

from lightragctl.backup.catalog import listed
from lightragctl.backup.chain import open_chain
from lightragctl.backup.create import UnstableError
from lightragctl.backup.manifest import Manifest
from lightragctl.backup.restore import known_answers
from lightragctl.backup.storage import Storage
from lightragctl.backup.verify import Verified, verify
from lightragctl.core.errors import LightragctlError, LockedError
from lightragctl.vectors.rows import row_hashes
from tests.fakes.backup import CHUNKS, Died, DyingStorage, Workspace, create, memory, row, to


def backed_up(workspace: Workspace, storage: Storage, **options: object) -> Manifest:
    return create(workspace.source(), to(storage, **options), workspace.world())


def verified(storage: Storage, id: str, identities: tuple[str, ...] = ()) -> Verified:
    return verify(open_chain(storage, id, identities), 1.0, lambda: 0.0, lambda event: None)


def content(storage: Storage, id: str, identities: tuple[str, ...] = ()) -> dict[str, bytes]:
    """The hash of each row that a restore would write, by key; each key comes once."""
    chain = open_chain(storage, id, identities)
    found: dict[str, bytes] = {}
    for batch in chain.rows(CHUNKS):
        assert not found.keys() & set(batch.keys)
        found.update(zip(batch.keys, row_hashes(batch, chain.definition(CHUNKS)), strict=True))
    return found


def held(workspace: Workspace) -> dict[str, bytes]:
    """The hash of each row that the store has now, by key."""
    schema = workspace.store.describe(CHUNKS)
    batches = list(workspace.store.read_rows(CHUNKS, schema))
    return {key: hash for batch in batches for key, hash in zip(batch.keys, row_hashes(batch, schema), strict=True)}


def test_a_full_backup_has_every_row_and_file() -> None:
    workspace, storage = Workspace(), memory()
    workspace.fill(50)
    made = backed_up(workspace, storage)
    assert made.parent is None
    assert made.consistency.method == "fence"
    assert [(one.name, one.unique_keys) for one in made.collections] == [(CHUNKS, 50), ("default_lightragctl", 0)]
    assert content(storage, made.id) == held(workspace)
    assert verified(storage, made.id).problems == []
    assert [one.name for one in made.files] == ["kv_store_full_docs.json"]


def test_an_incremental_backup_has_what_changed_and_reads_as_the_whole() -> None:
    workspace, storage = Workspace(), memory()
    workspace.fill(50)
    first = backed_up(workspace, storage)
    workspace.store.upsert(CHUNKS, [row("k0003", seed=9), row("a-new", seed=1), row("zz-new", seed=1)])
    workspace.store.delete(CHUNKS, ["k0000", "k0010", "k0049"])
    second = backed_up(workspace, storage)
    entry = second.collection(CHUNKS)
    assert second.parent == first.id
    assert entry is not None
    assert (entry.changed_rows, entry.deleted_rows, entry.unique_keys) == (3, 3, 49)
    assert content(storage, second.id) == held(workspace)
    workspace.store.upsert(CHUNKS, [row("k0000", seed=5)])
    workspace.store.delete(CHUNKS, ["a-new"])
    third = backed_up(workspace, storage)
    assert content(storage, third.id) == held(workspace)
    assert verified(storage, third.id).problems == []
    assert verified(storage, third.id).backups == (third.id, second.id, first.id)


def test_a_collection_that_is_not_loaded_is_loaded_for_the_backup() -> None:
    workspace, storage = Workspace(), memory()
    workspace.fill(5)
    workspace.store.release(CHUNKS)
    made = backed_up(workspace, storage)
    assert len(content(storage, made.id)) == 5
    assert not workspace.store.is_loaded(CHUNKS)
    known = known_answers(open_chain(storage, made.id))
    assert known is not None
    assert len(known.collections[CHUNKS]) == 5


def test_every_nth_backup_is_full() -> None:
    workspace, storage = Workspace(), memory()
    workspace.fill(5)
    made = [backed_up(workspace, storage, full_every=3).generation for _ in range(5)]
    assert made == [0, 1, 2, 0, 1]


def test_a_new_collection_is_whole_in_an_incremental_backup() -> None:
    workspace, storage = Workspace(), memory()
    workspace.fill(5)
    backed_up(workspace, storage)
    workspace.store.drop(CHUNKS)
    assert backed_up(workspace, storage).collection(CHUNKS) is None
    workspace.__post_init__()
    workspace.fill(3)
    third = backed_up(workspace, storage)
    entry = third.collection(CHUNKS)
    assert entry is not None
    assert not entry.incremental
    assert content(storage, third.id) == held(workspace)


def test_a_damaged_parent_makes_a_full_backup_with_the_reason() -> None:
    workspace, storage = Workspace(), memory()
    workspace.fill(5)
    first = backed_up(workspace, storage)
    storage.delete(f"{first.id}/{first.stored()[0].path}")
    assert backed_up(workspace, storage).parent is None
    assert "is missing" in workspace.events[-1].message or any("is missing" in one.message for one in workspace.events)


def test_a_parent_with_a_flipped_bit_in_an_index_makes_a_full_backup() -> None:
    workspace, storage = Workspace(), memory()
    workspace.fill(5)
    first = backed_up(workspace, storage)
    path = f"{first.id}/{first.collections[0].index[0].path}"
    data = storage.read(path, 2**20)
    storage.write(path, data[:-1] + bytes([data[-1] ^ 1]))
    assert backed_up(workspace, storage).parent is None
    assert any("SHA-256" in one.message for one in workspace.events)


def test_a_lost_fence_leaves_no_backup() -> None:
    workspace, storage = Workspace(), memory()
    workspace.fill(5)
    assert workspace.fence is not None
    workspace.fence.lost = LightragctlError("the fence was lost")
    with pytest.raises(LightragctlError, match="the fence was lost"):
        backed_up(workspace, storage)
    assert listed(storage, workspace.clock.now()) == []
    assert not workspace.fence.active


def test_without_a_fence_two_passes_must_agree() -> None:
    workspace, storage = Workspace(fence=None), memory()
    workspace.fill(20)
    made = backed_up(workspace, storage)
    assert (made.consistency.method, made.consistency.passes) == ("stable-scan", 2)


class Busy(Workspace):
    """A workspace that is written to at the beginning of its first passes."""

    writes = 2

    def open_files(self):  # type: ignore[no-untyped-def]
        if self.writes:
            self.writes -= 1
            self.store.upsert(CHUNKS, [row("moving", seed=self.writes)])
        return super().open_files()


def test_without_a_fence_a_write_leads_to_another_pass() -> None:
    workspace, storage = Busy(fence=None), memory()
    workspace.fill(20)
    made = backed_up(workspace, storage)
    assert made.consistency.passes == 4
    assert content(storage, made.id) == held(workspace)
    assert verified(storage, made.id).problems == []


def test_without_a_fence_a_workspace_that_never_rests_is_an_error() -> None:
    workspace, storage = Busy(fence=None), memory()
    workspace.writes = 100
    workspace.fill(5)
    with pytest.raises(UnstableError):
        backed_up(workspace, storage)
    assert listed(storage, workspace.clock.now()) == []


def test_two_backups_at_once_exclude_each_other() -> None:
    workspace, storage = Workspace(), memory()
    workspace.fill(5)
    other = Workspace(store=workspace.store, clock=workspace.clock)
    seen: list[LockedError] = []

    def during() -> list[str]:
        if not seen:
            with pytest.raises(LockedError) as refused:
                backed_up(other, storage)
            seen.append(refused.value)
        return workspace.store.list_collections()

    source = workspace.source()
    object.__setattr__(source, "collections", during)
    create(source, to(storage), workspace.world())
    assert "ann@host (backup create)" in seen[0].message
    assert len(listed(storage, workspace.clock.now())) == 1


def writes_of_a_backup() -> int:
    workspace, counting = Workspace(), DyingStorage(memory(), 10_000, after=False)
    workspace.fill(10)
    backed_up(workspace, counting)
    return 10_000 - counting.left


@pytest.mark.parametrize("after", [False, True])
def test_killed_at_any_write_there_is_a_whole_backup_or_none(after: bool) -> None:
    for at in range(writes_of_a_backup()):
        workspace, storage = Workspace(), memory()
        workspace.fill(10)
        with pytest.raises(Died):
            backed_up(workspace, DyingStorage(storage, at, after))
        for one in listed(storage, workspace.clock.now()):
            assert one.state in ("complete", "running", "incomplete")
            if one.state == "complete":
                assert verified(storage, one.id).problems == []
        workspace.clock.at = workspace.clock.at.replace(hour=13)  # the lock has expired
        again = backed_up(workspace, storage)
        assert content(storage, again.id) == held(workspace)
