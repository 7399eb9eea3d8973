"""Load shapes: when requests are sent, and how a schedule is dealt out."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightragctl.bench.schedule import (
    Closed,
    Constant,
    Open,
    Poisson,
    Ramp,
    Replay,
    check_closed,
    duration_s,
    first_rate_qps,
    offsets,
    split,
)
from lightragctl.core.errors import UsageError


def test_a_constant_rate_sends_at_equal_distances() -> None:
    sends = offsets(Constant(rate_qps=200, duration_s=3), seed=1)
    assert len(sends) == 600
    assert sends[0] == 0
    assert np.allclose(np.diff(sends), 0.005)


def test_poisson_gaps_are_those_of_clients_that_know_nothing_of_each_other() -> None:
    sends = offsets(Poisson(rate_qps=1000, duration_s=20), seed=7)
    gaps = np.diff(sends)
    assert len(sends) == pytest.approx(20_000, rel=0.03)
    assert gaps.mean() == pytest.approx(0.001, rel=0.03)
    assert gaps.std() == pytest.approx(gaps.mean(), rel=0.05), "an exponential distribution's deviation is its mean"
    assert 0 <= sends[0] <= sends[-1] <= 20


def test_the_same_seed_sends_at_the_same_instants() -> None:
    shape = Poisson(rate_qps=100, duration_s=5)
    assert np.array_equal(offsets(shape, seed=3), offsets(shape, seed=3))
    assert not np.array_equal(offsets(shape, seed=3)[:10], offsets(shape, seed=4)[:10])


@pytest.mark.parametrize(("from_qps", "to_qps"), [(100, 500), (500, 100), (0, 400), (400, 0), (250, 250)])
def test_a_ramp_has_the_rate_of_its_line_in_each_second(from_qps: float, to_qps: float) -> None:
    sends = offsets(Ramp(from_qps, to_qps, duration_s=10), seed=1)
    counts, _ = np.histogram(sends, bins=10, range=(0, 10))
    wanted = [from_qps + (to_qps - from_qps) * (second + 0.5) / 10 for second in range(10)]
    assert counts == pytest.approx(wanted, abs=2)
    assert np.all(np.diff(sends) >= 0)


def test_a_replay_keeps_the_distances_and_may_go_faster() -> None:
    shape = Replay([1000.5, 1000.0, 1003.0], speed=2)
    assert offsets(shape, seed=1).tolist() == [0.0, 0.25, 1.5]
    assert duration_s(shape) == pytest.approx(2.25), "until a mean distance after the last"
    assert duration_s(Replay([7.0])) == 1.0


@given(count=st.integers(1, 500), workers=st.integers(1, 9))
def test_workers_together_send_the_whole_schedule_and_nothing_twice(count: int, workers: int) -> None:
    sends = np.arange(count) / 10
    parts = split(sends, workers)
    assert len(parts) == workers
    assert sorted(np.concatenate(parts).tolist()) == sends.tolist()
    assert max(len(part) for part in parts) - min(len(part) for part in parts) <= 1


def test_a_warm_up_knows_the_rate_that_the_schedule_begins_with() -> None:
    assert first_rate_qps(offsets(Ramp(100, 900, 10), seed=1)) == pytest.approx(140, abs=2)
    assert first_rate_qps(offsets(Constant(0.2, 20), seed=1)) == 1


@pytest.mark.parametrize(
    "shape",
    [
        Constant(0, 5),
        Constant(10, -1),
        Constant(float("nan"), 5),
        Constant(1e9, 5),
        Poisson(10, float("inf")),
        Ramp(0, 0, 5),
        Ramp(-1, 5, 5),
        Replay([]),
        Replay([1.0, float("nan")]),
        Replay([1.0], speed=0),
        Constant(0.1, 1),
    ],
)
def test_what_cannot_be_sent_is_refused(shape: Open) -> None:
    with pytest.raises(UsageError):
        offsets(shape, seed=1)


def test_a_closed_loop_needs_time() -> None:
    check_closed(Closed(0.1))
    with pytest.raises(UsageError, match="duration_s is 0"):
        check_closed(Closed(0))
