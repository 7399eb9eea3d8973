"""A workspace is embedded again as a whole or not at all, whenever a process dies; no text costs a model call twice."""

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from lightragctl.operations.control import resume
from lightragctl.operations.model import Phase
from lightragctl.reembed.texts import BATCH_TEXTS
from lightragctl.service.hashed_embeddings import hashed_vectors
from lightragctl.vectors.applied import AppliedIndex, read_applied, write_applied
from tests.fakes.cluster import DiedError
from tests.fakes.reembedded import CUT, NEW, OLD, Reembedded, profile

_MOST = 2
"""How often the copy may embed a text: again only with the batch of a process that died before its write."""


def whole(folder: Path, upstream: bool) -> tuple[dict[str, Any], int]:
    """The state after an undisturbed run, and how many writes it takes."""
    made = Reembedded(folder, upstream=upstream)
    assert made.run().phase is Phase.SUCCEEDED, made.place.store.records()[0].cause
    return made.state(), len(made.mortal.writes)


def test_our_collection_gets_an_alias_and_the_records_of_documents_name_the_new_model(tmp_path: Path) -> None:
    made = Reembedded(tmp_path)
    record = made.run()
    assert record.phase is Phase.SUCCEEDED
    assert made.store.aliases == {"default_chunks_new_6d": "default_chunks_new_6d_g1"}
    assert made.served == profile(NEW)
    rows = made.store.collections["default_chunks_new_6d_g1"].rows
    assert np.array_equal(rows["k003"]["vector"], hashed_vectors(["chunks text 3"], 6)[0])
    assert rows["k003"]["file_path"] == "3.md"
    control = made.store.collections["default_lightragctl"].rows
    assert msgspec.json.decode(control["doc:doc-1"]["value"])["cut"] == CUT + NEW.suffix
    assert msgspec.json.decode(control["model:new_6d"]["value"])["dimension"] == 6
    assert not made.store.collections["kept_0001_1"].loaded
    assert [one.name for one in record.kept] == ["collection:kept_0001_1"]


def test_collections_of_lightrag_server_get_its_names_and_its_writer_is_stopped_meanwhile(tmp_path: Path) -> None:
    made = Reembedded(tmp_path, upstream=True)
    assert made.run().phase is Phase.SUCCEEDED
    assert sorted(made.store.collections) == [
        "default_chunks_new_6d", "default_entities_new_6d", "default_lightragctl", "kept_0001_1", "kept_0001_2",
    ]  # fmt: skip
    assert made.store.aliases == {}
    assert made.store.collections["default_entities_new_6d"].rows["k001"]["entity_name"] == "Ada"
    assert (made.runtime.stops, made.runtime.running) == (1, True)


EVERY = pytest.param(1, marks=pytest.mark.drill, id="every")
SOME = pytest.param(7, marks=pytest.mark.slow, id="some")


@pytest.mark.parametrize("step", [SOME, EVERY])
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("upstream", [False, True], ids=["ours", "upstream"])
def test_a_death_at_any_write_loses_nothing(tmp_path: Path, upstream: bool, after: bool, step: int) -> None:
    wanted, count = whole(tmp_path / "whole", upstream)
    for at in range(2, count + 1, step):
        made = Reembedded(tmp_path / str(at), upstream=upstream)
        made.mortal.die_at, made.mortal.after = at, after
        with pytest.raises(DiedError):
            made.run()
        made.mortal.revive()
        died_in = made.place.store.records()[0]
        record = made.run()
        assert record.phase is Phase.SUCCEEDED, (at, died_in.phase, record.cause)
        assert made.state() == wanted, (at, made.mortal.writes[at - 1])
        assert max(made.texts.values()) <= _MOST, at


@pytest.mark.parametrize("step", [SOME, EVERY])
@pytest.mark.parametrize("upstream", [False, True], ids=["ours", "upstream"])
def test_an_abort_after_a_death_at_any_write_leaves_what_was_there(tmp_path: Path, upstream: bool, step: int) -> None:
    _, count = whole(tmp_path / "whole", upstream)
    before = Reembedded(tmp_path / "before", upstream=upstream).state()
    for at in range(2, count, step):
        made = Reembedded(tmp_path / str(at), upstream=upstream)
        made.mortal.die_at, made.mortal.after = at, True
        with pytest.raises(DiedError):
            made.run()
        made.mortal.revive()
        if not made.place.store.records()[0].is_open:  # it died after the last write
            continue
        record = made.abort()
        assert record.phase is Phase.ABORTED, (at, record.cause)
        assert made.state() == before, (at, made.mortal.writes[at - 1])


def test_a_killed_copy_embeds_at_most_one_batch_again(tmp_path: Path) -> None:
    made = Reembedded(tmp_path, rows=5 * BATCH_TEXTS)
    writes = [
        at for at, what in enumerate(_undisturbed(tmp_path / "whole", 5 * BATCH_TEXTS), 1) if "write_rows" in what
    ]
    made.mortal.die_at = writes[3]
    with pytest.raises(DiedError):
        made.run()
    made.mortal.revive()
    made.texts.clear()
    assert made.run().phase is Phase.SUCCEEDED
    embedded = sum(made.texts.values())
    assert embedded <= 5 * BATCH_TEXTS - 3 * 7  # of three written batches (seven rows each here) none is embedded again


