"""Putting copies in the place of a workspace and back: the same on the fake, Milvus Lite and Milvus."""

from dataclasses import replace

import pytest

from lightragctl.backup import moves, switch
from lightragctl.backup.moves import Renamed
from lightragctl.core.settings import Index
from lightragctl.vectors.control import EPOCH, control_name, control_row, epoch_row
from lightragctl.vectors.model import Page, chunks_spec, control_spec
from lightragctl.vectors.schema import CollectionSchema
from lightragctl.vectors.store import CollectionStore
from tests.contract.conftest import Subject
from tests.fakes.backup import row


def made(store: CollectionStore, name: str, count: int) -> None:
    store.create(chunks_spec(name, 8, Index()))
    store.upsert(name, [row(f"{number:04d}") for number in range(count)])


def keys(store: CollectionStore, control: str) -> list[str]:
    return [str(one["id"]) for one in store.scan(control, [], Page()) if one["id"] != EPOCH]


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("ours_before", "ours_after"),
    [
        pytest.param(True, True, id="ours"),
        pytest.param(False, False, id="lightrag-server's"),
        pytest.param(True, False, id="ours, then lightrag-server's", marks=pytest.mark.drill),
        pytest.param(False, True, id="lightrag-server's, then ours", marks=pytest.mark.drill),
    ],
)
def test_a_copy_takes_the_place_and_gives_it_back(subject: Subject, ours_before: bool, ours_after: bool) -> None:
    store, name = subject.store, subject.name
    chunks, control, copy, rows = f"{name}_chunks_m_8d", control_name(name), f"restore_{name}_1", f"restore_{name}_2"
    before = f"{chunks}_g1" if ours_before else chunks
    made(store, before, 3)
    if ours_before:
        store.point_alias(chunks, before)
    made(store, copy, 5)
    for place, key in ((control, "old"), (rows, "new")):
        store.create(control_spec(place))
        store.upsert(place, [control_row(key, {}, 1), control_row("both", {"of": key}, 1), epoch_row(1)])
    chosen = renamed(store.describe(copy), ours_after)
    found = {chosen.name: (copy, chosen), "src_lightragctl": (rows, store.describe(rows))}
    there = {one: store.describe(one).aliases for one in store.list_collections() if name in one}
    plain = moves.plan(Renamed("src", name), found, {one: there[one] for one in (before, control)}, [before], name)
    planned = moves.Moves.from_plain(plain.to_plain())

    switch.keep_control(store, planned, lambda: None)
    for _ in range(2):  # as after a crash
        switch.forward(store, planned, lambda: None)
    assert store.row_count(chunks) == 5
    assert (store.resolve(chunks) == chunks) is not ours_after
    assert (store.row_count(planned.olds[0].kept), keys(store, control)) == (3, ["both", "new"])
    for _ in range(2):
        switch.back(store, planned, lambda: None)
    assert (store.row_count(chunks), store.resolve(chunks), store.row_count(copy)) == (3, before, 5)
    assert keys(store, control) == ["both", "old"]
    assert store.get(control, ["both"], ["value"])["both"]["value"] == '{"of":"old"}'
    switch.forward(store, planned, lambda: None)
    assert store.row_count(chunks) == 5
    store.drop(planned.olds[0].kept)
    assert store.row_count(chunks) == 5


def renamed(schema: CollectionSchema, ours: bool) -> CollectionSchema:
    """The schema as a backup has it."""
    if ours:
        return replace(schema, name="src_chunks_m_8d_g1", aliases=("src_chunks_m_8d",))
    return replace(schema, name="src_chunks_m_8d", aliases=())
