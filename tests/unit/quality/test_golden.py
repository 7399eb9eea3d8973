"""Golden sets: which queries are taken, and what a check may say of them."""

import random
from collections import Counter

import numpy as np
import pytest

from lightragctl.core.errors import RefusedError, UsageError
from lightragctl.core.settings import EmbeddingModel
from lightragctl.quality import golden
from lightragctl.quality.exact import Neighbours
from lightragctl.quality.golden import (
    CurrentAnswers,
    Floors,
    FloorStatus,
    GoldenSet,
    Head,
    KnownAnswer,
    Query,
    QueryFigures,
    WorkspaceContent,
)

HELD = WorkspaceContent(collection="c_g1", epoch='{"epoch":1}', rows=100)
IDS = [f"doc-{number}" for number in range(1000)]


def head(k: int = 3, **counts: int) -> Head:
    given = {"version": 1, "built_at": 1, "tool": "0", "held": HELD, "metric": "COSINE", "k": k, "seed": 0}
    return Head.model_validate({**given, "model": EmbeddingModel(), "counts": counts, "digest": ""})


def near(ids: str, scores: list[float] | None = None, k: int = 3) -> Neighbours:
    given = np.array(scores or [1.0 - at / 10 for at in range(len(ids))])
    return Neighbours("COSINE", k, tuple(ids), given, np.full(len(ids), 1e-6))


def known(ids: str, row: str | None = None) -> KnownAnswer:
    return KnownAnswer(Query("row" if row else "file", "text", np.ones(2, np.float32), row), near(ids))


def judged(recall: float, end_to_end: float | None = None, overlap: float = 1.0) -> QueryFigures:
    return QueryFigures(1, "file", "text", recall, end_to_end, overlap, ())


def test_the_sample_depends_on_the_seed_and_not_on_the_order() -> None:
    shuffled = random.Random(1).sample(IDS, len(IDS))
    assert golden.sample(IDS, 50, 7) == golden.sample(shuffled, 50, 7)
    assert golden.sample(IDS, 50, 7) != golden.sample(IDS, 50, 8)
    assert sorted(golden.sample(IDS[:3], 50, 7)) == IDS[:3]
    assert golden.sample(IDS, 0, 7) == []


def test_the_sample_of_a_workspace_that_grew_is_nearly_the_same() -> None:
    before, after = set(golden.sample(IDS[:900], 50, 7)), set(golden.sample(IDS, 50, 7))
    assert len(before & after) > 35


def test_any_row_is_as_likely_as_any_other() -> None:
    taken = Counter(name for seed in range(400) for name in golden.sample(IDS[:10], 3, seed))
    assert set(taken) == set(IDS[:10])
    assert 80 < min(taken.values()) <= max(taken.values()) < 160


@pytest.mark.parametrize(
    ("recorded", "given", "most", "expected"),
    [
        ([], [], 5, {}),
        (["a", "b", "a"], [], 5, {"a": "recorded", "b": "recorded"}),
        (["new", "older", "oldest"], [], 2, {"new": "recorded", "older": "recorded"}),
        (["a", "b", "c"], ["a"], 1, {"a": "file", "b": "recorded"}),
        (["a"], ["b", "b"], 0, {"b": "file"}),
    ],
)
def test_questions_are_distinct(recorded: list[str], given: list[str], most: int, expected: dict[str, str]) -> None:
    assert golden.questions(recorded, given, most) == expected


@pytest.mark.parametrize(
    ("found", "right", "share"),
    [
        ("abc", "abc", 1.0),
        ("cba", "abc", 1.0),
        ("abx", "abc", 2 / 3),
        ("ab", "abc", 2 / 3),
        ("", "abc", 0.0),
        ("abc", "ab", 2 / 3),
        ("", "", 1.0),
    ],
)
def test_overlap_is_of_the_longer_answer(found: str, right: str, share: float) -> None:
    assert golden.kept(found, near(right), 3) == pytest.approx(share)


def test_what_ties_for_the_last_place_was_right_too() -> None:
    tied = near("abcd", [1.0, 0.9, 0.8, 0.8])
    assert golden.kept("abd", tied, 3) == golden.kept("abc", tied, 3) == 1.0


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({}, ()),
        ({"rows": 99}, ("99 rows, previously 100",)),
        ({"epoch": '{"epoch":2}'}, ("rows were written since then",)),
        ({"epoch": '{"epoch":2}', "rows": 101}, ("101 rows, previously 100",)),
        ({"collection": "c_g2"}, ("the passages are in c_g2, previously in c_g1",)),
    ],
)
def test_a_set_is_stale_when_what_it_was_built_of_changed(change: dict[str, object], told: tuple[str, ...]) -> None:
    assert golden.staleness(head(), HELD.model_copy(update=change)) == told


