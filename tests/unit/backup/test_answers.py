"""Known answers: which hits are compared."""

import pytest

from lightragctl.backup.answers import without_last_tie


@pytest.mark.parametrize(
    ("scores", "kept"),
    [
        ([1.0, 0.8, 0.7], 2),
        ([1.0, 0.5, 0.5], 1),
        ([1.0, 0.500001, 0.5], 1),
        ([0.5, 0.5, 0.5], 0),
        ([1.0, 1.0, 0.5], 2),
        ([0.5, 0.5], 2),
    ],
)
def test_hits_are_compared_that_no_others_of_the_same_score_may_replace(scores: list[float], kept: int) -> None:
    hits = list(zip("abc", scores, strict=False))
    assert without_last_tie(hits, 3) == list("abc"[:kept])
