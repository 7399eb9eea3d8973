"""What stops an upgrade, what does not, and what is too little to say."""

import json
from collections.abc import Sequence
from dataclasses import replace
from statistics import fmean

import numpy as np
import pytest

from lightragctl.upgrade.gate import BUILT_IN, Gate, Rule
from lightragctl.upgrade.gates import (
    PASS_CONFIDENCE,
    Judgement,
    Verdict,
    Watch,
    from_data,
    judge,
    look,
    look_seconds,
    to_data,
)
from lightragctl.upgrade.golden_gate import judge_answers, overlap
from lightragctl.upgrade.samples import Flow, Interval, quantile, share_above
from lightragctl.upgrade.sequential import Sums, final_upper_bound, lower_bound, smallest_share

ANSWERS = [one for one in BUILT_IN if one.rule is Rule.ANSWERS]
FLOW = Flow(
    pods=1, ready=1, watched=1, requests=500.0, errors=0.0, seconds=5.0,
    slower={0.005: 450.0, 0.01: 200.0, 0.02: 20.0, 0.04: 2.0}, cpu=0.5, memory=0.4, memory_growth=0.0,
)  # fmt: skip


def watched(
    canary: Flow, stable: Flow = FLOW, looks: int = 60, seconds: float = 5.0, gates: Sequence[Gate] = BUILT_IN
) -> dict[str, Judgement]:
    watch = Watch()
    for number in range(looks):
        watch = look(watch, Interval((number + 1) * seconds, seconds, canary, stable), gates)
    watch = from_data(json.loads(json.dumps(to_data(watch))))
    return {one.gate: one for one in judge(watch, gates, looks)}


def failed(canary: Flow, stable: Flow = FLOW, looks: int = 60) -> set[str]:
    return {name for name, one in watched(canary, stable, looks).items() if one.verdict is Verdict.FAILED}


def test_an_equal_version_passes_every_gate() -> None:
    found = watched(FLOW)
    assert list(found) == [gate.name for gate in BUILT_IN if gate.rule is not Rule.ANSWERS]
    assert {one.verdict for one in found.values()} == {Verdict.PASSED}


@pytest.mark.parametrize(
    ("gate", "worse"),
    [
        ("errors", {"errors": 15.0}),
        ("refused", {"refused": 25.0}),
        ("slow", {"slower": {0.005: 450.0, 0.01: 200.0, 0.02: 50.0, 0.04: 20.0}}),
        ("mean", {"seconds": 7.5}),
        ("shed", {"shed": 15.0}),
        ("queue", {"queue": 20.0}),
        ("memory-growth", {"memory_growth": 7.0}),
        ("cpu", {"cpu": 0.95}),
        ("memory", {"memory": 0.9}),
        ("ready", {"ready": 0}),
        ("restarts", {"restarts": 1}),
    ],
)
def test_each_gate_sees_its_own_regression_alone(gate: str, worse: dict[str, float]) -> None:
    assert failed(replace(FLOW, **worse), looks=70) == {gate}


def test_a_mean_above_half_a_second_fails_even_where_the_stable_pods_are_as_slow() -> None:
    slow = replace(FLOW, seconds=300.0)
    assert failed(slow, slow) == {"mean-absolute"}


def test_what_harms_both_versions_alike_stops_nothing() -> None:
    outage = replace(FLOW, errors=60.0, queue=30.0)
    assert failed(outage, outage) == set()


def test_a_disaster_is_seen_at_the_first_look() -> None:
    assert "disaster" in failed(replace(FLOW, errors=200.0), looks=1)
    assert "disaster" not in failed(replace(FLOW, requests=20.0, errors=20.0, slower={}), looks=1)


def test_a_canary_that_warms_up_is_not_compared_yet_but_may_be_a_disaster() -> None:
    watch = Watch()
    for number in range(20):
        slow = replace(FLOW, seconds=50.0, errors=300.0)
        watch = look(watch, Interval(number * 5.0, 5.0, slow, FLOW), BUILT_IN, warming_up=True)
    found = {one.gate: one.verdict for one in judge(watch, BUILT_IN, 60)}
    assert (found["mean"], found["disaster"], found["ready"]) == (Verdict.NO_DATA, Verdict.FAILED, Verdict.PASSED)


@pytest.mark.parametrize("silent", [Flow(), Flow(watched=1, ready=1), replace(FLOW, requests=2.0, slower={})])
def test_no_data_is_never_a_pass(silent: Flow) -> None:
    found = watched(silent, looks=20)
    assert {found[name].verdict for name in ("errors", "slow", "mean")} == {Verdict.NO_DATA}


