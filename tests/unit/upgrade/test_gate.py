"""Gates as data: what a profile may say, and what follows."""

import httpx
import pytest

from lightragctl.core.errors import ProfileError
from lightragctl.core.gates import Comparison, Missing, UpgradeSettings
from lightragctl.upgrade.gate import BUILT_IN, gates_of, told
from lightragctl.upgrade.prometheus import ask, filled


def settings(**gates: object) -> UpgradeSettings:
    return UpgradeSettings.model_validate({"prometheus": "http://prometheus:9090", "gates": gates})


def test_without_a_word_of_the_profile_the_built_in_gates_apply() -> None:
    assert gates_of(UpgradeSettings()) == BUILT_IN
    assert {one.name: told(one) for one in BUILT_IN} == {
        "errors": "above that of the stable pods + 0.50 %; passes below that of the stable pods + 1.00 %",
        "refused": "above that of the stable pods + 2.00 %; passes below that of the stable pods + 4.00 %",
        "slow": "above 1.15 x that of the stable pods + 0.05 %; passes below 1.15 x that of the stable pods + 1.55 %",
        "mean": "above 1.15 x that of the stable pods + 2.0 ms; passes below 1.15 x that of the stable pods + 12.0 ms",
        "mean-absolute": "above 500.0 ms; passes below 1000.0 ms",
        "shed": "above that of the stable pods + 0.50 %; passes below that of the stable pods + 1.00 %",
        "queue": "above 2 x that of the stable pods + 8.0; passes below 2 x that of the stable pods + 16.0",
        "memory-growth": "above that of the stable pods + 200.00 %; passes below that of the stable pods + 3200.00 %",
        "cpu": "above 85.00 % for 300 s",
        "memory": "above 85.00 % for 300 s",
        "ready": "below 95.00 %",
        "restarts": "more than 0",
        "recall": "5.00 % lower than from the stable pods",
        "overlap": "below 90.00 %",
    }


def test_a_profile_changes_drops_and_adds_gates() -> None:
    found = {
        one.name: one
        for one in gates_of(
            settings(
                slow={"tolerance": 0.05, "missing": "pass"},
                refused={"enabled": False},
                gpu={"query": "gpu", "limit": 0.9, "compare": "absolute", "component": "embedder"},
                early={"metric": "errors", "limit": 0.01, "compare": "before"},
            )
        )
    }
    assert (found["slow"].tolerance, found["slow"].limit, found["slow"].missing) == (0.05, 0.0005, Missing.PASS)
    assert "refused" not in found
    assert found["gpu"].applies_to("embedder")
    assert not found["gpu"].applies_to("lightrag-api")
    assert found["early"].compare is Comparison.BEFORE
    assert not found["recall"].applies_to("embedder")


@pytest.mark.parametrize(
    ("gate", "said"),
    [
        ({"metric": "errors"}, "needs limit"),
        ({"metric": "speed", "limit": 1}, "no metric 'speed'"),
        ({"limit": 1}, "metric or query"),
    ],
    ids=["limit", "metric", "source"],
)
def test_a_gate_that_says_too_little_is_refused(gate: dict[str, object], said: str) -> None:
    with pytest.raises(ProfileError, match=said):
        gates_of(settings(mine=gate))


def test_a_query_needs_a_prometheus() -> None:
    with pytest.raises(ProfileError, match=r"needs upgrade\.prometheus"):
        gates_of(UpgradeSettings.model_validate({"gates": {"mine": {"query": "up", "limit": 1}}}))


@pytest.mark.parametrize(
    ("answer", "value"),
    [
        ({"resultType": "scalar", "result": [1.0, "0.25"]}, 0.25),
        ({"resultType": "vector", "result": [{"metric": {}, "value": [1.0, "3"]}]}, 3.0),
        ({"resultType": "vector", "result": []}, None),
        ({"resultType": "vector", "result": [{"value": [1.0, "1"]}, {"value": [1.0, "2"]}]}, None),
        ({"resultType": "vector", "result": [{"value": [1.0, "NaN"]}]}, None),
        ({"resultType": "matrix", "result": []}, None),
        ({}, None),
    ],
    ids=["scalar", "one", "none", "two", "nan", "matrix", "odd"],
)
def test_a_query_has_one_number_or_none(answer: dict[str, object], value: float | None) -> None:
    transport = httpx.MockTransport(lambda request: httpx.Response(200, json={"status": "success", "data": answer}))
    assert ask("http://prometheus:9090/", "up", transport) == value
    assert ask("http://prometheus:9090/", "up", httpx.MockTransport(lambda request: httpx.Response(503))) is None


def test_a_query_names_the_pods() -> None:
    assert filled('load{pod=~"$pods"}', ["b-2", "a-1"]) == 'load{pod=~"a-1|b-2"}'
