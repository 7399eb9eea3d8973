"""A rebuild in memory: what takes the place of what, what readers find meanwhile, and death at every write."""

import asyncio
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from lightragctl.operations.control import abort, resume
from lightragctl.operations.kind import Context, OperationKind
from lightragctl.operations.model import Operation, Phase, StepState
from lightragctl.tune.kinds import rebuild_kind
from lightragctl.tune.rebuild import Ground, rebuild_parameters
from lightragctl.vectors.applied import AppliedIndex, read_applied
from tests.fakes.backup import CHUNKS, CONTROL, Workspace, row
from tests.fakes.cluster import DiedError
from tests.fakes.copied import Copied, of_workspace
from tests.fakes.store import FakeSearch

OURS = f"{CHUNKS}_g1"
INDEX = AppliedIndex("IVF_FLAT", "COSINE", {"nlist": 16}, {"nprobe": 4})
EVERY = pytest.mark.parametrize("every", [17, pytest.param(1, marks=pytest.mark.drill)])
AFTER = pytest.mark.parametrize("after", [False, True], ids=["before it took effect", "after it took effect"])
OWNER = pytest.mark.parametrize("ours", [False, True], ids=["lightrag-server's", "ours"])


def kind(copied: Copied) -> OperationKind:
    @contextmanager
    def opened(context: Context) -> Iterator[Ground]:
        with copied.open(context) as work:
            yield Ground(work.site, lambda batch: asyncio.run(FakeSearch(copied.store).search(batch)))

    return rebuild_kind(opened)


def release(folder: Path, ours: bool) -> Copied:
    workspace = Workspace()
    workspace.fill(30)
    if ours:
        workspace.store.rename(CHUNKS, OURS)
        workspace.store.point_alias(CHUNKS, OURS)
    return Copied(folder, workspace.store, kind, of_workspace("default"), "default")


def rebuilt(copied: Copied, ours: bool) -> Operation:
    return copied.run(**rebuild_parameters(OURS if ours else CHUNKS, INDEX, 60.0))


def index_of(copied: Copied, name: str) -> str:
    return copied.store.describe(name).indexes[0].index_type


@OWNER
def test_a_collection_gets_another_index_and_the_previous_one_is_kept(ours: bool, tmp_path: Path) -> None:
    copied = release(tmp_path, ours)
    before = copied.state()["rows"][OURS if ours else CHUNKS]
    record = rebuilt(copied, ours)
    assert record.phase is Phase.SUCCEEDED, record.cause
    final = f"{CHUNKS}_g2" if ours else CHUNKS
    assert copied.store.resolve(CHUNKS) == final
    assert (index_of(copied, final), index_of(copied, "kept_0001_1")) == ("IVF_FLAT", "HNSW")
    assert copied.state()["rows"][final] == copied.state()["rows"]["kept_0001_1"] == before
    assert copied.runtime.stops == (0 if ours else 1)
    assert copied.runtime.running
    assert read_applied(copied.store, "default")[final] == INDEX
    assert [one.name for one in record.kept] == ["collection:kept_0001_1"]
    assert not copied.store.collections["kept_0001_1"].loaded
    assert record.results["proof"]["rows"] == 30


def test_readers_of_an_alias_find_all_rows_at_any_moment(tmp_path: Path) -> None:
    copied = release(tmp_path, True)
    known = OURS  # what a replica has read last, as it polls
    seen: list[int] = []

    def read(change: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*arguments: Any) -> Any:
            seen.append(len(copied.store.readable(known).rows))
            return change(*arguments)

        return wrapped

    for name in ("create_from", "write_rows", "point_alias", "load"):
        setattr(copied.store, name, read(getattr(copied.store, name)))
    rename = copied.store.rename

    def renamed(old: str, new: str) -> None:
        nonlocal known
        known = copied.store.resolve(CHUNKS) or ""  # `SPREAD_S` have passed since the alias was switched
        rename(old, new)
        seen.append(len(copied.store.readable(known).rows))

    setattr(copied.store, "rename", renamed)  # noqa: B010 - a method of an instance
    assert rebuilt(copied, True).phase is Phase.SUCCEEDED
    assert set(seen) == {30}
    assert not copied.state()["switching"]


