"""Restore, clone and drill in memory: what takes the place of what, what is kept, and death at every write."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lightragctl.backup.chain import open_chain
from lightragctl.backup.kinds import clone_kind, drill_kind, restore_kind
from lightragctl.backup.origin import BackupOrigin
from lightragctl.core.errors import LightragctlError
from lightragctl.operations.control import abort, resume
from lightragctl.operations.kind import OperationKind
from lightragctl.operations.model import Phase, StepState
from lightragctl.vectors.control import control_row
from tests.fakes.backup import CHUNKS, CONTROL, Workspace, memory, row
from tests.fakes.cluster import DiedError
from tests.fakes.copied import Copied, of_backup, of_workspace, text
from tests.fakes.store import FakeStore
from tests.unit.backup.test_create import backed_up
from tests.unit.backup.test_verify import flipped

OURS = f"{CHUNKS}_g1"
DOCS = {"rag_storage/kv_store_full_docs.json": text({"doc-1": {"content": "saved"}})}
EVERY = pytest.mark.parametrize(
    "every", [23, pytest.param(5, marks=pytest.mark.slow), pytest.param(1, marks=pytest.mark.drill)]
)
"""Of how many writes one is died at."""
AFTER = pytest.mark.parametrize("after", [False, True], ids=["before it took effect", "after it took effect"])


def filled(rows: int, note: str, ours: bool) -> Workspace:
    """A workspace whose chunks are ours, behind an alias, or lightrag-server's."""
    workspace = Workspace(files=dict(DOCS), documents={"files.json": text({"inputs": "/elsewhere"})})
    workspace.fill(rows)
    workspace.store.upsert(CONTROL, [control_row(f"doc:{note}", {"note": note}, 0), control_row("epoch", {}, 0)])
    if ours:
        as_ours(workspace.store)
    return workspace


def as_ours(store: FakeStore) -> None:
    store.rename(CHUNKS, OURS)
    store.point_alias(CHUNKS, OURS)


def backup(ours: bool = True) -> BackupOrigin:
    storage = memory()
    return BackupOrigin(open_chain(storage, backed_up(filled(20, "saved", ours), storage).id))


def target(folder: Path, origin: BackupOrigin, **options: Any) -> Copied:
    """A release whose workspace has other data than the backup."""
    store = filled(30, "before", ours=options.pop("ours", True)).store
    store.upsert(CHUNKS, [row("k0003", seed=7), row("only here")])
    copied = Copied(folder, store, restoring, of_backup(origin), options.pop("workspace", "default"), **options)
    before = folder / "rag_storage" / "default"
    before.mkdir(parents=True)
    (before / "kv_store_full_docs.json").write_bytes(text({"doc-1": {"content": "before"}}))
    return copied


def restoring(copied: Copied) -> OperationKind:
    return restore_kind(copied.open)


def cloning(copied: Copied) -> OperationKind:
    return clone_kind(copied.open)


def drilling(copied: Copied) -> OperationKind:
    return drill_kind(copied.open)


def keys(copied: Copied, name: str) -> set[str]:
    found = copied.store.collections[copied.store.resolve(name) or ""]
    return {key for key in found.rows if key != "epoch" and not key.startswith("fence")}


@pytest.mark.parametrize("ours", [False, True], ids=["lightrag-server's before", "ours before"])
@pytest.mark.parametrize("restored", [False, True], ids=["lightrag-server's restored", "ours restored"])
def test_a_backup_takes_the_place_of_a_workspace_which_is_kept(ours: bool, restored: bool, tmp_path: Path) -> None:
    copied = target(tmp_path, backup(restored), ours=ours)
    before = copied.state()
    record = copied.run()
    assert record.phase is Phase.SUCCEEDED, record.cause
    assert keys(copied, CHUNKS) == {f"k{number:04d}" for number in range(20)}
    assert keys(copied, CONTROL) == {"doc:saved"}
    assert (CHUNKS in copied.store.aliases) is restored
    assert not [key for key in copied.store.collections[CONTROL].rows if key.startswith("fence:")]
    state = copied.state()
    assert state["files"] == DOCS
    assert (state["writer"], state["switching"], copied.runtime.stops) == (True, "", 1)
    assert record.results["proof"]["searches"] == 20
    old = before["rows"][OURS if ours else CHUNKS]
    assert state["rows"]["kept_0001_1"] == old
    assert [one.name for one in record.kept] == [
        "collection:kept_0001_1", "collection:kept_0001_0", "files:default:restore-0001",
    ]  # fmt: skip
    assert not [name for name in state["rows"] if name.startswith("restore_")]


