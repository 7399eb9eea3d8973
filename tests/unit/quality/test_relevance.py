"""Figures of relevance are those of trec_eval, and a broken file is named with its line."""

from dataclasses import astuple
from pathlib import Path

import pytest
import pytrec_eval
from hypothesis import given
from hypothesis import strategies as st

from lightragctl.core.errors import UsageError
from lightragctl.quality.relevance import Relevance, evaluate, read_qrels

CUTS = (1, 3, 10)
QUERIES = st.sampled_from(["q1", "q2", "q3", "q4"])
DOCUMENTS = st.sampled_from([*"abcdefghij", "A", "a1", "é", "中", "\U0001f600", "doc-10", "doc-9"])
GRADES = st.integers(-1, 4)
SCORES = st.one_of(
    st.sampled_from([0.0, -0.0, 1.0, 1.0 + 1e-9, 1.0 - 1e-9, 2.0, -1.0, 1e300, 2e300, 1e-300]),
    st.floats(allow_nan=False, allow_infinity=False),
)
QRELS = st.dictionaries(QUERIES, st.dictionaries(DOCUMENTS, GRADES, min_size=1), min_size=1)
RUNS = st.dictionaries(QUERIES, st.dictionaries(DOCUMENTS, SCORES, min_size=1), min_size=1)


def reference(
    qrels: dict[str, dict[str, int]], run: dict[str, dict[str, float]], k: int
) -> dict[str, tuple[float, ...]]:
    names = (f"ndcg_cut_{k}", f"recall_{k}", "recip_rank", "map")
    wanted = {f"ndcg_cut.{k}", f"recall.{k}", "recip_rank", "map"}
    found = pytrec_eval.RelevanceEvaluator(qrels, wanted).evaluate(run)
    return {query: tuple(figures[name] for name in names) for query, figures in found.items()}


@pytest.mark.parametrize("k", CUTS)
@given(qrels=QRELS, run=RUNS)
def test_every_figure_is_that_of_trec_eval(
    k: int, qrels: dict[str, dict[str, int]], run: dict[str, dict[str, float]]
) -> None:
    expected = reference(qrels, run, k)
    if not expected:
        with pytest.raises(UsageError, match="the judgements contain no query of the run"):
            evaluate(qrels, run, k)
        return
    ours = evaluate(qrels, run, k)
    assert ours.keys() == expected.keys()
    for query, figures in expected.items():
        assert astuple(ours[query]) == pytest.approx(figures, abs=1e-9)


def test_a_ranking_worked_out_by_hand() -> None:
    qrels = {"q": {"best": 3, "good": 1, "bad": 0, "worse": -1, "unseen": 1}}
    run = {"q": {"bad": 9.0, "good": 8.0, "stranger": 7.0, "best": 6.0, "worse": 5.0}}
    # good at rank 2, best at rank 4; log2 of 3, 4 and 5 is 1.584963, 2 and 2.321928
    gained, ideal = 1 / 1.584963 + 3 / 2.321928, 3 + 1 / 1.584963 + 1 / 2
    expected = Relevance(gained / ideal, 2 / 3, 1 / 2, (1 / 2 + 2 / 4) / 3)
    assert astuple(evaluate(qrels, run, 4)["q"]) == pytest.approx(astuple(expected), abs=1e-6)


def test_grades_that_are_all_far_below_zero_are_not_relevant() -> None:
    figures = evaluate({"q": {"a": -7}}, {"q": {"a": 1.0}}, 1)  # pytrec_eval dies of this one
    assert figures == {"q": Relevance(0.0, 0.0, 0.0, 0.0)}


def read(folder: Path, text: str) -> dict[str, dict[str, int]]:
    path = folder / "qrels"
    path.write_bytes(text.encode())
    return read_qrels(path)


def test_judgements_are_read_with_and_without_a_byte_order_mark(tmp_path: Path) -> None:
    text = "# judged by hand\n\n1 0 doc-1 2\r\n1\t0\tdoc　2 -1\n  2 Q0 doc-1 0"
    assert read(tmp_path, text) == {"1": {"doc-1": 2, "doc　2": -1}, "2": {"doc-1": 0}}
    assert read(tmp_path, "\ufeff1 0 文 1\r\n") == {"1": {"文": 1}}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 0 a 1\n1 0 b\n", "qrels:2: 3 fields instead of 4"),
        ("1 0 a b 1", "qrels:1: 5 fields instead of 4"),
        ("\n1 0 a high", "qrels:2: judgement 'high' is not a whole number"),
        ("1 0 a 0.5", "qrels:1: judgement '0.5' is not a whole number"),
        ("1 0 a 1\n2 0 a 1\n1 0 a 0", "qrels:3: duplicate: document a, query 1"),
    ],
)
def test_broken_judgements_are_named_with_their_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        read(tmp_path, text)
    assert caught.value.message.endswith(message)
    assert caught.value.hint


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot read .*absent: No such file"):
        read_qrels(tmp_path / "absent")
    (tmp_path / "latin").write_bytes("1 0 caf\xe9 1\n".encode("latin-1"))
    with pytest.raises(UsageError, match="is not UTF-8"):
        read_qrels(tmp_path / "latin")
