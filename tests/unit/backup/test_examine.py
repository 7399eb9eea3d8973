"""What is refused before anything is copied."""

from dataclasses import replace
from pathlib import Path

import pytest

from lightragctl.backup.examine import examine
from lightragctl.backup.site import Work
from lightragctl.core.errors import RefusedError
from lightragctl.core.settings import EmbeddingModel
from lightragctl.operations.control import abort, pause, resume
from lightragctl.operations.model import Phase
from tests.fakes.copied import Copied, of_workspace
from tests.unit.backup.test_copies import backup, cloning, target


def work(copied: Copied, **changes: object) -> Work:
    with copied.open(None) as opened:
        return replace(opened, site=replace(opened.site, **changes))


def test_what_a_restore_would_do(tmp_path: Path) -> None:
    found = examine(work(target(tmp_path, backup())), "t")
    assert (found.rows, found.exists, found.losses) == (22, True, ())
    assert (found.collections, found.replaced) == (
        ("default_chunks_m_8d_g2", "default_lightragctl"),
        ("default_chunks_m_8d_g1",),
    )


@pytest.mark.parametrize("model", [EmbeddingModel(name="n", dimension=8), EmbeddingModel(name="m", dimension=16)])
def test_another_model_or_dimension_is_refused(model: EmbeddingModel, tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match="another embedding model"):
        examine(work(target(tmp_path, backup()), model=model), "t")


def test_a_disk_without_space_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match="are free"):
        examine(work(target(tmp_path, backup()), free_bytes=1000), "t")


def test_what_would_be_lost_is_named_and_needs_a_word(tmp_path: Path) -> None:
    copied = target(tmp_path, backup())
    assert "1 files of lightrag-server" in examine(work(copied, files=None), "t").losses[0]


def test_a_clone_of_an_existing_name_changes_nothing(tmp_path: Path) -> None:
    copied = target(tmp_path, backup(), workspace="default")
    copied.kind, copied.origin = cloning, of_workspace("default")
    before = copied.state()
    assert "there is a workspace 'default' already" in copied.run().cause
    assert copied.state() == before


def test_a_restore_is_paused_in_the_copy_and_resumed(tmp_path: Path) -> None:
    copied = target(tmp_path, backup())
    write, asked = copied.store.write_rows, []

    def pausing(name: str, batches: object, done: object = None) -> int:
        if not asked:
            asked.append(pause(copied.place, copied.id))
        return write(name, batches, done)  # type: ignore[arg-type]

    copied.store.write_rows = pausing  # type: ignore[method-assign, assignment]
    assert copied.run().phase is Phase.PAUSED
    assert copied.runtime.running
    resume(copied.place, copied.id, copied.now)
    assert copied.run().phase is Phase.SUCCEEDED


def test_a_workspace_that_comes_into_being_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    copied = target(tmp_path, backup(), workspace="other")
    flush = copied.store.flush

    def creating(name: str) -> None:
        flush(name)
        copied.store.collections.setdefault("other_lightragctl", copied.store.collections["default_lightragctl"])

    copied.store.flush = creating  # type: ignore[method-assign]
    record = copied.run()
    assert (record.phase, "was created meanwhile" in record.cause) == (Phase.FAILED, True)
    abort(copied.place, copied.id, copied.now)
    assert copied.run().phase is Phase.ABORTED
    assert "other_lightragctl" in copied.store.collections
