"""What each worker of a run does."""

import pytest

from lightragctl.bench.plan import LoadPlan, WarmUp, worker_plans
from lightragctl.bench.schedule import Closed, Constant
from lightragctl.bench.targets import Target
from lightragctl.bench.worker_protocol import unpacked
from lightragctl.core.errors import UsageError

TARGET = Target("http://127.0.0.1:1")


def test_workers_share_connections_and_instants() -> None:
    plan = LoadPlan(TARGET, ["a", "b"], Constant(10, 1), connections=5, workers=2, warm_up=WarmUp(most_s=2))
    first, second = worker_plans(plan)
    assert (first.connections, second.connections) == (3, 2)
    assert (first.share, second.share, second.shares) == (0, 1, 2)
    assert first.schedule is not None
    assert second.schedule is not None
    assert unpacked(first.schedule.measure) == [0.0, 0.2, 0.4, 0.6, 0.8]
    assert unpacked(second.schedule.measure) == [0.1, 0.3, 0.5, 0.7, 0.9]
    warm_up = unpacked(first.schedule.warm_up) + unpacked(second.schedule.warm_up)
    assert max(warm_up) > 2, "it goes on until the measurement takes over"


def test_a_worker_without_a_request_of_its_own_is_still_an_open_loop() -> None:
    plan = LoadPlan(TARGET, ["a"], Constant(1, 1), workers=2)
    assert [len(unpacked(one.schedule.measure)) for one in worker_plans(plan) if one.schedule] == [1, 0]


def test_a_closed_loop_has_no_instants_and_answers_are_waited_for_as_long_as_the_timeout() -> None:
    (one,) = worker_plans(LoadPlan(TARGET, ["a"], Closed(3), timeout_s=7))
    assert (one.schedule, one.duration_s, one.timeout_s, one.drain_s) == (None, 3, 7, 7)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"questions": []}, "no question"),
        ({"workers": 0}, "number of workers: 0"),
        ({"connections": 1, "workers": 2}, "1 connections are too few for 2 workers"),
        ({"timeout_s": 0}, "timeout is 0"),
        ({"drain_s": -1}, "is negative"),
        ({"warm_up": WarmUp(most_s=-1)}, "is negative"),
        ({"shape": Closed(0)}, "duration_s is 0"),
    ],
)
def test_a_plan_that_cannot_be_is_refused(options: dict[str, object], told: str) -> None:
    whole: dict[str, object] = {"target": TARGET, "questions": ["a"], "shape": Closed(1), **options}
    with pytest.raises(UsageError, match=told):
        worker_plans(LoadPlan(**whole))  # type: ignore[arg-type]
