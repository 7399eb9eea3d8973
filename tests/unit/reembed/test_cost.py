"""What a re-embedding costs is known before it begins, from a sample of the texts and one batch."""

from pathlib import Path

import numpy as np

from lightragctl.reembed.cost import estimate
from tests.fakes.reembedded import Reembedded


def test_texts_are_counted_and_the_rate_is_that_of_one_batch(tmp_path: Path) -> None:
    made, ticks = Reembedded(tmp_path, rows=40), iter([10.0, 14.0])
    found = estimate(
        made.store, ["default_chunks_old_8d_g1"], lambda asked: np.zeros((len(asked), 6), np.float32), ticks.__next__
    )
    assert (found.total, found.characters, found.texts_per_s, found.seconds) == (40, 40 * 13 + 30, 4.0, 10.0)
    assert found.tokens > 40


def test_without_a_model_there_is_no_rate(tmp_path: Path) -> None:
    found = estimate(Reembedded(tmp_path).store, ["default_chunks_old_8d_g1"], None)
    assert (found.total, found.seconds) == (5, None)