def test_between_limit_and_tolerance_a_gate_with_its_minimum_of_data_is_undecided_and_says_what() -> None:
    """Seven intervals: that 1.46 % of 1,939 requests are slower than the stable p99 is no regression; 2.6 % may be."""
    some = replace(FLOW, requests=277.0, seconds=3.0, slower={0.005: 200.0, 0.01: 100.0, 0.02: 4.04, 0.04: 0.5})
    stable = replace(FLOW, requests=554.0, seconds=6.0, slower={0.005: 400.0, 0.01: 200.0, 0.02: 5.54, 0.04: 1.0})
    assert watched(some, stable, looks=7)["slow"].verdict is Verdict.PASSED
    more = replace(some, slower={**some.slower, 0.02: 7.2})
    undecided = watched(more, stable, looks=7)["slow"]
    assert (undecided.verdict, undecided.samples) == (Verdict.UNDECIDED, 1939)
    assert "may be as high as" in undecided.reason
    assert "has to be shown below 2.70 %" in undecided.reason
    few = watched(some, stable, looks=3)["slow"]
    assert (few.verdict, few.reason) == (Verdict.NO_DATA, "831 of 1000 requests to the canary")
    assert watched(stable, stable, looks=3)["slow"].reason == "3 of 4 intervals to compare"


def test_pods_that_are_all_short_of_memory_decide_nothing() -> None:
    full = replace(FLOW, memory=0.9)
    assert watched(full, full, looks=70)["memory"].verdict is Verdict.UNDECIDED


def test_few_requests_are_merged_until_a_share_means_something() -> None:
    few = replace(FLOW, requests=5.0, errors=0.0, slower={})
    bad = replace(few, errors=0.5)
    assert watched(few, looks=80)["errors"].verdict is Verdict.PASSED
    assert watched(bad, looks=200)["errors"].verdict is Verdict.FAILED


def test_quantiles_are_found_inside_buckets() -> None:
    p99 = quantile(FLOW, 0.01)
    assert 0.02 < p99 < 0.04
    assert share_above(FLOW, p99) == pytest.approx(0.01)
    assert share_above(FLOW, 0.001) > 0.9
    assert quantile(Flow(), 0.01) == 0.0


def test_looking_after_every_block_gives_as_few_false_alarms_as_promised() -> None:
    random = np.random.default_rng(0)
    alarms = 0
    for _ in range(400):
        sums = Sums()
        for value in random.normal(0.0, 1.0, 200):
            sums = sums.with_block(float(value), 0.0)
            if lower_bound(sums, 0.05, 200) > 0:
                alarms += 1
                break
    assert alarms <= 0.05 * 400


def test_a_version_that_is_too_bad_passes_as_rarely_as_promised() -> None:
    """At two looks, the second with twice the data; the true difference is where a pass begins to be wrong."""
    random = np.random.default_rng(1)
    passes = 0
    for _ in range(1000):
        sums, values = Sums(), random.normal(0.0, 1.0, 24)
        bounds = []
        for value in values:
            sums = sums.with_block(float(value), 0.0)
            bounds.append(final_upper_bound(sums, PASS_CONFIDENCE))
        passes += bounds[11] < 0 or bounds[23] < 0
    assert passes <= 0.06 * 1000
    assert final_upper_bound(Sums(), 0.95) == float("inf")


def test_a_short_watch_looks_more_often() -> None:
    assert [look_seconds(one) for one in (60.0, 90.0, 150.0, 1800.0)] == [2.0, 3.0, 5.0, 5.0]


def test_more_traffic_shows_smaller_effects() -> None:
    shares = [smallest_share(0.001, 0.006, (n / 4, n * 3 / 4), (60, 0.001)) for n in (50, 500, 5000)]
    assert shares[0] > shares[1] > shares[2] > 0.006
    assert smallest_share(0.0, 0.0, (0, 10), (60, 0.001)) == float("inf")


def verdicts(stable: list[float], canary: list[float], common: float = 1.0) -> dict[str, Verdict]:
    return {one.gate: one.verdict for one in judge_answers(ANSWERS, stable, canary, [common] * len(stable))}


def test_answers_have_to_be_shown_to_be_as_good() -> None:
    good = [0.9, 1.0] * 50
    assert verdicts(good, good) == {"recall": Verdict.PASSED, "overlap": Verdict.PASSED}
    assert verdicts(good[:10], good[:10])["recall"] is Verdict.UNDECIDED
    worse = [max(0.0, one - 0.2) for one in good]
    assert fmean(good) - fmean(worse) > 0.1
    assert verdicts(good, worse)["recall"] is Verdict.FAILED
    assert verdicts(good, good, 0.5)["overlap"] is Verdict.FAILED
    assert {one.verdict for one in judge_answers(ANSWERS, [], [], [])} == {Verdict.PASSED}


def test_overlap_is_of_the_longer_answer() -> None:
    assert overlap(["a", "b"], ["b"]) == 0.5
    assert overlap([], []) == 1.0
    assert overlap(["a"], []) == 0.0
