"""Intervals and tests against published values, exact counts and simulations."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightragctl.quality.stats import (
    LEAST_ROUNDS,
    Interval,
    Ranks,
    bootstrap_mean,
    bounded_mean,
    compare_rounds,
    mean_share,
    nearest_rank,
    quantile_ranks,
    queries_needed,
    rounds_needed,
    shares_p_value,
    t_value,
)


@pytest.mark.parametrize(
    ("samples", "quantile", "confidence", "expected"),
    [
        (10, 0.5, 0.975, Ranks(2, 9)),  # the sign test's interval of a median
        (20, 0.5, 0.975, Ranks(6, 15)),
        (298, 0.99, 0.95, Ranks(292, None)),
        (299, 0.99, 0.95, Ranks(293, 299)),  # least n for an upper bound of p99: log(0.05) / log(0.99) is 298.07
        (1, 0.5, 0.95, Ranks(None, None)),
        (1, 0.5, 0.5, Ranks(1, 1)),  # a bound that holds with just this confidence is one
        (0, 0.5, 0.95, Ranks(None, None)),
    ],
)
def test_ranks_that_are_known(samples: int, quantile: float, confidence: float, expected: Ranks) -> None:
    assert quantile_ranks(samples, quantile, confidence) == expected


@given(st.integers(1, 60), st.sampled_from([0.01, 0.25, 0.5, 0.9, 0.99]), st.sampled_from([0.6, 0.9, 0.95, 0.999]))
def test_ranks_are_the_tightest_that_hold(samples: int, quantile: float, confidence: float) -> None:
    def at_most(count: int) -> float:
        chances = (math.comb(samples, at) * quantile**at * (1 - quantile) ** (samples - at) for at in range(count + 1))
        return math.fsum(chances)

    lower, upper = quantile_ranks(samples, quantile, confidence)
    holding = [rank for rank in range(1, samples + 1) if at_most(rank - 1) >= confidence]
    assert upper == (holding[0] if holding else None)
    holding = [rank for rank in range(1, samples + 1) if 1 - at_most(rank - 1) >= confidence]
    assert lower == (holding[-1] if holding else None)


@pytest.mark.parametrize("quantile", [0.001, 0.5, 0.99, 0.9999])
def test_ranks_of_a_million_are_where_the_normal_distribution_has_them(quantile: float) -> None:
    samples = 1_000_000
    reach = 1.644854 * math.sqrt(samples * quantile * (1 - quantile))
    lower, upper = quantile_ranks(samples, quantile)
    assert lower is not None
    assert upper is not None
    assert (lower, upper) == pytest.approx((samples * quantile - reach, samples * quantile + reach), abs=2)


def test_a_bound_of_p99_holds_as_often_as_it_says() -> None:
    source = np.random.default_rng(3)
    lower, upper = quantile_ranks(1000, 0.99)
    assert lower is not None
    assert upper is not None
    times = np.sort(source.lognormal(size=(4000, 1000)), axis=1)
    true = math.exp(2.326348)
    assert 0.94 <= np.mean(times[:, upper - 1] >= true) <= 0.98
    assert 0.94 <= np.mean(times[:, lower - 1] <= true) <= 0.98


def test_the_bootstrap_is_near_the_normal_interval_of_many_values() -> None:
    values = np.random.default_rng(1).exponential(size=2000)
    reach = 1.959964 * values.std() / math.sqrt(2000)
    assert bootstrap_mean(values.tolist(), seed=5) == pytest.approx(
        (values.mean() - reach, values.mean() + reach), rel=0.005
    )


def test_the_same_seed_gives_the_same_interval() -> None:
    values = [0.0, 1.0, 1.0, 0.5, 0.25]
    assert bootstrap_mean(values, seed=1) == bootstrap_mean(values, seed=1)
    assert bootstrap_mean(values, seed=1, confidence=0.5) != bootstrap_mean(values, seed=1)


def test_a_mean_of_nothing_has_no_interval() -> None:
    with pytest.raises(ValueError, match="needs values"):
        bootstrap_mean([], seed=1)


@pytest.mark.parametrize(
    ("probability", "freedom", "expected"),
    [
        (0.90, 1, 6.314),
        (0.95, 1, 12.706),
        (0.95, 2, 4.303),
        (0.95, 3, 3.182),
        (0.99, 4, 4.604),
        (0.95, 5, 2.571),
        (0.99, 5, 4.032),
        (0.90, 7, 1.895),
        (0.95, 7, 2.365),
        (0.95, 10, 2.228),
        (0.99, 10, 3.169),
        (0.95, 30, 2.042),
        (0.90, 40, 1.684),
        (0.95, 120, 1.980),
        (0.99, 120, 2.617),
        (0.95, 10_000_000, 1.960),
    ],
)
def test_t_as_in_any_table(probability: float, freedom: int, expected: float) -> None:
    """E. Pearson, H. Hartley, "Biometrika Tables for Statisticians", table 12."""
    assert t_value(probability, freedom) == pytest.approx(expected, abs=5.1e-4)


def test_t_with_two_degrees_has_a_closed_form() -> None:
    for probability in (0.001, 0.5, 0.95, 0.9999):
        alpha = 1 - probability
        expected = math.sqrt(2 / (alpha * (2 - alpha)) - 2)
        assert t_value(probability, 2) == pytest.approx(expected, rel=1e-9)


def test_t_has_no_step_where_its_formula_changes() -> None:
    for probability in (0.5, 0.9, 0.95, 0.99):
        before, first, after = (t_value(probability, freedom) for freedom in (999, 1000, 1001))
        assert first - after == pytest.approx((before - first) * 999 / 1001, abs=2e-8)


def pairs(ratios: Sequence[float]) -> tuple[list[float], list[float]]:
    """A baseline that drifts, and a candidate that is so much of it in each round."""
    baseline = [10.0 + at for at in range(len(ratios))]
    return baseline, [old * ratio for old, ratio in zip(baseline, ratios, strict=True)]


def test_a_comparison_worked_out_by_hand() -> None:
    found = compare_rounds(*pairs([math.exp(one) for one in (0.1, 0.2, 0.3)]), seed=0)
    assert found.rounds == 3
    assert found.ratio == pytest.approx(math.exp(0.2))
    assert found.deviation == pytest.approx(0.1)
    reach = 4.302653 * 0.1 / math.sqrt(3)
    assert found.interval == pytest.approx((math.exp(0.2 - reach), math.exp(0.2 + reach)), rel=1e-6)
    assert found.p_value == 2 / 8  # all signs as they are, and all of them turned


def test_flips_with_the_same_mean_count_as_far() -> None:
    found = compare_rounds(*pairs([math.exp(one) for one in (0.1, 0.1, -0.1)]), seed=0)
    assert found.p_value == 1.0


def test_equal_systems_are_equal() -> None:
    found = compare_rounds([3.0] * 9, [3.0] * 9, seed=0)
    assert (found.ratio, found.interval, found.p_value) == (1.0, Interval(1.0, 1.0), 1.0)


def test_more_rounds_than_can_be_enumerated_are_drawn() -> None:
    source = np.random.default_rng(2)
    ratios = np.exp(0.5 + source.standard_normal(13)).tolist()
    drawn = compare_rounds(*pairs(ratios), seed=4)
    assert drawn == compare_rounds(*pairs(ratios), seed=4)
    signs = 2.0 * (np.arange(2**13)[:, np.newaxis] >> np.arange(13) & 1) - 1
    logs = np.log(ratios)
    exact = np.mean(np.abs(signs @ logs) >= abs(logs.sum()) - 1e-9)
    assert drawn.p_value == pytest.approx(exact, abs=0.02)


def test_what_never_came_by_chance_has_still_a_chance() -> None:
    assert compare_rounds(*pairs([2.0] * 40), seed=0).p_value == pytest.approx(1 / 10_001)


@pytest.mark.parametrize(("baseline", "candidate"), [([1.0], [1.0]), ([1.0, 2.0], [1.0]), ([1.0, 2.0], [1.0, 0.0])])
def test_rounds_that_do_not_make_a_comparison_are_refused(baseline: list[float], candidate: list[float]) -> None:
    with pytest.raises(ValueError, match=r"round|zip|domain|positive"):
        compare_rounds(baseline, candidate, seed=0)


def test_equal_systems_are_called_different_in_at_most_one_case_of_twenty() -> None:
    source = np.random.default_rng(11)
    alarms = [
        compare_rounds(np.ones(8).tolist(), np.exp(0.03 * source.standard_t(3, 8)).tolist(), seed=0).p_value <= 0.05
        for _ in range(600)
    ]
    assert np.mean(alarms) <= 0.07  # 0.05 and two and a half standard errors


@pytest.mark.parametrize(
    ("deviation", "shift", "least", "most"),
    [
        (2.0, math.expm1(1.0), 54, 55),  # effect 0.5; the exact power reaches 0.95 at 54
        (1.0, math.expm1(1.0), 16, 16),  # effect 1.0; at 16
        (1.25, math.expm1(1.0), 23, 23),  # effect 0.8; at 23
        (0.001, 0.05, LEAST_ROUNDS, LEAST_ROUNDS),
        (0.0, 0.05, LEAST_ROUNDS, LEAST_ROUNDS),
    ],
)
def test_rounds_that_are_needed(deviation: float, shift: float, least: int, most: int) -> None:
    assert least <= rounds_needed(deviation, shift) <= most


def test_a_fall_needs_as_many_rounds_as_the_rise_that_undoes_it() -> None:
    assert rounds_needed(0.1, -0.2) == rounds_needed(0.1, 0.25)


def test_a_small_shift_of_noisy_rounds_needs_very_many() -> None:
    assert rounds_needed(0.5, 0.001) == pytest.approx(((1.959964 + 1.644854) * 0.5 / 0.0009995) ** 2, rel=1e-3)


@pytest.mark.parametrize("deviation", [0.01, 0.03, 0.05])
def test_so_many_rounds_do_show_the_shift(deviation: float) -> None:
    rounds, source = rounds_needed(deviation, 0.05), np.random.default_rng(5)
    seen = [
        compare_rounds(
            np.ones(rounds).tolist(), (1.05 * np.exp(source.normal(0, deviation, rounds))).tolist(), seed=0
        ).p_value
        <= 0.05
        for _ in range(400)
    ]
    assert np.mean(seen) >= 0.92  # 0.95 and two and a half standard errors


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [(81, 263, 0.2527, 0.3676), (15, 148, 0.0578, 0.1617), (0, 20, 0.0, 0.1684), (1, 29, 0.0009, 0.1776)],
)
def test_a_bounded_mean_of_zeros_and_ones_is_exact(successes: int, trials: int, low: float, high: float) -> None:
    """Clopper and Pearson's intervals in Newcombe's table (1998), as far as 10,000 draws find them."""
    values = [1.0] * successes + [0.0] * (trials - successes)
    assert bounded_mean(values, 1) == pytest.approx((low, high), abs=0.005)
    assert bounded_mean([1 - value for value in values], 2) == pytest.approx((1 - high, 1 - low), abs=0.005)


def test_a_bounded_mean_is_sure_of_nothing_after_few_good_queries() -> None:
    assert bounded_mean([1.0] * 3, 0) == pytest.approx((0.025 ** (1 / 3), 1.0), abs=0.01)
    with pytest.raises(ValueError, match="needs values"):
        bounded_mean([], 0)


@pytest.mark.parametrize(("size", "chance"), [(5, 0.9), (30, 0.97), (100, 0.99)])
def test_a_bounded_mean_holds_the_true_one_as_often_as_it_says(size: int, chance: float) -> None:
    """Recall@10 of queries, binomial: 300 samples, of which some 15 may miss; the bootstrap misses far more."""
    source = np.random.default_rng(4)
    samples = source.binomial(10, chance, (300, size)) / 10
    held = sum(low <= chance <= high for low, high in (bounded_mean(list(one), 1) for one in samples))
    assert held >= 280


def test_for_many_values_a_bounded_mean_is_that_of_the_bootstrap() -> None:
    values = list(np.random.default_rng(0).binomial(10, 0.8, 2000) / 10)
    assert bounded_mean(values, 1) == pytest.approx(bootstrap_mean(values, 1), abs=0.002)


@pytest.mark.parametrize(
    ("values", "floor", "needed"),
    [
        ([1.0] * 3, 0.9, 36),
        ([1.0] * 40, 0.99, 368),
        ([1.0, 0.9] * 5, 0.9, 36),
        ([0.9, 0.7], 0.85, 31),
        ([0.9], 0.9, None),
    ],
)
def test_how_many_queries_would_tell(values: list[float], floor: float, needed: int | None) -> None:
    assert queries_needed(values, floor) == needed


@pytest.mark.parametrize(
    ("samples", "quantile", "rank"), [(100, 0.07, 7), (14, 0.9, 13), (1000, 0.999, 999), (1, 0.01, 1)]
)
def test_the_nearest_rank_takes_a_quantile_as_it_is_written(samples: int, quantile: float, rank: int) -> None:
    assert nearest_rank(samples, quantile) == rank


def test_a_mean_of_shares_is_the_decimal_number_that_it_is() -> None:
    assert [mean_share(shares) for shares in ([0.7, 0.1], [0.9] * 10, [0.1, 0.2], [1, 1, 1])] == [0.4, 0.9, 0.15, 1.0]


@pytest.mark.parametrize(
    ("one", "other", "p_value"),
    [
        ((3, 4), (1, 4), 0.4857),  # Fisher's tea
        ((8, 10), (1, 6), 0.0350),  # this and the next are of the manual of scipy.stats.fisher_exact
        ((6, 8), (1, 5), 0.1026),
        ((0, 5), (5, 5), 2 / 252),
        ((3, 10), (3, 10), 1.0),
        ((0, 10), (0, 20), 1.0),
        ((0, 10_000), (4_000, 10_000), 0.0),
    ],
)
def test_two_shares_differ_as_fishers_exact_test_says(
    one: tuple[int, int], other: tuple[int, int], p_value: float
) -> None:
    assert shares_p_value(one, other) == pytest.approx(p_value, abs=5e-5)
    assert shares_p_value(other, one) == pytest.approx(p_value, abs=5e-5)