def test_an_abort_after_the_switch_puts_everything_back(tmp_path: Path) -> None:
    copied = target(tmp_path, backup())
    before = copied.state()
    copied.run()
    copied.place.store.update(
        copied.id,
        lambda one: one.changed(phase=Phase.FAILED, ended_at=None).with_step("confirm", state=StepState.FAILED),
    )
    abort(copied.place, copied.id, copied.now)
    assert copied.run().phase is Phase.ABORTED
    assert copied.state() == before


def test_a_backup_that_its_command_could_not_read_is_not_restored_as_another_workspace(tmp_path: Path) -> None:
    copied = target(tmp_path, backup(), workspace="other")
    record = copied.run(is_assumed=True)
    assert record.phase is Phase.FAILED
    assert "the backup is of workspace 'default', not of 'other'" in record.cause
    assert "--target-workspace default" in record.cause


def test_a_workspace_that_does_not_exist_is_made_and_removed_again(tmp_path: Path) -> None:
    copied = target(tmp_path, backup(), workspace="other")
    before = copied.state()
    assert copied.run().phase is Phase.SUCCEEDED
    assert keys(copied, "other_chunks_m_8d") == {f"k{number:04d}" for number in range(20)}
    assert keys(copied, "other_lightragctl") == {"doc:saved"}
    assert copied.record.kept == ()
    assert copied.runtime.stops == 0
    assert copied.state()["files"] == DOCS
    assert {name: before["rows"][name] for name in (OURS, CONTROL)} == {
        name: copied.state()["rows"][name] for name in (OURS, CONTROL)
    }


def test_a_clone_is_the_workspace_under_another_name(tmp_path: Path) -> None:
    copied = target(tmp_path, backup(), workspace="other")
    copied.kind, copied.origin = cloning, of_workspace("default")
    record = copied.run()
    assert record.phase is Phase.SUCCEEDED, record.cause
    state = copied.state()
    assert state["rows"]["other_chunks_m_8d_g1"] == state["rows"][OURS]
    assert keys(copied, "other_lightragctl") == keys(copied, CONTROL) == {"doc:before"}
    assert (state["writer"], copied.runtime.stops, record.kept) == (True, 1, ())
    assert copied.files.path("rag_storage/kv_store_full_docs.json").read_bytes() == text(
        {"doc-1": {"content": "before"}}
    )


def test_a_drill_leaves_nothing(tmp_path: Path) -> None:
    copied = target(tmp_path, backup())
    copied.kind = drilling
    before = copied.state()
    record = copied.run()
    assert record.phase is Phase.SUCCEEDED, record.cause
    assert (record.results["proof"]["rows"], record.results["proof"]["overlap"]) == (22, 1.0)
    assert copied.state() == before


def test_a_copy_that_differs_is_not_switched_to_and_the_writer_runs(tmp_path: Path) -> None:
    copied = target(tmp_path, backup())
    before = copied.state()
    write = copied.store.write_rows

    def losing(name: str, batches: Any, done: Any = None) -> int:
        count = write(name, batches, done)
        copied.store.collections[name].rows.pop("k0005", None)
        return count

    copied.store.write_rows = losing  # type: ignore[method-assign]
    record = copied.run()
    assert record.phase is Phase.FAILED
    assert "restore_0001_1 has 19 rows" in record.cause
    abort(copied.place, copied.id, copied.now)
    assert copied.run().phase is Phase.ABORTED
    assert copied.state() == before