def test_rows_that_are_written_while_it_copies_are_caught_up(tmp_path: Path) -> None:
    copied = release(tmp_path, True)
    written = copied.store.write_rows

    def write(*arguments: Any) -> Any:
        done = written(*arguments)
        if arguments[0] == "rebuild_0001" and "new" not in copied.store.collections[OURS].rows:
            copied.store.upsert(OURS, [row("new"), row("k0003", seed=9)])
            copied.store.delete(OURS, ["k0001"])
        return done

    copied.store.write_rows = write  # type: ignore[method-assign]
    record = rebuilt(copied, True)
    assert record.phase is Phase.SUCCEEDED, record.cause
    assert record.results["caught_up"] == 3
    rows = copied.state()["rows"]
    assert rows[f"{CHUNKS}_g2"] == rows["kept_0001_1"]
    assert "new" in rows[f"{CHUNKS}_g2"]


@OWNER
def test_an_abort_after_the_switch_puts_everything_back(ours: bool, tmp_path: Path) -> None:
    copied = release(tmp_path, ours)
    before = copied.state()
    rebuilt(copied, ours)
    copied.place.store.update(
        copied.id,
        lambda one: one.changed(phase=Phase.FAILED, ended_at=None).with_step("confirm", state=StepState.FAILED),
    )
    abort(copied.place, copied.id, copied.now)
    assert rebuilt(copied, ours).phase is Phase.ABORTED
    after = copied.state()
    after["rows"].pop(CONTROL, None)
    before["rows"].pop(CONTROL, None)
    for state in (before, after):
        state["loaded"].pop(CONTROL, None)
    assert after == before


def test_another_metric_and_an_absent_collection_are_refused(tmp_path: Path) -> None:
    copied = release(tmp_path, True)
    record = copied.run(**rebuild_parameters(OURS, AppliedIndex("FLAT", "L2"), 60.0))
    assert record.phase is Phase.FAILED
    assert "scores would change" in record.cause
    assert OURS in copied.store.collections


def story(copied: Copied, ours: bool) -> None:
    record = rebuilt(copied, ours)
    if record.phase in (Phase.PAUSED, Phase.FAILED):
        resume(copied.place, copied.id, copied.now)
        rebuilt(copied, ours)


@EVERY
@AFTER
@OWNER
def test_a_rebuild_that_dies_at_any_write_is_continued_to_one_end(
    ours: bool, after: bool, every: int, tmp_path: Path
) -> None:
    whole = release(tmp_path / "whole", ours)
    story(whole, ours)
    end = whole.state()
    for number in range(1 + after, len(whole.mortal.writes) + 1, every):
        folder = tmp_path / str(number)
        copied = release(folder, ours)
        copied.mortal.die_at, copied.mortal.after = number, after
        try:
            story(copied, ours)
        except DiedError:
            copied.mortal.revive()
            story(copied, ours)
        died = f"died at write {number}: {whole.mortal.writes[number - 1]}"
        assert copied.record.phase is Phase.SUCCEEDED, f"{died}: {copied.record.cause}"
        assert copied.state() == end, died
        shutil.rmtree(folder)


def test_an_undo_uses_the_kept_collection_and_what_was_written_since(tmp_path: Path) -> None:
    copied = release(tmp_path / "first", True)
    first = rebuilt(copied, True)
    copied.store.upsert(CHUNKS, [row("new")])
    before = AppliedIndex(**first.results["before"])
    copied.store.rename("kept_0001_1", "kept_before_1")  # the second operation has the same token here
    again = Copied(tmp_path / "again", copied.store, kind, of_workspace("default"), "default")
    record = again.run(**rebuild_parameters(f"{CHUNKS}_g2", before, 60.0, reuse="kept_before_1"))
    assert record.phase is Phase.SUCCEEDED, record.cause
    assert (record.results["reused"], record.results["caught_up"]) == ("kept_before_1", 1)
    assert index_of(copied, copied.store.resolve(CHUNKS) or "") == "HNSW"
    assert "new" in copied.state()["rows"][f"{CHUNKS}_g3"]
