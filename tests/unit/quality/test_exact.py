"""The nearest rows are those of a full sort, and what float32 cannot tell apart counts as found."""

import itertools
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from lightragctl.core.errors import LightragctlError
from lightragctl.quality.exact import Metric, Neighbours, exact_neighbours, recall
from lightragctl.vectors.model import Block, FloatArray, WrongDimensionError

METRICS: tuple[Metric, ...] = ("COSINE", "IP", "L2")
Sum = Callable[[NDArray[np.float32]], NDArray[np.float32]]


def cut(vectors: FloatArray, sizes: Sequence[int]) -> Iterator[Block]:
    """All rows in blocks of these sizes, over and over."""
    begin = 0
    for size in itertools.cycle(sizes):
        if begin >= len(vectors):
            return
        rows = range(begin, min(begin + size, len(vectors)))
        yield [f"row-{at}" for at in rows], vectors[rows.start : rows.stop]
        begin = rows.stop


def scores_of(query: FloatArray, vectors: FloatArray, metric: Metric) -> NDArray[np.float64]:
    """One by one and from the definition, in float64."""
    one, all_rows = query.astype(float), vectors.astype(float)
    if metric == "L2":
        return np.array([np.sum((row - one) ** 2) for row in all_rows])
    products = np.array([np.sum(row * one) for row in all_rows])
    if metric == "IP":
        return products
    norms = np.array([np.linalg.norm(row) * np.linalg.norm(one) for row in all_rows])
    return products / np.where(norms == 0, 1, norms)


def sorted_rows(scores: NDArray[np.float64], metric: Metric) -> list[int]:
    """Nearest first, equal ones by id."""
    sign = 1 if metric == "L2" else -1
    return sorted(range(len(scores)), key=lambda at: (sign * scores[at], f"row-{at}"))


@st.composite
def searches(draw: st.DrawFn) -> tuple[FloatArray, FloatArray, list[int], int]:
    """Queries, rows with many ties among them, sizes of blocks, k. Small whole numbers: every sum of them is exact."""
    dim, rows, queries = draw(st.integers(1, 4)), draw(st.integers(1, 30)), draw(st.integers(1, 3))
    numbers = st.integers(-2, 2).map(float)
    stored = draw(arrays(np.float32, (rows, dim), elements=numbers))
    asked = draw(arrays(np.float32, (queries, dim), elements=numbers))
    sizes = draw(st.lists(st.integers(0, 12), min_size=1, max_size=5).filter(any))
    return asked, stored, sizes, draw(st.integers(1, 35))