def test_a_refusal_in_the_middle_of_the_switch_undoes_it(tmp_path: Path) -> None:
    copied = target(tmp_path, backup(ours=False), ours=False)
    before = copied.state()
    rename = copied.store.rename

    def refusing(old: str, new: str) -> None:
        if old.startswith("restore_"):
            raise LightragctlError("refused")
        rename(old, new)

    copied.store.rename = refusing  # type: ignore[method-assign]
    record = copied.run()
    assert (record.phase, record.step("writer").state) == (Phase.FAILED, StepState.UNDONE)
    state = copied.state()
    for part in ("files", "writer", "switching"):
        assert state[part] == before[part]
    assert state["rows"][CHUNKS] == before["rows"][CHUNKS]
    copied.store.rename = rename  # type: ignore[method-assign]
    resume(copied.place, copied.id, copied.now)
    assert copied.run().phase is Phase.SUCCEEDED
    assert keys(copied, CHUNKS) == {f"k{number:04d}" for number in range(20)}


@pytest.mark.parametrize("place", ["rows", "files", "index"])
def test_a_damaged_backup_is_refused_before_anything_is_written(place: str, tmp_path: Path) -> None:
    origin = backup()
    storage, manifest = origin.chain.links[0].archive.storage, origin.chain.manifest
    entry = manifest.collections[0]
    chosen = {"rows": entry.parts, "files": manifest.files, "index": entry.index}[place][0]
    flipped(storage, f"{manifest.id}/{chosen.path}", chosen.size_bytes // 2)
    copied = target(tmp_path, origin)
    before = copied.state()
    record = copied.run()
    assert (record.phase, record.step("check").state) == (Phase.FAILED, StepState.FAILED)
    assert "is damaged" in record.cause
    assert copied.state() == before


def restored(copied: Copied) -> None:
    copied.run()


def aborted(copied: Copied) -> None:
    """A user aborts once the switch is done."""
    if not copied.place.store.records() or copied.record.phase is not Phase.ABORTING:
        record = copied.run() if not copied.place.store.records() or copied.record.is_open else copied.record
        if record.phase is Phase.SUCCEEDED:
            copied.place.store.update(copied.id, lambda one: one.changed(phase=Phase.FAILED, ended_at=None))
        if copied.record.is_open:
            abort(copied.place, copied.id, copied.now)
    if copied.record.is_open:
        copied.run()


@EVERY
@AFTER
@pytest.mark.parametrize("story", [restored, aborted])
@pytest.mark.parametrize("ours", [False, True], ids=["lightrag-server's", "ours"])
def test_a_restore_that_dies_at_any_write_is_continued_to_one_end(
    ours: bool, story: Callable[[Copied], None], after: bool, every: int, tmp_path: Path
) -> None:
    origin = backup(ours)
    whole = target(tmp_path / "whole", origin, ours=ours)
    story(whole)
    end, phase, kept = whole.state(), whole.record.phase, whole.record.kept
    for number in range(1 + after, len(whole.mortal.writes) + 1, every):
        folder = tmp_path / str(number)
        copied = target(folder, origin, ours=ours)
        copied.mortal.die_at, copied.mortal.after = number, after
        try:
            story(copied)
        except DiedError:
            copied.mortal.revive()
            story(copied)
        died = f"died at write {number}: {whole.mortal.writes[number - 1]}"
        assert copied.record.phase is phase, f"{died}: {copied.record.cause}"
        assert copied.state() == end, died
        assert [one.name for one in copied.record.kept] == [one.name for one in kept], died
        shutil.rmtree(folder)


@EVERY
@AFTER
@pytest.mark.parametrize("kind", [cloning, drilling])
def test_clones_and_drills_too(
    kind: Callable[[Copied], OperationKind], after: bool, every: int, tmp_path: Path
) -> None:
    origin = backup()

    def made(folder: Path) -> Copied:
        copied = target(folder, origin, workspace="other" if kind is cloning else "default")
        copied.kind = kind
        copied.origin = of_workspace("default") if kind is cloning else copied.origin
        return copied

    whole = made(tmp_path / "whole")
    whole.run()
    end = whole.state()
    for number in range(1 + after, len(whole.mortal.writes) + 1, every):
        copied = made(tmp_path / str(number))
        copied.mortal.die_at, copied.mortal.after = number, after
        try:
            copied.run()
        except DiedError:
            copied.mortal.revive()
            copied.run()
        died = f"died at write {number}: {whole.mortal.writes[number - 1]}"
        assert copied.record.phase is Phase.SUCCEEDED, f"{died}: {copied.record.cause}"
        assert copied.state() == end, died