def _undisturbed(folder: Path, rows: int) -> list[str]:
    made = Reembedded(folder, rows=rows)
    made.run()
    return made.mortal.writes


def test_what_is_written_and_deleted_during_the_copy_is_in_the_new_collection(tmp_path: Path) -> None:
    made = Reembedded(tmp_path)
    embed, changed = made.embed, []

    def meanwhile(asked: Any) -> Any:
        if not changed and "chunks text 0" in asked and made.store.resolve("reembed_0001_1"):
            changed.append(True)
            made.write("default_chunks_old_8d_g1", [8])
            made.store.delete("default_chunks_old_8d_g1", ["k001"])
        return embed(asked)

    made.embed = meanwhile  # type: ignore[method-assign]
    assert made.run().phase is Phase.SUCCEEDED
    assert changed
    assert sorted(made.store.collections["default_chunks_new_6d_g1"].rows) == ["k000", "k002", "k003", "k004", "k008"]


def test_a_model_that_answers_worse_is_refused_and_nothing_is_changed(tmp_path: Path) -> None:
    made = Reembedded(tmp_path)
    before = made.state()
    made.embed = lambda asked: np.tile(np.eye(6, dtype=np.float32)[0], (len(asked), 1))  # type: ignore[method-assign]
    questions = [[str(at), f"chunks text {at}"] for at in range(5)]
    record = made.run(questions=questions, qrels={str(at): {f"{at}.md": 1} for at in range(5)}, max_drop=0.0)
    assert record.phase is Phase.SUCCEEDED  # each of five passages is among the first five
    again = Reembedded(tmp_path / "again", rows=12)
    again.embed = made.embed  # type: ignore[method-assign]
    questions = [[str(at), f"chunks text {at}"] for at in range(12)]
    record = again.run(questions=questions, qrels={str(at): {f"{at}.md": 1} for at in range(12)}, max_drop=0.05)
    assert record.phase is Phase.FAILED
    assert "hit@5 of 12 judged questions falls from 1.000" in record.cause
    assert again.abort().phase is Phase.ABORTED
    assert again.served == before["served"]
    assert sorted(again.store.collections) == ["default_chunks_old_8d_g1", "default_lightragctl"]


def test_the_golden_queries_show_how_much_the_answers_change(tmp_path: Path) -> None:
    made = Reembedded(tmp_path, golden=["chunks text 1"])
    comparison = made.run().results["comparison"]
    assert (comparison["golden_queries"], comparison["old"]) == (1, None)
    assert 0 <= comparison["overlap"] <= 1


def test_an_undo_embeds_only_what_was_written_since(tmp_path: Path) -> None:
    made = Reembedded(tmp_path)
    record = made.run()
    made.write("default_chunks_new_6d_g1", [])
    made.store.upsert(
        "default_chunks_new_6d_g1",
        [
            {"id": "k009", "vector": np.ones(6, np.float32), "created_at": 1, "content": "written since"}
            | {"file_path": "9.md", "full_doc_id": "doc-1"}
        ],
    )
    made.texts.clear()
    (move,) = record.results["moves"]
    made.place.store.delete(record.id)
    saved = record.originals["release"]
    seeds = {move["old_alias"]: move["kept"]}
    made.embed = lambda asked: (made.texts.update(asked), hashed_vectors(asked, OLD.dimension))[1]  # type: ignore[assignment,return-value]
    back = made.run(old=NEW.model_dump(mode="json"), profile=saved["profile"], seeds=seeds)
    assert back.phase is Phase.SUCCEEDED, back.cause
    assert made.store.aliases == {"default_chunks_old_8d": "default_chunks_old_8d_g1"}
    assert len(made.store.collections["default_chunks_old_8d_g1"].rows) == 6
    assert made.texts["written since"] == 1
    assert made.served == profile(OLD)


def test_a_pause_stops_between_two_batches_and_a_resume_goes_on(tmp_path: Path) -> None:
    made = Reembedded(tmp_path, rows=3 * BATCH_TEXTS)
    embed = made.embed

    def pausing(asked: Any) -> Any:
        if made.store.resolve("reembed_0001_1") and not made.events[-1].message.startswith("paused"):
            from lightragctl.operations.control import pause

            pause(made.place, "reembed-0001")
            made.now += made.now - made.now  # the next report reads the request
            made.pause(5.0)
        return embed(asked)

    made.embed = pausing  # type: ignore[method-assign]
    assert made.run().phase is Phase.PAUSED
    made.embed = embed  # type: ignore[method-assign]
    resume(made.place, "reembed-0001", made.now)
    assert made.run().phase is Phase.SUCCEEDED


def test_how_a_tuned_collection_is_searched_moves_with_it(tmp_path: Path) -> None:
    made = Reembedded(tmp_path)
    tuned = AppliedIndex("HNSW", "COSINE", {}, {"ef": 80})
    write_applied(made.store, "default", {"default_chunks_old_8d_g1": tuned}, 1)
    assert made.run().phase is Phase.SUCCEEDED
    assert read_applied(made.store, "default")["default_chunks_new_6d_g1"] == tuned