@pytest.mark.parametrize("metric", METRICS)
@given(search=searches())
def test_the_nearest_rows_are_those_of_a_full_sort(
    metric: Metric, search: tuple[FloatArray, FloatArray, list[int], int]
) -> None:
    asked, stored, sizes, k = search
    found = exact_neighbours(asked, cut(stored, sizes), k, metric)
    assert len(found) == len(asked)
    for query, one in zip(asked, found, strict=True):
        scores = scores_of(query, stored, metric)
        order = sorted_rows(scores.round(9), metric)
        last = scores[order[:k][-1]]
        tied = [at for at in order if at in order[:k] or abs(scores[at] - last) < 1e-9]
        assert set(one.ids) == {f"row-{at}" for at in tied}
        assert one.scores == pytest.approx(scores[tied], abs=1e-9)
        if metric != "COSINE":  # a quotient may differ in its last digit, and so may the order of equal ones
            assert one.ids == tuple(f"row-{at}" for at in tied)
        for fewer in {1, (k + 1) // 2, k}:
            worst = scores[order[:fewer][-1]]
            expected = {at for at in order if at in order[:fewer] or abs(scores[at] - worst) < 1e-9}
            assert one.admissible(fewer) == {f"row-{at}" for at in expected}


@pytest.mark.parametrize("metric", METRICS)
def test_the_size_of_blocks_does_not_matter_for_many_rows(metric: Metric) -> None:
    source = np.random.default_rng(1)
    stored = source.standard_normal((3000, 24)).astype(np.float32)
    asked = source.standard_normal((700, 24)).astype(np.float32)  # more scores of one block than are held at a time
    whole = exact_neighbours(asked, cut(stored, [3000]), 10, metric)
    parts = exact_neighbours(asked, cut(stored, [1, 999, 50]), 10, metric)
    for one, other, query in list(zip(whole, parts, asked, strict=True))[:50]:
        scores = scores_of(query, stored, metric)
        assert one.ids[:10] == tuple(f"row-{at}" for at in sorted_rows(scores, metric)[:10])
        assert one.ids == other.ids
        assert one.scores == pytest.approx(other.scores, abs=1e-9)


def test_a_collection_is_streamed_and_read_once() -> None:
    seen = []

    def blocks() -> Iterator[Block]:
        for at in range(5):
            seen.append(at)
            yield [f"{at}"], np.full((1, 2), at, np.float32)

    found = exact_neighbours(np.ones((1, 2), np.float32), blocks(), 2, "IP")
    assert seen == [0, 1, 2, 3, 4]
    assert found[0].ids == ("4", "3")
    assert found[0].scores.tolist() == [8.0, 6.0]


def test_l2_is_the_squared_distance_and_a_zero_vector_has_cosine_zero() -> None:
    query, rows = np.array([[3, 4]], np.float32), np.array([[0, 0], [3, 0]], np.float32)
    blocks = [(["zero", "east"], rows)]
    assert exact_neighbours(query, blocks, 2, "L2")[0].scores.tolist() == [16.0, 25.0]
    assert exact_neighbours(query, blocks, 2, "COSINE")[0].scores.tolist() == pytest.approx([0.6, 0.0])


def known(scores: Sequence[float], k: int) -> Neighbours:
    """Rows a, b, c, ... of these inner products, which come one by one."""
    blocks = [([name], np.array([[score]], np.float32)) for name, score in zip("abcdefgh", scores, strict=False)]
    return exact_neighbours(np.ones((1, 1), np.float32), blocks, k, "IP")[0]


@pytest.mark.parametrize(
    ("found", "k", "expected"),
    [
        ("abc", 3, 1.0),
        ("cba", 3, 1.0),
        ("abd", 3, 1.0),  # c and d tie for the third place
        ("abcd", 3, 1.0),
        ("acd", 3, 1.0),  # b is missed; as usual the other tied row stands for it
        ("abe", 3, 2 / 3),
        ("ab", 3, 2 / 3),
        ("aaa", 3, 1 / 3),
        ("", 3, 0.0),
        ("eabc", 1, 0.0),
        ("ab", 1, 1.0),
    ],
)
def test_recall_counts_ties_as_what_they_are(found: str, k: int, expected: float) -> None:
    assert recall(found, known([9, 8, 7, 7, 6], 3), k) == pytest.approx(expected)


def test_recall_over_fewer_rows_than_asked_for() -> None:
    assert recall("ab", known([2, 1], 10), 10) == 1.0
    assert recall("a", known([2, 1], 10), 10) == 0.5


def test_recall_beyond_what_is_known_is_refused() -> None:
    with pytest.raises(ValueError, match="k is 4, but only the 3 nearest rows are known"):
        recall("abcd", known([9, 8, 7, 7, 6], 3), 4)


def test_a_neighbour_that_is_worse_by_less_than_float32_can_see_is_found() -> None:
    step = 2.0**-23
    close = known([1, 1 - 5 * step, 1 - 7 * step], 1)  # the slack of each is three steps
    assert close.admissible(1) == {"a", "b"}
    assert recall("b", close, 1) == 1.0
    assert recall("c", close, 1) == 0.0


def test_a_far_outlier_makes_no_other_score_doubtful() -> None:
    query = np.array([[1, 0]], np.float32)
    rows = np.array([[1, 0], [0.999, 0], [0, 1e9]], np.float32)
    found = exact_neighbours(query, [(["a", "b", "far"], rows)], 1, "IP")[0]
    assert "b" not in found.ids


def one_by_one(terms: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.add.accumulate(terms, axis=1, dtype=np.float32)[:, -1]


def in_pairs(terms: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.sum(terms, axis=1, dtype=np.float32)


def by_blas(terms: NDArray[np.float32]) -> NDArray[np.float32]:
    return terms @ np.ones(terms.shape[1], np.float32)


def float32_scores(query: FloatArray, rows: FloatArray, metric: Metric, add: Sum) -> NDArray[np.float32]:
    """As a store may compute them."""
    products, squares, square = add(rows * query), add(rows * rows), add(query[np.newaxis] ** 2)
    if metric == "IP":
        return products
    if metric == "COSINE":
        return products / (np.sqrt(squares) * np.sqrt(square))
    return squares + square - np.float32(2) * products


@pytest.mark.parametrize("add", [one_by_one, in_pairs, by_blas])
@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("dim", [2, 16, 384, 1536])
def test_the_slack_covers_what_float32_is_off(dim: int, metric: Metric, add: Sum) -> None:
    source = np.random.default_rng(dim)
    for centre, width in ((0, 1), (1, 1), (1, 0.01)):  # around nothing, to one side, nearly all the same
        rows = (centre + width * source.standard_normal((300, dim))).astype(np.float32)
        query = (centre + width * source.standard_normal(dim)).astype(np.float32)
        all_rows = exact_neighbours(query[np.newaxis], cut(rows, [300]), 300, metric)[0]
        order = [int(name.removeprefix("row-")) for name in all_rows.ids]
        given_scores = float32_scores(query, rows, metric, add)[order]
        assert np.all(np.abs(given_scores - all_rows.scores) <= all_rows.slack)

        nearest = exact_neighbours(query[np.newaxis], cut(rows, [70]), 10, metric)[0]
        found = np.argsort(given_scores if metric == "L2" else -given_scores, kind="stable")[:10]
        assert recall([all_rows.ids[at] for at in found], nearest, 10) == 1.0


def test_the_slack_hides_no_real_miss() -> None:
    source = np.random.default_rng(7)
    rows = source.standard_normal((2000, 384)).astype(np.float32)
    found = exact_neighbours(rows[:20] + np.float32(0.5), cut(rows, [500]), 10, "COSINE")
    assert [len(one.ids) for one in found] == [10] * 20


def test_what_cannot_be_compared_is_refused() -> None:
    query, row = np.ones((1, 2), np.float32), np.ones((1, 2), np.float32)
    with pytest.raises(LightragctlError, match="no rows"):
        exact_neighbours(query, [], 1, "IP")
    with pytest.raises(WrongDimensionError, match="queries have dimension 2 and rows 3"):
        exact_neighbours(query, [(["a"], np.ones((1, 3), np.float32))], 1, "IP")
    with pytest.raises(LightragctlError, match="NaN or infinity"):
        exact_neighbours(query, [(["a"], row * np.nan)], 1, "IP")
    with pytest.raises(LightragctlError, match="NaN or infinity"):
        exact_neighbours(query * np.inf, [(["a"], row)], 1, "IP")
    with pytest.raises(LightragctlError, match="row 'a' occurs 2 times"):
        exact_neighbours(query, [(["a"], row), (["a"], row)], 2, "IP")


def test_without_queries_there_is_nothing_to_find() -> None:
    assert exact_neighbours(np.ones((0, 2), np.float32), [(["a"], np.ones((1, 2), np.float32))], 1, "IP") == []


def test_the_nearest_without_a_row_are_those_of_a_collection_without_it() -> None:
    vectors = np.random.default_rng(5).standard_normal((40, 4)).astype(np.float32)
    vectors[7] = vectors[3]
    ids = [f"r{at:02}" for at in range(40)]
    with_all = exact_neighbours(vectors[3:4], [(ids, vectors)], 6, "COSINE")[0]
    rest = [at for at in range(40) if at != 3]
    without = exact_neighbours(vectors[3:4], [([ids[at] for at in rest], vectors[rest])], 5, "COSINE")[0]
    found = with_all.nearest(5, without="r03")
    assert (found.ids, found.k) == (without.ids, 5)
    assert found.scores.tolist() == pytest.approx(without.scores.tolist())
    assert with_all.nearest(6).ids == with_all.ids
    with pytest.raises(ValueError, match="6"):
        with_all.nearest(6, without="r03")


def test_where_nothing_is_to_be_found_nothing_is_missed() -> None:
    alone = Neighbours("COSINE", 3, (), np.array([]), np.array([]))
    assert recall([], alone, 3) == 1.0