def test_each_query_is_judged_by_the_index_by_lightrag_api_and_by_the_answer_it_had() -> None:
    golden_set = GoldenSet(head(row=1, file=1), (known("abc", row="q"), known("abc")))
    answers = CurrentAnswers(found=["abx", "abc"], exact=[near("abx"), near("abd")], end_to_end={1: "xyd"})
    rows = golden.judged(golden_set, answers, 3)
    assert [(row.number, row.recall, row.end_to_end, row.overlap, row.missed) for row in rows] == [
        (1, 1.0, None, pytest.approx(2 / 3), ()),
        (2, pytest.approx(2 / 3), pytest.approx(1 / 3), 1.0, ("d",)),
    ]
    assert golden.changed(golden_set, answers.exact, 3) == 2
    assert golden.changed(golden_set, answers.exact, 2) == 0


@pytest.mark.parametrize(
    ("values", "floor", "verdict"),
    [
        ([1.0] * 36, 0.9, FloorStatus.MET),
        ([1.0] * 30, 0.9, FloorStatus.INCONCLUSIVE),
        ([1.0], 0.0, FloorStatus.MET),
        ([0.5] * 40, 0.9, FloorStatus.BELOW),
        ([0.9, 0.8, 1.0, 1.0] * 5, 0.9, FloorStatus.INCONCLUSIVE),
        ([0.0], 0.9, FloorStatus.INCONCLUSIVE),
        ([1.0] * 1000, 1.0, FloorStatus.MET),
        ([1.0], 1.0, FloorStatus.MET),
        ([1.0] * 999 + [0.9], 1.0, FloorStatus.BELOW),
        ([0.0], 0.0, FloorStatus.MET),
        ([0.0, 0.0], 0.9, FloorStatus.BELOW),
        ([0.0], None, FloorStatus.REPORTED),
    ],
)
def test_a_figure_is_kept_or_below_only_when_its_whole_interval_is(
    values: list[float], floor: float | None, verdict: FloorStatus
) -> None:
    figure = golden.figures([judged(value) for value in values], Floors(recall=floor))[0]
    assert (figure.name, figure.queries, figure.verdict) == ("recall", len(values), verdict)
    assert (figure.needed is not None and figure.needed > len(values)) == (verdict is FloorStatus.INCONCLUSIVE)


def test_lightrag_api_has_a_figure_where_it_was_asked() -> None:
    rows = [judged(1.0), judged(1.0, end_to_end=0.5, overlap=0.0)]
    found = golden.figures(rows, Floors(0.9, 0.5))
    assert [(one.name, one.queries, one.mean, one.floor) for one in found] == [
        ("recall", 2, 1.0, 0.9),
        ("end_to_end", 1, 0.5, 0.9),
        ("overlap", 2, 0.5, 0.5),
    ]


def test_the_worst_are_those_that_lost_recall_then_overlap() -> None:
    rows = [judged(1.0), judged(0.8), judged(1.0, 0.1), judged(1.0, 1.0, 0.3), judged(0.8, overlap=0.2)]
    assert golden.worst(rows) == (rows[2], rows[4], rows[1], rows[3])
    assert len(golden.worst([judged(0.0)] * 9)) == golden.MOST_WORST


def test_a_check_goes_no_deeper_than_is_known() -> None:
    assert [golden.depth(k, head(k=3)) for k in (None, 1, 3)] == [3, 1, 3]
    with pytest.raises(UsageError, match="knows the 3 nearest"):
        golden.depth(4, head(k=3))


def test_vectors_of_another_model_are_not_compared() -> None:
    golden.refuse_other_model(head(), EmbeddingModel())
    with pytest.raises(RefusedError, match="another embedding model"):
        golden.refuse_other_model(head(), EmbeddingModel(query_prefix="search: "))


def test_a_metric_that_we_cannot_compute_is_refused() -> None:
    assert golden.metric_of("L2") == "L2"
    with pytest.raises(UsageError, match="JACCARD"):
        golden.metric_of("JACCARD")
