"""How good answers were: against judgements of documents or passages, and against exact search."""

import numpy as np
import pytest

from lightragctl.bench.quality import RECALL_QUESTIONS, recall_figure, relevance, sampled
from lightragctl.bench.questions import Question
from lightragctl.bench.targets import FoundHit
from lightragctl.quality.exact import exact_neighbours

QUESTIONS = [Question("q1", "one"), Question("q2", "two"), Question("q1", "one again"), Question("q3", "unjudged")]


def hits(*names: str) -> tuple[FoundHit, ...]:
    return tuple(FoundHit(f"{name}-chunk-{at}", f"/data/{name}") for at, name in enumerate(names))


def test_documents_are_ranked_by_their_best_passage() -> None:
    found = {0: hits("b.md", "a.md", "b.md"), 1: hits("c.md")}
    figures = relevance(found, QUESTIONS, {"q1": {"a.md": 1}, "q2": {"c.md": 2}}, 10)
    assert figures["mrr"].mean == pytest.approx((1 / 2 + 1) / 2)
    assert figures["relevant_recall"].mean == 1.0
    assert figures["mrr"].questions == 2
    assert figures["mrr"].low <= figures["mrr"].mean <= figures["mrr"].high


def test_passages_may_be_judged_by_id_and_sources_by_their_whole_path() -> None:
    found = {0: hits("a.md", "b.md")}
    assert relevance(found, QUESTIONS, {"q1": {"b.md-chunk-1": 1}}, 10)["mrr"].mean == pytest.approx(1 / 2)
    assert relevance(found, QUESTIONS, {"q1": {"/data/b.md": 1}}, 10)["mrr"].mean == pytest.approx(1 / 2)


def test_the_first_question_of_an_id_counts_and_unjudged_ones_do_not() -> None:
    found = {0: hits("a.md"), 2: hits("b.md"), 3: hits("x.md")}
    assert relevance(found, QUESTIONS, {"q1": {"a.md": 1}}, 10)["mrr"].mean == 1.0
    assert relevance({3: hits("x.md")}, QUESTIONS, {"q1": {"a.md": 1}}, 10) == {}


def test_recall_is_the_share_of_the_nearest_rows_that_were_found() -> None:
    rows = np.eye(4, dtype=np.float32)
    names = [f"{name}-chunk-0" for name in "abcd"]
    query = np.array([[4, 3, 2, 1]], np.float32)
    nearest = {0: exact_neighbours(query, [(names, rows)], 2, "COSINE")[0]}
    figure = recall_figure({0: (FoundHit("a-chunk-0"), FoundHit("c-chunk-0"))}, nearest, 2)
    assert figure is not None
    assert figure.mean == 0.5
    assert recall_figure({1: hits("a")}, nearest, 2) is None


def test_recall_is_sampled_over_all_that_was_answered() -> None:
    found = {at: hits("a") for at in range(1000)} | dict.fromkeys(range(1000, 2000), ())
    places = sampled(found)
    assert len(places) == RECALL_QUESTIONS
    assert (places[0], places[-1] > 990) == (0, True)
    assert sampled({}) == []
